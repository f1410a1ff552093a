package signingkey_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/session/sessiontest"
	"github.com/cardea-id/cardea/internal/signingkey"
	"github.com/cardea-id/cardea/internal/sqldb"
)

type world struct {
	*sessiontest.World
	keys *signingkey.Keys
}

func wire(w *sessiontest.World) world {
	return world{w, signingkey.New(signingkey.Options{DB: w.DB, Ring: w.Ring, Watch: w.Watch, Log: w.Log, Clock: w.Clock, Random: rand.Reader})}
}

func each(t *testing.T, test func(t *testing.T, w world)) {
	t.Helper()
	sessiontest.Each(t, []sqldb.MigrationSet{signingkey.Migrations()}, func(t *testing.T, w *sessiontest.World) { test(t, wire(w)) })
}

// signer returns the signer for an algorithm, past the wait of a first key.
func (w world) signer(t testing.TB, alg jose.Alg) *jose.Signer {
	t.Helper()
	if err := w.keys.Ensure(t.Context(), w.Tenant.ID, alg); err != nil {
		t.Fatal(err)
	}
	if w.DB.Engine() == sqldb.Postgres {
		w.Clock.Advance(signingkey.FirstWait)
	}
	s, err := w.keys.Signer(t.Context(), w.Tenant.ID, alg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w world) jwks(t testing.TB) string {
	t.Helper()
	set, err := w.keys.Public(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	return string(set)
}

func (w world) states(t testing.TB) map[string]signingkey.State {
	t.Helper()
	list, err := w.keys.List(t.Context(), w.Tenant.ID, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]signingkey.State{}
	for _, key := range list {
		states[key.KID] = key.State
	}
	return states
}

func TestFirstUse(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		if got := w.jwks(t); got != `{"keys":[]}` {
			t.Errorf("a new tenant publishes %s", got)
		}
		for _, alg := range []jose.Alg{jose.ES256, jose.EdDSA, jose.RS256} {
			s := w.signer(t, alg)
			token, err := s.Sign("JWT", []byte(`{"sub":"x"}`))
			if err != nil {
				t.Fatal(err)
			}
			verifier, err := w.keys.Verifier(t.Context(), w.Tenant.ID)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := jose.Verify(token, jose.Expect{Algs: []jose.Alg{alg}, Types: []string{"JWT"}}, verifier); err != nil {
				t.Errorf("%s: %v", alg, err)
			}
			if kid, err := jose.Thumbprint(s.Public().Key); err != nil || s.KeyID() != kid || !strings.Contains(w.jwks(t), kid) {
				t.Errorf("%s: the key %q is not its thumbprint %q, or not published: %v", alg, s.KeyID(), kid, err)
			}
			if again := w.signer(t, alg); again.KeyID() != s.KeyID() {
				t.Errorf("%s: a second key is made", alg)
			}
		}
		if n := len(w.states(t)); n != 3 {
			t.Errorf("%d keys", n)
		}
		var private []byte
		if err := w.DB.QueryRow(t.Context(), `SELECT private FROM signing_key WHERE alg = 'EdDSA'`).Scan(&private); err != nil {
			t.Fatal(err)
		}
		if _, err := jose.ParsePrivateKey(jose.EdDSA, private); err == nil {
			t.Error("the private key is stored open")
		}
		if _, err := w.keys.Signer(t.Context(), w.Tenant.ID, "HS256"); err == nil {
			t.Error("a symmetric algorithm is taken")
		}
		if _, err := w.keys.Signer(t.Context(), "ten_00000000000000000000000001", jose.ES256); err == nil {
			t.Error("a tenant that there is not has a signer")
		}
	})
}

// On PostgreSQL a first key signs once every node serves it.
func TestFirstKeyWaits(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		if err := w.keys.Ensure(t.Context(), w.Tenant.ID, jose.ES256); err != nil {
			t.Fatal(err)
		}
		soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := w.keys.Signer(soon, w.Tenant.ID, jose.ES256)
		if w.DB.Engine() == sqldb.SQLite {
			if err != nil {
				t.Errorf("one node alone waits: %v", err)
			}
			return
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("signs at once: %v", err)
		}
		if !strings.Contains(w.jwks(t), `"kid"`) {
			t.Error("it is not published meanwhile")
		}
		w.Clock.Advance(signingkey.FirstWait / 2)
		other := wire(w.World.Second(t)) // which sees it a second later
		if err := other.keys.Ensure(t.Context(), w.Tenant.ID, jose.ES256); err != nil {
			t.Fatal(err)
		}
		w.Clock.Advance(signingkey.FirstWait / 2)
		if _, err := w.keys.Signer(t.Context(), w.Tenant.ID, jose.ES256); err != nil {
			t.Errorf("does not sign after the wait: %v", err)
		}
		soon, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := other.keys.Signer(soon, w.Tenant.ID, jose.ES256); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a node that saw it later does not wait: %v", err)
		}
		w.Clock.Advance(time.Minute)
		late := wire(w.World.Second(t)) // a start long after waits for nothing
		if _, err := late.keys.Signer(t.Context(), w.Tenant.ID, jose.ES256); err != nil {
			t.Error(err)
		}
	})
}

