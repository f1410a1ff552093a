package customer_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const day = 24 * time.Hour

// lives is a world whose rules a test sets, and which notes who is told what.
type lives struct {
	world
	tenant tenant.Tenant
	seen   map[id.Customer]time.Time
	told   []string
	mu     sync.Mutex
}

func eachLives(t *testing.T, test func(t *testing.T, l *lives)) {
	each(t, func(t *testing.T, w world) {
		l := &lives{world: w, tenant: *w.Tenant, seen: map[id.Customer]time.Time{}}
		set := &l.tenant.Settings.Lifecycle
		*set = tenant.Defaults().Lifecycle
		set.DormantAfter, set.EraseDormantAfter = tenant.Duration(365*day), tenant.Duration(730*day)
		w.Directory.Tenant = func(context.Context, id.Tenant) (*tenant.Tenant, error) { return &l.tenant, nil }
		w.Directory.Seen = func(_ *sqldb.Batch, _ id.Tenant, who id.Customer) func() time.Time {
			return func() time.Time { return l.seen[who] }
		}
		w.Directory.Notice = func(_ context.Context, n customer.Notice) (func(*sqldb.Tx) error, error) {
			return func(*sqldb.Tx) error {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.told = append(l.told, string(n.About)+" "+n.Until.Format(time.DateOnly))
				return nil
			}, nil
		}
		test(t, l)
	})
}

func (l *lives) somebody(t *testing.T) id.Customer {
	t.Helper()
	who, key := l.mint(t)
	keys := l.keys(t)
	l.Write(t, func(tx *sqldb.Tx) error {
		return l.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: l.Tenant.ID, Customer: who, Lifecycle: l.tenant.Settings.Lifecycle,
			Identifiers: []customer.NewIdentifier{verified(t, string(who)+"@example.com")}})
	})
	return who
}

// after moves the clock and has the rules do what is due.
func (l *lives) after(t *testing.T, d time.Duration) {
	t.Helper()
	l.Clock.Advance(d)
	if err := l.Directory.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (l *lives) is(t *testing.T, who id.Customer, want customer.Status, told ...string) {
	t.Helper()
	state, err := l.Directory.State(t.Context(), l.Tenant.ID, who)
	if err != nil || state.Status != want {
		t.Errorf("it is %s in place of %s, %v", state.Status, want, err)
	}
	if got := l.told; !slices.Equal(got, told) {
		t.Errorf("he was told %q in place of %q", got, told)
	}
}

func (l *lives) on(d time.Duration) string { return l.Clock.Now().Add(d).Format(time.DateOnly) }

// The whole life of an account that nobody uses: warned, dormant, warned, erased.
func TestAnAccountThatNobodyUses(t *testing.T) {
	eachLives(t, func(t *testing.T, l *lives) {
		who := l.somebody(t)
		l.after(t, 350*day)
		l.is(t, who, customer.Active)
		warned := "dormancy " + l.on(15*day)
		l.after(t, day) // 14 days before
		l.is(t, who, customer.Active, warned)
		l.after(t, day)
		l.is(t, who, customer.Active, warned) // once
		l.after(t, 13*day)
		l.is(t, who, customer.Dormant, warned)
		l.after(t, 690*day)
		l.is(t, who, customer.Dormant, warned)
		l.after(t, 15*day)
		if len(l.told) != 2 || l.told[1][:7] != "erasure" {
			t.Fatalf("he was told %q", l.told)
		}
		until, err := time.Parse("erasure "+time.DateOnly, l.told[1])
		if err != nil {
			t.Fatal(err)
		}
		l.after(t, until.Sub(l.Clock.Now())-time.Hour)
		l.is(t, who, customer.Dormant, l.told...)
		l.after(t, 26*time.Hour)
		l.is(t, who, customer.Erased, l.told...)
		if n := l.count(t, `SELECT COUNT(*) FROM customer WHERE due_at <> 0`); n != 0 {
			t.Errorf("%d rows are still to be looked at", n)
		}
	})
}

// Whoever was seen, if only by an application, is not dormant, and the warning
// counts anew.
func TestASignOfLifeCounts(t *testing.T) {
	eachLives(t, func(t *testing.T, l *lives) {
		who := l.somebody(t)
		l.after(t, 352*day)
		if len(l.told) != 1 {
			t.Fatalf("he was told %q", l.told)
		}
		l.seen[who] = l.Clock.Now().Add(day)
		l.after(t, 14*day)
		l.is(t, who, customer.Active, l.told[0])
		l.after(t, 330*day)
		l.is(t, who, customer.Active, l.told[0])
		l.after(t, 20*day)
		if len(l.told) != 2 {
			t.Errorf("he is not warned again: %q", l.told)
		}
		// What a session that has gone knew is noted with the customer.
		delete(l.seen, who)
		l.Write(t, func(tx *sqldb.Tx) error { l.Directory.NoteSeen(tx, l.Tenant.ID, who, tx.Now()); return nil })
		l.after(t, 15*day)
		l.is(t, who, customer.Active, l.told...)
	})
}

// Nobody falls dormant who could not come back, nor at a tenant that is closed.
func TestWhoCannotComeBackIsLeft(t *testing.T) {
	eachLives(t, func(t *testing.T, l *lives) {
		who, key := l.mint(t)
		keys := l.keys(t)
		l.Write(t, func(tx *sqldb.Tx) error {
			return l.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: l.Tenant.ID, Customer: who, Lifecycle: l.tenant.Settings.Lifecycle,
				Identifiers: []customer.NewIdentifier{unverified(t, "nobody@example.com")}})
		})
		l.after(t, 400*day)
		l.is(t, who, customer.Active)
		other := l.somebody(t)
		if err := l.Directory.SetStatus(t.Context(), l.Tenant.ID, other, customer.Closed, "", "test"); err != nil {
			t.Fatal(err)
		}
		l.tenant.Suspended, l.told = true, nil
		l.after(t, 60*day)
		l.is(t, other, customer.Closed)
		l.tenant.Suspended = false
		l.after(t, 2*day)
		l.is(t, other, customer.Erased)
	})
}

