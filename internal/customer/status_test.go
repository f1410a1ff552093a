package customer_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Every door says something of every status, and a status that a node does not
// know, from a later release, opens none.
func TestWhatAStatusAllows(t *testing.T) {
	for _, door := range customer.Doors {
		for _, status := range customer.Statuses {
			if status.At(door) == customer.Opens && status != customer.Active && door != customer.NotMe && door != customer.Notices {
				t.Errorf("%s opens to who is %s", door, status)
			}
		}
		for _, status := range []customer.Status{"", "ACTIVE", "frozen"} {
			if status.At(door) != customer.Shut || status.MayUseTokens() {
				t.Errorf("%s is not shut to %q", door, status)
			}
		}
	}
	if !customer.Active.MayUseTokens() || customer.Active.At("window") != customer.Shut {
		t.Error("who is active is kept out, or a door that is not there is open")
	}
}

// docs/lifecycle.md prints the table that the doors read. With -update it is
// printed anew.
func TestTheTableIsDocumented(t *testing.T) {
	const page, begin, end = "../../docs/lifecycle.md", "<!-- table -->\n", "<!-- /table -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	printed, after, ends := strings.Cut(rest, end)
	if !found || !ends {
		t.Fatal("the page has no table")
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+customer.Table()+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		printed = customer.Table()
	}
	if printed != customer.Table() {
		t.Errorf("the page prints\n%s\nand the doors read\n%s", printed, customer.Table())
	}
}

func TestSetStatus(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		all := []customer.Status{customer.Active, customer.Locked, customer.Suspended, customer.Dormant, customer.Closed, customer.Erased, customer.Invited, "", "frozen"}
		allowed := map[customer.Status][]customer.Status{
			customer.Active:    {customer.Active, customer.Locked, customer.Suspended, customer.Dormant, customer.Closed},
			customer.Locked:    {customer.Locked, customer.Active, customer.Suspended, customer.Closed},
			customer.Suspended: {customer.Suspended, customer.Active, customer.Locked, customer.Closed},
			customer.Dormant:   {customer.Dormant, customer.Active, customer.Locked, customer.Suspended, customer.Closed},
			customer.Closed:    {customer.Closed, customer.Active},
			customer.Erased:    {customer.Erased},
		}
		for _, from := range all[:6] {
			for _, to := range all {
				who := w.created(t)
				switch from {
				case customer.Active:
				case customer.Erased:
					if err := w.Directory.Erase(t.Context(), w.Tenant.ID, who, "system"); err != nil {
						t.Fatal(err)
					}
				default:
					if err := w.Directory.SetStatus(t.Context(), w.Tenant.ID, who, from, "", "system"); err != nil {
						t.Fatal(err)
					}
				}
				before, err := w.Directory.State(t.Context(), w.Tenant.ID, who)
				if err != nil {
					t.Fatal(err)
				}
				err = w.Directory.SetStatus(t.Context(), w.Tenant.ID, who, to, "because", "ops_1")
				after, stateErr := w.Directory.State(t.Context(), w.Tenant.ID, who)
				if stateErr != nil {
					t.Fatal(stateErr)
				}
				switch {
				case !slices.Contains(allowed[from], to):
					if !errors.Is(err, customer.ErrNotAllowed) || after != before {
						t.Errorf("%s to %q: %v, %+v", from, to, err, after)
					}
				case err != nil:
					t.Errorf("%s to %q: %v", from, to, err)
				case from == to:
					if after.Epoch != before.Epoch {
						t.Errorf("%s to itself voids sessions", from)
					}
				default:
					if after.Status != to || after.Epoch != before.Epoch+1 || after.Version != before.Version+1 {
						t.Errorf("%s to %q: %+v, then %+v", from, to, before, after)
					}
				}
			}
		}
		if err := w.Directory.SetStatus(t.Context(), w.Tenant.ID, "cus_nobody", customer.Locked, "", "system"); !errors.Is(err, customer.ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
	})
}

