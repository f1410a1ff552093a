package redirecturi

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestValidateAccepts(t *testing.T) {
	for _, test := range []struct {
		uri     string
		options Options
	}{
		{"https://rp1.example/cb", Options{}},
		{"https://rp1.example", Options{}},
		{"https://rp1.example:8443/a/b.c/d..e/?x=1&y=%2Fz", Options{}},
		{"https://App.Example.com/CB", Options{}},
		{"https://xn--bcher-kva.example/cb", Options{}},
		{"https://198.51.100.7/cb", Options{}},
		{"https://[2001:db8::1]/cb", Options{}},
		{"https://localhost/cb", Options{}},
		{"https://my_host.internal/caf%C3%A9", Options{}},
		{"http://127.0.0.1/cb", Options{}},
		{"http://127.0.0.1:8080/cb", Options{}},
		{"http://[::1]/cb", Options{}},
		{"http://localhost:3000/cb", Options{Localhost: true}},
		{"com.example.app:/cb", Options{Native: true}},
		{"com.example.app://cb", Options{Native: true}},
		{"com.example.app://host/cb?x=1", Options{Native: true}},
	} {
		if err := Validate(test.uri, test.options); err != nil {
			t.Errorf("%v", err)
		}
		if !Match([]string{"https://other.example/", test.uri}, test.uri) {
			t.Errorf("%s does not match itself", test.uri)
		}
	}
}

func TestValidateRefuses(t *testing.T) {
	everything := Options{Native: true, Localhost: true}
	for _, test := range []struct {
		uri     string
		options Options
	}{
		// A1: userinfo
		{"https://rp1.example@evil.example/cb", everything},
		{"https://a@b@evil.example/", everything},
		{"https://user:pw@rp1.example/", everything},
		{"https://@rp1.example/", everything},
		{"com.example.app://a@b/cb", everything},
		{"com.example.app:///x@y", everything},
		// A2: dot segments, fragments, encoded slashes
		{"https://rp1.example/cb/../x", everything},
		{"https://rp1.example/cb/..", everything},
		{"https://rp1.example/./cb", everything},
		{"https://rp1.example/cb/..;/x", everything},
		{"https://rp1.example/cb/..;a=b/x", everything},
		{"https://rp1.example/cb/%2e%2e/x", everything},
		{"https://rp1.example/cb/.%2E/x", everything},
		{"https://rp1.example/cb/%252e%252e/x", everything},
		{"https://rp1.example/cb%2f..%2fx", everything},
		{"https://rp1.example/cb%5cx", everything},
		{"https://rp1.example/cb#f", everything},
		{"https://rp1.example/cb#", everything},
		{"com.example.app:/../cb", everything},
		// A3, item 51: plain http
		{"http://rp1.example/cb", everything},
		{"http://127.0.0.1.evil.example/cb", everything},
		{"http://127.0.0.2/cb", everything},
		{"http://0.0.0.0/cb", everything},
		{"http://[::]/cb", everything},
		{"http://localhost/cb", Options{Native: true}},
		{"http://LOCALHOST/cb", Options{Native: true}},
		{"http://localhost.evil.example/cb", everything},
		// hosts that browsers read as other hosts
		{"https://127.1/cb", everything},
		{"https://0x7f.1/cb", everything},
		{"https://0x7f000001/cb", everything},
		{"https://2130706433/cb", everything},
		{"https://127.0.0.01/cb", everything},
		{"https://[::1%25eth0]/cb", everything},
		{"https://[0:0:0:0:0:0:0:1]/cb", everything},
		{"https://[::ffff:1.2.3.4]extra/cb", everything},
		{"https://[1.2.3.4]/cb", everything},
		{"https://rp1.example./cb", everything},
		{"https://rp1..example/cb", everything},
		{"https://-rp1.example/cb", everything},
		{"https://rp%31.example/cb", everything},
		{"https://rp1.example;evil/cb", everything},
		{"https:///cb", everything},
		{"https://", everything},
		{"https:", everything},
		{"https:/rp1.example", everything},
		{"https:rp1.example", everything},
		{"//rp1.example/cb", everything},
		{"/cb", everything},
		{"rp1.example/cb", everything},
		{"https://rp1.example:/cb", everything},
		{"https://rp1.example:0/cb", everything},
		{"https://rp1.example:080/cb", everything},
		{"https://rp1.example:65536/cb", everything},
		{"https://rp1.example:+80/cb", everything},
		{"https://rp1.example:80:80/cb", everything},
		// A4: wildcards
		{"https://*.example.com/cb", everything},
		{"https://rp1.example/*", everything},
		{"https://{tenant}.example.com/cb", everything},
		// A6: schemes that run code or read files
		{"javascript:alert(1)", everything},
		{"JaVaScRiPt:alert(1)", everything},
		{"javascript://rp1.example/%0aalert(1)", everything},
		{"\tjavascript:alert(1)", everything},
		{"java\nscript:alert(1)", everything},
		{"\x00javascript:alert(1)", everything},
		{"data:text/html,x", everything},
		{"vbscript:x", everything},
		{"file:///etc/passwd", everything},
		{"blob:https://rp1.example/x", everything},
		{"about:blank", everything},
		{"HTTPS://rp1.example/cb", everything},
		{"myapp:/cb", everything},
		{"urn:ietf:wg:oauth:2.0:oob", everything},
		// native schemes
		{"com.example.app:/cb", Options{}},
		{"com.example.app:cb", everything},
		{"com.example.app:", everything},
		{".example:/cb", everything},
		{"com.Example.app:/cb", everything},
		// characters
		{"", everything},
		{" https://rp1.example/cb", everything},
		{"https://rp1.example/cb ", everything},
		{"https://rp1.example\\@evil.example/cb", everything},
		{"https://rp1.example/a b", everything},
		{"https://rp1.example/\u202e", everything},
		{"https://rp1.exаmple/cb", everything}, // Cyrillic а
		{"https://rp1.example/%", everything},
		{"https://rp1.example/%zz", everything},
		{"https://rp1.example/%+1", everything},
		{"https://rp1.example/%00", everything},
		{"https://rp1.example/?x=%0d%0aLocation:", everything},
		{"https://rp1.example/<script>", everything},
		{"https://rp1.example/" + strings.Repeat("a", MaxBytes), everything},
		// names that the response uses
		{"https://rp1.example/?code=1", everything},
		{"https://rp1.example/?x=1&state=y", everything},
		{"https://rp1.example/?x;y", everything},
		{"com.example.app:/cb?iss=1", everything},
	} {
		err := Validate(test.uri, test.options)
		if typed, ok := errors.AsType[*Error](err); !ok || typed.Reason == "" {
			t.Errorf("%q was accepted (%v)", test.uri, err)
		}
	}
}

