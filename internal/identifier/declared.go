package identifier

import (
	"fmt"
	"regexp"
	"strings"
)

// Case says what the case of letters means in a declared identifier.
type Case string

// The case rules.
const (
	CaseExact Case = "exact" // "a1" and "A1" are two identifiers
	CaseLower Case = "lower" // they are one, compared in lower case
	CaseUpper Case = "upper" // they are one, compared in upper case
)

const (
	maxDeclared = 128 // bytes of an identifier
	maxPattern  = 512 // bytes of a pattern
)

// Rule is what a tenant says of an identifier that it declares. It is safe for
// concurrent use.
type Rule struct {
	pattern *regexp.Regexp
	letters Case
}

// NewRule compiles a rule. The pattern, in the syntax of RE2, must take the
// whole identifier after its case is mapped. Declared identifiers are of
// printable ASCII.
func NewRule(pattern string, letters Case) (*Rule, error) {
	if letters != CaseExact && letters != CaseLower && letters != CaseUpper {
		return nil, fmt.Errorf("the case rule %q is none of %q, %q and %q", letters, CaseExact, CaseLower, CaseUpper)
	}
	if pattern == "" || len(pattern) > maxPattern {
		return nil, fmt.Errorf("the pattern of an identifier has 1 to %d characters", maxPattern)
	}
	// Compiled alone first: "a)|(?:b" would be valid in the group only.
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, fmt.Errorf("the pattern of the identifier: %w", err)
	}
	compiled, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("the pattern of the identifier: %w", err)
	}
	return &Rule{pattern: compiled, letters: letters}, nil
}

func (r *Rule) normalise(text string) (Normalised, Reason) {
	if len(text) > maxDeclared {
		return Normalised{}, TooLong
	}
	if !isASCII(text) {
		return Normalised{}, BadCharacter
	}
	key := text
	switch r.letters {
	case CaseExact:
	case CaseLower:
		key = lowerASCII(text)
	case CaseUpper:
		key = strings.ToUpper(text)
	}
	if !r.pattern.MatchString(key) {
		return Normalised{}, BadPattern
	}
	return Normalised{Key: key, Display: text}, ""
}
