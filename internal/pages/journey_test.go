package pages_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const shopQuery = "/authorize?client_id=" + shopID + "&scope=openid+email&state=abc"

// J1: whoever types an address without an account, with one without a
// password, or with one that is locked sees what everybody sees.
func TestKnownAndUnknownAreAlike(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "known@example.com", password, nil)
	w.customer(t, "plain@example.com", "", nil)
	locked := w.customer(t, "shuts@example.com", password, nil)
	if err := w.Directory.SetStatus(t.Context(), w.Tenant.ID, locked, customer.Locked, "test", "test"); err != nil {
		t.Fatal(err)
	}
	type seen struct {
		status  int
		header  string
		body    string
		lengths [2]int
	}
	look := func(page shownPage, email string) seen {
		header := page.Header.Clone()
		for _, varies := range []string{"Date", "Set-Cookie"} {
			header.Del(varies)
		}
		body := strings.NewReplacer(page.state(), "STATE", email, "ADDRESS", strings.NewReplacer("@", "<wbr>@", ".", "<wbr>.").Replace(email), "ADDRESS").Replace(page.body)
		return seen{page.StatusCode, fmt.Sprint(header), body, [2]int{len(page.body), len(page.Cookies())}}
	}
	var first []seen
	for _, email := range []string{"known@example.com", "nobod@example.com", "plain@example.com", "shuts@example.com"} {
		v := w.browser(t)
		identify := v.get("/sign-in").is(t, 200, "identify")
		prompt := v.submit(identify, "identifier", email).is(t, 200, "password")
		prompt.says(t, "Send me a code instead")
		wrong := v.submit(prompt, "password", "a wrong one entirely").is(t, 200, "password")
		code := v.submit(prompt, "choose", "code").is(t, 200, "code")
		guess := v.submit(code, "code", "000000").is(t, 200, "code")
		pages := []seen{look(prompt, email), look(wrong, email), look(code, email), look(guess, email)}
		if first == nil {
			first = pages
			continue
		}
		for i := range pages {
			if pages[i] != first[i] {
				t.Errorf("%s, page %d:\n%+v\nwhere a known one sees\n%+v", email, i, pages[i], first[i])
			}
		}
	}
}

// A customer signs in, and his password is nowhere in a page.
func TestSignInLeadsToTheAccount(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", password, nil)
	v := w.browser(t)
	v.get("/").goesTo(t, w.server.URL+"/account")
	page := v.get("/account").is(t, 200, "identify")
	page = v.submit(page, "identifier", "ana@").is(t, 200, "identify").says(t, "doesn't look like an e-mail", `value="ana@"`)
	page = v.submit(page, "identifier", "ana@example.com").is(t, 200, "password")
	page = v.submit(page, "password", "").is(t, 200, "password").says(t, "Please enter your password.")
	page = v.submit(page, "password", "zebra-wrong-zebra", "stay", "true").is(t, 200, "password").
		says(t, "don't match", `name="stay" value="true" checked`).saysNot(t, "zebra-wrong-zebra")
	back := v.submit(page, "choose", "back").is(t, 200, "identify").says(t, `value="ana@example.com"`)
	page = v.submit(back, "identifier", "ana@example.com").is(t, 200, "password")
	v.submit(page, "password", password).goesTo(t, w.server.URL+"/account")
	v.get("/account").is(t, 200, "account").says(t, "ana@example.com", "Signed in on 1 device")
	v.get("/sign-in").goesTo(t, w.server.URL+"/account")
	v.get("/sign-up").goesTo(t, w.server.URL+"/account")
}

