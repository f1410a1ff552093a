package cardea

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// Introspection is how the issuer is asked whether a token has been revoked
// (RFC 7662). It answers an application about the tokens that were given to it
// and those that have it in their audience.
type Introspection struct {
	ClientID     string
	ClientSecret string
}

// alive asks the issuer about a token that is good by itself, where that is
// wanted. While it cannot be asked, no token is good.
func (g *Guard) alive(ctx context.Context, token string, claims *Claims) error {
	if g.config.Introspection == nil {
		return nil
	}
	endpoint := g.issuer.introspection()
	if endpoint == "" {
		return unavailable(errors.New("the issuer names no introspection endpoint"))
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return unavailable(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	// RFC 6749, section 2.3.1: both are form-encoded first.
	r.SetBasicAuth(url.QueryEscape(g.config.Introspection.ClientID), url.QueryEscape(g.config.Introspection.ClientSecret))
	var said struct {
		Active  bool   `json:"active"`
		Subject string `json:"sub"`
	}
	if _, err := g.issuer.do(r, &said); err != nil {
		return unavailable(err)
	}
	if !said.Active || said.Subject != "" && said.Subject != claims.Subject {
		return bad("The token has been revoked.")
	}
	return nil
}

func (i *issuer) introspection() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.metadata.Introspection
}
