package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

// SECURITY B1, B2, items 53–55: a code is good for the application, redirect
// URI and verifier that it was made for, once, for a minute.
func TestACodeIsBoundToItsRequest(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		old := i.Application(h.tenant, func(s *application.Settings) {
			s.PKCEOptional, s.RedirectURIs = true, []string{"https://old.example/cb", "https://old.example/other"}
		})
		public := i.Application(h.tenant, func(s *application.Settings) { s.Kind = application.SPA })
		browser, _ := h.signIn()
		with := func(name, value string) func(url.Values) {
			return func(v url.Values) { v.Set(name, value) }
		}
		without := func(name string) func(url.Values) { return func(v url.Values) { v.Del(name) } }
		for _, c := range []struct {
			name   string
			app    *servertest.App
			by     *servertest.App
			ask    url.Values
			change func(url.Values)
			wait   time.Duration
		}{
			{"another application's", h.shop, h.recipes, nil, nil, 0},
			{"another's, a public one", h.shop, public, nil, nil, 0},
			{"a public one's by another", public, h.shop, nil, nil, 0},
			{"too late", h.shop, h.shop, nil, nil, 61 * time.Second},
			{"no verifier", h.shop, h.shop, nil, without("code_verifier"), 0},
			{"an empty verifier", h.shop, h.shop, nil, with("code_verifier", ""), 0},
			{"another verifier", h.shop, h.shop, nil, with("code_verifier", strings.Repeat("a", 43)), 0},
			{"a short verifier", h.shop, h.shop, nil, with("code_verifier", "a"), 0},
			{"a verifier without a challenge", old, old, url.Values{"code_challenge": {}, "code_challenge_method": {}}, nil, 0},
			{"an empty verifier without a challenge", old, old, url.Values{"code_challenge": {}, "code_challenge_method": {}}, with("code_verifier", ""), 0},
			{"no verifier where PKCE is optional and was used", old, old, nil, without("code_verifier"), 0},
			{"another registered redirect URI", old, old, nil, with("redirect_uri", "https://old.example/other"), 0},
			{"an unregistered redirect URI", h.shop, h.shop, nil, with("redirect_uri", "https://evil.example/"), 0},
			{"no redirect URI and no PKCE", old, old, url.Values{"code_challenge": {}, "code_challenge_method": {}},
				func(v url.Values) { v.Del("code_verifier"); v.Del("redirect_uri") }, 0},
			{"cut short", h.shop, h.shop, nil, func(v url.Values) { v.Set("code", v.Get("code")[:len(v.Get("code"))-1]) }, 0},
			{"with more", h.shop, h.shop, nil, func(v url.Values) { v.Set("code", v.Get("code")+"A") }, 0},
			{"padded", h.shop, h.shop, nil, func(v url.Values) { v.Set("code", v.Get("code")+"=") }, 0},
			{"with a line end", h.shop, h.shop, nil, func(v url.Values) { v.Set("code", v.Get("code")+"\n") }, 0},
			{"of a row that is not there", h.shop, h.shop, nil, with("code", "r."+strings.Repeat("A", 43)), 0},
		} {
			r, code := h.code(browser, c.app, c.ask)
			values := redemption(r, code)
			if c.change != nil {
				c.change(values)
			}
			i.Clock.Advance(c.wait)
			if got := c.by.Token(i, values); got.Error != "invalid_grant" || got.Status != http.StatusBadRequest || got.Access != "" {
				t.Errorf("%s: %+v", c.name, got)
			}
			// A stranger's attempt does not take the code from its owner.
			if c.by != c.app {
				if got := c.app.Token(i, redemption(r, code)); got.Status != http.StatusOK {
					t.Errorf("%s: its owner then got %+v", c.name, got)
				}
			}
		}
		// Item 54: the second use is refused and ends the tokens of the first.
		r, code := h.code(browser, h.shop, nil)
		first := h.shop.Token(i, redemption(r, code))
		if !h.shop.Active(i, first.Access) {
			t.Fatalf("the first use got %+v", first)
		}
		if second := h.shop.Token(i, redemption(r, code)); second.Error != "invalid_grant" {
			t.Errorf("the second use got %+v", second)
		}
		if h.shop.Active(i, first.Access) || h.shop.Active(i, first.Refresh) {
			t.Error("the tokens of a code used twice live on")
		}
	})
}