func TestSignUpAsksForWhatTheTenantWants(t *testing.T) {
	w := newWorld(t, func(t *tenant.Tenant) {
		t.Settings.SignUp.Collect = []string{"given_name", "birthdate"}
		t.Settings.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{Title: map[string]string{"en": "Terms of use"}, URL: "https://example.com/terms"}}}
	})
	v := w.browser(t)
	page := v.submit(v.get("/sign-in"), "choose", "create").is(t, 200, "signup")
	page = v.submit(page, "identifier", "").is(t, 200, "signup").says(t, "Please enter your address.")
	page = v.submit(page, "identifier", "new@example.com").is(t, 200, "code").says(t, "We've sent a code to").saysNot(t, "Use your password instead")
	first := w.code(t)
	page = v.submit(page, "choose", "resend").is(t, 200, "code").says(t, "We've sent a new code.")
	second := w.code(t)
	if first != second {
		page = v.submit(page, "code", first).is(t, 200, "code").says(t, "That code isn't right.", `value="`+first+`"`)
	}
	page = v.submit(page, "code", second).is(t, 200, "newpassword")
	page = v.submit(page, "new_password", "short").is(t, 200, "newpassword").says(t, "Use at least 15 characters.").saysNot(t, `"short"`)
	page = v.submit(page, "new_password", "passwordpassword").is(t, 200, "newpassword").says(t, "easy to guess")
	page = v.submit(page, "new_password", password).is(t, 200, "collect").says(t, "First name", "Date of birth")
	page = v.submit(page, "given_name", "Ana", "birthdate", "soon").is(t, 200, "collect").says(t, `value="Ana"`, "That isn't a date we know.")
	page = v.submit(page, "given_name", "Ana", "birthdate", "1990-02-28").is(t, 200, "terms").says(t, "Terms of use")

	v.submit(page, "choose", "decline").is(t, 200, "deny").says(t, "You need to agree to the terms")
	v.submit(page, "lang", "ar").is(t, 200, "terms") // says nothing yet
	v.submit(page).goesTo(t, w.server.URL+"/account")
	v.get("/account").is(t, 200, "account").says(t, "Ana", "new@example.com")
}

// E1, B4: a page of one browser is nothing in another, signed in or not.
func TestCrossingBrowsersIsRefused(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", password, nil)
	w.customer(t, "bob@example.com", password, nil)
	attacker, victim := w.browser(t), w.browser(t)
	page := attacker.submit(attacker.get(shopQuery), "identifier", "ana@example.com").is(t, 200, "password")

	stolen := victim.submit(page, "password", password).is(t, 400, "expired")
	if len(stolen.Cookies()) > 0 {
		t.Errorf("the refusal sets %v", stolen.Cookies())
	}
	stolen.says(t, `href="`+w.server.URL+shopQuery+`"`)

	victim.get("/sign-in") // now he has a journey cookie, of his own
	victim.submit(page, "password", password).is(t, 400, "expired")

	victim.signIn("/sign-in", "bob@example.com").goesTo(t, w.server.URL+"/account")
	mine := victim.cookie("session")
	crossed := victim.submit(page, "password", password).goesTo(t, w.server.URL+shopQuery)
	if len(crossed.Cookies()) > 0 || victim.cookie("session") != mine {
		t.Errorf("another browser's page changed the cookies: %v", crossed.Cookies())
	}
	if attacker.cookie("session") != "" {
		t.Error("the attacker is signed in")
	}
	attacker.get("/account").is(t, 200, "identify")
}

func TestBackReloadAndTabsAreNormal(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", password, nil)
	v := w.browser(t)
	one, two := v.get(shopQuery).is(t, 200, "identify"), v.get(shopQuery+"2")
	passwordPage := v.submit(one, "identifier", "ana@example.com").is(t, 200, "password")
	v.submit(one, "identifier", "ana@example.com").is(t, 200, "password") // back, and again
	other := v.submit(two, "identifier", "ana@example.com").is(t, 200, "password")
	v.submit(passwordPage, "password", password).goesTo(t, "https://shop.example/callback?code=1&state=abc")

	// Reload, and the other tab: both go on.
	v.submit(passwordPage, "password", password).goesTo(t, w.server.URL+shopQuery)
	v.submit(other, "password", password).goesTo(t, w.server.URL+shopQuery+"2")
	v.get(shopQuery+"2").goesTo(t, "https://shop.example/callback?code=1&state=abc2")

	// Signed out, the page is over and one button begins again.
	v.client.Jar.SetCookies(must(url.Parse(w.server.URL))(t), []*http.Cookie{{Name: "__Host-cardea_session_shop", Value: "", MaxAge: -1, Path: "/", Secure: true}})
	v.submit(passwordPage, "password", password).is(t, 400, "expired").says(t, `href="`+w.server.URL+shopQuery+`"`)

	late := v.submit(v.get(shopQuery), "identifier", "ana@example.com").is(t, 200, "password")
	plain := v.get("/sign-in")
	w.Clock.Advance(46 * time.Minute)
	v.submit(late, "password", password).is(t, 410, "expired").says(t, `href="`+w.server.URL+shopQuery+`"`)
	v.submit(plain, "identifier", "ana@example.com").is(t, 410, "expired").says(t, "/sign-in")
	v.do("POST", "/journey", url.Values{"state": {"en.forged"}}).is(t, 400, "fault").says(t, "Let's start over")
	v.do("POST", "/journey", url.Values{}).is(t, 400, "fault")
}

