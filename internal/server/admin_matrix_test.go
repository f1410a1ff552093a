package server_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// These tests ask every operation that the OpenAPI document lists, so that one
// that is added is asked too.

// described is an operation as the document describes it.
type described struct {
	id, method, path, scope string
	body                    any // what it takes at least, nil for no body
}

// withPath is the path with values for its parameters.
func (d described) withPath(of map[string]string) string {
	path := d.path
	for name, value := range of {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
	}
	if d.id == "findCustomer" {
		path += "?identifier=ana%40example.com"
	}
	return path
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

func (d described) parameters() (names []string) {
	for _, found := range pathParameter.FindAllStringSubmatch(d.path, -1) {
		names = append(names, found[1])
	}
	return names
}

func (d described) bodyText() string {
	if d.body == nil {
		return ""
	}
	text, err := json.Marshal(d.body)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// everyOperation reads the document.
func everyOperation(t *testing.T, i *servertest.Installation) []described {
	t.Helper()
	_, _, text := i.Admin("", "GET", "/admin/v1/openapi.json", "")
	var document map[string]any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	schemas := document["components"].(map[string]any)["schemas"].(map[string]any)
	var all []described
	for path, methods := range document["paths"].(map[string]any) {
		for method, found := range methods.(map[string]any) {
			op := found.(map[string]any)
			d := described{id: op["operationId"].(string), method: strings.ToUpper(method), path: path,
				scope: op["security"].([]any)[0].(map[string]any)["operator"].([]any)[0].(string)}
			if body, takes := op["requestBody"].(map[string]any); takes {
				for kind, content := range body["content"].(map[string]any) {
					if kind == "application/json" || kind == "*/*" {
						d.body = sampleOf(content.(map[string]any)["schema"].(map[string]any), schemas)
					}
				}
			}
			all = append(all, d)
		}
	}
	if len(all) < 80 {
		t.Fatalf("%d operations", len(all))
	}
	slices.SortFunc(all, func(x, y described) int { return strings.Compare(x.id, y.id) })
	return all
}

// sampleOf is the least that a schema takes.
func sampleOf(schema, schemas map[string]any) any {
	if ref, is := schema["$ref"].(string); is {
		return sampleOf(schemas[strings.TrimPrefix(ref, "#/components/schemas/")].(map[string]any), schemas)
	}
	if examples, has := schema["examples"].([]any); has && schema["type"] != "array" {
		return examples[0]
	}
	if enum, has := schema["enum"].([]any); has {
		return enum[0]
	}
	switch schema["type"] {
	case "string":
		return "x"
	case "integer", "number":
		return 1
	case "boolean":
		return false
	case "array":
		return []any{sampleOf(schema["items"].(map[string]any), schemas)}
	}
	sample := map[string]any{}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		sample[name.(string)] = sampleOf(schema["properties"].(map[string]any)[name.(string)].(map[string]any), schemas)
	}
	return sample
}

// somewhere are values for parameters that lead nowhere.
func somewhere(slug string) map[string]string {
	return map[string]string{
		"tenant": slug, "customer": "cus_00000000000000000000000001", "application": "app_00000000000000000000000001", "organization": "org_00000000000000000000000001",
		"session": "ses_00000000000000000000000001", "identifier": "idn_00000000000000000000000001", "invitation": "inv_00000000000000000000000001",
		"subject": "cus_00000000000000000000000001", "error": "err_00000000000000000000000001", "role": "logo", "channel": "mail", "kind": "code", "lang": "de", "lane": "0",
	}
}

// TestEveryOperationTakesGoodTokensOnly is statements 36, 44, 47 to 50 and rows
// L2, L4, L8 and O1 of SECURITY.md at every operation of the admin API.
func TestEveryOperationTakesGoodTokensOnly(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system, shop := i.System(), i.Tenant("shop", nil)
		robot := i.Robot(system, operator.Everything())
		expired := robotToken(i, robot)
		i.Clock.Advance(time.Hour)
		good := robotToken(i, robot)
		foreign := i.Application(shop, func(s *application.Settings) {
			s.Kind, s.RedirectURIs, s.PostLogoutURIs, s.Scopes = application.Machine, nil, nil, operator.Scopes()
		})
		console := i.Application(system, func(s *application.Settings) {
			s.Scopes = append([]string{"openid", "offline_access"}, operator.Scopes()...)
		})
		operators := i.Customer(system, "olga@example.com", adminPassword)
		i.Operator(string(operators), operator.Everything())
		i.Customer(system, "sam@example.com", adminPassword)
		i.Customer(shop, "ana@example.com", adminPassword)
		signed := console.SignIn(i, i.SystemBrowser(), "olga@example.com", adminPassword, url.Values{"scope": {"openid offline_access " + strings.Join(operator.Scopes(), " ")}})
		nobody := console.SignIn(i, i.SystemBrowser(), "sam@example.com", adminPassword, url.Values{"scope": {"openid"}})
		customers := i.Application(shop, func(s *application.Settings) { s.FirstParty = true }).SignIn(i, i.Browser(), "ana@example.com", adminPassword, nil)
		parts := strings.Split(good, ".")
		// Signed with what everybody can read: the public key's set.
		mac := hmac.New(sha256.New, []byte(system.Issuer))
		confused := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"at+jwt"}`)) + "." + parts[1]
		mac.Write([]byte(confused))
		confused += "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		header := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

		bad := map[string][]string{
			"nothing": nil, "expired": {"Bearer " + expired}, "another tenant's": {"Bearer " + robotToken(i, foreign)}, "an ID token": {"Bearer " + signed.ID},
			"a refresh token": {"Bearer " + signed.Refresh}, "a customer's": {"Bearer " + customers.Access}, "a customer's refresh token": {"Bearer " + customers.Refresh},
			"no algorithm": {"Bearer " + header(`{"alg":"none","typ":"at+jwt"}`) + "." + parts[1] + "."}, "a symmetric one": {"Bearer " + confused},
			"another key set": {"Bearer " + header(`{"alg":"ES256","typ":"at+jwt","jku":"https://evil.example/jwks"}`) + "." + parts[1] + "." + parts[2]},
			"DPoP":            {"DPoP " + good}, "twice": {"Bearer " + good, "Bearer " + good}, "a list": {"Bearer " + good + ", Bearer " + good}, "a dot too many": {"Bearer " + good + "."},
			"dots": {"Bearer " + strings.Repeat(".", 100_000)},
		}
		everything := everyOperation(t, i)
		for _, d := range everything {
			path := d.withPath(somewhere("shop"))
			for name, authorization := range bad {
				status, answered, text := askWith(t, i, d, path, d.bodyText(), authorization)
				if status != 401 && (name != "dots" || status != 431) || strings.Contains(text, "no such") {
					t.Errorf("%s with %s: %d %s", d.id, name, status, text)
				}
				if status == 401 && (answered.Get("WWW-Authenticate") == "" || answered.Get("Cache-Control") != "no-store" || answered.Get("Content-Type") != "application/problem+json") {
					t.Errorf("%s with %s: %v", d.id, name, answered)
				}
			}
			// Somebody of the system tenant who is no operator, and an operator whose token lacks the scope.
			if status, _, text := askWith(t, i, d, path, d.bodyText(), []string{"Bearer " + nobody.Access}); status != 403 {
				t.Errorf("%s by nobody: %d %s", d.id, status, text)
			}
		}
		// Nothing of it was refused for another reason than the token's.
		for _, d := range everything {
			if d.method == "GET" && d.path == "/admin/v1/tenants" {
				if status, _, text := askWith(t, i, d, d.path, "", []string{"Bearer " + good}); status != 200 {
					t.Errorf("%d %s", status, text)
				}
			}
		}
	})
}

// askWith asks an operation with headers as they are.
func askWith(t *testing.T, i *servertest.Installation, d described, path, body string, authorization []string, header ...string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), d.method, i.Config.SystemURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header["Authorization"] = authorization
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for n := 0; n+1 < len(header); n += 2 {
		request.Header.Set(header[n], header[n+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

// TestEveryOperationRefusesBadBodies is row O4 and statement 85 at every
// operation: what is no JSON of ours is refused quickly, and before anybody is
// known to be an operator it is not read at all.
func TestEveryOperationRefusesBadBodies(t *testing.T) {
	i := servertest.New(t, sqldb.SQLite)
	system, shop := i.System(), i.Tenant("shop", nil)
	good := []string{"Bearer " + robotToken(i, i.Robot(system, operator.Everything()))}
	who := string(i.Customer(shop, "ana@example.com", ""))
	var keys strings.Builder
	for n := range 60_000 {
		fmt.Fprintf(&keys, `"k%d":1,`, n)
	}
	deep := strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)
	bodies := map[string]string{
		"deep": deep, "deep lists": strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), "many keys": "{" + keys.String() + `"x":1}`,
		"huge": `{"a":"` + strings.Repeat("x", 2<<20) + `"}`, "cut short": `{"a":`, "a list": `[]`, "a text": `"x"`, "two values": `{}{}`, "not UTF-8": "{\"a\":\"\xff\xfe\"}",
		"twice": `{"name":"a","name":"b"}`, "unknown": `{"constructor":1,"__proto__":{"admin":true}}`, "a huge number": `{"revision":1e999999}`, "NUL": "{\"a\":\"\\u0000\"}",
	}
	before := i.Count()
	for _, d := range everyOperation(t, i) {
		if d.method == "GET" || d.method == "DELETE" {
			continue
		}
		values := somewhere("shop")
		values["customer"] = who
		path := d.withPath(values)
		free := d.id == "setBrandAsset" // takes any bytes, and refuses those that are no picture
		for name, body := range bodies {
			began := time.Now()
			status, _, text := askWith(t, i, d, path, body, good)
			if status < 400 || status >= 500 {
				t.Errorf("%s with a body that is %s: %d %.300s", d.id, name, status, text)
			}
			if took := time.Since(began); took > 3*time.Second { // on a busy machine; it is some ms
				t.Errorf("%s with a body that is %s took %v", d.id, name, took)
			}
			if status, _, _ := askWith(t, i, d, path, body, nil); status != 401 {
				t.Errorf("%s with a body that is %s and no token: %d", d.id, name, status)
			}
		}
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "nonsense"} {
			if status, _, text := askWith(t, i, d, path, `{"a":1}`, good, "Content-Type", kind); !free && status != 415 && (d.body != nil || status != 400) {
				t.Errorf("%s with the type %s: %d %.300s", d.id, kind, status, text)
			}
		}
	}
	// The refusals of operators are no rows of anybody; nothing else was written either.
	after := i.Count()
	for _, table := range []string{"customer", "application", "tenant", "organization", "customer_identifier", "operator", "session"} {
		if before[table] != after[table] {
			t.Errorf("%s had %d rows, and has %d", table, before[table], after[table])
		}
	}
}

// TestMethodsAreNotOverridden: a header or parameter makes nothing of a GET, and
// what no operation is declared for is not there.
func TestMethodsAreNotOverridden(t *testing.T) {
	i := servertest.New(t, sqldb.SQLite)
	system, shop := i.System(), i.Tenant("shop", nil)
	good := []string{"Bearer " + robotToken(i, i.Robot(system, operator.Everything()))}
	i.Application(shop, nil)
	all := everyOperation(t, i)
	methods := map[string][]string{}
	for _, d := range all {
		methods[d.path] = append(methods[d.path], d.method)
	}
	before := i.Count()
	for path, has := range methods {
		d := described{path: path}
		at := d.withPath(somewhere("shop"))
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
			if slices.Contains(has, method) || method == "HEAD" && slices.Contains(has, "GET") {
				continue
			}
			d.method = method
			status, header, text := askWith(t, i, d, at, "", good, "Origin", "https://evil.example", "Access-Control-Request-Method", "PUT")
			if status != 405 || header.Get("Allow") == "" || strings.Contains(header.Get("Allow"), method) || header.Get("Access-Control-Allow-Origin") != "" || strings.Contains(text, good[0]) {
				t.Errorf("%s %s: %d %v", method, path, status, header)
			}
		}
		if slices.Contains(has, "GET") {
			d.method = "GET"
			for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
				askWith(t, i, d, at, "", good, name, "DELETE")
			}
			if status, _, _ := askWith(t, i, d, at+"?_method=DELETE", "", good); status != 400 && status != 404 {
				t.Errorf("%s?_method: %d", path, status)
			}
		}
	}
	if after := i.Count(); !maps.Equal(before, after) {
		t.Errorf("something was written: %v, %v", before, after)
	}
}

// things are what a tenant has one of.
func things(t *testing.T, i *servertest.Installation, token string, x *tenant.Tenant, address string) map[string]string {
	t.Helper()
	has := somewhere(x.Slug)
	app := i.Application(x, nil)
	has["application"] = string(app.ID)
	has["customer"] = string(i.Customer(x, address, adminPassword))
	app.SignIn(i, i.Browser(), address, adminPassword, nil)
	made := func(method, path, body string, into any) {
		t.Helper()
		status, _, text := i.Admin(token, method, "/admin/v1/tenants/"+x.Slug+path, body)
		if status >= 300 {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	var thing struct {
		ID          string
		Items       []struct{ ID string }
		Identifiers []struct{ ID string }
	}
	made("GET", "/customers/"+has["customer"], "", &thing)
	has["identifier"] = thing.Identifiers[0].ID
	made("GET", "/customers/"+has["customer"]+"/sessions", "", &thing)
	has["session"] = thing.Items[0].ID
	made("POST", "/organizations", `{"slug":"`+x.Slug+`-`+strings.ReplaceAll(address[:4], "@", "")+`","name":"Acme"}`, &thing)
	has["organization"] = thing.ID
	made("PUT", "/organizations/"+has["organization"]+"/members/"+has["customer"], `{"roles":["owner"]}`, &struct{}{})
	made("POST", "/organizations/"+has["organization"]+"/invitations", `{"address":"guest-`+address+`","roles":["member"]}`, &thing)
	has["invitation"] = thing.ID
	return has
}

// owned are the parameters that name something that belongs to a tenant.
var owned = []string{"application", "customer", "identifier", "invitation", "organization", "session"}

// TestNothingOfAnotherTenantIsReached is row L3 and statement 47: every
// operation below one tenant, with whatever another has, and with what belongs
// to another parent, is answered as for what is not there.
func TestNothingOfAnotherTenantIsReached(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system, mine, other := i.System(), i.Tenant("mine", nil), i.Tenant("other", nil)
		token := robotToken(i, i.Robot(system, operator.Everything()))
		bound := robotToken(i, i.Robot(system, operator.Holding{Scopes: operator.Scopes(), Tenants: []id.Tenant{mine.ID}}))
		own, second, theirs := things(t, i, token, mine, "ana@example.com"), things(t, i, token, mine, "bea@example.com"), things(t, i, token, other, "eve@example.com")
		nowhere := somewhere("mine")
		before, held := state(t, i, token, other, theirs), state(t, i, token, mine, second)
		tried := 0
		for _, d := range everyOperation(t, i) {
			names := d.parameters()
			for _, name := range names {
				if _, known := nowhere[name]; !known {
					t.Fatalf("%s has a parameter %s that this test does not know: say what it names", d.id, name)
				}
			}
			if len(names) < 2 || names[0] != "tenant" || !slices.Contains(owned, names[1]) {
				continue
			}
			last := names[len(names)-1]
			variants := map[string]map[string]string{}
			with := func(name string, parent, child map[string]string) {
				of := maps.Clone(nowhere)
				for _, n := range names[1:] {
					of[n] = parent[n]
				}
				of[last] = child[last]
				variants[name] = of
			}
			with("another tenant's", theirs, theirs)
			if len(names) > 2 {
				with("another tenant's below one's own", own, theirs)
				with("one's own below another tenant's", theirs, own)
				if last != "customer" { // any customer may become a member
					with("another parent's", own, second)
				}
			}
			for name, of := range variants {
				tried++
				gone := maps.Clone(of)
				gone[last] = nowhere[last]
				if name == "one's own below another tenant's" {
					gone[names[1]] = nowhere[names[1]]
				}
				status, _, text := i.Admin(bound, d.method, d.withPath(of), d.bodyText())
				_, _, absent := i.Admin(bound, d.method, d.withPath(gone), d.bodyText())
				if status != 404 || text != absent {
					t.Errorf("%s of %s: %d %s; of nothing: %s", d.id, name, status, text, absent)
				}
			}
		}
		if tried < 60 {
			t.Errorf("%d were tried", tried)
		}
		if now := state(t, i, token, other, theirs); now != before {
			t.Errorf("another tenant's things were changed:\n%s\n%s", before, now)
		}
		if now := state(t, i, token, mine, second); now != held {
			t.Errorf("another parent's things were changed:\n%s\n%s", held, now)
		}
	})
}

// state is all that can be read of a tenant's things.
func state(t *testing.T, i *servertest.Installation, token string, x *tenant.Tenant, of map[string]string) string {
	t.Helper()
	var all strings.Builder
	for _, path := range []string{"/customers/{customer}", "/customers/{customer}/sessions", "/customers/{customer}/grants", "/customers/{customer}/organizations",
		"/applications/{application}", "/organizations/{organization}", "/organizations/{organization}/members", "/organizations/{organization}/invitations"} {
		status, _, text := i.Admin(token, "GET", described{path: "/admin/v1/tenants/" + x.Slug + path}.withPath(of), "")
		if status != 200 {
			t.Errorf("%s: %d %s", path, status, text)
		}
		all.WriteString(text + "\n")
	}
	return all.String()
}

// TestReadingTellsNoSecrets is row L5 and lesson 9: whoever may read everything
// is told no secret, whatever he reads.
func TestReadingTellsNoSecrets(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system, shop := i.System(), i.Tenant("shop", nil)
		robot := i.Robot(system, operator.Everything())
		token := robotToken(i, robot)
		own := things(t, i, token, shop, "ana@example.com")
		signed := i.Application(shop, func(s *application.Settings) { s.FirstParty = true }).
			SignIn(i, i.Browser(), "ana@example.com", adminPassword, url.Values{"scope": {"openid offline_access"}})
		link, err := i.Operators.BreakGlass(t.Context(), "", "operator")
		if err != nil {
			t.Fatal(err)
		}
		secrets := map[string]string{"an application's secret": robot.Secret, "a password": adminPassword, "a refresh token": signed.Refresh, "an access token": signed.Access,
			"the token asked with": token, "a one-time link": link}
		own["subject"] = string(robot.ID)
		read := 0
		for _, d := range everyOperation(t, i) {
			if d.method != "GET" {
				continue
			}
			status, header, text := i.Admin(token, d.method, d.withPath(own), "")
			if status == 200 {
				read++
			}
			if header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s may be kept: %v", d.id, header)
			}
			for name, secret := range secrets {
				if strings.Contains(text, secret) {
					t.Errorf("%s tells %s", d.id, name)
				}
			}
			for _, name := range []string{"secret_hash", "password_hash", `"client_secret"`, "$argon2", "PRIVATE KEY"} {
				if strings.Contains(text, name) {
					t.Errorf("%s has %s: %s", d.id, name, text)
				}
			}
		}
		if read < 30 {
			t.Errorf("%d operations were read", read)
		}
	})
}

// TestPagesAreOfTheirList is row L6: what a page begins after is a key of the
// list, and nothing that is sent in its place reads something else.
func TestPagesAreOfTheirList(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system, mine, other := i.System(), i.Tenant("mine", nil), i.Tenant("other", nil)
		token := robotToken(i, i.Robot(system, operator.Everything()))
		own, theirs := things(t, i, token, mine, "ana@example.com"), things(t, i, token, other, "eve@example.com")
		var foreign []string
		for _, name := range owned {
			foreign = append(foreign, theirs[name])
		}
		lists := 0
		for _, d := range everyOperation(t, i) {
			if d.method != "GET" || !strings.HasPrefix(d.path, "/admin/v1/tenants/{tenant}/") || !strings.HasPrefix(d.id, "list") {
				continue
			}
			lists++
			for _, after := range append(slices.Clone(foreign), "' OR 1=1 --", "%00", "0", strings.Repeat("a", 5_000), "\xff\xfe", "cus_'; DROP TABLE customer; --", "../../other") {
				status, _, text := i.Admin(token, d.method, d.withPath(own)+"?after="+url.QueryEscape(after), "")
				if status != 200 && status != 400 {
					t.Errorf("%s after %.40q: %d %.300s", d.id, after, status, text)
				}
				for _, of := range append(foreign, string(other.ID), "eve@") {
					if strings.Contains(text, of) && of != after {
						t.Errorf("%s after %.40q tells %s", d.id, after, of)
					}
				}
			}
			for _, limit := range []string{"0", "-1", "501", "1e3", "x", "99999999999999999999"} {
				if status, _, text := i.Admin(token, d.method, d.withPath(own)+"?limit="+limit, ""); status != 400 {
					t.Errorf("%s with limit=%s: %d %.200s", d.id, limit, status, text)
				}
			}
		}
		if lists < 8 {
			t.Errorf("%d lists", lists)
		}
	})
}
