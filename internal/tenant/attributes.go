package tenant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Attribute is one property of a profile as its schema declares it, for whoever
// asks for it. A property that is an object is told of by its parts.
type Attribute struct {
	Name        string // the claim, or "address.locality" for a part
	Title       string // in the tenant's own words; may be empty
	Description string
	Type        string   // "string", "integer", "number" or "boolean"
	Format      string   // "email", "date", "uri" or another of JSON Schema's
	Options     []string // the only values, where the schema names them
	MaxLength   int      // in characters, 0 for what the schema does not bound
	Required    bool
	ReadOnly    bool // it is shown to the customer and set by others
	Hidden      bool // it is not asked for on the profile's page while it is empty: "x-cardea-hidden"
}

// Top is the property that the attribute is, or is a part of.
func (a Attribute) Top() string {
	top, _, _ := strings.Cut(a.Name, ".")
	return top
}

// maxAttribute is the most bytes of one attribute that are read from a form.
const maxAttribute = 2000

// declared is what is read of a property's schema.
type declared struct {
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Type        json.RawMessage `json:"type"`
	Format      string          `json:"format"`
	Enum        []any           `json:"enum"`
	MaxLength   int             `json:"maxLength"`
	ReadOnly    bool            `json:"readOnly"`
	Hidden      bool            `json:"x-cardea-hidden"`
	Required    []string        `json:"required"`
	Properties  json.RawMessage `json:"properties"`
}

// Attributes returns what a form can ask for, in the order in which the schema
// declares it. Lists, and objects within objects, are not among them.
func (p *ProfileSchema) Attributes() []Attribute { return p.attributes }

// attributesOf reads the properties of an object's schema.
func attributesOf(text []byte) ([]Attribute, error) {
	var root declared
	if err := json.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	var attributes []Attribute
	err := eachProperty(root.Properties, func(name string, said declared) error {
		required := slices.Contains(root.Required, name)
		if said.kind() != "object" {
			attributes = append(attributes, said.attributes(name, required)...)
			return nil
		}
		return eachProperty(said.Properties, func(part string, of declared) error {
			if of.kind() == "object" {
				return nil
			}
			of.ReadOnly, of.Hidden = of.ReadOnly || said.ReadOnly, of.Hidden || said.Hidden
			attributes = append(attributes, of.attributes(name+"."+part, required && slices.Contains(said.Required, part))...)
			return nil
		})
	})
	return attributes, err
}

// eachProperty reads the properties of an object's schema in their order.
func eachProperty(text []byte, each func(name string, said declared) error) error {
	if len(text) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if _, err := decoder.Token(); err != nil { // the brace
		return fmt.Errorf("profile: %w", err)
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		var property json.RawMessage
		if err := decoder.Decode(&property); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		var said declared
		if err := json.Unmarshal(property, &said); err != nil {
			continue // true and false are schemas too, and say nothing
		}
		if err := each(fmt.Sprint(name), said); err != nil {
			return err
		}
	}
	return nil
}

// kind is the type that a property has beside null, "" for one of several.
func (d declared) kind() string {
	var one string
	if json.Unmarshal(d.Type, &one) == nil {
		return one
	}
	var several []string
	if json.Unmarshal(d.Type, &several) != nil {
		if len(d.Enum) > 0 {
			return "string"
		}
		return ""
	}
	several = slices.DeleteFunc(several, func(kind string) bool { return kind == "null" })
	if len(several) == 1 {
		return several[0]
	}
	return ""
}

func (d declared) attributes(name string, required bool) []Attribute {
	a := Attribute{Name: name, Title: d.Title, Description: d.Description, Type: d.kind(), Format: d.Format,
		MaxLength: d.MaxLength, Required: required, ReadOnly: d.ReadOnly, Hidden: d.Hidden}
	if !slices.Contains([]string{"string", "integer", "number", "boolean"}, a.Type) {
		return nil
	}
	for _, value := range d.Enum {
		if text, ok := value.(string); ok && text != "" {
			a.Options = append(a.Options, text)
		}
	}
	return []Attribute{a}
}

