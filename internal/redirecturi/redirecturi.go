// Package redirecturi decides which redirect URIs an application may register
// and whether one that a request names is among them.
//
// A registered URI is kept and compared as the text it was written in: nothing
// is decoded, lower-cased or resolved (RFC 9700, section 4.1.3). The one
// exception is the loopback interface, where the port may vary (RFC 8252,
// section 7.3). The same rules serve every other address that a browser is
// sent to: post-logout redirects, assertion consumer services.
package redirecturi

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// MaxBytes is the longest URI that can be registered or matched.
const MaxBytes = 2048

// Options say what kind of application registers.
type Options struct {
	Native    bool // an app on a device: private-use schemes are allowed
	Localhost bool // for development: http://localhost is allowed
}

// Error says why a URI cannot be registered, in words for whoever registers it.
type Error struct {
	URI    string
	Reason string
}

func (e *Error) Error() string {
	return fmt.Sprintf("the redirect URI %q cannot be registered: %s", e.URI, e.Reason)
}

// Validate tells whether raw may be registered; the error is an *Error.
func Validate(raw string, options Options) error {
	if reason := refuse(raw, options); reason != "" {
		shown := raw
		if len(shown) > 200 {
			shown = shown[:200]
		}
		return &Error{URI: shown, Reason: reason}
	}
	return nil
}

// refuse returns why raw may not be registered, "" if it may.
func refuse(raw string, options Options) string {
	switch {
	case raw == "":
		return "it is empty"
	case len(raw) > MaxBytes:
		return fmt.Sprintf("it is longer than %d bytes", MaxBytes)
	}
	for i := range len(raw) {
		switch c := raw[i]; {
		case c <= ' ' || c >= 0x7f:
			return "it holds a space, a control character or a letter outside ASCII; write those percent-encoded, and the host in its xn-- form"
		case c == '#':
			return "it has a fragment, which OAuth does not allow (RFC 6749, section 3.1.2)"
		case c == '*':
			return "it has a wildcard; register each URI on its own"
		case strings.IndexByte("\\\"<>^`{|}", c) >= 0:
			return fmt.Sprintf("the character %q is not allowed in a URI", c)
		}
	}
	scheme, rest, found := strings.Cut(raw, ":")
	if !found || !validScheme(scheme) {
		return "it has no scheme, or one that is not in lower-case letters; write a whole address such as https://app.example.com/callback"
	}
	if reason := refusePath(rest); reason != "" {
		return reason
	}
	switch scheme {
	case "https", "http":
		return refuseWeb(raw, scheme, rest, options)
	}
	return refusePrivate(raw, scheme, rest, options)
}

func validScheme(scheme string) bool {
	for i := range len(scheme) {
		c := scheme[i]
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return scheme != ""
}

// refusePath looks for what servers and browsers read in more than one way:
// dot segments, plain, encoded or with parameters ("..;"), and encoded slashes.
func refusePath(rest string) string {
	path, _, _ := strings.Cut(rest, "?")
	for at := 0; at < len(rest); at++ {
		if rest[at] != '%' {
			continue
		}
		if at+2 >= len(rest) {
			return "it has a % that encodes nothing"
		}
		value, err := strconv.ParseUint(rest[at+1:at+3], 16, 8)
		switch {
		case err != nil:
			return "it has a % that encodes nothing"
		case value < ' ' || value == 0x7f:
			return "it has an encoded control character"
		case at < len(path) && (value == '.' || value == '/' || value == '\\' || value == '%'):
			return "its path has an encoded dot, slash, backslash or percent sign, which servers read in different ways"
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		bare, _, _ := strings.Cut(segment, ";")
		if bare == "." || bare == ".." {
			return `its path has a "." or ".." segment; write the path that it leads to`
		}
	}
	return ""
}

// refuseWeb judges an http or https URI.
func refuseWeb(raw, scheme, rest string, options Options) string {
	after, found := strings.CutPrefix(rest, "//")
	if !found {
		return "it has no host"
	}
	authority := after
	if end := strings.IndexAny(after, "/?"); end >= 0 {
		authority = after[:end]
	}
	if strings.Contains(authority, "@") {
		return "it has a user name before the host"
	}
	host, reason := splitHost(authority)
	if reason != "" {
		return reason
	}
	parsed, err := url.Parse(raw)
	if err != nil || parsed.Scheme != scheme || parsed.Host != authority || parsed.User != nil || parsed.Opaque != "" {
		return "it is not a well-formed address"
	}
	if reason := refuseQuery(parsed); reason != "" {
		return reason
	}
	if scheme == "https" || host == "127.0.0.1" || host == "[::1]" {
		return ""
	}
	if strings.EqualFold(host, "localhost") {
		if options.Localhost {
			return ""
		}
		return "http://localhost is for development only; write http://127.0.0.1 or http://[::1], where any port matches"
	}
	return "it is not encrypted; use https (http is only for 127.0.0.1 and [::1])"
}

// splitHost takes the port off and returns the host, an IPv6 address in
// its brackets.
func splitHost(authority string) (host, reason string) {
	host = authority
	if colon := strings.LastIndexByte(authority, ':'); colon > strings.LastIndexByte(authority, ']') {
		host = authority[:colon]
		if !validPort(authority[colon+1:]) {
			return "", "its port is not a number from 1 to 65535"
		}
	}
	if inner, found := strings.CutPrefix(host, "["); found {
		inner, found = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !found || err != nil || !addr.Is6() || addr.Zone() != "" || addr.String() != inner {
			return "", "its IPv6 address is not in its usual short form without a zone"
		}
		return host, ""
	}
	if !validName(host) {
		return "", "its host is not a domain name or an address; write international names in their xn-- form"
	}
	return host, ""
}

func validPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0 && text[0] >= '1' && text[0] <= '9'
}

// validName takes a domain name or an IPv4 address in its usual form. Names
// whose last label is a number are refused, as browsers read them as IPv4
// addresses ("127.1", "0x7f.1").
func validName(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Is4()
	}
	if host == "" || len(host) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i] | 0x20
			if (c < 'a' || c > 'z') && (label[i] < '0' || label[i] > '9') && label[i] != '-' && label[i] != '_' {
				return false
			}
		}
		last = strings.ToLower(label)
	}
	if _, hex := strings.CutPrefix(last, "0x"); hex {
		return false
	}
	return strings.Trim(last, "0123456789") != ""
}

