package adminapi_test

import (
	"net/url"
	"testing"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

// An account that was made with nothing verified is found once an operator
// says that an identifier is the customer's.
func TestIdentifiers(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		i.Customer(shop, "bea@example.com", "")
		const all = "/admin/v1/tenants/shop/customers"
		made := o.json(o.must(201, post, all, object{"identifiers": []object{{"value": "ana@example.com"}}}))
		one := all + "/" + made["id"].(string)
		identifiers := func(a answer) []any { return o.json(a)["identifiers"].([]any) }
		first := one + "/identifiers/" + identifiers(o.must(200, get, one, nil))[0].(object)["id"].(string)
		find := func(status int, address string) {
			t.Helper()
			o.must(status, get, all+"/by-identifier?identifier="+url.QueryEscape(address), nil)
		}

		find(404, "ana@example.com")
		if its := identifiers(o.must(200, post, first+"/verify", nil)); its[0].(object)["verified"] != true {
			t.Errorf("%v", its)
		}
		o.must(200, post, first+"/verify", nil) // again changes nothing
		find(200, "Ana@Example.com")

		if its := identifiers(o.must(201, post, one+"/identifiers", object{"value": "a.lopes@example.com", "verified": true})); len(its) != 2 {
			t.Errorf("%v", its)
		}
		find(200, "a.lopes@example.com")
		o.must(409, post, one+"/identifiers", object{"value": "A.Lopes@example.com"})
		o.must(409, post, one+"/identifiers", object{"value": "bea@example.com", "verified": true})
		o.must(422, post, one+"/identifiers", object{"value": "@"})
		o.must(422, post, one+"/identifiers", object{"value": "x@example.com", "nope": 1})

		if its := identifiers(o.must(200, remove, first, nil)); len(its) != 1 {
			t.Errorf("%v", its)
		}
		o.must(404, remove, first, nil)
		o.must(404, post, one+"/identifiers/nonsense/verify", nil)
		find(404, "ana@example.com")
		o.must(200, post, one+"/erase", nil)
		o.must(410, post, one+"/identifiers", object{"value": "x@example.com"})
	})
}

func TestSuspension(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		app := i.Application(shop, func(s *application.Settings) { s.FirstParty = true })
		i.Customer(shop, "ana@example.com", password)
		tokens := app.SignIn(i, i.Browser(), "ana@example.com", password, nil)

		for range 2 {
			if now := o.json(o.must(200, post, "/admin/v1/tenants/shop/suspend", nil)); now["suspended"] != true {
				t.Errorf("%v", now)
			}
		}
		if app.Active(i, tokens.Access) {
			t.Error("a token of a suspended tenant is good")
		}
		o.must(200, post, "/admin/v1/tenants/shop/resume", nil)
		if again := app.SignIn(i, i.Browser(), "ana@example.com", password, nil); !app.Active(i, again.Access) {
			t.Error("nobody signs in after the tenant was opened again")
		}
		if told := o.items("/admin/v1/tenants/shop/events?type=tenant.status.changed"); len(told) != 2 {
			t.Errorf("%v", told)
		}
		if given := o.items("/admin/v1/tenants/shop/undelivered"); len(given) != 0 {
			t.Errorf("%v", given)
		}
	})
}
