package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Brand is a look and its words. A tenant has one; more come later.
type Brand struct {
	ID       id.Brand
	Name     string
	Theme    json.RawMessage // the tokens of the hosted pages; "" for the default theme
	Document brand.Document
	Assets   []brand.Asset
	Revision int64
}

// ErrNoAsset says that a brand has no such asset.
var ErrNoAsset = errors.New("the brand has no such asset")

// brandAttempts is how often a change is made on top of newer ones, where the
// caller did not say which revision it was meant for.
const brandAttempts = 5

// ApplyBrand changes what the change names of a tenant's brand. The revision is
// the one that the caller has read; 0 applies it whatever there is.
func (s *Store) ApplyBrand(ctx context.Context, tenant id.Tenant, revision int64, c brand.Change, by string) (*Tenant, error) {
	return s.changeBrand(ctx, tenant, revision, func(b *Brand) error {
		b.apply(c)
		return nil
	}, func(tx *sqldb.Tx, b Brand) error {
		return s.Log.Append(tx, event.Event{Tenant: tenant, Type: "brand.applied", Actor: actor(by),
			Data: map[string]any{"brand": b.ID, "revision": b.Revision}})
	})
}

func (b *Brand) apply(c brand.Change) {
	if c.Name != nil {
		b.Name = *c.Name
	}
	if len(c.Theme) > 0 {
		b.Theme = c.Theme
	}
	b.Document = b.Document.Apply(c)
}

// Draft is the revision of a brand that is looked at and not stored.
const Draft = -1

// WithBrand returns the tenant as it would be with a change, which must be
// right, and stores nothing: for looking at it.
func (s *Store) WithBrand(t *Tenant, c brand.Change) (*Tenant, error) {
	changed := *t
	changed.Brand.apply(c)
	changed.Brand.Revision = Draft
	return &changed, s.checkBrand(&changed)
}

