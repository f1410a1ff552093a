package customer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// An invited customer has an address that nobody has proved: it finds him for
// nobody but whoever has just proved it, by the invitation's link or by a code,
// and it stands in the way of nobody who opens an account with it.

// Invited returns the customer who was invited at an address. It is asked once
// the address is proved.
func (d *Directory) Invited(ctx context.Context, tenant id.Tenant, keys *keyring.Tenant, n identifier.Normalised) (id.Customer, bool, error) {
	for _, lookup := range keys.Lookup(string(n.Kind), n.Key) {
		var invited id.Customer
		err := d.DB.QueryRow(ctx, `SELECT customer FROM invitation WHERE tenant = $1 AND kind = $2 AND lookup = $3`, tenant, n.Kind, lookup).Scan(&invited)
		if err == nil {
			return invited, true, nil
		}
		if !errors.Is(err, sqldb.ErrNoRows) {
			return "", false, fmt.Errorf("look for an invitation: %w", err)
		}
	}
	return "", false, nil
}

// invite has an address find an invited customer, as part of the transaction
// that makes him. An address that somebody is invited at already is ErrTaken.
func invite(tx *sqldb.Tx, keys *keyring.Tenant, tenant id.Tenant, customer id.Customer, n identifier.Normalised) error {
	for _, lookup := range keys.Lookup(string(n.Kind), n.Key) {
		made, err := tx.Exec(`INSERT INTO invitation (tenant, kind, lookup, customer) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			tenant, n.Kind, lookup, customer)
		if err != nil {
			return fmt.Errorf("note the invitation: %w", err)
		}
		if made == 0 {
			return ErrTaken
		}
	}
	return nil
}

// uninvite lets an address find the invited customer no more, under the hashes
// that its row tells of.
func uninvite(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, kind identifier.Kind, lookup, also []byte) {
	for _, hash := range [][]byte{lookup, also} {
		if hash != nil {
			tx.Queue(`DELETE FROM invitation WHERE tenant = $1 AND kind = $2 AND lookup = $3 AND customer = $4`, tenant, kind, hash, customer)
		}
	}
}

// Accept has an invited customer be active from now on, as part of tx: the
// address that he was invited at is proved and his. ErrTaken says that somebody
// else has proved it meanwhile, and the transaction must be given up.
func (d *Directory) Accept(tx *sqldb.Tx, keys *keyring.Tenant, change StatusChange, n identifier.Normalised) error {
	if err := d.VerifyIdentifier(tx, keys, change.tenant, change.customer, n, change.actor); err != nil {
		return err
	}
	if _, err := d.ChangeStatus(tx, change); err != nil {
		return err
	}
	lookup, also := hashes(keys, n)
	uninvite(tx, change.tenant, change.customer, n.Kind, lookup, also)
	return nil
}

// Prolong has an invitation wait until another time, as part of tx, since it was
// sent again.
func (d *Directory) Prolong(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, until time.Time, actor string) error {
	state, err := d.Hold(tx, tenant, customer)
	if err != nil {
		return err
	}
	if state.Status != Invited {
		return fmt.Errorf("%w: it is %s", ErrNotAllowed, state.Status)
	}
	held(tx, tenant, customer).Until = until
	tx.Queue(`UPDATE customer SET until_at = $3, due_at = $4, revision = revision + 1, updated_at = $5 WHERE tenant = $1 AND customer = $2`,
		tenant, customer, until, until.Add(eraseGrace), tx.Now())
	return d.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: "customer.invited", Actor: actor, Data: map[string]any{"until": until}})
}

// Invite makes a customer who is to open his account himself, by an address
// that he proves, and sends the invitation there. Who is invited at the address
// already is sent another one and waits for longer; again tells that. An address
// that a customer has proved is ErrTaken.
func (d *Directory) Invite(ctx context.Context, n NewCustomer) (who id.Customer, again bool, err error) {
	keys, err := d.Ring.Tenant(ctx, n.Tenant)
	if err != nil {
		return "", false, fmt.Errorf("read the tenant's keys: %w", err)
	}
	for _, it := range n.Identifiers {
		if _, found, err := d.Find(ctx, n.Tenant, keys, it.Normalised); err != nil || found {
			if found {
				err = ErrTaken
			}
			return "", false, err
		}
		invited, found, err := d.Invited(ctx, n.Tenant, keys, it.Normalised)
		if err != nil {
			return "", false, err
		}
		if found {
			return invited, true, d.inviteAgain(ctx, n.Tenant, invited, n.Actor)
		}
	}
	rules, err := d.rules(ctx, n.Tenant)
	if err != nil {
		return "", false, err
	}
	n.Customer, n.Lifecycle, n.Invite = id.New[id.Customer](d.Clock.Now(), d.Random), rules.Lifecycle, true
	// The customer's key is durable before the transaction that first uses it.
	key, err := d.Ring.CreateCustomer(ctx, n.Tenant, n.Customer)
	if err != nil {
		return "", false, fmt.Errorf("make the customer's key: %w", err)
	}
	if d.Notice != nil {
		invited := &Customer{ID: n.Customer, Tenant: n.Tenant, Status: Invited, Profile: n.Profile}
		for _, it := range n.Identifiers {
			invited.Identifiers = append(invited.Identifiers, Identifier{Kind: it.Kind, Key: it.Key, Display: it.Display})
		}
		until := d.Clock.Now().Add(rules.InvitedFor.D())
		if n.Invited, err = d.Notice(ctx, Notice{About: AboutInvited, Customer: invited, Key: key, Until: until}); err != nil {
			return "", false, err
		}
	}
	return n.Customer, false, d.DB.Write(ctx, func(tx *sqldb.Tx) error { return d.Create(tx, keys, key, n) })
}

// inviteAgain sends an invitation once more.
func (d *Directory) inviteAgain(ctx context.Context, tenant id.Tenant, customer id.Customer, actor string) error {
	rules, err := d.rules(ctx, tenant)
	if err != nil {
		return err
	}
	until := d.Clock.Now().Add(rules.InvitedFor.D())
	tell, err := d.notice(ctx, tenant, customer, AboutInvited, until)
	if err != nil {
		return err
	}
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := d.Prolong(tx, tenant, customer, until, actor); err != nil {
			return err
		}
		if tell == nil {
			return nil
		}
		return tell(tx)
	})
}