// The page that follows a sign-in in the same response belongs to the cookie
// that this response sets, and to no other.
func TestConsentAfterSignInIsBoundToTheNewCookie(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", password, map[string]any{"given_name": "Ana", "birthdate": "1990-02-28"})
	v := w.browser(t)
	query := "/authorize?client_id=" + recipesID + "&scope=openid+email+profile+offline_access&state=abc"
	identify := v.get(query)
	before := v.cookie("journey")
	if before == "" || set(identify, "journey").Value != before {
		t.Fatal("there is no journey cookie")
	}
	prompt := v.submit(identify, "identifier", "ana@example.com", "lang", "").is(t, 200, "identify")
	prompt = v.submit(prompt, "lang", "ar").is(t, 200, "identify")
	prompt = v.submit(prompt, "lang", "en").is(t, 200, "identify")
	prompt = v.submit(prompt, "identifier", "ana@example.com").is(t, 200, "password")
	if v.cookie("journey") != before {
		t.Error("the journey cookie changed before anybody authenticated")
	}
	page := v.submit(prompt, "password", password).is(t, 200, "consent").
		says(t, "Recipes by <b>Ana</b>", "ana@example.com", "28 February 1990", "Access while you're away", "made by others").
		saysNot(t, "email_verified", "updated_at")
	after := v.cookie("journey")
	if after == before || set(page, "journey") == nil || len(page.Cookies()) != 3 {
		t.Fatalf("the journey cookie is %q, was %q; set: %v", after, before, page.Cookies())
	}
	if strings.Contains(page.body, "<b>Ana</b>") {
		t.Error("the application's name is markup")
	}
	if csp := page.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https:;") {
		t.Errorf("the answer may not be redirected to the application: %s", csp)
	}

	// The old value is worth nothing, whatever session comes with it.
	old := w.browser(t)
	at := must(url.Parse(w.server.URL))(t)
	old.client.Jar.SetCookies(at, []*http.Cookie{
		{Name: "__Host-cardea_journey_shop", Value: before, Path: "/", Secure: true},
		{Name: "__Host-cardea_session_shop", Value: v.cookie("session"), Path: "/", Secure: true},
	})
	old.submit(page, "decision", "allow").goesTo(t, w.server.URL+"/authorize")

	v.submit(page).is(t, 200, "consent") // nothing decided
	v.do("POST", "/journey?decision=allow", url.Values{"state": {page.state()}, "choose": {"x"}}).is(t, 200, "consent")
	v.submit(page, "decision", "allow").goesTo(t, "https://recipes.example/callback?code=1&state=abc")
	if v.cookie("journey") != after {
		t.Error("the journey cookie changed though nobody authenticated")
	}
	v.submit(page, "decision", "allow").goesTo(t, w.server.URL+"/authorize") // again: over, and goes on
	v.submit(v.get(query), "decision", "deny").goesTo(t, "https://recipes.example/callback?error=access_denied")
}

// Item 68 and rule 13: what the browser is left with.
func TestCookies(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", password, nil)
	w.customer(t, "bob@example.com", password, nil)
	attributes := func(c *http.Cookie, life time.Duration) {
		t.Helper()
		if c == nil || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != int(life/time.Second) || !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("cookie %v, want one of %s", c, life)
		}
	}
	v := w.browser(t)
	page := v.get("/sign-in")
	attributes(set(page, "journey"), 0)
	if again := v.get("/sign-in"); len(again.Cookies()) > 0 {
		t.Errorf("a journey cookie that is there is set again: %v", again.Cookies())
	}
	page = v.submit(page, "identifier", "ana@example.com")
	page = v.submit(page, "password", password).goesTo(t, w.server.URL)
	attributes(set(page, "session"), 0)
	attributes(set(page, "journey"), 0)
	attributes(set(page, "device"), session.DeviceLife)
	if page.Header.Get("Cache-Control") != "no-store" {
		t.Error("a response with cookies may be stored")
	}

	v = w.browser(t)
	page = v.signIn("/sign-in", "bob@example.com", "stay", "true")
	attributes(set(page, "session"), w.Tenant.Settings.Session.StayAbsolute.D())

	if c := w.browser(t).get("/signed-out").is(t, 200, "signedout").Cookies(); len(c) > 0 {
		t.Errorf("looking leaves cookies: %v", c)
	}
}

