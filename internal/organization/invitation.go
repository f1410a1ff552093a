package organization

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// InvitationStatus is where an invitation is in its life. One whose time is over
// stays Pending, and is not open.
type InvitationStatus string

const (
	Pending  InvitationStatus = "pending"
	Accepted InvitationStatus = "accepted"
	Declined InvitationStatus = "declined"
	Revoked  InvitationStatus = "revoked"
)

// Kept is how long an invitation is kept after its time is over.
const Kept = 7 * 24 * time.Hour

// Invitation is somebody who may join an organization.
type Invitation struct {
	ID           id.Invitation
	Tenant       id.Tenant
	Organization id.Organization
	Status       InvitationStatus
	Address      string      // normalised; "" once it has ended
	Customer     id.Customer // who accepted or declined it; before, who had the address when it was sent
	Roles        []string
	Language     string
	InvitedBy    id.Customer // "" for an operator
	SentAt       time.Time
	ExpiresAt    time.Time
	EndedAt      time.Time

	secretHash []byte
}

// Open tells whether the invitation may be accepted.
func (i *Invitation) Open(now time.Time) bool {
	return i.Status == Pending && i.ExpiresAt.After(now)
}

// Letter is what an invitation's message says.
type Letter struct {
	Tenant       *tenant.Tenant
	Key          *keyring.Tenant
	Handle       []byte // the keyed hash of the address
	To           string
	Organization string // its name
	Inviter      string // "" where he is not named
	Link         string // what stands in the link after "link="
	Language     string
	Expires      time.Time
}

// Invite is an invitation to be sent.
type Invite struct {
	Tenant       *tenant.Tenant
	Organization id.Organization
	Address      identifier.Normalised
	Roles        []string
	Language     string      // BCP 47, of the letter; "" takes the tenant's first
	By           id.Customer // "" for an operator
	Actor        string
}

const (
	linkPurpose = "organization-invitation"
	linkSecret  = 32
	linkIDs     = 30 // bytes of an id as it is spelled
	maxLink     = 2048

	invitationTable = "organization_invitation"

	// BudgetKind is the budget that letters are drawn from. It is none that a
	// customer's codes are drawn from, so that nobody is kept out by being
	// invited.
	BudgetKind = "invitation"
)

// Invite sends an invitation. One that is under way to the same address is sent
// anew, with these roles and a new link: the former is dead. Whether the address
// has an account is neither told nor to be seen in what is done.
func (o *Organizations) Invite(ctx context.Context, in Invite) (*Invitation, error) {
	roles, err := CheckRoles(in.Tenant, in.Roles)
	if err != nil {
		return nil, err
	}
	if in.Address.Kind != identifier.Email || in.Address.Key == "" {
		return nil, fmt.Errorf("%w: who is invited needs an e-mail address", ErrInvalid)
	}
	x, err := o.Get(ctx, in.Tenant.ID, in.Organization)
	if err != nil {
		return nil, err
	}
	if in.By != "" {
		member, err := o.Membership(ctx, in.Tenant.ID, in.By, in.Organization)
		if err != nil {
			return nil, err
		}
		if member == nil {
			return nil, ErrNotMember
		}
	}
	if in.Language == "" {
		in.Language = in.Tenant.Settings.Languages[0]
	}
	keys, err := o.Ring.Tenant(ctx, in.Tenant.ID)
	if err != nil {
		return nil, fmt.Errorf("read the tenant's keys: %w", err)
	}
	holder, _, err := o.Holder(ctx, in.Tenant.ID, keys, in.Address)
	if err != nil {
		return nil, err
	}
	made := &Invitation{
		ID: id.New[id.Invitation](o.Clock.Now(), o.Random), Tenant: in.Tenant.ID, Organization: x.ID, Status: Pending, Address: in.Address.Key,
		Customer: holder, Roles: roles, Language: in.Language, InvitedBy: in.By,
	}
	return made, o.send(ctx, in.Tenant, keys, x, made, in.Actor)
}

