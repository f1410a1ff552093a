package clientip

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// SECURITY H2 and item 71: forwarded headers count from named proxies only.
func TestClient(t *testing.T) {
	trusted := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::ffff:192.168.7.0/120"),
	}
	for _, test := range []struct {
		name       string
		remote     string
		header     http.Header
		tls        bool
		want, with string
	}{
		{"no proxy", "203.0.113.9:4000", nil, false, "203.0.113.9", "http"},
		{"no proxy, TLS", "203.0.113.9:4000", nil, true, "203.0.113.9", "https"},
		{"untrusted peer is not believed", "203.0.113.9:4000",
			http.Header{"X-Forwarded-For": {"198.51.100.1"}, "X-Forwarded-Proto": {"https"}, "X-Real-Ip": {"198.51.100.1"}}, false, "203.0.113.9", "http"},
		{"untrusted peer cannot take TLS away", "203.0.113.9:4000", http.Header{"X-Forwarded-Proto": {"http"}}, true, "203.0.113.9", "https"},
		{"trusted peer", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"198.51.100.1"}, "X-Forwarded-Proto": {"https"}}, false, "198.51.100.1", "https"},
		{"trusted peer without headers", "10.1.2.3:80", nil, false, "10.1.2.3", "http"},
		{"rightmost untrusted hop", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"1.1.1.1, 198.51.100.1, 10.9.9.9"}}, false, "198.51.100.1", "http"},
		{"forged hops on the left", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"10.0.0.1", "127.0.0.1, 198.51.100.1"}}, false, "198.51.100.1", "http"},
		{"several lines", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"1.1.1.1", "198.51.100.1", "10.9.9.9"}}, false, "198.51.100.1", "http"},
		{"all trusted", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"10.5.5.5, 10.6.6.6"}}, false, "10.5.5.5", "http"},
		{"unreadable hop", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"1.1.1.1, a"}}, false, "10.1.2.3", "http"},
		{"unreadable hop behind a proxy", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"1.1.1.1, unknown, 10.9.9.9"}}, false, "10.9.9.9", "http"},
		{"empty hop", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"1.1.1.1,"}}, false, "10.1.2.3", "http"},
		{"hop with a port", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"198.51.100.1:5555"}}, false, "198.51.100.1", "http"},
		{"IPv6 hop with a port", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"[2001:db8::1]:5555"}}, false, "2001:db8::1", "http"},
		{"IPv6 hop in brackets", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"[2001:db8::1]"}}, false, "2001:db8::1", "http"},
		{"IPv4 in IPv6", "[::ffff:10.1.2.3]:80", http.Header{"X-Forwarded-For": {"::ffff:198.51.100.1"}}, false, "198.51.100.1", "http"},
		{"proxies named in mapped form", "192.168.7.4:80", http.Header{"X-Forwarded-For": {"198.51.100.1"}}, false, "198.51.100.1", "http"},
		{"IPv6 proxy with a zone", "[fd00::1%eth0]:80", http.Header{"X-Forwarded-For": {"2001:DB8:0::1"}}, false, "2001:db8::1", "http"},
		{"nearest proto", "10.1.2.3:80", http.Header{"X-Forwarded-Proto": {"https, HTTP"}}, false, "10.1.2.3", "http"},
		{"odd proto", "10.1.2.3:80", http.Header{"X-Forwarded-Proto": {"javascript"}}, true, "10.1.2.3", "https"},
		{"proxy speaks TLS to us, client did not", "10.1.2.3:80", http.Header{"X-Forwarded-Proto": {"http"}}, true, "10.1.2.3", "http"},
		{"Forwarded is not read", "10.1.2.3:80", http.Header{"Forwarded": {"for=1.1.1.1;proto=https"}}, false, "10.1.2.3", "http"},
		{"endless header", "10.1.2.3:80", http.Header{"X-Forwarded-For": {"1.1.1.1" + strings.Repeat(",10.0.0.2", 100_000)}}, false, "10.0.0.2", "http"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: test.remote, Header: test.header}
			if test.tls {
				r.TLS = &tls.ConnectionState{}
			}
			got := New(trusted).Client(r)
			if got.IP.String() != test.want || got.Scheme != test.with {
				t.Errorf("got %s over %s, want %s over %s", got.IP, got.Scheme, test.want, test.with)
			}
		})
	}
}

func TestUnixSocketHasNoAddress(t *testing.T) {
	for _, remote := range []string{"", "@", "/run/cardea.sock"} {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {"1.1.1.1"}, "X-Forwarded-Proto": {"https"}}}
		all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
		if got := New(all).Client(r); got.IP.IsValid() || got.Scheme != "http" {
			t.Errorf("%q: got %v", remote, got)
		}
	}
}

func FuzzClient(f *testing.F) {
	f.Add("10.1.2.3:80", "1.1.1.1, 10.0.0.1")
	f.Add("203.0.113.9:1", "::ffff:1.2.3.4")
	f.Add("[::1]:1", ",,,")
	resolver := New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		got := resolver.Client(r)
		if got.IP.Is4In6() || got.IP.Zone() != "" {
			t.Errorf("%v is not in its one form", got.IP)
		}
		r.Header = nil
		if peer := resolver.Client(r).IP; !resolver.trusts(peer) && got.IP != peer {
			t.Errorf("%v was believed", remote)
		}
	})
}
