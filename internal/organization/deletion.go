package organization

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// deletionBatch is how many members one transaction of a deletion takes out: it
// holds each of them.
const deletionBatch = 100

// Delete deletes an organization. From its first transaction on the organization
// is not there: no token is for it, its slug is free, nobody accepts an
// invitation. Memberships then go in batches, each with its event; what an
// interruption leaves is finished by FinishDeletions.
func (o *Organizations) Delete(ctx context.Context, tenant id.Tenant, organization id.Organization, actor string) error {
	err := o.DB.Write(ctx, func(tx *sqldb.Tx) error {
		var slug string
		err := tx.QueryRow(`UPDATE organization SET status = 'deleted', revision = revision + 1, updated_at = $3
			WHERE tenant = $1 AND organization = $2 AND status <> 'deleted' RETURNING slug`, tenant, organization, tx.Now()).Scan(&slug)
		if errors.Is(err, sqldb.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		tx.Queue(`DELETE FROM organization_slug WHERE tenant = $1 AND slug = $2 AND organization = $3`, tenant, slug, organization)
		tx.Queue(`DELETE FROM organization_invitation WHERE tenant = $1 AND organization = $2`, tenant, organization)
		return o.happened(tx, tenant, "organization.deleted", actor, map[string]any{"organization": organization, "slug": slug})
	})
	if err != nil {
		return fmt.Errorf("delete the organization: %w", err)
	}
	return o.finish(ctx, tenant, organization, actor)
}

// finish takes out the members of an organization that is deleted, and then its
// row.
func (o *Organizations) finish(ctx context.Context, tenant id.Tenant, organization id.Organization, actor string) error {
	for {
		members, err := o.Members(ctx, tenant, organization, "", deletionBatch)
		if err != nil {
			return err
		}
		err = o.DB.Write(ctx, func(tx *sqldb.Tx) error {
			for _, m := range members { // in the order of their ids, as all who hold several
				if removed, err := o.Remove(tx, tenant, organization, m.Customer, actor); err != nil {
					return err
				} else if !removed { // by another node
					left(tx, tenant, organization, m.Customer)
				}
			}
			if len(members) == 0 {
				tx.Queue(`DELETE FROM organization WHERE tenant = $1 AND organization = $2 AND status = 'deleted'`, tenant, organization)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("take out the members of the deleted organization %s: %w", organization, err)
		}
		if len(members) == 0 {
			return nil
		}
	}
}

// FinishDeletions finishes up to limit deletions that were interrupted, and says
// how many there were.
func (o *Organizations) FinishDeletions(ctx context.Context, limit int) (int, error) {
	type name struct {
		tenant       id.Tenant
		organization id.Organization
	}
	rows, err := o.DB.Query(ctx, `SELECT tenant, organization FROM organization WHERE status = 'deleted' ORDER BY updated_at LIMIT $1`, limit)
	if err != nil {
		return 0, fmt.Errorf("find deleted organizations: %w", err)
	}
	var found []name
	for rows.Next() {
		var n name
		if err := rows.Scan(&n.tenant, &n.organization); err != nil {
			return 0, fmt.Errorf("find deleted organizations: %w", err)
		}
		found = append(found, n)
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("find deleted organizations: %w", err)
	}
	for _, n := range found {
		if err := o.finish(ctx, n.tenant, n.organization, "system"); err != nil {
			return 0, err
		}
	}
	return len(found), nil
}

// Sweep deletes up to limit choices of sessions that are over, and as many
// invitations that ended or expired Kept ago.
func (o *Organizations) Sweep(ctx context.Context, limit int) (int, error) {
	var choices, invitations int64
	err := o.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		choices, err = tx.Exec(`DELETE FROM organization_choice WHERE (tenant, customer, session, application) IN (
			SELECT tenant, customer, session, application FROM organization_choice WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`, tx.Now(), limit)
		if err != nil {
			return err
		}
		invitations, err = tx.Exec(`DELETE FROM organization_invitation WHERE (tenant, organization, invitation) IN (
			SELECT tenant, organization, invitation FROM organization_invitation WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`, tx.Now().Add(-Kept), limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sweep organizations: %w", err)
	}
	return int(max(choices, invitations)), nil
}
