package view

import (
	"slices"
	"strings"
)

// Field is one thing that a Collect page asks for. For the standard claims of
// OpenID Connect Core 5.1 what is left empty is filled in by name: label,
// type, autocomplete.
type Field struct {
	Name         string // the claim; an address's parts are "address.locality" and so on
	Label        Text
	Why          Text   // one line that says why it is asked for
	Type         string // text, email, tel, url, date, number, select, textarea, checkbox
	Autocomplete string // HTML autofill detail tokens
	Required     bool
	Options      []Option // of a select
	MaxLength    int      // in characters, 0 = not bounded here
	Min, Max     string   // of a date or number
	LTR          bool     // written left to right in every language: addresses of machines, numbers
}

// Option is one choice of a select.
type Option struct {
	Value string
	Label Text
}

var fieldTypes = []string{"text", "email", "tel", "url", "date", "number", "select", "textarea", "checkbox"}

// The standard claims: HTML's autofill names (WHATWG HTML 4.10.18.7.1).
var claims = map[string]Field{
	"name":                   {Autocomplete: "name"},
	"given_name":             {Autocomplete: "given-name"},
	"family_name":            {Autocomplete: "family-name"},
	"middle_name":            {Autocomplete: "additional-name"},
	"nickname":               {Autocomplete: "nickname"},
	"preferred_username":     {Autocomplete: "username", LTR: true},
	"birthdate":              {Autocomplete: "bday", Type: "date"},
	"gender":                 {Autocomplete: "sex"},
	"locale":                 {Autocomplete: "language"},
	"zoneinfo":               {LTR: true},
	"email":                  {Autocomplete: "email", Type: "email"},
	"phone_number":           {Autocomplete: "tel", Type: "tel"},
	"picture":                {Type: "url"},
	"profile":                {Type: "url"},
	"website":                {Autocomplete: "url", Type: "url"},
	"address":                {Autocomplete: "street-address", Type: "textarea"},
	"address.formatted":      {Autocomplete: "off", Type: "textarea"},
	"address.street_address": {Autocomplete: "street-address", Type: "textarea"},
	"address.postal_code":    {Autocomplete: "postal-code"},
	"address.locality":       {Autocomplete: "address-level2"},
	"address.region":         {Autocomplete: "address-level1"},
	"address.country":        {Autocomplete: "country-name"},
}

// whole fills in what the claim's name tells.
func (f Field) whole() Field {
	known, ok := claims[f.Name]
	if ok && f.Label.empty() {
		f.Label = T("field." + f.Name)
	}
	if f.Label.empty() {
		f.Label = Literal(f.Name)
	}
	if f.Type == "" {
		f.Type = known.Type
	}
	if len(f.Options) > 0 && f.Type == "" {
		f.Type = "select"
	}
	if !slices.Contains(fieldTypes, f.Type) {
		f.Type = "text"
	}
	if f.Autocomplete == "" {
		f.Autocomplete = known.Autocomplete
	}
	if f.Autocomplete == "" {
		f.Autocomplete = "off"
	}
	f.LTR = f.LTR || known.LTR || slices.Contains([]string{"email", "tel", "url", "number"}, f.Type)
	return f
}

// ID is the field's id in the document: its name without the dots that a
// selector would trip over.
func (f Field) ID() string { return "f-" + strings.ReplaceAll(f.Name, ".", "-") }
