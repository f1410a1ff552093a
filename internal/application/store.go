package application

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "application", FS: migrations}
}

var (
	// ErrNotFound says that the tenant has no such application.
	ErrNotFound = errors.New("the tenant has no such application")
	// ErrChanged says that the application was changed since it was read.
	ErrChanged = errors.New("the application was changed by somebody else since it was read; read it again")
	// ErrTaken says that the tenant has an application with the id.
	ErrTaken = errors.New("the tenant has an application with that id")
	// ErrInvalid says that settings are refused; the text says all that is wrong.
	ErrInvalid = errors.New("the application's settings are refused")
)

// Options are what a Store works with.
type Options struct {
	DB     *sqldb.DB
	Watch  *configversion.Watch
	Log    *event.Log
	Clock  clock.Clock
	Random io.Reader
	// Development allows redirect URIs on http://localhost.
	Development bool
	// NeedKey is called when an application needs a signing algorithm, so that
	// the tenant's key for it is made before the first sign-in and not in it.
	NeedKey func(ctx context.Context, tenant id.Tenant, alg string) error
}

// Store reads and changes applications.
type Store struct {
	Options
	cache *configversion.Cache[cacheKey, *Application]
}

type cacheKey struct {
	tenant      id.Tenant
	application id.Application
}

// cacheSize is how many applications a node remembers.
const cacheSize = 4096

// NewStore returns the store of applications.
func NewStore(o Options) *Store {
	s := &Store{Options: o}
	s.cache = configversion.NewCache[cacheKey, *Application](o.Watch, cacheSize, func(c configversion.Change, remove func(cacheKey), _ func()) {
		if c.Kind == "application" {
			remove(cacheKey{c.Tenant, id.Application(c.Ref)})
		}
	})
	return s
}

// record is what is stored of an application beside its keys.
type record struct {
	Settings
	Secrets [][]byte `json:"secret_hashes"`
}

// Create registers an application. The secret, empty for one that keeps none,
// is told this once and stored only as its hash. An id that is given is used,
// so that a demo keeps its addresses.
func (s *Store) Create(ctx context.Context, tenant id.Tenant, application id.Application, settings Settings, by string) (*Application, string, error) {
	if err := settings.complete(s.Development); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if application == "" {
		application = id.New[id.Application](s.Clock.Now(), s.Random)
	} else if _, err := id.Parse[id.Application](string(application)); err != nil {
		return nil, "", fmt.Errorf("%w: %q is not an application's id", ErrInvalid, application)
	}
	if _, err := id.Parse[id.Application](string(application)); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	stored, secret := record{Settings: settings}, ""
	if settings.AuthMethod != AuthNone {
		made, hash, err := newSecret(s.Random)
		if err != nil {
			return nil, "", err
		}
		stored.Secrets, secret = [][]byte{hash}, made
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return nil, "", fmt.Errorf("write the application's settings: %w", err)
	}
	if err := s.needKeys(ctx, tenant, settings); err != nil {
		return nil, "", err
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		made, err := tx.Exec(`INSERT INTO application (tenant, application, name, settings, revision, created_at, updated_at)
			VALUES ($1, $2, $3, $4, 1, $5, $5) ON CONFLICT DO NOTHING`, tenant, application, settings.Name, string(text), tx.Now())
		if err != nil {
			return fmt.Errorf("insert the application: %w", err)
		}
		if made == 0 {
			return ErrTaken
		}
		return s.changed(tx, tenant, application, "application.created", by)
	})
	if err != nil {
		return nil, "", err
	}
	created, err := s.afterChange(ctx, tenant, application)
	return created, secret, err
}