// SetBrandAsset stores a file in one of a brand's roles, in the place of what
// was there.
func (s *Store) SetBrandAsset(ctx context.Context, tenant id.Tenant, revision int64, role brand.Role, body []byte, by string) (*Tenant, error) {
	asset, err := brand.ReadAsset(role, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return s.changeBrand(ctx, tenant, revision, func(b *Brand) error {
		b.Assets = append(without(b.Assets, role), asset)
		slices.SortFunc(b.Assets, func(x, y brand.Asset) int { return strings.Compare(string(x.Role), string(y.Role)) })
		return nil
	}, func(tx *sqldb.Tx, b Brand) error {
		tx.Queue(`INSERT INTO brand_asset (tenant, brand, role, name, body, created_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (tenant, brand, role) DO UPDATE SET name = excluded.name, body = excluded.body, created_at = excluded.created_at`,
			tenant, b.ID, string(role), asset.Name, body, tx.Now())
		return s.Log.Append(tx, event.Event{Tenant: tenant, Type: "brand.asset.set", Actor: actor(by),
			Data: map[string]any{"brand": b.ID, "revision": b.Revision, "role": role, "name": asset.Name, "type": asset.Type, "bytes": asset.Bytes}})
	})
}

// RemoveBrandAsset removes what a brand has in a role.
func (s *Store) RemoveBrandAsset(ctx context.Context, tenant id.Tenant, revision int64, role brand.Role, by string) (*Tenant, error) {
	return s.changeBrand(ctx, tenant, revision, func(b *Brand) error {
		if _, there := brand.Find(b.Assets, role); !there {
			return ErrNoAsset
		}
		b.Assets = without(b.Assets, role)
		return nil
	}, func(tx *sqldb.Tx, b Brand) error {
		tx.Queue(`DELETE FROM brand_asset WHERE tenant = $1 AND brand = $2 AND role = $3`, tenant, b.ID, string(role))
		return s.Log.Append(tx, event.Event{Tenant: tenant, Type: "brand.asset.removed", Actor: actor(by),
			Data: map[string]any{"brand": b.ID, "revision": b.Revision, "role": role}})
	})
}

func without(assets []brand.Asset, role brand.Role) []brand.Asset {
	return slices.DeleteFunc(slices.Clone(assets), func(a brand.Asset) bool { return a.Role == role })
}

// BrandAsset returns a brand's asset by the name that it is served as.
func (s *Store) BrandAsset(ctx context.Context, t *Tenant, name string) (brand.Asset, []byte, error) {
	i := slices.IndexFunc(t.Brand.Assets, func(a brand.Asset) bool { return a.Name == name })
	if i < 0 { // strangers who make names up do not reach the database
		return brand.Asset{}, nil, ErrNoAsset
	}
	body, err := s.assets.Get(ctx, string(t.Brand.ID)+" "+name, func(ctx context.Context) ([]byte, error) {
		var body []byte
		err := s.DB.QueryRow(ctx, `SELECT body FROM brand_asset WHERE tenant = $1 AND brand = $2 AND name = $3 LIMIT 1`, t.ID, t.Brand.ID, name).Scan(&body)
		if errors.Is(err, sqldb.ErrNoRows) {
			return nil, ErrNoAsset
		}
		return body, err
	})
	if err != nil && !errors.Is(err, ErrNoAsset) {
		return brand.Asset{}, nil, fmt.Errorf("read the asset: %w", err)
	}
	return t.Brand.Assets[i], body, err
}

// checkBrand holds a brand to what may be said of it and to what the store was
// told to ask for.
func (s *Store) checkBrand(t *Tenant) error {
	b := t.Brand
	if strings.TrimSpace(b.Name) == "" || len(b.Name) > 100 {
		return fmt.Errorf("%w: the brand's name is empty or longer than 100 bytes", ErrInvalid)
	}
	if s.CheckBrand != nil {
		if err := s.CheckBrand(t); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return nil
}

// changeBrand changes a brand and writes it with its event, at the revision
// that was read.
func (s *Store) changeBrand(ctx context.Context, tenant id.Tenant, revision int64, edit func(*Brand) error, also func(*sqldb.Tx, Brand) error) (*Tenant, error) {
	for attempt := 1; ; attempt++ {
		// What this node has read may be older than what another has applied.
		if err := s.Watch.Poll(ctx); err != nil {
			return nil, err
		}
		t, err := s.ByID(ctx, tenant)
		if err != nil {
			return nil, err
		}
		if revision != 0 && t.Brand.Revision != revision {
			return nil, ErrChanged
		}
		changed := *t
		if err := edit(&changed.Brand); err != nil {
			return nil, err
		}
		if err := s.checkBrand(&changed); err != nil {
			return nil, err
		}
		applied, err := s.writeBrand(ctx, changed, also)
		if errors.Is(err, ErrChanged) && revision == 0 && attempt < brandAttempts {
			continue
		}
		return applied, err
	}
}

func (s *Store) writeBrand(ctx context.Context, t Tenant, also func(*sqldb.Tx, Brand) error) (*Tenant, error) {
	document, err := json.Marshal(t.Brand.Document)
	if err != nil {
		return nil, fmt.Errorf("write the brand: %w", err)
	}
	assets, err := json.Marshal(t.Brand.Assets)
	if err != nil {
		return nil, fmt.Errorf("write the brand: %w", err)
	}
	read := t.Brand.Revision
	t.Brand.Revision++
	return s.change(ctx, t.ID, func(tx *sqldb.Tx) error {
		changed, err := tx.Exec(`UPDATE brand SET name = $4, theme = $5, document = $6, assets = $7, revision = revision + 1
			WHERE tenant = $1 AND brand = $2 AND revision = $3`,
			t.ID, t.Brand.ID, read, t.Brand.Name, string(t.Brand.Theme), string(document), string(assets))
		if err != nil {
			return fmt.Errorf("store the brand: %w", err)
		}
		if changed == 0 {
			return ErrChanged
		}
		return also(tx, t.Brand)
	})
}

// read takes the stored texts of a brand in.
func (b *Brand) read(theme, document, assets string) error {
	b.Theme = json.RawMessage(theme)
	if err := json.Unmarshal([]byte(document), &b.Document); err != nil {
		return fmt.Errorf("the stored brand %s is not understood: %w", b.ID, err)
	}
	if err := json.Unmarshal([]byte(assets), &b.Assets); err != nil {
		return fmt.Errorf("the stored assets of the brand %s are not understood: %w", b.ID, err)
	}
	return nil
}
