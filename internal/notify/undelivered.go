package notify

import (
	"context"
	"time"

	"github.com/cardea-id/cardea/internal/id"
)

// Undelivered is a message that was given up. Nothing of its content is left.
type Undelivered struct {
	ID       id.Message
	Customer id.Customer // "" for an address without an account
	Template Template
	Reason   string // "expired", "gave_up", "smtp_550", …
	Attempts int
	At       time.Time // when it was given up
}

const sqlUndelivered = `SELECT id, customer, template, reason, attempts, ended_at FROM notify_outbox
WHERE tenant = $1 AND state = 'dead' AND id < $2 ORDER BY id DESC LIMIT $3`

// Undelivered lists a tenant's messages that were given up in the last seven
// days, newest first. The next page begins before the last id of this one.
func (o *Outbox) Undelivered(ctx context.Context, tenant id.Tenant, before id.Message, limit int) ([]Undelivered, error) {
	if before == "" {
		before = "n" // after every "msg_…"
	}
	rows, err := o.o.DB.Query(ctx, sqlUndelivered, tenant, before, min(max(limit, 1), 200))
	if err != nil {
		return nil, err
	}
	var list []Undelivered
	for rows.Next() {
		var u Undelivered
		if err := rows.Scan(&u.ID, &u.Customer, &u.Template, &u.Reason, &u.Attempts, &u.At); err != nil {
			return nil, err
		}
		list = append(list, u)
	}
	return list, rows.Err()
}

// Unsent is a message that has not left yet.
type Unsent struct {
	ID       id.Message
	Customer id.Customer // "" for an address without an account
	Template Template
	Attempts int
	Reason   string    // why it did not leave at the last attempt, "" before
	Since    time.Time // when it was put into the outbox
	Next     time.Time // when it is tried next, at the earliest
	Expires  time.Time // from when it is of no use any more
}

const sqlUnsent = `SELECT id, customer, template, attempts, reason, created_at, due_at, expires_at FROM notify_outbox
WHERE tenant = $1 AND state = 'waiting' AND id < $2 ORDER BY id DESC LIMIT $3`

// Unsent lists a tenant's messages that have not left yet, newest first. The
// next page begins before the last id of this one.
func (o *Outbox) Unsent(ctx context.Context, tenant id.Tenant, before id.Message, limit int) ([]Unsent, error) {
	if before == "" {
		before = "n" // after every "msg_…"
	}
	rows, err := o.o.DB.Query(ctx, sqlUnsent, tenant, before, min(max(limit, 1), 200))
	if err != nil {
		return nil, err
	}
	var list []Unsent
	for rows.Next() {
		var w Unsent
		if err := rows.Scan(&w.ID, &w.Customer, &w.Template, &w.Attempts, &w.Reason, &w.Since, &w.Next, &w.Expires); err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	return list, rows.Err()
}
