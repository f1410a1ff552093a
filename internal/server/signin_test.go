package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	anaMail     = "ana@shop.example"
	anaPassword = "lemon-orchard-at-dusk"
)

func TestACustomerSignsInToTwoApplications(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		tenant := i.Tenant("thyme", nil)
		who := i.Customer(tenant, anaMail, anaPassword)
		shop := i.Application(tenant, nil)
		club := i.Application(tenant, func(s *application.Settings) { s.RedirectURIs = []string{"https://club.example/cb"} })
		browser := i.Browser()

		tokens := shop.SignIn(i, browser, anaMail, anaPassword, nil)
		if tokens.Status != http.StatusOK || tokens.Access == "" || tokens.ID == "" || tokens.Refresh == "" {
			t.Fatalf("the shop got %+v", tokens)
		}
		status, claims := shop.UserInfo(i, tokens.Access)
		if status != http.StatusOK || claims["sub"] != string(who) || claims["email"] != anaMail || claims["email_verified"] != true || claims["given_name"] != "Ana" {
			t.Errorf("userinfo answered %d %v", status, claims)
		}
		if !shop.Active(i, tokens.Access) || !shop.Active(i, tokens.Refresh) {
			t.Error("fresh tokens are not active")
		}
		if club.Active(i, tokens.Access) {
			t.Error("another application learns about the shop's token")
		}

		r := club.Authorize(nil)
		p := browser.Get(club.URL(i, r))
		if p.Location == nil {
			t.Fatalf("the club asked again: %d %s", p.Status, servertest.Text(p.Body))
		}
		if tokens := club.Redeem(i, r, p); tokens.Status != http.StatusOK {
			t.Errorf("the club got %+v", tokens)
		}
	})
}

func TestAnAccountIsOpenedByCode(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		tenant := i.Tenant("thyme", nil)
		shop := i.Application(tenant, nil)
		browser := i.Browser()
		r := shop.Authorize(nil)
		p := browser.Get(shop.URL(i, r))
		p = browser.Answer(p, url.Values{"choose": {"create"}})
		p = browser.Answer(p, url.Values{"identifier": {"new@shop.example"}})
		if !p.Has("code") {
			t.Fatalf("no code is asked for: %s", servertest.Text(p.Body))
		}
		p = browser.Answer(p, url.Values{"code": {i.Code("new@shop.example")}})
		if !p.Has("new_password") {
			t.Fatalf("no password is asked for: %s", servertest.Text(p.Body))
		}
		p = browser.Answer(p, url.Values{"new_password": {"short"}})
		if !p.Has("new_password") {
			t.Fatal("a short password was taken")
		}
		p = browser.Answer(p, url.Values{"new_password": {anaPassword}})
		tokens := shop.Redeem(i, r, p)
		if _, claims := shop.UserInfo(i, tokens.Access); claims["email"] != "new@shop.example" {
			t.Errorf("userinfo answered %v", claims)
		}
		// The account is there for the next browser, by password and by code.
		if tokens := shop.SignIn(i, i.Browser(), "NEW@shop.example", anaPassword, nil); tokens.Status != http.StatusOK {
			t.Errorf("the new account cannot sign in: %+v", tokens)
		}
		other := i.Browser()
		before := i.Newest("new@shop.example")
		p = other.Answer(other.Get(shop.URL(i, r)), url.Values{"identifier": {"new@shop.example"}})
		p = other.Answer(p, url.Values{"choose": {"code"}})
		p = other.Answer(p, url.Values{"code": {i.CodeAfter("new@shop.example", before)}})
		if tokens := shop.Redeem(i, r, p); tokens.Status != http.StatusOK {
			t.Errorf("the new account cannot sign in by code: %+v", tokens)
		}
	})
}

