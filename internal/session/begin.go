package session

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Start describes a session to be begun.
type Start struct {
	Tenant   *tenant.Tenant
	Customer id.Customer
	Device   id.Device
	Epoch    int64 // the customer's security epoch as this transaction leaves it
	Methods  []string
	ACR      string
	Stay     bool // counts only where the tenant offers it
	Agent    Agent
}

// Begin makes a session as part of tx, sealed with the customer's key where it
// is personal. The secret goes into the cookie, by Handle, once tx is durable.
func (s *Sessions) Begin(tx *sqldb.Tx, key *keyring.Customer, n Start) (*Session, Secret, error) {
	secret, err := newSecret(s.Random)
	if err != nil {
		return nil, Secret{}, err
	}
	stay := n.Stay && n.Tenant.Settings.Session.OfferStay
	idle, absolute := lifetimes(n.Tenant.Settings.Session, stay)
	now := tx.Now()
	x := &Session{
		ID: id.New[id.Session](now, s.Random), Tenant: n.Tenant.ID, Customer: n.Customer, Device: n.Device,
		CreatedAt: now, AuthenticatedAt: now, LastSeenAt: now, IdleUntil: now.Add(idle), AbsoluteUntil: now.Add(absolute),
		Methods: n.Methods, ACR: n.ACR, Epoch: n.Epoch, Stay: stay, Agent: n.Agent, secretHash: secret.hash(),
	}
	agent, err := json.Marshal(n.Agent)
	if err != nil {
		return nil, Secret{}, fmt.Errorf("write the agent: %w", err)
	}
	sealed, err := key.SealField("session", "agent", string(x.ID), agent)
	if err != nil {
		return nil, Secret{}, fmt.Errorf("seal the agent: %w", err)
	}
	tx.Queue(`INSERT INTO session (tenant, customer, session, secret_hash, device, epoch, methods, acr, stay, agent,
			created_at, authenticated_at, last_seen_at, idle_until, absolute_until)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $11, $12, $13)`,
		x.Tenant, x.Customer, x.ID, x.secretHash, x.Device, x.Epoch, strings.Join(x.Methods, " "), x.ACR, x.Stay, sealed,
		now, x.IdleUntil, x.AbsoluteUntil)
	err = s.Log.Append(tx, event.Event{
		Tenant: x.Tenant, Customer: x.Customer, Type: "session.started", Actor: string(x.Customer),
		Data:     map[string]any{"session": x.ID, "device": x.Device, "methods": x.Methods, "acr": x.ACR, "stay": x.Stay},
		Personal: n.Agent, Sealer: key,
	})
	if err != nil {
		return nil, Secret{}, err
	}
	return x, secret, nil
}

// Renewal says what a session is renewed with.
type Renewal struct {
	// Epoch is the customer's security epoch as this transaction leaves it:
	// the session lives on although the epoch has risen.
	Epoch int64
	// Reauthenticated says that the customer has just proved himself, by
	// Methods and to the level of ACR, which take the place of the former ones
	// and begin the session's times anew, and whether he Stays signed in is what
	// he chose now. Otherwise these stay as they are.
	Reauthenticated bool
	Methods         []string
	ACR             string
	Stay            bool // counts only where the tenant offers it
}

// Renew gives a session that Read returned a new secret as part of tx: the
// cookie that was read is dead, the session keeps its id. It returns ErrNone,
// with nothing written, when the session was ended or renewed since.
func (s *Sessions) Renew(tx *sqldb.Tx, t *tenant.Tenant, old *Session, r Renewal) (*Session, Secret, error) {
	secret, err := newSecret(s.Random)
	if err != nil {
		return nil, Secret{}, err
	}
	x, now := *old, tx.Now()
	kind := "session.renewed"
	if r.Reauthenticated {
		x.Stay = r.Stay && t.Settings.Session.OfferStay
	}
	idle, absolute := lifetimes(t.Settings.Session, x.Stay)
	if r.Reauthenticated {
		kind = "session.reauthenticated"
		x.Methods, x.ACR, x.AuthenticatedAt, x.AbsoluteUntil = r.Methods, r.ACR, now, now.Add(absolute)
	}
	x.Epoch, x.LastSeenAt, x.secretHash = max(x.Epoch, r.Epoch), now, secret.hash()
	x.IdleUntil = earlier(now.Add(idle), x.AbsoluteUntil)
	renewed, err := tx.Exec(`UPDATE session SET secret_hash = $5, epoch = $6, methods = $7, acr = $8, authenticated_at = $9,
			last_seen_at = $10, idle_until = $11, absolute_until = $12, stay = $13
		WHERE tenant = $1 AND customer = $2 AND session = $3 AND secret_hash = $4`,
		x.Tenant, x.Customer, x.ID, old.secretHash, x.secretHash, x.Epoch, strings.Join(x.Methods, " "), x.ACR, x.AuthenticatedAt,
		x.LastSeenAt, x.IdleUntil, x.AbsoluteUntil, x.Stay)
	if err != nil {
		return nil, Secret{}, fmt.Errorf("renew the session: %w", err)
	}
	if renewed == 0 {
		return nil, Secret{}, ErrNone
	}
	err = s.Log.Append(tx, event.Event{
		Tenant: x.Tenant, Customer: x.Customer, Type: kind, Actor: string(x.Customer),
		Data: map[string]any{"session": x.ID, "methods": x.Methods, "acr": x.ACR, "stay": x.Stay},
	})
	if err != nil {
		return nil, Secret{}, err
	}
	return &x, secret, nil
}

// Carry has a customer's sessions live on as part of tx although his security
// epoch has risen from before to epoch: he has changed what lets him in and
// wants to stay signed in where he is. What was dead before stays so.
func (s *Sessions) Carry(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, before, epoch int64) {
	tx.Queue(`UPDATE session SET epoch = $4 WHERE tenant = $1 AND customer = $2 AND epoch >= $3 AND epoch < $4`, tenant, customer, before, epoch)
}