// E5: a broken cookie is nobody's.
func TestBrokenCookiesAreNoCookies(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", password, nil)
	v := w.browser(t)
	v.signIn("/sign-in", "ana@example.com")
	good := v.cookie("session")
	name := "__Host-cardea_session_shop="
	for what, header := range map[string]string{
		"nothing":            name,
		"broken base64":      name + "%%%===",
		"not sealed":         name + "aGVsbG8",
		"16 KB":              name + strings.Repeat("a", 16<<10),
		"twice":              name + good + "; " + name + good,
		"controls":           name + good[:5] + "\t" + good[5:],
		"cut short":          name + good[:len(good)-2],
		"changed":            name + strings.ToUpper(good),
		"as the journey":     "__Host-cardea_journey_shop=" + good,
		"broken journey":     "__Host-cardea_journey_shop=%00",
		"short journey":      "__Host-cardea_journey_shop=a",
		"broken device":      "__Host-cardea_device_shop=%00",
		"another name":       "cardea_session_shop=" + good,
		"another tenant's":   "__Host-cardea_session_club=" + good,
		"quoted":             name + `"` + good + `"`,
		"spaces and nothing": ";;; =; " + name,
	} {
		t.Run(what, func(t *testing.T) {
			for _, path := range []string{"/account", "/sign-in", shopQuery, "/signed-out"} {
				stranger := w.browser(t)
				stranger.client.Jar = nil
				stranger.header.Set("Cookie", header)
				page := stranger.get(path)
				if page.StatusCode != 200 || page.name() == "account" {
					t.Errorf("%s: %d, page %q", path, page.StatusCode, page.name())
				}
				if path == "/sign-in" {
					if c := set(page, "journey"); c == nil || len(c.Value) != 22 {
						t.Errorf("no journey cookie in its place: %v", c)
					}
				}
			}
		})
	}
}

// N3: whatever is echoed is text.
func TestWhatIsEchoedIsText(t *testing.T) {
	const evil = `'"></title></script><svg onload=alert(1)><img src=x onerror=alert(1)>{{.}}javascript:alert(1)//`
	w := newWorld(t, func(t *tenant.Tenant) {
		t.Settings.SignUp.Collect = []string{"nickname"}
		t.Brand.Name = evil[:60]
	})
	w.customer(t, "ana@example.com", password, map[string]any{"nickname": evil, "given_name": evil})
	v := w.browser(t)
	v.header.Set("User-Agent", evil)
	v.header.Set("Accept-Language", evil)
	check := func(page shownPage) shownPage {
		t.Helper()
		for _, raw := range []string{"<svg onload", "<img src=x", "</title></script>", `href="javascript`} {
			if strings.Contains(page.body, raw) {
				t.Errorf("the page %q has %q:\n%s", page.name(), raw, page.body)
			}
		}
		if csp := page.Header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("the policy is %q", csp)
		}
		return page
	}
	q := url.QueryEscape(evil)
	check(v.get("/sign-in?ui_locales=" + q + "&login_hint=" + q + "&error=" + q))
	check(v.get("/authorize?client_id=" + q))
	check(v.get("/fault/" + url.PathEscape(evil) + "?detail=" + q))
	check(v.get("/nothing/" + q))
	check(v.get("/assets/" + url.PathEscape(evil)))
	page := check(v.get("/authorize?client_id="+recipesID+"&scope=openid+profile+email&state="+q+"&login_hint="+q)).is(t, 200, "identify")
	check(v.submit(page, "identifier", evil, "choose", evil))
	check(v.submit(page, "lang", evil))
	check(v.do("POST", "/journey", url.Values{"state": {evil}, "choose": {evil}, "lang": {evil}}))
	page = check(v.submit(page, "identifier", "ana@example.com"))
	check(v.submit(page, "password", evil).saysNot(t, evil))
	code := check(v.submit(page, "choose", "code"))
	check(v.submit(code, "code", evil))
	consent := check(v.submit(page, "password", password)).is(t, 200, "consent")
	consent.says(t, "onload=alert(1)") // the real value, as text
	check(v.submit(consent, "decision", evil))
	check(v.get("/account?done="+q+"&ui_locales="+q)).is(t, 200, "account")
	check(v.do("POST", "/account", url.Values{"state": {evil}, "revoke": {evil}}))
}

