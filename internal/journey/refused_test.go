package journey_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

func TestStatesThatCannotGoOn(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password)
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v)
		state := b.View.State
		right := journeytest.Values("password", password)
		refused := func(name string, by *browser, state string, want error, resumable bool) {
			t.Helper()
			before := w.Rows(t)
			if by.Submit(t, state, right); !errors.Is(by.Err, want) {
				t.Errorf("%s: at %s, %v", name, by.At(), by.Err)
			}
			for table, n := range w.Rows(t) {
				if n != before[table] {
					t.Errorf("%s: %s has %d rows more", name, table, n-before[table])
				}
			}
			back, ok := w.Engine.Resumable(t.Context(), by.World.Tenant, state)
			if ok != resumable || ok && back != b.Return {
				t.Errorf("%s: to be resumed at %+v, %t", name, back, ok)
			}
		}
		refused("forged", b, state[:len(state)-4]+"AAAA", journey.ErrForged, false)
		refused("empty", b, "", journey.ErrForged, false)
		refused("much too long", b, strings.Repeat("A", 1<<20), journey.ErrForged, false)
		refused("in another browser", w.Browser(), state, journey.ErrCrossed, true)
		without := *b
		without.Binding = ""
		refused("without the journey cookie", &without, state, journey.ErrCrossed, true)

		elsewhere := *w
		elsewhere.Tenant = w.NewTenant(t, "club")
		crossed := *b
		crossed.World = &elsewhere
		refused("at another tenant", &crossed, state, journey.ErrForged, false)

		// The definitions have changed: a deployment in between.
		set, err := journey.Load(fstest.MapFS{"sign-in.yaml": {Data: []byte(`
journey: sign-in
version: 2
start: identify
steps:
  - {id: identify, uses: identify, on: {identified: password, create: closed}}
  - {id: password, uses: password, on: {correct: finish, closed: closed, code: closed, recover: closed, back: identify}}
  - {id: finish, uses: finish, with: {outcome: authenticated}, on: {refused: closed, taken: closed, closed: closed}}
  - {id: closed, uses: deny, with: {reason: account_closed}}
`)}}, w.Kinds)
		if err != nil {
			t.Fatal(err)
		}
		newer := *w
		newer.Engine = journey.NewWith(w.Options(), set)
		deployed := *b
		deployed.World = &newer
		refused("under other definitions", &deployed, state, journey.ErrExpired, true)
		// As during a rolling upgrade, with nodes of both releases: what a journey
		// does not lead to may change under it.
		for changed, expires := range map[string]bool{"consent.yaml": false, "invitation.yaml": true, "recovery.yaml": true, "sign-up.yaml": true} {
			files := fstest.MapFS{}
			for _, name := range []string{"consent.yaml", "invitation.yaml", "recovery.yaml", "sign-in.yaml", "sign-up.yaml"} {
				text, err := os.ReadFile(filepath.Join("definitions", name))
				if err != nil {
					t.Fatal(err)
				}
				if name == changed {
					text = append(text, "# another release\n"...)
				}
				files[name] = &fstest.MapFile{Data: text}
			}
			if set, err = journey.Load(files, w.Kinds); err != nil {
				t.Fatal(err)
			}
			newer.Engine = journey.NewWith(w.Options(), set)
			if expires {
				refused("under another "+changed, &deployed, state, journey.ErrExpired, true)
			} else if deployed.Submit(t, state, journeytest.Values("password", wrong)); deployed.Err != nil {
				t.Errorf("under another %s: %v", changed, deployed.Err)
			}
		}

		w.Fake.Advance(journey.Lifetime - time.Second)
		at(t, b.Send(t, "password", wrong), "password", "password_wrong")
		w.Fake.Advance(time.Second)
		refused("too late", b, state, journey.ErrExpired, true)

		b = w.Browser().Begin(t, "sign-in").Send(t, "identifier", v)
		if _, err := w.Ring.RaiseEpoch(t.Context(), w.Fake.Now()); err != nil {
			t.Fatal(err)
		}
		refused("after a restore", b, b.View.State, journey.ErrExpired, false)
	})
}

