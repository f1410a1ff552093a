// Package browser reads and sets the cookies that a tenant's pages keep in a
// browser. It knows their names and attributes, and not what they say.
//
// A cookie is __Host-cardea_<kind>_<slug>: sent to this host alone, over TLS
// alone, and out of scripts' reach. Development on loopback http has none of
// the prefix, as browsers refuse it there.
package browser

import (
	"net/http"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/tenant"
)

// Kind is what a cookie is for.
type Kind string

const (
	Session Kind = "session" // the session that a customer is signed in by
	Journey Kind = "journey" // what binds a journey's sealed state to this browser
	Device  Kind = "device"  // the customers whom this browser is known for
	Look    Kind = "look"    // the language and the appearance that were chosen in this browser
)

const (
	valueMax  = 4 << 10  // bytes of a value; browsers keep no more
	headerMax = 16 << 10 // bytes of all cookies of a request together
)

// Jar reads and sets cookies.
type Jar struct {
	// Insecure is for development over http on loopback, and for nothing else.
	Insecure bool
}

func (j Jar) name(t *tenant.Tenant, kind Kind) string {
	name := "cardea_" + string(kind) + "_" + t.Slug
	if j.Insecure {
		return name
	}
	return "__Host-" + name
}

// Get returns the value of a cookie, or "" where there is none. One that is
// there twice, is too long or is not spelled as ours are is no cookie: it
// never helps anybody, and never breaks the request.
func (j Jar) Get(r *http.Request, t *tenant.Tenant, kind Kind) string {
	name, value, found := j.name(t, kind), "", 0
	size := 0
	// The header is read here, since net/http drops malformed cookies silently
	// and would let one of two pass.
	for _, line := range r.Header["Cookie"] {
		if size += len(line); size > headerMax {
			return ""
		}
		for pair := range strings.SplitSeq(line, ";") {
			key, v, _ := strings.Cut(pair, "=")
			if strings.TrimSpace(key) == name {
				value = strings.Trim(v, " \t")
				found++
			}
		}
	}
	if found != 1 || !spelled(value) {
		return ""
	}
	return value
}

// spelled tells whether a value is base64url without padding, as sealed values
// are.
func spelled(value string) bool {
	if value == "" || len(value) > valueMax {
		return false
	}
	for i := range len(value) {
		c := value[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// Set gives the browser a cookie, for maxAge or, when that is 0, until it is
// closed. The response is not to be stored by anybody.
func (j Jar) Set(w http.ResponseWriter, t *tenant.Tenant, kind Kind, value string, maxAge time.Duration) {
	j.set(w, t, kind, value, int(maxAge/time.Second))
}

// Clear takes a cookie from the browser.
func (j Jar) Clear(w http.ResponseWriter, t *tenant.Tenant, kind Kind) { j.set(w, t, kind, "", -1) }

func (j Jar) set(w http.ResponseWriter, t *tenant.Tenant, kind Kind, value string, maxAge int) {
	w.Header().Set("Cache-Control", "no-store")
	http.SetCookie(w, &http.Cookie{
		Name: j.name(t, kind), Value: value, Path: "/", MaxAge: maxAge,
		Secure: !j.Insecure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