// Fault is what is wrong with what was typed for an attribute.
type Fault struct {
	Name    string // of the attribute
	Missing bool   // it is asked for and empty
}

// ReadForm reads what was typed for attributes into the profile that these
// leave of the one before: what is empty is taken out, what is not among the
// attributes stays as it is. The profile before is not changed.
func (p *ProfileSchema) ReadForm(before map[string]any, attributes []Attribute, typed func(name string) string) (map[string]any, []Fault) {
	profile := map[string]any{}
	for name, value := range before {
		profile[name] = value
	}
	var faults []Fault
	wrong := func(name string, missing bool) {
		if !slices.ContainsFunc(faults, func(f Fault) bool { return f.Name == name }) {
			faults = append(faults, Fault{Name: name, Missing: missing})
		}
	}
	for _, a := range attributes {
		text := a.Trimmed(typed(a.Name))
		value, ok := a.read(text)
		switch {
		case text == "" && a.Required && a.Type != "boolean":
			wrong(a.Name, true)
		case !ok:
			wrong(a.Name, false)
		}
		put(profile, a.Name, value)
	}
	for _, fault := range p.Validate(profile) {
		for _, a := range attributes {
			if a.Name == fault.Name || a.Name == fault.Part {
				_, told := Lookup(profile, a.Name)
				wrong(a.Name, !told)
			}
		}
	}
	return profile, faults
}

// read is the value that was typed, nil for none, and whether it can be one.
func (a Attribute) read(text string) (any, bool) {
	if a.Type == "boolean" {
		return text != "", true
	}
	if text == "" {
		return nil, true
	}
	if len(text) > maxAttribute || a.MaxLength > 0 && len([]rune(text)) > a.MaxLength {
		return text, false
	}
	switch a.Type {
	case "integer":
		n, err := strconv.ParseInt(text, 10, 64)
		return float64(n), err == nil && n < 1<<53 && n > -1<<53
	case "number":
		n, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
		return n, err == nil && !math.IsInf(n, 0) && !math.IsNaN(n)
	}
	switch a.Format {
	case "email":
		address, err := mail.ParseAddress(text)
		return text, err == nil && address.Address == text
	case "date":
		_, err := time.Parse(time.DateOnly, text)
		return text, err == nil
	case "uri":
		u, err := url.Parse(text)
		return text, err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
	}
	return text, true
}

// put sets an attribute of a profile, or takes it out where it is nil. Objects
// that it changes are made anew.
func put(profile map[string]any, name string, value any) {
	top, part, within := strings.Cut(name, ".")
	if !within {
		if value == nil {
			delete(profile, top)
		} else {
			profile[top] = value
		}
		return
	}
	object := map[string]any{}
	if now, is := profile[top].(map[string]any); is {
		for name, value := range now {
			object[name] = value
		}
	}
	put(object, part, value)
	if len(object) == 0 {
		delete(profile, top)
	} else {
		profile[top] = object
	}
}

// Lookup returns an attribute of a profile.
func Lookup(profile map[string]any, name string) (any, bool) {
	top, part, within := strings.Cut(name, ".")
	value, told := profile[top]
	if !within || !told {
		return value, told
	}
	object, is := value.(map[string]any)
	if !is {
		return nil, false
	}
	return Lookup(object, part)
}

// Trimmed is what was typed without what forms add to it: space around it, and
// the line ends of HTML (WHATWG HTML, section 4.10.21.4).
func (a Attribute) Trimmed(typed string) string {
	return strings.TrimSpace(strings.ReplaceAll(typed, "\r\n", "\n"))
}

// Typed is an attribute of a profile as it stands in a form.
func (a Attribute) Typed(profile map[string]any) string {
	value, _ := Lookup(profile, a.Name)
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	case bool:
		if !value {
			return ""
		}
		return "true"
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	default:
		return fmt.Sprint(value)
	}
}
