package adminapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"reflect"
	"regexp"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cardea-id/cardea/internal/i18n"
)

// securityScheme is what the document calls the tokens that operations need.
const securityScheme = "operator"

// noun is what an operation is about: a chapter of the reference.
type noun string

const (
	tenants       noun = "Tenants"
	brands        noun = "Brands"
	applications  noun = "Applications"
	customers     noun = "Customers"
	sessions      noun = "Sessions and grants"
	organizations noun = "Organizations"
	events        noun = "Events"
	messages      noun = "Messages"
	keys          noun = "Keys"
	operators     noun = "Operators"
	installation  noun = "Installation"
)

type described struct {
	noun        noun
	description string
}

// nouns are the chapters of the reference, in its order.
var nouns = []described{
	{tenants, "A tenant is one customer base: a directory with its own issuer, applications, journeys, keys and policies."},
	{brands, "A brand is how a tenant's pages and messages look and speak."},
	{applications, "An application is a client of the protocols."},
	{customers, "A customer is a person who holds an account with a tenant, found by identifiers that were verified."},
	{sessions, "Where a customer is signed in, and what a customer has allowed which application."},
	{organizations, "A company or group of customers: who is a member with what roles, and who is invited."},
	{events, "What happened, and who did it."},
	{messages, "Mail and text messages."},
	{keys, "Keys that tokens are signed with, and keys that data is sealed with."},
	{operators, "Operators are customers of the system tenant, and applications of it, that hold scopes for all tenants or some."},
	{installation, "What all tenants share."},
}

// problemView is a problem document (RFC 9457), as the document describes it.
type problemView struct {
	Type     string         `json:"type" format:"uri" doc:"What went wrong, the same each time: https://cardea.id/problems/ and a code." example:"https://cardea.id/problems/not-found"`
	Title    string         `json:"title" doc:"What the type means."`
	Status   int            `json:"status" doc:"The HTTP status." example:"404"`
	Detail   string         `json:"detail,omitempty" doc:"What happened now, what it means and what to do."`
	Instance string         `json:"instance,omitempty" doc:"The id under which the server's log has the cause."`
	Errors   []problemField `json:"errors,omitempty" doc:"What is wrong with the body, where it is."`
}

type problemField struct {
	Pointer string `json:"pointer" doc:"JSON Pointer (RFC 6901) into the body." example:"/name"`
	Detail  string `json:"detail"`
}

// describe begins the OpenAPI document.
func describe() huma.Config {
	c := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "Cardea admin API", Version: "1",
				Description: "Everything that an operator can do, for programs. Lists are paged by key, failures are problem documents (RFC 9457)."},
			Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName)},
		},
		// "json" is what huma writes its refusals by, which end in +json.
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
	}
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[huma.ErrorModel](), reflect.TypeFor[problemView]())
	// A text, or texts by plural form.
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[i18n.Custom](), reflect.TypeFor[any]())
	for _, n := range nouns {
		c.Tags = append(c.Tags, &huma.Tag{Name: string(n.noun), Description: n.description})
	}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{securityScheme: {
		Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An access token of the system tenant that has the scope named.",
	}}
	return c
}

// schemaName names a type in the document: ours without "View" at the end, and
// those of capabilities with the capability before.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := t.Name()
	if name == "" {
		return upper(hint)
	}
	if outer, inner, generic := strings.Cut(strings.TrimSuffix(name, "]"), "["); generic {
		of := path.Base(inner) // adminapi.tenantView
		return named(of[:strings.Index(of, ".")], of[strings.Index(of, ".")+1:]) + upper(outer)
	}
	return named(path.Base(t.PkgPath()), name)
}

func named(of, name string) string {
	name = upper(strings.TrimSuffix(name, "View"))
	if of == "adminapi" || of == "." || strings.HasPrefix(strings.ToLower(name), of) {
		return name
	}
	return upper(of) + name
}

func upper(name string) string {
	if name == "" {
		return name
	}
	return string(unicode.ToUpper(rune(name[0]))) + name[1:]
}

// partial is the schema of a change to a T: any part of it, with nothing
// required.
func partial[T any](a *api) *huma.Schema {
	registry := a.huma.OpenAPI().Components.Schemas
	return loosened(registry, registry.Schema(reflect.TypeFor[T](), true, ""))
}

func loosened(registry huma.Registry, s *huma.Schema) *huma.Schema {
	if s == nil {
		return nil
	}
	own := *s
	if s.Ref != "" {
		name := strings.TrimSuffix(path.Base(s.Ref), "Change") + "Change"
		if _, done := registry.Map()[name]; !done || name == path.Base(s.Ref) {
			whole := registry.SchemaFromRef(s.Ref)
			registry.Map()[name] = nil // for one that contains itself
			registry.Map()[name] = loosened(registry, whole)
		}
		own.Ref = strings.TrimSuffix(s.Ref, path.Base(s.Ref)) + name
		return &own
	}
	own.Required, own.Items = nil, loosened(registry, s.Items)
	own.Properties = map[string]*huma.Schema{}
	for name, property := range s.Properties {
		own.Properties[name] = loosened(registry, property)
	}
	if of, ok := s.AdditionalProperties.(*huma.Schema); ok {
		own.AdditionalProperties = loosened(registry, of)
	}
	own.PrecomputeMessages()
	return &own
}

// jsonOrYAML are the bodies of a change that may be written either way.
func jsonOrYAML(s *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{"application/json": {Schema: s}, "application/yaml": {Schema: s}}
}

func onlyJSON(s *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{"application/json": {Schema: s}}
}

// mountDocument answers with the OpenAPI document of what was declared.
func (a *api) mountDocument() {
	for _, s := range a.huma.OpenAPI().Components.Schemas.Map() {
		neverNull(s)
	}
	a.dropUnused()
	text, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		panic(fmt.Sprintf("adminapi: write the OpenAPI document: %v", err))
	}
	a.mux.HandleFunc("GET "+Root+"/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		a.begin(w, &r)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text) // nobody is left to tell when it fails
	})
}

var schemaRef = regexp.MustCompile(`"#/components/schemas/([^"]+)"`)

// dropUnused takes schemas out that nothing refers to: those of which only a
// change is spoken of.
func (a *api) dropUnused() {
	schemas := a.huma.OpenAPI().Components.Schemas.Map()
	for {
		text, err := json.Marshal(a.huma.OpenAPI())
		if err != nil {
			panic(fmt.Sprintf("adminapi: write the OpenAPI document: %v", err))
		}
		used := map[string]bool{}
		for _, ref := range schemaRef.FindAllSubmatch(text, -1) {
			used[string(ref[1])] = true
		}
		before := len(schemas)
		maps.DeleteFunc(schemas, func(name string, _ *huma.Schema) bool { return !used[name] })
		if len(schemas) == before {
			return
		}
	}
}

// neverNull says of lists that they are there, if empty.
func neverNull(s *huma.Schema) {
	if s == nil {
		return
	}
	if s.Type == huma.TypeArray {
		s.Nullable = false
		neverNull(s.Items)
	}
	for _, property := range s.Properties {
		neverNull(property)
	}
	if of, ok := s.AdditionalProperties.(*huma.Schema); ok {
		neverNull(of)
	}
}
