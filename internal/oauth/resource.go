package oauth

import (
	"slices"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Resource indicators (RFC 8707): an application says by the parameter resource
// which API a token is for. An authorization may be for several; an access token
// is for one, so that no API can use at another what it was sent.

// maxResources is how many an authorization may be for.
const maxResources = 8

// checkResources reads the resources that are asked for, each of which must be
// one that the application is registered for (section 2).
func (p *Provider) checkResources(x *exchange) error {
	asked := slices.Sorted(slices.Values(x.form["resource"]))
	asked = slices.Compact(asked)
	if len(asked) > maxResources {
		return refuse(codeInvalidTarget, "The request names more than 8 resources.")
	}
	for _, resource := range asked {
		if !slices.Contains(x.app.Resources, resource) {
			return refuse(codeInvalidTarget, "A resource is not one that the application may ask for. Name it among its resources first.")
		}
	}
	x.resources = asked
	return nil
}

// chooseResource is the one that a token is for: that of the token request, which
// is among those of the authorization where it named any (section 2.2); else the
// authorization's own; else none, "".
func chooseResource(x *exchange, authorized []string) (string, error) {
	if len(x.resources) > 1 {
		return "", refuse(codeInvalidTarget, "An access token is for one resource. Ask for one, and with the refresh token for the next.")
	}
	if len(x.resources) == 1 {
		if len(authorized) > 0 && !slices.Contains(authorized, x.resources[0]) {
			return "", refuse(codeInvalidTarget, "The resource is not one that the authorization request named.")
		}
		return x.resources[0], nil
	}
	switch len(authorized) {
	case 0:
		return "", nil
	case 1:
		if !slices.Contains(x.app.Resources, authorized[0]) { // taken from the application since
			return "", refuse(codeInvalidTarget, "The resource is not one that the application may ask for any more.")
		}
		return authorized[0], nil
	}
	return "", refuse(codeInvalidTarget, "The authorization is for several resources, and an access token is for one. Name it by the parameter resource.")
}

// audienceOf is whom an access token is meant for: its resource, and the issuer,
// whose userinfo it opens, where the token is for no resource or has the scope
// openid.
func audienceOf(x *exchange, given *issued) []string {
	switch {
	case given.resource == "":
		return []string{x.tenant.Issuer}
	case slices.Contains(given.scopes, "openid"):
		return []string{given.resource, x.tenant.Issuer}
	}
	return []string{given.resource}
}

// appendAudience writes one as a string and several as an array (RFC 7519,
// section 4.1.3).
func appendAudience(c []byte, audience []string) []byte {
	if len(audience) == 1 {
		return appendString(c, audience[0])
	}
	c = append(c, '[')
	for i, one := range audience {
		if i > 0 {
			c = append(c, ',')
		}
		c = appendString(c, one)
	}
	return append(c, ']')
}

func oneOrMany(audience []string) any {
	if len(audience) == 1 {
		return audience[0]
	}
	return audience
}

// mayHave tells whether tokens for an audience are ones that the application is
// given: for the issuer, and for the resources that it has now.
func mayHave(app *application.Application, t *tenant.Tenant, audience []string) bool {
	return !slices.ContainsFunc(audience, func(one string) bool { return one != t.Issuer && !slices.Contains(app.Resources, one) })
}

// meantFor tells whether an audience has the application in it, by its id or as
// the resource server that it is.
func meantFor(audience []string, app *application.Application) bool {
	return slices.Contains(audience, string(app.ID)) || (app.ResourceServer != "" && slices.Contains(audience, app.ResourceServer))
}
