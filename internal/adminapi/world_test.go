package adminapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/adminapi"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

// operator is somebody who calls the handlers of an installation.
type operator struct {
	t        testing.TB
	base     string
	contract *contract
}

func operate(t testing.TB, i *servertest.Installation) *operator {
	t.Helper()
	server := httptest.NewServer(adminapi.New(adminapi.Options{
		DB: i.DB, KeyStore: i.KeyStore, Ring: i.Ring, Log: i.Log, Budgets: i.Budgets, Tenants: i.Tenants, Applications: i.Applications, Directory: i.Directory,
		Sessions: i.Sessions, Grants: i.Grants, Organizations: i.Organizations, SigningKeys: i.SigningKeys, Outbox: i.Outbox, Explanations: i.Explanations, Operators: i.Operators, Once: i.Once, OperatorLink: i.OperatorLink, Previews: i.Server, Claims: i.PreviewClaims, Mail: i.Server, BaseURL: i.Base, RootID: "root", Release: "test",
		Clock: i.Clock, Random: i.Random, Logger: i.Logger,
	}))
	t.Cleanup(server.Close)
	return &operator{t, server.URL, readContract(t, server.URL)}
}

// answer is what an operator got.
type answer struct {
	Status int
	Header http.Header
	Text   string
}

// send sends a body as it is.
func (o *operator) send(method, path, contentType, body string, header ...string) answer {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), method, o.base+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for n := 0; n+1 < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	got := answer{response.StatusCode, response.Header, string(text)}
	o.contract.check(o.t, method, path, got)
	return got
}

// do sends JSON.
func (o *operator) do(method, path string, body any) answer {
	o.t.Helper()
	if body == nil {
		return o.send(method, path, "", "")
	}
	text, err := json.Marshal(body)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.send(method, path, "application/json", string(text))
}

// must is do, which has to be answered with status.
func (o *operator) must(status int, method, path string, body any) answer {
	o.t.Helper()
	a := o.do(method, path, body)
	if a.Status != status {
		o.t.Fatalf("%s %s answered %d, not %d: %s", method, path, a.Status, status, a.Text)
	}
	if status >= 400 && a.Header.Get("Content-Type") != "application/problem+json" {
		o.t.Errorf("%s %s failed with the type %q", method, path, a.Header.Get("Content-Type"))
	}
	return a
}

type object = map[string]any

// json reads the answer.
func (o *operator) json(a answer) object {
	o.t.Helper()
	var found object
	decoder := json.NewDecoder(bytes.NewReader([]byte(a.Text)))
	if err := decoder.Decode(&found); err != nil {
		o.t.Fatalf("%v: %s", err, a.Text)
	}
	return found
}

// items are those of a list.
func (o *operator) items(path string) []object {
	o.t.Helper()
	var found []object
	for _, item := range o.json(o.must(http.StatusOK, http.MethodGet, path, nil))["items"].([]any) {
		found = append(found, item.(object))
	}
	return found
}

// clientID is the id of an application that was answered.
func clientID(made object) id.Application { return id.Application(made["client_id"].(string)) }