// Every page bounds what a browser does with it.
func TestEveryPageIsBounded(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", password, nil)
	signedIn := w.browser(t)
	signedIn.signIn("/sign-in", "ana@example.com")
	v := w.browser(t)
	pages := []shownPage{
		v.get("/sign-in"), v.get("/sign-up"), v.get("/account"), v.get("/signed-out"), v.get("/fault/redirect"), v.get("/fault/expired"),
		v.get("/fault/forged"), v.get("/nowhere"),
		v.do("POST", "/journey", url.Values{}), signedIn.get("/account"), signedIn.get("/end_session"),
	}
	want := map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
		"Cross-Origin-Opener-Policy": "same-origin", "Content-Type": "text/html; charset=utf-8",
	}
	for _, page := range pages {
		for name, value := range want {
			if got := page.Header.Get(name); got != value {
				t.Errorf("%s (%q): %s is %q, want %q", page.Request.URL, page.name(), name, got, value)
			}
		}
		csp := page.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", page.Request.URL, csp)
		}
		if page.Header.Get("Permissions-Policy") == "" || page.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: %v", page.Request.URL, page.Header)
		}
	}
	last := pages[len(pages)-1].is(t, 200, "signout")
	if csp := last.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https:;") {
		t.Errorf("signing out may not lead to the application: %s", csp)
	}
}

// A fault of ours that another surface tells of is said to be ours.
func TestAFaultOfOursIsToldAsOurs(t *testing.T) {
	w := newWorld(t)
	recorder := httptest.NewRecorder()
	w.pages.Fault(recorder, httptest.NewRequest("GET", "/authorize", nil), w.Tenant, "request", "Something went wrong. Quote err_01k8000000000000000000000a.")
	if recorder.Code != 500 || !strings.Contains(recorder.Body.String(), "err_01k8000000000000000000000a") || !strings.Contains(recorder.Body.String(), "not on you") {
		t.Errorf("%d: %s", recorder.Code, recorder.Body)
	}
}

// Forms of other sites do nothing; ours work in browsers with and without
// Sec-Fetch-Site. The latter need an Origin, which "no-referrer" takes away.
func TestOtherSitesFormsAreRefused(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", password, nil)
	for what, tt := range map[string]struct {
		site, origin string
		want         int
	}{
		"same origin":            {"same-origin", w.server.URL, 200},
		"cross-site":             {"cross-site", "https://evil.example", 403},
		"same-site":              {"same-site", "https://evil.example", 403},
		"old browser, ours":      {"", w.server.URL, 200},
		"old browser, theirs":    {"", "https://evil.example", 403},
		"old browser, no origin": {"", "null", 403},
	} {
		t.Run(what, func(t *testing.T) {
			v := w.browser(t)
			page := v.get("/sign-in")
			v.header["Sec-Fetch-Site"], v.header["Origin"] = []string{tt.site}, []string{tt.origin}
			if tt.site == "" {
				v.header["Sec-Fetch-Site"] = nil
			}
			if got := v.submit(page, "identifier", "ana@example.com"); got.StatusCode != tt.want {
				t.Errorf("got %d, want %d", got.StatusCode, tt.want)
			}
		})
	}
}

