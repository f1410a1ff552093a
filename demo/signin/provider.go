package signin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// provider is what discovery told.
type provider struct {
	oidc     *oidc.Provider
	verifier *oidc.IDTokenVerifier
	oauth    oauth2.Config
	metadata struct {
		EndSession string `json:"end_session_endpoint"`
		SendsIss   bool   `json:"authorization_response_iss_parameter_supported"`
	}
}

// discover asks the provider once and remembers a good answer; a failure is tried again by the next visitor.
func (c *Client) discover() (*provider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.provider != nil {
		return c.provider, nil
	}
	// Not a request's context: the key set that go-oidc keeps would die with that request.
	found, err := oidc.NewProvider(c.context(context.Background()), c.config.Issuer)
	if err != nil {
		return nil, fmt.Errorf("discovery at %s: %w", c.config.Issuer, err)
	}
	endpoint := found.Endpoint()
	// Said outright: oauth2 would otherwise find out by trying, and a second try finds a code spent.
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if c.config.ClientSecret == "" {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	p := &provider{
		oidc:     found,
		verifier: found.Verifier(&oidc.Config{ClientID: c.config.ClientID, Now: c.config.Now}),
		oauth: oauth2.Config{
			ClientID: c.config.ClientID, ClientSecret: c.config.ClientSecret, RedirectURL: c.config.RedirectURL,
			Endpoint: endpoint, Scopes: c.options.Scopes,
		},
	}
	if err := found.Claims(&p.metadata); err != nil {
		return nil, fmt.Errorf("discovery at %s: %w", c.config.Issuer, err)
	}
	c.provider = p
	return p, nil
}

// context makes go-oidc and oauth2 use this client's HTTP client.
func (c *Client) context(ctx context.Context) context.Context { return oidc.ClientContext(ctx, c.http) }

// transport leads requests for the issuer's origin to ProviderInternalURL where one is set.
func transport(config Config) http.RoundTripper {
	if config.ProviderInternalURL == "" {
		return http.DefaultTransport
	}
	issuer, err := url.Parse(config.Issuer)
	if err != nil {
		return http.DefaultTransport // discovery will say what is wrong with the issuer
	}
	internal, err := url.Parse(config.ProviderInternalURL)
	if err != nil {
		return http.DefaultTransport
	}
	return inside{issuer: issuer, internal: internal}
}

type inside struct{ issuer, internal *url.URL }

func (t inside) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == t.issuer.Scheme && r.URL.Host == t.issuer.Host {
		r = r.Clone(r.Context())
		r.Host = t.issuer.Host // the provider still knows itself by its public name
		r.URL.Scheme, r.URL.Host = t.internal.Scheme, t.internal.Host
	}
	return http.DefaultTransport.RoundTrip(r)
}
