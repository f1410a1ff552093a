package view

import (
	"net/url"
	"strings"
)

// CSP is the Content-Security-Policy of every page. A form that is posted to
// us may end in a redirect to target, the application's redirect URI, and
// Chromium holds form-action against every redirect that follows, those of the
// application included (docs/decisions/0012-form-action.md). A page that leads
// nowhere else has no target.
func CSP(target string) string {
	forms := "'self'"
	if sources := sources(target); sources != "" {
		forms += " " + sources
	}
	return "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; form-action " +
		forms + "; frame-ancestors 'none'; base-uri 'none'"
}

// sources are the source expressions of where an application at a redirect URI
// may send a browser on to. What cannot be written as a source is left out.
func sources(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" {
		return ""
	}
	switch u.Scheme {
	case "https":
		return "https:"
	case "http": // a native application's or a developer's own machine
		if u.Host == "" || !plainHost(u.Host) {
			return ""
		}
		if name := u.Hostname(); name == "localhost" || strings.HasPrefix(name, "127.") || name == "::1" {
			return "https: http://localhost:* http://127.0.0.1:* http://" + u.Host
		}
		return "https: http://" + u.Host
	case "data", "blob", "javascript", "filesystem", "about":
		return ""
	}
	return "https: " + u.Scheme + ":" // RFC 8252, section 7.1
}

func plainHost(host string) bool {
	return strings.IndexFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-:[]", r)
	}) < 0
}
