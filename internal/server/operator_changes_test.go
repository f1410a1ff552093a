package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

// SECURITY L: an operator for one tenant has no mail come from the domain of another.
func TestASendersDomainIsForTheInstallationToSay(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system, shop := i.System(), i.Tenant("shop", nil)
		bound := robotToken(i, i.Robot(system, operator.Holding{Scopes: []string{"brands:write", "tenants:write"}, Tenants: []id.Tenant{shop.ID}}))
		all := robotToken(i, i.Robot(system, operator.Everything()))
		for path, body := range map[string]string{"/brand": `{"mail":{"from_address":"%s"}}`, "/settings": `{"mail":{"from_address":"%s"}}`} {
			for _, try := range []struct {
				token, address string
				want           int
			}{
				{bound, "hello@club.example", 403}, {all, "hello@shop.example", 200}, {bound, "shop@Shop.example", 200},
				{bound, "hello@club.example", 403}, {bound, "hello@shop.example.club.example", 403}, {bound, "", 200}, {bound, "hello@shop.example", 403},
			} {
				if status, _, text := i.Admin(try.token, "PUT", "/admin/v1/tenants/shop"+path, fmt.Sprintf(body, try.address)); status != try.want {
					t.Errorf("%s: %s: %d %s", path, try.address, status, text)
				}
			}
		}
	})
}

// SECURITY 24: what an operator does with the addresses that let a customer in is
// told at those that he has proved, with a link that undoes it; the address itself
// gets none, and those that were sent to one which is taken are void.
func TestOperatorsChangesOfAddressesAreTold(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		h := newHouse(t, i, "shop", nil)
		token := robotToken(i, i.Robot(system, operator.Everything()))
		at := "/admin/v1/tenants/shop/customers/" + string(h.ana) + "/identifiers"
		const evil = "evil@example.com"
		change := func(method, path, body string) string {
			t.Helper()
			status, _, text := i.Admin(token, method, path, body)
			var told struct {
				Identifiers []struct{ ID, Value string }
			}
			if err := json.Unmarshal([]byte(text), &told); err != nil || status >= 300 {
				t.Fatal(status, text)
			}
			for _, it := range told.Identifiers {
				if it.Value == evil {
					return it.ID
				}
			}
			return ""
		}
		it := change("POST", at, `{"kind":"email","value":"`+evil+`"}`)
		i.Count()
		if i.Newest(anaMail) != "" || i.Newest(evil) != "" {
			t.Error("an address that lets nobody in is told")
		}
		change("POST", at+"/"+it+"/verify", "")
		change("POST", at+"/"+it+"/verify", "") // again: nothing more is told
		link := func(l notify.Letter) string {
			for _, link := range l.Links {
				if strings.HasPrefix(link, h.tenant.URL("/not-me")+"?link=") {
					return link
				}
			}
			return ""
		}
		hers, its := h.noticeTo(anaMail, "address was added"), h.noticeTo(evil, "address was added")
		if link(hers) == "" || link(its) != "" || !strings.Contains(hers.Text, evil) || !strings.Contains(hers.Text, "by our staff") {
			t.Errorf("she is told %s\nit is told %s", hers.Text, its.Text)
		}
		i.Count()
		if letters, err := i.Inbox.List(t.Context(), anaMail, "", 20); err != nil || len(letters) != 1 {
			t.Errorf("%d letters, %v", len(letters), err)
		}
		// Whoever has the address signs in on a new device and is sent a link.
		h.shop.SignIn(i, i.Browser(), evil, anaPassword, nil)
		h.shop.SignIn(i, i.Browser(), evil, anaPassword, nil)
		kept := link(h.noticeTo(evil, "sign-in"))
		if kept == "" {
			t.Fatal("no link came")
		}
		change("DELETE", at+"/"+it, "")
		its = h.noticeTo(evil, "address was removed")
		if link(its) != "" || link(h.noticeTo(anaMail, "address was removed")) == "" {
			t.Errorf("it is told %s", its.Text)
		}
		if p := i.Browser().Get(kept); p.Status != http.StatusGone {
			t.Errorf("a link that was sent to it: %d %s", p.Status, servertest.Text(p.Body))
		}
		// By hers she undoes all.
		b := i.Browser()
		if p := b.Answer(b.Get(link(hers)), url.Values{"decision": {"secure"}}); p.Status != http.StatusOK {
			t.Errorf("%d %s", p.Status, servertest.Text(p.Body))
		}
	})
}
