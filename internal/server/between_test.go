package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// What somebody else does between the look and the change.

// Of all who use links for the first operator at once, each a link of its own, one
// becomes it.
func TestNodesRaceForTheFirstOperator(t *testing.T) {
	t.Parallel()
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		i := nodes[0]
		system := i.System()
		const n = 16
		var who [n]id.Customer
		var secrets [n]string
		var links [n]operator.Link
		for k := range n {
			who[k] = i.Customer(system, fmt.Sprintf("first%d@example.com", k), "")
			var err error
			if secrets[k], err = i.Operators.First(t.Context()); err != nil {
				t.Fatal(err)
			}
			if links[k], err = i.Operators.Open(t.Context(), secrets[k]); err != nil {
				t.Fatal(err)
			}
		}
		atOnce(n, func(k int) {
			node := nodes[k%len(nodes)]
			err := node.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return node.Operators.Spend(tx, secrets[k], links[k], who[k]) })
			if err != nil && !errors.Is(err, operator.ErrLink) {
				t.Error(err)
			}
		})
		all, err := i.Operators.List(t.Context(), "", 2*n)
		if err != nil || len(all) != 1 {
			t.Errorf("%d have become the first operator, %v", len(all), err)
		}
	})
}

// Of those who hold everything one is left, however many are locked and erased at
// once.
func TestNodesRaceToLockTheLastOperator(t *testing.T) {
	t.Parallel()
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		i := nodes[0]
		system := i.System()
		const n = 4
		for round := range 6 {
			var who [n]id.Customer
			for k := range n {
				who[k] = i.Customer(system, fmt.Sprintf("full%d-%d@example.com", round, k), "")
				i.Operator(string(who[k]), operator.Everything())
			}
			atOnce(n, func(k int) {
				directory := nodes[k%len(nodes)].Directory
				var err error
				if round%3 == 0 || round%3 == 1 && k > 1 {
					err = directory.Erase(t.Context(), system.ID, who[k], "test")
				} else {
					err = directory.SetStatus(t.Context(), system.ID, who[k], customer.Locked, "", "test")
				}
				if err != nil && !errors.Is(err, customer.ErrSpared) {
					t.Error(err)
				}
			})
			active := 0
			for k := range n {
				state, err := i.Directory.State(t.Context(), system.ID, who[k])
				if err != nil {
					t.Fatal(err)
				}
				if state.Status == customer.Active {
					active++
				}
				if err := i.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return i.Operators.EraseCustomer(tx, system.ID, who[k]) }); err != nil {
					t.Fatal(err)
				}
			}
			if active != 1 {
				t.Fatalf("round %d: %d are left", round, active)
			}
		}
	})
}

// An operator's change of addresses that was got ready before one was taken out,
// which is an intruder's, does not send it a link that brings it back.
func TestANoticeIsSentToWhoIsStillThere(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "shop", nil)
		keys, err := i.Ring.Tenant(t.Context(), h.tenant.ID)
		if err != nil {
			t.Fatal(err)
		}
		key, err := i.Directory.Key(t.Context(), h.tenant.ID, h.ana)
		if err != nil {
			t.Fatal(err)
		}
		address := func(value string) identifier.Normalised {
			n, err := identifier.Normalise(identifier.Email, value, identifier.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		add := func(tx *sqldb.Tx, value string) (id.Identifier, error) {
			return i.Directory.AddIdentifier(tx, keys, key, h.tenant.ID, h.ana, customer.NewIdentifier{Normalised: address(value), Verified: true}, "test")
		}
		var evil id.Identifier
		if err := i.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) { evil, err = add(tx, "evil@example.com"); return err }); err != nil {
			t.Fatal(err)
		}
		before, err := i.Directory.Get(t.Context(), h.tenant.ID, h.ana)
		if err != nil {
			t.Fatal(err)
		}
		n := address("new@example.com")
		tell, err := i.Directory.PrepareIdentifierNotice(t.Context(), customer.AboutAdded, before,
			customer.Identifier{Kind: n.Kind, Key: n.Key, Display: n.Display, Verified: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := i.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			return i.Directory.RemoveIdentifier(tx, h.tenant.ID, h.ana, evil, "test")
		}); err != nil {
			t.Fatal(err)
		}
		err = i.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			if err := tell(tx); err != nil {
				return err
			}
			_, err := add(tx, "new@example.com")
			return err
		})
		if !errors.Is(err, customer.ErrChanged) {
			t.Errorf("answered %v", err)
		}
		i.Count()
		if i.Newest("evil@example.com") != "" {
			t.Error("the address that was taken out is told, with a link that brings it back")
		}
	})
}

