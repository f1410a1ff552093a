// Package outgoing is the one client by which the program asks others over
// HTTP: providers of mail and text messages, and whoever an operator or an
// application names (DESIGN.md, rule 9).
//
// An address is looked at when it is dialled, after names were resolved, and
// the very address that was looked at is the one that is connected to: a name
// that leads elsewhere at the second look gains nothing. Loopback, private,
// link-local (where clouds keep their secrets), shared and reserved networks
// are refused, in each of the ways that IPv6 has of writing an IPv4 address,
// unless the operator allowed the network. Redirects are answers and are not
// followed, proxies of the environment are not used, plain http goes to allowed
// networks alone, answers are read up to a size, and every request has an end.
package outgoing

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// ErrRefused says that a request would go to a network that nobody allowed. It
// names no address, as whoever caused the request may be shown it.
var ErrRefused = errors.New("the address is not one that may be asked: it is private or reserved, and outgoing.allow_networks does not name it")

// ErrTooLarge says that an answer was longer than is read.
var ErrTooLarge = errors.New("the answer is too large")

// Options are what a Client works with. All may be left out.
type Options struct {
	// Allow are private networks that may be asked all the same, also over http.
	Allow []netip.Prefix
	// Timeout is for one request with its answer; 0 means 10 s.
	Timeout time.Duration
	// MaxAnswer is how many bytes of an answer are read; 0 means 64 KiB.
	MaxAnswer int64
	// TLS replaces the default: TLS 1.2 at least, the system's roots.
	TLS *tls.Config
	// Lookup resolves names; nil takes the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Client asks others. It is safe for concurrent use.
type Client struct {
	o             Options
	secure, plain *http.Client
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// New makes a client.
func New(o Options) *Client {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.MaxAnswer <= 0 {
		o.MaxAnswer = 64 << 10
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	c := &Client{o: o}
	c.secure = c.through(func(a netip.Addr) bool { return c.allowed(a) || Public(a) })
	c.plain = c.through(c.allowed)
	return c
}

func (c *Client) through(may func(netip.Addr) bool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: nil, // one named by the environment would be asked in the place of the address that was looked at
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return c.dial(ctx, network, address, may)
			},
			TLSClientConfig: c.o.TLS.Clone(), TLSHandshakeTimeout: c.o.Timeout, ForceAttemptHTTP2: true,
			MaxIdleConns: 32, MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 32 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Do sends a request and reads the answer, whatever its status. An error never
// holds the address that was asked, which may have a secret in it.
func (c *Client) Do(ctx context.Context, request *http.Request) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	var client *http.Client
	switch request.URL.Scheme {
	case "https":
		client = c.secure
	case "http":
		client = c.plain
	default:
		return nil, ErrRefused
	}
	response, err := client.Do(request.WithContext(ctx))
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, fmt.Errorf("ask: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // what was to be read has been read
	body, err := io.ReadAll(io.LimitReader(response.Body, c.o.MaxAnswer+1))
	if err == nil {
		err = ctx.Err() // a server that is left in the middle may still end its answer in order
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(body)) > c.o.MaxAnswer {
		return nil, ErrTooLarge
	}
	return &Answer{Status: response.StatusCode, Header: response.Header, Body: body}, nil
}

// Close closes the connections that are kept.
func (c *Client) Close() {
	c.secure.CloseIdleConnections()
	c.plain.CloseIdleConnections()
}

// dial connects to the first address of a host that may be asked and answers.
func (c *Client) dial(ctx context.Context, network, address string, may func(netip.Addr) bool) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, ErrRefused
	}
	var found []netip.Addr
	if literal, err := netip.ParseAddr(host); err == nil {
		found = []netip.Addr{literal}
	} else if found, err = c.o.Lookup(ctx, host); err != nil {
		return nil, errors.New("the host's name is not known")
	}
	last := ErrRefused
	for _, one := range found {
		if one.Zone() != "" || !may(one) {
			continue
		}
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, net.JoinHostPort(one.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		last = errors.New("no connection could be made")
	}
	return nil, last
}

func (c *Client) allowed(address netip.Addr) bool {
	address = address.Unmap()
	return slices.ContainsFunc(c.o.Allow, func(p netip.Prefix) bool { return p.Contains(address) })
}
