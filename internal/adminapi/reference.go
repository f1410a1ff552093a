package adminapi

import (
	"bytes"
	_ "embed" // the page and its style
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed reference.html
var referencePage string

//go:embed reference.css
var referenceStyle []byte

// reference is the OpenAPI document as people read it.
type reference struct {
	Description, Version string
	Chapters             []chapter
}

type chapter struct {
	Name, Anchor, Description string
	Operations                []entry
}

type entry struct {
	ID, Method, Path, Summary, Description, Scope, Status string
	Parameters                                            []parameter
	Body                                                  *content
	Answer                                                content
	Errors                                                []string
}

type parameter struct {
	Name, In, Type, Description string
	Required                    bool
}

// content is a body: its fields, each by its path, and an example.
type content struct {
	Types   []string
	Fields  []parameter
	Example string
}

// mountReference answers with the reference, which is written once. It needs
// nothing but its own style: no script, and nothing from elsewhere.
func (a *api) mountReference() {
	var page bytes.Buffer
	if err := template.Must(template.New("reference").Parse(referencePage)).Execute(&page, a.reference()); err != nil {
		panic(fmt.Sprintf("adminapi: write the reference: %v", err))
	}
	serve := func(at, kind string, text []byte) {
		a.mux.HandleFunc("GET "+Root+at, func(w http.ResponseWriter, r *http.Request) {
			a.begin(w, &r)
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			_, _ = w.Write(text) // nobody is left to tell when it fails
		})
	}
	serve("/docs", "text/html; charset=utf-8", page.Bytes())
	serve("/docs.css", "text/css; charset=utf-8", referenceStyle)
}

func (a *api) reference() reference {
	document := a.huma.OpenAPI()
	r := reference{Description: document.Info.Description, Version: document.OpenAPI}
	for _, n := range nouns {
		c := chapter{Name: string(n.noun), Anchor: strings.ReplaceAll(strings.ToLower(string(n.noun)), " ", "-"), Description: n.description}
		for _, declared := range a.declared {
			if declared.Tags[0] == c.Name {
				c.Operations = append(c.Operations, a.entry(declared))
			}
		}
		if len(c.Operations) > 0 {
			r.Chapters = append(r.Chapters, c)
		}
	}
	return r
}

func (a *api) entry(o *huma.Operation) entry {
	e := entry{ID: o.OperationID, Method: o.Method, Path: o.Path, Summary: o.Summary, Description: o.Description, Scope: o.Security[0][securityScheme][0]}
	for _, p := range o.Parameters {
		e.Parameters = append(e.Parameters, parameter{p.Name, p.In, a.typeOf(p.Schema), p.Description, p.Required})
	}
	if o.RequestBody != nil {
		body := a.contentOf(o.RequestBody.Content)
		e.Body = &body
	}
	for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
		if number, err := strconv.Atoi(status); err == nil && number < 300 {
			e.Status, e.Answer = status, a.contentOf(o.Responses[status].Content)
		} else {
			e.Errors = append(e.Errors, status)
		}
	}
	return e
}

// contentOf describes a body; its media types have one schema.
func (a *api) contentOf(by map[string]*huma.MediaType) content {
	c := content{Types: slices.Sorted(maps.Keys(by))}
	for _, kind := range c.Types {
		s := by[kind].Schema
		if s == nil {
			continue
		}
		c.Fields = a.fields(s, "", 0)
		if s = a.whole(s); s != nil && s.Type == huma.TypeObject {
			text, err := json.MarshalIndent(a.example(s, 0), "", "  ")
			if err == nil { // of texts, numbers and lists: it does not fail
				c.Example = string(text)
			}
		}
		break
	}
	return c
}

// deepest is how far the fields of fields are described; the document has all.
const deepest = 2

func (a *api) whole(s *huma.Schema) *huma.Schema {
	for s != nil && s.Ref != "" {
		s = a.huma.OpenAPI().Components.Schemas.SchemaFromRef(s.Ref)
	}
	return s
}

func (a *api) fields(s *huma.Schema, under string, depth int) []parameter {
	whole := a.whole(s)
	if whole == nil || depth > deepest {
		return nil
	}
	var all []parameter
	for _, name := range slices.Sorted(maps.Keys(whole.Properties)) {
		property := whole.Properties[name]
		all = append(all, parameter{Name: under + name, Type: a.typeOf(property), Description: property.Description, Required: slices.Contains(whole.Required, name)})
		inner, at := a.whole(property), under+name+"."
		if inner != nil && inner.Type == huma.TypeArray {
			inner, at = a.whole(inner.Items), under+name+"[]."
		}
		if inner != nil && inner.Type == huma.TypeObject {
			all = append(all, a.fields(inner, at, depth+1)...)
		}
	}
	return all
}

func (a *api) typeOf(s *huma.Schema) string {
	if s == nil {
		return ""
	}
	if s.Ref != "" {
		return path.Base(s.Ref)
	}
	switch {
	case len(s.Enum) > 0:
		var names []string
		for _, value := range s.Enum {
			names = append(names, fmt.Sprint(value))
		}
		return strings.Join(names, " | ")
	case s.Type == huma.TypeArray:
		return "list of " + a.typeOf(s.Items)
	case s.Format == "date-time" || s.Format == "binary":
		return s.Format
	case s.Type == "":
		return "anything"
	}
	return s.Type
}

// example makes up a body: what the fields' examples say, else something of
// their types.
func (a *api) example(s *huma.Schema, depth int) any {
	s = a.whole(s)
	if s == nil || depth > deepest+1 {
		return nil
	}
	switch {
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	}
	switch s.Type {
	case huma.TypeObject:
		made := map[string]any{}
		for name, property := range s.Properties {
			made[name] = a.example(property, depth+1)
		}
		return made
	case huma.TypeArray:
		if one := a.example(s.Items, depth+1); one != nil {
			return []any{one}
		}
		return []any{}
	case huma.TypeBoolean:
		return false
	case huma.TypeInteger, huma.TypeNumber:
		return 1
	case huma.TypeString:
		if s.Format == "date-time" {
			return "2026-01-31T12:00:00Z"
		}
		return "…"
	}
	return map[string]any{}
}
