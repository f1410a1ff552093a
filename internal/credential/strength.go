package credential

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go"
	"github.com/ccojocar/zxcvbn-go/frequency"
	"github.com/ccojocar/zxcvbn-go/matching"
)

// Policy is what a tenant asks of new passwords. There are no composition
// rules and no expiry (NIST SP 800-63B-4, section 3.1.1.2).
type Policy struct {
	// MinLength is in code points: 15 where the password is the only factor; a
	// tenant may lower it to 8.
	MinLength int `json:"min_length" yaml:"min_length"`
	// MinScore is the least strength, 0 to 4, on zxcvbn's scale: 3 stands for
	// 10⁸ guesses at least.
	MinScore int `json:"min_score" yaml:"min_score"`
}

// The bounds of a policy's length.
const (
	SingleFactorMinLength = 15
	LowestMinLength       = 8
	highestMinLength      = 64 // whatever the policy, 64 code points must do
)

// DefaultPolicy is the policy for passwords that are the only factor.
func DefaultPolicy() Policy { return Policy{MinLength: SingleFactorMinLength, MinScore: 3} }

// ErrPolicy says that a policy is out of bounds.
var ErrPolicy = errors.New("password policy out of bounds")

// Check tells whether a tenant may choose this policy.
func (p Policy) Check() error {
	if p.MinLength < LowestMinLength || p.MinLength > highestMinLength {
		return fmt.Errorf("%w: min_length is %d, but must be %d to %d", ErrPolicy, p.MinLength, LowestMinLength, highestMinLength)
	}
	if p.MinScore < 0 || p.MinScore > 4 {
		return fmt.Errorf("%w: min_score is %d, but must be 0 to 4", ErrPolicy, p.MinScore)
	}
	return nil
}

// Lowered tells whether the policy allows passwords that are too short to be
// the only factor, which is worth a warning.
func (p Policy) Lowered() bool { return p.MinLength < SingleFactorMinLength }

// Code names what is wrong with a password.
type Code string

// What may be wrong with a password.
const (
	TooShort         Code = "too_short"         // Min is set
	TooLong          Code = "too_long"          // Max is set
	Malformed        Code = "malformed"         // empty or not UTF-8
	Common           Code = "common"            // among the most common passwords
	Breached         Code = "breached"          // found in a list of leaked passwords
	ContainsPersonal Code = "contains_personal" // little more than the customer's or the brand's own words
	TooGuessable     Code = "too_guessable"     // words, dates and patterns that are tried first
)

// Finding is one reason why a password is refused, as data for whoever words it.
type Finding struct {
	Code Code `json:"code"`
	Min  int  `json:"min,omitempty"` // code points
	Max  int  `json:"max,omitempty"` // code points
}

// Assessment is what Checker thinks of a password. Without findings it is
// accepted. Score is 0 to 4 on zxcvbn's scale.
type Assessment struct {
	Findings []Finding `json:"findings,omitempty"`
	Score    int       `json:"score"`
}

// OK tells whether the password is accepted.
func (a Assessment) OK() bool { return len(a.Findings) == 0 }

// Has tells whether the assessment has a finding of this code.
func (a Assessment) Has(code Code) bool {
	return slices.ContainsFunc(a.Findings, func(f Finding) bool { return f.Code == code })
}

// Checker judges new passwords. It is safe for concurrent use.
type Checker struct {
	common   map[string]struct{}
	breached *BreachedList
}

// NewChecker makes a Checker. The list of the most common passwords, about
// 7,000, is part of zxcvbn-go; the breached list may be nil.
func NewChecker(breached *BreachedList) *Checker {
	return &Checker{common: common(), breached: breached}
}

// common are the most common passwords. zxcvbn-go has made its own of its lists
// when it was loaded, and reads them no more: the 2 MB are let go.
var common = sync.OnceValue(func() map[string]struct{} {
	words := map[string]struct{}{}
	for _, word := range frequency.Lists["Passwords"].List {
		words[strings.ToLower(word)] = struct{}{}
	}
	clear(frequency.Lists)
	return words
})