// Update replaces an application's settings. The revision is the one that the
// caller has read; 0 replaces whatever there is.
func (s *Store) Update(ctx context.Context, tenant id.Tenant, application id.Application, revision int64, settings Settings, by string) (*Application, error) {
	if err := settings.complete(s.Development); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	before, err := s.present(ctx, tenant, application)
	if err != nil {
		return nil, err
	}
	secrets := before.secrets
	switch {
	case settings.AuthMethod == AuthNone:
		secrets = nil // what was known to somebody must not be good again later
	case len(secrets) == 0:
		return nil, fmt.Errorf("%w: an application that keeps no secret cannot begin to keep one; register another", ErrInvalid)
	}
	text, err := json.Marshal(record{Settings: settings, Secrets: secrets})
	if err != nil {
		return nil, fmt.Errorf("write the application's settings: %w", err)
	}
	if err := s.needKeys(ctx, tenant, settings); err != nil {
		return nil, err
	}
	if revision == 0 {
		revision = before.Revision
	}
	return s.store(ctx, tenant, application, revision, settings.Name, text, "application.changed", by)
}

// With returns the settings with what a JSON text names changed. A list that it
// names is replaced whole; what it does not name stays; what there is no such
// setting for is refused.
func (s Settings) With(text []byte) (Settings, error) {
	own := s
	// A decoder writes into the lists that it finds, which others read.
	own.RedirectURIs, own.PostLogoutURIs, own.Scopes, own.GrantTypes = slices.Clone(s.RedirectURIs), slices.Clone(s.PostLogoutURIs), slices.Clone(s.Scopes), slices.Clone(s.GrantTypes)
	own.Resources = slices.Clone(s.Resources)
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&own); err != nil {
		return Settings{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Settings{}, fmt.Errorf("%w: there is something after the JSON", ErrInvalid)
	}
	return own, nil
}

// Delete removes an application for good. The revision is the one that the
// caller has read; 0 removes whatever there is.
func (s *Store) Delete(ctx context.Context, tenant id.Tenant, application id.Application, revision int64, by string) error {
	before, err := s.present(ctx, tenant, application)
	if err != nil {
		return err
	}
	if revision == 0 {
		revision = before.Revision
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		removed, err := tx.Exec(`DELETE FROM application WHERE tenant = $1 AND application = $2 AND revision = $3`, tenant, application, revision)
		if err != nil {
			return fmt.Errorf("delete the application: %w", err)
		}
		if removed == 0 {
			return ErrChanged
		}
		return s.changed(tx, tenant, application, "application.deleted", by)
	})
	if err != nil {
		return err
	}
	return s.Watch.Poll(ctx)
}

// RotateSecret gives an application a new secret, told this once. The old one
// stays good until the next rotation when keepOld is set, so that the
// application can be moved over without a gap.
func (s *Store) RotateSecret(ctx context.Context, tenant id.Tenant, application id.Application, keepOld bool, by string) (string, error) {
	before, err := s.present(ctx, tenant, application)
	if err != nil {
		return "", err
	}
	if before.Public() {
		return "", fmt.Errorf("%w: it keeps no secret", ErrInvalid)
	}
	secret, hash, err := newSecret(s.Random)
	if err != nil {
		return "", err
	}
	secrets := [][]byte{hash}
	if keepOld && len(before.secrets) > 0 {
		secrets = append(secrets, before.secrets[0])
	}
	text, err := json.Marshal(record{Settings: before.Settings, Secrets: secrets})
	if err != nil {
		return "", fmt.Errorf("write the application's settings: %w", err)
	}
	if _, err := s.store(ctx, tenant, application, before.Revision, before.Name, text, "application.secret.rotated", by); err != nil {
		return "", err
	}
	return secret, nil
}

func (s *Store) store(ctx context.Context, tenant id.Tenant, application id.Application, revision int64, name string, text []byte, eventType, by string) (*Application, error) {
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		changed, err := tx.Exec(`UPDATE application SET name = $4, settings = $5, revision = revision + 1, updated_at = $6
			WHERE tenant = $1 AND application = $2 AND revision = $3`, tenant, application, revision, name, string(text), tx.Now())
		if err != nil {
			return fmt.Errorf("store the application: %w", err)
		}
		if changed == 0 {
			return ErrChanged
		}
		return s.changed(tx, tenant, application, eventType, by)
	})
	if err != nil {
		return nil, err
	}
	return s.afterChange(ctx, tenant, application)
}

