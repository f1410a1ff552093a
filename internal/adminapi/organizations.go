package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const (
	ofOrganization = ofTenant + "/organizations/{organization}"
	ofInvitation   = ofOrganization + "/invitations/{invitation}"
)

func (a *api) organizationOperations() {
	const reads, writes = "organizations:read", "organizations:write"
	declare(a, operation{
		id: "listOrganizations", method: get, path: ofTenant + "/organizations", noun: organizations, scope: reads,
		summary: "List the organizations of a tenant", description: "The oldest first.", errors: []int{404},
	}, a.listOrganizations)
	declare(a, operation{
		id: "createOrganization", method: post, path: ofTenant + "/organizations", noun: organizations, scope: writes, status: http.StatusCreated,
		summary: "Make an organization", description: "It has no members yet: invite them, or make customers members.", errors: []int{404, 409},
	}, a.createOrganization)
	declare(a, operation{
		id: "showOrganization", method: get, path: ofOrganization, noun: organizations, scope: reads,
		summary: "Show an organization", description: "By its id or its slug.", errors: []int{404},
	}, a.showOrganization)
	declare(a, operation{
		id: "changeOrganization", method: put, path: ofOrganization, noun: organizations, scope: writes,
		summary: "Rename an organization", description: "What is left out stays. Whoever names it by its former slug finds it no more.", errors: []int{404, 409, 412},
	}, a.changeOrganization)
	declare(a, operation{
		id: "suspendOrganization", method: post, path: ofOrganization + "/suspend", noun: organizations, scope: writes,
		summary: "Suspend an organization", description: "Tokens that are for it are not good, nobody gets new ones, joins it or is invited, until it is opened again. Its members stay customers.", errors: []int{404},
	}, a.setOrganizationStatus(organization.Suspended))
	declare(a, operation{
		id: "resumeOrganization", method: post, path: ofOrganization + "/resume", noun: organizations, scope: writes,
		summary: "Open a suspended organization again", description: "Tokens that are for it and have not expired are good again.", errors: []int{404},
	}, a.setOrganizationStatus(organization.Active))
	declare(a, operation{
		id: "deleteOrganization", method: remove, path: ofOrganization, noun: organizations, scope: writes,
		summary: "Delete an organization", description: "Its memberships and invitations go with it, and tokens that are for it are good for nothing at once. Its members stay customers. This cannot be undone.", errors: []int{404},
	}, a.deleteOrganization)

	declare(a, operation{
		id: "listMembers", method: get, path: ofOrganization + "/members", noun: organizations, scope: reads,
		summary: "List the members of an organization", description: "Customers, with their roles.", errors: []int{404},
	}, a.listMembers)
	declare(a, operation{
		id: "setMember", method: put, path: ofOrganization + "/members/{customer}", noun: organizations, scope: writes,
		summary: "Make a customer a member, or change the roles of one", description: "The roles are these and no others. Nobody is asked or told: to ask, invite.", errors: []int{404, 409, 410},
	}, a.setMember)
	declare(a, operation{
		id: "removeMember", method: remove, path: ofOrganization + "/members/{customer}", noun: organizations, scope: writes,
		summary: "Take a member out of an organization", description: "Tokens that the customer has for it are good for nothing at once.", errors: []int{404},
	}, a.removeMember)
	declare(a, operation{
		id: "listMemberships", method: get, path: ofCustomer + "/organizations", noun: organizations, scope: reads,
		summary: "List the organizations of a customer", description: "By name; a customer is in 100 at most.", errors: []int{404},
	}, a.listMemberships)

	declare(a, operation{
		id: "listInvitations", method: get, path: ofOrganization + "/invitations", noun: organizations, scope: reads,
		summary: "List the invitations to an organization", description: "Those that have ended are kept for seven days after their time, without the address.", errors: []int{404},
	}, a.listInvitations)
	declare(a, operation{
		id: "invite", method: post, path: ofOrganization + "/invitations", noun: organizations, scope: writes, status: http.StatusCreated,
		summary: "Invite somebody to an organization", description: "By mail, with a link that nobody else is told. Whether the address has an account shows nowhere. One who is invited already is sent a new link, with these roles; the former link is dead.", errors: []int{404, 409},
	}, a.invite)
	declare(a, operation{
		id: "resendInvitation", method: post, path: ofInvitation + "/resend", noun: organizations, scope: writes,
		summary: "Send an invitation once more", description: "With a new link and a new time; the former link is dead.", errors: []int{404, 409},
	}, a.resendInvitation)
	declare(a, operation{
		id: "revokeInvitation", method: remove, path: ofInvitation, noun: organizations, scope: writes,
		summary: "Take an invitation back", description: "Its link is good for nothing any more.", errors: []int{404},
	}, a.revokeInvitation)
}

