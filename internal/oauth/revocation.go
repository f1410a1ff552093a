package oauth

import (
	"net/http"
	"strings"

	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// revoke is the revocation endpoint (RFC 7009). To revoke a token of a
// customer, of either kind, ends its lineage; an application's own token is
// marked. A token that is not the application's is left alone and the answer
// is the same (section 2.2). A failure is a 503, never a success (section
// 2.2.1).
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	f, err := readForm(w, r)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	x := &exchange{ctx: r.Context(), tenant: t, form: f, basic: r.Header.Get("Authorization"), address: p.Resolver.Client(r).IP}
	if err := p.check(atRevoke, x); err != nil {
		p.writeError(w, r, err)
		return
	}
	presented := f.get("token")
	if presented == "" {
		p.writeError(w, r, refuse(codeInvalidRequest, "The token is missing."))
		return
	}
	if err := p.revokeToken(x, presented); err != nil {
		p.writeError(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

func (p *Provider) revokeToken(x *exchange, presented string) error {
	if strings.Count(presented, ".") != 2 {
		_, err := p.Grants.RevokeRefresh(x.ctx, x.tenant.ID, x.app.ID, presented)
		return err
	}
	token, err := p.readAccessToken(x.ctx, x.tenant, presented)
	if err != nil || token == nil || token.application != x.app.ID || !mayHave(x.app, x.tenant, token.raw.Audience) {
		return err
	}
	if token.lineage == "" {
		return p.Grants.RevokeToken(x.ctx, x.tenant.ID, x.app.ID, token.jti, token.expires)
	}
	return p.DB.Write(x.ctx, func(tx *sqldb.Tx) error {
		_, err := p.Grants.End(tx, x.tenant.ID, id.Customer(token.subject), token.lineage, grant.Revoked, string(x.app.ID))
		return err
	})
}