// New settings hold for the accounts that there are.
func TestNewSettingsSetDatesAnew(t *testing.T) {
	eachLives(t, func(t *testing.T, l *lives) {
		rules := l.tenant.Settings.Lifecycle
		l.tenant.Settings.Lifecycle.DormantAfter = 0
		var all []id.Customer
		for range 3 {
			all = append(all, l.somebody(t))
		}
		l.after(t, 1000*day)
		l.is(t, all[0], customer.Active)
		change := func(l *lives, to tenant.Lifecycle) {
			t.Helper()
			l.tenant.Settings.Lifecycle = to
			l.Write(t, func(tx *sqldb.Tx) error { return l.Directory.SetDates(tx, l.Tenant.ID) })
		}
		change(l, rules)
		l.after(t, 30*time.Second) // not every node knows them yet
		if len(l.told) != 0 {
			t.Errorf("told are %q", l.told)
		}
		l.after(t, time.Minute)
		if len(l.told) != 3 { // who was away for long is warned all the same
			t.Fatalf("told are %q", l.told)
		}
		l.after(t, 15*day)
		l.is(t, all[0], customer.Dormant, l.told...)
		if n := l.count(t, `SELECT COUNT(*) FROM lifecycle_pass`); n != 0 {
			t.Errorf("%d passes are left", n)
		}
		// Dormant accounts are erased no more, and then sooner.
		kept := rules
		kept.EraseDormantAfter = 0
		change(l, kept)
		l.after(t, 2*time.Minute)
		l.after(t, 5000*day)
		l.is(t, all[0], customer.Dormant, l.told...)
		sooner := rules
		sooner.EraseDormantAfter = tenant.Duration(100 * day)
		change(l, sooner)
		l.after(t, 2*time.Minute)
		l.is(t, all[0], customer.Dormant, l.told...)
		if len(l.told) != 6 {
			t.Errorf("told are %q", l.told)
		}
		l.after(t, 29*day)
		l.is(t, all[0], customer.Dormant, l.told...)
		l.after(t, 2*day)
		l.is(t, all[0], customer.Erased, l.told...)
		// And switched off, nobody is looked at.
		who := l.somebody(t)
		change(l, kept)
		off := kept
		off.DormantAfter = 0
		change(l, off)
		l.after(t, 2*time.Minute)
		if n := l.count(t, `SELECT COUNT(*) FROM customer WHERE customer = $1 AND due_at <> 0`, who); n != 0 {
			t.Error("who is never dormant is looked at")
		}
	})
}

