// Package geoiptest writes databases of places for tests.
package geoiptest

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Write makes a database with one network in Lisbon and one that only has a
// country.
func Write(t testing.TB) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-City", IncludeReservedNetworks: true, RecordSize: 24})
	if err != nil {
		t.Fatal(err)
	}
	names := func(pairs ...string) mmdbtype.Map {
		in := mmdbtype.Map{}
		for i := 0; i < len(pairs); i += 2 {
			in[mmdbtype.String(pairs[i])] = mmdbtype.String(pairs[i+1])
		}
		return mmdbtype.Map{"names": in}
	}
	for network, entry := range map[string]mmdbtype.Map{
		"192.0.2.0/24":    {"city": names("en", "Lisbon", "de", "Lissabon"), "country": names("en", "Portugal")},
		"198.51.100.0/24": {"country": names("en", "Egypt")},
		"2001:db8::/32":   {"city": names("fr", "Paris")},
	} {
		_, parsed, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(parsed, entry); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "places.mmdb")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(file); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
