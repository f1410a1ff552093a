package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// fuzzed is a house whose handler is called directly, with one good value of
// everything at hand: where a fuzzed text says STATE, CODE and so on, the good
// value is put.
type fuzzed struct {
	handler http.Handler
	path    string
	cookies string
	good    *strings.Replacer
	posts   []string // what takes a form
	gets    []string
}

func newFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	var x *fuzzed
	i := servertest.New(f, sqldb.SQLite)
	t := i.Tenant("thyme", nil)
	i.Customer(t, anaMail, anaPassword)
	shop := i.Application(t, nil)
	browser := i.Browser()
	tokens := shop.SignIn(i, browser, anaMail, anaPassword, nil)
	p := browser.Get(i.Base + t.Path + "/account")
	leaving := browser.Get(i.Base + t.Path + "/end_session")
	again := browser.Answer(browser.Get(shop.URL(i, shop.Authorize(url.Values{"prompt": {"select_account"}}))), url.Values{"identifier": {anaMail}})
	r := shop.Authorize(nil)
	code := browser.Get(shop.URL(i, r)).Location.Query().Get("code")
	x = &fuzzed{handler: i.Handler(), path: t.Path, cookies: cookieHeader(browser)}
	x.good = strings.NewReplacer(
		"STATE", url.QueryEscape(again.Forms[0].Hidden.Get("state")), "ACCOUNT", url.QueryEscape(p.Forms[0].Hidden.Get("state")),
		"LEAVING", url.QueryEscape(leaving.Forms[0].Hidden.Get("state")), "CODE", code, "VERIFIER", r.Verifier, "REFRESH", tokens.Refresh, "ACCESS", tokens.Access,
		"IDTOKEN", tokens.ID, "CLIENT", string(shop.ID), "SECRET", shop.Secret, "CHALLENGE", r.Params.Get("code_challenge"), "REDIRECT", url.QueryEscape(shop.RedirectURIs[0]),
	)
	for _, mounted := range append(i.OAuth.Routes(), i.Pages.Routes()...) {
		path := strings.NewReplacer("{$}", "", "{name}", "x").Replace(mounted.Pattern)
		switch mounted.Method {
		case http.MethodPost:
			x.posts = append(x.posts, path)
		case http.MethodGet:
			x.gets = append(x.gets, path)
		}
	}
	return x
}

// ask sends a request and fails where the answer is a fault of ours.
func (x *fuzzed) ask(t *testing.T, method, path, query, kind, authorization, body string) {
	t.Helper()
	r := httptest.NewRequest(method, "http://shop.example"+x.path+path, strings.NewReader(x.good.Replace(body)))
	r.URL.RawQuery = x.good.Replace(query)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Cookie", x.cookies)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if authorization != "" {
		r.Header.Set("Authorization", x.good.Replace(authorization))
	}
	w := httptest.NewRecorder()
	x.handler.ServeHTTP(w, r)
	if w.Code >= 500 {
		t.Errorf("%s %s?%q %s %q %q answered %d %s", method, path, query, kind, authorization, body, w.Code, servertest.Text(w.Body.String()))
	}
	if location := w.Header().Get("Location"); location != "" && !strings.HasPrefix(location, "http") && !strings.HasPrefix(location, "/") {
		t.Errorf("%s %s led to %q", method, path, location)
	}
}

const formKind = "application/x-www-form-urlencoded"

