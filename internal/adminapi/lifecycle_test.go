package adminapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/server/servertest"
)

// An operator invites, locks for a while, closes and reopens, and sees how it
// all came about.
func TestLives(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		who := i.Customer(shop, "ana@example.com", password)
		one := "/admin/v1/tenants/shop/customers/" + string(who)
		until := i.Clock.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
		o.must(200, post, one+"/lock", object{"reason": "odd orders", "until": until})
		life := o.json(o.must(200, get, one+"/status", nil))
		if life["status"] != "locked" || life["until"] != until.Format(time.RFC3339) || life["reason"] != "odd orders" || len(life["history"].([]any)) != 2 {
			t.Errorf("%v", life)
		}
		later := until.Add(time.Hour)
		o.must(200, post, one+"/lock", object{"until": later})
		if life = o.json(o.must(200, get, one+"/status", nil)); life["until"] != later.Format(time.RFC3339) {
			t.Errorf("the new end is not taken: %v", life)
		}
		o.must(200, post, one+"/unlock", nil)
		for _, refused := range []object{{"until": i.Clock.Now().Add(-time.Hour)}, {"until": "tomorrow"}} {
			o.must(422, post, one+"/lock", refused)
		}
		o.must(422, post, one+"/close", object{"until": later})
		closed := o.json(o.must(200, post, one+"/close", object{"reason": "asked by phone"}))
		if closed["status"] != "closed" {
			t.Errorf("%v", closed)
		}
		shown := o.json(o.must(200, get, one, nil))
		if end, err := time.Parse(time.RFC3339Nano, fmt.Sprint(shown["status_until"])); err != nil || end.Sub(i.Clock.Now()) < 29*24*time.Hour {
			t.Errorf("%v, %v", shown, err)
		}
		for _, act := range []string{"/lock", "/suspend", "/activate"} {
			o.must(409, post, one+act, nil)
		}
		o.must(200, post, one+"/reopen", nil)
		life = o.json(o.must(200, get, one+"/status", nil))
		history, newest := life["history"].([]any), ""
		for _, e := range history {
			newest += fmt.Sprint(e.(map[string]any)["data"]) + "\n"
		}
		if len(history) != 6 || !strings.Contains(strings.SplitN(newest, "\n", 2)[0], "to:active") || fmt.Sprint(life["next"]) != "[locked suspended dormant closed]" {
			t.Errorf("%s %v", newest, life)
		}
		o.must(200, post, one+"/close", nil)
		i.Clock.Advance(30*24*time.Hour + time.Second)
		o.must(409, post, one+"/reopen", nil)

		// An invitation.
		guest := o.json(o.must(201, post, "/admin/v1/tenants/shop/invitations", object{"email": "Gus@Example.com", "profile": object{"given_name": "Gus"}}))
		if guest["status"] != "invited" || guest["status_until"] == nil {
			t.Errorf("%v", guest)
		}
		o.must(404, get, "/admin/v1/tenants/shop/customers/by-identifier?identifier="+url.QueryEscape("gus@example.com"), nil)
		again := o.json(o.must(201, post, "/admin/v1/tenants/shop/invitations", object{"email": "gus@example.com"}))
		if again["id"] != guest["id"] {
			t.Errorf("two customers are invited at one address: %v", again)
		}
		i.Customer(shop, "bea@example.com", password)
		o.must(409, post, "/admin/v1/tenants/shop/invitations", object{"email": "bea@example.com"})
		o.must(422, post, "/admin/v1/tenants/shop/invitations", object{"email": "bea"})
		o.must(422, post, "/admin/v1/tenants/shop/invitations", object{"email": "new@example.com", "profile": object{"shoe": 1}})
	})
}
