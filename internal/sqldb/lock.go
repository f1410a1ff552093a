package sqldb

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Lock is a hold on a SQLite file that keeps other processes away. It ends
// with the process, however that ends.
type Lock struct {
	path string
	file *os.File
}

// Release lets others open the file again.
func (l *Lock) Release() error {
	if err := l.file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// LockExclusive takes the SQLite file at path, which need not exist, for this
// process alone, for a restore or a migration. It returns ErrLocked when a
// server has the file open. Options.Lock opens the database under it.
func LockExclusive(path string) (*Lock, error) {
	path, err := sqlitePath(path)
	if err != nil {
		return nil, err
	}
	return lockFile(path, true)
}

// lockFile locks "<path>.lock", not the file itself, whose locks are SQLite's.
func lockFile(path string, exclusive bool) (*Lock, error) {
	file, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	how, why := unix.LOCK_SH, "a restore or migration is working on it; wait until that is done"
	if exclusive {
		how, why = unix.LOCK_EX, "a server has it open; stop the server first"
	}
	for {
		err = unix.Flock(int(file.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		return &Lock{path: path, file: file}, nil
	}
	file.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w: %s", path, ErrLocked, why)
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}
