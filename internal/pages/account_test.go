package pages_test

import (
	"crypto/rand"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

func (w *world) allow(t testing.TB, who id.Customer, app *application.Application, scopes ...string) {
	t.Helper()
	w.Write(t, func(tx *sqldb.Tx) error {
		_, err := w.grants.Allow(tx, grant.Allowance{Tenant: w.Tenant.ID, Customer: who, Application: app.ID, FirstParty: app.FirstParty, Scopes: scopes})
		return err
	})
}

// lineage begins a lineage of tokens in a session, as redeeming a code does.
func (w *world) lineage(t testing.TB, cookie string, app *application.Application) func() bool {
	t.Helper()
	live := must(w.Sessions.Read(t.Context(), w.Tenant, cookie))(t)
	ref := grant.Ref{Customer: live.Customer, Application: app.ID, Session: live.ID, Lineage: id.New[id.Lineage](w.Clock.Now(), rand.Reader)}
	redeemed := must(w.grants.Redeem(t.Context(), w.Tenant, grant.Redemption{Ref: ref, FirstParty: app.FirstParty, Scopes: []string{"openid"}, Expires: w.Clock.Now().Add(time.Minute), Absolute: time.Hour}))(t)
	if redeemed.Outcome != grant.Began {
		t.Fatalf("the code was answered with %q", redeemed.Outcome)
	}
	return func() bool { return must(w.grants.Alive(t.Context(), w.Tenant, ref))(t).Active }
}

// portalPages are the pages of the account.
var portalPages = []string{"/account", "/account/profile", "/account/sign-in", "/account/devices", "/account/applications", "/account/applications/" + recipesID, "/account/preferences"}

var button = regexp.MustCompile(`<button[^>]* name="(end|choose)" value="([^"]+)"`)

func (s shownPage) buttons(name string) []string {
	var values []string
	for _, found := range button.FindAllStringSubmatch(s.body, -1) {
		if found[1] == name {
			values = append(values, found[2])
		}
	}
	return values
}

func TestApplicationsShowWhatTheyGetAndAreRevoked(t *testing.T) {
	w := newWorld(t)
	ana := w.customer(t, "ana@example.com", password, map[string]any{"given_name": "Ana", "family_name": "Lopez", "birthdate": "1990-02-28"})
	v := w.browser(t)
	v.signIn("/sign-in", "ana@example.com")
	w.allow(t, ana, w.recipes, "openid", "email", "profile", "offline_access")
	w.allow(t, ana, w.shop, "openid", "email")
	alive, other := w.lineage(t, v.cookie("session"), w.recipes), w.lineage(t, v.cookie("session"), w.shop)

	v.get("/account").is(t, 200, "account").says(t, "Ana", `href="https://shop.example/"`, "1 application has access", w.server.URL+"/account/applications").saysNot(t, "https://recipes.example/")
	gets := []string{"Recipes by <b>Ana</b>", "Your e-mail", "ana@example.com", "28 February 1990", "Ana Lopez", "Access while you're away"}
	v.get("/account/applications").is(t, 200, "applications").says(t, gets...).
		saysNot(t, "email_verified", "shop.example").says(t, w.server.URL+"/account/applications/"+recipesID)
	asks := v.get("/account/applications/"+recipesID).is(t, 200, "revoke").says(t, gets...)
	if !alive() || !other() {
		t.Fatal("the tokens are dead before anything was revoked")
	}
	for _, none := range []string{shopID, "app_01kdvdna00f48vq867hh9wkbb0", "'; DROP TABLE grant; --", ""} {
		if got := v.get("/account/applications/" + url.PathEscape(none)); got.StatusCode != 404 {
			t.Errorf("%q, which has no access, is shown: %d", none, got.StatusCode)
		}
	}
	v.submit(asks, "decision", "keep").goesTo(t, w.server.URL+"/account/applications/")
	if !alive() {
		t.Fatal("it was revoked unasked")
	}
	next := v.submit(asks, "decision", "remove").goesTo(t, w.server.URL+"/account/applications?done=")
	address := next.Header.Get("Location")
	v.get(address).is(t, 200, "applications").says(t, "no longer has access to your account.", "No other application has access")
	if alive() || !other() {
		t.Error("the wrong tokens are alive")
	}
	v.get("/account/applications").saysNot(t, "no longer has access")
	w.Clock.Advance(2 * time.Minute)
	v.get(address).saysNot(t, "no longer has access")
	v.submit(asks, "decision", "remove").goesTo(t, w.server.URL+"/account/applications") // twice does no harm
	v.get("/account/applications/"+recipesID).is(t, 404, "notfound")
}

func TestSessionsAreEndedOnlyByTheirCustomer(t *testing.T) {
	w := newWorld(t)
	ana, bob := w.customer(t, "ana@example.com", password, nil), w.customer(t, "bob@example.com", password, nil)
	phone, laptop, bobs := w.browser(t), w.browser(t), w.browser(t)
	phone.header.Set("User-Agent", "Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0")
	phone.signIn("/sign-in", "ana@example.com")
	laptop.signIn("/sign-in", "ana@example.com")
	bobs.signIn("/sign-in", "bob@example.com")
	w.allow(t, ana, w.recipes, "openid", "email")
	bobsSession := must(w.Sessions.Read(t.Context(), w.Tenant, bobs.cookie("session")))(t)

	page := laptop.get("/account/devices").is(t, 200, "devices").says(t, "Firefox on Android", "This device").saysNot(t, string(bobsSession.ID))
	ends := page.buttons("end")
	if len(ends) != 1 {
		t.Fatalf("%d other devices: %v", len(ends), ends)
	}

	// Another customer's session and applications are out of reach.
	devices := w.server.URL + "/account/devices"
	laptop.submit(page, "end", string(bobsSession.ID)).goesTo(t, devices)
	if !w.alive(t, bobs.cookie("session")) {
		t.Error("ana has ended bob's session")
	}
	bobsPage := bobs.get("/account/devices").is(t, 200, "devices")
	bobs.submit(bobsPage, "end", ends[0]).goesTo(t, devices)
	bobs.submit(bobsPage, "choose", "end_others").goesTo(t, devices)
	bobs.get("/account/applications/"+recipesID).is(t, 404, "notfound")
	bobs.do("POST", "/account/applications/"+recipesID, url.Values{"state": {bobsPage.state()}, "decision": {"remove"}}).goesTo(t, w.server.URL+"/account/applications")
	if _, found, err := w.grants.Find(t.Context(), w.Tenant.ID, ana, recipesID); err != nil || !found {
		t.Error("bob has revoked what ana has allowed")
	}
	if _, found, _ := w.grants.Find(t.Context(), w.Tenant.ID, bob, recipesID); found {
		t.Error("bob has a grant")
	}
	if !w.alive(t, phone.cookie("session")) || !w.alive(t, laptop.cookie("session")) {
		t.Error("bob has ended ana's sessions")
	}

	// A form of another session's does nothing at any of the pages, nor does one
	// without a state.
	for _, path := range portalPages {
		for what, state := range map[string]string{"bob's": bobsPage.state(), "the phone's": phone.get("/account").state(), "none": "", "a journey's": w.browser(t).get("/sign-in").state()} {
			if got := laptop.do("POST", path, url.Values{"state": {state}, "choose": {"end_others"}, "given_name": {"X"}, "decision": {"remove"}}); got.StatusCode != 400 {
				t.Errorf("%s: a form with %s state: %d", path, what, got.StatusCode)
			}
		}
		laptop.header.Set("Sec-Fetch-Site", "cross-site")
		if got := laptop.do("POST", path, url.Values{"state": {page.state()}, "choose": {"end_others"}}); got.StatusCode != 403 {
			t.Errorf("%s: a form of another site: %d", path, got.StatusCode)
		}
		laptop.header.Del("Sec-Fetch-Site")
	}
	if !w.alive(t, phone.cookie("session")) {
		t.Error("a form that was refused has ended a session")
	}

	// Her own she ends.
	next := laptop.submit(page, "end", ends[0]).goesTo(t, devices)
	laptop.get(next.Header.Get("Location")).says(t, "That device is signed out.")
	if w.alive(t, phone.cookie("session")) || !w.alive(t, laptop.cookie("session")) {
		t.Error("the wrong session is alive")
	}
	phone.get("/account/devices").is(t, 200, "identify")
	phone.do("POST", "/account/devices", url.Values{"state": {page.state()}, "choose": {"end_others"}}).goesTo(t, devices)
	phone.signIn("/account/devices", "ana@example.com").goesTo(t, devices) // back to where she was
	next = laptop.submit(laptop.get("/account/devices"), "choose", "end_others").goesTo(t, devices)
	laptop.get(next.Header.Get("Location")).says(t, "Every other device is signed out.")
	if w.alive(t, phone.cookie("session")) || !w.alive(t, laptop.cookie("session")) || !w.alive(t, bobs.cookie("session")) {
		t.Error("the wrong sessions are alive")
	}
	// What was done is told in the session that did it, and by no link.
	bobs.get(next.Header.Get("Location")).is(t, 200, "devices").saysNot(t, "Every other device")
	// This one is ended by its own row's id too, which is to sign out.
	mine := must(w.Sessions.Read(t.Context(), w.Tenant, laptop.cookie("session")))(t)
	laptop.submit(laptop.get("/account/devices"), "end", string(mine.ID)).goesTo(t, w.server.URL+"/signed-out")
}

func TestSigningOut(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", password, nil)
	v := w.browser(t)
	v.signIn("/sign-in", "ana@example.com")
	cookie, binding := v.cookie("session"), v.cookie("journey")
	v.get("/signed-out").goesTo(t, w.server.URL+"/account") // a link signs nobody out
	page := v.get("/account")
	v.submit(page, "lang", "ar").goesTo(t, w.server.URL+"/account?ui_locales=ar")
	out := v.submit(page, "choose", "sign_out").goesTo(t, w.server.URL+"/signed-out")
	if w.alive(t, cookie) || v.cookie("session") != "" || v.cookie("journey") == binding {
		t.Error("something of the session is left")
	}
	if v.cookie("device") == "" {
		t.Error("the browser is not known any more")
	}
	v.get(out.Header.Get("Location")).is(t, 200, "signedout").says(t, "You're signed out", "/sign-in")
}

func TestAssetsAreKeptForEver(t *testing.T) {
	for _, path := range []string{"", "/t/shop"} {
		w := newWorld(t, func(t *tenant.Tenant) {
			t.Path, t.Brand.Theme = path, []byte(`"olive-and-thyme"`)
			t.Issuer += path
		})
		v := w.browser(t)
		page := v.get("/sign-in")
		if got := page.first(formAction); got != path+"/journey" {
			t.Errorf("the form goes to %q", got)
		}
		found := regexp.MustCompile(`(?:href|src|srcset)="(/[^"]*assets/[^"]+)"`).FindAllStringSubmatch(page.body, -1)
		if len(found) < 4 {
			t.Fatalf("the page has the assets %v", found)
		}
		for _, address := range found {
			below, ok := strings.CutPrefix(address[1], path+"/assets/")
			if !ok {
				t.Errorf("%q is not below %q", address[1], path)
				continue
			}
			asset := v.get("/assets/" + below)
			if asset.StatusCode != 200 || asset.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || asset.Header.Get("Etag") == "" {
				t.Errorf("%s: %d %v", below, asset.StatusCode, asset.Header)
			}
			if strings.Contains(asset.body, `url("/assets`) && path != "" {
				t.Errorf("%s has addresses of the host's", below)
			}
			v.header.Set("If-None-Match", asset.Header.Get("Etag"))
			if again := v.get("/assets/" + below); again.StatusCode != 304 || again.body != "" {
				t.Errorf("%s again: %d", below, again.StatusCode)
			}
			v.header.Del("If-None-Match")
		}
		v.get("/assets/nothing.css").is(t, 404, "notfound")
	}
}

// A theme that cannot be used keeps nobody out.
func TestThemes(t *testing.T) {
	stylesheet := regexp.MustCompile(`<link rel="stylesheet" href="([^"]+)"`)
	style := func(theme string) string {
		w := newWorld(t, func(t *tenant.Tenant) { t.Brand.Theme = []byte(theme) })
		v := w.browser(t)
		page := v.get("/sign-in").is(t, 200, "identify").says(t, "Olive & Thyme").saysNot(t, "javascript:")
		return v.get(page.first(stylesheet)).body
	}
	standard := style(``)
	for _, theme := range []string{`{}`, `null`, `"cardea"`, `"none"`, `{"light": {"accent": "red}body{display:none"}}`, `{"logo": {"url": "javascript:alert(1)"}}`, `[`, `{"unknown": 1}`} {
		if style(theme) != standard {
			t.Errorf("the theme %s is not shown as the default one", theme)
		}
	}
	if got := style(`{"radius": 4, "heading": "slab"}`); !strings.Contains(got, "--radius:4px") {
		t.Error("a brand's own theme is not shown")
	}
	if style(`"olive-and-thyme"`) == standard {
		t.Error("a built-in theme is not shown")
	}
}
