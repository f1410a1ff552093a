package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const operatorPassword = "a door that only opens inwards"

const adminPassword = "correct horse battery staple"

// robotToken is a token for all that an application of the system tenant has.
func robotToken(i *servertest.Installation, app *servertest.App) string {
	return app.Token(i, url.Values{"grant_type": {"client_credentials"}}).Access
}

// TestFirstOperator is the way from an empty installation to an operator's
// token: the link, the account, signing in, a request, and the removal.
func TestFirstOperator(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		link, err := i.FirstOperator(t.Context())
		if err != nil || link == "" {
			t.Fatal(link, err)
		}
		b := i.SystemBrowser()
		for _, forged := range []string{link + "x", link[:len(link)-1], system.Issuer + "/operator", system.Issuer + "/operator?link=" + strings.Repeat("x", 5000)} {
			if p := b.Get(forged); p.Status != http.StatusGone || p.Has("identifier") {
				t.Errorf("%s: %d", forged, p.Status)
			}
		}
		before := i.Count()
		page := b.Get(link)
		for name, n := range i.Count() {
			if n != before[name] && !strings.HasPrefix(name, "event_p") {
				t.Errorf("opening the link changed %s", name)
			}
		}
		if p := b.Answer(page, url.Values{"identifier": {"nonsense"}}); !p.Has("identifier") {
			t.Errorf("%d %s", p.Status, servertest.Text(p.Body))
		}
		page = b.Answer(page, url.Values{"identifier": {"Olga@Example.com"}})
		if p := b.Answer(page, url.Values{"new_password": {"short"}}); !p.Has("new_password") {
			t.Errorf("a short password is taken: %d", p.Status)
		}
		done := b.Answer(page, url.Values{"new_password": {operatorPassword}})
		if done.Status >= 400 {
			t.Fatalf("%d %s", done.Status, servertest.Text(done.Body))
		}
		if p := b.Answer(page, url.Values{"new_password": {"another password that is long"}}); p.Status != http.StatusGone {
			t.Errorf("the link is good twice: %d", p.Status)
		}
		if again, err := i.FirstOperator(t.Context()); err != nil || again != "" {
			t.Errorf("there is an operator, and the link is %q, %v", again, err)
		}

		console := i.Application(system, func(s *application.Settings) { s.Scopes = append([]string{"openid"}, operator.Scopes()...) })
		scope := url.Values{}
		scope.Set("scope", "openid tenants:read customers:read")
		r := console.Authorize(scope)
		browser := i.SystemBrowser()
		p := browser.Get(console.URL(i, r))
		p = browser.Answer(p, url.Values{"identifier": {"olga@example.com"}})
		p = browser.Answer(p, url.Values{"password": {operatorPassword}})
		tokens := console.Redeem(i, r, p)
		if tokens.Scope != "customers:read openid tenants:read" {
			t.Fatalf("scope %q", tokens.Scope)
		}
		if status, _, text := i.Admin(tokens.Access, "GET", "/admin/v1/tenants", ""); status != 200 || !strings.Contains(text, `"system"`) {
			t.Errorf("%d %s", status, text)
		}
		// The token's scopes bound what a full operator may do by it.
		if status, header, text := i.Admin(tokens.Access, "POST", "/admin/v1/tenants", `{"slug":"x","name":"X"}`); status != 403 || !strings.Contains(header.Get("WWW-Authenticate"), "tenants:write") {
			t.Errorf("%d %s %s", status, header.Get("WWW-Authenticate"), text)
		}
		operators, err := i.Operators.List(t.Context(), "", 10)
		if err != nil || len(operators) != 1 || !operators[0].Full() {
			t.Fatalf("%v %v", operators, err)
		}
		who := operators[0].Subject
		robot := i.Robot(system, operator.Everything())
		full := robotToken(i, robot)
		// The last person who holds everything stays.
		if status, _, text := i.Admin(full, "DELETE", "/admin/v1/operators/"+who, ""); status != 409 {
			t.Errorf("%d %s", status, text)
		}
		second := string(i.Customer(system, "second@example.com", adminPassword))
		i.Operator(second, operator.Everything())
		if status, _, text := i.Admin(full, "DELETE", "/admin/v1/operators/"+who, ""); status != 204 {
			t.Fatalf("%d %s", status, text)
		}
		if status, _, text := i.Admin(tokens.Access, "GET", "/admin/v1/tenants", ""); status != 403 {
			t.Errorf("removed, and still let in: %d %s", status, text)
		}
		if later := console.Token(i, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.Refresh}}); later.Scope != "openid" {
			t.Errorf("removed, and given the scope %q", later.Scope)
		}
	})
}

