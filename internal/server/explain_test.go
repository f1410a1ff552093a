package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

var shownFault = regexp.MustCompile(`\berr_[0-9a-z]{26}\b`)

// explained finds an error, once it is written.
func explained(t *testing.T, i *servertest.Installation, text string) explain.Record {
	t.Helper()
	fault := id.Fault(shownFault.FindString(text))
	if fault == "" {
		t.Fatalf("no id of an error is shown: %.600s", text)
	}
	for range 100 {
		found, err := i.Explanations.Find(t.Context(), fault)
		if err == nil {
			return found
		}
		if !errors.Is(err, explain.ErrUnknown) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s is not explained", fault)
	return explain.Record{}
}

// Whoever is shown an error can have it explained on any node: which door it
// was, what decided, why, and of which application and customer; and with
// nothing personal in it.
func TestErrorsAreExplainedOnEveryNode(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		asked := i
		if i.Engine == sqldb.Postgres {
			asked = i.SecondNode()
		}
		browser, tokens := h.signIn()
		r, code := h.code(browser, h.shop, nil)
		stolen, stolenCode := h.code(browser, h.shop, nil)
		if got := h.shop.Token(i, redemption(r, code)); got.Status != http.StatusOK {
			t.Fatalf("%+v", got)
		}
		other := redemption(stolen, stolenCode)
		other.Set("code_verifier", strings.Repeat("x", 43))

		token := func(app *servertest.App, values url.Values) func() string {
			return func() string { _, _, body, err := app.Post(i, "/token", values); must(t, err); return body }
		}
		wrong := *h.shop
		wrong.Secret = "canary-wrong-secret"
		page := func(path string) func() string {
			return func() string { return browser.Get(i.Base + h.tenant.Path + path).Body }
		}
		redirected := func(change url.Values) func() string {
			return func() string { return i.Browser().Get(h.shop.URL(i, h.shop.Authorize(change))).Location.String() }
		}
		for name, c := range map[string]struct {
			meet func() string
			want explain.Record
		}{
			"a code, again": {token(h.shop, redemption(r, code)), explain.Record{Door: "POST /token", Grant: "authorization_code", Code: "invalid_grant", Status: 400,
				Application: h.shop.ID, Proved: true, Customer: h.ana, Check: "the grant authorization_code", Why: "redeemed before"}},
			"another verifier": {token(h.shop, other), explain.Record{Door: "POST /token", Grant: "authorization_code", Code: "invalid_grant", Status: 400,
				Application: h.shop.ID, Proved: true, Customer: h.ana, Check: "the grant authorization_code", Why: "code_verifier"}},
			"another's refresh token": {token(h.recipes, refreshing(tokens.Refresh)), explain.Record{Door: "POST /token", Grant: "refresh_token", Code: "invalid_grant", Status: 400,
				Application: h.recipes.ID, Proved: true, Check: "the grant refresh_token", Why: "another application"}},
			"a wrong secret": {token(&wrong, refreshing(tokens.Refresh)), explain.Record{Door: "POST /token", Code: "invalid_client", Status: 401,
				Application: h.shop.ID, Check: "the application proves itself", Why: "The secret is not"}},
			"no such grant": {token(h.shop, url.Values{"grant_type": {"canary-password"}}), explain.Record{Door: "POST /token", Code: "unsupported_grant_type", Status: 400,
				Application: h.shop.ID, Proved: true, Check: "the application may use the grant"}},
			"an unregistered address": {page("/authorize?response_type=code&client_id=" + string(h.shop.ID) + "&redirect_uri=https://canary.example/"), explain.Record{
				Door: "GET /authorize", Code: "redirect", Status: 400, Application: h.shop.ID, Check: "the redirect URI is registered"}},
			"no such application": {page("/authorize?client_id=canary@shop.example"), explain.Record{Door: "GET /authorize", Code: "application", Status: 400, Check: "the application is known"}},
			"no PKCE": {redirected(url.Values{"code_challenge": nil, "code_challenge_method": nil}), explain.Record{Door: "GET /authorize", Code: "invalid_request", Status: 400,
				Application: h.shop.ID, Check: "PKCE by S256"}},
			"a forged step": {func() string {
				return browser.Post(i.Base+h.tenant.Path+"/journey", url.Values{"state": {"canary"}}, "").Body
			}, explain.Record{Door: "POST /journey", Code: "forged", Status: 400}},
			"no token": {func() string {
				_, _, body := send(t, http.MethodGet, i.Base+h.tenant.Path+"/userinfo", "", nil)
				return body
			}, explain.Record{Door: "GET /userinfo", Code: "invalid_token", Status: 401}},
		} {
			t.Run(name, func(t *testing.T) {
				text := c.meet()
				got := explained(t, asked, text)
				want := c.want
				if got.Tenant != h.tenant.ID || got.Request == "" || got.Reason == "" || got.Advice() == "" || time.Since(got.At) > time.Minute {
					t.Errorf("%+v", got)
				}
				if !strings.Contains(got.Why, want.Why) || (want.Why == "") != (got.Why == "") {
					t.Errorf("why: %q", got.Why)
				}
				want.ID, want.At, want.Request, want.Tenant, want.Reason, want.Why, want.Tried = got.ID, got.At, got.Request, got.Tenant, got.Reason, got.Why, got.Tried
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("got  %+v\nwant %+v", got, want)
				}
				whole, err := json.Marshal(got)
				if err != nil || strings.Contains(string(whole), "canary") || strings.Contains(string(whole), "example") {
					t.Errorf("it says what was typed: %s", whole)
				}
				if got.Why != "" && strings.Contains(text, got.Why) {
					t.Errorf("the caller was told %q", got.Why)
				}
			})
		}

		// How a request ends that was in order is no error.
		p := i.Browser().Get(h.shop.URL(i, h.shop.Authorize(url.Values{"prompt": {"none"}})))
		if p.Location == nil || p.Location.Query().Get("error") != "login_required" || p.Location.Query().Has("error_id") {
			t.Errorf("%v", p.Location)
		}
	})
}

