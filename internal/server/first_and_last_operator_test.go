package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Links for the first operator that two nodes have printed are both good, until
// there is one.
func TestEveryNodesFirstLinkIsGood(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		i.System()
		var links []string
		for range 2 {
			link, err := i.FirstOperator(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			links = append(links, link)
		}
		for n, link := range append(slices.Clone(links), links[0]) {
			b := i.SystemBrowser()
			p := b.Get(link)
			if p.Has("identifier") != (n < 2) {
				t.Fatalf("link %d: %s", n, servertest.Text(p.Body))
			}
			if n != 1 { // the first is looked at alone, the second used
				continue
			}
			p = b.Answer(p, url.Values{"identifier": {"olga@example.com"}})
			b.Answer(p, url.Values{"new_password": {"a very long passphrase of hers"}})
		}
	})
}

// Whoever alone holds everything can be neither locked nor closed nor erased, and
// those who cannot sign in do not count; the holding grows with the program.
func TestSomebodyHoldsEverythingAndCanSignIn(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		olga := i.Customer(system, "olga@example.com", anaPassword)
		omar := i.Customer(system, "omar@example.com", anaPassword)
		i.Operator(string(olga), operator.Everything())
		i.Operator(string(omar), operator.Everything())
		token := robotToken(i, i.Robot(system, operator.Everything()))
		at := "/admin/v1/tenants/" + string(system.ID) + "/customers/"
		says := func(want int, method, path, body string) {
			t.Helper()
			if status, _, text := i.Admin(token, method, path, body); status != want {
				t.Errorf("%s %s: %d %s", method, path, status, text)
			}
		}
		says(200, "POST", at+string(omar)+"/lock", `{}`)
		for _, change := range []string{"/lock", "/suspend", "/close"} {
			says(409, "POST", at+string(olga)+change, `{}`)
		}
		says(409, "POST", at+string(olga)+"/erase", `{}`)
		says(409, "DELETE", "/admin/v1/operators/"+string(olga), "")
		says(409, "PUT", "/admin/v1/operators/"+string(olga), `{"scopes":["events:read"],"all_tenants":true}`)
		says(200, "POST", at+string(omar)+"/unlock", ``)
		says(200, "POST", at+string(olga)+"/lock", `{}`)

		var stored string
		if err := i.DB.QueryRow(t.Context(), `SELECT scopes FROM operator WHERE subject = $1`, omar).Scan(&stored); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(stored, "* ") {
			t.Errorf("stored is %q", stored)
		}
		if err := i.DB.Write(t.Context(), func(tx *sqldb.Tx) error { // as an earlier release with fewer scopes wrote it
			_, err := tx.Exec(`UPDATE operator SET scopes = '* customers:read' WHERE subject = $1`, omar)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if o, err := i.Operators.Get(t.Context(), string(omar)); err != nil || !o.Full() {
			t.Errorf("%+v, %v", o, err)
		}
	})
}

// The link for the first operator is good for nothing once there is one.
func TestTheFirstLinkEndsWithTheFirstOperator(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		link, err := i.FirstOperator(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := i.SystemBrowser()
		p := b.Answer(b.Get(link), url.Values{"identifier": {"mallory@example.com"}})
		i.Operator(string(i.Customer(system, "olga@example.com", anaPassword)), operator.Everything())
		if p := b.Answer(p, url.Values{"new_password": {"a very long passphrase of hers"}}); p.Status != http.StatusGone {
			t.Errorf("answered %d", p.Status)
		}
		if p := b.Get(link); p.Status != http.StatusGone {
			t.Errorf("the link opens: %d", p.Status)
		}
		all, err := i.Operators.List(t.Context(), "", 10)
		if err != nil || len(all) != 1 {
			t.Errorf("%d operators, %v", len(all), err)
		}
	})
}
