// Package server turns configuration into a running program. parts.go lists
// every part and what it is made of; routes.go what is mounted where; run.go
// what runs in the background and how the program stops.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync/atomic"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/clientip"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/config"
	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/consent"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/geoip"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/idempotency"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/mailcheck"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/oauth"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/outgoing"
	"github.com/cardea-id/cardea/internal/pages"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/ratelimit"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/signingkey"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
	"github.com/cardea-id/cardea/internal/tracing"
)

// Environment is what the program takes from outside.
type Environment struct {
	Config *config.Config
	Clock  clock.Clock
	Random io.Reader // cryptographically secure
	Logger *slog.Logger
	// AdoptKeyStore takes a key store other than the one that the database was
	// used with, when that is lost for good.
	AdoptKeyStore bool
	// Release is the program's, for those who watch it.
	Release string
	// Development serves http on loopback with unprefixed cookies, and keeps
	// messages in an inbox in place of sending them.
	Development bool
	// Resolver looks up the zones of senders of mail; nil takes the system's.
	Resolver mailcheck.Resolver
	// Front, where it is set, stands before what customers and applications
	// reach: the inbox of development.
	Front func(*Server, http.Handler) http.Handler
}

// Server is the program, assembled and not yet running.
type Server struct {
	Environment

	DB            *sqldb.DB
	KeyStore      *sqldb.DB
	Ring          *keyring.Ring
	Log           *event.Log
	Watch         *configversion.Watch
	Budgets       *budget.Budgets
	Explanations  *explain.Journal
	Tracing       *tracing.Tracer // nil unless configured
	Tenants       *tenant.Store
	SigningKeys   *signingkey.Keys
	Applications  *application.Store
	Directory     *customer.Directory
	Hasher        *credential.Hasher
	Checker       *credential.Checker
	Passwords     *credential.Passwords
	Challenges    *challenge.Challenges
	Sessions      *session.Sessions
	Grants        *grant.Grants
	Claims        *claim.Sets
	Consents      *consent.Consents
	Operators     *operator.Operators
	Once          *idempotency.Keys // of requests to the admin API
	Organizations *organization.Organizations
	Words         *notify.Words // of messages
	Inbox         *notify.Inbox // nil but in development
	Outbox        *notify.Outbox
	Asking        *outgoing.Client // whom the program itself asks over HTTP
	Journeys      *journey.Engine
	Pages         *pages.Pages
	OAuth         *oauth.Provider

	problems problem.Writer
	resolver *clientip.Resolver
	hooks    http.Handler       // what providers of mail tell of bounces
	forms    *ratelimit.Limiter // of forms posted to the hosted pages, by network; nil limits nothing
	failures *ratelimit.Limiter // of failed client authentications, by network; nil limits nothing
	operated *ratelimit.Limiter // of requests to the admin API, by operator; nil limits nothing
	breached *credential.BreachedList
	places   *geoip.Places // nil where geoip_file is not set
	metrics  *metrics
	draining atomic.Bool // whether the program is about to stop
	shed     sampled     // requests answered with 503
}

// DatabaseURL is where everything but customers' keys is kept.
func DatabaseURL(c *config.Config) string {
	if url := c.Database.URL.Reveal(); url != "" {
		return url
	}
	return "sqlite:" + filepath.Join(c.DataDir, "cardea.db")
}

// KeyStoreURL is where customers' keys are kept.
func KeyStoreURL(c *config.Config) string {
	if url := c.KeyStore.URL.Reveal(); url != "" {
		return url
	}
	return "sqlite:" + filepath.Join(c.DataDir, "keys.db")
}

// Migrations are the tables of the main database, in the order of their
// making.
func Migrations() []sqldb.MigrationSet {
	return []sqldb.MigrationSet{
		keyring.Migrations(), event.Migrations(), configversion.Migrations(), budget.Migrations(),
		tenant.Migrations(), signingkey.Migrations(), application.Migrations(), customer.Migrations(),
		credential.Migrations(), challenge.Migrations(), session.Migrations(), grant.Migrations(),
		consent.Migrations(), notify.Migrations(), journey.Migrations(), explain.Migrations(), operator.Migrations(), idempotency.Migrations(), organization.Migrations(),
	}
}

// DevelopmentMigrations are tables that only development has.
func DevelopmentMigrations() []sqldb.MigrationSet {
	return []sqldb.MigrationSet{notify.InboxMigrations()}
}

// KeyStoreMigrations are the tables of the key store.
func KeyStoreMigrations() []sqldb.MigrationSet {
	return []sqldb.MigrationSet{keyring.StoreMigrations()}
}

// RootKey reads the root key that the configuration names.
func RootKey(c *config.Config) (keyring.Root, error) {
	if c.RootKey.File != "" {
		return keyring.RootFromFile(c.RootKey.File)
	}
	return keyring.RootFromBase64(c.RootKey.Value.Reveal())
}

