package organization

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Membership is one customer in one organization that is active.
type Membership struct {
	Organization *Organization
	Roles        []string
	Since        time.Time
}

// Member is one customer in an organization.
type Member struct {
	Customer id.Customer
	Roles    []string
	Since    time.Time
}

// MostMemberships is of how many organizations a customer is a member at most.
const MostMemberships = 100

// CheckRoles tells whether roles are some that the tenant declares, and brings
// them into its order.
func CheckRoles(t *tenant.Tenant, roles []string) ([]string, error) {
	declared := t.Settings.Organizations.Roles
	for _, role := range roles {
		if !slices.Contains(declared, role) {
			return nil, fmt.Errorf("%w: %q is no role; there are %s", ErrInvalid, role, strings.Join(declared, ", "))
		}
	}
	if len(roles) == 0 {
		return nil, fmt.Errorf("%w: a member needs a role; there are %s", ErrInvalid, strings.Join(declared, ", "))
	}
	return inOrder(t, roles), nil
}

// inOrder are roles once each, in the tenant's order; those that it declares no
// more come last.
func inOrder(t *tenant.Tenant, roles []string) []string {
	var ordered []string
	for _, role := range slices.Concat(t.Settings.Organizations.Roles, roles) {
		if slices.Contains(roles, role) && !slices.Contains(ordered, role) {
			ordered = append(ordered, role)
		}
	}
	return ordered
}

const selectMembership = `SELECT roles, since FROM organization_membership WHERE tenant = $1 AND customer = $2 AND organization = $3`

// Membership returns a customer's membership of an organization, nil where he is
// none or the organization is not active. Two rows are read by their keys, in
// one batch: it is asked for each token.
func (o *Organizations) Membership(ctx context.Context, tenant id.Tenant, customer id.Customer, organization id.Organization) (*Membership, error) {
	m := &Membership{}
	var roles string
	batch := o.DB.Batch()
	found := queue(batch, tenant, organization)
	member := batch.QueueRow(selectMembership, []any{tenant, customer, organization}, &roles, &m.Since)
	if err := batch.Run(ctx); err != nil {
		return nil, fmt.Errorf("read the membership: %w", err)
	}
	if !*member || *found == nil || (*found).Status != Active {
		return nil, nil //nolint:nilnil // no membership is an answer
	}
	m.Organization, m.Roles = *found, strings.Fields(roles)
	return m, nil
}

// Memberships returns a customer's memberships of organizations that are active,
// by the organizations' names.
func (o *Organizations) Memberships(ctx context.Context, tenant id.Tenant, customer id.Customer) ([]Membership, error) {
	all, err := o.AllMemberships(ctx, tenant, customer)
	return slices.DeleteFunc(all, func(m Membership) bool { return m.Organization.Status != Active }), err
}