// The language that is chosen stays, and choosing it neither guesses nor
// forgets.
func TestLanguageStays(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", password, nil)
	v := w.browser(t)
	v.header.Set("Accept-Language", "en")
	arabic := func(page shownPage) shownPage {
		t.Helper()
		if !strings.Contains(page.body, `<html lang="ar" dir="rtl">`) {
			t.Errorf("the page %q is not in Arabic", page.name())
		}
		return page
	}
	page := arabic(v.get("/authorize?client_id=" + recipesID + "&scope=openid+email&ui_locales=ar-EG+fr"))
	page = arabic(v.submit(page, "identifier", "ana@example.com")).is(t, 200, "password")
	english := v.submit(page, "lang", "en", "password", "a guess that is not made", "stay", "true").is(t, 200, "password").
		says(t, `<html lang="en"`, "checked").saysNot(t, "don't match", "a guess")
	page = arabic(v.submit(english, "lang", "ar")).is(t, 200, "password")
	arabic(v.submit(page, "password", password)).is(t, 200, "consent") // by whoever resumes
	arabic(v.get("/account?ui_locales=ar"))
	var guesses int
	if err := w.DB.QueryRow(t.Context(), `SELECT COUNT(*) FROM budget WHERE kind = 'password' AND total > 0`).Scan(&guesses); err == nil && guesses != 0 {
		t.Errorf("%d guesses were drawn", guesses)
	}
	signUp := v.w.browser(t)
	create := signUp.get("/sign-up")
	signUp.submit(create, "identifier", "new@example.com", "lang", "ar").is(t, 200, "signup").says(t, `value="new@example.com"`)
	for len(w.mails) > 0 {
		if m := <-w.mails; m.Code != "" { // and not that there was a new device
			t.Error("choosing a language sent a code")
		}
	}
	signUp.header.Set("Accept-Language", "fr, tlh;q=0.9")
	signUp.get("/sign-in").says(t, `<html lang="en"`)
}

func TestLimitsSayUntilWhenAndLeaveAWay(t *testing.T) {
	w := newWorld(t, func(t *tenant.Tenant) {
		t.Settings.Limits.PasswordPerHour, t.Settings.Limits.SendPerHour, t.Settings.Limits.CodePerHour = 2, 2, 2
	})
	w.customer(t, "ana@example.com", password, nil)
	limited := func(page shownPage, name string) shownPage {
		t.Helper()
		seconds, err := strconv.Atoi(page.is(t, http.StatusTooManyRequests, name).Header.Get("Retry-After"))
		if err != nil || seconds < 1 || seconds > 3600 {
			t.Errorf("Retry-After is %q", page.Header.Get("Retry-After"))
		}
		return page.says(t, "You can try again in")
	}
	for _, email := range []string{"ana@example.com", "nobody@example.com"} {
		v := w.browser(t)
		page := v.submit(v.get("/sign-in"), "identifier", email)
		for range 2 {
			v.submit(page, "password", "wrong and wrong again").is(t, 200, "password")
		}
		stop := limited(v.submit(page, "password", password), "limited").says(t, "Send me a code instead").saysNot(t, password)
		code := v.submit(stop, "choose", "code").is(t, 200, "code")
		w.code(t)
		code = v.submit(code, "choose", "resend").is(t, 200, "code")
		w.code(t)
		limited(v.submit(code, "choose", "resend"), "code").says(t, "Use the latest one").saysNot(t, "We've sent a new code")
		v.submit(code, "code", "000000").is(t, 200, "code")
		v.submit(code, "code", "000000").is(t, 200, "code")
		stop = limited(v.submit(code, "code", "000000"), "limited").says(t, "Use your password instead")
		v.submit(stop, "choose", "back").is(t, 200, "identify")
		fresh := v.submit(v.get("/sign-in"), "identifier", email)
		limited(v.submit(fresh, "choose", "code"), "limited")
	}
}

func TestALimitWithoutEndNamesAnotherWay(t *testing.T) {
	w := newWorld(t, func(t *tenant.Tenant) { t.Settings.Limits.PasswordTotal = 1 })
	w.customer(t, "ana@example.com", password, nil)
	v := w.browser(t)
	v.signIn("/sign-in", "ana@example.com") // the browser is known from then on
	if err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := tx.Exec(`DELETE FROM session`); return err }); err != nil {
		t.Fatal(err)
	}
	page := v.submit(v.get("/sign-in"), "identifier", "ana@example.com")
	v.submit(page, "password", "wrong and wrong again").is(t, 200, "password")
	stop := v.submit(page, "password", password).is(t, 429, "password").says(t, "Let us send you a code instead").saysNot(t, "You can try again now")
	if stop.Header.Get("Retry-After") != "" {
		t.Error("waiting is said to help")
	}
	page = v.submit(stop, "choose", "code").is(t, 200, "code")
	v.submit(page, "code", w.code(t)).goesTo(t, w.server.URL+"/account")
}