func TestStateOfNobody(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		state, err := w.Directory.State(t.Context(), w.Tenant.ID, "cus_nobody")
		if err != nil || state.Found || state.Status.MayUseTokens() {
			t.Errorf("got %+v, %v", state, err)
		}
		who := w.created(t)
		if state, err := w.Directory.State(t.Context(), w.Other.ID, who); err != nil || state.Found {
			t.Errorf("at another tenant: %+v, %v", state, err)
		}
	})
}

// erasedRows has the directory erase a row of somebody else's table too, and
// says how often that was done.
func erasedRows(w world) *int {
	calls := 0
	w.Directory.Erasers = []func(*sqldb.Tx, id.Tenant, id.Customer) error{func(tx *sqldb.Tx, tenant id.Tenant, who id.Customer) error {
		calls++
		tx.Queue(`DELETE FROM session WHERE tenant = $1 AND customer = $2`, tenant, who)
		return nil
	}}
	return &calls
}

func TestErase(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		calls := erasedRows(w)
		who := w.created(t, verified(t, "v@example.com"), unverified(t, "u@example.com"))
		w.SignIn(t, who, false)
		before := w.get(t, who)
		if err := w.Directory.Erase(t.Context(), w.Tenant.ID, who, "ops_1"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Directory.Get(t.Context(), w.Tenant.ID, who); !errors.Is(err, customer.ErrErased) {
			t.Errorf("get: %v", err)
		}
		if _, err := w.Directory.Key(t.Context(), w.Tenant.ID, who); !errors.Is(err, customer.ErrErased) {
			t.Errorf("key: %v", err)
		}
		state, err := w.Directory.State(t.Context(), w.Tenant.ID, who)
		if err != nil || !state.Found || state.Status != customer.Erased || state.Epoch != before.Epoch+1 {
			t.Errorf("state %+v, %v", state, err)
		}
		if w.find(t, "v@example.com") != "" {
			t.Error("the address still finds")
		}
		for _, table := range []string{"customer_identifier", "identifier_holder", "session"} {
			if n := w.count(t, `SELECT COUNT(*) FROM `+table); n != 0 {
				t.Errorf("%d rows of %s", n, table)
			}
		}
		if n := w.count(t, `SELECT COUNT(*) FROM customer WHERE profile IS NOT NULL OR reason <> '' OR reason_sealed IS NOT NULL`); n != 0 {
			t.Error("a profile or a reason is left")
		}
		// Again, in every way: nothing more happens.
		if err := w.Directory.Erase(t.Context(), w.Tenant.ID, who, "ops_1"); err != nil {
			t.Error(err)
		}
		if err := w.Directory.FinishErasure(t.Context(), w.Tenant.ID, who); err != nil {
			t.Error(err)
		}
		if w.Events(t, "customer.erased") != 1 || *calls != 1 {
			t.Errorf("%d events, %d runs", w.Events(t, "customer.erased"), *calls)
		}
		if err := w.Directory.Erase(t.Context(), w.Tenant.ID, "cus_nobody", "ops_1"); !errors.Is(err, customer.ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
		if err := w.Directory.FinishErasure(t.Context(), w.Tenant.ID, "cus_nobody"); err != nil {
			t.Errorf("nobody: %v", err)
		}
		// The address is free, and the id is not.
		if _, err := w.create(t, nil, verified(t, "v@example.com")); err != nil {
			t.Errorf("somebody new with the address: %v", err)
		}
		if _, err := w.Ring.CreateCustomer(t.Context(), w.Tenant.ID, who); err == nil {
			t.Error("the erased id got a key again")
		}
	})
}