// Resend sends an invitation that was neither accepted nor declined nor revoked
// once more, with a new link and a new time: the former link is dead.
func (o *Organizations) Resend(ctx context.Context, t *tenant.Tenant, organization id.Organization, invitation id.Invitation, actor string) (*Invitation, error) {
	x, err := o.Get(ctx, t.ID, organization)
	if err != nil {
		return nil, err
	}
	found, err := o.Invitation(ctx, t.ID, organization, invitation)
	if err != nil {
		return nil, err
	}
	if found.Status != Pending {
		return nil, ErrNoInvitation
	}
	keys, err := o.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, fmt.Errorf("read the tenant's keys: %w", err)
	}
	return found, o.send(ctx, t, keys, x, found, actor)
}

// send stores an invitation with a new secret and sends its letter.
func (o *Organizations) send(ctx context.Context, t *tenant.Tenant, keys *keyring.Tenant, x *Organization, i *Invitation, actor string) error {
	lookups := keys.Lookup(string(identifier.Email), i.Address)
	limit := budget.Limit{Window: time.Hour, PerWindow: t.Settings.Limits.SendPerHour}
	verdict, err := o.Budgets.Take(ctx, t.ID, BudgetKind, budget.Stranger(lookups[0]), limit)
	if err != nil {
		return fmt.Errorf("draw on the budget: %w", err)
	}
	if !verdict.Allowed {
		return &LimitedError{verdict.Until}
	}
	secret := make([]byte, linkSecret)
	if _, err := io.ReadFull(o.Random, secret); err != nil {
		return fmt.Errorf("read randomness: %w", err)
	}
	letter := Letter{Tenant: t, Key: keys, Handle: lookups[0], To: i.Address, Organization: x.Name, Language: i.Language}
	if letter.Inviter, err = o.Inviter(ctx, t, i.InvitedBy); err != nil {
		return err
	}
	sum := sha256.Sum256(secret)
	minted := i.ID
	err = o.DB.Write(ctx, func(tx *sqldb.Tx) error {
		i.ID = minted
		if err := enter(tx, t.ID, x.ID, 0); err != nil {
			return err
		}
		if err := underWay(tx, i, lookups); err != nil { // since nobody else invites before this has ended, there is one at most
			return err
		}
		address, err := keys.SealField(invitationTable, "address", rowOf(t.ID, x.ID, i.ID), []byte(i.Address))
		if err != nil {
			return err
		}
		if letter.Link, err = keys.Seal(linkPurpose, slices.Concat([]byte(x.ID), []byte(i.ID), secret)); err != nil {
			return err
		}
		i.SentAt, i.ExpiresAt = tx.Now(), tx.Now().Add(t.Settings.Organizations.InvitationLifetime.D())
		stored, err := tx.Exec(`INSERT INTO organization_invitation (tenant, organization, invitation, status, lookup, address, customer, roles, language, invited_by, secret_hash, sent_at, expires_at, ended_at)
			VALUES ($1, $2, $3, 'pending', $4, $5, $6, $7, $8, $9, $10, $11, $12, 0)
			ON CONFLICT (tenant, organization, invitation) DO UPDATE SET lookup = excluded.lookup, address = excluded.address, customer = excluded.customer,
				roles = excluded.roles, language = excluded.language, invited_by = excluded.invited_by, secret_hash = excluded.secret_hash,
				sent_at = excluded.sent_at, expires_at = excluded.expires_at
			WHERE organization_invitation.status = 'pending'`,
			t.ID, x.ID, i.ID, lookups[0], address, i.Customer, strings.Join(i.Roles, " "), i.Language, i.InvitedBy, sum[:], i.SentAt, i.ExpiresAt)
		if err != nil {
			return err
		}
		if stored == 0 {
			return ErrNoInvitation
		}
		letter.Expires = i.ExpiresAt
		if err := o.Mail(tx, letter); err != nil {
			return err
		}
		return o.Log.Append(tx, event.Event{Tenant: t.ID, Type: "organization.invitation.sent", Actor: actor,
			Data: map[string]any{"organization": x.ID, "invitation": i.ID, "roles": i.Roles, "address_hash": lookups[0]}})
	})
	if err != nil {
		return fmt.Errorf("send the invitation: %w", err)
	}
	return nil
}

// underWay gives an invitation the id of the one that is under way to the same
// address.
func underWay(tx *sqldb.Tx, i *Invitation, lookups [][]byte) error {
	for _, lookup := range lookups {
		err := tx.QueryRow(`SELECT invitation FROM organization_invitation WHERE tenant = $1 AND organization = $2 AND lookup = $3 AND status = 'pending'
			ORDER BY invitation LIMIT 1`, i.Tenant, i.Organization, lookup).Scan(&i.ID)
		if err == nil || !errors.Is(err, sqldb.ErrNoRows) {
			return err
		}
	}
	return nil
}

