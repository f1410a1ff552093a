package adminapi_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	held "github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

// TestDocument reads the OpenAPI document as a generator of clients would.
func TestDocument(t *testing.T) {
	o := operate(t, servertest.New(t, "sqlite"))
	a := o.must(200, get, "/admin/v1/openapi.json", nil)
	if path := os.Getenv("OPENAPI_FILE"); path != "" { // for those who want to look at it
		if err := os.WriteFile(path, []byte(a.Text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	document := o.json(a)
	if document["openapi"] != "3.1.0" {
		t.Errorf("openapi is %v", document["openapi"])
	}
	tags := map[string]bool{}
	for _, tag := range document["tags"].([]any) {
		tags[tag.(object)["name"].(string)] = true
		if tag.(object)["description"] == "" {
			t.Errorf("%v is not described", tag)
		}
	}
	seen := map[string]bool{}
	for path, methods := range document["paths"].(object) {
		for method, found := range methods.(object) {
			at, op := method+" "+path, found.(object)
			id := op["operationId"].(string)
			if seen[id] || !regexp.MustCompile(`^[a-z][a-zA-Z]+$`).MatchString(id) {
				t.Errorf("%s: the operation id %q", at, id)
			}
			seen[id] = true
			if op["summary"] == "" || strings.HasSuffix(op["summary"].(string), ".") || !strings.HasSuffix(op["description"].(string), ".") {
				t.Errorf("%s: %v; %v", at, op["summary"], op["description"])
			}
			if tag := op["tags"].([]any)[0].(string); !tags[tag] {
				t.Errorf("%s is about %q, which is not described", at, tag)
			}
			scopes := op["security"].([]any)[0].(object)["operator"].([]any)
			if len(scopes) != 1 || !slices.Contains(held.Scopes(), scopes[0].(string)) {
				t.Errorf("%s: scopes %v", at, scopes)
			}
			if read := strings.HasSuffix(scopes[0].(string), ":read"); read != (method == "get" || id == "previewBrand" || id == "previewMessage" || id == "previewApplicationClaims") {
				t.Errorf("%s needs %v", at, scopes)
			}
			responses := op["responses"].(object)
			for _, status := range []string{"400", "401", "403", "429", "500"} {
				content := responses[status].(object)["content"].(object)["application/problem+json"].(object)
				if content["schema"].(object)["$ref"] != "#/components/schemas/Problem" {
					t.Errorf("%s: %s is %v", at, status, content)
				}
			}
			for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				if !strings.Contains(mustJSON(t, op["parameters"]), `"name":"`+name[1]+`"`) {
					t.Errorf("%s does not describe %s", at, name[1])
				}
			}
		}
	}
	schemas := document["components"].(object)["schemas"].(object)
	for _, name := range []string{"Tenant", "TenantPage", "TenantSettings", "TenantSettingsChange", "Application", "NewApplication", "Customer", "Problem"} {
		if name != "CustomerPage" && schemas[name] == nil {
			t.Errorf("there is no schema %s", name)
		}
	}
	// Every reference leads somewhere.
	for _, ref := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(a.Text, -1) {
		if schemas[ref[1]] == nil {
			t.Errorf("%s is not described", ref[1])
		}
	}
	if strings.Contains(a.Text, "ErrorModel") || strings.Contains(a.Text, "ChangeChange") {
		t.Error("problems are described in huma's form")
	}
}

func mustJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReference: people read there of every operation, and nothing is fetched
// from elsewhere.
func TestReference(t *testing.T) {
	o := operate(t, servertest.New(t, "sqlite"))
	page := o.must(200, get, "/admin/v1/docs", nil)
	if !strings.HasPrefix(page.Header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'") || page.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%v", page.Header)
	}
	if strings.Contains(page.Text, "<script") || strings.Contains(page.Text, "http://") || regexp.MustCompile(`(?:src|href)="(?:https?:)?//`).MatchString(page.Text) || strings.Contains(page.Text, " style=") {
		t.Error("something is fetched from elsewhere")
	}
	document := o.json(o.must(200, get, "/admin/v1/openapi.json", nil))
	for path, methods := range document["paths"].(object) {
		for method, found := range methods.(object) {
			op := found.(object)
			start := strings.Index(page.Text, `<h3 id="`+op["operationId"].(string)+`">`)
			if start < 0 {
				t.Errorf("%s %s is not there", method, path)
				continue
			}
			entry := page.Text[start:]
			entry = entry[:strings.Index(entry, "</article>")]
			scope := op["security"].([]any)[0].(object)["operator"].([]any)[0].(string)
			for _, part := range []string{"<code>" + path + "</code>", "Scope <code>" + scope + "</code>", strings.ToUpper(method), "Failures: <code>400</code>"} {
				if !strings.Contains(entry, part) {
					t.Errorf("%s %s lacks %s", method, path, part)
				}
			}
		}
	}
	if ids := regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page.Text, -1); len(ids) > 0 {
		seen := map[string]bool{}
		for _, id := range ids {
			if seen[id[1]] {
				t.Errorf("the id %s is there twice", id[1])
			}
			seen[id[1]] = true
		}
	}
	if style := o.must(200, get, "/admin/v1/docs.css", nil); !strings.Contains(style.Text, "prefers-color-scheme: dark") || strings.Contains(style.Text, "url(") {
		t.Error(style.Text)
	}
	if path := os.Getenv("REFERENCE_FILE"); path != "" {
		if err := os.WriteFile(path, []byte(page.Text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