// TestErasureIsResumed: a crash after the key is gone, before the rows are.
func TestErasureIsResumed(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		for name, resume := range map[string]func(context.Context, id.Customer) error{
			"by FinishErasure": func(ctx context.Context, who id.Customer) error {
				return w.Directory.FinishErasure(ctx, w.Tenant.ID, who)
			},
			"by Erase": func(ctx context.Context, who id.Customer) error {
				return w.Directory.Erase(ctx, w.Tenant.ID, who, "ops_1")
			},
		} {
			who := w.created(t, verified(t, "v@example.com"))
			// The crash: the eraser of another capability fails.
			w.Directory.Erasers = []func(*sqldb.Tx, id.Tenant, id.Customer) error{
				func(*sqldb.Tx, id.Tenant, id.Customer) error { return errors.New("crash") },
			}
			if err := w.Directory.Erase(t.Context(), w.Tenant.ID, who, "ops_1"); err == nil {
				t.Fatal("there was no crash")
			}
			w.Directory.Erasers = nil
			// In between nobody reads him, although the rows are there.
			if _, err := w.Directory.Get(t.Context(), w.Tenant.ID, who); !errors.Is(err, customer.ErrErased) {
				t.Errorf("%s: in between: %v", name, err)
			}
			if w.Events(t, "customer.erased") != 0 || w.find(t, "v@example.com") != who {
				t.Errorf("%s: half of a transaction was done", name)
			}
			events := w.Events(t, "customer.erased")
			if err := resume(t.Context(), who); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if w.find(t, "v@example.com") != "" || w.Events(t, "customer.erased") != events+1 {
				t.Errorf("%s: it was not finished", name)
			}
			w.Write(t, func(tx *sqldb.Tx) error {
				_, err := tx.Exec(`DELETE FROM event WHERE type = 'customer.erased'`)
				return err
			})
		}
	})
}

// TestErasedStaysErased: no way of changing a customer brings an erased one
// back.
func TestErasedStaysErased(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who := w.created(t, verified(t, "v@example.com"))
		keys, key := w.keys(t), w.key(t, who)
		if err := w.Directory.Erase(t.Context(), w.Tenant.ID, who, "system"); err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(tx *sqldb.Tx) error{
			"Create": func(tx *sqldb.Tx) error {
				return w.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: w.Tenant.ID, Customer: who, Identifiers: []customer.NewIdentifier{verified(t, "v@example.com")}})
			},
			"SetProfile": func(tx *sqldb.Tx) error {
				return w.Directory.SetProfile(tx, w.keys(t), key, w.Tenant.ID, who, 2, map[string]any{"given_name": "Ana"}, "system")
			},
			"AddIdentifier, verified": func(tx *sqldb.Tx) error {
				_, err := w.Directory.AddIdentifier(tx, keys, key, w.Tenant.ID, who, verified(t, "x@example.com"), "system")
				return err
			},
			"AddIdentifier, unverified": func(tx *sqldb.Tx) error {
				_, err := w.Directory.AddIdentifier(tx, keys, key, w.Tenant.ID, who, unverified(t, "x@example.com"), "system")
				return err
			},
			"VerifyIdentifier": func(tx *sqldb.Tx) error {
				return w.Directory.VerifyIdentifier(tx, keys, w.Tenant.ID, who, address(t, "v@example.com"), "system")
			},
		} {
			if err := w.DB.Write(t.Context(), change); err == nil {
				t.Errorf("%s works", name)
			}
		}
		for _, status := range []customer.Status{customer.Active, customer.Locked} {
			if err := w.Directory.SetStatus(t.Context(), w.Tenant.ID, who, status, "", "system"); !errors.Is(err, customer.ErrNotAllowed) {
				t.Errorf("%s: %v", status, err)
			}
		}
		if n := w.count(t, `SELECT COUNT(*) FROM customer_identifier`); n != 0 {
			t.Errorf("%d identifiers", n)
		}
		if w.find(t, "x@example.com") != "" {
			t.Error("an erased customer is found")
		}
	})
}

// TestErasedOnAnotherNode: a node that has not yet heard of the erasure, and
// still has the key, gives the erased customer nothing.
func TestErasedOnAnotherNode(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		if w.DB.Engine() != sqldb.Postgres {
			t.Skip("one node")
		}
		late := world{w.Second(t)}
		who := w.created(t, verified(t, "v@example.com"), unverified(t, "u@example.com"))
		keys, key := late.keys(t), late.key(t, who)
		if err := w.Directory.Erase(t.Context(), w.Tenant.ID, who, "system"); err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(tx *sqldb.Tx) error{
			"SetProfile": func(tx *sqldb.Tx) error {
				return late.Directory.SetProfile(tx, w.keys(t), key, w.Tenant.ID, who, 2, map[string]any{"given_name": "Ana"}, "system")
			},
			"AddIdentifier": func(tx *sqldb.Tx) error {
				_, err := late.Directory.AddIdentifier(tx, keys, key, w.Tenant.ID, who, verified(t, "x@example.com"), "system")
				return err
			},
			"VerifyIdentifier": func(tx *sqldb.Tx) error {
				return late.Directory.VerifyIdentifier(tx, keys, w.Tenant.ID, who, address(t, "u@example.com"), "system")
			},
		} {
			if err := late.DB.Write(t.Context(), change); err == nil {
				t.Errorf("%s works", name)
			}
		}
		if n := w.count(t, `SELECT COUNT(*) FROM identifier_holder`); n != 0 {
			t.Errorf("an erased customer holds %d addresses", n)
		}
	})
}

