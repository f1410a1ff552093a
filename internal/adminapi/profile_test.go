package adminapi_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cardea-id/cardea/internal/server/servertest"
)

// TestProfile: read, replaced and changed with ETag and If-Match, as all else.
func TestProfile(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		i.Tenant("shop", nil)
		made := o.must(201, post, "/admin/v1/tenants/shop/customers", object{"identifiers": []object{{"value": "ana@example.com", "verified": true}},
			"profile": object{"given_name": "Ana", "address": object{"locality": "Porto", "country": "PT"}}})
		one := "/admin/v1/tenants/shop/customers/" + o.json(made)["id"].(string)
		path := one + "/profile"
		if made.Header.Get("ETag") != `"1"` || o.must(200, get, one, nil).Header.Get("ETag") != `"1"` {
			t.Errorf("%v", made.Header)
		}
		before := o.must(200, get, path, nil)
		if before.Header.Get("ETag") != `"1"` || fmt.Sprint(o.json(before)) != "map[address:map[country:PT locality:Porto] given_name:Ana]" {
			t.Errorf("%v %s", before.Header, before.Text)
		}
		if a := o.send(get, path, "", "", "If-None-Match", `"1"`); a.Status != 304 {
			t.Errorf("%d", a.Status)
		}

		changed := o.send(patch, path, "application/merge-patch+json", `{"nickname": "A", "given_name": null, "address": {"locality": "Lisboa", "region": null}}`, "If-Match", `"1"`)
		if changed.Status != 200 || changed.Header.Get("ETag") != `"2"` || fmt.Sprint(o.json(changed)) != "map[address:map[country:PT locality:Lisboa] nickname:A]" {
			t.Fatalf("%d %v %s", changed.Status, changed.Header, changed.Text)
		}
		for _, method := range []string{put, patch} {
			if a := o.send(method, path, "application/json", `{"nickname": "B"}`, "If-Match", `"1"`); a.Status != 412 {
				t.Errorf("%s over a newer one: %d %s", method, a.Status, a.Text)
			}
			if a := o.send(method, path, "application/json", `{"nickname": "B"}`, "If-Match", `W/"2"`); a.Status != 400 {
				t.Errorf("%s over a weak one: %d %s", method, a.Status, a.Text)
			}
			if a := o.must(422, method, path, object{"nickname": 3}); fmt.Sprint(o.json(a)["errors"].([]any)[0].(object)["pointer"]) != "/nickname" {
				t.Errorf("%s", a.Text)
			}
			o.must(422, method, path, object{"password": password})
			if a := o.send(method, path, "application/json", `["x"]`); a.Status != 400 && a.Status != 422 {
				t.Errorf("%s of a list: %d %s", method, a.Status, a.Text)
			}
			if a := o.send(method, path, "application/json", ``); a.Status != 400 {
				t.Errorf("%s of nothing: %d %s", method, a.Status, a.Text)
			}
			if a := o.send(method, path, "application/json", `{"nickname": "B", "nickname": "C"}`); a.Status != 400 {
				t.Errorf("%s of one twice: %d %s", method, a.Status, a.Text)
			}
		}
		if a := o.send(patch, path, "application/merge-patch+json", `{"nickname": "B", "nickname": "C"}`); a.Status != 400 {
			t.Errorf("one twice: %d %s", a.Status, a.Text)
		}
		if a := o.send(put, path, "application/merge-patch+json", `{}`); a.Status != 415 {
			t.Errorf("a whole profile as a patch: %d %s", a.Status, a.Text)
		}
		// What is so already is no change.
		if a := o.must(200, patch, path, object{"nickname": "A"}); a.Header.Get("ETag") != `"2"` {
			t.Errorf("%v", a.Header)
		}
		if a := o.must(200, put, path, object{"nickname": "B"}); a.Header.Get("ETag") != `"3"` || fmt.Sprint(o.json(a)) != "map[nickname:B]" {
			t.Errorf("%v %s", a.Header, a.Text)
		}
		if a := o.must(200, put, path, object{}); fmt.Sprint(o.json(a)) != "map[]" {
			t.Errorf("%s", a.Text)
		}
		if told := o.items("/admin/v1/tenants/shop/events?type=customer.profile.changed"); len(told) != 3 {
			t.Errorf("%d events", len(told))
		}
		// Of changes that meet, none is lost.
		var all sync.WaitGroup
		for _, body := range []object{{"given_name": "Ana"}, {"family_name": "Lopes"}, {"nickname": "A"}} {
			all.Go(func() {
				if a := o.do(patch, path, body); a.Status != 200 {
					t.Errorf("%v: %d %s", body, a.Status, a.Text)
				}
			})
		}
		all.Wait()
		if now := o.json(o.must(200, get, path, nil)); fmt.Sprint(now) != "map[family_name:Lopes given_name:Ana nickname:A]" {
			t.Errorf("%v", now)
		}
		o.must(404, get, "/admin/v1/tenants/shop/customers/cus_00000000000000000000000001/profile", nil)
	})
}