func TestAThirdPartyAsksForConsent(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		tenant := i.Tenant("thyme", nil)
		i.Customer(tenant, anaMail, anaPassword)
		recipes := i.Application(tenant, func(s *application.Settings) { s.Name, s.FirstParty = "Recipes by Ana", false })
		browser := i.Browser()
		r := recipes.Authorize(nil)
		p := browser.Answer(browser.Get(recipes.URL(i, r)), url.Values{"identifier": {anaMail}})
		p = browser.Answer(p, url.Values{"password": {anaPassword}})
		text := servertest.Text(p.Body)
		if !p.Has("decision") || !strings.Contains(text, "Recipes by Ana") || !strings.Contains(text, anaMail) {
			t.Fatalf("consent does not name the application and what it gets: %s", text)
		}
		denied := browser.Answer(p, url.Values{"decision": {"deny"}})
		if denied.Location == nil || denied.Location.Query().Get("error") != "access_denied" {
			t.Fatalf("to deny led to %v %s", denied.Location, servertest.Text(denied.Body))
		}
		p = browser.Get(recipes.URL(i, r))
		if !p.Has("decision") {
			t.Fatal("after a denial it is not asked again")
		}
		p = browser.Answer(p, url.Values{"decision": {"allow"}})
		if tokens := recipes.Redeem(i, r, p); tokens.Status != http.StatusOK {
			t.Fatalf("after consent: %+v", tokens)
		}
		if p := browser.Get(recipes.URL(i, r)); p.Location == nil || p.Location.Query().Get("code") == "" {
			t.Error("what was allowed is asked again")
		}
		more := recipes.Authorize(url.Values{"scope": {"openid email profile phone"}})
		if p := browser.Get(recipes.URL(i, more)); !p.Has("decision") {
			t.Error("more than was allowed is not asked for")
		}
		silent := recipes.Authorize(url.Values{"scope": {"openid phone"}, "prompt": {"none"}})
		if p := browser.Get(recipes.URL(i, silent)); p.Location == nil || p.Location.Query().Get("error") != "consent_required" {
			t.Errorf("prompt=none led to %v", p.Location)
		}
	})
}

func TestPromptMaxAgeAndHints(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		tenant := i.Tenant("thyme", nil)
		i.Customer(tenant, anaMail, anaPassword)
		i.Customer(tenant, "ben@shop.example", anaPassword)
		shop := i.Application(tenant, nil)
		browser := i.Browser()
		none := shop.Authorize(url.Values{"prompt": {"none"}})
		if p := browser.Get(shop.URL(i, none)); p.Location == nil || p.Location.Query().Get("error") != "login_required" {
			t.Errorf("prompt=none without a session led to %v", p.Location)
		}
		hinted := shop.Authorize(url.Values{"login_hint": {anaMail}})
		if p := browser.Get(shop.URL(i, hinted)); !strings.Contains(p.Body, `value="`+anaMail+`"`) {
			t.Error("the login_hint is not offered")
		}
		tokens := shop.SignIn(i, browser, anaMail, anaPassword, nil)
		if p := browser.Get(shop.URL(i, none)); p.Location == nil || p.Location.Query().Get("code") == "" {
			t.Errorf("prompt=none with a session led to %v", p.Location)
		}
		again := shop.Authorize(url.Values{"prompt": {"login"}})
		p := browser.Get(shop.URL(i, again))
		if !p.Has("password") {
			t.Fatalf("prompt=login does not ask: %s", servertest.Text(p.Body))
		}
		if p = browser.Answer(p, url.Values{"password": {anaPassword}}); p.Location == nil {
			t.Fatalf("after prompt=login: %s", servertest.Text(p.Body))
		}
		i.Clock.Advance(2 * time.Minute)
		aged := shop.Authorize(url.Values{"max_age": {"60"}})
		if p := browser.Get(shop.URL(i, aged)); !p.Has("password") {
			t.Error("max_age does not ask")
		}
		young := shop.Authorize(url.Values{"max_age": {"600"}})
		if p := browser.Get(shop.URL(i, young)); p.Location == nil {
			t.Error("max_age asks too early")
		}
		// A hint that names somebody else than who is signed in asks, and is not
		// satisfied by the wrong one.
		ben := i.Browser()
		bens := shop.SignIn(i, ben, "ben@shop.example", anaPassword, nil)
		theirs := shop.Authorize(url.Values{"id_token_hint": {bens.ID}})
		p = browser.Get(shop.URL(i, theirs))
		if !p.Has("identifier") {
			t.Fatalf("the hint of another customer is ignored: %s", servertest.Text(p.Body))
		}
		p = browser.Answer(p, url.Values{"identifier": {anaMail}})
		p = browser.Answer(p, url.Values{"password": {anaPassword}})
		if p.Location == nil || p.Location.Query().Get("error") != "login_required" {
			t.Errorf("signing in as another than the hint led to %v", p.Location)
		}
		mine := shop.Authorize(url.Values{"id_token_hint": {tokens.ID}, "prompt": {"none"}})
		if p := browser.Get(shop.URL(i, mine)); p.Location == nil || p.Location.Query().Get("code") == "" {
			t.Errorf("the hint of the customer himself led to %v", p.Location)
		}
	})
}

