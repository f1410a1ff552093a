package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/session"
)

// An application learns the organization that a customer acts for by the scope
// "organization", or "organization:" with the id or slug of one. The tokens of an
// authorization are for one organization; it is sealed into the code and stored
// with the lineage, and the membership is read anew whenever tokens are issued or
// asked about. When it is gone, or the organization is suspended or deleted,
// tokens that are for it are good for nothing (docs/decisions/0080).

// organizationScope takes the organization that a scope names out of scopes, and
// leaves the plain scope. An application that requires an organization asks for
// it whether or not it says so.
func organizationScope(scopes []string, required bool) (plain []string, named string, err error) {
	plain = make([]string, 0, len(scopes)+1)
	for _, scope := range scopes {
		name, names := strings.CutPrefix(scope, organization.Scope+":")
		switch {
		case !names:
			plain = append(plain, scope)
		case name == "" || (named != "" && named != name):
			return nil, "", refuse(codeInvalidScope, "The scope names no organization, or more than one.")
		default:
			named = name
		}
	}
	if named != "" || required {
		plain = append(plain, organization.Scope)
	}
	slices.Sort(plain)
	return slices.Compact(plain), named, nil
}

// settleOrganization finds the organization that the customer acts for: the one
// that is named, that was settled on the way, the only one, the one that he chose
// before. Where none of this is so he is asked, and asked says that a page was
// shown.
func (p *Provider) settleOrganization(w http.ResponseWriter, r *http.Request, x *exchange, client journey.Client, resume journey.Return, finished *journey.Finished) (settled id.Organization, asked bool, err error) {
	if !slices.Contains(x.scopes, organization.Scope) {
		return "", false, nil
	}
	s := client.Session
	if x.organization != "" {
		settled, err = p.namedOrganization(x, s)
		return settled, false, err
	}
	memberships, err := p.Organizations.Memberships(x.ctx, x.tenant.ID, s.Customer)
	if err != nil {
		return "", false, err
	}
	isIn := func(o id.Organization) bool {
		return slices.ContainsFunc(memberships, func(m organization.Membership) bool { return m.Organization.ID == o })
	}
	onTheWay := finished != nil && finished.Organization != "" // by the page that asks, and the consent after it
	switch {
	case onTheWay && isIn(finished.Organization):
		return finished.Organization, false, nil
	case len(memberships) == 0 && x.app.OrganizationRequired():
		return "", false, refuse(codeAccessDenied, "The customer is a member of no organization, and the application is for members of one.")
	case len(memberships) == 0:
		return "", false, nil
	case len(memberships) == 1:
		return memberships[0].Organization.ID, false, nil
	}
	if onTheWay || !slices.Contains(x.prompts, promptOrganization) {
		before, err := p.Organizations.Chosen(x.ctx, x.tenant.ID, s.Customer, s.ID, x.app.ID)
		if err != nil || isIn(before) {
			return before, false, err
		}
	}
	if slices.Contains(x.prompts, "none") {
		return "", false, refuse(codeInteractionRequired, "The customer has to choose an organization.")
	}
	p.Interaction.Begin(w, r, x.tenant, journey.Start{Journey: "organization", Return: resume, Application: x.app, Scopes: x.scopes, Client: client})
	return "", true, nil
}

// namedOrganization is the organization that the request names. One that there is
// not is answered as one that the customer is not in.
func (p *Provider) namedOrganization(x *exchange, s *session.Session) (id.Organization, error) {
	denied := refuse(codeAccessDenied, "The customer is not a member of the organization that the scope names.")
	named, err := p.Organizations.Resolve(x.ctx, x.tenant.ID, x.organization)
	if errors.Is(err, organization.ErrNotFound) {
		return "", denied
	}
	if err != nil {
		return "", err
	}
	member, err := p.Organizations.Membership(x.ctx, x.tenant.ID, s.Customer, named)
	if err != nil {
		return "", err
	}
	if member == nil {
		return "", denied
	}
	return named, nil
}

// belonging returns a customer's membership of the organization that tokens are
// for, and whether they are good for as much as that: tokens that are for none
// always are.
func (p *Provider) belonging(x *exchange, who id.Customer, in id.Organization) (*organization.Membership, bool, error) {
	if in == "" {
		return nil, true, nil
	}
	member, err := p.Organizations.Membership(x.ctx, x.tenant.ID, who, in)
	return member, member != nil, err
}

// addOrganization adds the claims of a membership where scopes release them.
func addOrganization(claims map[string]any, member *organization.Membership, scopes []string) {
	if member != nil && slices.Contains(scopes, organization.Scope) {
		maps.Copy(claims, member.Claims())
	}
}

// organizationClaims are the claims of a membership as they stand in a token,
// each with a comma before it. There are none where scopes do not release them.
func organizationClaims(member *organization.Membership, scopes []string) ([]byte, error) {
	if member == nil || !slices.Contains(scopes, organization.Scope) {
		return nil, nil
	}
	var c []byte
	claims := member.Claims()
	for _, name := range organization.ClaimNames() {
		value, err := json.Marshal(claims[name])
		if err != nil {
			return nil, fmt.Errorf("write the claim %s: %w", name, err)
		}
		c = append(append(append(c, `,"`...), name...), `":`...)
		c = append(c, value...)
	}
	return c, nil
}
