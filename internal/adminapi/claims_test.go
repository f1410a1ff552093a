package adminapi_test

import (
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

// An operator tries claims for a customer, stores them, and sees what is wrong.
func TestClaims(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		app := i.Application(shop, func(s *application.Settings) { s.FirstParty = true })
		who := i.Customer(shop, "ana@example.com", password)
		one := "/admin/v1/tenants/shop/applications/" + string(app.ID) + "/claims"
		hello := []object{{"name": "hello", "value": `"Hello " + profile.given_name`, "in": []string{"id_token", "userinfo"}, "scope": "profile"}, {"name": "car", "value": "profile.car", "in": []string{"id_token"}}}
		tried := o.json(o.must(200, post, one+"/preview", object{"customer": who, "scopes": []string{"openid", "profile"}, "claims": hello}))
		if tried["id_token"].(map[string]any)["hello"] != "Hello Ana" || tried["userinfo"].(map[string]any)["given_name"] != "Ana" || len(tried["dropped"].([]any)) != 1 {
			t.Errorf("%v", tried)
		}
		if now := o.json(o.must(200, post, one+"/preview", object{"customer": who})); now["id_token"].(map[string]any)["hello"] != nil {
			t.Errorf("what was tried is stored: %v", now)
		}
		stored := o.json(o.must(200, put, one, object{"revision": 1, "claims": hello}))
		if len(stored["claims"].([]any)) != 2 {
			t.Errorf("%v", stored)
		}
		o.must(409, put, one, object{"revision": 1, "claims": []object{}})
		if now := o.json(o.must(200, post, one+"/preview", object{"customer": who, "scopes": []string{"openid"}})); now["id_token"].(map[string]any)["hello"] != nil {
			t.Errorf("it leaves without its scope: %v", now)
		}
		for wrong, says := range map[string]string{"profil.x": "line 1, column 1", "profile.x +": "line 1, column", `b"x"`: "JSON"} {
			bad := []object{{"name": "x", "value": wrong, "in": []string{"id_token"}}}
			for _, refused := range []answer{
				o.must(422, put, one, object{"revision": 2, "claims": bad}), o.must(422, post, one+"/preview", object{"customer": who, "claims": bad}),
			} {
				if body := refused.Text; !strings.Contains(body, says) {
					t.Errorf("%s: %s", wrong, body)
				}
			}
		}
		o.must(422, put, one, object{"revision": 2, "claims": []object{{"name": "sub", "value": `"x"`, "in": []string{"id_token"}}}})
		o.must(422, post, one+"/preview", object{"customer": who, "scopes": []string{"orders"}})
		elsewhere := i.Customer(i.Tenant("club", nil), "bea@example.com", password)
		o.must(404, post, one+"/preview", object{"customer": elsewhere})
	})
}
