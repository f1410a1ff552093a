package adminapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	password = "correct horse battery staple"
	get      = http.MethodGet
	post     = http.MethodPost
	put      = http.MethodPut
	patch    = http.MethodPatch
	remove   = http.MethodDelete
)

func TestTenants(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		made := o.json(o.must(201, post, "/admin/v1/tenants", object{"slug": "shop", "name": "Shop", "settings": object{"password": object{"min_length": 12}}}))
		if made["issuer"] != i.Base+"/t/shop" || len(made["warnings"].([]any)) != 1 {
			t.Errorf("%v", made)
		}
		own := o.json(o.must(201, post, "/admin/v1/tenants", object{"slug": "club", "name": "Club", "issuer": "https://id.club.example"}))
		if own["issuer"] != "https://id.club.example" {
			t.Errorf("%v", own)
		}
		for name, body := range map[string]object{
			"no slug":          {"name": "x"},
			"a bad slug":       {"slug": "No", "name": "x"},
			"no name":          {"slug": "x"},
			"http":             {"slug": "x", "name": "x", "issuer": "http://id.example.com"},
			"a path":           {"slug": "x", "name": "x", "issuer": "https://id.example.com/x"},
			"weak settings":    {"slug": "x", "name": "x", "settings": object{"password": object{"min_length": 3}}},
			"unknown settings": {"slug": "x", "name": "x", "settings": object{"nope": 1}},
		} {
			if a := o.do(post, "/admin/v1/tenants", body); a.Status != 422 {
				t.Errorf("%s: %d %s", name, a.Status, a.Text)
			}
		}
		o.must(409, post, "/admin/v1/tenants", object{"slug": "shop", "name": "Another"})
		for _, path := range []string{"/admin/v1/tenants/shop", "/admin/v1/tenants/" + made["id"].(string)} {
			if found := o.json(o.must(200, get, path, nil)); found["id"] != made["id"] {
				t.Errorf("%v", found)
			}
		}
		o.must(404, get, "/admin/v1/tenants/nobody", nil)
		o.must(404, get, "/admin/v1/tenants/ten_00000000000000000000000001", nil)

		// Page by page.
		var seen []string
		for after := ""; ; {
			page := o.json(o.must(200, get, "/admin/v1/tenants?limit=1"+after, nil))
			for _, item := range page["items"].([]any) {
				seen = append(seen, item.(object)["slug"].(string))
			}
			next, more := page["next"].(string)
			if !more {
				break
			}
			after = "&after=" + next
		}
		if strings.Join(seen, " ") != "shop club" {
			t.Errorf("%v", seen)
		}
	})
}