func (s *Store) changed(tx *sqldb.Tx, tenant id.Tenant, application id.Application, eventType, by string) error {
	if by == "" {
		by = "system"
	}
	if err := s.Log.Append(tx, event.Event{Tenant: tenant, Type: eventType, Actor: by, Data: map[string]any{"application": application}}); err != nil {
		return err
	}
	_, err := s.Watch.Bump(tx, tenant, "application", string(application))
	return err
}

func (s *Store) afterChange(ctx context.Context, tenant id.Tenant, application id.Application) (*Application, error) {
	if err := s.Watch.Poll(ctx); err != nil {
		return nil, err
	}
	return s.Get(ctx, tenant, application)
}

// present returns an application as it is now, where Get's may be of a moment
// ago.
func (s *Store) present(ctx context.Context, tenant id.Tenant, application id.Application) (*Application, error) {
	if err := s.Watch.Poll(ctx); err != nil {
		return nil, err
	}
	return s.Get(ctx, tenant, application)
}

// needKeys has the tenant's signing keys made: access tokens are ES256, ID
// tokens as the application registered.
func (s *Store) needKeys(ctx context.Context, tenant id.Tenant, settings Settings) error {
	algs := []string{"ES256"}
	if settings.Kind != Machine && settings.IDTokenAlg != "ES256" {
		algs = append(algs, settings.IDTokenAlg)
	}
	for _, alg := range algs {
		if err := s.NeedKey(ctx, tenant, alg); err != nil {
			return fmt.Errorf("make the tenant's %s key: %w", alg, err)
		}
	}
	return nil
}

// Get returns an application of the tenant, disabled ones too, or ErrNotFound.
func (s *Store) Get(ctx context.Context, tenant id.Tenant, application id.Application) (*Application, error) {
	if _, err := id.Parse[id.Application](string(application)); err != nil {
		return nil, ErrNotFound
	}
	found, err := s.cache.Get(ctx, cacheKey{tenant, application}, func(ctx context.Context) (*Application, error) {
		var name, text string
		a := &Application{ID: application, Tenant: tenant}
		err := s.DB.QueryRow(ctx, `SELECT name, settings, revision FROM application WHERE tenant = $1 AND application = $2`,
			tenant, application).Scan(&name, &text, &a.Revision)
		if errors.Is(err, sqldb.ErrNoRows) {
			return nil, nil // remembered, so that a made-up client_id does not reach the database each time
		}
		if err != nil {
			return nil, fmt.Errorf("read the application: %w", err)
		}
		var stored record
		if err := json.Unmarshal([]byte(text), &stored); err != nil {
			return nil, fmt.Errorf("the stored settings of %s are not understood: %w", application, err)
		}
		a.Settings, a.secrets = stored.Settings, stored.Secrets
		return a, nil
	})
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, ErrNotFound
	}
	return found, nil
}

// List returns up to limit applications of the tenant whose ids come after the
// given one.
func (s *Store) List(ctx context.Context, tenant id.Tenant, after id.Application, limit int) ([]*Application, error) {
	rows, err := s.DB.Query(ctx, `SELECT application FROM application WHERE tenant = $1 AND application > $2 ORDER BY application LIMIT $3`, tenant, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the applications: %w", err)
	}
	defer rows.Close()
	var applications []*Application
	for rows.Next() {
		var application id.Application
		if err := rows.Scan(&application); err != nil {
			return nil, fmt.Errorf("read an application's id: %w", err)
		}
		a, err := s.Get(ctx, tenant, application)
		if err != nil {
			return nil, err
		}
		applications = append(applications, a)
	}
	return applications, rows.Err()
}