// TestFinishedOnce: whatever is sent again of a run that has finished, in
// whatever order, begins nothing more, for this customer or another.
func TestFinishedOnce(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password)
		w.NewCustomer(t, "w@example.com", password)
		b := w.Browser().Begin(t, "sign-in")
		before := *b // with the cookies of before: whoever is at the other end may keep them
		identify := b.View.State
		b.Send(t, "identifier", v)
		at(t, b.Send(t, "password", password), "authenticated")
		finished := func(name string) {
			t.Helper()
			if !errors.Is(before.Err, journey.ErrFinished) {
				t.Errorf("%s: at %s, %v", name, before.At(), before.Err)
			}
			if n := w.Count(t, `SELECT COUNT(*) FROM session`); n != 1 {
				t.Errorf("%s: %d sessions", name, n)
			}
		}
		again := func(address string) *browser {
			before.Submit(t, identify, journeytest.Values("identifier", address))
			return &before
		}
		again(v).Submit(t, before.View.State, journeytest.Values("password", password))
		finished("the same customer")
		again("w@example.com").Submit(t, before.View.State, journeytest.Values("password", password))
		finished("another customer")
		again("new@example.com").Send(t, "choose", "code").Send(t, "code", w.Code(t, "new@example.com"))
		before.Submit(t, before.View.State, journeytest.Values("choose", "skip"))
		finished("a new customer")
		if w.Find(t, "new@example.com") != "" {
			t.Error("a run that has finished opened an account")
		}
		// In the browser that was signed in the old pages are dead at once.
		if b.Submit(t, identify, journeytest.Values("identifier", v)); !errors.Is(b.Err, journey.ErrCrossed) {
			t.Errorf("an old page: %v", b.Err)
		}
		// The marker outlives every state of its run.
		w.Fake.Advance(journey.Lifetime)
		if n, err := w.Engine.Sweep(t.Context(), 10); err != nil || n != 0 {
			t.Errorf("%d markers are swept, %v", n, err)
		}
		w.Fake.Advance(2*time.Hour + time.Second)
		if n, err := w.Engine.Sweep(t.Context(), 10); err != nil || n != 1 {
			t.Errorf("%d markers are swept, %v", n, err)
		}
	})
}

// TestSignUpFinishedOnce likewise, for the run of an account.
func TestSignUpFinishedOnce(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		b := w.Browser().Begin(t, "sign-up")
		start := b.View.State
		b.Send(t, "identifier", v).Send(t, "code", w.Code(t, v))
		before, last := *b, b.View.State
		at(t, b.Send(t, "choose", "skip"), "authenticated")
		if before.Submit(t, last, journeytest.Values("choose", "skip")); !errors.Is(before.Err, journey.ErrFinished) {
			t.Errorf("the last page again: at %s, %v", before.At(), before.Err)
		}
		if before.Submit(t, last, journeytest.Values("new_password", password)); !errors.Is(before.Err, journey.ErrFinished) {
			t.Errorf("the last page with a password: at %s, %v", before.At(), before.Err)
		}
		before.Submit(t, start, journeytest.Values("identifier", "w@example.com")).Send(t, "code", w.Code(t, "w@example.com"))
		if before.Submit(t, before.View.State, journeytest.Values("choose", "skip")); !errors.Is(before.Err, journey.ErrFinished) {
			t.Errorf("another address: at %s, %v", before.At(), before.Err)
		}
		if n := w.Count(t, `SELECT COUNT(*) FROM customer`); n != 1 {
			t.Errorf("%d accounts", n)
		}
		if n := w.Count(t, `SELECT COUNT(*) FROM credential_password`); n != 0 {
			t.Error("the account got a password afterwards")
		}
	})
}

