package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// monthName is how the partition of a month is called.
const monthName = "event_2006_01"

// monthsAhead is how many months are made before they begin.
const monthsAhead = 3

// Maintain makes the partitions of the present month and the next ones on
// PostgreSQL; on SQLite it does nothing. It is to be called when a server
// starts and daily, and changes nothing when all is there.
func (l *Log) Maintain(ctx context.Context) error {
	if l.db.Engine() != sqldb.Postgres {
		return nil
	}
	there, err := l.months(ctx)
	if err != nil {
		return err
	}
	now := l.clock.Now().UTC()
	present := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	for ahead := range monthsAhead + 1 {
		month := present.AddDate(0, ahead, 0)
		if there[month.Format(monthName)] {
			continue
		}
		low, high := firstID(month), firstID(month.AddDate(0, 1, 0))
		err := l.db.Write(ctx, func(tx *sqldb.Tx) error {
			// A partition cannot be made of rows that the default one holds,
			// as it does in the first month of an installation.
			var held int
			err := tx.QueryRow(`SELECT 1 FROM event_default WHERE id >= $1 AND id < $2 LIMIT 1`, low, high).Scan(&held)
			if !errors.Is(err, sqldb.ErrNoRows) {
				return err
			}
			if err := patient(tx); err != nil {
				return err
			}
			_, err = tx.Exec(fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s PARTITION OF event FOR VALUES FROM ('%s') TO ('%s')`,
				month.Format(monthName), low, high))
			return err
		})
		if err != nil {
			return fmt.Errorf("make the events' partition of %s: %w", month.Format("2006-01"), err)
		}
	}
	return nil
}

// patient makes a change of tables give up rather than hold all appends back
// behind it.
func patient(tx *sqldb.Tx) error {
	_, err := tx.Exec(`SET LOCAL lock_timeout = '3s'`)
	return err
}

// dropMonths drops the months all of whose events have identifiers below
// bound, on PostgreSQL.
func (l *Log) dropMonths(ctx context.Context, bound id.Event) error {
	if l.db.Engine() != sqldb.Postgres {
		return nil
	}
	there, err := l.months(ctx)
	if err != nil {
		return err
	}
	for name := range there {
		month, err := time.Parse(monthName, name)
		if err != nil {
			continue // not one of Maintain's
		}
		end := firstID(month.AddDate(0, 1, 0))
		if end > bound {
			continue
		}
		var waiting int
		err = l.db.QueryRow(ctx, `SELECT 1 FROM event_pending WHERE event < $1 COLLATE "C" LIMIT 1`, end).Scan(&waiting)
		if err == nil {
			continue
		}
		if !errors.Is(err, sqldb.ErrNoRows) {
			return fmt.Errorf("look for pending events: %w", err)
		}
		err = l.db.Write(ctx, func(tx *sqldb.Tx) error {
			if err := patient(tx); err != nil {
				return err
			}
			_, err := tx.Exec(`DROP TABLE IF EXISTS ` + month.Format(monthName))
			return err
		})
		if err != nil {
			return fmt.Errorf("drop the events of %s: %w", month.Format("2006-01"), err)
		}
	}
	return nil
}

// months are the names of the partitions there are.
func (l *Log) months(ctx context.Context) (map[string]bool, error) {
	rows, err := l.db.Query(ctx, `SELECT CAST(c.relname AS TEXT) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = to_regclass('event')`)
	if err != nil {
		return nil, fmt.Errorf("list the events' partitions: %w", err)
	}
	names := map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names[name] = true
	}
	return names, rows.Err()
}
