package oauth

import (
	"net/http"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/tenant"
)

// introspect is the introspection endpoint (RFC 7662). It writes nothing. An
// application learns about its own tokens and those meant for it; of all else
// it learns only that they are not good (section 2.2).
func (p *Provider) introspect(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	f, err := readForm(w, r)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	x := &exchange{ctx: r.Context(), tenant: t, form: f, basic: r.Header.Get("Authorization"), address: p.Resolver.Client(r).IP}
	if err := p.check(atIntrospect, x); err != nil {
		p.writeError(w, r, err)
		return
	}
	presented := f.get("token")
	if presented == "" {
		p.writeError(w, r, refuse(codeInvalidRequest, "The token is missing."))
		return
	}
	answer, err := p.introspection(x, presented)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if answer == nil {
		answer = map[string]any{"active": false}
	}
	writeJSON(w, http.StatusOK, answer)
}

func (p *Provider) introspection(x *exchange, presented string) (map[string]any, error) {
	if strings.Count(presented, ".") != 2 {
		return p.introspectRefresh(x, presented)
	}
	token, err := p.readAccessToken(x.ctx, x.tenant, presented)
	if err != nil || token == nil {
		return nil, err
	}
	if token.application != x.app.ID && !meantFor(token.raw.Audience, x.app) {
		return nil, nil
	}
	active, app, err := p.active(x.ctx, x.tenant, token)
	if err != nil || !active {
		return nil, err
	}
	answer := map[string]any{
		"active": true, "iss": x.tenant.Issuer, "sub": token.subject, "aud": oneOrMany(token.raw.Audience), "client_id": token.application,
		"exp": token.expires.Unix(), "iat": token.issued.Unix(), "jti": token.jti, "token_type": "Bearer",
	}
	if len(token.scopes) > 0 {
		answer["scope"] = strings.Join(token.scopes, " ")
	}
	names := []string{"sid", "auth_time", "acr", "amr"}
	for _, m := range slices.Concat(x.tenant.Settings.Claims, app.Claims) { // as the token has them
		if slices.Contains(m.In, claim.AccessToken) && !claim.Reserved(m.Name) {
			names = append(names, m.Name)
		}
	}
	for _, name := range names {
		var value any
		if token.raw.Has(name) && token.raw.Get(name, &value) == nil {
			answer[name] = value
		}
	}
	addOrganization(answer, token.member, token.scopes)
	return answer, nil
}

// introspectRefresh answers for a refresh token of the application itself.
func (p *Provider) introspectRefresh(x *exchange, presented string) (map[string]any, error) {
	ref, generation, ok, err := p.Grants.ReadRefresh(x.ctx, x.tenant.ID, presented)
	if err != nil || !ok || ref.Application != x.app.ID || x.tenant.Suspended {
		return nil, err
	}
	batch := p.DB.Batch()
	state := p.Grants.QueueAlive(batch, x.tenant, grant.Ref{Customer: ref.Customer, Application: ref.Application, Session: ref.Session, Lineage: ref.Lineage})
	if err := batch.Run(x.ctx); err != nil {
		return nil, err
	}
	alive := state()
	if !alive.Active || (alive.Unasked && !x.app.FirstParty) || alive.Generation != generation {
		return nil, nil
	}
	member, good, err := p.belonging(x, ref.Customer, alive.Organization)
	if err != nil || !good {
		return nil, err
	}
	answer := map[string]any{
		"active": true, "iss": x.tenant.Issuer, "sub": ref.Customer, "client_id": ref.Application, "sid": ref.Session,
		"scope": strings.Join(alive.Scopes, " "), "token_type": "refresh_token",
	}
	addOrganization(answer, member, alive.Scopes)
	return answer, nil
}
