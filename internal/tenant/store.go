// Package tenant owns the tenants of an installation: each is one customer
// base with its own issuer, keys, settings and brand.
//
// Tenants are configuration: they are read through a bounded cache that
// internal/configversion keeps true, and nothing runs for a tenant that nobody
// asks for. The values that the store hands out are shared and not changed.
package tenant

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "tenant", FS: migrations}
}

var (
	// ErrNotFound says that there is no such tenant.
	ErrNotFound = errors.New("there is no such tenant")
	// ErrInvalid says that what was given is refused; the text says why.
	ErrInvalid = errors.New("the tenant is refused")
	// ErrTaken says that another tenant has the slug or the issuer.
	ErrTaken = errors.New("another tenant has that name in addresses or that issuer")
	// ErrChanged says that the tenant was changed since it was read.
	ErrChanged = errors.New("the tenant was changed by somebody else since it was read; read it again")
)

// Tenant is one customer base.
type Tenant struct {
	ID        id.Tenant
	Slug      string // its name in addresses and cookies
	Name      string
	Issuer    string // the iss of its tokens, fixed when the tenant is made; no slash at the end
	Host      string // the host that it is served on; "" where it is served by path
	Path      string // the path that it is served under: "" or "/t/{slug}"
	Authority string // the host of the issuer, with its port where that is not the scheme's own
	Suspended bool
	Settings  Settings
	Former    *Former                              // what hashes cost before; nil where that was never changed
	Schema    *ProfileSchema                       // the compiled Settings.Profile
	Rules     map[identifier.Kind]*identifier.Rule // how Settings.Identifiers are read
	Brand     Brand
	Revision  int64
}

// URL returns the absolute address of path within the tenant. It is built from
// the configured issuer only, never from a request.
func (t *Tenant) URL(path string) string { return t.Issuer + path }

// New describes a tenant to be made.
type New struct {
	ID       id.Tenant // "" has one made
	Slug     string
	Name     string
	Issuer   string // "https://id.example.com", or the installation's base address for a tenant served by path
	ByPath   bool   // served under {Issuer}/t/{slug}
	Settings Settings
	Brand    string          // the brand's name; "" takes the tenant's
	Theme    json.RawMessage // "" for the default theme
	Actor    string
}

// Options are what a Store works with.
type Options struct {
	DB     *sqldb.DB
	Watch  *configversion.Watch
	Ring   *keyring.Ring
	Log    *event.Log
	Clock  clock.Clock
	Random io.Reader
	// CheckBrand tells what is wrong with a tenant's brand in the eyes of those
	// who draw its pages and write its messages; nil asks nobody.
	CheckBrand func(*Tenant) error
	// LifecycleChanged joins the transaction that changes Settings.Lifecycle; nil
	// does nothing.
	LifecycleChanged func(tx *sqldb.Tx, tenant id.Tenant) error
	// SearchChanged joins the transaction that changes Settings.Search, with what
	// is searched from now on, or the one that makes a tenant, which is fresh; nil
	// does nothing.
	SearchChanged func(tx *sqldb.Tx, tenant id.Tenant, fields []string, fresh bool) error
}

// Store reads and changes tenants.
type Store struct {
	Options
	cache  *configversion.Cache[string, *Tenant] // by "id:…", "slug:…", "host:…"
	assets *configversion.Cache[string, []byte]  // by brand and name
}

// cacheSize is how many look-ups of tenants a node remembers.
const cacheSize = 4096

// assetCacheSize is how many files of brands a node keeps: 8 MiB at the most.
const assetCacheSize = 32

// NewStore returns the store of tenants.
func NewStore(o Options) *Store {
	s := &Store{Options: o}
	s.cache = configversion.NewCache[string, *Tenant](o.Watch, cacheSize, func(c configversion.Change, _ func(string), clear func()) {
		if c.Kind == "tenant" {
			clear() // a change of a tenant is rare, and it is cached under three names
		}
	})
	s.assets = configversion.NewCache[string, []byte](o.Watch, assetCacheSize, func(configversion.Change, func(string), func()) {
		// a name is made of its bytes' hash: what is under it never changes
	})
	return s
}

