package customer_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// searchBy has the tenant's customers found by beginnings, and those who are
// there follow.
func (w world) searchBy(t testing.TB, search tenant.Search) {
	t.Helper()
	w.declare(t, w.Tenant, search)
	w.Clock.Advance(time.Minute)
	w.follow(t)
}

func (w world) declare(t testing.TB, of *tenant.Tenant, search tenant.Search) {
	t.Helper()
	of.Settings.Search = search
	if err := of.Settings.Check(); err != nil {
		t.Fatal(err)
	}
	w.Write(t, func(tx *sqldb.Tx) error { return w.Directory.SetSearched(tx, of.ID, search.Fields(), false) })
}

func (w world) follow(t testing.TB) {
	t.Helper()
	if err := w.Directory.AdvanceSearch(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// search returns everybody who is found, over pages of a size.
func (w world) search(t testing.TB, of *tenant.Tenant, field, text string, size int) []customer.Match {
	t.Helper()
	keys, err := w.Ring.Tenant(t.Context(), of.ID)
	if err != nil {
		t.Fatal(err)
	}
	var all []customer.Match
	asked := customer.Search{Tenant: of, Keys: keys, Text: text, Field: field, Limit: size}
	for {
		page, next, err := w.Directory.Search(t.Context(), asked)
		if err != nil {
			t.Fatalf("searching %s for %q: %v", field, text, err)
		}
		if len(page) > size {
			t.Errorf("a page of %d has %d", size, len(page))
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		asked.After = next
	}
}

// finds checks who is found, in whatever order, on pages of one and of many.
func (w world) finds(t testing.TB, field, text string, want ...id.Customer) {
	t.Helper()
	slices.Sort(want)
	for _, size := range []int{1, customer.MaxMatches} {
		var got []id.Customer
		for _, m := range w.search(t, w.Tenant, field, text, size) {
			got = append(got, m.ID)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%q in %q finds %v, want %v", text, field, got, want)
		}
	}
}

// rows are all beginnings of a customer, or of everybody.
func (w world) rows(t testing.TB, who id.Customer) int {
	t.Helper()
	if who == "" {
		return w.count(t, `SELECT COUNT(*) FROM customer_prefix`)
	}
	return w.count(t, `SELECT COUNT(*) FROM customer_prefix WHERE customer = $1`, who)
}

// dump is all that stands in the table.
func (w world) dump(t testing.TB) (all []string) {
	t.Helper()
	rows, err := w.DB.Query(t.Context(), `SELECT tenant, customer, source, lookup FROM customer_prefix ORDER BY tenant, customer, source, lookup`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var tenant, who, source string
		var lookup []byte
		if err := rows.Scan(&tenant, &who, &source, &lookup); err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Join([]string{tenant, who, source, hex.EncodeToString(lookup)}, " "))
	}
	return all
}

// exact checks that what changes have left is what a pass over everybody writes.
func (w world) exact(t testing.TB) {
	t.Helper()
	before := w.dump(t)
	w.declare(t, w.Tenant, w.Tenant.Settings.Search)
	w.Clock.Advance(2 * time.Minute)
	w.follow(t)
	if after := w.dump(t); !slices.Equal(before, after) {
		t.Errorf("changes have left %d rows, and a pass over everybody writes %d:\n%s\n\n%s", len(before), len(after), strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func (w world) set(t testing.TB, who id.Customer, profile map[string]any) {
	t.Helper()
	revision := w.get(t, who).Revision
	keys, key := w.keys(t), w.key(t, who)
	w.Write(t, func(tx *sqldb.Tx) error {
		return w.Directory.SetProfile(tx, keys, key, w.Tenant.ID, who, revision, profile, "system")
	})
}

var everything = tenant.Search{Identifiers: []string{"email", "phone", "username"}, Attributes: []string{"given_name", "family_name", "address.locality"}}

func TestCustomersAreFoundByBeginnings(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		w.Tenant.Settings.Region = "DE"
		w.searchBy(t, everything)
		number, err := identifier.Normalise(identifier.Phone, "+49 30 1234567", identifier.Options{})
		if err != nil {
			t.Fatal(err)
		}
		make := func(profile map[string]any, identifiers ...customer.NewIdentifier) id.Customer {
			t.Helper()
			who, err := w.create(t, profile, identifiers...)
			if err != nil {
				t.Fatal(err)
			}
			return who
		}
		ana := make(map[string]any{"given_name": "Ana-María", "family_name": "Lopes da Silva", "address": map[string]any{"locality": "Köln"}},
			verified(t, "Ana.Lopes@Example.com"), customer.NewIdentifier{Normalised: number, Verified: true})
		joe := make(map[string]any{"given_name": "Jo\u0308rg", "family_name": "GROẞMANN"}, verified(t, "joe@münchen.example"), unverified(t, "hidden@example.com"))
		anna := make(map[string]any{"given_name": "Anna Anna", "family_name": "Li"}, verified(t, "anna@example.com"))

		for _, c := range []struct {
			field, text string
			want        []id.Customer
		}{
			{"", "ana", []id.Customer{ana}},
			{"", "ANN", []id.Customer{anna}},
			{"email", "ana.l", []id.Customer{ana}},
			{"email", "Joe@MÜN", []id.Customer{joe}},
			{"email", "lopes", nil},
			{"email", "hidden", nil}, // nobody has proved it
			{"phone", "030 123", []id.Customer{ana}},
			{"profile.given_name", "mari", nil}, // the accent is part of the name
			{"profile.given_name", "marí", []id.Customer{ana}},
			{"profile.given_name", "ana mar", []id.Customer{ana}},
			{"profile.given_name", "JÖR", []id.Customer{joe}},
			{"profile.family_name", "grossm", []id.Customer{joe}},
			{"profile.family_name", "da s", []id.Customer{ana}},
			{"profile.family_name", "sil", []id.Customer{ana}},
			{"profile.given_name", "lop", nil},
			{"profile.address.locality", "köl", []id.Customer{ana}},
			{"", "nobody", nil},
		} {
			w.finds(t, c.field, c.text, c.want...)
		}
		for _, m := range w.search(t, w.Tenant, "", "030 1", 1) {
			if m.Field != "phone" || m.Value != "+49 30 1234567" || m.Profile["family_name"] != "Lopes da Silva" {
				t.Errorf("the match says %s %q of %v", m.Field, m.Value, m.Profile)
			}
		}
		keys := w.keys(t)
		for text, c := range map[string]struct {
			field string
			want  error
		}{
			"an": {"", customer.ErrShort}, " 'a n ": {"profile.given_name", nil}, "--": {"", customer.ErrShort}, "\xffabc": {"", customer.ErrShort},
			"ana": {"profile.nickname", customer.ErrNotSearched}, "anb": {"declared:loyalty", customer.ErrNotSearched}, "not digits": {"phone", customer.ErrShort},
		} {
			if _, _, err := w.Directory.Search(t.Context(), customer.Search{Tenant: w.Tenant, Keys: keys, Text: text, Field: c.field, Limit: 5}); !errors.Is(err, c.want) {
				t.Errorf("%q in %q: %v, want %v", text, c.field, err, c.want)
			}
		}
		for _, after := range []string{"x", "%", "AAAA", string(ana)} {
			if _, _, err := w.Directory.Search(t.Context(), customer.Search{Tenant: w.Tenant, Keys: keys, Text: "ana", After: after, Limit: 5}); !errors.Is(err, customer.ErrPlace) {
				t.Errorf("a search that goes on from %q: %v", after, err)
			}
		}

		// A place that was made up, or is of another search, is none.
		_, next, err := w.Directory.Search(t.Context(), customer.Search{Tenant: w.Tenant, Keys: keys, Text: "ann", Limit: 1})
		if err != nil || next == "" {
			t.Fatalf("the page ends at %q: %v", next, err)
		}
		for at := range next {
			changed := []byte(next)
			changed[at] ^= 1
			if _, _, err := w.Directory.Search(t.Context(), customer.Search{Tenant: w.Tenant, Keys: keys, Text: "ann", After: string(changed), Limit: 1}); !errors.Is(err, customer.ErrPlace) {
				t.Errorf("a place that was changed at %d: %v", at, err)
			}
		}
		if _, _, err := w.Directory.Search(t.Context(), customer.Search{Tenant: w.Tenant, Keys: keys, Text: "lop", After: next, Limit: 1}); !errors.Is(err, customer.ErrPlace) {
			t.Errorf("a place of another search: %v", err)
		}

		// What has changed is found as it is now, and leaves nothing.
		w.set(t, ana, map[string]any{"given_name": "Zoë"})
		w.finds(t, "", "lop")
		w.finds(t, "profile.given_name", "zoë", ana)
		w.finds(t, "email", "ana", ana)
		if _, err := w.add(t, joe, verified(t, "joerg@example.com")); err != nil {
			t.Fatal(err)
		}
		if err := w.verify(t, joe, "hidden@example.com"); err != nil {
			t.Fatal(err)
		}
		w.finds(t, "email", "joe", joe)
		w.finds(t, "email", "joerg", joe)
		w.finds(t, "email", "hid", joe)
		before := w.rows(t, joe)
		w.remove(t, "joerg@example.com")
		w.finds(t, "email", "joerg")
		if now := w.rows(t, joe); now != before-1 {
			t.Errorf("an address that was taken away leaves %d rows of %d", now, before)
		}
		w.exact(t)
		if err := w.Directory.Erase(t.Context(), w.Tenant.ID, joe, "system"); err != nil {
			t.Fatal(err)
		}
		w.finds(t, "email", "joe")
		if n := w.rows(t, joe); n != 0 {
			t.Errorf("who was erased leaves %d rows", n)
		}
		w.exact(t)
	})
}

// TestLongBeginnings: what is beyond the ladder is compared with the opened
// value.
func TestLongBeginnings(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		w.searchBy(t, everything)
		const common = "newsletter-department"
		one := w.created(t, verified(t, common+"-one@example.com"), verified(t, common+"-also@example.com"))
		two := w.created(t, verified(t, common+"-two@example.com"))
		w.finds(t, "", common, one, two)
		w.finds(t, "", common+"-one", one)
		w.finds(t, "", common+"-also@exam", one)
		w.finds(t, "", common+"-two@example.com", two)
		w.finds(t, "", common+"-three")
		w.set(t, one, map[string]any{"given_name": common + " three", "family_name": common + " two"})
		w.finds(t, "", strings.ReplaceAll(common, "-", " ")+" two", one)
		w.finds(t, "", "newsletter department t", one)
		for _, row := range w.dump(t) {
			if lookup := row[strings.LastIndex(row, " ")+1:]; len(lookup) > 2*(8+3*17) {
				t.Errorf("a ladder has %d bytes", len(lookup)/2)
			}
		}
	})
}

// TestSearchStaysInItsTenant: the same names at another tenant have other rows,
// and nobody is found there.
func TestSearchStaysInItsTenant(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		w.searchBy(t, everything)
		w.declare(t, w.Other, everything)
		here := w.created(t, verified(t, "same@example.com"))
		there := id.New[id.Customer](w.Clock.Now(), w.Directory.Random)
		key, err := w.Ring.CreateCustomer(t.Context(), w.Other.ID, there)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := w.Ring.Tenant(t.Context(), w.Other.ID)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(t, func(tx *sqldb.Tx) error {
			return w.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: w.Other.ID, Customer: there, Profile: map[string]any{"given_name": "Ana"},
				Identifiers: []customer.NewIdentifier{verified(t, "same@example.com")}})
		})
		w.finds(t, "", "same", here)
		w.finds(t, "", "ana", here)
		got := w.search(t, w.Other, "", "same", 5)
		if len(got) != 1 || got[0].ID != there {
			t.Errorf("the other tenant finds %v", got)
		}
		lookups := map[string]string{}
		for _, row := range w.dump(t) {
			parts := strings.Fields(row)
			if of, seen := lookups[parts[3]]; seen && of != parts[0] {
				t.Error("two tenants have a row in common")
			}
			lookups[parts[3]] = parts[0]
		}
		// A place in one tenant's search is none in the other's.
		_, next, err := w.Directory.Search(t.Context(), customer.Search{Tenant: w.Other, Keys: keys, Text: "same", Limit: 1})
		if err != nil || next == "" {
			t.Fatalf("the page ends at %q: %v", next, err)
		}
		if _, _, err := w.Directory.Search(t.Context(), customer.Search{Tenant: w.Tenant, Keys: w.keys(t), Text: "same", After: next, Limit: 1}); !errors.Is(err, customer.ErrPlace) {
			t.Errorf("it goes on at another tenant: %v", err)
		}
	})
}