// Check judges a new password by the tenant's policy. The words are those that
// have to do with the customer and the brand, see ContextWords. An error means
// that the breached list could not be read.
func (c *Checker) Check(policy Policy, p Password, words []string) (Assessment, error) {
	switch {
	case errors.Is(p.fault, ErrTooLong):
		return Assessment{Findings: []Finding{{Code: TooLong, Max: MaxLength}}}, nil
	case p.fault != nil:
		return Assessment{Findings: []Finding{{Code: Malformed}}}, nil //nolint:nilerr // told as a finding
	}
	var a Assessment
	if p.length < policy.MinLength {
		a.Findings = append(a.Findings, Finding{Code: TooShort, Min: policy.MinLength})
	}
	readings := readings(p.text)
	if slices.ContainsFunc(readings, c.isCommon) {
		a.Findings = append(a.Findings, Finding{Code: Common})
	}
	if c.breached != nil {
		found, err := c.breached.Contains(p)
		if err != nil {
			return Assessment{}, err
		}
		if found {
			a.Findings = append(a.Findings, Finding{Code: Breached})
		}
	}
	words = cleanWords(words)
	if slices.ContainsFunc(readings, func(r string) bool { return isPersonal(r, words) }) {
		a.Findings = append(a.Findings, Finding{Code: ContainsPersonal})
	}
	a.Score = score(readings, words)
	if a.Score < policy.MinScore && len(a.Findings) == 0 {
		a.Findings = append(a.Findings, Finding{Code: TooGuessable})
	}
	return a, nil
}

func (c *Checker) isCommon(text string) bool {
	_, found := c.common[text]
	return found
}

// ContextWords splits e-mail addresses, names and brands into the words that a
// password should not be made of: "ana.lopez@example.com" gives "ana.lopez",
// "ana", "lopez" and "example".
func ContextWords(texts ...string) []string {
	var words []string
	for _, text := range texts {
		local, domain, isMail := strings.Cut(text, "@")
		if isMail {
			if dot := strings.LastIndexByte(domain, '.'); dot >= 0 {
				domain = domain[:dot] // the top-level domain is nobody's own word
			}
			words = append(words, local)
		}
		for _, part := range []string{local, domain} {
			words = append(words, strings.FieldsFunc(part, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })...)
		}
	}
	return cleanWords(words)
}

const (
	minWordLength   = 3  // shorter ones are in everything
	maxWords        = 32 // bounds the work for crafted input
	maxWordBytes    = 64
	minOwnRemainder = 8  // code points that must remain without the words
	maxScoredLength = 64 // code points; what follows can only add strength
)

func cleanWords(words []string) []string {
	clean := make([]string, 0, len(words))
	for _, word := range words {
		word = strings.ToLower(strings.TrimSpace(word))
		if utf8.RuneCountInString(word) >= minWordLength && len(word) <= maxWordBytes && !slices.Contains(clean, word) {
			clean = append(clean, word)
		}
	}
	// Longest first, so that removing "ana" doesn't hide "ana.lopez"; and those
	// count that a customer is likeliest to use.
	slices.SortStableFunc(clean, func(a, b string) int { return len(b) - len(a) })
	return clean[:min(len(clean), maxWords)]
}

// isPersonal tells whether less than minOwnRemainder characters remain of a
// password once the words are taken out.
func isPersonal(text string, words []string) bool {
	rest := text
	for _, word := range words {
		rest = strings.ReplaceAll(rest, word, " ")
	}
	if rest == text {
		return false
	}
	own := 0
	for _, r := range rest {
		if r != ' ' {
			own++
		}
	}
	return own < minOwnRemainder
}

// readings are the ways in which a cracker reads a password: as it is, and with
// the usual substitutions undone, of which "1" has two. They are in lower case.
// zxcvbn's own matcher for this tries every combination, up to 0.3 s for
// crafted input, and is switched off.
func readings(text string) []string {
	all := []string{strings.ToLower(text)}
	for _, one := range []string{"i", "l"} {
		undone := strings.NewReplacer("@", "a", "4", "a", "8", "b", "(", "c", "3", "e", "6", "g", "9", "g",
			"!", "i", "0", "o", "$", "s", "5", "s", "7", "t", "+", "t", "2", "z", "1", one, "|", one).Replace(all[0])
		if !slices.Contains(all, undone) {
			all = append(all, undone)
		}
	}
	return all
}

// score estimates the guesses that a well-informed attacker needs, as a score
// on zxcvbn's scale (Wheeler, USENIX Security 2016).
func score(readings, words []string) int {
	least := math.Inf(1)
	for _, reading := range readings {
		found := zxcvbn.PasswordStrength(standIn(reading), words, matching.FilterL33tMatcher)
		least = min(least, found.Entropy)
	}
	guesses := math.Exp2(least - 1)
	for score, bound := range []float64{1e3, 1e6, 1e8, 1e10} {
		if guesses < bound {
			return score
		}
	}
	return 4
}

// standIn caps the length, and gives each character outside of ASCII an ASCII
// letter in its place, because zxcvbn-go confuses bytes with characters.
// Repetitions and alphabetical runs stay what they are.
func standIn(text string) string {
	out := make([]byte, 0, maxScoredLength)
	for _, r := range text {
		if len(out) == maxScoredLength {
			break
		}
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
		} else {
			out = append(out, byte('a'+r%26))
		}
	}
	return string(out)
}