func TestSettings(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		i.Tenant("shop", nil)
		path := "/admin/v1/tenants/shop/settings"
		before := o.must(200, get, path, nil)
		if before.Header.Get("ETag") != `"1"` {
			t.Errorf("ETag %q", before.Header.Get("ETag"))
		}
		a := o.send(put, path, "application/yaml", "languages: [de]\nsession: {idle: 2h}\n", "If-Match", `"1"`)
		if a.Status != 200 || a.Header.Get("ETag") != `"2"` {
			t.Fatalf("%d %s", a.Status, a.Text)
		}
		settings := o.json(a)["settings"].(object)
		if fmt.Sprint(settings["languages"]) != "[de]" || settings["session"].(object)["idle"] != "2h0m0s" || settings["session"].(object)["absolute"] != "24h0m0s" {
			t.Errorf("%v", settings)
		}
		if a := o.send(put, path, "application/json", `{"region": "DE"}`, "If-Match", `"1"`); a.Status != 412 {
			t.Errorf("over a newer revision: %d %s", a.Status, a.Text)
		}
		for _, header := range []string{"1", `W/"2"`, `"x"`} {
			if a := o.send(put, path, "application/json", `{"region": "DE"}`, "If-Match", header); a.Status != 400 {
				t.Errorf("If-Match %s: %d %s", header, a.Status, a.Text)
			}
		}
		// What is refused changes nothing, and not what this node has read either.
		if a := o.send(put, path, "application/json", `{"languages": ["fr"], "terms": {"version": "9"}, "password": {"min_length": 1}}`); a.Status != 422 {
			t.Errorf("weak: %d %s", a.Status, a.Text)
		}
		if a := o.send(put, path, "application/json", `{"locales": ["fr"]}`); a.Status != 422 || !strings.Contains(a.Text, "locales") {
			t.Errorf("unknown: %d %s", a.Status, a.Text)
		}
		if a := o.send(put, path, "text/plain", `{}`); a.Status != 415 {
			t.Errorf("as text: %d %s", a.Status, a.Text)
		}
		if now := o.must(200, get, path, nil); now.Text != a.Text {
			t.Errorf("changed by refusals:\n%s\n%s", a.Text, now.Text)
		}
		// Many at once, each of another key: none is lost.
		var many sync.WaitGroup
		for _, body := range []string{`{"region": "DE"}`, `{"sign_up": {"enabled": false}}`, `{"mail": {"from_name": "X"}}`, `{"tokens": {"access": "5m"}}`} {
			many.Go(func() {
				if a := o.send(put, path, "application/json", body); a.Status != 200 {
					t.Errorf("%s: %d %s", body, a.Status, a.Text)
				}
			})
		}
		many.Wait()
		settings = o.json(o.must(200, get, path, nil))["settings"].(object)
		if settings["region"] != "DE" || settings["sign_up"].(object)["enabled"] != false || settings["mail"].(object)["from_name"] != "X" || settings["tokens"].(object)["access"] != "5m0s" {
			t.Errorf("a change was lost: %v", settings)
		}
	})
}

func TestApplications(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		path := "/admin/v1/tenants/shop/applications"
		made := o.json(o.must(201, post, path, object{"name": "App", "kind": "web", "redirect_uris": []string{"https://app.example/cb"}}))
		secret := made["client_secret"].(string)
		if len(secret) < 40 || made["id_token_signed_response_alg"] != "RS256" {
			t.Errorf("%v", made)
		}
		client := path + "/" + made["client_id"].(string)
		for _, listed := range []answer{o.must(200, get, path, nil), o.must(200, get, client, nil)} {
			if strings.Contains(listed.Text, secret) || strings.Contains(listed.Text, "secret_hash") || strings.Contains(listed.Text, `"client_secret"`) {
				t.Errorf("a secret is told again: %s", listed.Text)
			}
		}
		kept := o.json(o.must(201, post, client+"/secret", object{"keep_old": true}))["client_secret"].(string)
		app, err := i.Applications.Get(t.Context(), shop.ID, clientID(made))
		if err != nil || !app.CheckSecret(secret) || !app.CheckSecret(kept) {
			t.Errorf("kept: %v", err)
		}
		last := o.json(o.must(201, post, client+"/secret", nil))["client_secret"].(string)
		if app, err = i.Applications.Get(t.Context(), shop.ID, clientID(made)); err != nil || app.CheckSecret(secret) || app.CheckSecret(kept) || !app.CheckSecret(last) {
			t.Errorf("not kept: %v", err)
		}
		spa := o.json(o.must(201, post, path, object{"name": "SPA", "kind": "spa", "redirect_uris": []string{"https://spa.example/cb"}}))
		if spa["client_secret"] != nil {
			t.Errorf("%v", spa)
		}
		o.must(422, post, path+"/"+spa["client_id"].(string)+"/secret", nil)
		for name, body := range map[string]object{
			"no kind":        {"name": "x", "redirect_uris": []string{"https://x.example/"}},
			"no redirection": {"name": "x", "kind": "web"},
			"javascript":     {"name": "x", "kind": "web", "redirect_uris": []string{"JaVaScript:alert(1)"}},
			"data":           {"name": "x", "kind": "web", "redirect_uris": []string{"https://x.example/"}, "client_uri": "data:text/html,x"},
			"user info":      {"name": "x", "kind": "web", "redirect_uris": []string{"https://a@b.example/"}},
			"a tab":          {"name": "x", "kind": "web", "redirect_uris": []string{"\thttps://b.example/"}},
		} {
			if a := o.do(post, path, body); a.Status != 422 {
				t.Errorf("%s: %d %s", name, a.Status, a.Text)
			}
		}
		for _, field := range []string{"client_id", "tenant", "client_secret", "secret_hashes", "revision"} {
			if a := o.do(post, path, object{"name": "x", "kind": "machine", field: "x"}); a.Status != 422 {
				t.Errorf("%s may be chosen: %d %s", field, a.Status, a.Text)
			}
		}
		if found := o.items(path); len(found) != 2 {
			t.Errorf("%d applications", len(found))
		}
	})
}

