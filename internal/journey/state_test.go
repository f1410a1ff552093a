package journey

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ring is a key ring with the tenants ten_a and ten_b.
func ring(t testing.TB) *keyring.Ring {
	t.Helper()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	root, err := keyring.RootFromBytes(secret)
	if err != nil {
		t.Fatal(err)
	}
	r, err := keyring.Open(t.Context(), keyring.Options{
		DB:    dbtest.Open(t, sqldb.SQLite, []sqldb.MigrationSet{keyring.Migrations()}),
		Store: dbtest.Open(t, sqldb.SQLite, []sqldb.MigrationSet{keyring.StoreMigrations()}),
		Root:  root, Clock: clock.System(), Random: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []id.Tenant{"ten_a", "ten_b"} {
		if err := r.CreateTenant(t.Context(), tenant); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func keysOf(t testing.TB, r *keyring.Ring, tenant id.Tenant) *keyring.Tenant {
	t.Helper()
	keys, err := r.Tenant(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// full is a state with everything in it.
func full() *State {
	return &State{
		Run: "run_1", Journey: "sign-up", Hash: "hash", Step: "collect", Expires: 1777899600, Binding: bindingOf("cookie"),
		Return: Return{Kind: "authorize", Params: "client_id=shop"}, Application: "app_1", Scopes: []string{"openid", "email"}, Hint: "Ana@example.com",
		Subject:  &identifier.Normalised{Kind: identifier.Email, Key: "ana@example.com", Display: "Ana@example.com", Delivery: "Ana@example.com"},
		Customer: "cus_1", Minted: "cus_2", Epoch: 3,
		Proofs:    []Proof{{Method: "otp", Budget: "code", Challenge: "chl_1", Handle: []byte{1, 2, 3}, Purpose: "recovery", Verified: true, At: 1777896000}},
		Challenge: "chl_2", PasswordHash: "$argon2id$…", Profile: map[string]any{"given_name": "Ana"}, Offered: "2026-02", Terms: "2026-01", Stay: true, Session: "ses_1", SentEpoch: 3, Link: "sealed",
	}
}

// TestStateFormat freezes what nodes of one release and the next exchange.
func TestStateFormat(t *testing.T) {
	var text []byte
	for _, s := range []*State{full(), {}} {
		one, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, one...), '\n')
	}
	const file = "testdata/state.golden"
	if *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, text) {
		t.Errorf("a state is now\n%s", text)
	}
}

func TestSealAndOpen(t *testing.T) {
	r := ring(t)
	keys := keysOf(t, r, "ten_a")
	sealed, err := seal(keys, full())
	if err != nil {
		t.Fatal(err)
	}
	opened, err := open(keys, sealed)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(full())
	if got, _ := json.Marshal(opened); !bytes.Equal(got, want) {
		t.Errorf("opened %s", got)
	}
	again, err := seal(keys, full())
	if err != nil || again == sealed {
		t.Errorf("the same state is sealed the same: %v", err)
	}
	session, err := keys.Seal("session", []byte(`{"run":"run_1"}`))
	if err != nil {
		t.Fatal(err)
	}
	list, err := keys.Seal(purpose, []byte(`[]`))
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(sealed)
	flipped[len(flipped)/2] ^= 1
	for name, forged := range map[string]string{
		"nothing": "", "plain": `{"run":"run_1"}`, "cut off": sealed[:len(sealed)-1], "added to": sealed + "A", "padded": sealed + "=",
		"changed": string(flipped), "with a space": sealed + " ", "sealed for something else": session, "no state": list,
		"too long": strings.Repeat("A", maxState+1), "twice": sealed + sealed,
	} {
		if _, err := open(keys, forged); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := open(keysOf(t, r, "ten_b"), sealed); !errors.Is(err, ErrForged) {
		t.Errorf("at another tenant: %v", err)
	}
	if _, err := r.RaiseEpoch(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := open(keysOf(t, r, "ten_a"), sealed); !errors.Is(err, ErrExpired) {
		t.Errorf("after a restore: %v", err)
	}
}

func TestCheckState(t *testing.T) {
	s := full()
	until := time.Unix(s.Expires, 0)
	for _, c := range []struct {
		name, cookie, hash string
		now                time.Time
		want               error
	}{
		{"right", "cookie", "hash", until.Add(-time.Second), nil},
		{"the last moment", "cookie", "hash", until.Add(-time.Nanosecond), nil},
		{"too late", "cookie", "hash", until, ErrExpired},
		{"another definition", "cookie", "other", until.Add(-time.Second), ErrExpired},
		{"another browser", "other", "hash", until.Add(-time.Second), ErrCrossed},
		{"another browser, too late", "other", "hash", until, ErrCrossed},
		{"no cookie", "", "hash", until.Add(-time.Second), ErrCrossed},
	} {
		if err := s.check(c.cookie, c.hash, c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	s.Binding = bindingOf("")
	if err := s.check("", "hash", until.Add(-time.Second)); !errors.Is(err, ErrCrossed) {
		t.Errorf("a journey that was begun without a cookie: %v", err)
	}
	s.Binding = nil
	if err := s.check("cookie", "hash", until.Add(-time.Second)); !errors.Is(err, ErrCrossed) {
		t.Errorf("a journey that is bound to nothing: %v", err)
	}
}

// TestLengthTellsNothing is SECURITY.md, row J1: a stranger who chooses the
// length of what is sealed does not read from the sealed length whether the
// address found somebody.
func TestLengthTellsNothing(t *testing.T) {
	keys := keysOf(t, ring(t), "ten_a")
	now := time.Now()
	differ := map[int]bool{}
	for length := range 3 * padding {
		s := full()
		s.Step, s.Proofs, s.PasswordHash, s.Profile, s.Offered, s.Terms = "password", nil, "", nil, "", ""
		s.Minted = id.New[id.Customer](now, rand.Reader)
		s.Hint = strings.Repeat("a", length)
		s.Customer, s.Epoch = "", 0
		unknown, err := seal(keys, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, epoch := range []int64{0, 1, 1234567} { // a closed account may have left one
			s.Customer, s.Epoch = id.New[id.Customer](now, rand.Reader), epoch
			known, err := seal(keys, s)
			if err != nil {
				t.Fatal(err)
			}
			if len(known) != len(unknown) {
				t.Fatalf("with %d bytes more, an address that is known is %d long, else %d", length, len(known), len(unknown))
			}
		}
		differ[len(unknown)] = true
	}
	if len(differ) != 3 && len(differ) != 4 {
		t.Errorf("there are %d lengths", len(differ))
	}
}

// TestTooLongAState: what could not be read again is not sent out.
func TestTooLongAState(t *testing.T) {
	keys := keysOf(t, ring(t), "ten_a")
	s := full()
	s.Return.Params = strings.Repeat("a", maxState)
	if _, err := seal(keys, s); err == nil {
		t.Error("it is sealed")
	}
	for length := maxState * 3 / 4; length > maxState/2; length -= 300 {
		s.Return.Params = strings.Repeat("a", length)
		sealed, err := seal(keys, s)
		if err != nil {
			continue
		}
		if _, err := open(keys, sealed); err != nil {
			t.Errorf("%d bytes are sealed and not opened: %v", length, err)
		}
	}
}

// FuzzOpenState: whatever is sent as a state, and whatever is in one.
func FuzzOpenState(f *testing.F) {
	r := ring(f)
	keys := keysOf(f, r, "ten_a")
	sealed, err := seal(keys, full())
	if err != nil {
		f.Fatal(err)
	}
	plain, err := json.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed, plain)
	f.Add(sealed[:len(sealed)/2], []byte(`{}`))
	f.Add("", []byte(`{"subject":null,"binding":"AA==","proofs":[{}]}`))
	f.Add("AAAA", []byte(`{"expires":-1,"profile":{"a":[1,{"b":null}]}}`))
	f.Fuzz(func(t *testing.T, text string, content []byte) {
		if s, err := open(keys, text); err == nil {
			if text != sealed {
				t.Errorf("%q opens as %+v", text, s)
			}
		} else if !errors.Is(err, ErrForged) {
			t.Errorf("%q: %v", text, err)
		}
		if len(content) > 8<<10 {
			return
		}
		wrapped, err := keys.Seal(purpose, content)
		if err != nil {
			t.Fatal(err)
		}
		s, err := open(keys, wrapped)
		if err != nil {
			if !errors.Is(err, ErrForged) {
				t.Errorf("%q: %v", content, err)
			}
			return
		}
		if err := s.check("cookie", "hash", time.Now()); err == nil && !bytes.Equal(s.Binding, bindingOf("cookie")) {
			t.Errorf("%q is taken", content)
		}
		if _, err := seal(keys, s); err != nil && len(content) < 2<<10 {
			t.Errorf("%q is not sealed again: %v", content, err)
		}
	})
}
