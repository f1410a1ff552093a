package tenant

import (
	"fmt"
	"slices"

	"github.com/cardea-id/cardea/internal/identifier"
)

// Search says what operators find customers by from its first characters on.
// It is empty unless the tenant chooses otherwise: whoever has the database,
// without a key, learns which customers begin alike in what is named here
// (docs/admin-api.md, "What searching gives away").
type Search struct {
	Identifiers []string `json:"identifiers"` // "email", "phone", "username", or names that identifiers declares
	Attributes  []string `json:"attributes"`  // properties of profile that are text; "address.locality" for a part of one
}

// maxSearched is how many identifiers and attributes can be searched: each has
// rows for every customer.
const maxSearched = 8

// attributeField begins the fields that are attributes of a profile.
const attributeField = "profile."

// Fields names what is searched: identifiers by their kinds, attributes with
// "profile." before them.
func (s Search) Fields() []string {
	fields := make([]string, 0, len(s.Identifiers)+len(s.Attributes))
	for _, name := range s.Identifiers {
		fields = append(fields, string(kindNamed(name)))
	}
	for _, name := range s.Attributes {
		fields = append(fields, attributeField+name)
	}
	return fields
}

func (s Search) equal(other Search) bool { return slices.Equal(s.Fields(), other.Fields()) }

// kindNamed is the kind of an identifier that settings name.
func kindNamed(name string) identifier.Kind {
	switch kind := identifier.Kind(name); kind {
	case identifier.Email, identifier.Phone, identifier.Username:
		return kind
	}
	return identifier.Declared(name)
}

func (s Search) check(declared []DeclaredIdentifier, schema *ProfileSchema) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if n := len(s.Identifiers) + len(s.Attributes); n > maxSearched {
		fault("search names %d identifiers and attributes; it has at most %d", n, maxSearched)
	}
	seen := map[string]bool{}
	for _, field := range s.Fields() {
		if seen[field] {
			fault("search names %q twice", field)
		}
		seen[field] = true
	}
	for _, name := range s.Identifiers {
		_, own := kindNamed(name).DeclaredName()
		if own && !slices.ContainsFunc(declared, func(d DeclaredIdentifier) bool { return d.Name == name }) {
			fault("search.identifiers names %q, which is neither email, phone, username nor declared in identifiers", name)
		}
	}
	for _, name := range s.Attributes {
		if schema != nil && !slices.ContainsFunc(schema.Attributes(), func(a Attribute) bool { return a.Name == name && a.Type == "string" }) {
			fault("search.attributes names %q, which is no property of profile that is text", name)
		}
	}
	return faults
}
