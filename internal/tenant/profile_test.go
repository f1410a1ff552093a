package tenant_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/tenant"
)

func standard(t *testing.T) *tenant.ProfileSchema {
	t.Helper()
	schema, err := tenant.CompileProfile(tenant.Defaults().Profile)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestStandardProfile(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile map[string]any
		wrong   []string // the properties
	}{
		{"nothing", map[string]any{}, nil},
		{"nil", nil, nil},
		{"a name", map[string]any{"given_name": "Ana", "family_name": "Lima"}, nil},
		{"an address", map[string]any{"address": map[string]any{"country": "PT"}}, nil},
		{"a birth date", map[string]any{"birthdate": "1990-02-28"}, nil},
		{"a birth year", map[string]any{"birthdate": "1990"}, nil},
		{"a birth date without the year", map[string]any{"birthdate": "0000-02-28"}, nil},
		{"a birth date that is none", map[string]any{"birthdate": "28.2.1990"}, []string{"birthdate"}},
		{"a number for a name", map[string]any{"name": 1.0}, []string{"name"}},
		{"null for a name", map[string]any{"name": nil}, []string{"name"}},
		{"an empty name", map[string]any{"given_name": ""}, []string{"given_name"}},
		{"a long name", map[string]any{"given_name": strings.Repeat("a", 101)}, []string{"given_name"}},
		{"two wrong ones", map[string]any{"given_name": "", "locale": 1.0}, []string{"given_name", "locale"}},
		{"something deep in an address", map[string]any{"address": map[string]any{"country": 1.0}}, []string{"address"}},
		{"something unknown in an address", map[string]any{"address": map[string]any{"planet": "Mars"}}, []string{"address"}},
		{"something unknown", map[string]any{"shoe_size": "43"}, []string{""}},
		// Second door to F9: what is proved is no part of the profile.
		{"a verified address", map[string]any{"email_verified": true}, []string{""}},
		{"an e-mail address", map[string]any{"email": "v@example.com"}, []string{""}},
	} {
		var wrong []string
		for _, fault := range standard(t).Validate(c.profile) {
			wrong = append(wrong, fault.Name)
			if fault.Reason == "" {
				t.Errorf("%s: no reason", c.name)
			}
		}
		slices.Sort(wrong)
		if !slices.Equal(wrong, c.wrong) {
			t.Errorf("%s: wrong are %q", c.name, wrong)
		}
	}
	if names := standard(t).Names(); !slices.IsSorted(names) || !slices.Contains(names, "birthdate") {
		t.Errorf("names %q", names)
	}
}

// TestSchemasReachNothing: a schema is what an operator writes, and the server
// that compiles it reads no file and no address for it.
func TestSchemasReachNothing(t *testing.T) {
	with := func(property string) string {
		return `{"type": "object", "additionalProperties": false, "properties": {"a": ` + property + `}}`
	}
	for name, text := range map[string]string{
		"a file":               with(`{"$ref": "file:///etc/passwd"}`),
		"a relative file":      with(`{"$ref": "other.json"}`),
		"a web address":        with(`{"$ref": "http://127.0.0.1:9/schema"}`),
		"a fragment elsewhere": with(`{"$ref": "https://evil.example/schema#/a"}`),
		"a dynamic reference":  with(`{"$dynamicRef": "https://evil.example/schema"}`),
		"a dialect of its own": `{"$schema": "https://evil.example/dialect", "type": "object", "additionalProperties": false, "properties": {}}`,
		"another base":         `{"$id": "file:///etc/", "type": "object", "additionalProperties": false, "properties": {"a": {"$ref": "passwd"}}}`,
	} {
		if _, err := tenant.CompileProfile([]byte(text)); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
	if _, err := tenant.CompileProfile([]byte(with(`{"$ref": "#/properties/b"}, "b": {"type": "string"}`))); err != nil {
		t.Errorf("a reference within: %v", err)
	}
}

func TestSchemasDeclareWhatTheyKeep(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":              ``,
		"no JSON":              `type: object`,
		"an array":             `[]`,
		"true":                 `true`,
		"another type":         `{"type": "string", "additionalProperties": false, "properties": {}}`,
		"no type":              `{"additionalProperties": false, "properties": {}}`,
		"open":                 `{"type": "object", "properties": {}}`,
		"open by words":        `{"type": "object", "additionalProperties": true, "properties": {}}`,
		"without properties":   `{"type": "object", "additionalProperties": false}`,
		"a wrong keyword":      `{"type": "object", "additionalProperties": false, "properties": {"a": {"type": "text"}}}`,
		"a pattern that fails": `{"type": "object", "additionalProperties": false, "properties": {"a": {"pattern": "("}}}`,
		"two documents":        `{"type": "object", "additionalProperties": false, "properties": {}} {}`,
		"too long":             `{"type": "object", "additionalProperties": false, "properties": {}, "description": "` + strings.Repeat("a", 65<<10) + `"}`,
	} {
		if _, err := tenant.CompileProfile([]byte(text)); err == nil || !strings.Contains(err.Error(), "profile") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
