package notify

import (
	"context"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// Probe connects to the server as a message would, with its encryption and its
// password, and sends none. The reason that it returns is one of "timeout",
// "tls" and "connection", and "" when a message could be handed over.
func (s *SMTP) Probe(ctx context.Context) (reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	c, _, err := s.connect(ctx)
	if err != nil {
		return connectReason(err), err
	}
	c.close()
	return "", nil
}

// Waiting counts the messages of a database that wait to be sent, 100,000 at
// most, and tells since when the oldest does.
func Waiting(ctx context.Context, db *sqldb.DB) (waiting int, oldest time.Time, err error) {
	err = db.QueryRow(ctx, sqlWaiting, mostWaiting).Scan(&waiting, &oldest)
	return waiting, oldest, err
}
