package outgoing_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/outgoing"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func ask(t *testing.T, c *outgoing.Client, address string) (*outgoing.Answer, error) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Do(t.Context(), request)
}

// counted is a server that counts who reaches it.
func counted(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	var reached atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server, &reached
}

func trusting(server *httptest.Server) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

// SECURITY M1: no way of writing an inner address reaches it.
func TestOnlyPublicAddressesAreAsked(t *testing.T) {
	for _, inner := range []string{
		"127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
		"192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255", "168.63.129.16", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
		"::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
		"2001:0:1::1", "2001:db8::1", "fec0::1",
	} {
		if outgoing.Public(netip.MustParseAddr(inner)) {
			t.Errorf("%s passes for public", inner)
		}
	}
	for _, public := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "169.253.0.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808", "::ffff:1.1.1.1"} {
		if !outgoing.Public(netip.MustParseAddr(public)) {
			t.Errorf("%s passes for private", public)
		}
	}
	if outgoing.Public(netip.Addr{}) || outgoing.Public(netip.MustParseAddr("fe80::1%eth0")) {
		t.Error("no address passes for public")
	}
}

func TestAnInnerServerIsReachedOnlyWhereAllowed(t *testing.T) {
	server, reached := counted(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("inner")) })
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "https://"), ":")
	refusing := outgoing.New(outgoing.Options{TLS: trusting(server)})
	for _, address := range []string{server.URL, "https://localhost:" + port, "https://[::ffff:127.0.0.1]:" + port, "https://0.0.0.0:" + port, "https://2130706433:" + port, "https://0x7f.1:" + port, "http://127.0.0.1:" + port, "ftp://127.0.0.1:" + port} {
		if _, err := ask(t, refusing, address); err == nil {
			t.Errorf("%s was asked", address)
		}
	}
	if _, err := ask(t, refusing, server.URL+"/secret-in-the-path"); !errors.Is(err, outgoing.ErrRefused) || strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "secret") {
		t.Errorf("refused with %v", err)
	}
	if reached.Load() != 0 {
		t.Fatalf("the inner server was reached %d times", reached.Load())
	}
	answer, err := ask(t, outgoing.New(outgoing.Options{TLS: trusting(server), Allow: loopback}), server.URL)
	if err != nil || answer.Status != http.StatusOK || string(answer.Body) != "inner" {
		t.Errorf("where it is allowed: %v %v", answer, err)
	}
}

// A name that leads to a public address when it is looked at, and inside when
// it is asked, is asked at the address that was looked at or not at all.
func TestRebindingGainsNothing(t *testing.T) {
	server, reached := counted(t, func(http.ResponseWriter, *http.Request) {})
	var looks atomic.Int64
	c := outgoing.New(outgoing.Options{TLS: trusting(server), Timeout: 300 * time.Millisecond, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		if looks.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("240.0.0.1"), netip.MustParseAddr("127.0.0.1")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
	}})
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "https://"), ":")
	for range 3 {
		if _, err := ask(t, c, "https://rebind.example:"+port); !errors.Is(err, outgoing.ErrRefused) {
			t.Errorf("answered %v", err)
		}
	}
	if looks.Load() != 3 || reached.Load() != 0 {
		t.Errorf("%d looks, the inner server was reached %d times", looks.Load(), reached.Load())
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	inner, reached := counted(t, func(http.ResponseWriter, *http.Request) {})
	server, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inner.URL, http.StatusTemporaryRedirect)
	})
	answer, err := ask(t, outgoing.New(outgoing.Options{TLS: trusting(server), Allow: loopback}), server.URL)
	if err != nil || answer.Status != http.StatusTemporaryRedirect || reached.Load() != 0 {
		t.Errorf("%v %v, reached %d", answer, err, reached.Load())
	}
}

func TestPlainHTTPGoesToAllowedNetworksAlone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	if answer, err := ask(t, outgoing.New(outgoing.Options{Allow: loopback}), server.URL); err != nil || answer.Status != http.StatusOK {
		t.Errorf("allowed: %v %v", answer, err)
	}
	public := outgoing.New(outgoing.Options{Timeout: 300 * time.Millisecond, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("1.1.1.1")}, nil
	}})
	if _, err := ask(t, public, "http://public.example/"); !errors.Is(err, outgoing.ErrRefused) {
		t.Errorf("public over http: %v", err)
	}
}

func TestAnswersHaveASizeAndAnEnd(t *testing.T) {
	server, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
			}
			return
		}
		_, _ = w.Write(make([]byte, 1025))
	})
	c := outgoing.New(outgoing.Options{TLS: trusting(server), Allow: loopback, MaxAnswer: 1024, Timeout: 300 * time.Millisecond})
	if _, err := ask(t, c, server.URL); !errors.Is(err, outgoing.ErrTooLarge) {
		t.Errorf("a large answer: %v", err)
	}
	began := time.Now()
	if _, err := ask(t, c, server.URL+"/slow"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("a slow answer: %v after %s", err, time.Since(began))
	}
}