// Inviter is what whoever sent an invitation is called, "" where he is not to be
// named, has no name or is gone.
func (o *Organizations) Inviter(ctx context.Context, t *tenant.Tenant, by id.Customer) (string, error) {
	if by == "" || !t.Settings.Organizations.NameInviter {
		return "", nil
	}
	name, err := o.NameOf(ctx, t.ID, by)
	if err != nil || linkLike.MatchString(name) {
		return "", err
	}
	return name, nil
}

// linkLike is a name that a mail program would make a link of: a letter of ours
// carries nobody's advertisement.
var linkLike = regexp.MustCompile(`[:/@]|\.\pL`)

func rowOf(tenant id.Tenant, organization id.Organization, invitation id.Invitation) string {
	return string(tenant) + "/" + string(organization) + "/" + string(invitation)
}

const selectInvitation = `SELECT invitation, status, address, customer, roles, language, invited_by, secret_hash, sent_at, expires_at, ended_at FROM organization_invitation
	WHERE tenant = $1 AND organization = $2 AND `

func (i *Invitation) scan(row sqldb.Scanner, keys *keyring.Tenant) error {
	var sealed []byte
	var roles string
	if err := row.Scan(&i.ID, &i.Status, &sealed, &i.Customer, &roles, &i.Language, &i.InvitedBy, &i.secretHash, &i.SentAt, &i.ExpiresAt, &i.EndedAt); err != nil {
		return err
	}
	i.Roles = strings.Fields(roles)
	if sealed == nil {
		return nil
	}
	address, err := keys.OpenField(invitationTable, "address", rowOf(i.Tenant, i.Organization, i.ID), sealed)
	if err != nil {
		return fmt.Errorf("open the address of the invitation %s: %w", i.ID, err)
	}
	i.Address = string(address)
	return nil
}

// Invitation returns an invitation, or ErrNoInvitation.
func (o *Organizations) Invitation(ctx context.Context, tenant id.Tenant, organization id.Organization, invitation id.Invitation) (*Invitation, error) {
	keys, err := o.Ring.Tenant(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("read the tenant's keys: %w", err)
	}
	i := &Invitation{Tenant: tenant, Organization: organization}
	err = i.scan(o.DB.QueryRow(ctx, selectInvitation+`invitation = $3`, tenant, organization, invitation), keys)
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, ErrNoInvitation
	}
	if err != nil {
		return nil, fmt.Errorf("read the invitation: %w", err)
	}
	return i, nil
}

// Invitations returns up to limit invitations of an organization whose ids come
// after the given one, those that have ended included for as long as they are
// kept.
func (o *Organizations) Invitations(ctx context.Context, tenant id.Tenant, organization id.Organization, after id.Invitation, limit int) ([]*Invitation, error) {
	keys, err := o.Ring.Tenant(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("read the tenant's keys: %w", err)
	}
	rows, err := o.DB.Query(ctx, selectInvitation+`invitation > $3 ORDER BY invitation LIMIT $4`, tenant, organization, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the invitations: %w", err)
	}
	var list []*Invitation
	for rows.Next() {
		i := &Invitation{Tenant: tenant, Organization: organization}
		if err := i.scan(rows, keys); err != nil {
			return nil, fmt.Errorf("list the invitations: %w", err)
		}
		list = append(list, i)
	}
	return list, rows.Err()
}

// Offer is what somebody who brings the link of an invitation is offered.
type Offer struct {
	*Invitation
	To   *Organization // nil where the organization is not there any more
	Good bool          // the invitation may be accepted now
}