// organizationView is an organization as it is answered.
type organizationView struct {
	ID        id.Organization     `json:"id"`
	Slug      string              `json:"slug"`
	Name      string              `json:"name"`
	Status    organization.Status `json:"status" enum:"active,suspended"`
	Members   int                 `json:"members" doc:"How many there are."`
	Revision  int64               `json:"revision"`
	CreatedAt time.Time           `json:"created_at"`
	UpdatedAt time.Time           `json:"updated_at"`
}

func viewOrganization(x *organization.Organization) organizationView {
	return organizationView{x.ID, x.Slug, x.Name, x.Status, x.Members, x.Revision, x.CreatedAt, x.UpdatedAt}
}

func answerOrganization(x *organization.Organization) (*versioned[organizationView], error) {
	return &versioned[organizationView]{ETag: etag(x.Revision), Body: viewOrganization(x)}, nil
}

// OrganizationPath names an organization of a tenant.
type OrganizationPath struct {
	TenantPath
	Organization string `path:"organization" doc:"The organization's id or its slug." example:"acme"`
}

// organizationOf finds the organization that a path names.
func (a *api) organizationOf(ctx context.Context, in OrganizationPath) (*organization.Organization, error) {
	t := tenantOf(ctx).ID
	named, err := a.Organizations.Resolve(ctx, t, in.Organization)
	if err != nil {
		return nil, err
	}
	return a.Organizations.Get(ctx, t, named)
}

func (a *api) listOrganizations(ctx context.Context, in *struct {
	TenantPath
	Paging
},
) (*answer[page[organizationView]], error) {
	after, err := afterOf[id.Organization](in.Paging)
	if err != nil {
		return nil, err
	}
	found, err := a.Organizations.List(ctx, tenantOf(ctx).ID, after, in.Limit)
	if err != nil {
		return nil, err
	}
	return answerWith(pageOf(found, in.Limit, func(x *organization.Organization) string { return string(x.ID) }, viewOrganization))
}

// newOrganization is what an organization is made of.
type newOrganization struct {
	Slug string `json:"slug" doc:"How addresses and scopes name it: lower-case letters, digits and dashes." example:"acme"`
	Name string `json:"name" doc:"How people call it." example:"Acme Ltd"`
}

func (a *api) createOrganization(ctx context.Context, in *struct {
	TenantPath
	Body newOrganization
},
) (*versioned[organizationView], error) {
	made, err := a.Organizations.Create(ctx, organization.NewOrganization{Tenant: tenantOf(ctx).ID, Slug: in.Body.Slug, Name: in.Body.Name, Actor: actor(ctx)})
	if err != nil {
		return nil, err
	}
	return answerOrganization(made)
}

func (a *api) showOrganization(ctx context.Context, in *struct{ OrganizationPath }) (*versioned[organizationView], error) {
	x, err := a.organizationOf(ctx, in.OrganizationPath)
	if err != nil {
		return nil, err
	}
	return answerOrganization(x)
}

// organizationChange is what is changed of an organization.
type organizationChange struct {
	Slug string `json:"slug,omitempty" doc:"How addresses and scopes name it."`
	Name string `json:"name,omitempty" doc:"How people call it."`
}

func (a *api) changeOrganization(ctx context.Context, in *struct {
	OrganizationPath
	IfMatch
	Body organizationChange
},
) (*versioned[organizationView], error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	x, err := a.organizationOf(ctx, in.OrganizationPath)
	if err != nil {
		return nil, err
	}
	if revision != 0 && revision != x.Revision {
		return nil, preconditionFailed("The organization was changed by somebody else since it was read. Nothing was changed. Read it again and repeat.")
	}
	changed, err := a.Organizations.Update(ctx, organization.Change{Tenant: tenantOf(ctx).ID, Organization: x.ID, Revision: revision,
		Slug: in.Body.Slug, Name: in.Body.Name, Actor: actor(ctx)})
	if err != nil {
		return nil, err
	}
	return answerOrganization(changed)
}

func (a *api) setOrganizationStatus(status organization.Status) func(context.Context, *struct{ OrganizationPath }) (*versioned[organizationView], error) {
	return func(ctx context.Context, in *struct{ OrganizationPath }) (*versioned[organizationView], error) {
		x, err := a.organizationOf(ctx, in.OrganizationPath)
		if err == nil {
			x, err = a.Organizations.SetStatus(ctx, tenantOf(ctx).ID, x.ID, status, actor(ctx))
		}
		if err != nil {
			return nil, err
		}
		return answerOrganization(x)
	}
}

