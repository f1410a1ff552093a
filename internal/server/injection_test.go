package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const polyglot = `jaVasCript:/*"'><svg/onload=alert(1)>{{.}}</script><img src=x onerror=alert(2)>` + "`${7*7}`"

// SECURITY N1, N3: what is typed, registered or told is text, on every page
// and in every mail.
func TestWhatIsEchoedIsText(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", collectsNickname)
		app := i.Application(h.tenant, func(s *application.Settings) {
			s.FirstParty, s.Name, s.HomeURL = false, `<a href=//evil.example>{{.}}</a>"'><script>`, "https://shop.example/?q=%22%3E%3Cscript%3E"
		})
		check := func(what string, p *servertest.Page) *servertest.Page {
			t.Helper()
			lower := strings.ToLower(p.Body)
			for _, live := range []string{"<svg/onload", "<img src=x", "<a href=//evil", "<script>alert", `"'><`, "</script><img"} {
				if strings.Contains(lower, live) {
					t.Errorf("%s has live code: %s", what, live)
				}
			}
			if p.Status >= 500 {
				t.Errorf("%s: %d", what, p.Status)
			}
			return p
		}
		b := i.Browser()
		for _, name := range []string{"login_hint", "state", "nonce", "ui_locales", "acr_values", "display", "error", "error_description", "id_token_hint", "scope", "prompt", "redirect_uri", "client_id", "response_type", "anything"} {
			p := check("authorize with "+name, b.Get(app.URL(i, app.Authorize(url.Values{name: {polyglot}}))))
			if p.Location != nil && strings.ContainsAny(p.Location.RawQuery, "<>\"' ") {
				t.Errorf("%s is not escaped in %s", name, p.Location)
			}
		}
		for _, path := range []string{"/end_session", "/sign-in", "/sign-up", "/account", "/signed-out", "/x" + url.PathEscape(polyglot)} {
			q := url.Values{}
			for _, name := range []string{"error", "error_description", "state", "post_logout_redirect_uri", "client_id", "done", "ui_locales", "lang", "id_token_hint"} {
				q.Set(name, polyglot)
				check(path+" with "+name, b.Get(i.Base+h.tenant.Path+path+"?"+url.Values{name: {polyglot}}.Encode()))
			}
			check(path, b.Get(i.Base+h.tenant.Path+path+"?"+q.Encode()))
		}
		r := app.Authorize(nil)
		p := check("sign-in", b.Get(app.URL(i, r)))
		check("identify", b.Answer(p, url.Values{"identifier": {polyglot}}))
		check("the language", b.Answer(p, url.Values{"lang": {polyglot}}))
		check("the choice", b.Answer(p, url.Values{"choose": {polyglot}}))
		p = b.Answer(p, url.Values{"identifier": {anaMail}})
		p = check("collect", b.Answer(p, url.Values{"password": {anaPassword}}))
		p = check("consent", b.Answer(p, url.Values{"nickname": {`</p><script>alert(1)</script>{{.}}`}}))
		if !p.Has("decision") || !strings.Contains(servertest.Text(p.Body), "{{.}}") {
			t.Fatalf("consent is not asked for: %s", servertest.Text(p.Body))
		}
		if p = b.Answer(p, url.Values{"decision": {"allow"}}); app.Redeem(i, r, p).Status != http.StatusOK {
			t.Error("what was typed breaks the protocol")
		}
		check("account", b.Get(i.Base+h.tenant.Path+"/account"))
		check("sign-out", b.Get(i.Base+h.tenant.Path+"/end_session?client_id="+string(app.ID)))
		// Mail.
		mails := i.Browser()
		mails.Header.Set("User-Agent", `Mozilla/5.0 <a href="https://evil.example">"x"</a> {{.}} Bcc: a@evil.example`)
		before := i.Newest(anaMail)
		q := mails.Answer(mails.Get(app.URL(i, app.Authorize(nil))), url.Values{"identifier": {anaMail}})
		mails.Answer(q, url.Values{"choose": {"code"}})
		i.CodeAfter(anaMail, before)
		letters, err := i.Inbox.List(t.Context(), "", "", 5)
		letters = slices.DeleteFunc(letters, func(m notify.Letter) bool { return m.Code == "" })
		if err != nil || len(letters) != 1 || letters[0].To != anaMail {
			t.Fatalf("%d letters %v", len(letters), err)
		}
		if html := strings.ToLower(letters[0].HTML); strings.Contains(html, "<a href=//evil") || strings.Contains(html, `<a href="https://evil`) || strings.Contains(html, "<script") {
			t.Errorf("the mail has live code: %s", letters[0].HTML)
		}
		if strings.ContainsAny(letters[0].Subject, "\r\n") {
			t.Errorf("the subject is %q", letters[0].Subject)
		}
	})
}

// SECURITY N4, F7, item 70: what acts on our cookies is not done for another
// site; no answer lets another site's scripts read with credentials.
func TestOtherSitesActOnNothing(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	b := i.Browser()
	h.shop.SignIn(i, b, anaMail, anaPassword, nil)
	consent := b.Get(h.recipes.URL(i, h.recipes.Authorize(nil)))
	account := b.Get(i.Base + h.tenant.Path + "/account")
	leaving := b.Get(i.Base + h.tenant.Path + "/end_session")
	for name, c := range map[string]struct {
		page   *servertest.Page
		values url.Values
	}{"consent": {consent, url.Values{"decision": {"allow"}}}, "account": {account, url.Values{"choose": {"sign_out"}}}, "sign-out": {leaving, url.Values{"decision": {"sign_out"}}}} {
		address, all := b.Filled(c.page, c.values)
		for _, origin := range []string{"https://evil.example", "null", strings.Replace(i.Base, "127.0.0.1", "127.0.0.1.evil.example", 1), "http://127.0.0.1:1"} {
			got, err := b.Do(http.MethodPost, address, all, origin)
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != http.StatusForbidden || got.Location != nil {
				t.Errorf("%s from %s was answered %d", name, origin, got.Status)
			}
		}
		// An older browser, that sends Origin alone.
		status, _, _ := send(t, http.MethodPost, address, all.Encode(), http.Header{
			"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {"https://evil.example"}, "Cookie": {cookieHeader(b)}})
		if status != http.StatusForbidden {
			t.Errorf("%s by Origin alone was answered %d", name, status)
		}
	}
	if !onAccount(b.Get(i.Base + h.tenant.Path + "/account")) {
		t.Fatal("another site signed the customer out")
	}
	if n := h.count(`SELECT COUNT(*) FROM customer_grant WHERE tenant = $1 AND application = $2`, h.tenant.ID, h.recipes.ID); n != 0 {
		t.Error("another site consented")
	}
	for _, mounted := range append(i.OAuth.Routes(), i.Pages.Routes()...) {
		path := strings.NewReplacer("{$}", "", "{name}", "x").Replace(mounted.Pattern)
		_, header, _ := send(t, mounted.Method, i.Base+h.tenant.Path+path, "", http.Header{"Origin": {"https://evil.example"}, "Cookie": {cookieHeader(b)}})
		if header.Get("Access-Control-Allow-Credentials") != "" || header.Get("Access-Control-Allow-Origin") == "https://evil.example" {
			t.Errorf("%s %s lets another site read with credentials", mounted.Method, path)
		}
		if mounted.Cookies && header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s reads cookies and may be read by other sites", mounted.Method, path)
		}
	}
}

func cookieHeader(b *servertest.Browser) string {
	var all []string
	for _, c := range b.Cookies() {
		all = append(all, c.Name+"="+c.Value)
	}
	return strings.Join(all, "; ")
}