// TestWhatLetsInChangesBeforeTheFinish: a proof is worth what it was when it was
// given.
func TestWhatLetsInChangesBeforeTheFinish(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		for name, change := range map[string]func(who id.Customer) error{
			"the epoch rises": func(who id.Customer) error {
				return w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
					_, err := w.Directory.RaiseEpoch(tx, w.Tenant.ID, who)
					return err
				})
			},
			"it is locked": func(who id.Customer) error {
				return w.Directory.SetStatus(t.Context(), w.Tenant.ID, who, customer.Locked, "", "system")
			},
			"it is locked and opened": func(who id.Customer) error {
				if err := w.Directory.SetStatus(t.Context(), w.Tenant.ID, who, customer.Locked, "", "system"); err != nil {
					return err
				}
				return w.Directory.SetStatus(t.Context(), w.Tenant.ID, who, customer.Active, "", "system")
			},
			"it is erased": func(who id.Customer) error {
				return w.Directory.Erase(t.Context(), w.Tenant.ID, who, "system")
			},
		} {
			who := w.NewCustomer(t, v, password)
			b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "password", password)
			at(t, b, "terms")
			if err := change(who); err != nil {
				t.Fatal(err)
			}
			if at(t, b.Send(t, "decision", "allow"), "deny"); w.Count(t, `SELECT COUNT(*) FROM session`) != 0 {
				t.Errorf("%s: there is a session", name)
			}
			if w.Find(t, v) == who {
				if err := w.Directory.Erase(t.Context(), w.Tenant.ID, who, "system"); err != nil {
					t.Fatal(err)
				}
			}
		}
	}, func(s *tenant.Settings) {
		s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{URL: "https://shop.example/terms"}}}
	})
}

// TestRewindingGainsNothing: each page of a journey sent again after a later one
// was reached gives no second proof, code or session.
func TestRewindingGainsNothing(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		b := w.Browser().Begin(t, "sign-up").Send(t, "identifier", v)
		page, code := *b, w.Code(t, v)
		b.Send(t, "code", code)
		at(t, b, "new-password")
		// The code again, from the page before: it is right as long as it has
		// bought nothing, and buys no more than one finish.
		second := page
		at(t, second.Send(t, "code", code), "new-password")
		at(t, b.Send(t, "choose", "skip"), "authenticated")
		if second.Submit(t, second.View.State, journeytest.Values("choose", "skip")); !errors.Is(second.Err, journey.ErrFinished) {
			t.Errorf("the second proof: at %s, %v", second.At(), second.Err)
		}
		at(t, page.Send(t, "code", code), "code", "code_expired")
		// A proof of one address is none of another, on whatever page.
		b = w.Browser().Begin(t, "sign-in")
		identify := b.View.State
		b.Send(t, "identifier", "mine@example.com").Send(t, "choose", "code").Send(t, "code", w.Code(t, "mine@example.com"))
		at(t, b, "new-password")
		b.Submit(t, identify, journeytest.Values("identifier", v)).Send(t, "choose", "code")
		at(t, b, "code")
		at(t, b.Send(t, "code", w.Code(t, "mine@example.com")), "code", "code_wrong")
		at(t, b.Send(t, "decision", "allow", "new_password", password), "code", "code_empty")
	})
}

func TestTwoNodesOneCode(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		nodes := []*world{w, w.Second(t)}
		w.NewCustomer(t, v, password)
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "choose", "code")
		state, values := b.View.State, journeytest.Values("code", w.Code(t, v))
		outcomes := map[string]int{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 64 {
			one := *b
			one.World = nodes[i%2]
			all.Go(func() {
				one.View = nil
				one.Submit(t, state, values)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case one.Err != nil && !errors.Is(one.Err, journey.ErrFinished):
					t.Error(one.Err)
				case one.Err != nil:
					outcomes["finished before"]++
				default:
					outcomes[one.At()]++
				}
			})
		}
		all.Wait()
		if outcomes["authenticated"] != 1 || w.Count(t, `SELECT COUNT(*) FROM session`) != 1 {
			t.Errorf("%v", outcomes)
		}
	}, func(s *tenant.Settings) { s.Limits.AttemptsPerCode, s.Limits.CodePerHour = 10, 100 })
}