func TestAQueueAsksToWait(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", password, nil)
	v := w.browser(t)
	page := v.submit(v.get("/sign-in"), "identifier", "ana@example.com")
	w.busy.Store(true)
	busy := v.submit(page, "password", password, "stay", "true").is(t, 503, "busy").saysNot(t, password)
	if busy.Header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After is %q", busy.Header.Get("Retry-After"))
	}
	w.busy.Store(false)
	page = v.submit(busy).is(t, 200, "password").saysNot(t, "Please enter your password.")
	v.submit(page, "password", password).goesTo(t, w.server.URL+"/account")
}

// Whatever is posted, nothing of ours breaks.
func TestWhatIsNoFormIsRefused(t *testing.T) {
	w := newWorld(t)
	v := w.browser(t)
	page := v.get("/sign-in")
	post := func(path, contentType, body string) int {
		r := must(http.NewRequestWithContext(t.Context(), "POST", w.server.URL+path, strings.NewReader(body)))(t)
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		return v.send(r).StatusCode
	}
	const form = "application/x-www-form-urlencoded"
	state := "state=" + url.QueryEscape(page.state())
	for _, path := range []string{"/journey", "/account"} {
		for what, tt := range map[string]struct {
			contentType, body string
			want              []int
		}{
			"json":          {"application/json", `{"state":"x"}`, []int{415}},
			"multipart":     {"multipart/form-data; boundary=x", "--x--", []int{415}},
			"no type":       {"", state, []int{415}},
			"too large":     {form, state + "&x=" + strings.Repeat("a", 65<<10), []int{413}},
			"not UTF-8":     {form, state + "&identifier=%ff", []int{400}},
			"twice":         {form, state + "&" + state, []int{400}},
			"broken":        {form, "state=%zz", []int{400}},
			"many":          {form, strings.Repeat("a", 1) + manyFields(), []int{400}},
			"long state":    {form, "state=" + strings.Repeat("a", 40<<10), []int{400, 303}},
			"a NUL":         {form, state + "&identifier=%00a%40example.com", []int{400}},
			"long hint":     {form, state + "&identifier=" + strings.Repeat("a", 30<<10), []int{200, 303}},
			"another state": {form, "state=ar.." + state[9:], []int{400, 303}},
		} {
			if got := post(path, tt.contentType, tt.body); !slices.Contains(tt.want, got) {
				t.Errorf("%s, %s: %d, want %v", path, what, got, tt.want)
			}
		}
	}
	v.submit(page, "identifier", "still@example.com").is(t, 200, "password")
}

func manyFields() string {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "&f%d=", i)
	}
	return b.String()
}

// Looking writes nothing (rule 2).
func TestOpeningPagesWritesNothing(t *testing.T) {
	w := newWorld(t)
	rows := func() (n int) {
		for _, table := range []string{"event", "budget", "challenge", "session", "customer", "journey_run", "notify_outbox"} {
			var count int
			if err := w.DB.QueryRow(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&count); err != nil {
				t.Fatal(err)
			}
			n += count
		}
		return n
	}
	before := rows()
	for range 20 {
		v := w.browser(t)
		v.submit(v.get("/sign-in"), "identifier", "nobody@example.com")
		v.get(shopQuery)
		v.get("/account")
	}
	if after := rows(); after != before {
		t.Errorf("%d rows were made", after-before)
	}
}

func FuzzForms(f *testing.F) {
	w := newWorld(f)
	state := w.browser(f).get("/sign-in").state()
	for _, seed := range []string{
		"state=" + state, "state=" + state + "&identifier=ana%40example.com", "state=en." + strings.Repeat("A", 100), "choose=again&lang=ar",
		"state=" + state + "&choose=create&decision=allow", "identifier=%00%ff", "revoke=x&end=y&choose=end_others", "&&&=;",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		v := w.browser(t)
		for _, path := range []string{"/journey", "/account"} {
			r := must(http.NewRequestWithContext(t.Context(), "POST", w.server.URL+path, strings.NewReader(body)))(t)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			v.send(r) // fails at 500
		}
	})
}