// AllMemberships is Memberships with those of suspended organizations.
func (o *Organizations) AllMemberships(ctx context.Context, tenant id.Tenant, customer id.Customer) ([]Membership, error) {
	type row struct {
		organization id.Organization
		roles        string
		since        time.Time
		found        **Organization
	}
	var rows []row
	batch := o.DB.Batch()
	batch.Queue(`SELECT organization, roles, since FROM organization_membership WHERE tenant = $1 AND customer = $2 ORDER BY organization LIMIT $3`,
		[]any{tenant, customer, MostMemberships}, func(s sqldb.Scanner) error {
			var r row
			err := s.Scan(&r.organization, &r.roles, &r.since)
			rows = append(rows, r)
			return err
		})
	if err := batch.Run(ctx); err != nil {
		return nil, fmt.Errorf("list the memberships: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	batch = o.DB.Batch()
	for i := range rows {
		rows[i].found = queue(batch, tenant, rows[i].organization)
	}
	if err := batch.Run(ctx); err != nil {
		return nil, fmt.Errorf("read the customer's organizations: %w", err)
	}
	list := make([]Membership, 0, len(rows))
	for _, r := range rows {
		if *r.found != nil {
			list = append(list, Membership{Organization: *r.found, Roles: strings.Fields(r.roles), Since: r.since})
		}
	}
	slices.SortStableFunc(list, func(a, b Membership) int { return strings.Compare(a.Organization.Name, b.Organization.Name) })
	return list, nil
}

// Member tells whether a customer is a member of any organization.
func (o *Organizations) Member(ctx context.Context, tenant id.Tenant, customer id.Customer) (bool, error) {
	var one int64
	err := o.DB.QueryRow(ctx, `SELECT 1 FROM organization_membership WHERE tenant = $1 AND customer = $2 LIMIT 1`, tenant, customer).Scan(&one)
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the memberships: %w", err)
	}
	return true, nil
}

// Members returns up to limit members of an organization whose ids come after
// the given one.
func (o *Organizations) Members(ctx context.Context, tenant id.Tenant, organization id.Organization, after id.Customer, limit int) ([]Member, error) {
	rows, err := o.DB.Query(ctx, `SELECT customer, roles, since FROM organization_member
		WHERE tenant = $1 AND organization = $2 AND customer > $3 ORDER BY customer LIMIT $4`, tenant, organization, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the members: %w", err)
	}
	var list []Member
	for rows.Next() {
		var m Member
		var roles string
		if err := rows.Scan(&m.Customer, &roles, &m.Since); err != nil {
			return nil, fmt.Errorf("read a member: %w", err)
		}
		m.Roles = strings.Fields(roles)
		list = append(list, m)
	}
	return list, rows.Err()
}

// SetMember makes a customer a member with these roles and no others, as part of
// tx.
func (o *Organizations) SetMember(tx *sqldb.Tx, tenant id.Tenant, organization id.Organization, customer id.Customer, roles []string, actor string) error {
	return o.put(tx, tenant, organization, customer, actor, nil, func([]string) []string { return roles })
}

// put gives a customer the roles that wanted makes of those that he has, nil for
// a new member. more goes into the event.
func (o *Organizations) put(tx *sqldb.Tx, tenant id.Tenant, organization id.Organization, customer id.Customer, actor string, more map[string]any, wanted func(has []string) []string) error {
	may, err := o.Hold(tx, tenant, customer)
	if err != nil {
		return err
	}
	if !may {
		return ErrGone
	}
	var stored string
	var since time.Time
	err = tx.QueryRow(selectMembership, tenant, customer, organization).Scan(&stored, &since)
	joins := errors.Is(err, sqldb.ErrNoRows)
	if err != nil && !joins {
		return fmt.Errorf("read the membership: %w", err)
	}
	has := strings.Fields(stored)
	roles := wanted(has)
	if !joins && slices.Equal(roles, has) {
		return nil
	}
	kind, count := "organization.member.changed", 0
	if joins {
		if err := roomFor(tx, tenant, customer); err != nil {
			return err
		}
		kind, count, since = "organization.member.added", 1, tx.Now()
	}
	if err := enter(tx, tenant, organization, count); err != nil {
		return err
	}
	text := strings.Join(roles, " ")
	tx.Queue(`INSERT INTO organization_membership (tenant, customer, organization, roles, since, added_by) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (tenant, customer, organization) DO UPDATE SET roles = excluded.roles`, tenant, customer, organization, text, since, actor)
	tx.Queue(`INSERT INTO organization_member (tenant, organization, customer, roles, since) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant, organization, customer) DO UPDATE SET roles = excluded.roles`, tenant, organization, customer, text, since)
	data := map[string]any{"organization": organization, "roles": roles}
	for name, value := range more {
		data[name] = value
	}
	return o.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: kind, Actor: actor, Data: data})
}

// roomFor refuses a customer who is in as many organizations as he may be.
func roomFor(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	var n int
	err := tx.QueryRow(`SELECT COUNT(*) FROM organization_membership WHERE tenant = $1 AND customer = $2`, tenant, customer).Scan(&n)
	if err == nil && n >= MostMemberships {
		err = fmt.Errorf("%w: the customer is a member of %d organizations, which is as many as there may be", ErrInvalid, n)
	}
	return err
}

