package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/tenant"
)

// code is what an authorization code says. It travels sealed; everything that
// redeeming it must compare is in it.
type code struct {
	Application  id.Application  `json:"c"`
	RedirectURI  string          `json:"u,omitempty"` // as the request named it, "" when it named none
	Challenge    string          `json:"h,omitempty"` // the PKCE code_challenge
	Nonce        string          `json:"n,omitempty"`
	Customer     id.Customer     `json:"s"`
	Session      id.Session      `json:"i"`
	Scope        string          `json:"o,omitempty"`
	AuthTime     int64           `json:"t"` // Unix seconds
	Methods      string          `json:"m,omitempty"`
	ACR          string          `json:"a,omitempty"`
	Lineage      id.Lineage      `json:"l"`
	Organization id.Organization `json:"g,omitempty"`
	Resources    []string        `json:"r,omitempty"` // as the request named them
	Expires      int64           `json:"x"`           // Unix seconds
}

func (p *Provider) sealCode(ctx context.Context, t *tenant.Tenant, c code) (string, error) {
	plain, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("write the code: %w", err)
	}
	return p.Grants.SealCode(ctx, t.ID, plain, time.Unix(c.Expires, 0))
}

// openCode reads a code of the tenant. It answers false for all that is not
// one.
func (p *Provider) openCode(ctx context.Context, t *tenant.Tenant, presented string) (code, bool, error) {
	plain, ok, err := p.Grants.OpenCode(ctx, t.ID, presented)
	if err != nil || !ok {
		return code{}, false, err
	}
	var c code
	if err := json.Unmarshal(plain, &c); err != nil {
		return code{}, false, nil
	}
	return c, true, nil
}