// TestFirstOperatorRace: of 64 who use the link at once, one is an operator.
func TestFirstOperatorRace(t *testing.T) {
	i := servertest.New(t, sqldb.Postgres)
	i.System()
	link, err := i.FirstOperator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pages := make([]*servertest.Page, 64)
	browsers := make([]*servertest.Browser, 64)
	for n := range pages {
		browsers[n] = i.SystemBrowser()
		pages[n] = browsers[n].Answer(browsers[n].Get(link), url.Values{"identifier": {"o" + string(rune('a'+n%26)) + string(rune('a'+n/26)) + "@example.com"}})
	}
	var made, refused atomic.Int64
	var all sync.WaitGroup
	for n := range pages {
		all.Go(func() {
			p, err := browsers[n].TryAnswer(pages[n], url.Values{"new_password": {operatorPassword}})
			switch {
			case err != nil:
				t.Error(err)
			case p.Status == http.StatusSeeOther:
				made.Add(1)
			case p.Status == http.StatusGone || p.Status == http.StatusServiceUnavailable:
				refused.Add(1)
			}
		})
	}
	all.Wait()
	operators, err := i.Operators.List(t.Context(), "", 100)
	if err != nil || made.Load() != 1 || refused.Load() != 63 || len(operators) != 1 {
		t.Errorf("%d made, %d refused, %d operators, %v", made.Load(), refused.Load(), len(operators), err)
	}
}

// TestBreakGlass: an operator who is locked out of everything comes back.
func TestBreakGlass(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		who := i.Customer(system, "olga@example.com", "")
		console := i.Application(system, nil)
		secret, err := i.Operators.BreakGlass(t.Context(), who, "operator")
		if err != nil {
			t.Fatal(err)
		}
		link, err := i.OperatorLink(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
		i.Operator(string(i.Customer(system, "oona@example.com", adminPassword)), operator.Everything()) // somebody is left
		if err := i.Directory.SetStatus(t.Context(), system.ID, who, "suspended", "", "test"); err != nil {
			t.Fatal(err)
		}
		b := i.SystemBrowser()
		page := b.Get(link)
		if page.Has("identifier") || !strings.Contains(strings.ReplaceAll(page.Body, "<wbr>", ""), "olga@example.com") {
			t.Errorf("%s", servertest.Text(page.Body))
		}
		i.Clock.Advance(operator.LinkLife + time.Second)
		if p := b.Answer(page, url.Values{"new_password": {operatorPassword}}); p.Status != http.StatusGone {
			t.Errorf("an old link is good: %d", p.Status)
		}
		if secret, err = i.Operators.BreakGlass(t.Context(), who, "operator"); err != nil {
			t.Fatal(err)
		}
		if link, err = i.OperatorLink(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		b.Answer(b.Get(link), url.Values{"new_password": {operatorPassword}})
		console.SignIn(i, i.SystemBrowser(), "olga@example.com", operatorPassword, nil)
		o, err := i.Operators.Get(t.Context(), string(who))
		if err != nil || !o.Full() {
			t.Errorf("%v %v", o, err)
		}
	})
}

