package crash

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// orderWithin is how long the leader has to give every event its place. On
// PostgreSQL the leases of the node that was killed have to run out first.
const orderWithin = 20 * time.Second

const waiting = `SELECT event FROM event_pending`

// awaitOrder waits until every event has its place, with the program running.
func (h *harness) awaitOrder(ctx context.Context) {
	if h.storage.main == "" {
		time.Sleep(3 * time.Second) // it keeps the only look at its files that one may take
		return
	}
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		s, err := h.storage.open(ctx)
		if err != nil {
			h.t.Fatal(err)
		}
		left, err := s.main.ask(ctx, waiting)
		if err := errors.Join(err, s.main.close(), s.keys.close()); err != nil {
			h.t.Fatal(err)
		}
		if len(left) == 0 || time.Since(began) > orderWithin {
			return
		}
	}
}

// store answers a question of one column with all rows.
type store struct {
	ask   func(ctx context.Context, question string) ([]string, error)
	close func() error
}

// stores are the program's, while it is dead.
type stores struct {
	main, keys store
	sqlite     bool
}

// copySQLite copies the files of a program that was killed, so that what
// recovers them in the end is the program itself.
func copySQLite(folder, main, keys string) (*stores, error) {
	s := &stores{sqlite: true}
	for path, into := range map[string]*store{main: &s.main, keys: &s.keys} {
		to := filepath.Join(folder, fmt.Sprintf("%d-%s", time.Now().UnixNano(), filepath.Base(path)))
		for _, suffix := range []string{"", "-wal"} {
			if err := copyFile(path+suffix, to+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
		}
		db, err := sql.Open("sqlite", to)
		if err != nil {
			return nil, err
		}
		*into = store{close: db.Close, ask: func(ctx context.Context, question string) ([]string, error) {
			rows, err := db.QueryContext(ctx, question)
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			var found []string
			for rows.Next() {
				var one string
				if err := rows.Scan(&one); err != nil {
					return nil, err
				}
				found = append(found, one)
			}
			return found, rows.Err()
		}}
	}
	return s, nil
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

func createDatabases(ctx context.Context, server string) (main, keys string, err error) {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", "", err
	}
	defer conn.Close(ctx)
	address, err := url.Parse(server)
	if err != nil {
		return "", "", err
	}
	for name, into := range map[string]*string{"cardea": &main, "cardea_keys": &keys} {
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
			return "", "", err
		}
		address.Path = "/" + name
		*into = address.String()
	}
	return main, keys, nil
}

func openPostgres(ctx context.Context, main, keys string) (*stores, error) {
	s := &stores{}
	for address, into := range map[string]*store{main: &s.main, keys: &s.keys} {
		conn, err := pgx.Connect(ctx, address)
		if err != nil {
			return nil, err
		}
		*into = store{close: func() error { return conn.Close(ctx) }, ask: func(ctx context.Context, question string) ([]string, error) {
			rows, err := conn.Query(ctx, question)
			if err != nil {
				return nil, err
			}
			return pgx.CollectRows(rows, pgx.RowTo[string])
		}}
	}
	return s, nil
}

