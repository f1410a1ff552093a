package identifier

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// Searchable is an identifier as it is searched by its beginning: its Key, but
// for an e-mail address with its domain in letters, as whoever types the
// beginning of one cannot write it in ASCII.
func Searchable(kind Kind, key string) string {
	if kind != Email {
		return key
	}
	local, domain, _ := strings.Cut(key, "@")
	letters, err := domains.ToUnicode(domain)
	if err != nil {
		return key
	}
	return local + "@" + letters
}

// Beginning reads what was typed as the beginning of an identifier, so that it
// begins the Searchable of those that are meant. It is "" for what begins none
// of the kind. Unlike Normalise it finds people for operators who then look, and
// decides nothing: where a beginning could be written in two ways, it takes one.
func Beginning(kind Kind, raw string, options Options) string {
	text := strings.TrimFunc(raw, unicode.IsSpace)
	if text == "" || len(text) > MaxBytes || !utf8.ValidString(text) || strings.ContainsFunc(text, unprintable) {
		return ""
	}
	switch {
	case kind == Email:
		local, domain, found := strings.Cut(norm.NFKC.String(text), "@")
		if local == "" || strings.ContainsFunc(local, func(r rune) bool { return !localRune(r) }) {
			return ""
		}
		local = lowerASCII(local)
		if !found {
			return local
		}
		return local + "@" + strings.ToLower(domain)
	case kind == Phone:
		return phoneBeginning(text, options.Region)
	case kind == Username:
		lowered, err := precis.UsernameCaseMapped.String(text)
		if err != nil {
			return ""
		}
		return lowered
	case options.Rule == nil || !isASCII(text):
		return ""
	case options.Rule.letters == CaseLower:
		return lowerASCII(text)
	case options.Rule.letters == CaseUpper:
		return strings.ToUpper(text)
	}
	return text
}

// phoneBeginning brings the first digits of a number into E.164: with a plus or
// two zeros before the country code, or as they are dialled within the region.
func phoneBeginning(text, region string) string {
	var digits strings.Builder
	for _, r := range text {
		switch {
		case unicode.Is(unicode.Nd, r):
			digits.WriteString(norm.NFKC.String(string(r)))
		case !phoneSeparator(r):
			return ""
		}
	}
	found := digits.String()
	if !isASCII(found) || found == "" {
		return ""
	}
	if strings.ContainsAny(text, "+＋") {
		return "+" + found
	}
	if international, is := strings.CutPrefix(found, "00"); is {
		return "+" + international
	}
	country := phonenumbers.GetCountryCodeForRegion(strings.ToUpper(region))
	if country == 0 {
		return ""
	}
	return "+" + strconv.Itoa(country) + strings.TrimPrefix(found, phonenumbers.GetNddPrefixForRegion(strings.ToUpper(region), true))
}
