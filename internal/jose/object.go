package jose

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// member is one member of a JSON object, its value as it was written.
type member struct {
	name  string
	value json.RawMessage
}

// object reads a JSON object's members in their order. A name that comes
// twice, compared after its escapes are read, refuses the object: readers
// differ on which of the two counts (RFC 8725, section 2.4). Names are
// compared exactly, unlike encoding/json does.
func object(data []byte) ([]member, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, fmt.Errorf("%w: not JSON", ErrMalformed)
	}
	// What follows relies on data being valid JSON.
	at := skipSpace(data, 0)
	if data[at] != '{' {
		return nil, fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	var members []member
	seen := map[string]bool(nil)
	for at = skipSpace(data, at+1); data[at] != '}'; at = skipSpace(data, at) {
		if data[at] == ',' {
			at = skipSpace(data, at+1)
		}
		end := skipValue(data, at)
		name, err := text(data[at:end])
		if err != nil {
			return nil, err
		}
		at = skipSpace(data, skipSpace(data, end)+1) // past the colon
		if end = skipValue(data, at); end < 0 {
			return nil, fmt.Errorf("%w: nested deeper than %d", ErrMalformed, maxDepth)
		}
		if len(members) >= 8 && seen == nil {
			seen = make(map[string]bool, 16)
			for _, m := range members {
				seen[m.name] = true
			}
		}
		twice := seen[name]
		if seen == nil {
			_, twice = find(members, name)
		} else {
			seen[name] = true
		}
		if twice {
			return nil, fmt.Errorf("%w: a member comes twice", ErrMalformed)
		}
		members = append(members, member{name, data[at:end]})
		at = end
	}
	return members, nil
}

// find returns the value of the member, and whether it is there.
func find(members []member, name string) (json.RawMessage, bool) {
	for _, m := range members {
		if m.name == name {
			return m.value, true
		}
	}
	return nil, false
}

// text reads a JSON string.
func text(value json.RawMessage) (string, error) {
	if len(value) < 2 || value[0] != '"' {
		return "", fmt.Errorf("%w: a member is not a string", ErrMalformed)
	}
	inner := value[1 : len(value)-1]
	for _, c := range inner {
		if c == '\\' {
			var read string
			if err := json.Unmarshal(value, &read); err != nil {
				return "", fmt.Errorf("%w: %w", ErrMalformed, err)
			}
			return read, nil
		}
	}
	return string(inner), nil
}

func skipSpace(data []byte, at int) int {
	for at < len(data) && (data[at] == ' ' || data[at] == '\t' || data[at] == '\r' || data[at] == '\n') {
		at++
	}
	return at
}

// maxDepth bounds the nesting of a token's JSON below its top.
const maxDepth = 32

// skipValue returns where the value that begins at at ends, or -1 if it is
// nested too deep.
func skipValue(data []byte, at int) int {
	depth := 0
	for at < len(data) {
		switch data[at] {
		case '"':
			for at++; data[at] != '"'; at++ {
				if data[at] == '\\' {
					at++
				}
			}
			if depth == 0 {
				return at + 1
			}
		case '{', '[':
			if depth++; depth > maxDepth {
				return -1
			}
		case '}', ']':
			if depth == 0 {
				return at // of a number or word before the end of its object
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',', ' ', '\t', '\r', '\n', ':':
			if depth == 0 {
				return at
			}
		}
		at++
	}
	return at
}
