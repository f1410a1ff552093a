package server_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// house is a tenant with one customer and the applications that tests need.
type house struct {
	*servertest.Installation
	t       *testing.T
	tenant  *tenant.Tenant
	ana     id.Customer
	shop    *servertest.App // the tenant's own
	recipes *servertest.App // of a third party
}

func newHouse(t *testing.T, i *servertest.Installation, slug string, change func(*tenant.Settings)) *house {
	t.Helper()
	h := &house{Installation: i, t: t, tenant: i.Tenant(slug, change)}
	h.ana = i.Customer(h.tenant, anaMail, anaPassword)
	h.shop = i.Application(h.tenant, nil)
	h.recipes = i.Application(h.tenant, func(s *application.Settings) {
		s.Name, s.FirstParty, s.RedirectURIs = "Recipes by Ana", false, []string{"https://recipes.example/cb"}
	})
	return h
}

// at is the house as another node sees it.
func (h *house) at(i *servertest.Installation) *house {
	other := *h
	other.Installation = i
	return &other
}

// signIn signs ana in to the shop in a new browser.
func (h *house) signIn() (*servertest.Browser, servertest.Tokens) {
	h.t.Helper()
	browser := h.Browser()
	tokens := h.shop.SignIn(h.Installation, browser, anaMail, anaPassword, nil)
	if tokens.Status != http.StatusOK {
		h.t.Fatalf("ana cannot sign in: %+v", tokens)
	}
	return browser, tokens
}

// code gets a code for an application, in a browser that is signed in.
func (h *house) code(browser *servertest.Browser, app *servertest.App, change url.Values) (servertest.Request, string) {
	h.t.Helper()
	r := app.Authorize(change)
	p := browser.Get(app.URL(h.Installation, r))
	if p.Location == nil && p.Has("decision") {
		p = browser.Answer(p, url.Values{"decision": {"allow"}})
	}
	if p.Location == nil || p.Location.Query().Get("code") == "" {
		h.t.Fatalf("no code came: %d %v %s", p.Status, p.Location, servertest.Text(p.Body))
	}
	return r, p.Location.Query().Get("code")
}

// redemption is the request that redeems a code.
func redemption(r servertest.Request, code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {r.Params.Get("redirect_uri")}, "code_verifier": {r.Verifier}}
}

func refreshing(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

// passwordPage opens the sign-in and names an address.
func (h *house) passwordPage(browser *servertest.Browser, address string) *servertest.Page {
	h.t.Helper()
	p := browser.Answer(browser.Get(h.shop.URL(h.Installation, h.shop.Authorize(nil))), url.Values{"identifier": {address}})
	if !p.Has("password") {
		h.t.Fatalf("no password is asked for: %s", servertest.Text(p.Body))
	}
	return p
}

// codePage goes on to the page that asks for a mailed code, and returns the
// code too, unless none is to be waited for.
func (h *house) codePage(browser *servertest.Browser, address string, wait bool) (*servertest.Page, string) {
	h.t.Helper()
	before := h.Newest(address)
	p := browser.Answer(h.passwordPage(browser, address), url.Values{"choose": {"code"}})
	if !p.Has("code") {
		h.t.Fatalf("no code is asked for: %s", servertest.Text(p.Body))
	}
	if !wait {
		return p, ""
	}
	return p, h.CodeAfter(address, before)
}

// signUpPage goes on to the page that asks for the code of a sign-up.
func (h *house) signUpPage(browser *servertest.Browser, address string) *servertest.Page {
	h.t.Helper()
	p := browser.Answer(browser.Get(h.shop.URL(h.Installation, h.shop.Authorize(nil))), url.Values{"choose": {"create"}})
	p = browser.Answer(p, url.Values{"identifier": {address}})
	if !p.Has("code") {
		h.t.Fatalf("no code is asked for: %s", servertest.Text(p.Body))
	}
	return p
}

// count asks the database for one number.
func (h *house) count(query string, args ...any) int {
	h.t.Helper()
	var n int
	if err := h.DB.QueryRow(h.t.Context(), query, args...).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// write does something in one transaction.
func (h *house) write(do func(tx *sqldb.Tx) error) {
	h.t.Helper()
	if err := h.DB.Write(h.t.Context(), do); err != nil {
		h.t.Fatal(err)
	}
}

// signedIn tells whether an answer signed somebody in: it set a session cookie
// or carries a code.
func signedIn(p *servertest.Page) bool {
	for _, cookie := range p.Header["Set-Cookie"] {
		if strings.Contains(cookie, "cardea_session_") && !strings.Contains(cookie, "Max-Age=0") {
			return true
		}
	}
	return p.Location != nil && p.Location.Query().Has("code")
}

// cookie returns the value of a cookie of a kind for a tenant.
func cookie(b *servertest.Browser, kind string, t *tenant.Tenant) string {
	for _, c := range b.Cookies() {
		if c.Name == "cardea_"+kind+"_"+t.Slug {
			return c.Value
		}
	}
	return ""
}

func setCookie(b *servertest.Browser, kind string, t *tenant.Tenant, value string) {
	b.SetCookies([]*http.Cookie{{Name: "cardea_" + kind + "_" + t.Slug, Value: value, Path: "/"}})
}

// claims reads the payload of a JWT without verifying it.
func claims(t *testing.T, jwt string) map[string]any {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", jwt)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := json.Unmarshal(payload, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// atOnce calls try n times at the same moment and waits for all.
func atOnce(n int, try func(k int)) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for k := range n {
		all.Go(func() { <-start; try(k) })
	}
	close(start)
	all.Wait()
}

// send makes a request without a browser.
func send(t *testing.T, method, address string, body string, header http.Header) (int, http.Header, string) {
	t.Helper()
	p, err := trySend(method, address, body, header)
	if err != nil {
		t.Fatal(err)
	}
	return p.status, p.header, p.body
}

type answer struct {
	status int
	header http.Header
	body   string
}

func statusOf(text string) customer.Status { return customer.Status(text) }

// collectsNickname makes a tenant ask for a nickname before a sign-in ends, so
// that there is a page between proof and finish.
func collectsNickname(s *tenant.Settings) { s.SignUp.Collect = []string{"nickname"} }

// machine is an application that acts for itself.
func (h *house) machine() *servertest.App {
	return h.Application(h.tenant, func(s *application.Settings) {
		s.Kind, s.RedirectURIs, s.PostLogoutURIs, s.Scopes = application.Machine, nil, nil, []string{"orders"}
	})
}

// onAccount tells whether a page is the account page of somebody signed in.
func onAccount(p *servertest.Page) bool {
	return p.Status == http.StatusOK && slices.ContainsFunc(p.Forms, func(f servertest.Form) bool {
		return strings.Contains(f.Action, "/account") && f.Hidden.Get("state") != ""
	})
}

// kidOf is the key that a token says it was signed with.
func kidOf(t *testing.T, jwt string) string {
	t.Helper()
	head, err := base64.RawURLEncoding.DecodeString(strings.Split(jwt, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	var header struct{ Kid string }
	if err := json.Unmarshal(head, &header); err != nil || header.Kid == "" {
		t.Fatalf("the header %s names no key: %v", head, err)
	}
	return header.Kid
}

// kidIn tells whether a JWK Set has the key that signed a token.
func kidIn(t *testing.T, jwt, set string) bool {
	t.Helper()
	return strings.Contains(set, kidOf(t, jwt))
}
