package view

import (
	"net/url"
	"slices"
	"strings"
)

// CSP is the Content-Security-Policy of every page. A form that is posted to
// us may end in a redirect to the application, which browsers hold against
// form-action too: formTargets are the redirect URIs that may follow. What
// cannot be written as a source is left out.
func CSP(formTargets ...string) string {
	forms := []string{"'self'"}
	for _, target := range formTargets {
		if source := source(target); source != "" && !slices.Contains(forms, source) {
			forms = append(forms, source)
		}
	}
	return "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; form-action " +
		strings.Join(forms, " ") + "; frame-ancestors 'none'; base-uri 'none'"
}

// source is a redirect URI as a source expression: its origin, or the scheme
// of a native application (RFC 8252, 7.1).
func source(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" {
		return ""
	}
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" || !plainHost(u.Host) {
			return ""
		}
		return u.Scheme + "://" + u.Host
	case "data", "blob", "javascript", "filesystem", "about":
		return ""
	}
	return u.Scheme + ":"
}

func plainHost(host string) bool {
	return strings.IndexFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-:[]", r)
	}) < 0
}
