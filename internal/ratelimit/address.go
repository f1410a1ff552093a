package ratelimit

import (
	"net/netip"
)

// Address makes the key of a client's address, as net/http and proxies spell
// it: with or without a port, brackets and zone. One client has one key
// however its address is spelled, and however it picks addresses within the
// /64 that is its own (RFC 6177, RFC 7934):
//
//   - an IPv4 address is its own key, also when mapped into IPv6 (::ffff:a.b.c.d);
//   - an IPv6 address is the key of its /64, without zone.
//
// What is not an address gets one key for all, so that nonsense makes no keys.
func Address(text string) string {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return AddressKey(at.Addr())
	}
	if len(text) > 1 && text[0] == '[' && text[len(text)-1] == ']' {
		text = text[1 : len(text)-1]
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return AddressKey(netip.Addr{})
	}
	return AddressKey(address)
}

// AddressKey is Address for an address that was parsed already.
func AddressKey(address netip.Addr) string {
	address = address.Unmap().WithZone("")
	switch {
	case !address.IsValid():
		return "unknown"
	case address.Is4():
		return address.String()
	}
	network, err := address.Prefix(64)
	if err != nil { // cannot be: 64 bits are within an IPv6 address
		return "unknown"
	}
	return network.String()
}