// Several nodes at once do each thing once.
func TestRulesOnTwoNodesAtOnce(t *testing.T) {
	eachLives(t, func(t *testing.T, l *lives) {
		var all []id.Customer
		for range 12 {
			all = append(all, l.somebody(t))
		}
		for _, who := range all[:4] {
			if err := l.Directory.SetStatus(t.Context(), l.Tenant.ID, who, customer.Closed, "", "test"); err != nil {
				t.Fatal(err)
			}
		}
		l.mu.Lock()
		l.told = nil
		l.mu.Unlock()
		l.Clock.Advance(353 * day)
		both := func() {
			var wait sync.WaitGroup
			for range 4 {
				wait.Go(func() {
					if err := l.Directory.Advance(context.WithoutCancel(t.Context())); err != nil && !errors.Is(err, sqldb.ErrClosed) {
						t.Error(err)
					}
				})
			}
			wait.Wait()
		}
		both()
		if n := l.count(t, `SELECT COUNT(*) FROM event WHERE type = 'customer.warned'`); n != 8 {
			t.Errorf("%d warnings", n)
		}
		if n := l.count(t, `SELECT COUNT(*) FROM event WHERE type = 'customer.erased'`); n != 4 {
			t.Errorf("%d erasures", n)
		}
		l.Clock.Advance(15 * day)
		both()
		if n := l.count(t, `SELECT COUNT(*) FROM event WHERE type = 'customer.status.changed' AND data LIKE '%dormant%'`); n != 8 {
			t.Errorf("%d fell dormant", n)
		}
	})
}

// A node that is killed in between leaves the rest to be done, and a fault for
// one customer keeps nobody else waiting.
func TestRulesGoOnAfterAnEnd(t *testing.T) {
	eachLives(t, func(t *testing.T, l *lives) {
		broken, fine := l.somebody(t), l.somebody(t)
		for _, who := range []id.Customer{broken, fine} {
			if err := l.Directory.SetStatus(t.Context(), l.Tenant.ID, who, customer.Closed, "", "test"); err != nil {
				t.Fatal(err)
			}
		}
		fault := true
		l.Directory.Erasers = append(l.Directory.Erasers, func(_ *sqldb.Tx, _ id.Tenant, who id.Customer) error {
			if fault && who == broken {
				return errors.New("the rows are not to be had")
			}
			return nil
		})
		l.Clock.Advance(31 * day)
		if err := l.Directory.Advance(t.Context()); err == nil {
			t.Error("the fault is not told")
		}
		l.told = nil
		l.is(t, fine, customer.Erased)
		const shut = customer.Status("erasing") // no door knows it, and its key is gone
		l.is(t, broken, shut)
		fault = false
		l.after(t, 5*time.Minute)
		l.is(t, broken, shut)
		l.after(t, 6*time.Minute)
		l.is(t, broken, customer.Erased)
	})
}

// bounce flags an address of somebody as one that messages come back from.
func (l *lives) bounce(t *testing.T, who id.Customer, raw, reason string) {
	t.Helper()
	keys := l.keys(t)
	l.Write(t, func(tx *sqldb.Tx) error {
		marked, err := l.Directory.MarkUndeliverable(tx, keys, l.Tenant.ID, who, address(t, raw), reason, tx.Now(), "test")
		if err == nil && !marked {
			err = errors.New("it is not flagged")
		}
		return err
	})
}