// TestSearchIsTurnedOnAndOff: customers who are there follow the settings, in
// bounded steps that are interrupted again and again, on whichever node, while
// others come, change and go.
func TestSearchIsTurnedOnAndOff(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		nodes := []world{w}
		if w.DB.Engine() == sqldb.Postgres {
			nodes = append(nodes, world{w.Second(t)})
		}
		var people []id.Customer
		for n := range 350 {
			people = append(people, w.created(t, verified(t, fmt.Sprintf("p%03d@example.com", n))))
		}
		if n := w.rows(t, ""); n != 0 {
			t.Fatalf("nobody asked for it, and there are %d rows", n)
		}
		keys := w.keys(t)
		if _, _, err := w.Directory.Search(t.Context(), customer.Search{Tenant: w.Tenant, Keys: keys, Text: "ana", Limit: 5}); !errors.Is(err, customer.ErrNotSearched) {
			t.Fatalf("nothing is searched: %v", err)
		}
		w.declare(t, w.Tenant, everything)
		if on, err := w.Directory.Searching(t.Context(), w.Tenant.ID); err != nil || !on {
			t.Fatalf("it does not say that customers are being made to be found: %v", err)
		}
		w.follow(t)
		if n := w.rows(t, ""); n != 0 {
			t.Fatalf("the pass begins before all transactions know of it: %d rows", n)
		}
		w.Clock.Advance(time.Minute)
		stopped := 0
		under := func(between func(n int)) {
			t.Helper()
			for n := 0; ; n++ {
				on, err := w.Directory.Searching(t.Context(), w.Tenant.ID)
				if err != nil {
					t.Fatal(err)
				}
				if !on {
					return
				}
				if n == 200 {
					t.Fatal("it comes to no end")
				}
				ctx, stop := context.WithTimeout(t.Context(), time.Duration(1+rand.IntN(20+10*n))*time.Millisecond)
				err = nodes[n%len(nodes)].Directory.AdvanceSearch(ctx)
				if ctx.Err() == nil && err != nil {
					t.Fatal(err)
				}
				if ctx.Err() != nil {
					stopped++
				}
				stop()
				between(n)
				w.Clock.Advance(2 * time.Minute) // a lease that was not given back runs out
			}
		}
		under(func(n int) {
			if n != 0 {
				return
			}
			w.set(t, people[349], map[string]any{"given_name": "Zoë"})
			w.set(t, people[0], map[string]any{"given_name": "Zoë"})
			people = append(people, w.created(t, verified(t, "late@example.com")))
			w.remove(t, "p347@example.com")
			for _, gone := range []int{1, 348} {
				if err := w.Directory.Erase(t.Context(), w.Tenant.ID, people[gone], "system"); err != nil {
					t.Fatal(err)
				}
			}
		})
		w.finds(t, "", "zoë", people[0], people[349])
		w.finds(t, "", "late", people[350])
		w.finds(t, "", "p00", people[0], people[2], people[3], people[4], people[5], people[6], people[7], people[8], people[9])
		if n, want := len(w.search(t, w.Tenant, "", "ana", 7)), 351-4; n != want {
			t.Errorf("%d are called Ana, want %d", n, want)
		}
		for _, gone := range []int{1, 348} {
			if n := w.rows(t, people[gone]); n != 0 {
				t.Errorf("who was erased has %d rows", n)
			}
		}
		w.exact(t)

		// A field that is searched no more leaves no row.
		all := w.rows(t, "")
		w.declare(t, w.Tenant, tenant.Search{Identifiers: []string{"email"}})
		if _, _, err := w.Directory.Search(t.Context(), customer.Search{Tenant: w.Tenant, Keys: keys, Text: "ana", Field: "profile.given_name", Limit: 5}); !errors.Is(err, customer.ErrNotSearched) {
			t.Errorf("it is searched at once no more: %v", err)
		}
		w.set(t, people[2], map[string]any{"given_name": "Bea"})
		w.Clock.Advance(time.Minute)
		under(func(int) {})
		if n, want := w.rows(t, ""), w.count(t, `SELECT COUNT(*) FROM customer_identifier`); n != want || n >= all {
			t.Errorf("%d rows are left of %d, want one for each of %d addresses", n, all, want)
		}
		w.declare(t, w.Tenant, tenant.Search{})
		w.Clock.Advance(time.Minute)
		under(func(int) {})
		if n := w.rows(t, ""); n != 0 {
			t.Errorf("nothing is searched, and %d rows are left", n)
		}
		if n := w.count(t, `SELECT COUNT(*) FROM event WHERE type = 'tenant.search.indexed'`); n != 4 {
			t.Errorf("%d events tell of it", n)
		}
		t.Logf("it was interrupted %d times", stopped)
	})
}

