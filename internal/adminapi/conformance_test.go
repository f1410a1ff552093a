package adminapi_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract is what the OpenAPI document promises. All that tests are answered
// is held to it.
type contract struct {
	paths    map[string]any
	compiler *jsonschema.Compiler

	mu       sync.Mutex // of compiler and compiled
	compiled map[string]*jsonschema.Schema
}

// schema compiles a part of the document, once.
func (c *contract) schema(at string) (*jsonschema.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.compiled[at]; known != nil {
		return known, nil
	}
	schema, err := c.compiler.Compile(at)
	if err == nil {
		c.compiled[at] = schema
	}
	return schema, err
}

const contractAt = "mem:///openapi.json"

func readContract(t testing.TB, base string) *contract {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/admin/v1/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	document, err := jsonschema.UnmarshalJSON(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{paths: document.(object)["paths"].(object), compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}}
	if err := c.compiler.AddResource(contractAt, document); err != nil {
		t.Fatal(err)
	}
	return c
}

// operation finds what a request is for: the template of its path, and what the
// document has of it.
func (c *contract) operation(method, path string) (template string, op object) {
	path, _, _ = strings.Cut(path, "?")
	given := strings.Split(path, "/")
	for candidate, methods := range c.paths {
		found, ok := methods.(object)[strings.ToLower(method)].(object)
		parts := strings.Split(candidate, "/")
		if !ok || len(parts) != len(given) {
			continue
		}
		fits, variables := true, 0
		for n, part := range parts {
			if strings.HasPrefix(part, "{") {
				variables++
			} else if part != given[n] {
				fits = false
			}
		}
		// Of two that fit, the one that spells more of it out.
		if fits && (op == nil || variables < strings.Count(template, "{")) {
			template, op = candidate, found
		}
	}
	return template, op
}

// check holds an answer to the document.
func (c *contract) check(t testing.TB, method, path string, a answer) {
	t.Helper()
	template, op := c.operation(method, path)
	if op == nil || a.Status == http.StatusNotModified {
		return
	}
	status := strconv.Itoa(a.Status)
	said, ok := op["responses"].(object)[status].(object)
	if !ok {
		t.Errorf("%s %s answers %s, which the document does not have: %s", method, template, status, a.Text)
		return
	}
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	content, _ := said["content"].(object)
	if _, ok := content[kind]; !ok {
		if a.Text != "" {
			t.Errorf("%s %s answers %s with the type %q, which the document does not have", method, template, status, kind)
		}
		return
	}
	if content[kind].(object)["schema"] == nil || !strings.HasSuffix(kind, "json") {
		return
	}
	at := contractAt + "#/paths/" + escaped(template) + "/" + strings.ToLower(method) + "/responses/" + status + "/content/" + escaped(kind) + "/schema"
	schema, err := c.schema(at)
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(a.Text))
	if err != nil {
		t.Errorf("%s %s: %v", method, template, err)
		return
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s %s is answered otherwise than the document says: %v\n%s", method, template, err, a.Text)
	}
}

func escaped(part string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(part)
}

// TestContractIsHeld: the check itself sees what is wrong.
func TestContractIsHeld(t *testing.T) {
	c := readContract(t, operate(t, shop(t)).base)
	good := answer{200, http.Header{"Content-Type": {"application/json"}}, `{"items": []}`}
	probe := &complaints{TB: t}
	c.check(probe, get, "/admin/v1/tenants", good)
	if probe.count != 0 {
		t.Error("a good answer is complained about")
	}
	for _, a := range []answer{
		{200, good.Header, `{"items": null}`}, {200, good.Header, `{}`}, {200, good.Header, `{"items": [], "more": 1}`}, {200, good.Header, `{"items": [{}]}`},
		{418, good.Header, `{}`}, {200, http.Header{"Content-Type": {"text/html"}}, `x`},
	} {
		probe.count = 0
		c.check(probe, get, "/admin/v1/tenants?limit=1", a)
		if probe.count == 0 {
			text, _ := json.Marshal(a)
			t.Errorf("nobody complains about %s", text)
		}
	}
}

// complaints counts errors instead of failing.
type complaints struct {
	testing.TB
	count int
}

func (c *complaints) Errorf(string, ...any) { c.count++ }