func TestCustomers(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		i.Tenant("shop", nil)
		path := "/admin/v1/tenants/shop/customers"
		made := o.json(o.must(201, post, path, object{
			"identifiers": []object{{"kind": "email", "value": "Ana@Example.com", "verified": true}, {"value": "+44 20 7946 0958"}},
			"profile":     object{"given_name": "Ana"},
		}))
		one := path + "/" + made["id"].(string)
		identifiers := made["identifiers"].([]any)
		if made["status"] != "active" || len(identifiers) != 2 || made["profile"].(object)["given_name"] != "Ana" || !strings.Contains(fmt.Sprint(identifiers), "kind:phone") {
			t.Errorf("%v", made)
		}
		for _, found := range []answer{
			o.must(200, get, one, nil), o.must(200, get, path+"/by-identifier?identifier="+url.QueryEscape("ANA@example.com"), nil),
			o.must(200, get, path+"/by-identifier?kind=email&identifier=ana%40example.com", nil),
		} {
			if o.json(found)["id"] != made["id"] {
				t.Errorf("%s", found.Text)
			}
		}
		// Only what is verified finds anybody.
		o.must(404, get, path+"/by-identifier?identifier="+url.QueryEscape("+442079460958"), nil)
		o.must(404, get, path+"/by-identifier?identifier="+url.QueryEscape("nobody@example.com"), nil)
		o.must(400, get, path+"/by-identifier?identifier="+url.QueryEscape("a@b"), nil)
		o.must(400, get, path+"/by-identifier", nil)
		o.must(409, post, path, object{"identifiers": []object{{"value": "ana@example.com", "verified": true}}})
		o.must(201, post, path, object{"identifiers": []object{{"value": "ana@example.com"}}})

		// Nobody but the customer chooses a password (OWASP ASVS 6.4.6).
		for _, body := range []object{
			{"identifiers": []object{{"value": "b@example.com"}}, "password": password},
			{"identifiers": []object{{"value": "b@example.com", "password": password}}},
			{"identifiers": []object{{"value": "b@example.com"}}, "id": "cus_00000000000000000000000001"},
			{"identifiers": []object{{"value": "b@example.com"}}, "status": "locked"},
		} {
			if a := o.do(post, path, body); a.Status != 422 || !strings.Contains(a.Text, "is not known here") {
				t.Errorf("%v: %d %s", body, a.Status, a.Text)
			}
		}
		for _, body := range []object{
			{}, {"identifiers": []object{}}, {"identifiers": []object{{"kind": "email", "value": "nonsense"}}},
			{"identifiers": []object{{"value": "b@example.com"}}, "profile": object{"given_name": 7}},
			{"identifiers": []object{{"value": "b@example.com"}}, "profile": object{"password": password}},
		} {
			if a := o.do(post, path, body); a.Status != 422 || !strings.Contains(a.Text, `"pointer"`) {
				t.Errorf("%v: %d %s", body, a.Status, a.Text)
			}
		}
	})
}