// SECURITY table A, rows A1 to A4: what a request may name.
func TestMatch(t *testing.T) {
	for _, test := range []struct {
		registered string
		presented  map[string]bool
	}{
		{"https://rp1.example/cb", map[string]bool{
			"https://rp1.example/cb":                      true,
			"https://rp1.example@evil.example/cb":         false,
			"https://a@b@evil.example/":                   false,
			"https://rp1.example/cb/..;/x":                false,
			"https://rp1.example/cb/%2e%2e/x":             false,
			"https://rp1.example/cb/../x":                 false,
			"https://rp1.example/cb%2f..%2fx":             false,
			"https://rp1.example/cb#f":                    false,
			"https://rp1.example/CB":                      false,
			"https://rp1.example/cb/":                     false,
			"https://rp1.example/cb?":                     false,
			"https://rp1.example/cb?x=1":                  false,
			"https://rp1.example:443/cb":                  false,
			"https://RP1.example/cb":                      false,
			"HTTPS://rp1.example/cb":                      false,
			"http://rp1.example/cb":                       false,
			" https://rp1.example/cb":                     false,
			"https://rp1.example/cb\n":                    false,
			"https://rp1.example/%63b":                    false,
			"https://rp1.example\\@evil.example/cb":       false,
			"":                                            false,
			"javascript:alert(1)":                         false,
			"https://rp1.example/cb\x00":                  false,
			"https://rp1.example/" + string([]byte{0xff}): false,
		}},
		{"https://portal.example.com", map[string]bool{
			"https://portal.example.com":           true,
			"https://portal.example.com/":          false,
			"https://portal.example.com.evil.tld/": false,
			"https://portal.example.com.evil.tld":  false,
			"https://portalXexample.com/":          false,
			"https://portalXexample.com":           false,
		}},
		{"http://127.0.0.1/cb", map[string]bool{
			"http://127.0.0.1/cb":                 true,
			"http://127.0.0.1:49152/cb":           true,
			"http://127.0.0.1:1/cb":               true,
			"http://127.0.0.1:65535/cb":           true,
			"http://127.0.0.1:65536/cb":           false,
			"http://127.0.0.1:0/cb":               false,
			"http://127.0.0.1:080/cb":             false,
			"http://127.0.0.1:/cb":                false,
			"http://127.0.0.1:+80/cb":             false,
			"http://127.0.0.1.evil.example/cb":    false,
			"http://127.0.0.1@evil.example/cb":    false,
			"http://127.0.0.1:80@evil.example/cb": false,
			"http://127.0.0.1:80:81/cb":           false,
			"https://127.0.0.1/cb":                false,
			"http://localhost/cb":                 false,
			"http://[::1]/cb":                     false,
			"http://127.0.0.2/cb":                 false,
			"http://127.1/cb":                     false,
			"http://127.0.0.1:80/cb/":             false,
			"http://127.0.0.1:80/CB":              false,
			"http://127.0.0.1:80/cb?x":            false,
			"http://127.0.0.1:80/cb#x":            false,
			"http://127.0.0.1:80":                 false,
			"http://127.0.0.1:80\\@evil/cb":       false,
			"http://127.0.0.1:" + "8" + "\n/cb":   false,
			"http://127.0.0.1:80/../cb":           false,
		}},
		{"http://[::1]:9000/cb?a=b", map[string]bool{
			"http://[::1]/cb?a=b":              true,
			"http://[::1]:1234/cb?a=b":         true,
			"http://[::1]:1234/cb":             false,
			"http://127.0.0.1:1234/cb?a=b":     false,
			"http://[::1].evil.example/cb?a=b": false,
		}},
		{"http://127.0.0.1", map[string]bool{
			"http://127.0.0.1:5":            true,
			"http://127.0.0.1:5/":           false,
			"http://127.0.0.1.evil.example": false,
			"http://127.0.0.15":             false,
		}},
		{"http://localhost:3000/cb", map[string]bool{ // the name may lead elsewhere: RFC 8252, section 8.3
			"http://localhost:3000/cb": true,
			"http://localhost:3001/cb": false,
			"http://localhost/cb":      false,
		}},
		{"com.example.app:/cb", map[string]bool{
			"com.example.app:/cb":   true,
			"com.example.app:/cb2":  false,
			"com.example.app://cb":  false,
			"COM.example.app:/cb":   false,
			"com.example.app:/cb?x": false,
		}},
	} {
		for presented, want := range test.presented {
			if got := Match([]string{test.registered}, presented); got != want {
				t.Errorf("%q presented for %q: matched %t", presented, test.registered, got)
			}
		}
	}
	if Match(nil, "https://rp1.example/cb") || Match([]string{""}, "") {
		t.Error("nothing registered, and yet a match")
	}
}