func TestReasonIsSealed(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		const words = "Quirina rang: her husband reads her mail"
		who := w.created(t, verified(t, "q@example.com"))
		set := func(status customer.Status, reason string) {
			t.Helper()
			if err := w.Directory.SetStatus(t.Context(), w.Tenant.ID, who, status, reason, "operator"); err != nil {
				t.Fatal(err)
			}
		}
		set(customer.Locked, words)
		if got := w.get(t, who).Reason; got != words {
			t.Errorf("the reason is %q", got)
		}
		for column, content := range dump(t, w.DB) {
			if bytes.Contains(content, []byte("husband")) {
				t.Errorf("the reason lies open in %s", column)
			}
		}
		told := func() (texts []string) {
			t.Helper()
			records, err := w.Log.Read(t.Context(), w.Tenant.ID, event.Filter{Customer: who, Type: "customer.status.changed"}, event.Page{OldestFirst: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				if r.Personal == nil {
					texts = append(texts, "")
					continue
				}
				text, err := r.Personal.Open(w.keys(t))
				if r.Personal.Holder != "" || err != nil {
					t.Fatalf("held by %q: %v", r.Personal.Holder, err)
				}
				texts = append(texts, string(text))
			}
			return texts
		}
		want := []string{`{"reason":"` + words + `"}`}
		if got := told(); !slices.Equal(got, want) {
			t.Errorf("the event tells %q", got)
		}

		// A status without a reason has none, whatever the one before had.
		set(customer.Active, "")
		if got := w.get(t, who).Reason; got != "" {
			t.Errorf("the reason is %q", got)
		}

		// What a node of the release before writes: it knows the open column alone.
		before := `UPDATE customer SET status = $3, reason = $4 WHERE tenant = $1 AND customer = $2`
		set(customer.Locked, words)
		w.Write(t, func(tx *sqldb.Tx) error { tx.Queue(before, w.Tenant.ID, who, customer.Active, ""); return nil })
		if got := w.get(t, who).Reason; got != "" {
			t.Errorf("of another status: %q", got)
		}
		w.Write(t, func(tx *sqldb.Tx) error {
			tx.Queue(before, w.Tenant.ID, who, customer.Suspended, "open words")
			return nil
		})
		if got := w.get(t, who).Reason; got != "open words" {
			t.Errorf("the open reason is %q", got)
		}
		if n, err := w.Directory.SealReasons(t.Context(), 10); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := w.Directory.SealReasons(t.Context(), 10); n != 0 || err != nil {
			t.Errorf("again: %d, %v", n, err)
		}
		if got := w.get(t, who).Reason; got != "open words" {
			t.Errorf("after it was sealed: %q", got)
		}
		for column, content := range dump(t, w.DB) {
			if bytes.Contains(content, []byte("open words")) {
				t.Errorf("it still lies open in %s", column)
			}
		}

		// The customer's copy goes with the customer; the operators' own stays.
		if err := w.Directory.Erase(t.Context(), w.Tenant.ID, who, "operator"); err != nil {
			t.Fatal(err)
		}
		if n := w.count(t, `SELECT COUNT(*) FROM customer WHERE reason_sealed IS NOT NULL`); n != 0 {
			t.Error("a reason is left")
		}
		if got := told(); len(got) != 3 || !slices.Contains(got, want[0]) {
			t.Errorf("after the erasure the events tell %q", got)
		}
	})
}
