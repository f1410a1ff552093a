package oauth

import "slices"

// clientCredentials is the client credentials grant (RFC 6749, section 4.4).
// It writes nothing: its tokens name no lineage, and one that is revoked is
// marked.
func (p *Provider) clientCredentials(x *exchange) (*issued, error) {
	if !x.authenticated {
		return nil, refuseClient("The grant needs an application that keeps a secret.", false)
	}
	scopes, err := scopesOf(x.form.get("scope"), x.app)
	if err != nil {
		return nil, err
	}
	if len(scopes) == 0 {
		scopes = x.app.Scopes
	}
	if slices.ContainsFunc(scopes, func(s string) bool { return s == "openid" || s == "offline_access" }) {
		return nil, refuse(codeInvalidScope, "The scopes openid and offline_access are for customers; an application has none.")
	}
	return &issued{subject: string(x.app.ID), scopes: scopes}, nil
}