// refusePrivate judges a URI whose scheme belongs to an app: one made from a
// domain name turned round (RFC 8252, section 7.1).
func refusePrivate(raw, scheme, rest string, options Options) string {
	if !strings.Contains(scheme, ".") {
		return fmt.Sprintf("the scheme %q is not allowed; use https, or for an app on a device a scheme made from a domain name turned round, such as com.example.app", scheme)
	}
	if !options.Native {
		return fmt.Sprintf("the scheme %q is only for native applications; use https", scheme)
	}
	if !strings.HasPrefix(rest, "/") {
		return fmt.Sprintf("after the scheme a path must follow: %s:/callback", scheme)
	}
	if after, found := strings.CutPrefix(rest, "//"); found && strings.Contains(after, "@") {
		return `it has an "@", which is read in different ways`
	}
	parsed, err := url.Parse(raw)
	if err != nil || parsed.Scheme != scheme || parsed.User != nil || parsed.Opaque != "" {
		return "it is not a well-formed address"
	}
	return refuseQuery(parsed)
}

// refuseQuery keeps the names that a response uses free.
func refuseQuery(parsed *url.URL) string {
	values, err := url.ParseQuery(parsed.RawQuery)
	if err != nil {
		return "its query is not well-formed"
	}
	for _, name := range []string{"code", "state", "iss", "error", "error_description", "error_uri", "response", "id_token", "access_token"} {
		if values.Has(name) {
			return fmt.Sprintf("its query has %q, which the response itself uses", name)
		}
	}
	return ""
}

// Match tells whether presented is one of registered: the same text, or a
// loopback address that differs in its port alone. The texts in registered
// have passed Validate.
func Match(registered []string, presented string) bool {
	if presented == "" || len(presented) > MaxBytes {
		return false
	}
	if slices.Contains(registered, presented) {
		return true
	}
	host, tail, ok := loopback(presented)
	if !ok {
		return false
	}
	for _, uri := range registered {
		if itsHost, itsTail, ok := loopback(uri); ok && itsHost == host && itsTail == tail {
			return true
		}
	}
	return false
}

// loopback splits an http URI of a loopback address into scheme with host, and
// what follows the port.
func loopback(uri string) (host, tail string, ok bool) {
	for _, host := range []string{"http://127.0.0.1", "http://[::1]"} {
		tail, found := strings.CutPrefix(uri, host)
		if !found {
			continue
		}
		if after, found := strings.CutPrefix(tail, ":"); found {
			end := strings.IndexAny(after, "/?")
			if end < 0 {
				end = len(after)
			}
			if !validPort(after[:end]) {
				return "", "", false
			}
			tail = after[end:]
		}
		if tail != "" && tail[0] != '/' && tail[0] != '?' {
			return "", "", false
		}
		return host, tail, true
	}
	return "", "", false
}