// TestSearchWhileTheLookupKeyIsReplaced: whoever is found is found throughout,
// once, and nothing of the old key is left.
func TestSearchWhileTheLookupKeyIsReplaced(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		nodes := []world{w}
		if w.DB.Engine() == sqldb.Postgres {
			nodes = append(nodes, world{w.Second(t)})
		}
		w.searchBy(t, everything)
		var people []id.Customer
		for n := range 120 {
			people = append(people, w.created(t, verified(t, fmt.Sprintf("p%03d@example.com", n))))
		}
		old := map[string]bool{}
		note := func() {
			for _, row := range w.dump(t) {
				old[row] = true
			}
		}
		all := func(when string) {
			t.Helper()
			for n, node := range nodes {
				got := node.search(t, w.Tenant, "", "ana", 17)
				if len(got) != len(people) {
					t.Fatalf("%s: node %d finds %d called Ana, want %d", when, n, len(got), len(people))
				}
				node.finds(t, "email", "p119", people[119])
			}
		}
		note()
		all("before")
		w.Clock.Set(w.rotate(t))
		people = append(people, w.created(t, verified(t, "ready@example.com")))
		all("ready")
		last := customer.LookupPhase("")
		for n := 0; w.phase(t) != ""; n++ {
			node := nodes[n%len(nodes)]
			node.advance(t)
			all("under way")
			if n%3 == 2 {
				node.follow(t)
				all("written anew")
			}
			if phase := w.phase(t); phase != last {
				last = phase
				people = append(people, w.created(t, verified(t, fmt.Sprintf("while%d@example.com", n))))
				w.set(t, people[n%100], map[string]any{"given_name": "Ana", "family_name": "Lopes"})
			}
			if n == 100 {
				t.Fatal("it comes to no end")
			}
			w.Clock.Advance(10 * time.Second)
		}
		all("after")
		for _, row := range w.dump(t) {
			if old[row] {
				t.Fatal("a row of the old key is left")
			}
		}
		w.exact(t)
	})
}

