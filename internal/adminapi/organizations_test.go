package adminapi_test

import (
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/server/servertest"
)

// Organizations by the admin API: made, renamed, joined, invited to, suspended
// and deleted; another tenant's are not found.
func TestOrganizations(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		other := i.Tenant("other", nil)
		ana := string(i.Customer(shop, "ana@example.com", ""))
		stranger := string(i.Customer(other, "stranger@example.com", ""))
		const all = "/admin/v1/tenants/shop/organizations"
		o.must(422, post, all, object{"slug": "A B", "name": "Acme"})
		made := o.json(o.must(201, post, all, object{"slug": "acme", "name": "Acme"}))
		named := made["id"].(string)
		o.must(409, post, all, object{"slug": "acme", "name": "Again"})
		o.must(404, get, "/admin/v1/tenants/other/organizations/"+named, nil)
		o.must(404, get, "/admin/v1/tenants/other/organizations/acme", nil)
		for _, path := range []string{all + "/acme", all + "/" + named} {
			if found := o.json(o.must(200, get, path, nil)); found["id"] != named || found["status"] != "active" {
				t.Errorf("%v", found)
			}
		}
		const acme = all + "/acme"
		if a := o.send(put, acme, "application/json", `{"name":"Late"}`, "If-Match", `"7"`); a.Status != 412 {
			t.Errorf("%d: %s", a.Status, a.Text)
		}
		if renamed := o.json(o.must(200, put, acme, object{"name": "Acme Ltd"})); renamed["name"] != "Acme Ltd" || renamed["slug"] != "acme" {
			t.Errorf("%v", renamed)
		}

		o.must(422, put, acme+"/members/"+ana, object{"roles": []string{"chief"}})
		o.must(422, put, acme+"/members/"+ana, object{"roles": []string{}})
		o.must(404, put, acme+"/members/"+stranger, object{"roles": []string{"member"}})
		o.must(200, put, acme+"/members/"+ana, object{"roles": []string{"member", "owner"}})
		if members := o.items(acme + "/members"); len(members) != 1 || members[0]["customer"] != ana || len(members[0]["roles"].([]any)) != 2 {
			t.Errorf("%v", members)
		}
		if its := o.items("/admin/v1/tenants/shop/customers/" + ana + "/organizations"); len(its) != 1 || its[0]["slug"] != "acme" {
			t.Errorf("%v", its)
		}

		o.must(422, post, acme+"/invitations", object{"address": "nonsense", "roles": []string{"member"}})
		o.must(422, post, acme+"/invitations", object{"address": "new@example.com", "roles": []string{"member"}, "by": stranger})
		sent := o.must(201, post, acme+"/invitations", object{"address": "new@example.com", "roles": []string{"member"}, "by": ana, "language": "de"})
		known := o.must(201, post, acme+"/invitations", object{"address": "ana@example.com", "roles": []string{"member"}})
		for _, a := range []answer{sent, known} {
			if strings.Contains(a.Text, "link") || strings.Contains(a.Text, `"customer"`) {
				t.Errorf("the answer tells more than was asked: %s", a.Text)
			}
		}
		invitation := acme + "/invitations/" + o.json(sent)["id"].(string)
		o.must(200, post, invitation+"/resend", nil)
		o.must(204, remove, invitation, nil)
		o.must(404, remove, invitation, nil)
		o.must(404, post, invitation+"/resend", nil)
		if list := o.items(acme + "/invitations"); len(list) != 2 || list[0]["status"] != "revoked" || list[0]["address"] != nil || list[1]["status"] != "pending" {
			t.Errorf("%v", list)
		}

		if now := o.json(o.must(200, post, acme+"/suspend", nil)); now["status"] != "suspended" {
			t.Errorf("%v", now)
		}
		o.must(409, post, acme+"/invitations", object{"address": "late@example.com", "roles": []string{"member"}})
		o.must(200, post, acme+"/resume", nil)
		o.must(204, remove, acme+"/members/"+ana, nil)
		o.must(404, remove, acme+"/members/"+ana, nil)
		o.must(200, put, acme+"/members/"+ana, object{"roles": []string{"member"}})
		o.must(204, remove, acme, nil)
		o.must(404, get, acme, nil)
		if its := o.items("/admin/v1/tenants/shop/customers/" + ana + "/organizations"); len(its) != 0 {
			t.Errorf("%v", its)
		}
		if list := o.items(all); len(list) != 0 {
			t.Errorf("%v", list)
		}
	})
}