// SECURITY R5: no body of any endpoint makes it fail.
func FuzzBodies(f *testing.F) {
	x := newFuzzed(f)
	for at := range x.posts {
		for _, body := range []string{
			"", "&&&", "a=b;c", "%zz", "token=REFRESH", "token=ACCESS&token_type_hint=refresh_token", "grant_type=refresh_token&refresh_token=REFRESH&client_id=CLIENT&client_secret=SECRET",
			"grant_type=authorization_code&code=CODE&code_verifier=VERIFIER&redirect_uri=REDIRECT", "grant_type=client_credentials&scope=openid", "access_token=ACCESS",
			"state=STATE&identifier=ana%40shop.example", "state=STATE&password=x&stay=1", "state=STATE&choose=code", "state=STATE&choose=back", "state=STATE&lang=ar", "state=STATE&code=123456",
			"state=ACCOUNT&choose=end_others", "state=ACCOUNT&end=x", "state=ACCOUNT&revoke=%00", "state=LEAVING&decision=stay", "state=LEAVING&decision=sign_out", "state=en.x.y",
			"state=STATE&new_password=%F0%9F%94%91", "state=STATE&nickname=%E2%80%AE", "client_id=CLIENT&response_type=code&redirect_uri=REDIRECT&code_challenge=CHALLENGE&code_challenge_method=S256",
			"token=a.b.c", "token=a.b.c.d.e", "token=%00", "state=%ff", strings.Repeat("a=b&", 200), "id_token_hint=IDTOKEN&client_id=CLIENT",
		} {
			f.Add(uint8(at), formKind, "", body)
		}
		f.Add(uint8(at), "application/json", "", `{"token":"x","a":[[[[[[]]]]]]}`)
		f.Add(uint8(at), formKind+"; charset=utf-16", "Basic Og==", "token=REFRESH")
		f.Add(uint8(at), "multipart/form-data; boundary=x", "Bearer ACCESS", "--x--")
	}
	f.Fuzz(func(t *testing.T, at uint8, kind, authorization, body string) {
		if strings.ContainsAny(kind+authorization, "\r\n\x00") {
			return
		}
		x.ask(t, http.MethodPost, x.posts[int(at)%len(x.posts)], "", kind, authorization, body)
	})
}

// No query of any page or endpoint makes it fail.
func FuzzQueries(f *testing.F) {
	x := newFuzzed(f)
	for at := range x.gets {
		for _, query := range []string{
			"", "&", "%zz", "a;b", "client_id=CLIENT", "client_id=CLIENT&response_type=code&redirect_uri=REDIRECT&code_challenge=CHALLENGE&code_challenge_method=S256&scope=openid",
			"client_id=CLIENT&response_type=code&redirect_uri=REDIRECT&code_challenge=CHALLENGE&code_challenge_method=S256&scope=openid&prompt=login&ui_locales=ar%20en&login_hint=%00&max_age=0",
			"client_id=CLIENT&response_type=code&redirect_uri=REDIRECT&code_challenge=CHALLENGE&code_challenge_method=S256&scope=openid&prompt=none&id_token_hint=IDTOKEN&state=%ff",
			"client_id=CLIENT&response_type=code&redirect_uri=REDIRECT&code_challenge=CHALLENGE&code_challenge_method=S256&scope=openid&prompt=consent&nonce=%0d%0a",
			"id_token_hint=IDTOKEN&post_logout_redirect_uri=https%3A%2F%2Fshop.example%2Fbye&state=%22", "ui_locales=zh-Hant-x-%00", "done=ACCOUNT", "access_token=ACCESS",
		} {
			f.Add(uint8(at), query)
		}
	}
	f.Fuzz(func(t *testing.T, at uint8, query string) {
		x.ask(t, http.MethodGet, x.gets[int(at)%len(x.gets)], query, "", "", "")
	})
}

// No header by which an application or a customer proves itself makes an
// endpoint fail.
func FuzzAuthorization(f *testing.F) {
	x := newFuzzed(f)
	for _, header := range []string{"Bearer ACCESS", "Bearer", "bearer  ACCESS", "Basic", "Basic Og==", "Basic JTAwOiUwMA==", "Basic /////w==", "DPoP ACCESS", "Bearer a.b.c", "Bearer " + b64("{}") + ".." + b64("{}"), "\xff"} {
		f.Add(header, "cardea_session_thyme=x")
	}
	f.Add("", "cardea_session_thyme=x; cardea_session_thyme=y")
	f.Fuzz(func(t *testing.T, header, cookies string) {
		if strings.ContainsAny(header+cookies, "\r\n\x00") {
			return
		}
		own := *x
		own.cookies = cookies
		own.ask(t, http.MethodGet, "/userinfo", "", "", header, "")
		own.ask(t, http.MethodPost, "/token", "", formKind, header, "grant_type=refresh_token&refresh_token=x")
		own.ask(t, http.MethodPost, "/introspect", "", formKind, header, "token=x")
		own.ask(t, http.MethodGet, "/account", "", "", header, "")
	})
}