// OldRootKeys reads the former root keys that the configuration names.
func OldRootKeys(c *config.Config) ([]keyring.Root, error) {
	var roots []keyring.Root
	for _, file := range c.OldRoots.Files {
		root, err := keyring.RootFromFile(file)
		if err != nil {
			return nil, fmt.Errorf("old_root_keys.files: %w", err)
		}
		roots = append(roots, root)
	}
	for _, value := range c.OldRoots.Values {
		root, err := keyring.RootFromBase64(value.Reveal())
		if err != nil {
			return nil, fmt.Errorf("old_root_keys.values: %w", err)
		}
		roots = append(roots, root)
	}
	return roots, nil
}

// Assemble opens the stores, brings their tables up to date and makes every
// part. Close ends what it began.
func Assemble(ctx context.Context, env Environment) (_ *Server, err error) {
	env.Logger = slog.New(traced{env.Logger.Handler()})
	s := &Server{Environment: env, metrics: newMetrics()}
	s.problems = problem.Writer{Clock: env.Clock, Random: env.Random, Logger: env.Logger}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.Tracing, err = newTracer(ctx, env); err != nil {
		return nil, err
	}
	if err := s.openStores(ctx); err != nil {
		return nil, err
	}
	root, err := RootKey(env.Config)
	if err != nil {
		return nil, fmt.Errorf("read the root key: %w", err)
	}
	old, err := OldRootKeys(env.Config)
	if err != nil {
		return nil, err
	}

	// Ground.
	s.Log = event.New(event.Options{DB: s.DB, Clock: env.Clock, Random: env.Random, Logger: env.Logger,
		Bump: func(tx *sqldb.Tx, t id.Tenant, c id.Customer) (int64, error) { return s.Directory.Bump(tx, t, c) }})
	s.Ring, err = keyring.Open(ctx, keyring.Options{DB: s.DB, Store: s.KeyStore, Root: root, OldRoots: old, AdoptStore: env.AdoptKeyStore, Adopted: s.adopted, Clock: env.Clock, Random: env.Random})
	if errors.Is(err, keyring.ErrRoot) {
		return nil, fmt.Errorf("%w. The root key is root_key.file or CARDEA_ROOT_KEY_VALUE; former ones are old_root_keys.files or CARDEA_OLD_ROOT_KEYS_VALUES", err)
	}
	if err != nil {
		return nil, err
	}
	s.Watch = configversion.New(s.DB, env.Clock, env.Logger)
	s.Budgets = budget.New(s.DB, env.Clock)
	s.Asking = outgoing.New(outgoing.Options{Allow: env.Config.Outgoing.AllowNetworks})
	if s.Explanations, err = explain.New(s.DB, env.Clock); err != nil {
		return nil, err
	}

	// Configuration.
	views, err := view.New()
	if err != nil {
		return nil, err
	}
	if s.Words, err = notify.NewWords(views.Words()); err != nil {
		return nil, err
	}
	s.Tenants = tenant.NewStore(tenant.Options{DB: s.DB, Watch: s.Watch, Ring: s.Ring, Log: s.Log, Clock: env.Clock, Random: env.Random,
		CheckBrand:       func(t *tenant.Tenant) error { return checkBrand(views, s.Words, t) },
		LifecycleChanged: func(tx *sqldb.Tx, t id.Tenant) error { return s.Directory.SetDates(tx, t) },
		SearchChanged: func(tx *sqldb.Tx, t id.Tenant, fields []string, fresh bool) error {
			return s.Directory.SetSearched(tx, t, fields, fresh)
		}})
	s.SigningKeys = signingkey.New(signingkey.Options{DB: s.DB, Ring: s.Ring, Watch: s.Watch, Log: s.Log, Clock: env.Clock, Random: env.Random})
	s.Applications = application.NewStore(application.Options{DB: s.DB, Watch: s.Watch, Log: s.Log, Clock: env.Clock, Random: env.Random,
		Development: env.Development,
		NeedKey: func(ctx context.Context, t id.Tenant, alg string) error {
			return s.SigningKeys.Ensure(ctx, t, jose.Alg(alg))
		}})

	// Capabilities.
	s.Directory = customer.New(customer.Options{DB: s.DB, Ring: s.Ring, Log: s.Log, Clock: env.Clock, Random: env.Random,
		Tenant: s.Tenants.ByID, Shut: s.shut, Notice: s.lifecycleNotice, Spare: s.spare, Seen: s.lastSeen, Erasers: s.erasers(), HandleEraser: eraseHandle})
	if s.Hasher, err = credential.NewHasher(credential.HasherOptions{Concurrency: env.Config.Hashing.MaxConcurrent,
		MemoryKiB: env.Config.Hashing.MemoryLimitMiB * 1024, Queue: env.Config.Hashing.QueueLength, Clock: env.Clock, Random: env.Random}); err != nil {
		return nil, err
	}
	if path := env.Config.GeoIPFile; path != "" {
		if s.places, err = geoip.Open(path); err != nil {
			return nil, fmt.Errorf("geoip_file: %w", err)
		}
	}
	if path := env.Config.BreachedPasswordsFile; path != "" {
		if s.breached, err = credential.OpenBreachedList(path); err != nil {
			return nil, fmt.Errorf("breached_passwords_file: %w", err)
		}
	}
	s.Checker = credential.NewChecker(s.breached)
	s.Passwords = credential.NewPasswords(s.DB, s.Log, env.Random)
	s.Challenges = challenge.New(challenge.Options{DB: s.DB, Ring: s.Ring, Clock: env.Clock, Random: env.Random})
	s.Sessions = session.New(session.Options{DB: s.DB, Ring: s.Ring, Log: s.Log, Clock: env.Clock, Random: env.Random,
		Customer: s.holder, Ended: s.sessionsEnded, Seen: s.Directory.NoteSeen})
	s.Grants = grant.New(grant.Options{DB: s.DB, Ring: s.Ring, Log: s.Log, Clock: env.Clock, Random: env.Random, Presence: s.presence, Persists: s.Sessions.Persists,
		Seen: s.Directory.NoteSeen})
	s.Claims = &claim.Sets{}
	s.Consents = consent.New(consent.Options{DB: s.DB, Log: s.Log})
	s.Once = &idempotency.Keys{DB: s.DB, Ring: s.Ring, Clock: env.Clock}
	s.Operators = operator.New(operator.Options{DB: s.DB, Log: s.Log, Clock: env.Clock, Random: env.Random,
		Active: func(tx *sqldb.Tx, c id.Customer) (bool, error) { return s.Directory.Active(tx, id.SystemTenant, c) }})
	if err := s.openOutbox(); err != nil {
		return nil, err
	}
	s.Organizations = organization.New(organization.Options{DB: s.DB, Ring: s.Ring, Log: s.Log, Budgets: s.Budgets, Clock: env.Clock, Random: env.Random,
		Hold: s.holdMember, Holder: s.Directory.Find, NameOf: s.nameOf, Mail: s.mailInvitation})

	// Flow.
	steps := step.Capabilities{DB: s.DB, Ring: s.Ring, Log: s.Log, Budgets: s.Budgets, Directory: s.Directory, Hasher: s.Hasher,
		Checker: s.Checker, Passwords: s.Passwords, Challenges: s.Challenges, Outbox: s.Outbox, Sessions: s.Sessions,
		Grants: s.Grants, Claims: s.Claims, Consents: s.Consents, Organizations: s.Organizations, Places: s.places, Clock: env.Clock, Random: env.Random}
	if s.Journeys, err = journey.New(journey.Options{DB: s.DB, Ring: s.Ring, Budgets: s.Budgets, Log: s.Log, Applications: s.Applications,
		Devices: steps, Subjects: steps, Facts: steps, Kinds: step.Kinds(steps), Clock: env.Clock, Random: env.Random,
		Logger: env.Logger}); err != nil {
		return nil, err
	}

	// Surfaces.
	s.resolver = clientip.New(env.Config.TrustedProxies)
	if s.forms, err = perNetwork(env, env.Config.Rate.FormsPerSecond, env.Config.Rate.FormsBurst); err != nil {
		return nil, err
	}
	if s.failures, err = perNetwork(env, env.Config.Rate.FailuresPerSecond, env.Config.Rate.FailuresBurst); err != nil {
		return nil, err
	}
	if s.hooks, err = s.mailHooks(); err != nil {
		return nil, err
	}
	if s.operated, err = perNetwork(env, env.Config.Rate.AdminPerSecond, env.Config.Rate.AdminBurst); err != nil {
		return nil, err
	}
	jar := browser.Jar{Insecure: env.Development}
	resume := map[string]func(http.ResponseWriter, *http.Request, *tenant.Tenant, *journey.Finished){}
	s.Pages = pages.New(pages.Options{Engine: s.Journeys, Directory: s.Directory, Sessions: s.Sessions, Grants: s.Grants, Organizations: s.Organizations, Claims: s.Claims,
		Passwords: s.Passwords, Applications: s.Applications, Views: views, Jar: jar, Resolver: s.resolver, DB: s.DB, Ring: s.Ring,
		Clock: env.Clock, Random: env.Random, Logger: env.Logger, Resume: resume, BrandAsset: s.Tenants.BrandAsset, Enrolment: enrolment{s}})
	s.OAuth = oauth.New(oauth.Options{DB: s.DB, Ring: s.Ring, Applications: s.Applications, Directory: s.Directory, Sessions: s.Sessions,
		Grants: s.Grants, Organizations: s.Organizations, SigningKeys: s.SigningKeys, Claims: s.Claims, ClaimDropped: s.metrics.claims.Inc, Interaction: interaction{s.Pages}, Jar: jar, Resolver: s.resolver,
		Failures: s.failures, Held: s.heldScopes, Clock: env.Clock, Random: env.Random, Logger: env.Logger})
	resume[oauth.ResumeKind] = s.OAuth.Resume
	s.registerMetrics()

	if err := s.Watch.Poll(ctx); err != nil {
		return nil, err
	}
	if env.Config.SystemURL != "" {
		err = s.ensureSystemTenant(ctx, env.Config.SystemURL)
	}
	return s, err
}

