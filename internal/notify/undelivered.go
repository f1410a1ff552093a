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