func FuzzMatch(f *testing.F) {
	for _, registered := range []string{"https://rp1.example/cb", "http://127.0.0.1/cb", "http://[::1]:80/cb?x=1", "com.example.app:/cb", "http://127.0.0.1"} {
		for _, presented := range []string{
			"https://rp1.example/cb", "https://rp1.example@evil.example/cb", "http://127.0.0.1:49152/cb", "http://127.0.0.1.evil.example/cb",
			"http://[::1]:1/cb?x=1", "https://rp1.example/cb/..;/x", "http://127.0.0.1:80@evil/cb", "com.example.app:/cb", "http://127.0.0.1:5",
		} {
			f.Add(registered, presented)
		}
	}
	f.Fuzz(func(t *testing.T, registered, presented string) {
		if Validate(registered, Options{Native: true, Localhost: true}) != nil {
			return
		}
		if !Match([]string{registered}, presented) || registered == presented {
			return
		}
		a, errA := url.Parse(registered)
		b, errB := url.Parse(presented)
		if errA != nil || errB != nil {
			t.Fatalf("%q matched %q, which no parser reads", presented, registered)
		}
		if a.Hostname() != "127.0.0.1" && a.Hostname() != "::1" {
			t.Fatalf("%q matched %q, which is no loopback address", presented, registered)
		}
		if b.User != nil || b.Fragment != "" || a.Scheme != "http" {
			t.Fatalf("%q matched %q", presented, registered)
		}
		a.Host, b.Host = strings.TrimSuffix(a.Host, ":"+a.Port()), strings.TrimSuffix(b.Host, ":"+b.Port())
		if *a != *b {
			t.Fatalf("%q matched %q and differs in more than the port", presented, registered)
		}
	})
}
