package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// List returns the live sessions of a customer, the newest first, with the
// agents that they were begun in. It reads up to limit rows of those begun
// before the session before, "" for all, and returns the live ones of them;
// next is where to go on, "" at the end.
func (s *Sessions) List(ctx context.Context, t *tenant.Tenant, customer id.Customer, before id.Session, limit int) (sessions []*Session, next id.Session, err error) {
	key, err := s.Ring.Customer(ctx, t.ID, customer)
	if errors.Is(err, keyring.ErrErased) || errors.Is(err, keyring.ErrNoKey) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("the customer's key: %w", err)
	}
	batch := s.DB.Batch()
	holder := s.Customer(batch, t.ID, customer)
	batch.Queue(`SELECT session, secret_hash, device, epoch, methods, acr, stay,
			created_at, authenticated_at, last_seen_at, idle_until, absolute_until, agent FROM session
		WHERE tenant = $1 AND customer = $2 AND ($3 = '' OR session < $3) ORDER BY session DESC LIMIT $4`, []any{t.ID, customer, before, limit}, func(row sqldb.Scanner) error {
		x := &Session{Tenant: t.ID, Customer: customer}
		var methods string
		var sealed []byte
		if err := row.Scan(append(x.columns(&methods), &sealed)...); err != nil {
			return fmt.Errorf("read a session: %w", err)
		}
		x.Methods = strings.Fields(methods)
		x.bound(t.Settings.Session)
		agent, err := key.OpenField("session", "agent", string(x.ID), sealed)
		if err != nil {
			return fmt.Errorf("open the agent of %s: %w", x.ID, err)
		}
		if err := json.Unmarshal(agent, &x.Agent); err != nil {
			return fmt.Errorf("the agent of %s: %w", x.ID, err)
		}
		sessions = append(sessions, x)
		return nil
	})
	if err := batch.Run(ctx); err != nil {
		return nil, "", fmt.Errorf("list the sessions: %w", err)
	}
	if len(sessions) == limit {
		next = sessions[limit-1].ID
	}
	now, state, live := s.Clock.Now(), holder(), sessions[:0]
	for _, x := range sessions {
		if !t.Suspended && x.live(now, state) {
			live = append(live, x)
		}
	}
	return live, next, nil
}
