package session

import (
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// End ends one session of a customer as part of tx, and says whether it was
// there. The id may be whatever somebody sent.
func (s *Sessions) End(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, session id.Session, reason Reason, actor string) (bool, error) {
	if _, err := id.Parse[id.Session](string(session)); err != nil {
		return false, nil
	}
	var seen time.Time
	err := tx.QueryRow(`DELETE FROM session WHERE tenant = $1 AND customer = $2 AND session = $3 RETURNING last_seen_at`, tenant, customer, session).Scan(&seen)
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("end the session: %w", err)
	}
	if s.Seen != nil {
		s.Seen(tx, tenant, customer, seen)
	}
	return true, s.tell(tx, Ended{Tenant: tenant, Customer: customer, Sessions: []id.Session{session}, Reason: reason, Actor: actor})
}

// EndAll ends all sessions of a customer but except, which may be "", as part
// of tx, and whatever has outlived its session. It says how many there were.
func (s *Sessions) EndAll(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, except id.Session, reason Reason, actor string) (int, error) {
	rows, err := tx.Query(`DELETE FROM session WHERE tenant = $1 AND customer = $2 AND session <> $3 RETURNING session, last_seen_at`, tenant, customer, except)
	if err != nil {
		return 0, fmt.Errorf("end the sessions: %w", err)
	}
	e := Ended{Tenant: tenant, Customer: customer, Everywhere: true, Except: except, Reason: reason, Actor: actor}
	var latest time.Time
	for rows.Next() {
		var session id.Session
		var seen time.Time
		if err := rows.Scan(&session, &seen); err != nil {
			return 0, fmt.Errorf("read the sessions ended: %w", err)
		}
		if seen.After(latest) {
			latest = seen
		}
		e.Sessions = append(e.Sessions, session)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if s.Seen != nil && len(e.Sessions) > 0 {
		s.Seen(tx, tenant, customer, latest)
	}
	return len(e.Sessions), s.tell(tx, e)
}

// tell appends an event for each session and has the rest ended too.
func (s *Sessions) tell(tx *sqldb.Tx, e Ended) error {
	for _, session := range e.Sessions {
		err := s.Log.Append(tx, event.Event{
			Tenant: e.Tenant, Customer: e.Customer, Type: "session.ended", Actor: e.Actor,
			Data: map[string]any{"session": session, "reason": e.Reason},
		})
		if err != nil {
			return err
		}
	}
	if s.Options.Ended == nil {
		return nil
	}
	return s.Options.Ended(tx, e)
}