// TestStatus locks, suspends and erases somebody who is signed in.
func TestStatus(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		app := i.Application(shop, func(s *application.Settings) { s.FirstParty = true })
		for _, act := range []struct{ shut, status, open string }{{"lock", "locked", "unlock"}, {"suspend", "suspended", "activate"}} {
			email := act.shut + "@example.com"
			who := i.Customer(shop, email, password)
			one := "/admin/v1/tenants/shop/customers/" + string(who)
			browser := i.Browser()
			tokens := app.SignIn(i, browser, email, password, url.Values{"scope": {"openid offline_access"}})
			if !app.Active(i, tokens.Access) || len(o.items(one+"/sessions")) != 1 {
				t.Fatalf("%s: not signed in", act.shut)
			}
			now := o.json(o.must(200, post, one+"/"+act.shut, object{"reason": "asked"}))
			if now["status"] != act.status || now["sessions_ended"] != 1.0 {
				t.Errorf("%v", now)
			}
			if app.Active(i, tokens.Access) || app.Token(i, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.Refresh}}).Status == 200 {
				t.Errorf("%s: tokens are good", act.shut)
			}
			if found := o.items(one + "/sessions"); len(found) != 0 {
				t.Errorf("%s: %v", act.shut, found)
			}
			if shown := o.json(o.must(200, get, one, nil)); shown["status"] != act.status || shown["reason"] != "asked" {
				t.Errorf("%v", shown)
			}
			if told := o.items("/admin/v1/tenants/shop/events?type=customer.status.changed&customer=" + string(who)); len(told) != 1 || fmt.Sprint(told[0]["operator"]) != "map[reason:asked]" {
				t.Errorf("%v", told)
			}
			o.must(200, post, one+"/"+act.shut, nil) // again does nothing
			if act.shut == "lock" {
				o.must(409, post, one+"/activate", nil)
			} else if now := o.json(o.must(200, post, one+"/unlock", nil)); now["status"] != "suspended" {
				t.Errorf("to unlock who is suspended leaves him %v", now)
			}
			o.must(200, post, one+"/"+act.open, nil)
			if app.Active(i, tokens.Access) {
				t.Errorf("%s: old tokens are good again", act.open)
			}
			if again := app.SignIn(i, i.Browser(), email, password, nil); !app.Active(i, again.Access) {
				t.Errorf("%s: cannot sign in again", act.open)
			}
			o.must(200, post, one+"/erase", nil)
			o.must(200, post, one+"/erase", nil)
			o.must(410, get, one, nil)
			o.must(404, get, "/admin/v1/tenants/shop/customers/by-identifier?identifier="+url.QueryEscape(email), nil)
			for _, path := range []string{"/lock", "/unlock", "/suspend", "/activate"} {
				o.must(409, post, one+path, nil)
			}
			for _, method := range []string{put, patch} {
				o.must(410, method, one+"/profile", object{"nickname": "A"})
			}
			o.must(410, get, one+"/profile", nil)
			if len(o.items(one+"/sessions"))+len(o.items(one+"/grants")) != 0 {
				t.Error("something is left of who was erased")
			}
		}
	})
}

// TestUnlockForgetsGuesses: who unlocks an account opens it to its owner, in
// any browser, whether it was locked or strangers had guessed too often.
func TestUnlockForgetsGuesses(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", func(s *tenant.Settings) { s.Limits.PasswordPerHour, s.Limits.PasswordTotal = 3, 5 })
		app := i.Application(shop, func(s *application.Settings) { s.FirstParty = true })
		for _, status := range []string{"active", "lock"} {
			email := status + "@example.com"
			who := i.Customer(shop, email, password)
			one := "/admin/v1/tenants/shop/customers/" + string(who)
			page := func(b *servertest.Browser) *servertest.Page {
				return b.Answer(b.Get(app.URL(i, app.Authorize(nil))), url.Values{"identifier": {email}})
			}
			for range 3 {
				b := i.Browser()
				p := page(b)
				for range 4 {
					b.Answer(p, url.Values{"password": {"wrong-password-of-mine"}})
				}
				i.Clock.Advance(61 * time.Minute)
			}
			b := i.Browser()
			if p := b.Answer(page(b), url.Values{"password": {password}}); p.Location != nil {
				t.Fatal("guesses have no end")
			}
			if status == "lock" {
				o.must(200, post, one+"/lock", nil)
			}
			if now := o.json(o.must(200, post, one+"/unlock", object{"reason": "called us"})); now["status"] != "active" {
				t.Errorf("%v", now)
			}
			b = i.Browser()
			if p := b.Answer(page(b), url.Values{"password": {password}}); p.Location == nil || !p.Location.Query().Has("code") {
				t.Errorf("%s: after it was unlocked the owner is answered %d %s", status, p.Status, servertest.Text(p.Body))
			}
			if cleared := o.items("/admin/v1/tenants/shop/events?customer=" + string(who) + "&type=customer.limits.cleared"); len(cleared) != 1 {
				t.Errorf("%s: on record are %v", status, cleared)
			}
		}
	})
}

