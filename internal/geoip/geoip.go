// Package geoip tells roughly where an address of the internet is used, from a
// database file in the MaxMind DB format that the operator supplies (GeoLite2
// City, DB-IP City Lite and others). Nothing is asked over the network.
//
// It knows of no customers. A place is a hint for whoever reads it, and nothing
// to decide by.
package geoip

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Places looks places up. It is safe for concurrent use; a nil one knows none.
type Places struct{ reader *maxminddb.Reader }

// Open opens a database file. It is read through memory, and opened until Close:
// a newer file takes its place at the next start.
func Open(path string) (*Places, error) {
	reader, err := maxminddb.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the database of places: %w", err)
	}
	return &Places{reader}, nil
}

// Close closes the file. Nobody may look up any more.
func (p *Places) Close() error {
	if p == nil {
		return nil
	}
	return p.reader.Close()
}

// record is what is read of an entry.
type record struct {
	City    named `maxminddb:"city"`
	Country named `maxminddb:"country"`
}

type named struct {
	Names map[string]string `maxminddb:"names"`
}

// longest is the most bytes of a name that are kept: the file is somebody else's.
const longest = 80

func (n named) in(lang string) string {
	base, _, _ := strings.Cut(lang, "-")
	for _, lang := range []string{lang, base, "en"} {
		if name := n.Names[lang]; name != "" && len(name) <= longest {
			return name
		}
	}
	return ""
}

// Near names the place of an address, such as "Lisbon, Portugal", in a language
// (BCP 47) or else in English; "" where it is not known.
func (p *Places) Near(address netip.Addr, lang string) string {
	if p == nil || !address.IsValid() {
		return ""
	}
	var found record
	if err := p.reader.Lookup(address.Unmap()).Decode(&found); err != nil {
		return "" // a hint that cannot be read is none
	}
	city, country := found.City.in(lang), found.Country.in(lang)
	if city != "" && country != "" {
		return city + ", " + country
	}
	return city + country
}