// networks is how many networks a node remembers at once of those that a limit
// counts, 250 bytes each at most.
const networks = 50_000

// perNetwork makes a limit of so many a second; 0 is none.
func perNetwork(env Environment, rate, burst int) (*ratelimit.Limiter, error) {
	if rate == 0 {
		return nil, nil //nolint:nilnil // a nil Limiter limits nothing
	}
	return ratelimit.New(ratelimit.Options{Limit: ratelimit.PerSecond(rate, burst), Keys: networks, Clock: env.Clock})
}

func (s *Server) openStores(ctx context.Context) error {
	var err error
	options := sqldb.Options{URL: DatabaseURL(s.Config), MaxConns: s.Config.Database.MaxConnections, Clock: s.Clock, Logger: s.Logger}
	if s.DB, err = sqldb.Open(ctx, options); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	options.URL, options.MaxConns, options.Scrub = KeyStoreURL(s.Config), 4, true
	if s.KeyStore, err = sqldb.Open(ctx, options); err != nil {
		return fmt.Errorf("open the key store: %w", err)
	}
	sets := Migrations()
	if s.Development {
		sets = append(sets, DevelopmentMigrations()...)
	}
	if err := s.DB.Migrate(ctx, sets...); err != nil {
		return fmt.Errorf("bring the database up to date: %w", err)
	}
	if err := s.KeyStore.Migrate(ctx, KeyStoreMigrations()...); err != nil {
		return fmt.Errorf("bring the key store up to date: %w", err)
	}
	return nil
}