func TestSessionsAndGrants(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		app := i.Application(shop, func(s *application.Settings) { s.FirstParty = true })
		who := i.Customer(shop, "ana@example.com", password)
		one := "/admin/v1/tenants/shop/customers/" + string(who)
		first := app.SignIn(i, i.Browser(), "ana@example.com", password, nil)
		second := app.SignIn(i, i.Browser(), "ana@example.com", password, nil)
		sessions := o.items(one + "/sessions")
		if len(sessions) != 2 || sessions[0]["agent"] == nil {
			t.Fatalf("%v", sessions)
		}
		newest := sessions[0]["id"].(string)
		if got := o.json(o.must(200, remove, one+"/sessions/"+newest, nil)); got["ended"] != 1.0 {
			t.Errorf("%v", got)
		}
		o.must(404, remove, one+"/sessions/"+newest, nil)
		o.must(404, remove, one+"/sessions/nonsense", nil)
		if app.Active(i, second.Access) || !app.Active(i, first.Access) {
			t.Error("another session than the one named was ended")
		}
		grants := o.items(one + "/grants")
		if len(grants) != 1 || grants[0]["application"] != string(app.ID) || grants[0]["name"] != app.Name {
			t.Fatalf("%v", grants)
		}
		o.must(204, remove, one+"/grants/"+string(app.ID), nil)
		o.must(404, remove, one+"/grants/"+string(app.ID), nil)
		o.must(404, remove, one+"/grants/nonsense", nil)
		if app.Active(i, first.Access) {
			t.Error("a token outlived its grant")
		}
		app.SignIn(i, i.Browser(), "ana@example.com", password, nil)
		if got := o.json(o.must(200, remove, one+"/sessions", nil)); got["ended"] != 2.0 {
			t.Errorf("%v", got)
		}
		if found := o.items(one + "/sessions"); len(found) != 0 {
			t.Errorf("%v", found)
		}
	})
}

func TestKeysAndEvents(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		i.Application(shop, nil)
		who := i.Customer(shop, "ana@example.com", password)
		before := o.items("/admin/v1/tenants/shop/keys")
		if len(before) == 0 {
			t.Fatal("there are no keys")
		}
		kid := o.json(o.must(200, post, "/admin/v1/tenants/shop/keys/rotate", object{"alg": "ES256"}))["kid"]
		after := o.must(200, get, "/admin/v1/tenants/shop/keys", nil)
		if !strings.Contains(after.Text, kid.(string)) || !strings.Contains(after.Text, `"published"`) || strings.Contains(after.Text, "private") {
			t.Errorf("%s", after.Text)
		}
		o.must(200, post, "/admin/v1/tenants/shop/keys/rotate", object{"envelope": true})
		for _, body := range []object{{}, {"alg": "HS256"}, {"alg": "none"}, {"alg": "ES256", "envelope": true}, {"lookup": true, "envelope": true}, {"lookup": true, "alg": "ES256"}} {
			o.must(422, post, "/admin/v1/tenants/shop/keys/rotate", body)
		}
		for n := 0; ; n++ {
			if o.json(o.must(200, post, "/admin/v1/root-key/rewrap", nil))["done"] == true {
				break
			}
			if n == 20 {
				t.Fatal("rewrapping does not end")
			}
		}
		o.must(200, get, "/admin/v1/tenants/shop/customers/"+string(who), nil)

		o.must(200, post, "/admin/v1/tenants/shop/customers/"+string(who)+"/lock", nil)
		events := o.items("/admin/v1/tenants/shop/events?customer=" + string(who))
		if len(events) == 0 || events[0]["type"] != "customer.status.changed" || events[0]["actor"] != "operator" {
			t.Errorf("%v", events)
		}
		all := o.must(200, get, "/admin/v1/tenants/shop/events?limit=500", nil)
		if strings.Contains(all.Text, "ana@example.com") {
			t.Error("events tell who it was")
		}
		var paged []string
		for after := ""; ; {
			page := o.json(o.must(200, get, "/admin/v1/tenants/shop/events?order=oldest&limit=2"+after, nil))
			for _, item := range page["items"].([]any) {
				paged = append(paged, item.(object)["id"].(string))
			}
			next, more := page["next"].(string)
			if !more {
				break
			}
			after = "&after=" + next
		}
		if want := len(o.items("/admin/v1/tenants/shop/events?limit=500")); len(paged) != want {
			t.Errorf("%d events by pages, %d at once", len(paged), want)
		}
		for _, query := range []string{"customer=x", "since=yesterday", "until=1", "order=random", "limit=0", "limit=501", "limit=x", "after=x", "nope=1", "limit=1&limit=2"} {
			o.must(400, get, "/admin/v1/tenants/shop/events?"+query, nil)
		}
		if found := o.items("/admin/v1/tenants/shop/events?type=customer.status.changed&since=2001-01-01T00:00:00Z"); len(found) != 1 {
			t.Errorf("%v", found)
		}
	})
}