func TestRotation(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		first := w.signer(t, jose.ES256)
		w.signer(t, jose.EdDSA)
		second, err := w.keys.Rotate(t.Context(), w.Tenant.ID, jose.ES256, "cus_operator")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := w.keys.Rotate(t.Context(), w.Tenant.ID, jose.ES256, "cus_operator"); err != nil || again != second {
			t.Errorf("a third key %q, %v", again, err)
		}
		advance := func(by time.Duration) {
			t.Helper()
			w.Clock.Advance(by)
			if err := w.keys.Advance(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.Clock.Advance(configversion.Staleness + time.Microsecond)
		}
		advance(signingkey.CacheFor)
		if s := w.signer(t, jose.ES256); s.KeyID() != first.KeyID() {
			t.Error("the replacement signs while old sets may be cached")
		}
		if set := w.jwks(t); !strings.Contains(set, first.KeyID()) || !strings.Contains(set, second) {
			t.Error("both are not published")
		}
		advance(11 * time.Second)
		if s := w.signer(t, jose.ES256); s.KeyID() != second {
			t.Error("the replacement does not sign")
		}
		if states := w.states(t); states[first.KeyID()] != signingkey.Retired || states[second] != signingkey.Active || len(states) != 3 {
			t.Errorf("states %v", states)
		}
		var private []byte
		if err := w.DB.QueryRow(t.Context(), `SELECT private FROM signing_key WHERE kid = $1`, first.KeyID()).Scan(&private); err != nil || len(private) != 0 {
			t.Errorf("%d bytes are left of the retired private key, %v", len(private), err)
		}
		token, err := first.Sign("JWT", []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		good := func() bool {
			verifier, err := w.keys.Verifier(t.Context(), w.Tenant.ID)
			if err != nil {
				t.Fatal(err)
			}
			_, err = jose.Verify(token, jose.Expect{Algs: []jose.Alg{jose.ES256}, Types: []string{"JWT"}}, verifier)
			return err == nil
		}
		advance(24 * time.Hour) // the longest life of a token
		if !good() {
			t.Error("a token of the retired key is refused while it lives")
		}
		advance(time.Hour)
		if good() || strings.Contains(w.jwks(t), first.KeyID()) {
			t.Error("the retired key stays for ever")
		}
		hinted := func() bool {
			verifier, err := w.keys.HintVerifier(t.Context(), w.Tenant.ID)
			if err != nil {
				t.Fatal(err)
			}
			_, err = jose.Verify(token, jose.Expect{Algs: []jose.Alg{jose.ES256}, Types: []string{"JWT"}}, verifier)
			return err == nil
		}
		if !hinted() {
			t.Error("what a gone key has signed is no hint any more")
		}
		third, err := w.keys.Rotate(t.Context(), w.Tenant.ID, jose.ES256, "cus_operator")
		if err != nil {
			t.Fatal(err)
		}
		advance(signingkey.CacheFor + 10*time.Second)
		if s := w.signer(t, jose.ES256); s.KeyID() != third {
			t.Error("a second rotation does not come through")
		}
		w.Clock.Advance(signingkey.HintsFor)
		if _, err := w.keys.Rotate(t.Context(), w.Tenant.ID, jose.EdDSA, "cus_operator"); err != nil { // so that keys are read anew
			t.Fatal(err)
		}
		if hinted() {
			t.Error("what a gone key has signed is a hint for ever")
		}
		for kind, want := range map[string]int{"signingkey.active": 4, "signingkey.published": 3, "signingkey.retired": 2, "signingkey.gone": 1} {
			if n := w.Events(t, kind); n != want {
				t.Errorf("%d events %s", n, kind)
			}
		}
	})
}

// Two nodes that make the first key, and the next, at once end with one.
func TestRaces(t *testing.T) {
	w := wire(sessiontest.New(t, sqldb.Postgres, []sqldb.MigrationSet{signingkey.Migrations()}))
	nodes := []world{w, wire(w.World.Second(t))}
	atOnce := func(fn func(w world) (string, error)) map[string]bool {
		t.Helper()
		var mu sync.Mutex
		var wait sync.WaitGroup
		kids := map[string]bool{}
		for i := range 16 {
			wait.Go(func() {
				kid, err := fn(nodes[i%2])
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				kids[kid] = true
			})
		}
		wait.Wait()
		return kids
	}
	if kids := atOnce(func(w world) (string, error) { return "", w.keys.Ensure(t.Context(), w.Tenant.ID, jose.ES256) }); len(kids) != 1 {
		t.Error(kids)
	}
	w.Clock.Advance(signingkey.FirstWait)
	kids := atOnce(func(w world) (string, error) {
		s, err := w.keys.Signer(t.Context(), w.Tenant.ID, jose.ES256)
		if err != nil {
			return "", err
		}
		return s.KeyID(), nil
	})
	if len(kids) != 1 || len(w.states(t)) != 1 {
		t.Errorf("%d signers, %d keys", len(kids), len(w.states(t)))
	}
	if kids := atOnce(func(w world) (string, error) {
		return w.keys.Rotate(t.Context(), w.Tenant.ID, jose.ES256, "cus_operator")
	}); len(kids) != 1 || len(w.states(t)) != 2 {
		t.Errorf("%d replacements, %d keys", len(kids), len(w.states(t)))
	}
	w.Clock.Advance(signingkey.CacheFor + 10*time.Second)
	atOnce(func(w world) (string, error) { return "", w.keys.Advance(t.Context()) })
	active := 0
	for _, state := range w.states(t) {
		if state == signingkey.Active {
			active++
		}
	}
	if n := w.Events(t, "signingkey.retired"); active != 1 || n != 1 {
		t.Errorf("%d active keys, %d retired", active, n)
	}
}

func BenchmarkSigner(b *testing.B) {
	w := wire(sessiontest.New(b, sqldb.SQLite, []sqldb.MigrationSet{signingkey.Migrations()}))
	w.signer(b, jose.ES256)
	tenant := w.Tenant.ID
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.keys.Signer(b.Context(), tenant, jose.ES256); err != nil {
			b.Fatal(err)
		}
	}
}
