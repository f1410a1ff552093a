package sqldb

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// from is a connection with addresses of a test's choice.
type from struct {
	net.Conn
	here, there string
}

func (f from) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.ParseIP(f.here), Port: 1} }
func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.there), Port: 5432} }

func TestHowWellAConnectionIsSealed(t *testing.T) {
	for _, c := range []struct {
		here, there string
		remote      bool
	}{
		{"127.0.0.1", "127.0.0.1", false}, {"::1", "::1", false}, {"10.0.0.7", "10.0.0.7", false}, {"10.0.0.7", "10.0.0.8", true}, {"2001:db8::1", "2001:db8::2", true},
	} {
		if remote, how := sealed(from{here: c.here, there: c.there}); remote != c.remote || how != TLSNone {
			t.Errorf("%+v: %v %v", c, remote, how)
		}
	}
	client, server := net.Pipe()
	defer func() { _, _ = client.Close(), server.Close() }()
	if remote, _ := sealed(client); remote {
		t.Error("what has no address of the network is remote")
	}

	there := httptest.NewTLSServer(http.NotFoundHandler())
	defer there.Close()
	roots := there.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	for config, want := range map[*tls.Config]TLS{{RootCAs: roots, ServerName: "example.com"}: TLSVerified, {InsecureSkipVerify: true}: TLSUnverified} {
		conn, err := tls.Dial("tcp", there.Listener.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		if remote, how := sealed(conn); remote || how != want {
			t.Errorf("%v %v, not %v", remote, how, want)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