// TestTwoNodesOneAddress: of sign-ups of one address that finish at once one
// makes the account, and the others, who proved the address as well, sign in to
// it.
func TestTwoNodesOneAddress(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		nodes := []*world{w, w.Second(t)}
		var browsers []*browser
		for i := range 16 {
			b := nodes[i%2].Browser().Begin(t, "sign-up").Send(t, "identifier", v)
			browsers = append(browsers, b.Send(t, "code", w.Code(t, v)))
			at(t, b, "new-password")
		}
		var all sync.WaitGroup
		for _, b := range browsers {
			all.Go(func() { b.Submit(t, b.View.State, journeytest.Values("choose", "skip")) })
		}
		all.Wait()
		created, who := 0, w.Find(t, v)
		for _, b := range browsers {
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			at(t, b, "authenticated")
			if b.Finished.Customer != who {
				t.Errorf("signed in as %s", b.Finished.Customer)
			}
			if b.Finished.Created {
				created++
			}
		}
		if created != 1 || w.Count(t, `SELECT COUNT(*) FROM customer`) != 1 {
			t.Errorf("%d accounts were made", created)
		}
	}, func(s *tenant.Settings) { s.Limits.SendPerHour = 100 })
}

// TestPasswordOfALostSignUp: who loses the race for an address does not set the
// password of the account that won.
func TestPasswordOfALostSignUp(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		winner := w.Browser().Begin(t, "sign-up").Send(t, "identifier", v)
		winner.Send(t, "code", w.Code(t, v))
		loser := w.Browser().Begin(t, "sign-up").Send(t, "identifier", v)
		loser.Send(t, "code", w.Code(t, v))
		at(t, winner.Send(t, "new_password", password), "authenticated")
		at(t, loser.Send(t, "new_password", "another kettle on a veranda"), "authenticated")
		if loser.Finished.Created || loser.Finished.Customer != winner.Finished.Customer {
			t.Errorf("finished %+v", loser.Finished)
		}
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v)
		at(t, b.Send(t, "password", "another kettle on a veranda"), "password", "password_wrong")
		at(t, b.Send(t, "password", password), "authenticated")
	})
}

// TestParallelCollect: two browsers of one customer that tell something at once
// both get in, and what both told is kept.
func TestParallelCollect(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who := w.NewCustomer(t, v, password)
		var browsers []*browser
		for range 8 {
			b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "password", password)
			at(t, b, "collect")
			browsers = append(browsers, b)
		}
		var all sync.WaitGroup
		for _, b := range browsers {
			all.Go(func() { b.Submit(t, b.View.State, journeytest.Values("given_name", "Ana")) })
		}
		all.Wait()
		for _, b := range browsers {
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			at(t, b, "authenticated")
		}
		if got, err := w.Directory.Get(t.Context(), w.Tenant.ID, who); err != nil || got.Profile["given_name"] != "Ana" {
			t.Errorf("got %v, %v", got, err)
		}
	}, func(s *tenant.Settings) { s.SignUp.Collect = []string{"given_name"} })
}

func TestJourneysThatAreNone(t *testing.T) {
	w := journeytest.New(t, sqldb.SQLite)
	if got := w.Engine.Journeys(); !slices.Equal(got, []string{"change-address", "change-number", "change-password", "close-account", "confirm-address", "consent", "invitation", "join", "not-me", "organization", "recovery", "remove-address", "sign-in", "sign-up"}) {
		t.Errorf("journeys %v", got)
	}
	if _, err := w.Engine.Begin(t.Context(), w.Tenant, journey.Start{Journey: "forgotten", Client: w.Browser().Client(t)}); err == nil {
		t.Error("a journey that is none is begun")
	}
	for _, name := range []string{"change-address", "change-password", "close-account", "remove-address"} {
		if _, err := w.Engine.Begin(t.Context(), w.Tenant, journey.Start{Journey: name, Client: w.Browser().Client(t)}); !errors.Is(err, journey.ErrSignedOut) {
			t.Errorf("%s begins for nobody: %v", name, err)
		}
	}
	if _, err := w.Engine.Begin(t.Context(), w.Tenant, journey.Start{Journey: "consent", Application: w.Ana, Client: w.Browser().Client(t)}); err == nil {
		t.Error("nobody is asked for consent")
	}
}