// TestTokensOfTheAdminAPI is SECURITY.md, table C, at the admin API's door.
func TestTokensOfTheAdminAPI(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system, shop := i.System(), i.Tenant("shop", nil)
		robot := i.Robot(system, operator.Everything())
		good := robotToken(i, robot)
		foreign := i.Application(shop, func(s *application.Settings) {
			s.Name, s.Kind, s.RedirectURIs, s.PostLogoutURIs, s.Scopes = "Robot", application.Machine, nil, nil, operator.Scopes()
		})
		console := i.Application(system, func(s *application.Settings) { s.Scopes = append([]string{"openid"}, operator.Scopes()...) })
		who := i.Customer(system, "olga@example.com", adminPassword)
		i.Operator(string(who), operator.Everything())
		scope := url.Values{"scope": {"openid tenants:read"}}
		signed := console.SignIn(i, i.SystemBrowser(), "olga@example.com", adminPassword, scope)
		parts := strings.Split(good, ".")
		none := "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + parts[1] + "."
		ask := func(token string, header ...string) int {
			t.Helper()
			status, answered, text := i.Admin(token, "GET", "/admin/v1/tenants", "", header...)
			if status == 401 && (!strings.HasPrefix(answered.Get("WWW-Authenticate"), "Bearer") || answered.Get("Content-Type") != "application/problem+json") {
				t.Errorf("%v %s", answered, text)
			}
			return status
		}
		for name, token := range map[string]string{
			"nothing": "", "another tenant's": robotToken(i, foreign), "an ID token": signed.ID, "a refresh token": signed.Refresh, "alg none": none,
			"no signature": parts[0] + "." + parts[1] + ".", "cut short": good[:len(good)-1], "longer": good + "A", "a million dots": strings.Repeat(".", 8000),
			"another's header": strings.Split(signed.ID, ".")[0] + "." + parts[1] + "." + parts[2],
		} {
			if status := ask(token); status != 401 {
				t.Errorf("%s: %d", name, status)
			}
		}
		if status := ask(good); status != 200 {
			t.Fatalf("the good one: %d", status)
		}
		if status := ask(signed.Access); status != 200 {
			t.Fatalf("an operator's: %d", status)
		}
		for name, header := range map[string][]string{
			"by Basic": {"Authorization", "Basic " + good}, "two words": {"Authorization", "Bearer x " + good}, "in a cookie": {"Cookie", "access_token=" + good},
		} {
			if status := ask("", header...); status != 401 {
				t.Errorf("%s: %d", name, status)
			}
		}
		if status, _, _ := i.Admin("", "GET", "/admin/v1/tenants?access_token="+good, ""); status != 401 {
			t.Errorf("in the address: %d", status)
		}
		if _, header, _ := i.Admin(good, "GET", "/admin/v1/tenants", "", "Origin", "https://evil.example"); header.Get("Access-Control-Allow-Origin") != "" {
			t.Error("scripts of other origins may read")
		}

		// What a token hangs on is looked at each time.
		if status, _, _, err := console.Post(i, "/revoke", url.Values{"token": {signed.Access}}); err != nil || status != 200 {
			t.Fatal(status, err)
		}
		if status := ask(signed.Access); status != 401 {
			t.Errorf("revoked: %d", status)
		}
		signed = console.SignIn(i, i.SystemBrowser(), "olga@example.com", adminPassword, scope)
		i.Operator(string(i.Customer(system, "oona@example.com", adminPassword)), operator.Everything()) // somebody is left
		if err := i.Directory.SetStatus(t.Context(), system.ID, who, "suspended", "", "test"); err != nil {
			t.Fatal(err)
		}
		if status := ask(signed.Access); status != 401 {
			t.Errorf("of somebody who is suspended: %d", status)
		}
		settings := robot.Settings
		settings.Disabled = true
		if _, err := i.Applications.Update(t.Context(), system.ID, robot.ID, 0, settings, "test"); err != nil {
			t.Fatal(err)
		}
		if status := ask(good); status != 401 {
			t.Errorf("of an application that is disabled: %d", status)
		}
		settings.Disabled = false
		if _, err := i.Applications.Update(t.Context(), system.ID, robot.ID, 0, settings, "test"); err != nil {
			t.Fatal(err)
		}
		i.Clock.Advance(time.Hour)
		if status := ask(good); status != 401 {
			t.Errorf("expired: %d", status)
		}
	})
}