// hostPattern is a host name in the letters that a Host header has, or an
// address of loopback.
var hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*|\[::1\])(:[0-9]{1,5})?$`)

var slugPattern = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// Create makes a tenant with its keys. The issuer is https, or http on
// loopback for development.
func (s *Store) Create(ctx context.Context, n New) (*Tenant, error) {
	if len(n.Slug) > 40 || !slugPattern.MatchString(n.Slug) {
		return nil, fmt.Errorf("%w: the slug %q is not up to 40 lower-case letters, digits and single dashes", ErrInvalid, n.Slug)
	}
	if strings.TrimSpace(n.Name) == "" || len(n.Name) > 100 {
		return nil, fmt.Errorf("%w: its name is empty or longer than 100 bytes", ErrInvalid)
	}
	base, err := url.Parse(n.Issuer)
	if err != nil || !hostPattern.MatchString(strings.ToLower(base.Host)) || base.User != nil || base.RawQuery != "" || base.Fragment != "" || strings.Trim(base.Path, "/") != "" {
		return nil, fmt.Errorf("%w: the issuer %q is not an origin such as https://id.example.com", ErrInvalid, n.Issuer)
	}
	if base.Scheme != "https" && !(base.Scheme == "http" && isLoopback(base.Hostname())) {
		return nil, fmt.Errorf("%w: the issuer %q is not https", ErrInvalid, n.Issuer)
	}
	if err := n.Settings.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	settings, err := json.Marshal(n.Settings)
	if err != nil {
		return nil, fmt.Errorf("write the settings: %w", err)
	}
	// Browsers leave a scheme's own port out of what they ask for.
	host := strings.TrimSuffix(strings.ToLower(base.Host), map[string]string{"https": ":443", "http": ":80"}[base.Scheme])
	issuer := base.Scheme + "://" + host
	if n.ByPath {
		issuer, host = issuer+"/t/"+n.Slug, ""
	}
	if n.ID == "" {
		n.ID = id.New[id.Tenant](s.Clock.Now(), s.Random)
	}
	if n.Brand == "" {
		n.Brand = n.Name
	}
	if len(n.Theme) == 0 {
		n.Theme = json.RawMessage("{}")
	}
	storeKeys, err := s.Ring.NewTenantKeys(ctx, n.ID)
	if err != nil {
		return nil, fmt.Errorf("make the tenant's keys: %w", err)
	}
	brand := id.New[id.Brand](s.Clock.Now(), s.Random)
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		made, err := tx.Exec(`INSERT INTO tenant (tenant, slug, name, issuer, host, suspended, settings, revision, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8) ON CONFLICT DO NOTHING`,
			n.ID, n.Slug, n.Name, issuer, host, false, string(settings), tx.Now())
		if err != nil {
			return fmt.Errorf("insert the tenant: %w", err)
		}
		if made == 0 {
			return ErrTaken
		}
		storeKeys(tx)
		if fields := n.Settings.Search.Fields(); s.SearchChanged != nil && len(fields) > 0 {
			if err := s.SearchChanged(tx, n.ID, fields, true); err != nil {
				return err
			}
		}
		tx.Queue(`INSERT INTO brand (tenant, brand, name, theme, revision, created_at) VALUES ($1, $2, $3, $4, 1, $5)`,
			n.ID, brand, n.Brand, string(n.Theme), tx.Now())
		if err := s.Log.Append(tx, event.Event{Tenant: n.ID, Type: "tenant.created", Actor: actor(n.Actor),
			Data: map[string]any{"slug": n.Slug, "issuer": issuer}}); err != nil {
			return err
		}
		_, err = s.Watch.Bump(tx, n.ID, "tenant", string(n.ID))
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.Watch.Poll(ctx); err != nil {
		return nil, err
	}
	return s.ByID(ctx, n.ID)
}

// Apply replaces a tenant's settings. The revision is the one that the caller
// has read; 0 applies them whatever there is.
func (s *Store) Apply(ctx context.Context, tenant id.Tenant, revision int64, settings Settings, by string) (*Tenant, error) {
	if err := settings.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, fmt.Errorf("write the settings: %w", err)
	}
	return s.change(ctx, tenant, func(tx *sqldb.Tx) error {
		var was, former string
		if err := tx.QueryRow(`SELECT settings, former FROM tenant WHERE tenant = $1`, tenant).Scan(&was, &former); err != nil {
			return fmt.Errorf("read the settings: %w", err)
		}
		former, err := formerOf(former, was, settings.Password, tx.Now())
		if err != nil {
			return err
		}
		changed, err := tx.Exec(`UPDATE tenant SET settings = $3, former = $5, revision = revision + 1, updated_at = $4
			WHERE tenant = $1 AND (revision = $2 OR $2 = 0)`, tenant, revision, string(text), tx.Now(), former)
		if err != nil {
			return fmt.Errorf("store the settings: %w", err)
		}
		if changed == 0 {
			return ErrChanged
		}
		if err := s.rulesChanged(tx, tenant, was, settings); err != nil {
			return err
		}
		return s.Log.Append(tx, event.Event{Tenant: tenant, Type: "tenant.settings.applied", Actor: actor(by)})
	})
}

// rulesChanged tells whoever keeps what follows from the former settings.
func (s *Store) rulesChanged(tx *sqldb.Tx, tenant id.Tenant, was string, now Settings) error {
	old := Defaults()
	if err := json.Unmarshal([]byte(was), &old); err != nil {
		return fmt.Errorf("the stored settings are not understood: %w", err)
	}
	if s.LifecycleChanged != nil && old.Lifecycle != now.Lifecycle {
		if err := s.LifecycleChanged(tx, tenant); err != nil {
			return err
		}
	}
	if s.SearchChanged != nil && !old.Search.equal(now.Search) {
		return s.SearchChanged(tx, tenant, now.Search.Fields(), false)
	}
	return nil
}

// SetSuspended closes or opens a tenant: nobody signs in to a suspended one
// and none of its tokens are good.
func (s *Store) SetSuspended(ctx context.Context, tenant id.Tenant, suspended bool, by string) (*Tenant, error) {
	return s.change(ctx, tenant, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`UPDATE tenant SET suspended = $2, revision = revision + 1, updated_at = $3 WHERE tenant = $1`, tenant, suspended, tx.Now()); err != nil {
			return fmt.Errorf("store the tenant's state: %w", err)
		}
		return s.Log.Append(tx, event.Event{Tenant: tenant, Type: "tenant.status.changed", Actor: actor(by), Data: map[string]any{"suspended": suspended}})
	})
}

func (s *Store) change(ctx context.Context, tenant id.Tenant, fn func(tx *sqldb.Tx) error) (*Tenant, error) {
	if _, err := s.ByID(ctx, tenant); err != nil {
		return nil, err
	}
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		_, err := s.Watch.Bump(tx, tenant, "tenant", string(tenant))
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.Watch.Poll(ctx); err != nil {
		return nil, err
	}
	return s.ByID(ctx, tenant)
}

// ByID returns a tenant, or ErrNotFound.
func (s *Store) ByID(ctx context.Context, tenant id.Tenant) (*Tenant, error) {
	return s.cached(ctx, "id:"+string(tenant), `t.tenant = $1`, string(tenant))
}

// BySlug returns the tenant that is served by path under slug, or ErrNotFound.
func (s *Store) BySlug(ctx context.Context, slug string) (*Tenant, error) {
	if len(slug) > 40 || !slugPattern.MatchString(slug) {
		return nil, ErrNotFound
	}
	return s.cached(ctx, "slug:"+slug, `t.slug = $1`, slug)
}

// ByHost returns the tenant that is served on host (with its port where it is
// not the scheme's own), or ErrNotFound.
func (s *Store) ByHost(ctx context.Context, host string) (*Tenant, error) {
	host = Authority(host)
	if host == "" || len(host) > 260 {
		return nil, ErrNotFound
	}
	return s.cached(ctx, "host:"+host, `t.host = $1`, host)
}

// Authority is the Host header of a request in the spelling that tenants are
// kept by: in small letters, without the dot of a fully qualified name, and
// without a scheme's own port, which some clients write.
func Authority(host string) string {
	host = strings.ToLower(host)
	for _, own := range []string{":443", ":80"} {
		host = strings.TrimSuffix(host, own)
	}
	if name, port, found := strings.Cut(host, ".:"); found {
		return name + ":" + port
	}
	return strings.TrimSuffix(host, ".")
}

// cached reads one tenant. A name that no tenant has is remembered too, so
// that strangers who ask for made-up hosts do not reach the database each time.
func (s *Store) cached(ctx context.Context, key, where, value string) (*Tenant, error) {
	t, err := s.cache.Get(ctx, key, func(ctx context.Context) (*Tenant, error) {
		found, err := s.read(ctx, where, value)
		if errors.Is(err, sqldb.ErrNoRows) {
			return nil, nil
		}
		return found, err
	})
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, ErrNotFound
	}
	return t, nil
}

const selectTenant = `SELECT t.tenant, t.slug, t.name, t.issuer, t.host, t.suspended, t.settings, t.former, t.revision, b.brand, b.name, b.revision, b.theme, b.document, b.assets
	FROM tenant t JOIN brand b ON b.tenant = t.tenant `

func (s *Store) read(ctx context.Context, where, value string) (*Tenant, error) {
	return scan(s.DB.QueryRow(ctx, selectTenant+`WHERE `+where, value))
}

// List returns up to limit tenants whose ids come after the given one.
func (s *Store) List(ctx context.Context, after id.Tenant, limit int) ([]*Tenant, error) {
	rows, err := s.DB.Query(ctx, selectTenant+`WHERE t.tenant > $1 ORDER BY t.tenant LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the tenants: %w", err)
	}
	defer rows.Close()
	var tenants []*Tenant
	for rows.Next() {
		t, err := scan(rows)
		if err != nil {
			return nil, err
		}
		tenants = append(tenants, t)
	}
	return tenants, rows.Err()
}

