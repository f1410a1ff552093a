// Package organization owns companies and groups of customers within a tenant:
// organizations, who is a member of which with what roles, and invitations.
//
// A membership is two rows that are written together: one beside the customer,
// which tokens read, and one beside the organization, which lists read, so that
// neither question asks more than one shard and no key spans shards. A role is a
// name that the tenant declares; what it allows is the applications' business.
//
// Whoever gives somebody a membership or sends an invitation counts on the
// organization's row, and so comes before or after whoever suspends or deletes
// it. Customers are held before organizations.
//
// The package knows neither pages nor protocols. Mail, customers' addresses and
// names are had through Options.
package organization

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/i18n"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "organization", FS: migrations}
}

var (
	// ErrNotFound says that the tenant has no such organization.
	ErrNotFound = errors.New("the tenant has no such organization")
	// ErrNotMember says that the customer is not a member.
	ErrNotMember = errors.New("the customer is not a member of the organization")
	// ErrNoInvitation says that the organization has no such invitation that
	// could still be accepted.
	ErrNoInvitation = errors.New("the organization has no such invitation that is open")
	// ErrTaken says that another organization has the slug.
	ErrTaken = errors.New("another organization has that slug")
	// ErrChanged says that the organization was changed since it was read.
	ErrChanged = errors.New("the organization was changed by somebody else since it was read; read it again")
	// ErrGone says that the customer is not there or was erased.
	ErrGone = errors.New("the tenant has no such customer any more")
	// ErrSuspended says that the organization takes nobody in.
	ErrSuspended = errors.New("the organization is suspended")
	// ErrInvalid says that what was given is refused; the text says all that is
	// wrong.
	ErrInvalid = errors.New("the organization's settings are refused")
)

// LimitedError says that an address has been written to too often.
type LimitedError struct{ Until time.Time }

func (e *LimitedError) Error() string {
	return "that address has been sent as many invitations as it may be until " + e.Until.UTC().Format(time.RFC3339)
}

// Status is where an organization is in its life.
type Status string

const (
	Active    Status = "active"
	Suspended Status = "suspended" // its members have nothing of it
	deleted   Status = "deleted"   // its rows are being deleted; to all others it is not there
)

