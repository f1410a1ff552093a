package customer

import (
	"context"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/id"
)

// Entry is what a list says of a customer: nothing that is sealed.
type Entry struct {
	ID        id.Customer
	Status    Status
	CreatedAt time.Time
	UpdatedAt time.Time
}

// List returns up to limit customers whose ids come after the given one, in
// the order of their making; erased ones are left out. On a distributed
// database it asks every shard, and each by its key.
func (d *Directory) List(ctx context.Context, tenant id.Tenant, after id.Customer, limit int) ([]Entry, error) {
	rows, err := d.DB.Query(ctx, `SELECT customer, status, created_at, updated_at FROM customer
		WHERE tenant = $1 AND customer > $2 AND status <> $3 ORDER BY customer LIMIT $4`, tenant, after, Erased, limit)
	if err != nil {
		return nil, fmt.Errorf("list the customers: %w", err)
	}
	defer rows.Close()
	var found []Entry
	for rows.Next() {
		var e Entry
		if err := rows.Scan(&e.ID, &e.Status, &e.CreatedAt, &e.UpdatedAt); err != nil {
			return nil, fmt.Errorf("read a customer: %w", err)
		}
		found = append(found, e)
	}
	return found, rows.Err()
}
