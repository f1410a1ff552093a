package identifier

import (
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// The limits of RFC 5321, section 4.5.3.1, in bytes.
const (
	maxEmail     = 254
	maxLocalPart = 64
)

// domains maps a domain as a resolver does (UTS 46, non-transitional), so that
// two spellings share a key exactly when they lead to the same host.
var domains = idna.New(
	idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.CheckHyphens(true),
	idna.CheckJoiners(true), idna.StrictDomainName(true), idna.VerifyDNSLength(true),
)

// email reads one plain address: no display name, no quotes, no comment, no
// list (SECURITY F12).
//
// Of the local part only the letters A to Z are lowered: mailboxes that differ
// in the case of those are one everywhere that matters. Letters outside ASCII
// (RFC 6531) are kept exactly, and refused unless they are already in the form
// that Unicode's compatibility normalisation gives: any folding of them would
// one day hand one person's mail to another (SECURITY G5).
func email(text string) (Normalised, Reason) {
	if len(text) > maxEmail {
		return Normalised{}, TooLong
	}
	local, domain, found := strings.Cut(text, "@")
	if !found || local == "" || domain == "" || strings.Contains(domain, "@") {
		return Normalised{}, BadForm
	}
	if len(local) > maxLocalPart {
		return Normalised{}, TooLong
	}
	if strings.ContainsFunc(local, func(r rune) bool { return !localRune(r) }) {
		return Normalised{}, BadCharacter
	}
	if local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return Normalised{}, BadForm
	}
	key := lowerASCII(local)
	// Lowering can make a letter that composes with the mark after it (J̌ → ǰ),
	// hence the second look.
	if !norm.NFKC.IsNormalString(local) || !norm.NFKC.IsNormalString(key) {
		return Normalised{}, BadCharacter
	}
	ascii, ok := domainToASCII(domain)
	if !ok {
		return Normalised{}, BadDomain
	}
	if len(local)+1+len(ascii) > maxEmail {
		return Normalised{}, TooLong
	}
	return Normalised{Key: key + "@" + ascii, Display: text, Delivery: local + "@" + ascii}, ""
}

// localRune takes the characters of a dot-atom (RFC 5322, section 3.2.3), and
// letters, marks and digits outside ASCII (RFC 6532).
func localRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return true
	case r < 0x80:
		return strings.ContainsRune(".!#$%&'*+-/=?^_`{|}~", r)
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd)
}

// domainToASCII brings a domain of two labels or more into lower-case ASCII.
func domainToASCII(domain string) (string, bool) {
	ascii, err := domains.ToASCII(domain)
	if err != nil || !isASCII(ascii) || strings.HasSuffix(ascii, ".") {
		return "", false
	}
	dot := strings.LastIndexByte(ascii, '.')
	if dot <= 0 || strings.Trim(ascii[dot+1:], "0123456789") == "" {
		return "", false // a host of the local network, or an IPv4 address
	}
	if again, err := domains.ToASCII(ascii); err != nil || again != ascii {
		return "", false
	}
	return ascii, true
}
