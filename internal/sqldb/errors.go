package sqldb

import (
	"errors"
)

// ErrNoRows says that a query for one row found none.
var ErrNoRows = errors.New("no rows")

// ErrOutcomeUnknown says that the connection was lost while the transaction
// was being committed: it may or may not have happened. The caller must not
// acknowledge it.
var ErrOutcomeUnknown = errors.New("the connection was lost during the commit, so its outcome is unknown")

// ErrLocked says that another process holds the SQLite file in a way that
// excludes this one.
var ErrLocked = errors.New("the database is locked")

// ErrClosed says that the handle was closed.
var ErrClosed = errors.New("the database handle is closed")

// busyError wraps the fault of work that lost too many races or found no room.
type busyError struct{ err error }

func (e *busyError) Error() string { return "the database is busy: " + e.err.Error() }
func (e *busyError) Unwrap() error { return e.err }

// ErrNotDurable says that a file system does not take the settings by which
// SQLite survives a loss of power: journal_mode=WAL and synchronous=FULL.
var ErrNotDurable = errors.New("the file system does not take journal_mode=WAL and synchronous=FULL")

// IsBusy says whether err means that the database had too much to do, or that
// a transaction lost every race it was given: the same request may succeed
// later.
func IsBusy(err error) bool {
	var busy *busyError
	return errors.As(err, &busy)
}