func TestSigningOut(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		tenant := i.Tenant("thyme", nil)
		i.Customer(tenant, anaMail, anaPassword)
		shop := i.Application(tenant, nil)
		browser := i.Browser()
		tokens := shop.SignIn(i, browser, anaMail, anaPassword, nil)
		leave := i.Base + tenant.Path + "/end_session?" + url.Values{"id_token_hint": {tokens.ID}, "post_logout_redirect_uri": {"https://shop.example/bye"}, "state": {"xyz"}}.Encode()
		p := browser.Get(leave)
		if !p.Has("decision") {
			t.Fatalf("sign-out does not ask: %s", servertest.Text(p.Body))
		}
		stay := browser.Answer(p, url.Values{"decision": {"stay"}})
		if stay.Location == nil || stay.Location.String() != "https://shop.example/bye?state=xyz" {
			t.Fatalf("to stay led to %v", stay.Location)
		}
		if !shop.Active(i, tokens.Access) {
			t.Fatal("to stay signed in ended the session")
		}
		p = browser.Answer(browser.Get(leave), url.Values{"decision": {"sign_out"}})
		if p.Location == nil || p.Location.String() != "https://shop.example/bye?state=xyz" {
			t.Fatalf("signing out led to %v: %s", p.Location, servertest.Text(p.Body))
		}
		if shop.Active(i, tokens.Access) || shop.Active(i, tokens.Refresh) {
			t.Error("tokens outlive the session")
		}
		if p := browser.Get(shop.URL(i, shop.Authorize(nil))); p.Location != nil {
			t.Error("the browser is still signed in")
		}
		for _, bad := range []url.Values{
			{"post_logout_redirect_uri": {"https://evil.example/"}, "client_id": {string(shop.ID)}},
			{"post_logout_redirect_uri": {"https://shop.example/bye"}},
		} {
			if p := browser.Get(i.Base + tenant.Path + "/end_session?" + bad.Encode()); p.Location != nil || p.Status != http.StatusBadRequest {
				t.Errorf("%v: %d to %v", bad, p.Status, p.Location)
			}
		}
	})
}

func TestKnownUnknownAndLockedLookAlike(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		shut := i.Tenant("thyme", func(s *tenant.Settings) { s.Session.OfferStay = true })
		i.Customer(shut, anaMail, anaPassword)
		i.Customer(shut, "ben@shop.example", "")
		locked := i.Customer(shut, "eve@shop.example", anaPassword)
		if err := i.Directory.SetStatus(t.Context(), shut.ID, locked, "locked", "test", "test"); err != nil {
			t.Fatal(err)
		}
		shop := i.Application(shut, nil)
		pages := map[string][]*servertest.Page{}
		for _, address := range []string{anaMail, "ben@shop.example", "eve@shop.example", "who@shop.example"} {
			browser := i.Browser()
			r := shop.Authorize(nil)
			p := browser.Answer(browser.Get(shop.URL(i, r)), url.Values{"identifier": {address}})
			pages["password"] = append(pages["password"], p)
			wrong := browser.Answer(p, url.Values{"password": {"not-the-password-of-any"}})
			pages["wrong"] = append(pages["wrong"], wrong)
			code := browser.Answer(p, url.Values{"choose": {"code"}})
			pages["code"] = append(pages["code"], code)
			pages["guess"] = append(pages["guess"], browser.Answer(code, url.Values{"code": {"000000"}}))
		}
		for step, shown := range pages {
			first := shown[0]
			for n, p := range shown[1:] {
				if p.Status != first.Status || len(p.Body) != len(first.Body)+len(p.Forms[0].Hidden.Get("state"))-len(first.Forms[0].Hidden.Get("state")) ||
					blank(p) != blank(first) {
					t.Errorf("%s: page %d differs from a known address's:\n%s\n%s", step, n+1, blank(first), blank(p))
				}
				if len(p.Forms[0].Hidden.Get("state")) != len(first.Forms[0].Hidden.Get("state")) {
					t.Errorf("%s: the sealed state of page %d has another length", step, n+1)
				}
				for name := range first.Header {
					if name != "Date" && name != "X-Request-Id" && name != "Set-Cookie" && p.Header.Get(name) != first.Header.Get(name) {
						t.Errorf("%s: header %s differs: %q and %q", step, name, first.Header.Get(name), p.Header.Get(name))
					}
				}
			}
		}
		// A locked account's right password is answered as a wrong one.
		browser := i.Browser()
		p := browser.Answer(browser.Get(shop.URL(i, shop.Authorize(nil))), url.Values{"identifier": {"eve@shop.example"}})
		if p = browser.Answer(p, url.Values{"password": {anaPassword}}); p.Location != nil || !p.Has("password") {
			t.Errorf("a locked account's right password led to %v: %s", p.Location, servertest.Text(p.Body))
		}
	})
}

// blank is what a page says without what was typed and sealed.
func blank(p *servertest.Page) string {
	text := strings.ReplaceAll(p.Body, "<wbr>", "") // where a long address may break
	for _, form := range p.Forms {
		if state := form.Hidden.Get("state"); state != "" {
			text = strings.ReplaceAll(text, state, "STATE")
		}
	}
	for _, name := range []string{"ana", "ben", "eve", "who"} {
		text = strings.ReplaceAll(text, name+"@shop.example", "ADDRESS")
	}
	return text
}

