// Package clientip tells from which address, and over which scheme, a request
// came.
//
// The truth is the connection's own address. Only where the peer is one of the
// proxies that the operator named does X-Forwarded-For count, and of it the
// rightmost address that is not itself such a proxy; X-Forwarded-Proto counts
// likewise (RFC 9700, section 4.13). Forwarded and X-Forwarded-Host are never
// read: a proxy passes the Host header on as it is.
package clientip

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// maxHops bounds the work that a long X-Forwarded-For makes.
const maxHops = 32

// Client is who sent a request.
type Client struct {
	// IP is never an IPv4 address in IPv6 form and has no zone. It is invalid
	// (netip.Addr{}) when the request came over a Unix socket.
	IP     netip.Addr
	Scheme string // "http" or "https": what the client itself spoke
}

// Resolver finds the client of a request. It is safe for concurrent use.
type Resolver struct {
	trusted   []netip.Prefix
	disbelief atomic.Uint64
}

// Disbelieved is how many requests came with X-Forwarded-For from an address
// that is not a trusted proxy: a proxy that was not named, or strangers.
func (v *Resolver) Disbelieved() uint64 { return v.disbelief.Load() }

// New returns a Resolver that believes the proxies in trusted.
func New(trusted []netip.Prefix) *Resolver {
	resolver := &Resolver{}
	for _, prefix := range trusted {
		if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		resolver.trusted = append(resolver.trusted, prefix.Masked())
	}
	return resolver
}

// Proxied tells whether a request came from a proxy that the operator named.
func (v *Resolver) Proxied(r *http.Request) bool {
	peer, _ := parse(r.RemoteAddr)
	return v.trusts(peer)
}

// Client tells who sent r.
func (v *Resolver) Client(r *http.Request) Client {
	peer, _ := parse(r.RemoteAddr)
	client := Client{IP: peer, Scheme: "http"}
	if r.TLS != nil {
		client.Scheme = "https"
	}
	if !v.trusts(peer) {
		if len(r.Header["X-Forwarded-For"]) > 0 {
			v.disbelief.Add(1)
		}
		return client
	}
	client.IP = v.forwardedFor(peer, r.Header.Values("X-Forwarded-For"))
	if scheme := forwardedProto(r.Header.Values("X-Forwarded-Proto")); scheme != "" {
		client.Scheme = scheme
	}
	return client
}

// forwardedFor walks the hops from the nearest to the farthest and stops at
// the first that is not a trusted proxy. A hop that cannot be read ends the
// walk: what stands to the left of it was vouched for by nobody.
func (v *Resolver) forwardedFor(peer netip.Addr, lines []string) netip.Addr {
	nearest, hops := peer, 0
	for _, line := range slices.Backward(lines) {
		for line != "" {
			cut := strings.LastIndexByte(line, ',')
			hop, ok := parse(strings.Trim(line[cut+1:], " \t"))
			if hops++; !ok || hops > maxHops {
				return nearest
			}
			if nearest = hop; !v.trusts(hop) {
				return nearest
			}
			line = line[:max(cut, 0)]
		}
	}
	return nearest
}

// forwardedProto reads the value that the nearest proxy wrote.
func forwardedProto(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	last := lines[len(lines)-1]
	switch strings.ToLower(strings.Trim(last[strings.LastIndexByte(last, ',')+1:], " \t")) {
	case "https":
		return "https"
	case "http":
		return "http"
	}
	return ""
}

func (v *Resolver) trusts(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	for _, prefix := range v.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// parse reads an address with or without a port.
func parse(text string) (netip.Addr, bool) {
	if len(text) > 64 {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = withPort.Addr()
	}
	return addr.WithZone("").Unmap(), true
}