// What is broken on our side has an id at every door, and the account of it
// holds no cause: that is for the log.
func TestFaultsOfOursAreExplained(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		browser, tokens := h.signIn()
		signingIn := i.Browser()
		form := h.passwordPage(signingIn, anaMail)
		fail, repair := breakWrites(i.Engine, []string{"session", "lineage", "budget"})
		h.write(func(tx *sqldb.Tx) error { return each(tx, fail) })
		_, _, refreshed, err := h.shop.Post(i, "/token", refreshing(tokens.Refresh))
		must(t, err)
		for door, text := range map[string]string{
			"POST /token":   refreshed,
			"POST /journey": signingIn.Answer(form, url.Values{"password": {anaPassword}}).Body,
		} {
			got := explained(t, i, text)
			if got.Door != door || got.Status < 500 || !got.Ours() || !strings.Contains(got.Advice(), "log") {
				t.Errorf("%s: %+v", door, got)
			}
			if whole, _ := json.Marshal(got); strings.Contains(string(whole), "disk") || strings.Contains(string(whole), "device") {
				t.Errorf("%s: the cause is in it: %s", door, whole)
			}
		}
		h.write(func(tx *sqldb.Tx) error { return each(tx, repair) })
		h.write(func(tx *sqldb.Tx) error { _, err := tx.Exec(`ALTER TABLE session RENAME TO lost`); return err })
		for _, path := range []string{"/account", "/authorize?" + h.shop.Authorize(nil).Params.Encode(), "/end_session"} {
			p := browser.Get(i.Base + h.tenant.Path + path)
			text := p.Body
			if p.Location != nil {
				text += p.Location.String()
			}
			if got := explained(t, i, text); !got.Ours() {
				t.Errorf("%s: %+v", path, got)
			}
		}
		h.write(func(tx *sqldb.Tx) error { _, err := tx.Exec(`ALTER TABLE lost RENAME TO session`); return err })
	})
}

// DESIGN.md, rule 2: strangers who open wrong addresses by the thousand leave a
// few rows, which stand in no relation to what they did.
func TestStrangersErrorsAreFew(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		before := i.Count()
		handler := i.Handler()
		for n := range 2000 {
			r, err := http.NewRequest(http.MethodGet, i.Base+h.tenant.Path+"/authorize?client_id=x", nil)
			must(t, err)
			r.RemoteAddr = fmt.Sprintf("198.51.%d.%d:99", n/250, n%250)
			handler.ServeHTTP(&discard{header: http.Header{}}, r)
		}
		must(t, i.Explanations.Flush(t.Context()))
		for table, n := range i.Count() {
			grown := n - before[table]
			if strings.HasPrefix(table, "event_") {
				continue // the leader of a lane gives its events their places meanwhile
			}
			if grown > 0 && !strings.HasPrefix(table, "explanation") || table == "explanation" && grown > 70 || table == "explanation_dropped" && grown > 3 {
				t.Errorf("%s has grown by %d rows", table, grown)
			}
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
