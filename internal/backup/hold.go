package backup

import (
	"context"
	"strings"
	"sync"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// Hold keeps restores away from databases for as long as they are served. On
// SQLite that is what an open handle does anyway; on PostgreSQL it is a lock
// that every node shares.
type Hold struct {
	release []func()
}

// Serve takes a hold on the databases with these URLs. It returns ErrUnfinished
// while a restore works on one. Lost is called, once, when the hold was lost
// with its connection and a restore has begun since: the node must stop.
func Serve(ctx context.Context, lost func(error), urls ...string) (*Hold, error) {
	hold := &Hold{}
	var once sync.Once
	for _, url := range urls {
		if strings.HasPrefix(url, "sqlite:") {
			continue
		}
		release, err := sharePostgres(ctx, url, func(err error) { once.Do(func() { lost(err) }) })
		if err != nil {
			hold.Release()
			return nil, err
		}
		hold.release = append(hold.release, release)
	}
	return hold, nil
}

// Release lets restores begin.
func (h *Hold) Release() {
	for _, release := range h.release {
		release()
	}
	h.release = nil
}

// exclusive keeps everybody else away from one database.
type exclusive struct {
	file     *sqldb.Lock
	postgres *exclusivePostgres
}

func lockExclusive(ctx context.Context, url string) (exclusive, error) {
	if path, found := strings.CutPrefix(url, "sqlite:"); found {
		lock, err := sqldb.LockExclusive(path)
		return exclusive{file: lock}, err
	}
	lock, err := lockPostgres(ctx, url)
	return exclusive{postgres: lock}, err
}

// soften lets this process open the database again as any other does. Another
// restore may still not begin on PostgreSQL; on SQLite the mark tells it that
// this one has not ended.
func (l exclusive) soften(ctx context.Context) error {
	if l.file != nil {
		return l.file.Release()
	}
	return l.postgres.soften(ctx)
}

func (l exclusive) release() {
	if l.file != nil {
		_ = l.file.Release() // it ends with the process anyway
	}
	if l.postgres != nil {
		l.postgres.close()
	}
}