// Whoever has a number that text messages are sent to is warned and falls dormant
// like whoever has an e-mail address; whom no message reaches is left in use, and
// an event says so, once each time that he could have fallen dormant.
func TestOnlyWhoIsReachedFallsDormant(t *testing.T) {
	number := func(t *testing.T, raw string) customer.NewIdentifier {
		t.Helper()
		n, err := identifier.Normalise(identifier.Phone, raw, identifier.Options{Region: "GB"})
		if err != nil {
			t.Fatal(err)
		}
		return customer.NewIdentifier{Normalised: n, Verified: true}
	}
	username, err := identifier.Normalise(identifier.Username, "ana_l", identifier.Options{})
	if err != nil {
		t.Fatal(err)
	}
	eachLives(t, func(t *testing.T, l *lives) {
		l.tenant.Settings.Phone = tenant.Defaults().Phone
		l.tenant.Settings.Phone.Enabled, l.tenant.Settings.Region = true, "GB"
		l.Directory.Notice = func(_ context.Context, n customer.Notice) (func(*sqldb.Tx) error, error) {
			var to string
			for _, it := range n.Customer.Told(l.tenant.Settings) {
				to += " " + it.Key
			}
			return func(*sqldb.Tx) error { l.told = append(l.told, string(n.About)+to); return nil }, nil
		}
		for name, c := range map[string]struct {
			identifiers []customer.NewIdentifier
			bounced     string // of the address n@example.com
			off         bool   // the tenant has no phones
			told        string // what he is told, "" where he is not reached
		}{
			"mail":                      {identifiers: []customer.NewIdentifier{verified(t, "n@example.com")}, told: "dormancy n@example.com"},
			"mail and a number":         {identifiers: []customer.NewIdentifier{verified(t, "n@example.com"), number(t, "07400 123456")}, told: "dormancy n@example.com"},
			"a number":                  {identifiers: []customer.NewIdentifier{number(t, "07400 123456")}, told: "dormancy +447400123456"},
			"bounced, and a number":     {identifiers: []customer.NewIdentifier{verified(t, "n@example.com"), number(t, "07400 123456")}, bounced: customer.Bounced, told: "dormancy n@example.com +447400123456"},
			"complained":                {identifiers: []customer.NewIdentifier{verified(t, "n@example.com")}, bounced: customer.Complained, told: "dormancy n@example.com"},
			"bounced":                   {identifiers: []customer.NewIdentifier{verified(t, "n@example.com")}, bounced: customer.Bounced},
			"a land line":               {identifiers: []customer.NewIdentifier{number(t, "020 7946 0018")}},
			"a number abroad":           {identifiers: []customer.NewIdentifier{number(t, "+351 912 345 678")}},
			"a number without phones":   {identifiers: []customer.NewIdentifier{number(t, "07400 123456")}, off: true},
			"a user name":               {identifiers: []customer.NewIdentifier{{Normalised: username, Verified: true}}},
			"an address not proved":     {identifiers: []customer.NewIdentifier{unverified(t, "n@example.com")}},
			"mail, bounced by warnings": {identifiers: []customer.NewIdentifier{verified(t, "n@example.com")}, bounced: "later", told: "dormancy n@example.com"},
		} {
			l.told, l.tenant.Settings.Phone.Enabled = nil, !c.off
			who, key := l.mint(t)
			keys := l.keys(t)
			l.Write(t, func(tx *sqldb.Tx) error {
				return l.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: l.Tenant.ID, Customer: who, Lifecycle: l.tenant.Settings.Lifecycle, Identifiers: c.identifiers})
			})
			if l.Clock.Advance(time.Second); c.bounced != "" && c.bounced != "later" {
				l.bounce(t, who, "n@example.com", c.bounced)
			}
			l.after(t, 352*day)
			if c.bounced == "later" {
				l.bounce(t, who, "n@example.com", customer.Bounced)
			}
			l.after(t, 15*day)
			want, told := customer.Active, []string(nil)
			if c.told != "" {
				told = []string{c.told}
				if c.bounced != "later" {
					want = customer.Dormant
				}
			}
			l.is(t, who, want, told...)
			unreachable := func() int {
				return l.count(t, `SELECT COUNT(*) FROM event WHERE customer = $1 AND type = 'customer.unreachable'`, who)
			}
			if n := unreachable(); (n == 1) != (want == customer.Active) {
				t.Errorf("%s: %d events say that nobody is reached", name, n)
			}
			if want == customer.Active {
				l.after(t, 300*day)
				if n := unreachable(); n != 1 {
					t.Errorf("%s: %d events long before he could fall dormant again", name, n)
				}
				l.after(t, 90*day)
				if n := unreachable(); n != 2 {
					t.Errorf("%s: %d events when he could have again", name, n)
				}
				l.is(t, who, customer.Active, told...)
			}
			// Out of the way of the next.
			if err := l.Directory.Erase(t.Context(), l.Tenant.ID, who, "test"); err != nil {
				t.Fatal(err)
			}
		}
	})
}
