package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// referenceWidth is where the explanations in the reference are wrapped.
const referenceWidth = 100

// Reference returns a YAML file with every key at its default, explained. Read
// as a file, it changes nothing.
func Reference() string {
	var text strings.Builder
	text.WriteString("# Every setting of Cardea with its default. A file needs only what differs.\n" +
		"# The variable named with each key, if set, counts more than the file.\n")
	section := ""
	for _, f := range fieldsOf(Default()) {
		indent, name := "", f.key
		if before, after, nested := strings.Cut(f.key, "."); nested {
			indent, name = "  ", after
			if before != section {
				section = before
				text.WriteString("\n" + section + ":\n")
			} else {
				text.WriteString("\n")
			}
		} else {
			text.WriteString("\n")
		}
		wrap(&text, indent+"# ", f.doc)
		if notes := f.notes(); notes != "" {
			wrap(&text, indent+"# ", notes)
		}
		text.WriteString(indent + "# " + f.env + "\n")
		if !f.envOnly { // a secret of the environment has its variable's name alone
			text.WriteString(indent + name + ": " + f.yamlDefault() + "\n")
		}
	}
	return text.String()
}

func (f field) notes() string {
	var notes []string
	if f.enum != nil {
		notes = append(notes, "One of "+strings.Join(f.enum, ", ")+".")
	}
	if f.min != "" || f.max != "" {
		notes = append(notes, "From "+f.min+" to "+f.max+".")
	}
	if f.envOnly {
		if f.list() {
			notes = append(notes, "Several are separated by commas.")
		}
		notes = append(notes, "Only in the environment, never in this file:")
	}
	return strings.Join(notes, " ")
}

func (f field) yamlDefault() string {
	switch f.value.Interface().(type) {
	case int, int64, float64, time.Duration:
		return f.preset
	case []netip.Prefix, []string:
		return "[" + f.preset + "]"
	}
	return strconv.Quote(f.preset)
}

func wrap(text *strings.Builder, prefix, words string) {
	line := strings.TrimSuffix(prefix, " ")
	for word := range strings.FieldsSeq(words) {
		if len(line)+1+len(word) > referenceWidth {
			text.WriteString(line + "\n")
			line = strings.TrimSuffix(prefix, " ")
		}
		line += " " + word
	}
	text.WriteString(line + "\n")
}