// SECURITY B2, B6, items 53, 56, 60: what a request may not ask for is told to
// the application and gives nothing, signed in or not.
func TestWhatARequestMayNotAskFor(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		machine := i.Application(h.tenant, func(s *application.Settings) {
			s.Kind, s.RedirectURIs, s.PostLogoutURIs = application.Machine, nil, nil
			s.Scopes = []string{"orders"}
		})
		public := i.Application(h.tenant, func(s *application.Settings) { s.Kind = application.SPA })
		signed, _ := h.signIn()
		for _, browser := range []*servertest.Browser{signed, i.Browser()} {
			for _, c := range []struct {
				change url.Values
				want   string
			}{
				{url.Values{"response_type": {"token"}}, "unsupported_response_type"},
				{url.Values{"response_type": {"id_token"}}, "unsupported_response_type"},
				{url.Values{"response_type": {"code token"}}, "unsupported_response_type"},
				{url.Values{"response_type": {"code id_token token"}}, "unsupported_response_type"},
				{url.Values{"response_type": {"none"}}, "unsupported_response_type"},
				{url.Values{"response_type": {}}, "invalid_request"},
				{url.Values{"response_mode": {"fragment"}}, "invalid_request"},
				{url.Values{"response_mode": {"form_post"}}, "invalid_request"},
				{url.Values{"response_mode": {"web_message"}}, "invalid_request"},
				{url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
				{url.Values{"code_challenge_method": {}}, "invalid_request"},
				{url.Values{"code_challenge": {}}, "invalid_request"},
				{url.Values{"code_challenge": {}, "code_challenge_method": {}}, "invalid_request"},
				{url.Values{"code_challenge": {"short"}}, "invalid_request"},
				{url.Values{"scope": {"openid admin"}}, "invalid_scope"},
				{url.Values{"scope": {"openid " + strings.Repeat("email ", 3000)}}, "invalid_scope"},
				{url.Values{"prompt": {"none login"}}, "invalid_request"},
				{url.Values{"prompt": {"whatever"}}, "invalid_request"},
				{url.Values{"max_age": {"-1"}}, "invalid_request"},
				{url.Values{"max_age": {"99999999999999999999"}}, "invalid_request"},
				{url.Values{"request": {"a.b.c"}}, "request_not_supported"},
				{url.Values{"request_uri": {"https://evil.example/"}}, "request_uri_not_supported"},
			} {
				p := browser.Get(h.shop.URL(i, h.shop.Authorize(c.change)))
				if p.Location == nil {
					if len(h.shop.Authorize(c.change).Params.Encode()) > 8<<10 && p.Status == http.StatusBadRequest {
						continue
					}
					t.Errorf("%v: shown %d %s", c.change, p.Status, servertest.Text(p.Body))
					continue
				}
				q := p.Location.Query()
				// Item 57: the issuer is named with errors too.
				if q.Get("error") != c.want || q.Has("code") || q.Get("iss") != h.tenant.Issuer || p.Location.Fragment != "" {
					t.Errorf("%v: %s", c.change, p.Location)
				}
			}
			for _, c := range []url.Values{{"client_id": {}}, {"client_id": {"app_00000000000000000000000000"}}, {"client_id": {"\x00"}}, {"client_id": {string(machine.ID)}}} {
				if p := browser.Get(h.shop.URL(i, h.shop.Authorize(c))); p.Location != nil || p.Status != http.StatusBadRequest {
					t.Errorf("%v led to %v (%d)", c, p.Location, p.Status)
				}
			}
			// Every parameter once.
			r := h.shop.Authorize(nil)
			for name := range r.Params {
				twice := h.shop.URL(i, r) + "&" + name + "=x"
				if p := browser.Get(twice); p.Location != nil && p.Location.Query().Has("code") {
					t.Errorf("%s twice led to a code", name)
				}
			}
		}
		for _, c := range []struct {
			app    *servertest.App
			values url.Values
			want   string
		}{
			{h.shop, url.Values{"grant_type": {"password"}, "username": {anaMail}, "password": {anaPassword}}, "unsupported_grant_type"},
			{h.shop, url.Values{"grant_type": {"implicit"}}, "unsupported_grant_type"},
			{h.shop, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}}, "unsupported_grant_type"},
			{h.shop, url.Values{"grant_type": {""}}, "invalid_request"},
			{h.shop, url.Values{}, "invalid_request"},
			{h.shop, url.Values{"grant_type": {"client_credentials"}}, "unauthorized_client"},
			{public, url.Values{"grant_type": {"client_credentials"}}, "unauthorized_client"},
			{machine, url.Values{"grant_type": {"authorization_code"}, "code": {"x"}}, "unauthorized_client"},
			{machine, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}, "unauthorized_client"},
			{machine, url.Values{"grant_type": {"client_credentials"}, "scope": {"admin"}}, "invalid_scope"},
			{machine, url.Values{"grant_type": {"client_credentials"}, "scope": {"openid"}}, "invalid_scope"},
		} {
			if got := c.app.Token(i, c.values); got.Error != c.want || got.Access != "" {
				t.Errorf("%v: %+v", c.values, got)
			}
		}
	})
}