func (a *api) deleteOrganization(ctx context.Context, in *struct{ OrganizationPath }) (*nothing, error) {
	x, err := a.organizationOf(ctx, in.OrganizationPath)
	if err != nil {
		return nil, err
	}
	return &nothing{}, a.Organizations.Delete(ctx, tenantOf(ctx).ID, x.ID, actor(ctx))
}

// memberView is a member as it is answered.
type memberView struct {
	Customer id.Customer `json:"customer"`
	Roles    []string    `json:"roles"`
	Since    time.Time   `json:"since"`
}

func (a *api) listMembers(ctx context.Context, in *struct {
	OrganizationPath
	Paging
},
) (*answer[page[memberView]], error) {
	x, err := a.organizationOf(ctx, in.OrganizationPath)
	if err != nil {
		return nil, err
	}
	after, err := afterOf[id.Customer](in.Paging)
	if err != nil {
		return nil, err
	}
	found, err := a.Organizations.Members(ctx, tenantOf(ctx).ID, x.ID, after, in.Limit)
	if err != nil {
		return nil, err
	}
	return answerWith(pageOf(found, in.Limit, func(m organization.Member) string { return string(m.Customer) },
		func(m organization.Member) memberView { return memberView{m.Customer, orEmpty(m.Roles), m.Since} }))
}

// MemberPath names a member of an organization.
type MemberPath struct {
	OrganizationPath
	Customer string `path:"customer" doc:"The customer's id." example:"cus_06c1x5m8kz7v9b2n4q6r8t0w1y"`
}

// memberOf finds the organization and the customer that a path names.
func (a *api) memberOf(ctx context.Context, in MemberPath) (*organization.Organization, id.Customer, error) {
	x, err := a.organizationOf(ctx, in.OrganizationPath)
	if err != nil {
		return nil, "", err
	}
	c, err := a.customerOf(ctx, CustomerPath{in.TenantPath, in.Customer})
	return x, c, err
}

func (a *api) setMember(ctx context.Context, in *struct {
	MemberPath
	Body struct {
		Roles []string `json:"roles" doc:"Some of the tenant's setting organizations.roles." example:"[\"member\"]"`
	}
},
) (*answer[memberView], error) {
	t := tenantOf(ctx)
	x, c, err := a.memberOf(ctx, in.MemberPath)
	if err != nil {
		return nil, err
	}
	roles, err := organization.CheckRoles(t, in.Body.Roles)
	if err != nil {
		return nil, err
	}
	if _, err := a.Directory.Key(ctx, t.ID, c); err != nil { // of an erased customer it says so
		return nil, err
	}
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) error {
		return a.Organizations.SetMember(tx, t.ID, x.ID, c, roles, actor(ctx))
	})
	if err != nil {
		return nil, err
	}
	m, err := a.Organizations.Membership(ctx, t.ID, c, x.ID)
	if err == nil && m == nil { // taken out again meanwhile
		err = organization.ErrNotMember
	}
	if err != nil {
		return nil, err
	}
	return answerWith(memberView{c, m.Roles, m.Since})
}

func (a *api) removeMember(ctx context.Context, in *MemberPath) (*nothing, error) {
	x, c, err := a.memberOf(ctx, *in)
	if err != nil {
		return nil, err
	}
	was := false
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		was, err = a.Organizations.Remove(tx, tenantOf(ctx).ID, x.ID, c, actor(ctx))
		return err
	})
	if err == nil && !was {
		err = organization.ErrNotMember
	}
	return &nothing{}, err
}

// membershipView is an organization of a customer as it is answered.
type membershipView struct {
	Organization id.Organization     `json:"organization"`
	Slug         string              `json:"slug"`
	Name         string              `json:"name"`
	Status       organization.Status `json:"status" enum:"active,suspended"`
	Roles        []string            `json:"roles"`
	Since        time.Time           `json:"since"`
}

func (a *api) listMemberships(ctx context.Context, in *struct{ CustomerPath }) (*answer[page[membershipView]], error) {
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	found, err := a.Organizations.AllMemberships(ctx, tenantOf(ctx).ID, c)
	if err != nil {
		return nil, err
	}
	return answerWith(pageOf(found, organization.MostMemberships+1, nil, func(m organization.Membership) membershipView {
		return membershipView{m.Organization.ID, m.Organization.Slug, m.Organization.Name, m.Organization.Status, orEmpty(m.Roles), m.Since}
	}))
}