// erasers are what each capability deletes of a customer who is erased.
func (s *Server) erasers() []func(*sqldb.Tx, id.Tenant, id.Customer) error {
	return []func(*sqldb.Tx, id.Tenant, id.Customer) error{
		func(tx *sqldb.Tx, t id.Tenant, c id.Customer) error { return s.Passwords.Erase(tx, t, c) },
		func(tx *sqldb.Tx, t id.Tenant, c id.Customer) error { return s.Challenges.EraseCustomer(tx, t, c) },
		func(tx *sqldb.Tx, t id.Tenant, c id.Customer) error { return s.Sessions.EraseCustomer(tx, t, c) },
		func(tx *sqldb.Tx, t id.Tenant, c id.Customer) error { return s.Grants.EraseCustomer(tx, t, c) },
		func(tx *sqldb.Tx, t id.Tenant, c id.Customer) error { return s.Consents.EraseCustomer(tx, t, c) },
		func(tx *sqldb.Tx, t id.Tenant, c id.Customer) error { return s.Organizations.EraseCustomer(tx, t, c) },
		func(tx *sqldb.Tx, t id.Tenant, c id.Customer) error { return s.Operators.EraseCustomer(tx, t, c) },
		func(tx *sqldb.Tx, t id.Tenant, c id.Customer) error { return s.Budgets.Clear(tx, t, c) },
		idempotency.EraseCustomer,
		journey.EraseCustomer,
		func(tx *sqldb.Tx, t id.Tenant, c id.Customer) error { return s.Explanations.Erase(tx, t, c) },
		func(tx *sqldb.Tx, t id.Tenant, c id.Customer) error { return s.Log.Forget(tx, t, c) },
	}
}

// eraseHandle deletes what is kept under the hash of an address of somebody who is
// erased. Invitations to one that was not proved may be another's.
func eraseHandle(tx *sqldb.Tx, t id.Tenant, handle []byte, held bool) {
	notify.EraseHandle(tx, t, handle)
	if held {
		organization.EraseHandle(tx, t, handle)
	}
}

// Close closes the stores.
func (s *Server) Close() error {
	s.closeTracing()
	var errs []error
	errs = append(errs, s.places.Close())
	if s.breached != nil {
		errs = append(errs, s.breached.Close())
	}
	for _, db := range []*sqldb.DB{s.DB, s.KeyStore} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}
