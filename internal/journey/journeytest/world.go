// Package journeytest gives tests of journeys everything that a journey works
// with, over a real database and a clock that the test moves, and browsers that
// go through journeys without HTTP.
package journeytest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/consent"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/i18n"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// TB is what the helpers need of a test, so that a property's test is one too.
type TB interface {
	Helper()
	Fatal(args ...any)
	Context() context.Context
}

// World is one node.
type World struct {
	step.Capabilities
	Fake         *clock.Fake
	Watch        *configversion.Watch
	Tenants      *tenant.Store
	Applications *application.Store
	Kinds        map[string]journey.Step
	Engine       *journey.Engine

	Tenant *tenant.Tenant
	Shop   *application.Application // the tenant's own
	Ana    *application.Application // a third party's

	keyStore *sqldb.DB
	root     keyring.Root
}

func migrations() []sqldb.MigrationSet {
	return []sqldb.MigrationSet{
		keyring.Migrations(), event.Migrations(), configversion.Migrations(), budget.Migrations(), tenant.Migrations(), application.Migrations(),
		customer.Migrations(), credential.Migrations(), challenge.Migrations(), session.Migrations(), grant.Migrations(), consent.Migrations(),
		notify.Migrations(), journey.Migrations(), organization.Migrations(),
	}
}

// Each runs test on a fresh World on each engine. change may change the
// tenant's settings.
func Each(t *testing.T, test func(t *testing.T, w *World), change ...func(*tenant.Settings)) {
	t.Helper()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) { test(t, New(t, engine, change...)) })
	}
}

