package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ofOrganization is what a command needs that is about one organization.
type ofOrganization struct {
	ofTenant
	Organization string `arg:"" help:"The organization, by id or slug."`
}

func (c ofOrganization) at(parts ...string) string {
	return pathTo(append([]string{"tenants", c.Tenant, "organizations", c.Organization}, parts...)...)
}

type organizationView struct {
	ID        string    `json:"id"`
	Slug      string    `json:"slug"`
	Name      string    `json:"name"`
	Status    string    `json:"status"`
	Members   int       `json:"members"`
	Revision  int64     `json:"revision"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func (v organizationView) print(p *program, o output) error {
	return o.show(p, v, func() error {
		return p.fields("organization", v.ID, "slug", v.Slug, "name", v.Name, "status", v.Status, "members", fmt.Sprint(v.Members),
			"revision", fmt.Sprint(v.Revision), "created", when(v.CreatedAt), "updated", when(v.UpdatedAt))
	})
}

type createOrganizationCommand struct {
	ofTenant
	output
	Slug string `required:"" help:"How scopes and commands name it: lower-case letters, digits and dashes."`
	Name string `required:"" help:"How people call it."`
}

func (c *createOrganizationCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var made organizationView
	body := map[string]any{"slug": c.Slug, "name": c.Name}
	if err := cl.call(ctx, http.MethodPost, pathTo("tenants", c.Tenant, "organizations"), nil, body, &made); err != nil {
		return err
	}
	return made.print(p, c.output)
}

type listOrganizationsCommand struct {
	ofTenant
	output
	Limit int `default:"0" help:"List this many at most; 0 is all."`
}

func (c *listOrganizationsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := list[organizationView](ctx, cl, pathTo("tenants", c.Tenant, "organizations"), nil, c.Limit)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, x := range found {
			lines = append(lines, []string{x.ID, x.Slug, x.Name, x.Status, fmt.Sprint(x.Members)})
		}
		return p.table("There are no organizations.", []string{"ORGANIZATION", "SLUG", "NAME", "STATUS", "MEMBERS"}, lines)
	})
}

// organizationCommand is a command that answers with the organization.
type organizationCommand struct {
	ofOrganization
	output
}

func (c organizationCommand) do(ctx context.Context, p *program, method string, body any, parts ...string) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var x organizationView
	if err := cl.call(ctx, method, c.at(parts...), nil, body, &x); err != nil {
		return err
	}
	return x.print(p, c.output)
}

type showOrganizationCommand struct{ organizationCommand }

func (c *showOrganizationCommand) Run(ctx context.Context, p *program) error {
	return c.do(ctx, p, http.MethodGet, nil)
}

type renameOrganizationCommand struct {
	organizationCommand
	Slug string `help:"How scopes and commands are to name it."`
	Name string `help:"How people are to call it."`
}

func (c *renameOrganizationCommand) Run(ctx context.Context, p *program) error {
	if c.Slug == "" && c.Name == "" {
		return usage("nothing is to be changed: give --slug, --name or both")
	}
	body := map[string]any{}
	if c.Slug != "" {
		body["slug"] = c.Slug
	}
	if c.Name != "" {
		body["name"] = c.Name
	}
	return c.do(ctx, p, http.MethodPut, body)
}

type suspendOrganizationCommand struct{ organizationCommand }

func (c *suspendOrganizationCommand) Run(ctx context.Context, p *program) error {
	return c.do(ctx, p, http.MethodPost, nil, "suspend")
}

type resumeOrganizationCommand struct{ organizationCommand }

func (c *resumeOrganizationCommand) Run(ctx context.Context, p *program) error {
	return c.do(ctx, p, http.MethodPost, nil, "resume")
}

type deleteOrganizationCommand struct {
	ofOrganization
	Yes bool `help:"Delete it, its memberships and invitations. This cannot be undone."`
}

func (c *deleteOrganizationCommand) Run(ctx context.Context, p *program) error {
	if !c.Yes {
		return usage("deleting the organization %s takes its members and invitations with it and cannot be undone; say --yes to do it", c.Organization)
	}
	return c.call(ctx, p, http.MethodDelete, nil, "The organization was deleted.")
}

// call sends a request that is answered with nothing.
func (c ofOrganization) call(ctx context.Context, p *program, method string, body any, done string, parts ...string) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	if err := cl.call(ctx, method, c.at(parts...), nil, body, nil); err != nil {
		return err
	}
	return p.line("%s", done)
}

type memberView struct {
	Customer string    `json:"customer"`
	Roles    []string  `json:"roles"`
	Since    time.Time `json:"since"`
}

type listMembersCommand struct {
	ofOrganization
	output
	Limit int `default:"0" help:"List this many at most; 0 is all."`
}

func (c *listMembersCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := list[memberView](ctx, cl, c.at("members"), nil, c.Limit)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, m := range found {
			lines = append(lines, []string{m.Customer, strings.Join(m.Roles, " "), when(m.Since)})
		}
		return p.table("The organization has no members.", []string{"CUSTOMER", "ROLES", "SINCE"}, lines)
	})
}

// ofMember is what a command needs that is about one member.
type ofMember struct {
	ofOrganization
	Customer string `arg:"" help:"The customer, by id or by a verified identifier such as an e-mail address."`
}

// find returns the customer's id.
func (c ofMember) find(ctx context.Context, cl *client) (string, error) {
	found, err := ofCustomer{ofTenant: c.ofTenant, Customer: c.Customer}.fetch(ctx, cl)
	return found.ID, err
}

type setMemberCommand struct {
	ofMember
	output
	Role []string `required:"" placeholder:"ROLE" help:"A role, of the tenant's setting organizations.roles. May be repeated; these and no others are the member's."`
}

func (c *setMemberCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	customer, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	var m memberView
	if err := cl.call(ctx, http.MethodPut, c.at("members", customer), nil, map[string]any{"roles": c.Role}, &m); err != nil {
		return err
	}
	return c.show(p, m, func() error {
		return p.fields("customer", m.Customer, "roles", strings.Join(m.Roles, " "), "since", when(m.Since))
	})
}

type removeMemberCommand struct{ ofMember }

func (c *removeMemberCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	customer, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	if err := cl.call(ctx, http.MethodDelete, c.at("members", customer), nil, nil, nil); err != nil {
		return err
	}
	return p.line("The customer is no member any more.")
}

type invitationView struct {
	ID        string    `json:"id"`
	Status    string    `json:"status"`
	Address   string    `json:"address,omitempty"`
	Customer  string    `json:"customer,omitempty"`
	Roles     []string  `json:"roles"`
	InvitedBy string    `json:"invited_by,omitempty"`
	SentAt    time.Time `json:"sent_at"`
	ExpiresAt time.Time `json:"expires_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

func (v invitationView) print(p *program, o output) error {
	return o.show(p, v, func() error {
		return p.fields("invitation", v.ID, "status", v.Status, "address", v.Address, "roles", strings.Join(v.Roles, " "),
			"sent", when(v.SentAt), "expires", when(v.ExpiresAt))
	})
}

type inviteMemberCommand struct {
	ofOrganization
	output
	Address string   `arg:"" help:"The e-mail address to invite."`
	Role    []string `required:"" placeholder:"ROLE" help:"A role, of the tenant's setting organizations.roles. May be repeated."`
	Lang    string   `placeholder:"LANG" help:"The language of the letter; the tenant's first unless told."`
	By      string   `placeholder:"CUSTOMER" help:"The member on whose behalf it is sent, by id or verified identifier."`
}

func (c *inviteMemberCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	body := map[string]any{"address": c.Address, "roles": c.Role}
	if c.Lang != "" {
		body["language"] = c.Lang
	}
	if c.By != "" {
		if body["by"], err = (ofMember{c.ofOrganization, c.By}).find(ctx, cl); err != nil {
			return err
		}
	}
	var sent invitationView
	if err := cl.call(ctx, http.MethodPost, c.at("invitations"), nil, body, &sent); err != nil {
		return err
	}
	return sent.print(p, c.output)
}

type listInvitationsCommand struct {
	ofOrganization
	output
	Limit int `default:"0" help:"List this many at most; 0 is all."`
}

func (c *listInvitationsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := list[invitationView](ctx, cl, c.at("invitations"), nil, c.Limit)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, i := range found {
			lines = append(lines, []string{i.ID, i.Status, i.Address, strings.Join(i.Roles, " "), when(i.SentAt), when(i.ExpiresAt)})
		}
		return p.table("There are no invitations.", []string{"INVITATION", "STATUS", "ADDRESS", "ROLES", "SENT", "EXPIRES"}, lines)
	})
}

