package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// readYAML reads one YAML document into fields.
func readYAML(name string, data []byte, fields []field, given map[string]string) []Fault {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil // an empty file: every default holds
	}
	if err != nil {
		return []Fault{{Key: name, Source: name, Problem: "is not YAML (" + strings.TrimPrefix(err.Error(), "yaml: ") + ")", Advice: "correct it there"}}
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return []Fault{{Key: name, Source: name, Problem: "has more than one document", Advice: "keep one"}}
	}
	reader := yamlReader{file: name, fields: fields, given: given}
	if root := document.Content[0]; root.Kind != yaml.ScalarNode || root.Tag != "!!null" {
		reader.mapping(root, "")
	}
	return reader.faults
}

type yamlReader struct {
	file   string
	fields []field
	given  map[string]string
	faults []Fault
}

func (r *yamlReader) fault(node *yaml.Node, key, problem, advice string) {
	if key == "" {
		key = r.file
	}
	r.faults = append(r.faults, Fault{Key: key, Source: fmt.Sprintf("%s:%d", r.file, node.Line), Problem: problem, Advice: advice})
}

// mapping reads the keys below prefix, "" or "database.".
func (r *yamlReader) mapping(node *yaml.Node, prefix string) {
	section := strings.TrimSuffix(prefix, ".")
	if node.Kind != yaml.MappingNode {
		r.fault(node, section, "is not a list of keys", "write one key with its value on each line")
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		if name.Kind != yaml.ScalarNode || name.Tag == "!!merge" {
			r.fault(name, section, "has an alias or a merge in place of a key", "write the keys out")
			continue
		}
		if strings.Contains(name.Value, ".") {
			r.fault(name, prefix+name.Value, "has a dot", "write the section and, below it and indented, the key")
			continue
		}
		key := prefix + name.Value
		if seen[key] {
			r.fault(name, key, "comes twice", "keep one")
			continue
		}
		seen[key] = true
		at := slices.IndexFunc(r.fields, func(f field) bool { return f.key == key })
		switch {
		case at >= 0:
			r.leaf(r.fields[at], value)
		case slices.ContainsFunc(r.fields, func(f field) bool { return strings.HasPrefix(f.key, key+".") }):
			if value.Kind == yaml.ScalarNode && value.Tag == "!!null" {
				continue // a section whose keys are all commented out
			}
			r.mapping(value, key+".")
		default:
			var known []string
			for _, f := range r.fields {
				known = append(known, f.key)
				if section, _, found := strings.Cut(f.key, "."); found {
					known = append(known, section)
				}
			}
			r.fault(name, key, "is not a known key", "remove it"+similar(key, known))
		}
	}
}

// leaf reads one key's value.
func (r *yamlReader) leaf(f field, node *yaml.Node) {
	source := fmt.Sprintf("%s:%d", r.file, node.Line)
	r.given[f.key] = source
	if f.envOnly {
		r.fault(node, f.key, "must not stand in the file", "give it in the environment as "+f.env)
		return
	}
	if f.list() {
		parts, ok := scalars(node)
		if !ok {
			example := "[10.0.0.0/8, 192.0.2.7]"
			if _, prefixes := f.value.Interface().([]netip.Prefix); !prefixes {
				example = "[/a/file, /another/file]"
			}
			r.fault(node, f.key, "is not a list", "write it as "+example)
			return
		}
		if problem, advice := f.setList(parts); problem != "" {
			r.fault(node, f.key, problem, advice)
		}
		return
	}
	want, advice := "!!str", "write its text, in quotes"
	switch f.value.Interface().(type) {
	case int, int64:
		want, advice = "!!int", "write a whole number, without quotes"
	case float64:
		want, advice = "!!float", "write a number, without quotes"
		if node.Tag == "!!int" {
			want = node.Tag
		}
	case time.Duration:
		advice = "write a time with its unit, as in 30s"
	}
	switch {
	case node.Kind == yaml.AliasNode:
		r.fault(node, f.key, "is an alias", "write its value out")
	case node.Kind != yaml.ScalarNode:
		r.fault(node, f.key, "is a list or has keys of its own", advice)
	case node.Tag == "!!null":
		r.fault(node, f.key, "has no value", "give one or remove the key")
	case node.Tag != want:
		kind := map[string]string{"!!bool": "true or false", "!!int": "a number", "!!float": "a number", "!!str": "text", "!!timestamp": "a date"}[node.Tag]
		if kind == "" {
			kind = "of the type " + node.Tag
		}
		r.fault(node, f.key, "is "+kind, advice)
	default:
		if problem, advice := f.set(node.Value); problem != "" {
			r.fault(node, f.key, problem, advice)
		}
	}
}

// scalars returns the texts of a list.
func scalars(node *yaml.Node) ([]string, bool) {
	if node.Kind != yaml.SequenceNode {
		return nil, false
	}
	var parts []string
	for _, item := range node.Content {
		if item.Kind != yaml.ScalarNode || item.Tag != "!!str" {
			return nil, false
		}
		parts = append(parts, item.Value)
	}
	return parts, true
}