// New returns a node on a fresh database with a tenant and two applications.
func New(t testing.TB, engine sqldb.Engine, change ...func(*tenant.Settings)) *World {
	t.Helper()
	fake := clock.NewFake(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC))
	withClock := func(o *sqldb.Options) { o.Clock = fake }
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	root, err := keyring.RootFromBytes(secret)
	if err != nil {
		t.Fatal(err)
	}
	w := &World{
		Fake: fake, root: root,
		keyStore: dbtest.Open(t, sqldb.SQLite, []sqldb.MigrationSet{keyring.StoreMigrations()}, withClock),
	}
	w.DB = dbtest.Open(t, engine, migrations(), withClock)
	w.wire(t)
	w.Tenant = w.NewTenant(t, "shop", change...)
	for app, settings := range map[**application.Application]application.Settings{
		&w.Shop: {Name: "Shop", Kind: application.Web, FirstParty: true, RedirectURIs: []string{"https://shop.example/callback"}},
		&w.Ana:  {Name: "Recipes by Ana", Kind: application.Web, RedirectURIs: []string{"https://recipes.example/callback"}},
	} {
		if *app, _, err = w.Applications.Create(t.Context(), w.Tenant.ID, "", settings, ""); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// NewTenant makes a tenant whose hashes are as cheap as they may be.
func (w *World) NewTenant(t TB, slug string, change ...func(*tenant.Settings)) *tenant.Tenant {
	t.Helper()
	settings := tenant.Defaults()
	settings.Password = tenant.Password{MinLength: 15, MemoryKiB: 7 * 1024, Time: 5, Parallelism: 1}
	for _, set := range change {
		set(&settings)
	}
	made, err := w.Tenants.Create(t.Context(), tenant.New{Slug: slug, Name: "Olive & Thyme", Issuer: "https://" + slug + ".example", Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Apply changes the tenant's settings.
func (w *World) Apply(t TB, change func(*tenant.Settings)) {
	t.Helper()
	settings := w.Tenant.Settings
	change(&settings)
	applied, err := w.Tenants.Apply(t.Context(), w.Tenant.ID, 0, settings, "")
	if err != nil {
		t.Fatal(err)
	}
	w.Tenant = applied
}

// Second returns another node on the same database.
func (w *World) Second(t testing.TB) *World {
	t.Helper()
	second := *w
	if w.DB.Engine() == sqldb.Postgres {
		second.DB = dbtest.OpenSecond(t, w.DB, func(o *sqldb.Options) { o.Clock = w.Fake })
	}
	second.wire(t)
	return &second
}

func (w *World) wire(t testing.TB) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	c := &w.Capabilities
	c.Clock, c.Random = w.Fake, rand.Reader
	c.Ring, err = keyring.Open(t.Context(), keyring.Options{DB: w.DB, Store: w.keyStore, Root: w.root, Clock: w.Fake, Random: rand.Reader})
	fatal(err)
	directory := customer.New(customer.Options{DB: w.DB, Ring: c.Ring, Clock: w.Fake, Random: rand.Reader})
	c.Directory = directory
	c.Log = event.New(event.Options{DB: w.DB, Clock: w.Fake, Random: rand.Reader, Bump: directory.Bump})
	directory.Log = c.Log
	w.Watch = configversion.New(w.DB, w.Fake, quiet)
	c.Budgets = budget.New(w.DB, w.Fake)
	w.Tenants = tenant.NewStore(tenant.Options{DB: w.DB, Watch: w.Watch, Ring: c.Ring, Log: c.Log, Clock: w.Fake, Random: rand.Reader})
	w.Applications = application.NewStore(application.Options{DB: w.DB, Watch: w.Watch, Log: c.Log, Clock: w.Fake, Random: rand.Reader,
		NeedKey: func(context.Context, id.Tenant, string) error { return nil }})
	c.Hasher, err = credential.NewHasher(credential.HasherOptions{Random: rand.Reader})
	fatal(err)
	c.Checker = credential.NewChecker(nil)
	c.Passwords = credential.NewPasswords(w.DB, c.Log, rand.Reader)
	c.Challenges = challenge.New(challenge.Options{DB: w.DB, Ring: c.Ring, Clock: w.Fake, Random: rand.Reader})
	c.Sessions = session.New(session.Options{DB: w.DB, Ring: c.Ring, Log: c.Log, Clock: w.Fake, Random: rand.Reader,
		Customer: func(b *sqldb.Batch, t id.Tenant, who id.Customer) func() session.Holder {
			state := directory.QueueState(b, t, who)
			return func() session.Holder {
				return session.Holder{Allowed: state.Found && state.Status.MayUseTokens(), Epoch: state.Epoch}
			}
		}})
	c.Grants = grant.New(grant.Options{DB: w.DB, Ring: c.Ring, Log: c.Log, Clock: w.Fake, Random: rand.Reader,
		Presence: func(*sqldb.Batch, *tenant.Tenant, id.Customer, id.Session) func() grant.Presence {
			return func() grant.Presence { return grant.Presence{} }
		}})
	c.Consents = consent.New(consent.Options{DB: w.DB, Log: c.Log})
	bundle, err := i18n.New()
	fatal(err)
	words, err := notify.NewWords(bundle)
	fatal(err)
	c.Outbox, err = notify.New(notify.Options{DB: w.DB, Ring: c.Ring, Random: rand.Reader, Words: words, Transport: nowhere{},
		Brands: func(context.Context, id.Tenant, id.Brand) (notify.Brand, error) {
			return notify.Brand{}, errors.New("nothing is sent")
		}})
	fatal(err)
	c.Claims = &claim.Sets{}
	c.Organizations = organization.New(organization.Options{DB: w.DB, Ring: c.Ring, Log: c.Log, Budgets: c.Budgets, Clock: w.Fake, Random: rand.Reader,
		Hold: func(tx *sqldb.Tx, t id.Tenant, who id.Customer) (bool, error) {
			state, err := directory.Hold(tx, t, who)
			return state.Status != customer.Erased, err
		},
		Holder: directory.Find,
		NameOf: func(context.Context, id.Tenant, id.Customer) (string, error) { return "Ana Lopes", nil },
		Mail: func(tx *sqldb.Tx, l organization.Letter) error {
			return c.Outbox.Enqueue(tx, notify.Message{Tenant: l.Tenant.ID, Brand: l.Tenant.Brand.ID, Key: l.Key, Handle: l.Handle, To: l.To,
				Template: notify.JoinOrganization, Lang: l.Language, Data: notify.Data{Organization: l.Organization, Link: "https://shop.example/join?link=" + l.Link}})
		}})
	directory.Erasers = []func(*sqldb.Tx, id.Tenant, id.Customer) error{
		c.Passwords.Erase, c.Challenges.EraseCustomer, c.Sessions.EraseCustomer, c.Grants.EraseCustomer, c.Consents.EraseCustomer, c.Organizations.EraseCustomer, c.Budgets.Clear,
		journey.EraseCustomer, c.Log.Forget,
	}
	w.Kinds = step.Kinds(*c)
	w.Engine, err = journey.New(w.Options())
	fatal(err)
}

// Options are what the node's engine is made of, for an engine of a test's own.
func (w *World) Options() journey.Options {
	return journey.Options{DB: w.DB, Ring: w.Ring, Budgets: w.Budgets, Log: w.Log, Applications: w.Applications,
		Devices: w.Capabilities, Subjects: w.Capabilities, Facts: w.Capabilities, Kinds: w.Kinds, Clock: w.Fake, Random: rand.Reader,
		Logger: slog.New(slog.DiscardHandler)}
}

// nowhere sends nothing: tests read the outbox.
type nowhere struct{}

func (nowhere) Send(context.Context, notify.Mail) error { return errors.New("nothing is sent") }

// Letter is a message that waits in the outbox.
type Letter struct {
	Template notify.Template `json:"-"`
	To       string
	By       string `json:"by"`
	Lang     string
	Data     notify.Data
}

// Letters returns what waits in the outbox for an address, "" for all, oldest
// first.
func (w *World) Letters(t TB, to string) []Letter {
	t.Helper()
	keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := w.DB.Query(t.Context(), `SELECT id, customer, template, sealed FROM notify_outbox WHERE tenant = $1 ORDER BY created_at, id`, w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	var letters []Letter
	for rows.Next() {
		var message string
		var who id.Customer
		var template notify.Template
		var sealed []byte
		if err := rows.Scan(&message, &who, &template, &sealed); err != nil {
			t.Fatal(err)
		}
		var key interface {
			OpenField(table, column, row string, sealed []byte) ([]byte, error)
		} = keys
		if who != "" {
			key, err = w.Ring.Customer(t.Context(), w.Tenant.ID, who)
			if errors.Is(err, keyring.ErrErased) { // nobody reads it any more
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		plain, err := key.OpenField("notify_outbox", "sealed", message, sealed)
		if err != nil {
			t.Fatal(err)
		}
		var letter Letter
		if err := json.Unmarshal(plain, &letter); err != nil {
			t.Fatal(err)
		}
		if letter.Template = template; to == "" || letter.To == to {
			letters = append(letters, letter)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return letters
}

// Code returns the code that was last sent to an address. It moves the clock,
// so that the next one sent is the last.
func (w *World) Code(t TB, to string) string {
	t.Helper()
	letters := slices.DeleteFunc(w.Letters(t, to), func(l Letter) bool { return l.Data.Code == "" })
	if len(letters) == 0 {
		t.Fatal("nothing was sent to " + to)
	}
	w.Fake.Advance(time.Millisecond)
	return letters[len(letters)-1].Data.Code
}

// Link returns the link that was last sent to an address, as pages read it.
func (w *World) Link(t TB, to string) string {
	t.Helper()
	letters := slices.DeleteFunc(w.Letters(t, to), func(l Letter) bool { return l.Data.Link == "" })
	if len(letters) == 0 {
		t.Fatal("no link was sent to " + to)
	}
	_, link, _ := strings.Cut(letters[len(letters)-1].Data.Link, "?link=")
	return link
}

// Invite invites somebody at an address, in place of whoever was invited at it
// before, and returns the link of the invitation.
func (w *World) Invite(t TB, address string) string {
	t.Helper()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n := Address(t, address)
	keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
	fatal(err)
	before, invited, err := w.Directory.Invited(t.Context(), w.Tenant.ID, keys, n)
	fatal(err)
	if invited {
		fatal(w.Directory.Erase(t.Context(), w.Tenant.ID, before, "test"))
	}
	who := id.New[id.Customer](w.Fake.Now(), rand.Reader)
	key, err := w.Ring.CreateCustomer(t.Context(), w.Tenant.ID, who)
	fatal(err)
	link, sealed, err := w.Challenges.NewLink(keys, challenge.Link{Tenant: w.Tenant.ID, Customer: who, Purpose: step.InvitationPurpose,
		Address: n.Key, Expires: w.Fake.Now().Add(24 * time.Hour)})
	fatal(err)
	fatal(w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		w.Challenges.IssueLink(tx, link)
		return w.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: w.Tenant.ID, Customer: who, Invite: true,
			Identifiers: []customer.NewIdentifier{{Normalised: n}}, Lifecycle: w.Tenant.Settings.Lifecycle, Actor: "test"})
	}))
	return sealed
}

// Address reads an e-mail address.
func Address(t TB, raw string) identifier.Normalised {
	t.Helper()
	n, err := identifier.Normalise(identifier.Email, raw, identifier.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// NewCustomer makes an account with an address that has been proved, and with a
// password unless it is "".
func (w *World) NewCustomer(t TB, address, password string, more ...identifier.Normalised) id.Customer {
	t.Helper()
	who := id.New[id.Customer](w.Fake.Now(), rand.Reader)
	keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	key, err := w.Ring.CreateCustomer(t.Context(), w.Tenant.ID, who)
	if err != nil {
		t.Fatal(err)
	}
	var hash credential.Hash
	if password != "" {
		p := w.Tenant.Settings.Password
		hash, err = w.Hasher.Hash(t.Context(), credential.Asker{Tenant: w.Tenant.ID}, credential.Params{MemoryKiB: p.MemoryKiB, Time: p.Time, Parallelism: p.Parallelism}, credential.NewPassword(password))
		if err != nil {
			t.Fatal(err)
		}
	}
	identifiers := []customer.NewIdentifier{{Normalised: Address(t, address), Verified: true}}
	for _, n := range more {
		identifiers = append(identifiers, customer.NewIdentifier{Normalised: n, Verified: true})
	}
	err = w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		err := w.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: w.Tenant.ID, Customer: who, Identifiers: identifiers})
		if err != nil || hash == "" {
			return err
		}
		_, err = w.Passwords.SetPassword(tx, key, credential.Change{Tenant: w.Tenant.ID, Customer: who, Actor: string(who)}, hash)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return who
}

// Find returns who holds an address, "" for nobody.
func (w *World) Find(t TB, address string) id.Customer {
	t.Helper()
	keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	who, _, err := w.Directory.Find(t.Context(), w.Tenant.ID, keys, Address(t, address))
	if err != nil {
		t.Fatal(err)
	}
	return who
}

// Count counts the rows of a query.
func (w *World) Count(t TB, query string, args ...any) (n int) {
	t.Helper()
	if err := w.DB.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Rows counts the rows of every table, in both stores.
func (w *World) Rows(t TB) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, db := range []*sqldb.DB{w.DB, w.keyStore} {
		tables, err := db.Tables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			var n int
			if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM `+table.Name).Scan(&n); err != nil {
				t.Fatal(err)
			}
			counts[table.Name] = n
		}
	}
	return counts
}