// To erase somebody is answered again under its idempotency key as it was.
func TestAnErasureIsAnsweredAgain(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system, shop := i.System(), i.Tenant("shop", nil)
		token := robotToken(i, i.Robot(system, operator.Everything()))
		gone := i.Customer(shop, "gone@example.com", "")
		path := "/admin/v1/tenants/shop/customers/" + string(gone) + "/erase"
		status, _, first := i.Admin(token, "POST", path, `{}`, "Idempotency-Key", "erase")
		if status != 200 {
			t.Fatal(status, first)
		}
		if status, header, text := i.Admin(token, "POST", path, `{}`, "Idempotency-Key", "erase"); status != 200 || text != first || header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("again: %d %s", status, text)
		}
	})
}

// A user name that an operator adds or takes out lets nobody in who reads messages
// there: no message says so.
func TestAUserNameIsToldAsNoAddress(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		h := newHouse(t, i, "shop", nil)
		token := robotToken(i, i.Robot(system, operator.Everything()))
		at := "/admin/v1/tenants/shop/customers/" + string(h.ana) + "/identifiers"
		i.Count()
		before := i.Newest(anaMail)
		status, _, text := i.Admin(token, "POST", at, `{"kind":"username","value":"ana.lopes","verified":true}`)
		var told struct {
			Identifiers []struct{ ID, Value string }
		}
		if err := json.Unmarshal([]byte(text), &told); err != nil || status != 201 {
			t.Fatal(status, text)
		}
		for _, it := range told.Identifiers {
			if it.Value == "ana.lopes" {
				if status, _, text := i.Admin(token, "DELETE", at+"/"+it.ID, ""); status != 200 {
					t.Fatal(status, text)
				}
			}
		}
		i.Count()
		if i.Newest(anaMail) != before {
			letters, err := i.Inbox.List(t.Context(), anaMail, "", 20)
			if err != nil {
				t.Fatal(err)
			}
			for _, letter := range letters {
				t.Errorf("she is told: %s", letter.Text)
			}
		}
	})
}

// A pointer in a refusal is to a key of what was sent.
func TestRefusalsPointAtKeysAlone(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	system, shop := i.System(), i.Tenant("shop", nil)
	app := i.Application(shop, nil)
	olga := i.Customer(system, "olga@example.com", "")
	token := robotToken(i, i.Robot(system, operator.Everything()))
	const tenants = "/admin/v1/tenants/"
	for _, try := range []struct{ method, path, body, pointer string }{
		{"PUT", "/admin/v1/operators/" + string(olga), `{"scopes":["nonsense:read"],"all_tenants":true}`, ""},
		{"PUT", "/admin/v1/operators/" + string(olga), `{"scopes":["events:read"]}`, ""},
		{"PUT", tenants + "shop/applications/" + string(app.ID), `{"nonsense":1}`, ""},
		{"PUT", tenants + "shop/applications/" + string(app.ID), `{"name":"","kind":"web","redirect_uris":["https://a.example/cb"]}`, "/name"},
		{"PUT", tenants + "shop/settings", `{"password":{"min_length":2}}`, "/password/min_length"},
		{"PUT", tenants + "shop/settings", `{"nonsense":1}`, ""},
		{"PUT", tenants + "shop/brand", `{"nonsense":1}`, ""},
		{"POST", "/admin/v1/tenants", `{"slug":"a b","name":"A"}`, ""},
	} {
		status, _, text := i.Admin(token, try.method, try.path, try.body)
		var refusal struct {
			Errors []struct{ Pointer string }
			Detail string
		}
		if err := json.Unmarshal([]byte(text), &refusal); err != nil || status != 422 {
			t.Errorf("%s %s %s: %d %s", try.method, try.path, try.body, status, text)
			continue
		}
		var at []string
		for _, e := range refusal.Errors {
			at = append(at, e.Pointer)
		}
		if strings.Join(at, " ") != try.pointer {
			t.Errorf("%s %s %s: %s", try.method, try.path, try.body, text)
		}
	}
}