// TestOneTenantsPathWithAnothersObject is SECURITY.md, row L3: every verb of
// every resource below a tenant, with an object that is another's.
func TestOneTenantsPathWithAnothersObject(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		a, b := i.Tenant("org-a", nil), i.Tenant("org-b", nil)
		appA, appB := i.Application(a, nil), i.Application(b, func(s *application.Settings) { s.FirstParty = true })
		whoA, whoB := i.Customer(a, "a@example.com", password), i.Customer(b, "b@example.com", password)
		tokens := appB.SignIn(i, i.Browser(), "b@example.com", password, nil)
		ofB := "/admin/v1/tenants/org-b/customers/" + string(whoB)
		sid := o.items(ofB + "/sessions")[0]["id"].(string)
		before := o.must(200, get, ofB, nil).Text

		type call struct {
			method, path string
			body         any
		}
		var calls []call
		foreign := "/admin/v1/tenants/org-a/customers/" + string(whoB)
		for _, verb := range []string{"lock", "unlock", "suspend", "activate", "erase"} {
			calls = append(calls, call{post, foreign + "/" + verb, object{}})
		}
		calls = append(calls,
			call{get, foreign, nil}, call{get, foreign + "/profile", nil}, call{put, foreign + "/profile", object{}}, call{patch, foreign + "/profile", object{}},
			call{get, foreign + "/sessions", nil}, call{remove, foreign + "/sessions", nil}, call{remove, foreign + "/sessions/" + sid, nil},
			call{get, foreign + "/grants", nil}, call{remove, foreign + "/grants/" + string(appB.ID), nil},
			call{get, "/admin/v1/tenants/org-a/customers/by-identifier?identifier=b%40example.com", nil},
			call{get, "/admin/v1/tenants/org-a/applications/" + string(appB.ID), nil},
			call{post, "/admin/v1/tenants/org-a/applications/" + string(appB.ID) + "/secret", object{}},
			// Own parent, another's child.
			call{remove, "/admin/v1/tenants/org-a/customers/" + string(whoA) + "/sessions/" + sid, nil},
			call{remove, "/admin/v1/tenants/org-a/customers/" + string(whoA) + "/grants/" + string(appB.ID), nil},
		)
		for _, c := range calls {
			if got := o.do(c.method, c.path, c.body); got.Status != 404 {
				t.Errorf("%s %s: %d %s", c.method, c.path, got.Status, got.Text)
			}
		}
		if found := o.items("/admin/v1/tenants/org-a/events?customer=" + string(whoB)); len(found) != 0 {
			t.Errorf("another tenant's events: %v", found)
		}
		if found := o.items("/admin/v1/tenants/org-a/applications?after=" + strings.Replace(string(appB.ID), string(appB.ID)[4:], strings.Repeat("0", 26), 1)); len(found) != 1 || found[0]["client_id"] != string(appA.ID) {
			t.Errorf("%v", found)
		}
		if now := o.must(200, get, ofB, nil).Text; now != before || !appB.Active(i, tokens.Access) {
			t.Errorf("changed from another tenant:\n%s\n%s", before, now)
		}
	})
}

