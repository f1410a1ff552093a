package outgoing

import "net/netip"

// reserved are the networks that are nobody's on the Internet, by the special
// purpose registries of IANA (RFC 6890), and those that lead to the cloud that
// the program runs in.
var reserved = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"168.63.129.16/32", // Azure's, on every machine there
	"::/96",            // ::, ::1 and IPv4 as it was once written
	"64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)

// translated is where a gateway reaches IPv4 addresses by (RFC 6052).
var translated = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// Public tells whether an address is one of the Internet at large.
func Public(address netip.Addr) bool {
	if !address.IsValid() || address.Zone() != "" {
		return false
	}
	address = address.Unmap()
	if translated.Contains(address) {
		raw := address.As16()
		return Public(netip.AddrFrom4([4]byte(raw[12:])))
	}
	for _, network := range reserved {
		if network.Contains(address) {
			return false
		}
	}
	return true
}