// Organization is a company or group of customers.
type Organization struct {
	ID        id.Organization
	Slug      string // how addresses and scopes name it; may change
	Name      string
	Status    Status
	Members   int
	Revision  int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Options are what Organizations work with. All are required.
type Options struct {
	DB      *sqldb.DB
	Ring    *keyring.Ring
	Log     *event.Log
	Budgets *budget.Budgets
	Clock   clock.Clock
	Random  io.Reader
	// Hold bumps a customer's version as part of a transaction, so that nobody else
	// changes what is his before it has ended, and tells whether he may be given
	// something: he is there, and not erased.
	Hold func(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) (bool, error)
	// Holder finds the customer who has proved an address.
	Holder func(ctx context.Context, tenant id.Tenant, keys *keyring.Tenant, address identifier.Normalised) (id.Customer, bool, error)
	// NameOf is what a customer is called, "" where he has not told or is gone.
	NameOf func(ctx context.Context, tenant id.Tenant, customer id.Customer) (string, error)
	// Mail sends the letter of an invitation as part of a transaction.
	Mail func(tx *sqldb.Tx, l Letter) error
}

// Organizations reads and changes organizations. It is safe for concurrent use.
type Organizations struct{ Options }

// New returns the organizations over a database that holds Migrations.
func New(o Options) *Organizations { return &Organizations{o} }

var slugPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// longestName is how many characters a name has at most.
const longestName = 100

func check(slug, name string) error {
	var faults []error
	if !slugPattern.MatchString(slug) {
		faults = append(faults, fmt.Errorf("the slug %q is not up to 40 lower-case letters, digits and dashes between them", slug))
	}
	if err := i18n.CheckLine(name, longestName); err != nil || strings.TrimSpace(name) != name || !utf8.ValidString(name) {
		if err == nil {
			err = errors.New("it begins or ends with a space")
		}
		faults = append(faults, fmt.Errorf("the name %q: %w", name, err))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// NewOrganization describes an organization to be made.
type NewOrganization struct {
	Tenant id.Tenant
	Slug   string
	Name   string
	Actor  string
}

// Create makes an organization without members.
func (o *Organizations) Create(ctx context.Context, n NewOrganization) (*Organization, error) {
	if err := check(n.Slug, n.Name); err != nil {
		return nil, err
	}
	made := &Organization{ID: id.New[id.Organization](o.Clock.Now(), o.Random), Slug: n.Slug, Name: n.Name, Status: Active, Revision: 1}
	err := o.DB.Write(ctx, func(tx *sqldb.Tx) error {
		made.CreatedAt, made.UpdatedAt = tx.Now(), tx.Now()
		if err := takeSlug(tx, n.Tenant, n.Slug, made.ID); err != nil {
			return err
		}
		tx.Queue(`INSERT INTO organization (tenant, organization, slug, name, status, members, revision, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, 0, 1, $6, $6)`, n.Tenant, made.ID, n.Slug, n.Name, Active, tx.Now())
		return o.happened(tx, n.Tenant, "organization.created", n.Actor, map[string]any{"organization": made.ID, "slug": n.Slug, "name": n.Name})
	})
	if err != nil {
		return nil, fmt.Errorf("make the organization: %w", err)
	}
	return made, nil
}

func takeSlug(tx *sqldb.Tx, tenant id.Tenant, slug string, organization id.Organization) error {
	taken, err := tx.Exec(`INSERT INTO organization_slug (tenant, slug, organization) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, tenant, slug, organization)
	if err == nil && taken == 0 {
		err = ErrTaken
	}
	return err
}

func (o *Organizations) happened(tx *sqldb.Tx, tenant id.Tenant, kind, actor string, data map[string]any) error {
	return o.Log.Append(tx, event.Event{Tenant: tenant, Type: kind, Actor: actor, Data: data})
}

func (x *Organization) scan(row sqldb.Scanner) error {
	return row.Scan(&x.ID, &x.Slug, &x.Name, &x.Status, &x.Members, &x.Revision, &x.CreatedAt, &x.UpdatedAt)
}

const selectOrganization = `SELECT organization, slug, name, status, members, revision, created_at, updated_at FROM organization
	WHERE tenant = $1 AND organization = $2`

// queue reads an organization with batch. The answer, which stands once the
// batch has run, is nil where there is none.
func queue(batch *sqldb.Batch, tenant id.Tenant, organization id.Organization) **Organization {
	found := new(*Organization)
	batch.Queue(selectOrganization, []any{tenant, organization}, func(row sqldb.Scanner) error {
		x := &Organization{}
		if err := x.scan(row); err != nil {
			return err
		}
		if x.Status != deleted {
			*found = x
		}
		return nil
	})
	return found
}

// Get returns an organization, or ErrNotFound.
func (o *Organizations) Get(ctx context.Context, tenant id.Tenant, organization id.Organization) (*Organization, error) {
	batch := o.DB.Batch()
	found := queue(batch, tenant, organization)
	if err := batch.Run(ctx); err != nil {
		return nil, fmt.Errorf("read the organization: %w", err)
	}
	if *found == nil {
		return nil, ErrNotFound
	}
	return *found, nil
}

// Resolve returns the id of the organization that a text names, by id or slug,
// or ErrNotFound. An id is not looked up.
func (o *Organizations) Resolve(ctx context.Context, tenant id.Tenant, named string) (id.Organization, error) {
	if organization, err := id.Parse[id.Organization](named); err == nil {
		return organization, nil
	}
	if !slugPattern.MatchString(named) {
		return "", ErrNotFound
	}
	var organization id.Organization
	err := o.DB.QueryRow(ctx, `SELECT organization FROM organization_slug WHERE tenant = $1 AND slug = $2`, tenant, named).Scan(&organization)
	if errors.Is(err, sqldb.ErrNoRows) {
		return "", ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("find the organization: %w", err)
	}
	return organization, nil
}

// List returns up to limit organizations of a tenant whose ids come after the
// given one.
func (o *Organizations) List(ctx context.Context, tenant id.Tenant, after id.Organization, limit int) ([]*Organization, error) {
	rows, err := o.DB.Query(ctx, `SELECT organization, slug, name, status, members, revision, created_at, updated_at FROM organization
		WHERE tenant = $1 AND organization > $2 AND status <> 'deleted' ORDER BY organization LIMIT $3`, tenant, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the organizations: %w", err)
	}
	var list []*Organization
	for rows.Next() {
		x := &Organization{}
		if err := x.scan(rows); err != nil {
			return nil, fmt.Errorf("read an organization: %w", err)
		}
		list = append(list, x)
	}
	return list, rows.Err()
}

// Change is what is changed of an organization. What is empty stays.
type Change struct {
	Tenant       id.Tenant
	Organization id.Organization
	Revision     int64 // that the caller has read, 0 for whichever there is
	Slug, Name   string
	Actor        string
}

// Update changes slug and name. Whoever names the organization by its former
// slug finds it no more.
func (o *Organizations) Update(ctx context.Context, c Change) (*Organization, error) {
	x, err := o.Get(ctx, c.Tenant, c.Organization)
	if err != nil {
		return nil, err
	}
	if c.Revision != 0 && c.Revision != x.Revision {
		return nil, ErrChanged
	}
	former := x.Slug
	if c.Slug != "" {
		x.Slug = c.Slug
	}
	if c.Name != "" {
		x.Name = c.Name
	}
	if err := check(x.Slug, x.Name); err != nil {
		return nil, err
	}
	err = o.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if x.Slug != former {
			if err := takeSlug(tx, c.Tenant, x.Slug, x.ID); err != nil {
				return err
			}
			tx.Queue(`DELETE FROM organization_slug WHERE tenant = $1 AND slug = $2 AND organization = $3`, c.Tenant, former, x.ID)
		}
		changed, err := tx.Exec(`UPDATE organization SET slug = $4, name = $5, revision = revision + 1, updated_at = $6
			WHERE tenant = $1 AND organization = $2 AND revision = $3 AND status <> 'deleted'`, c.Tenant, x.ID, x.Revision, x.Slug, x.Name, tx.Now())
		if err != nil {
			return err
		}
		if changed == 0 {
			return ErrChanged
		}
		return o.happened(tx, c.Tenant, "organization.changed", c.Actor, map[string]any{"organization": x.ID, "slug": x.Slug, "name": x.Name})
	})
	if err != nil {
		return nil, fmt.Errorf("change the organization: %w", err)
	}
	return o.Get(ctx, c.Tenant, x.ID)
}

// SetStatus suspends an organization or opens it again. While it is suspended
// nobody gets it in a token, joins it or is invited, and tokens that are for it
// are not good. To set the status that it has changes nothing.
func (o *Organizations) SetStatus(ctx context.Context, tenant id.Tenant, organization id.Organization, status Status, actor string) (*Organization, error) {
	kind := map[Status]string{Active: "organization.resumed", Suspended: "organization.suspended"}[status]
	if kind == "" {
		return nil, fmt.Errorf("%w: %q is no status", ErrInvalid, status)
	}
	err := o.DB.Write(ctx, func(tx *sqldb.Tx) error {
		changed, err := tx.Exec(`UPDATE organization SET status = $3, revision = revision + 1, updated_at = $4
			WHERE tenant = $1 AND organization = $2 AND status <> $3 AND status <> 'deleted'`, tenant, organization, status, tx.Now())
		if err != nil || changed == 0 {
			return err
		}
		return o.happened(tx, tenant, kind, actor, map[string]any{"organization": organization})
	})
	if err != nil {
		return nil, fmt.Errorf("change the organization's status: %w", err)
	}
	return o.Get(ctx, tenant, organization)
}

// enter counts more members of an organization as part of tx, which from then
// on nobody suspends or deletes before tx has ended.
func enter(tx *sqldb.Tx, tenant id.Tenant, organization id.Organization, more int) error {
	entered, err := tx.Exec(`UPDATE organization SET members = members + CAST($3 AS BIGINT) WHERE tenant = $1 AND organization = $2 AND status = 'active'`,
		tenant, organization, more)
	if err != nil || entered == 1 {
		return err
	}
	var status Status
	err = tx.QueryRow(`SELECT status FROM organization WHERE tenant = $1 AND organization = $2`, tenant, organization).Scan(&status)
	if errors.Is(err, sqldb.ErrNoRows) || status == deleted {
		return ErrNotFound
	}
	if err == nil {
		err = ErrSuspended
	}
	return err
}