// ReadLink returns what the link of an invitation offers, nil for a link that is
// not one of the tenant's, or not the newest. It writes nothing.
func (o *Organizations) ReadLink(ctx context.Context, keys *keyring.Tenant, tenant id.Tenant, sealed string) (*Offer, error) {
	organization, invitation, secret, ok := openLink(keys, sealed)
	if !ok {
		return nil, nil //nolint:nilnil // no offer is an answer
	}
	i := &Invitation{Tenant: tenant, Organization: organization}
	batch := o.DB.Batch()
	found := queue(batch, tenant, organization)
	there := false
	batch.Queue(selectInvitation+`invitation = $3`, []any{tenant, organization, invitation}, func(row sqldb.Scanner) error {
		there = true
		return i.scan(row, keys)
	})
	if err := batch.Run(ctx); err != nil {
		return nil, fmt.Errorf("read the invitation: %w", err)
	}
	sum := sha256.Sum256(secret)
	if !there || subtle.ConstantTimeCompare(i.secretHash, sum[:]) != 1 {
		return nil, nil //nolint:nilnil // likewise
	}
	return &Offer{Invitation: i, To: *found, Good: *found != nil && (*found).Status == Active && i.Open(o.Clock.Now())}, nil
}

// openLink reads what travels in a link. It is not ok for what is not one of
// the tenant's.
func openLink(keys *keyring.Tenant, sealed string) (organization id.Organization, invitation id.Invitation, secret []byte, ok bool) {
	if sealed == "" || len(sealed) > maxLink {
		return "", "", nil, false
	}
	plain, err := keys.Open(linkPurpose, sealed)
	if err != nil || len(plain) != 2*linkIDs+linkSecret {
		return "", "", nil, false
	}
	return id.Organization(plain[:linkIDs]), id.Invitation(plain[linkIDs : 2*linkIDs]), plain[2*linkIDs:], true
}

// Accept spends an invitation that ReadLink returned and makes the customer a
// member, as part of one transaction. The caller has seen that the customer is
// who has proved the address. Of all who bring the link one is not answered with
// ErrNoInvitation.
func (o *Organizations) Accept(tx *sqldb.Tx, t *tenant.Tenant, i *Invitation, customer id.Customer) error {
	err := o.put(tx, i.Tenant, i.Organization, customer, string(customer), map[string]any{"invitation": i.ID}, func(has []string) []string {
		return inOrder(t, slices.Concat(has, i.Roles)) // who is a member already loses nothing by it
	})
	if err != nil {
		return err
	}
	return end(tx, i, Accepted, customer) // last, as whoever sends one anew has the organization's row first
}

// Decline spends an invitation that ReadLink returned as part of tx, and nothing
// comes of it.
func (o *Organizations) Decline(tx *sqldb.Tx, i *Invitation, customer id.Customer) error {
	if err := end(tx, i, Declined, customer); err != nil {
		return err
	}
	return o.Log.Append(tx, event.Event{Tenant: i.Tenant, Customer: customer, Type: "organization.invitation.declined", Actor: string(customer),
		Data: map[string]any{"organization": i.Organization, "invitation": i.ID}})
}

// end spends an invitation: the address goes, and the status says how.
func end(tx *sqldb.Tx, i *Invitation, status InvitationStatus, customer id.Customer) error {
	ended, err := tx.Exec(`UPDATE organization_invitation SET status = $5, customer = $6, lookup = NULL, address = NULL, ended_at = $7
		WHERE tenant = $1 AND organization = $2 AND invitation = $3 AND secret_hash = $4 AND status = 'pending' AND expires_at > $7`,
		i.Tenant, i.Organization, i.ID, i.secretHash, status, customer, tx.Now())
	if err != nil {
		return fmt.Errorf("spend the invitation: %w", err)
	}
	if ended == 0 {
		return ErrNoInvitation
	}
	return nil
}

// Revoke takes an invitation back: its link is good for nothing any more.
func (o *Organizations) Revoke(ctx context.Context, tenant id.Tenant, organization id.Organization, invitation id.Invitation, actor string) error {
	err := o.DB.Write(ctx, func(tx *sqldb.Tx) error {
		revoked, err := tx.Exec(`UPDATE organization_invitation SET status = 'revoked', customer = '', lookup = NULL, address = NULL, ended_at = $4
			WHERE tenant = $1 AND organization = $2 AND invitation = $3 AND status = 'pending'`, tenant, organization, invitation, tx.Now())
		if err != nil {
			return err
		}
		if revoked == 0 {
			return ErrNoInvitation
		}
		return o.happened(tx, tenant, "organization.invitation.revoked", actor, map[string]any{"organization": organization, "invitation": invitation})
	})
	if err != nil {
		return fmt.Errorf("revoke the invitation: %w", err)
	}
	return nil
}
