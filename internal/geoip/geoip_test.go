package geoip_test

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/cardea-id/cardea/internal/geoip"
	"github.com/cardea-id/cardea/internal/geoip/geoiptest"
)

func TestNear(t *testing.T) {
	places, err := geoip.Open(geoiptest.Write(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ address, lang, want string }{
		{"192.0.2.7", "en", "Lisbon, Portugal"},
		{"::ffff:192.0.2.7", "en-GB", "Lisbon, Portugal"},
		{"192.0.2.7", "de-AT", "Lissabon, Portugal"},
		{"192.0.2.7", "ar", "Lisbon, Portugal"},
		{"198.51.100.1", "en", "Egypt"},
		{"2001:db8::1", "en", ""},
		{"203.0.113.1", "en", ""},
	} {
		if got := places.Near(netip.MustParseAddr(tt.address), tt.lang); got != tt.want {
			t.Errorf("%s in %s: %q, not %q", tt.address, tt.lang, got, tt.want)
		}
	}
	if got := places.Near(netip.Addr{}, "en"); got != "" {
		t.Errorf("no address: %q", got)
	}
	if err := places.Close(); err != nil {
		t.Error(err)
	}
	var none *geoip.Places
	if none.Near(netip.MustParseAddr("192.0.2.7"), "en") != "" || none.Close() != nil {
		t.Error("no database knows a place")
	}
	if _, err := geoip.Open(filepath.Join(t.TempDir(), "none.mmdb")); err == nil {
		t.Error("a file that is not there is opened")
	}
}
