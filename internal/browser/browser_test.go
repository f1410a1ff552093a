package browser_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/tenant"
)

var shop = &tenant.Tenant{Slug: "olive-thyme"}

func TestSet(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(http.ResponseWriter)
		want string
	}{
		{"session", func(w http.ResponseWriter) { browser.Jar{}.Set(w, shop, browser.Session, "abc", 0) },
			"__Host-cardea_session_olive-thyme=abc; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"device", func(w http.ResponseWriter) { browser.Jar{}.Set(w, shop, browser.Device, "abc", time.Hour) },
			"__Host-cardea_device_olive-thyme=abc; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"},
		{"clear", func(w http.ResponseWriter) { browser.Jar{}.Clear(w, shop, browser.Session) },
			"__Host-cardea_session_olive-thyme=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
		{"development", func(w http.ResponseWriter) { browser.Jar{Insecure: true}.Set(w, shop, browser.Journey, "abc", 0) },
			"cardea_journey_olive-thyme=abc; Path=/; HttpOnly; SameSite=Lax"},
	} {
		w := httptest.NewRecorder()
		c.set(w)
		if got := w.Header()["Set-Cookie"]; len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" { // SECURITY E3
			t.Errorf("%s: Cache-Control is %q", c.name, got)
		}
	}
}

// SECURITY E5: what is malformed, doubled or too large is no cookie.
func TestGet(t *testing.T) {
	const name = "__Host-cardea_session_olive-thyme"
	for _, c := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"none", nil, ""},
		{"one", []string{name + "=abc-_9"}, "abc-_9"},
		{"among others", []string{"a=b; " + name + "=abc; c=d"}, "abc"},
		{"on another line", []string{"a=b", name + "=abc"}, "abc"},
		{"twice", []string{name + "=abc; " + name + "=def"}, ""},
		{"twice the same", []string{name + "=abc; " + name + "=abc"}, ""},
		{"twice, on two lines", []string{name + "=abc", name + "=def"}, ""},
		{"twice, one malformed", []string{name + "=abc; " + name + "=\"\x01"}, ""},
		{"twice, one without a value", []string{name + "; " + name + "=abc"}, ""},
		{"empty", []string{name + "="}, ""},
		{"quoted", []string{name + `="abc"`}, ""},
		{"padded", []string{name + "=abc="}, ""},
		{"not base64url", []string{name + "=a+b/"}, ""},
		{"control character", []string{name + "=a\x00b"}, ""},
		{"not UTF-8", []string{name + "=a\xff"}, ""},
		{"5 KB", []string{name + "=" + strings.Repeat("A", 5<<10)}, ""},
		{"16 KB of others", []string{name + "=abc; x=" + strings.Repeat("A", 16<<10)}, ""},
		{"another tenant's", []string{"__Host-cardea_session_olive=abc"}, ""},
		{"another kind", []string{"__Host-cardea_device_olive-thyme=abc"}, ""},
		{"unprefixed, as a sub-domain could set it", []string{"cardea_session_olive-thyme=abc"}, ""},
		{"another case", []string{strings.ToUpper(name) + "=abc"}, ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if c.headers != nil {
			r.Header["Cookie"] = c.headers
		}
		if got := (browser.Jar{}).Get(r, shop, browser.Session); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "cardea_session_olive-thyme=abc")
	if got := (browser.Jar{Insecure: true}).Get(r, shop, browser.Session); got != "abc" {
		t.Errorf("in development: %q", got)
	}
}

func FuzzGet(f *testing.F) {
	f.Add("__Host-cardea_session_olive-thyme=abc; a=b")
	f.Add(";;==;__Host-cardea_session_olive-thyme")
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = []string{header}
		got := browser.Jar{}.Get(r, shop, browser.Session)
		if strings.Trim(got, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("%q gives %q", header, got)
		}
	})
}