// invitationView is an invitation as it is answered. Its link is in the letter
// alone.
type invitationView struct {
	ID        id.Invitation `json:"id"`
	Status    string        `json:"status" enum:"pending,expired,accepted,declined,revoked"`
	Address   string        `json:"address,omitempty" doc:"Missing once the invitation has ended."`
	Customer  id.Customer   `json:"customer,omitempty" doc:"Who accepted or declined it."`
	Roles     []string      `json:"roles"`
	InvitedBy id.Customer   `json:"invited_by,omitempty"`
	SentAt    time.Time     `json:"sent_at"`
	ExpiresAt time.Time     `json:"expires_at"`
	EndedAt   time.Time     `json:"ended_at,omitzero"`
}

func (a *api) viewInvitation(i *organization.Invitation) invitationView {
	v := invitationView{ID: i.ID, Status: string(i.Status), Address: i.Address, Roles: orEmpty(i.Roles), InvitedBy: i.InvitedBy,
		SentAt: i.SentAt, ExpiresAt: i.ExpiresAt, EndedAt: i.EndedAt}
	if i.Status != organization.Pending { // before, it would tell that the address has an account
		v.Customer = i.Customer
	} else if !i.Open(a.Clock.Now()) {
		v.Status = "expired"
	}
	return v
}

func (a *api) listInvitations(ctx context.Context, in *struct {
	OrganizationPath
	Paging
},
) (*answer[page[invitationView]], error) {
	x, err := a.organizationOf(ctx, in.OrganizationPath)
	if err != nil {
		return nil, err
	}
	after, err := afterOf[id.Invitation](in.Paging)
	if err != nil {
		return nil, err
	}
	found, err := a.Organizations.Invitations(ctx, tenantOf(ctx).ID, x.ID, after, in.Limit)
	if err != nil {
		return nil, err
	}
	return answerWith(pageOf(found, in.Limit, func(i *organization.Invitation) string { return string(i.ID) }, a.viewInvitation))
}

// newInvitation says who is invited.
type newInvitation struct {
	Address  string   `json:"address" doc:"An e-mail address." example:"ana@example.com"`
	Roles    []string `json:"roles" doc:"Some of the tenant's setting organizations.roles." example:"[\"member\"]"`
	Language string   `json:"language,omitempty" doc:"Of the letter (BCP 47); the tenant's first unless told." example:"de"`
	By       string   `json:"by,omitempty" doc:"The id of the member on whose behalf it is sent, who is named in the letter if the tenant's setting organizations.name_inviter says so."`
}

func (a *api) invite(ctx context.Context, in *struct {
	OrganizationPath
	Body newInvitation
},
) (*answer[invitationView], error) {
	t := tenantOf(ctx)
	x, err := a.organizationOf(ctx, in.OrganizationPath)
	if err != nil {
		return nil, err
	}
	address, err := recognise(t, identifier.Email, in.Body.Address)
	if err != nil {
		return nil, problem.InvalidInput(problem.Field{Pointer: "/address", Detail: err.Error()})
	}
	by := id.Customer("")
	if in.Body.By != "" {
		if by, err = a.customerOf(ctx, CustomerPath{in.TenantPath, in.Body.By}); err != nil {
			return nil, problem.InvalidInput(problem.Field{Pointer: "/by", Detail: "there is no such customer"})
		}
	}
	sent, err := a.Organizations.Invite(ctx, organization.Invite{Tenant: t, Organization: x.ID, Address: address, Roles: in.Body.Roles,
		Language: in.Body.Language, By: by, Actor: actor(ctx)})
	if err != nil {
		return nil, err
	}
	return answerWith(a.viewInvitation(sent))
}

// invitationPath names an invitation to an organization.
type invitationPath struct {
	OrganizationPath
	Invitation string `path:"invitation" doc:"The invitation's id."`
}

func (a *api) invitationOf(ctx context.Context, in *invitationPath) (*organization.Organization, id.Invitation, error) {
	x, err := a.organizationOf(ctx, in.OrganizationPath)
	if err != nil {
		return nil, "", err
	}
	i, err := id.Parse[id.Invitation](in.Invitation)
	if err != nil {
		return nil, "", organization.ErrNoInvitation
	}
	return x, i, nil
}

func (a *api) resendInvitation(ctx context.Context, in *invitationPath) (*answer[invitationView], error) {
	x, i, err := a.invitationOf(ctx, in)
	if err != nil {
		return nil, err
	}
	sent, err := a.Organizations.Resend(ctx, tenantOf(ctx), x.ID, i, actor(ctx))
	if err != nil {
		return nil, err
	}
	return answerWith(a.viewInvitation(sent))
}

func (a *api) revokeInvitation(ctx context.Context, in *invitationPath) (*nothing, error) {
	x, i, err := a.invitationOf(ctx, in)
	if err != nil {
		return nil, err
	}
	return &nothing{}, a.Organizations.Revoke(ctx, tenantOf(ctx).ID, x.ID, i, actor(ctx))
}
