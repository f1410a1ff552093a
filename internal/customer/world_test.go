package customer_test

import (
	"crypto/rand"
	"testing"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/session/sessiontest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// world is one node with a directory.
type world struct{ *sessiontest.World }

func each(t *testing.T, test func(t *testing.T, w world)) {
	t.Helper()
	sessiontest.Each(t, nil, func(t *testing.T, w *sessiontest.World) { test(t, world{w}) })
}

func (w world) keys(t testing.TB) *keyring.Tenant {
	t.Helper()
	keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func address(t testing.TB, raw string) identifier.Normalised {
	t.Helper()
	n, err := identifier.Normalise(identifier.Email, raw, identifier.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func verified(t testing.TB, raw string) customer.NewIdentifier {
	return customer.NewIdentifier{Normalised: address(t, raw), Verified: true}
}

func unverified(t testing.TB, raw string) customer.NewIdentifier {
	return customer.NewIdentifier{Normalised: address(t, raw)}
}

// mint makes an id and its key, as a sign-up does before it finishes.
func (w world) mint(t testing.TB) (id.Customer, *keyring.Customer) {
	t.Helper()
	who := id.New[id.Customer](w.Clock.Now(), rand.Reader)
	key, err := w.Ring.CreateCustomer(t.Context(), w.Tenant.ID, who)
	if err != nil {
		t.Fatal(err)
	}
	return who, key
}

// create makes an account, and tells why it could not.
func (w world) create(t testing.TB, profile map[string]any, identifiers ...customer.NewIdentifier) (id.Customer, error) {
	t.Helper()
	who, key := w.mint(t)
	keys := w.keys(t)
	return who, w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		return w.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: w.Tenant.ID, Customer: who, Profile: profile, Identifiers: identifiers})
	})
}

func (w world) created(t testing.TB, identifiers ...customer.NewIdentifier) id.Customer {
	t.Helper()
	who, err := w.create(t, map[string]any{"given_name": "Ana"}, identifiers...)
	if err != nil {
		t.Fatal(err)
	}
	return who
}

func (w world) get(t testing.TB, who id.Customer) *customer.Customer {
	t.Helper()
	found, err := w.Directory.Get(t.Context(), w.Tenant.ID, who)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (w world) find(t testing.TB, raw string) id.Customer {
	t.Helper()
	who, found, err := w.Directory.Find(t.Context(), w.Tenant.ID, w.keys(t), address(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	if found != (who != "") {
		t.Errorf("found is %t for %q", found, who)
	}
	return who
}

func (w world) key(t testing.TB, who id.Customer) *keyring.Customer {
	t.Helper()
	key, err := w.Directory.Key(t.Context(), w.Tenant.ID, who)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (w world) add(t testing.TB, who id.Customer, n customer.NewIdentifier) (made id.Identifier, err error) {
	t.Helper()
	keys, key := w.keys(t), w.key(t, who)
	err = w.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
		made, err = w.Directory.AddIdentifier(tx, keys, key, w.Tenant.ID, who, n, string(who))
		return err
	})
	return made, err
}

func (w world) verify(t testing.TB, who id.Customer, raw string) error {
	t.Helper()
	keys := w.keys(t)
	return w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		return w.Directory.VerifyIdentifier(tx, keys, w.Tenant.ID, who, address(t, raw), string(who))
	})
}

func (w world) count(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	if err := w.DB.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