// TestStrictness is about what every handler refuses.
func TestStrictness(t *testing.T) {
	i := servertest.New(t, "sqlite")
	o := operate(t, i)
	i.Tenant("shop", nil)
	for _, c := range []struct {
		name, method, path, contentType, body string
		want                                  int
	}{
		{"an unknown field", post, "/admin/v1/tenants", "application/json", `{"slug":"x","name":"x","nope":1}`, 422},
		{"a second document", post, "/admin/v1/tenants", "application/json", `{"slug":"x","name":"x"}{}`, 400},
		{"not JSON", post, "/admin/v1/tenants", "application/json", `slug=x`, 400},
		{"an array", post, "/admin/v1/tenants", "application/json", `[]`, 422},
		{"a name twice", post, "/admin/v1/tenants", "application/json", `{"slug":"x","name":"x","slug":"y"}`, 400},
		{"a name twice, deeper", post, "/admin/v1/tenants", "application/json", `{"slug":"x","name":"x","settings":{"tokens":{"access":"5m","access":"6m"}}}`, 400},
		{"nothing", post, "/admin/v1/tenants", "application/json", ``, 400},
		{"null", post, "/admin/v1/tenants", "application/json", `null`, 422},
		{"a form", post, "/admin/v1/tenants", "application/x-www-form-urlencoded", `slug=x&name=x`, 415},
		{"text", post, "/admin/v1/tenants", "text/plain", `{"slug":"x","name":"x"}`, 415},
		{"no type", post, "/admin/v1/tenants", "", `{"slug":"x","name":"x"}`, 415},
		{"too much", post, "/admin/v1/tenants", "application/json", `{"slug":"` + strings.Repeat("x", 1<<20) + `"}`, 413},
		{"an unknown parameter", get, "/admin/v1/tenants?limt=3", "", "", 400},
		{"a forged page", get, "/admin/v1/tenants?after=%27%20OR%201%3D1", "", "", 400},
		{"a page of another list", get, "/admin/v1/tenants?after=cus_00000000000000000000000001", "", "", 400},
		{"an unknown path", get, "/admin/v1/nope", "", "", 404},
		{"the root", get, "/", "", "", 404},
		{"another method", http.MethodPatch, "/admin/v1/tenants", "", "", 404},
		{"a relative folder", post, "/admin/v1/backup", "application/json", `{"folder":"x"}`, 422},
		{"a folder that is nowhere", post, "/admin/v1/backup", "application/json", `{"folder":"/nowhere/at/all"}`, 422},
		{"something in the way of erasing", post, "/admin/v1/tenants/shop/customers/nonsense/erase", "application/json", `{"sure":true}`, 400},
	} {
		if a := o.send(c.method, c.path, c.contentType, c.body); a.Status != c.want && (c.want != 404 || a.Status != 405) {
			t.Errorf("%s: %d %s", c.name, a.Status, a.Text)
		} else if c.want != 404 && a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %q", c.name, a.Header.Get("Content-Type"))
		}
	}
}

func TestBackup(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		who := i.Customer(shop, "ana@example.com", password)
		o.must(200, post, "/admin/v1/tenants/shop/customers/"+string(who)+"/erase", nil)
		folder := filepath.Join(t.TempDir(), "backup")
		report := o.json(o.must(201, post, "/admin/v1/backup", object{"folder": folder}))
		if report["rows"].(float64) == 0 {
			t.Errorf("%v", report)
		}
		for _, name := range []string{"database/manifest.json", "keys/manifest.json", "ledger.jsonl"} {
			if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
				t.Error(err)
			}
		}
		o.must(409, post, "/admin/v1/backup", object{"folder": folder})
		ledger := o.must(200, get, "/admin/v1/erasure-ledger", nil).Text
		kept, err := os.ReadFile(filepath.Join(folder, "ledger.jsonl"))
		if err != nil || string(kept) != ledger || !strings.Contains(ledger, string(who)) {
			t.Errorf("%v: %s", err, ledger)
		}
		for _, line := range strings.Split(strings.TrimSpace(ledger), "\n") {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s", line)
			}
		}
	})
}