// TestEveryOperationIsGuarded asks every operation that the document lists
// without a token, without its scope, and for another tenant than one's own.
func TestEveryOperationIsGuarded(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		mine, other := i.Tenant("mine", nil), i.Tenant("other", nil)
		var document struct {
			Paths map[string]map[string]struct {
				OperationID string
				Security    []map[string][]string
			}
		}
		_, _, text := i.Admin("", "GET", "/admin/v1/openapi.json", "")
		if err := json.Unmarshal([]byte(text), &document); err != nil || len(document.Paths) < 20 {
			t.Fatalf("%v: %d paths", err, len(document.Paths))
		}
		bound := i.Robot(system, operator.Holding{Scopes: operator.Scopes(), Tenants: []id.Tenant{mine.ID}})
		boundToken := robotToken(i, bound)
		lacking := map[string]string{}
		for _, scope := range operator.Scopes() {
			all := operator.Everything()
			all.Scopes = slices.DeleteFunc(all.Scopes, func(s string) bool { return s == scope })
			lacking[scope] = robotToken(i, i.Robot(system, all))
		}
		refusals := 0
		for path, methods := range document.Paths {
			for method, op := range methods {
				scope := op.Security[0]["operator"][0]
				at := strings.NewReplacer("{tenant}", "other", "{customer}", "cus_00000000000000000000000001", "{application}", "app_00000000000000000000000001").Replace(path)
				at = strings.ReplaceAll(strings.ReplaceAll(at, "{", ""), "}", "")
				body := ""
				if method == "post" || method == "put" || method == "patch" {
					body = `{}`
				}
				if status, _, text := i.Admin("", strings.ToUpper(method), at, body); status != 401 {
					t.Errorf("%s without a token: %d %s", op.OperationID, status, text)
				}
				if status, header, text := i.Admin(lacking[scope], strings.ToUpper(method), at, body); status != 403 || !strings.Contains(header.Get("WWW-Authenticate"), scope) {
					t.Errorf("%s without %s: %d %s", op.OperationID, scope, status, text)
				}
				status, _, text := i.Admin(boundToken, strings.ToUpper(method), at, body)
				switch {
				case strings.Contains(path, "{tenant}"):
					refusals++
					if status != 404 || !strings.Contains(text, "no such tenant") {
						t.Errorf("%s at another tenant: %d %s", op.OperationID, status, text)
					}
				case op.OperationID == "listTenants":
					if status != 200 || !strings.Contains(text, string(mine.ID)) || strings.Contains(text, string(other.ID)) || strings.Contains(text, string(id.SystemTenant)) {
						t.Errorf("%d %s", status, text)
					}
				default:
					if status != 403 {
						t.Errorf("%s by who is for one tenant: %d %s", op.OperationID, status, text)
					}
				}
			}
		}
		// The very same answer as for one that is not there (C9).
		_, _, foreign := i.Admin(boundToken, "GET", "/admin/v1/tenants/other/customers/by-identifier?identifier=a%40example.com", "")
		_, _, nowhere := i.Admin(boundToken, "GET", "/admin/v1/tenants/nowhere/customers/by-identifier?identifier=a%40example.com", "")
		if foreign != nowhere {
			t.Errorf("%s\n%s", foreign, nowhere)
		}
		records, err := allEvents(t, i, id.SystemTenant, "operator.refused")
		if err != nil || len(records) != refusals+1 || records[0].Actor != operator.Actor(string(bound.ID)) {
			t.Errorf("%d refusals on record, not %d, %v", len(records), refusals+1, err)
		}
		if status, _, text := i.Admin(boundToken, "GET", "/admin/v1/tenants/mine", ""); status != 200 {
			t.Errorf("%d %s", status, text)
		}
		// Nowhere but on the system tenant's host.
		for _, address := range []string{i.Base + "/admin/v1/tenants", i.Base + "/t/mine/admin/v1/tenants", i.Base + "/t/system/admin/v1/tenants"} {
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
			request.Header.Set("Authorization", "Bearer "+boundToken)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != 404 || strings.Contains(response.Header.Get("Content-Type"), "json") {
				t.Errorf("%s: %d", address, response.StatusCode)
			}
		}
	})
}