// Remove ends a membership as part of tx, whatever the organization's status,
// and says whether there was one.
func (o *Organizations) Remove(tx *sqldb.Tx, tenant id.Tenant, organization id.Organization, customer id.Customer, actor string) (bool, error) {
	if _, err := o.Hold(tx, tenant, customer); err != nil {
		return false, err
	}
	removed, err := tx.Exec(`DELETE FROM organization_membership WHERE tenant = $1 AND customer = $2 AND organization = $3`, tenant, customer, organization)
	if err != nil {
		return false, fmt.Errorf("end the membership: %w", err)
	}
	if removed == 0 {
		return false, nil
	}
	left(tx, tenant, organization, customer)
	tx.Queue(`DELETE FROM organization_choice WHERE tenant = $1 AND customer = $2 AND organization = $3`, tenant, customer, organization)
	return true, o.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: "organization.member.removed", Actor: actor,
		Data: map[string]any{"organization": organization}})
}

// left takes a member from the organization's side.
func left(tx *sqldb.Tx, tenant id.Tenant, organization id.Organization, customer id.Customer) {
	tx.Queue(`DELETE FROM organization_member WHERE tenant = $1 AND organization = $2 AND customer = $3`, tenant, organization, customer)
	tx.Queue(`UPDATE organization SET members = members - 1 WHERE tenant = $1 AND organization = $2`, tenant, organization)
}

// Choice is which organization a customer has chosen for an application.
type Choice struct {
	Tenant       id.Tenant
	Customer     id.Customer
	Session      id.Session
	Application  id.Application
	Organization id.Organization
	Until        time.Time // when it is forgotten: the end of the session
}

// Choose remembers, as part of tx, what a customer has chosen in a session for
// an application.
func (o *Organizations) Choose(tx *sqldb.Tx, c Choice) error {
	tx.Queue(`INSERT INTO organization_choice (tenant, customer, session, application, organization, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (tenant, customer, session, application) DO UPDATE SET organization = excluded.organization, expires_at = excluded.expires_at`,
		c.Tenant, c.Customer, c.Session, c.Application, c.Organization, c.Until)
	return o.Log.Append(tx, event.Event{Tenant: c.Tenant, Customer: c.Customer, Type: "organization.chosen", Actor: string(c.Customer),
		Data: map[string]any{"organization": c.Organization, "application": c.Application, "session": c.Session}})
}

// Chosen returns what a customer has chosen in a session for an application, ""
// for nothing. That he is a member still is another question.
func (o *Organizations) Chosen(ctx context.Context, tenant id.Tenant, customer id.Customer, session id.Session, application id.Application) (id.Organization, error) {
	var organization id.Organization
	err := o.DB.QueryRow(ctx, `SELECT organization FROM organization_choice WHERE tenant = $1 AND customer = $2 AND session = $3 AND application = $4`,
		tenant, customer, session, application).Scan(&organization)
	if errors.Is(err, sqldb.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the organization that was chosen: %w", err)
	}
	return organization, nil
}

// EraseHandle deletes, as part of tx, the invitations to an address of somebody
// who is erased, by the address's hash: those too that were sent before the
// account was opened.
func EraseHandle(tx *sqldb.Tx, tenant id.Tenant, handle []byte) {
	tx.Queue(`DELETE FROM organization_invitation WHERE tenant = $1 AND lookup = $2`, tenant, handle)
}

// EraseCustomer deletes what the package keeps of a customer: memberships, what
// he chose, and invitations to an address of his. Of those that he sent his id is
// left.
func (o *Organizations) EraseCustomer(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	rows, err := tx.Query(`DELETE FROM organization_membership WHERE tenant = $1 AND customer = $2 RETURNING organization`, tenant, customer)
	if err != nil {
		return fmt.Errorf("erase the memberships: %w", err)
	}
	defer rows.Close()
	var organizations []id.Organization
	for rows.Next() {
		var organization id.Organization
		if err := rows.Scan(&organization); err != nil {
			return fmt.Errorf("erase a membership: %w", err)
		}
		organizations = append(organizations, organization)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("erase the memberships: %w", err)
	}
	slices.Sort(organizations)
	for _, organization := range organizations {
		left(tx, tenant, organization, customer)
	}
	tx.Queue(`DELETE FROM organization_choice WHERE tenant = $1 AND customer = $2`, tenant, customer)
	tx.Queue(`DELETE FROM organization_invitation WHERE tenant = $1 AND customer = $2 AND customer <> ''`, tenant, customer)
	return nil
}