func TestBrands(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		made := i.Tenant("thyme", nil)
		const path = "/admin/v1/tenants/thyme/brand"
		found := o.must(200, "GET", path, nil)
		if b := o.json(found); b["name"] != made.Brand.Name || b["revision"] != 1.0 || found.Header.Get("ETag") != `"1"` || len(b["assets"].([]any)) != 0 {
			t.Errorf("%v", b)
		}
		// What is not named stays; the revision is what was read.
		if a := o.send("PUT", path, "application/yaml", "name: Thyme\nlinks: {de: {imprint: 'https://t.example/i'}}\n", "If-Match", `"1"`); a.Status != 200 || a.Header.Get("ETag") != `"2"` {
			t.Errorf("%d %s", a.Status, a.Text)
		}
		if a := o.send("PUT", path, "application/yaml", "name: Late\n", "If-Match", `"1"`); a.Status != 412 {
			t.Errorf("an old revision: %d %s", a.Status, a.Text)
		}
		if b := o.json(o.must(200, "PUT", path, object{"css": "h1{color:#000000}"})); b["name"] != "Thyme" || b["links"] == nil || len(b["warnings"].([]any)) == 0 {
			t.Errorf("%v", b)
		}
		if a := o.must(422, "PUT", path, object{"css": "h1{position:fixed}"}); !strings.Contains(a.Text, "position") || !strings.Contains(a.Text, "Nothing was changed") {
			t.Error(a.Text)
		}
		const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9"/></svg>`
		if a := o.send("PUT", path+"/assets/logo", "text/html", logo); a.Status != 200 || !strings.Contains(a.Text, `"type":"image/svg+xml"`) {
			t.Errorf("%d %s", a.Status, a.Text)
		}
		for name, c := range map[string]struct {
			role, body string
			status     int
		}{
			"a script":   {"logo", strings.Replace(logo, "<path", "<script>alert(1)</script><path", 1), 422},
			"a page":     {"logo", "<html>", 422},
			"no role":    {"poster", logo, 422},
			"too much":   {"logo", strings.Repeat("x", 300<<10), 413},
			"no picture": {"font", logo, 422},
		} {
			if a := o.send("PUT", path+"/assets/"+c.role, "image/png", c.body); a.Status != c.status {
				t.Errorf("%s: %d %s", name, a.Status, a.Text)
			}
		}
		shown := o.json(o.must(200, "POST", path+"/preview", object{"page": "code", "lang": "ar", "change": object{"name": "Tomorrow"}}))
		if html := shown["html"].(string); !strings.Contains(html, "Tomorrow") || !strings.Contains(html, `dir="rtl"`) || !strings.Contains(html, "data:image/svg+xml") {
			t.Error(html)
		}
		if mail := o.json(o.must(200, "POST", path+"/preview", object{"mail": "code", "lang": "de"})); mail["subject"] != "123 456 ist Ihr Code für Thyme" {
			t.Errorf("%v", mail)
		}
		for _, body := range []object{{}, {"page": "code", "mail": "code"}} {
			o.must(400, "POST", path+"/preview", body)
		}
		for _, body := range []object{{"page": "nothing"}, {"mail": "nothing"}, {"page": "code", "change": object{"css": "x"}}, {"page": "code", "change": object{"colour": "x"}}} {
			o.must(422, "POST", path+"/preview", body)
		}
		o.must(200, "DELETE", path+"/assets/logo", nil)
		o.must(404, "DELETE", path+"/assets/logo", nil)
		o.must(404, "GET", "/admin/v1/tenants/nobody/brand", nil)
	})
}