// TestNoWayUp is SECURITY.md, rows P2, P6 and P7: who may change operators does
// not come to hold more by it.
func TestNoWayUp(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system, shop := i.System(), i.Tenant("shop", nil)
		top := string(i.Customer(system, "top@example.com", adminPassword))
		i.Operator(top, operator.Everything())
		some := operator.Holding{All: true, Scopes: []string{"operators:read", "operators:write", "customers:read", "customers:write", "applications:write", "sessions:write", "tenants:write", "brands:write"}}
		middle := i.Robot(system, some)
		token := robotToken(i, middle)
		second := string(i.Customer(system, "second@example.com", adminPassword))
		everything, _ := json.Marshal(map[string]any{"scopes": operator.Scopes(), "all_tenants": true})
		for name, c := range map[string]struct {
			method, path, body string
			want               int
		}{
			"itself everything":           {"PUT", "/operators/" + string(middle.ID), string(everything), 403},
			"another everything":          {"PUT", "/operators/" + second, string(everything), 403},
			"less from who holds more":    {"PUT", "/operators/" + top, `{"scopes":["customers:read"],"all_tenants":true}`, 403},
			"nothing from who holds more": {"DELETE", "/operators/" + top, "", 403},
			"a link":                      {"POST", "/operator-links", `{}`, 403},
			"a link for another":          {"POST", "/operator-links", `{"customer":"` + top + `"}`, 403},
			"an address of another's":     {"POST", "/tenants/system/customers/" + top + "/identifiers", `{"value":"me@example.com","verified":true}`, 403},
			"another's lock":              {"POST", "/tenants/system/customers/" + top + "/lock", `{}`, 403},
			"another's sessions":          {"DELETE", "/tenants/system/customers/" + top + "/sessions", "", 403},
			"an application":              {"POST", "/tenants/system/applications", `{"name":"x","kind":"machine","scopes":["keys:write"]}`, 403},
			"by the tenant's id":          {"POST", "/tenants/" + string(id.SystemTenant) + "/applications", `{"name":"x","kind":"machine"}`, 403},
			"weaker settings":             {"PUT", "/tenants/system/settings", `{"password":{"min_length":8}}`, 403},
			"no scope":                    {"PUT", "/operators/" + second, `{"scopes":[],"all_tenants":true}`, 422},
			"a made-up scope":             {"PUT", "/operators/" + second, `{"scopes":["*"],"all_tenants":true}`, 422},
			"for nobody":                  {"PUT", "/operators/" + second, `{"scopes":["customers:read"]}`, 422},
			"for the system tenant alone": {"PUT", "/operators/" + second, `{"scopes":["customers:read"],"tenants":["system"]}`, 422},
			"nobody":                      {"PUT", "/operators/cus_00000000000000000000000001", `{"scopes":["customers:read"],"all_tenants":true}`, 404},
			"what it holds":               {"PUT", "/operators/" + second, `{"scopes":["customers:read"],"tenants":["shop"]}`, 200},
		} {
			status, _, text := i.Admin(token, c.method, "/admin/v1"+c.path, c.body)
			if status != c.want {
				t.Errorf("%s: %d %s", name, status, text)
			}
		}
		if o, err := i.Operators.Get(t.Context(), top); err != nil || !o.Full() {
			t.Errorf("%v %v", o, err)
		}
		// Somebody's own acts bear his name.
		customer := i.Customer(shop, "ana@example.com", adminPassword)
		if status, _, text := i.Admin(token, "POST", "/admin/v1/tenants/shop/customers/"+string(customer)+"/lock", `{"reason":"asked"}`); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
		records, err := allEvents(t, i, shop.ID, "customer.status.changed")
		if err != nil || len(records) != 1 || records[0].Actor != "operator:"+string(middle.ID) {
			t.Errorf("%v %v", records, err)
		}
	})
}

func allEvents(t *testing.T, i *servertest.Installation, tenant id.Tenant, kind string) ([]event.Record, error) {
	t.Helper()
	return i.Log.Read(t.Context(), tenant, event.Filter{Type: kind}, event.Page{Limit: 500})
}