// ofInvitation is what a command needs that is about one invitation.
type ofInvitation struct {
	ofOrganization
	Invitation string `arg:"" help:"The invitation, by the address that is invited or by id."`
}

// find returns the id of the invitation: the newest that is open where an
// address names it.
func (c ofInvitation) find(ctx context.Context, cl *client) (string, error) {
	if !strings.Contains(c.Invitation, "@") {
		return c.Invitation, nil
	}
	found, err := list[invitationView](ctx, cl, c.at("invitations"), nil, 0)
	if err != nil {
		return "", err
	}
	for n := len(found) - 1; n >= 0; n-- {
		if strings.EqualFold(found[n].Address, c.Invitation) {
			return found[n].ID, nil
		}
	}
	return "", usage("nobody is invited by the address %s; 'cardea organization invitations' lists who is", c.Invitation)
}

type resendInvitationCommand struct {
	ofInvitation
	output
}

func (c *resendInvitationCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	named, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	var sent invitationView
	if err := cl.call(ctx, http.MethodPost, c.at("invitations", named, "resend"), nil, nil, &sent); err != nil {
		return err
	}
	return sent.print(p, c.output)
}

type revokeInvitationCommand struct{ ofInvitation }

func (c *revokeInvitationCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	named, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	if err := cl.call(ctx, http.MethodDelete, c.at("invitations", named), nil, nil, nil); err != nil {
		return err
	}
	return p.line("The invitation was taken back; its link is good for nothing.")
}
