package check

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	// certificateMayLast is how long before its end a certificate is renewed.
	certificateMayLast = 14 * 24 * time.Hour
	// mostBody is how much of an answer is read.
	mostBody = 1 << 20
	// reachTime bounds one question to a public address.
	reachTime = 10 * time.Second
)

// strangerHost is what nobody's address may become by writing it into a header.
const strangerHost = "stranger.invalid"

// public asks a tenant's address what its applications ask, as a stranger does.
func (c *checker) public(ctx context.Context, t *tenant.Tenant) {
	discovery := t.URL("/.well-known/openid-configuration")
	plain, state, err := c.get(ctx, discovery, nil)
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		c.found("public-certificate", "%s: %v", t.Issuer, certificate.Err)
		return
	case err != nil:
		c.found("public-unreachable", "%s: %v", discovery, reasonOf(err))
		return
	case plain.status != http.StatusOK:
		c.found("public-unreachable", "%s answers %d", discovery, plain.status)
		return
	}
	if state != nil && len(state.PeerCertificates) > 0 {
		if left := state.PeerCertificates[0].NotAfter.Sub(c.Clock.Now()); left < certificateMayLast {
			c.found("public-certificate-expires", "%s: in %s", t.Issuer, ago(left))
		}
		if plain.header.Get("Strict-Transport-Security") == "" {
			c.found("public-hsts", "%s", t.Issuer)
		}
	}
	var document struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(plain.body, &document); err != nil || document.Issuer != t.Issuer {
		c.found("public-issuer", "%s says that it is %q", discovery, document.Issuer)
	}
	c.strangers(ctx, t, discovery, plain)
	c.inner(ctx, t)
}

// strangers sends what a stranger may write into headers, and looks whether it
// changes anything.
func (c *checker) strangers(ctx context.Context, t *tenant.Tenant, discovery string, plain answer) {
	forged := http.Header{"X-Forwarded-Host": {strangerHost}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Port": {"1"}, "X-Forwarded-Prefix": {"/" + strangerHost},
		"X-Original-Url": {"/" + strangerHost}, "X-Rewrite-Url": {"/" + strangerHost}, "Forwarded": {"host=" + strangerHost + ";proto=http;for=192.0.2.1"}}
	for _, address := range []string{discovery, t.URL("/account")} {
		got, _, err := c.get(ctx, address, forged)
		if err != nil {
			c.found("public-unreachable", "%s: %v", address, reasonOf(err))
			return
		}
		location := got.header.Get("Location")
		if address == discovery && (got.status != plain.status || string(got.body) != string(plain.body)) ||
			strings.Contains(string(got.body), strangerHost) || strings.Contains(location, strangerHost) ||
			strings.HasPrefix(t.Issuer, "https:") && strings.HasPrefix(location, "http:") {
			c.found("public-forwarded", "%s answers otherwise with X-Forwarded headers of a stranger", address)
			return
		}
	}
}

// inner looks whether what is for operators answers on a public address.
func (c *checker) inner(ctx context.Context, t *tenant.Tenant) {
	at, err := url.Parse(t.Issuer)
	if err != nil {
		return
	}
	origin := at.Scheme + "://" + at.Host
	for _, path := range []string{"/v1/tenants", "/v1/root-key", "/admin/v1/tenants"} {
		if got, _, err := c.get(ctx, origin+path, nil); err == nil && got.status == http.StatusOK && strings.Contains(got.header.Get("Content-Type"), "json") {
			c.found("public-admin", "%s answers 200", origin+path)
			break
		}
	}
	if got, _, err := c.get(ctx, origin+"/metrics", nil); err == nil && got.status == http.StatusOK && strings.Contains(string(got.body), "cardea_build_info") {
		c.found("public-metrics", "%s", origin+"/metrics")
	}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (c *checker) get(ctx context.Context, address string, header http.Header) (answer, *tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer{}, nil, err
	}
	if header != nil {
		r.Header = header.Clone()
	}
	client := http.Client{}
	if c.Client != nil {
		client = *c.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(r)
	if err != nil {
		return answer{}, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, mostBody))
	return answer{response.StatusCode, response.Header, body}, response.TLS, err
}

// reasonOf is why an address was not reached, without the address.
func reasonOf(err error) error {
	if wrapped, is := errors.AsType[*url.Error](err); is {
		return wrapped.Err
	}
	return err
}

// mail asks whether the mail server would take a message. It is given none.
func (c *checker) mail(ctx context.Context) {
	o := c.Config.SMTP
	if o.Host == "" || c.Development {
		return
	}
	transport, err := notify.NewSMTP(notify.SMTPOptions{Host: o.Host, Port: o.Port, TLS: notify.TLSPolicy(o.TLS), Username: o.User, Password: o.Password.Reveal(), Timeout: reachTime})
	if err != nil {
		c.found("mail-unreachable", "%v", err)
		return
	}
	if reason, err := transport.Probe(ctx); err != nil {
		c.found("mail-unreachable", "%s:%d (%s): %v", o.Host, o.Port, reason, err)
	}
}

// forwarded asks this node's metrics whether proxies come that are not named.
func (c *checker) forwarded(ctx context.Context) {
	if c.Config.Metrics.Listen == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.Config.Metrics.Listen)
	if err != nil {
		return
	}
	if at := net.ParseIP(host); host == "" || at != nil && at.IsUnspecified() {
		host = "localhost"
	}
	got, _, err := c.get(ctx, "http://"+net.JoinHostPort(host, port)+"/metrics", nil)
	if err != nil {
		return // no server runs on this machine
	}
	for lines := bufio.NewScanner(strings.NewReader(string(got.body))); lines.Scan(); {
		if count, is := strings.CutPrefix(lines.Text(), "cardea_forwarded_disbelieved_total "); is && count != "0" {
			c.found("trusted-proxies-missing", "%s requests came with X-Forwarded-For from addresses that are not in trusted_proxies", count)
		}
	}
}