func scan(row sqldb.Scanner) (*Tenant, error) {
	var t Tenant
	var settings, former, theme, document, assets string
	err := row.Scan(&t.ID, &t.Slug, &t.Name, &t.Issuer, &t.Host, &t.Suspended, &settings, &former, &t.Revision, &t.Brand.ID, &t.Brand.Name, &t.Brand.Revision,
		&theme, &document, &assets)
	if err != nil {
		return nil, fmt.Errorf("read the tenant: %w", err)
	}
	t.Settings = Defaults()
	if err := json.Unmarshal([]byte(settings), &t.Settings); err != nil {
		return nil, fmt.Errorf("the stored settings of %s are not understood: %w", t.ID, err)
	}
	if t.Former, err = readFormer(former); err != nil {
		return nil, fmt.Errorf("the stored settings of %s: %w", t.ID, err)
	}
	if t.Schema, err = CompileProfile(t.Settings.Profile); err != nil {
		return nil, fmt.Errorf("the stored settings of %s: %w", t.ID, err)
	}
	t.Rules = make(map[identifier.Kind]*identifier.Rule, len(t.Settings.Identifiers))
	for _, declared := range t.Settings.Identifiers {
		if t.Rules[identifier.Declared(declared.Name)], err = declared.rule(); err != nil {
			return nil, fmt.Errorf("the stored settings of %s: %w", t.ID, err)
		}
	}
	if err := t.Brand.read(theme, document, assets); err != nil {
		return nil, err
	}
	_, t.Authority, _ = strings.Cut(t.Issuer, "://")
	if t.Host == "" {
		t.Path = "/t/" + t.Slug
		t.Authority = strings.TrimSuffix(t.Authority, t.Path)
	}
	return &t, nil
}

func actor(by string) string {
	if by == "" {
		return "system"
	}
	return by
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}