// nothing are questions whose answer is no row, in whatever moment the program
// was killed.
var nothing = map[string]string{
	"a customer without an identifier": `SELECT c.customer FROM customer c WHERE c.status <> 'erased' AND NOT EXISTS
		(SELECT 1 FROM customer_identifier i WHERE i.tenant = c.tenant AND i.customer = c.customer)`,
	"a verified identifier that finds nobody": `SELECT i.identifier FROM customer_identifier i WHERE i.verified AND NOT EXISTS
		(SELECT 1 FROM identifier_holder h WHERE h.tenant = i.tenant AND h.kind = i.kind AND h.lookup = i.lookup AND h.customer = i.customer)`,
	"an address that finds nobody's identifier": `SELECT h.identifier FROM identifier_holder h WHERE NOT EXISTS
		(SELECT 1 FROM customer_identifier i WHERE i.tenant = h.tenant AND i.customer = h.customer AND i.identifier = h.identifier AND i.verified)`,
	"a verified address that is not found by its beginning": `SELECT i.identifier FROM customer_identifier i WHERE i.verified AND i.kind = 'email' AND NOT EXISTS
		(SELECT 1 FROM customer_prefix p WHERE p.tenant = i.tenant AND p.customer = i.customer AND p.source = i.identifier)`,
	"a beginning of an address that is not there": `SELECT p.source FROM customer_prefix p WHERE p.source <> 'profile' AND NOT EXISTS
		(SELECT 1 FROM customer_identifier i WHERE i.tenant = p.tenant AND i.customer = p.customer AND i.identifier = p.source AND i.verified)`,
	"a beginning of nobody": `SELECT p.customer FROM customer_prefix p WHERE NOT EXISTS
		(SELECT 1 FROM customer c WHERE c.tenant = p.tenant AND c.customer = p.customer AND c.status <> 'erased')`,
	"a customer whose making is no event": `SELECT c.customer FROM customer c WHERE NOT EXISTS
		(SELECT 1 FROM event e WHERE e.tenant = c.tenant AND e.customer = c.customer AND e.type = 'customer.created')`,
	"an event of a version that its customer has not reached": `SELECT e.id FROM event e JOIN customer c ON c.tenant = e.tenant AND c.customer = e.customer
		WHERE e.version > c.version`,
	"an event without a place":                 `SELECT id FROM event EXCEPT SELECT event FROM event_position EXCEPT SELECT event FROM event_pending`,
	"an event with a place that waits for one": `SELECT w.event FROM event_pending w JOIN event_position p ON p.lane = w.lane AND p.event = w.event`,
	"a place without an event":                 `SELECT p.event FROM event_position p WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.tenant = p.tenant AND e.customer = p.customer AND e.id = p.event)`,
	"a lane with a gap":                        `SELECT CAST(lane AS TEXT) FROM event_position GROUP BY lane HAVING min(position) <> 1 OR max(position) <> count(*)`,
	"a lane whose lease says another end": `SELECT CAST(l.slot AS TEXT) FROM event_lease l WHERE l.role = 'order' AND l.position <>
		(SELECT count(*) FROM event_position p WHERE p.lane = l.slot)`,
	"events of a customer out of their order": `SELECT id FROM (SELECT e.id AS id, e.version AS version,
		lag(e.version) OVER (PARTITION BY e.tenant, e.customer ORDER BY p.position) AS before
		FROM event_position p JOIN event e ON e.tenant = p.tenant AND e.customer = p.customer AND e.id = p.event WHERE e.customer <> '') AS ordered
		WHERE before > version`,
	"a session of nobody": `SELECT s.session FROM session s WHERE NOT EXISTS (SELECT 1 FROM customer c WHERE c.tenant = s.tenant AND c.customer = s.customer)`,
	"a lineage without a grant": `SELECT l.lineage FROM lineage l WHERE NOT EXISTS
		(SELECT 1 FROM customer_grant g WHERE g.tenant = l.tenant AND g.customer = l.customer AND g.application = l.application)`,
}

// inspect looks at the stores of a program that is dead. At rest, every event
// has its place.
func (h *harness) inspect(atRest bool) {
	ctx := context.WithoutCancel(h.t.Context())
	s, err := h.storage.open(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(s.main.close(), s.keys.close()); err != nil {
			h.t.Error(err)
		}
	}()
	for what, question := range nothing {
		h.expectNone(ctx, s.main, what, question)
	}
	if atRest {
		h.expectNone(ctx, s.main, "an event that still waits for its place", waiting)
	}
	h.inspectKeys(ctx, s)
	if !s.sqlite {
		return
	}
	for _, file := range []store{s.main, s.keys} {
		if said, err := file.ask(ctx, "PRAGMA integrity_check"); err != nil || !slices.Equal(said, []string{"ok"}) {
			h.t.Errorf("integrity_check says %q, %v", said, err)
		}
	}
}

func (h *harness) expectNone(ctx context.Context, s store, what, question string) {
	found, err := s.ask(ctx, question)
	if err != nil {
		h.t.Errorf("%s: %v", what, err)
	} else if len(found) > 0 {
		h.t.Errorf("%s: %d times, such as %s", what, len(found), found[0])
	}
}

// inspectKeys looks for customers whose key is not in the key store: nobody
// could read them again.
func (h *harness) inspectKeys(ctx context.Context, s *stores) {
	customers, err := s.main.ask(ctx, `SELECT customer FROM customer WHERE status <> 'erased'`)
	if err != nil {
		h.t.Error(err)
	}
	keys, err := s.keys.ask(ctx, `SELECT customer FROM customer_key`)
	if err != nil {
		h.t.Error(err)
	}
	there := map[string]bool{}
	for _, customer := range keys {
		there[customer] = true
	}
	for _, customer := range customers {
		if !there[customer] {
			h.t.Errorf("customer %s has no key", customer)
		}
	}
	if len(customers) == 0 {
		h.t.Error("no customer is there at all")
	}
}