func TestOpeningPagesWritesNothing(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		tenant := i.Tenant("thyme", nil)
		shop := i.Application(tenant, nil)
		time.Sleep(1500 * time.Millisecond) // what the making of the tenant has set going comes to rest
		before := i.Count()
		const times = 10000
		done := make(chan error, 16)
		for range 16 {
			go func() {
				browser := i.Browser()
				for range times / 16 {
					if _, err := browser.Do(http.MethodGet, shop.URL(i, shop.Authorize(nil)), nil, ""); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 16 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		for table, n := range i.Count() {
			if n != before[table] {
				t.Errorf("%s had %d rows and has %d", table, before[table], n)
			}
		}
	})
}

// Whoever declines the terms goes back to the application that asked, which is
// told so as it is when he declines to share (RFC 6749, section 4.1.2.1); on
// the tenant's own pages he is told why it goes no further.
func TestDecliningTheTermsTellsTheApplication(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", func(s *tenant.Settings) {
			s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{Title: map[string]string{"en": "Terms"}, URL: "https://shop.example/terms"}}}
		})
		atTerms := func(b *servertest.Browser, p *servertest.Page, address string) *servertest.Page {
			t.Helper()
			if address == anaMail {
				p = b.Answer(b.Answer(p, url.Values{"identifier": {address}}), url.Values{"password": {anaPassword}})
			} else {
				before := i.Newest(address)
				p = b.Answer(b.Answer(p, url.Values{"choose": {"create"}}), url.Values{"identifier": {address}})
				p = b.Answer(b.Answer(p, url.Values{"code": {i.CodeAfter(address, before)}}), url.Values{"choose": {"skip"}})
			}
			if !strings.Contains(p.Body, "https://shop.example/terms") {
				t.Fatalf("the terms are not shown: %d %s", p.Status, servertest.Text(p.Body))
			}
			return p
		}
		for _, address := range []string{anaMail, "new@shop.example"} {
			b, r := i.Browser(), h.shop.Authorize(nil)
			p := b.Answer(atTerms(b, b.Get(h.shop.URL(i, r)), address), url.Values{"choose": {"decline"}})
			if p.Location == nil || p.Location.Query().Get("error") != "access_denied" || p.Location.Query().Get("state") != r.Params.Get("state") || p.Location.Query().Get("iss") != h.tenant.Issuer || signedIn(p) {
				t.Errorf("%s: declining leads to %d %v %s", address, p.Status, p.Location, servertest.Text(p.Body))
			}
			b = i.Browser()
			p = b.Answer(atTerms(b, b.Get(i.Base+h.tenant.Path+"/sign-in"), address), url.Values{"choose": {"decline"}})
			if p.Location != nil || signedIn(p) || !strings.Contains(p.Body, "agree to the terms") {
				t.Errorf("%s: declining on the tenant's own page leads to %d %s", address, p.Status, servertest.Text(p.Body))
			}
		}
		if n := h.count(`SELECT COUNT(*) FROM customer WHERE tenant = $1`, h.tenant.ID); n != 1 {
			t.Errorf("there are %d accounts", n)
		}
	})
}

// A sign-up that was begun before an operator closed sign-up opens no account.
func TestAClosedSignUpIsClosedAtItsFinish(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", collectsNickname)
		const address = "new@shop.example"
		atCode := i.Browser()
		codePage := h.signUpPage(atCode, address)
		mailed := i.Code(address)
		b := i.Browser()
		before := i.Newest(address)
		p := h.signUpPage(b, address)
		p = b.Answer(p, url.Values{"code": {i.CodeAfter(address, before)}})
		p = b.Answer(p, url.Values{"choose": {"skip"}})
		if !p.Has("nickname") {
			t.Fatalf("no nickname is asked for: %s", servertest.Text(p.Body))
		}
		settings := h.tenant.Settings
		settings.SignUp.Enabled = false
		if _, err := i.Tenants.Apply(t.Context(), h.tenant.ID, 0, settings, "test"); err != nil {
			t.Fatal(err)
		}
		for name, p := range map[string]*servertest.Page{
			"the last page": b.Answer(p, url.Values{"nickname": {"Newt"}}), "the code's": atCode.Answer(codePage, url.Values{"code": {mailed}}),
		} {
			if signedIn(p) || p.Location != nil || !strings.Contains(servertest.Text(p.Body), "be opened here at the moment") {
				t.Errorf("%s leads to %d %s", name, p.Status, servertest.Text(p.Body))
			}
		}
		if n := h.count(`SELECT COUNT(*) FROM customer WHERE tenant = $1`, h.tenant.ID); n != 1 {
			t.Errorf("there are %d accounts", n)
		}
	})
}