// TestRacesOfWhatIsSearched: whatever changes a customer at once, and at once
// with a pass, in the end there is what a pass over everybody writes.
func TestRacesOfWhatIsSearched(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		nodes := []world{w, w}
		if w.DB.Engine() == sqldb.Postgres {
			nodes[1] = world{w.Second(t)}
		}
		w.searchBy(t, everything)
		var people []id.Customer
		for n := range 6 {
			people = append(people, w.created(t, verified(t, fmt.Sprintf("p%d@example.com", n))))
		}
		var group sync.WaitGroup
		for worker := range 6 {
			group.Go(func() {
				node := nodes[worker%2]
				for n := range 12 {
					who := people[rand.IntN(len(people))]
					found, err := node.Directory.Get(t.Context(), w.Tenant.ID, who)
					if errors.Is(err, customer.ErrErased) {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					keys, key := node.keys(t), node.key(t, who)
					err = node.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
						switch pick := rand.IntN(4); {
						case pick == 0:
							_, err := node.Directory.AddIdentifier(tx, keys, key, w.Tenant.ID, who, verified(t, fmt.Sprintf("w%d-%d@example.com", worker, n)), "system")
							return err
						case pick == 1 && len(found.Identifiers) > 1:
							return node.Directory.RemoveIdentifier(tx, w.Tenant.ID, who, found.Identifiers[0].ID, "system")
						}
						return node.Directory.SetProfile(tx, keys, key, w.Tenant.ID, who, found.Revision, map[string]any{"given_name": fmt.Sprintf("Name%d Of%d", worker, n)}, "system")
					})
					if err != nil && !errors.Is(err, customer.ErrChanged) && !errors.Is(err, customer.ErrNotFound) {
						t.Error(err)
					}
				}
			})
		}
		for worker := range 2 {
			group.Go(func() {
				for range 8 {
					w.Write(t, func(tx *sqldb.Tx) error { return w.Directory.SetSearched(tx, w.Tenant.ID, everything.Fields(), false) })
					w.Clock.Advance(20 * time.Second)
					if err := nodes[worker].Directory.AdvanceSearch(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		w.exact(t)
	})
}

// TestWhoCannotBeOpenedIsNotFound: a pass goes on, and tells of it.
func TestWhoCannotBeOpenedIsNotFound(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		w.searchBy(t, everything)
		broken, whole := w.created(t, verified(t, "one@example.com")), w.created(t, verified(t, "two@example.com"))
		w.Write(t, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(`UPDATE customer SET profile = $3 WHERE tenant = $1 AND customer = $2`, w.Tenant.ID, broken, []byte("broken"))
			return err
		})
		w.finds(t, "", "ana", whole)
		w.declare(t, w.Tenant, everything)
		w.Clock.Advance(time.Minute)
		if err := w.Directory.AdvanceSearch(t.Context()); err == nil || !strings.Contains(err.Error(), string(broken)) {
			t.Errorf("the pass says %v", err)
		}
		if on, err := w.Directory.Searching(t.Context(), w.Tenant.ID); err != nil || on {
			t.Errorf("the pass has not ended: %v", err)
		}
		if n := w.rows(t, broken); n != 0 {
			t.Errorf("who cannot be opened has %d rows", n)
		}
		w.finds(t, "", "ana", whole)
	})
}
