package identifier

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

const maxUsername = 64 // code points

// username applies the UsernameCaseMapped profile (RFC 8265, section 3.3) and
// what it leaves to us: of ASCII's signs only . _ - and + are taken; a name
// that reads as an e-mail address or a phone number is refused, as it could
// lock out its owner (SECURITY O6); Latin, Greek and Cyrillic letters do not
// mix, as many of them look the same.
func username(text string) (Normalised, Reason) {
	if utf8.RuneCountInString(text) > maxUsername {
		return Normalised{}, TooLong
	}
	if strings.ContainsAny(text, "@＠") || phoneLike(text) {
		return Normalised{}, OtherKind
	}
	// The profile lowers before it looks, which would turn Kelvin's K into k;
	// section 3.3.1 wants such characters refused first.
	folded := width.Fold.String(text)
	if !norm.NFKC.IsNormalString(norm.NFC.String(folded)) || singleton(folded) {
		return Normalised{}, BadCharacter
	}
	key, err := precis.UsernameCaseMapped.String(text)
	if err != nil {
		return Normalised{}, BadCharacter
	}
	// RFC 8264, section 7: apply until the text is stable, refuse if it won't be.
	again, err := precis.UsernameCaseMapped.String(key)
	if err != nil || again != key || !norm.NFKC.IsNormalString(key) {
		return Normalised{}, BadCharacter
	}
	for _, r := range key {
		if r < 0x80 && !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._-+", r)) {
			return Normalised{}, BadCharacter
		}
	}
	if !strings.ContainsFunc(key, func(r rune) bool { return unicode.In(r, unicode.L, unicode.N) }) {
		return Normalised{}, BadForm
	}
	if phoneLike(key) {
		return Normalised{}, OtherKind
	}
	if mixed(key) {
		return Normalised{}, MixedScripts
	}
	return Normalised{Key: key, Display: text}, ""
}

// singleton tells whether text has a character that Unicode replaces by
// another single one (Kelvin's K, Ångström's Å).
func singleton(text string) bool {
	for _, r := range text {
		if r >= 0x80 && !norm.NFC.IsNormalString(string(r)) {
			return true
		}
	}
	return false
}

// mixed tells whether text has letters of more than one of the scripts whose
// letters are taken for each other.
func mixed(text string) bool {
	seen := 0
	for _, script := range []*unicode.RangeTable{unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Armenian, unicode.Cherokee, unicode.Coptic} {
		if strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(script, r) }) {
			seen++
		}
	}
	return seen > 1
}
