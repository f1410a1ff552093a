package tenant

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxSchemaBytes is the largest profile schema that is read.
const maxSchemaBytes = 64 << 10

// ProfileSchema checks a customer's profile.
type ProfileSchema struct {
	schema     *jsonschema.Schema
	names      []string
	attributes []Attribute
}

// FieldFault says what is wrong with one property of a profile.
type FieldFault struct {
	Name   string // the top-level property
	Part   string // "address.locality" where it is a part of that, else Name
	Reason string // for an operator: what the schema says
}

// refuseAll keeps a schema from reading files or addresses.
type refuseAll struct{}

func (refuseAll) Load(url string) (any, error) {
	return nil, fmt.Errorf("a profile schema may not refer to %s", url)
}

// CompileProfile reads a JSON Schema for profiles. It must be an object that
// declares its properties and refuses others, as only what is declared is kept.
func CompileProfile(text []byte) (*ProfileSchema, error) {
	if len(text) > maxSchemaBytes {
		return nil, fmt.Errorf("profile: the schema has %d bytes; it has at most %d", len(text), maxSchemaBytes)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("profile: not JSON: %w", err)
	}
	root, isObject := document.(map[string]any)
	if !isObject || root["type"] != "object" || root["additionalProperties"] != false {
		return nil, errors.New(`profile: the schema needs "type": "object" and "additionalProperties": false`)
	}
	properties, isObject := root["properties"].(map[string]any)
	if !isObject {
		return nil, errors.New(`profile: the schema needs "properties"`)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(refuseAll{})
	compiler.DefaultDraft(jsonschema.Draft2020)
	const url = "profile.json"
	if err := compiler.AddResource(url, document); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	schema, err := compiler.Compile(url)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	compiled := &ProfileSchema{schema: schema}
	if compiled.attributes, err = attributesOf(text); err != nil {
		return nil, err
	}
	for name := range properties {
		compiled.names = append(compiled.names, name)
	}
	slices.Sort(compiled.names)
	return compiled, nil
}

// Names returns the declared properties in order.
func (p *ProfileSchema) Names() []string { return p.names }

// Validate returns what is wrong with profile, a line a property; nothing when
// it is right.
func (p *ProfileSchema) Validate(profile map[string]any) []FieldFault {
	asAny := make(map[string]any, len(profile))
	for name, value := range profile {
		asAny[name] = value
	}
	err := p.schema.Validate(asAny)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return []FieldFault{{Reason: err.Error()}}
	}
	var faults []FieldFault
	var walk func(v *jsonschema.ValidationError)
	walk = func(v *jsonschema.ValidationError) {
		if len(v.Causes) == 0 {
			name := ""
			if len(v.InstanceLocation) > 0 {
				name = v.InstanceLocation[0]
			}
			reason := v.Error()
			if at := strings.LastIndex(reason, ": "); at >= 0 {
				reason = reason[at+2:]
			}
			faults = append(faults, faultsAt(name, reason, v)...)
		}
		for _, cause := range v.Causes {
			walk(cause)
		}
	}
	walk(invalid)
	return faults
}

// faultsAt tells what one mistake is about: what is missing is not there to be
// pointed at.
func faultsAt(name, reason string, v *jsonschema.ValidationError) []FieldFault {
	part := strings.Join(v.InstanceLocation[:min(2, len(v.InstanceLocation))], ".")
	required, missing := v.ErrorKind.(*kind.Required)
	if !missing {
		return []FieldFault{{Name: name, Part: part, Reason: reason}}
	}
	var faults []FieldFault
	for _, absent := range required.Missing {
		fault := FieldFault{Name: name, Part: name + "." + absent, Reason: reason}
		if name == "" {
			fault.Name, fault.Part = absent, absent
		}
		faults = append(faults, fault)
	}
	return faults
}