// Item 61, SECURITY C2, C6: an application proves itself by the one method
// that it registered, wherever it must.
func TestHowAnApplicationProvesItself(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		post := i.Application(h.tenant, func(s *application.Settings) { s.AuthMethod = application.AuthPost })
		disabled := i.Application(h.tenant, func(s *application.Settings) { s.Disabled = true })
		public := i.Application(h.tenant, func(s *application.Settings) { s.Kind = application.SPA })
		assertion := url.Values{"client_assertion": {"eyJhbGciOiJub25lIn0.e30."}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
		plus := func(v url.Values, more ...string) url.Values {
			all := url.Values{}
			for name, values := range v {
				all[name] = values
			}
			for k := 0; k < len(more); k += 2 {
				all.Set(more[k], more[k+1])
			}
			return all
		}
		none := url.Values{}
		for _, path := range []string{"/token", "/introspect", "/revoke"} {
			for _, c := range []struct {
				name         string
				user, secret string
				values       url.Values
			}{
				{"nothing", "", "", none},
				{"only a name", "", "", plus(none, "client_id", string(h.shop.ID))},
				{"a wrong secret", string(h.shop.ID), "wrong", none},
				{"an empty secret", string(h.shop.ID), "", none},
				{"another's secret", string(h.shop.ID), h.recipes.Secret, none},
				{"in the body in place of the header", "", "", plus(none, "client_id", string(h.shop.ID), "client_secret", h.shop.Secret)},
				{"in the header in place of the body", string(post.ID), post.Secret, none},
				{"in both", string(h.shop.ID), h.shop.Secret, plus(none, "client_secret", h.shop.Secret)},
				{"for another", string(h.shop.ID), h.shop.Secret, plus(none, "client_id", string(h.recipes.ID))},
				{"a disabled one", string(disabled.ID), disabled.Secret, none},
				{"an unknown one", "app_00000000000000000000000000", "x", none},
				{"no text", "\x00\xff", "\x00\xff", none},
				{"an assertion", "", "", plus(assertion, "client_id", string(h.shop.ID))},
				{"an assertion beside the secret", string(h.shop.ID), h.shop.Secret, assertion},
				{"a type of assertion beside the secret", string(h.shop.ID), h.shop.Secret, plus(none, "client_assertion_type", "x")},
				{"a public one with a secret", "", "", plus(none, "client_id", string(public.ID), "client_secret", "x")},
				{"a public one by header", string(public.ID), "", none},
			} {
				header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
				if c.user != "" {
					request := http.Request{Header: header}
					request.SetBasicAuth(url.QueryEscape(c.user), url.QueryEscape(c.secret))
				}
				body := plus(c.values, "token", "x", "grant_type", "refresh_token", "refresh_token", "x")
				status, _, text := send(t, http.MethodPost, i.Base+h.tenant.Path+path, body.Encode(), header)
				refused := status == http.StatusUnauthorized && strings.Contains(text, `"invalid_client"`)
				if c.name == "in both" || c.name == "for another" {
					refused = status == http.StatusBadRequest && strings.Contains(text, `"invalid_request"`)
				}
				if !refused {
					t.Errorf("%s, %s: %d %s", path, c.name, status, text)
				}
			}
		}
		if status, _, body, err := public.Post(i, "/introspect", url.Values{"token": {"x"}}); err != nil || status != http.StatusUnauthorized {
			t.Errorf("a public application may introspect: %d %s %v", status, body, err)
		}
		// Headers that are no HTTP Basic.
		for _, header := range []string{"Basic", "Basic ", "Basic !!!", "Basic " + strings.Repeat("QUFB", 5000), "Bearer x", "Digest x", "Basic QUFB", "Basic JTAwOiUwMA=="} {
			status, _, text := send(t, http.MethodPost, i.Base+h.tenant.Path+"/token", "grant_type=refresh_token", http.Header{
				"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {header}})
			if status != http.StatusUnauthorized {
				t.Errorf("%.20q: %d %s", header, status, text)
			}
		}
	})
}

// SECURITY 54: a code that is used again revokes what it gave however late that
// comes (RFC 6749, section 4.1.2).
func TestACodeReplayedAfterItsTimeRevokes(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		browser, other := h.signIn()
		r, code := h.code(browser, h.shop, nil)
		tokens := h.shop.Token(i, redemption(r, code))
		unused, late := h.code(browser, h.shop, nil)
		i.Clock.Advance(5 * time.Minute)
		if got := h.shop.Token(i, redemption(unused, late)); got.Error != "invalid_grant" {
			t.Errorf("a code past its time: %+v", got)
		}
		if !h.shop.Active(i, tokens.Access) {
			t.Fatal("the tokens are not good to begin with")
		}
		wrong := redemption(r, code)
		wrong.Set("code_verifier", strings.Repeat("a", 43))
		if got := h.shop.Token(i, wrong); got.Error != "invalid_grant" || !h.shop.Active(i, tokens.Access) {
			t.Errorf("whoever has the code alone revokes its tokens: %+v", got)
		}
		if got := h.shop.Token(i, redemption(r, code)); got.Error != "invalid_grant" {
			t.Errorf("a code used again: %+v", got)
		}
		if h.shop.Active(i, tokens.Access) || h.shop.Active(i, tokens.Refresh) || h.shop.Token(i, refreshing(tokens.Refresh)).Status == http.StatusOK {
			t.Error("the tokens outlive the replay of their code")
		}
		if !h.shop.Active(i, other.Access) {
			t.Error("the replay ended another lineage")
		}
	})
}
