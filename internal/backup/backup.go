// Package backup copies an installation's two stores to files, while servers
// work, and puts them back.
//
// A backup has two parts. The database part holds everything but customers'
// keys; the keys part holds those, wrapped, and the erasure ledger. What is
// erased becomes unreadable everywhere only when no copy of the keys part from
// before is left: keys are kept for at most 30 days (KeepKeys), apart from the
// database. The ledger, which names nobody but by id, is written a third time
// by itself, to be kept for as long as any backup is.
//
// The two parts are views of two databases, and the order of the views
// matters. A customer's key is durable in the key store before the transaction
// that first uses it, so the database is viewed first and the keys right after:
// every key that the database part needs is in the keys part, or was erased in
// between and stands on its ledger, from which the restore finishes the
// erasure. The views are at most MaxApart apart, less than a new generation of
// a tenant's key waits before it wraps anything, so no customer's key in the
// keys part is wrapped by one that the database part does not know.
//
// The format is the same for both engines: what was read from SQLite can be
// restored to PostgreSQL and the other way round.
//
// The package knows tables by their names and columns, and nothing of what
// they hold. It owns the tables restore_mark and restore_ledger, which are there
// only from the beginning of a restore to its end.
package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const (
	// KeepKeys is for how long the keys part of a backup is to be kept at most:
	// an erasure is complete everywhere when the last copy from before it is
	// gone.
	KeepKeys = 30 * 24 * time.Hour
	// MaxApart is how far apart the views of the two stores may be. It is less
	// than keyring waits before it uses a tenant's new key.
	MaxApart = 10 * time.Second
)

// Source is what is copied.
type Source struct {
	DB      *sqldb.DB
	Store   *sqldb.DB // the key store
	Ring    *keyring.Ring
	Root    string // the id of the root key
	Release string // of the program
	Clock   clock.Clock
	Random  io.Reader
}

// Destination is where a backup is written to. Neither folder may exist.
type Destination struct {
	Folder string
	// Keys is the folder of the keys part; "" for one within Folder, from where
	// it is to be moved elsewhere.
	Keys string
}

// Report tells what was written or restored.
type Report struct {
	Backup    string    `json:"backup"` // the name that both parts bear
	CreatedAt time.Time `json:"created_at"`
	Folder    string    `json:"folder"`
	Keys      string    `json:"keys"`
	Ledger    string    `json:"ledger"`
	Tables    int       `json:"tables"`
	Rows      int64     `json:"rows"`
	Bytes     int64     `json:"bytes"`
}

// attempts is how often a copy is begun anew when the tables changed
// meanwhile.
const attempts = 3

var errMoved = errors.New("the tables were changed by a migration meanwhile, or the machine was too slow; try again when that is over")

// Write makes a backup. It blocks nobody who reads or writes.
func Write(ctx context.Context, s Source, to Destination) (report *Report, err error) {
	folder, err := filepath.Abs(to.Folder)
	if err != nil {
		return nil, err
	}
	keys := filepath.Join(folder, partKeys)
	if to.Keys != "" {
		if keys, err = filepath.Abs(to.Keys); err != nil {
			return nil, err
		}
	}
	for _, path := range []string{folder, keys} {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("%s: %w; name a new folder", path, fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	within := to.Keys == ""
	var random [16]byte
	if _, err := io.ReadFull(s.Random, random[:]); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	name := "bak_" + hex.EncodeToString(random[:])
	temporary, err := makeFolder(folder, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(temporary) }() // nothing is left of it after a success
	temporaryKeys := filepath.Join(temporary, partKeys)
	if within {
		err = os.Mkdir(temporaryKeys, 0o700)
	} else {
		temporaryKeys, err = makeFolder(keys, name)
		defer func() { _ = os.RemoveAll(temporaryKeys) }()
	}
	if err != nil {
		return nil, err
	}

	for attempt := 1; ; attempt++ {
		report, err = s.copy(ctx, name, temporary, temporaryKeys)
		if err == nil || !errors.Is(err, errMoved) || attempt == attempts {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("back up: %w", err)
	}
	if !within {
		if err := publish(temporaryKeys, keys); err != nil {
			return nil, err
		}
	}
	if err := publish(temporary, folder); err != nil {
		return nil, err
	}
	report.Folder, report.Keys, report.Ledger = folder, keys, filepath.Join(folder, ledgerName)
	return report, nil
}

// ledgerName is the file with the erasure ledger, in the backup's folder.
const ledgerName = "ledger.jsonl"

const notice = `A backup of Cardea, made by "cardea backup" and read by "cardea restore".

database/      everything but customers' keys
keys/          customers' keys, wrapped. Keep this part elsewhere, apart from
               database/, and delete it after 30 days at most: as long as a copy
               from before an erasure is left, what was erased can be read.
ledger.jsonl   who was erased. Keep the newest of these for as long as you keep
               any backup: a restore takes it to erase again.

The root key is not in here, and without it none of this can be read.
`

// copy writes both parts and the ledger to their folders.
func (s Source) copy(ctx context.Context, name, folder, keysFolder string) (*Report, error) {
	databaseFolder := filepath.Join(folder, partDatabase)
	for _, path := range []string{databaseFolder, keysFolder} {
		if err := empty(path); err != nil {
			return nil, err
		}
	}
	epoch, err := s.Ring.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	store, err := keyring.StoreID(ctx, s.Store)
	if err != nil {
		return nil, err
	}
	head := manifest{Format: manifestFormat, Version: manifestVersion, Backup: name, CreatedAt: s.Clock.Now().UTC(),
		Release: s.Release, Epoch: epoch, Root: s.Root, Store: store}
	database, keys := head, head
	database.Part, database.Engine = partDatabase, string(s.DB.Engine())
	keys.Part, keys.Engine = partKeys, string(s.Store.Engine())

	before, err := s.schema(ctx)
	if err != nil {
		return nil, err
	}
	began := s.Clock.Now()
	err = s.DB.Snapshot(ctx, func(main *sqldb.Snapshot) error {
		return s.Store.Snapshot(ctx, func(store *sqldb.Snapshot) error {
			if s.Clock.Now().Sub(began) > MaxApart {
				return errMoved
			}
			if err := database.copyTables(main, before.database, databaseFolder); err != nil {
				return err
			}
			return keys.copyTables(store, before.keys, keysFolder)
		})
	})
	if err != nil {
		return nil, err
	}
	// A migration would have changed the tables under the copy.
	after, err := s.schema(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(before.database, after.database, sameTable) || !slices.EqualFunc(before.keys, after.keys, sameTable) {
		return nil, errMoved
	}
	if err := s.copyLedger(ctx, filepath.Join(folder, ledgerName)); err != nil {
		return nil, err
	}
	notes := filepath.Join(folder, "README.txt")
	if err := errors.Join(keys.write(keysFolder), database.write(databaseFolder), removeIfThere(notes), writeFile(notes, []byte(notice)),
		syncFolder(keysFolder), syncFolder(databaseFolder), syncFolder(folder)); err != nil {
		return nil, err
	}
	report := &Report{Backup: name, CreatedAt: head.CreatedAt, Tables: len(database.Tables) + len(keys.Tables)}
	for _, part := range []manifest{database, keys} {
		rows, bytes := part.rows()
		report.Rows += rows
		report.Bytes += bytes
	}
	return report, nil
}

type schema struct{ database, keys []sqldb.Table }

func (s Source) schema(ctx context.Context) (found schema, err error) {
	if found.database, err = tablesToCopy(ctx, s.DB); err != nil {
		return schema{}, err
	}
	found.keys, err = tablesToCopy(ctx, s.Store)
	return found, err
}

// tablesToCopy are all tables but those that say which migrations were made,
// which is in the manifest, and those of a restore.
func tablesToCopy(ctx context.Context, db *sqldb.DB) ([]sqldb.Table, error) {
	tables, err := db.Tables(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	return slices.DeleteFunc(tables, func(t sqldb.Table) bool {
		return t.Name == "schema_migration" || t.Name == markTable || t.Name == ledgerTable
	}), nil
}

func sameTable(a, b sqldb.Table) bool {
	return a.Name == b.Name && slices.Equal(a.Columns, b.Columns)
}

// copyTables writes a view's tables into the folder and notes them.
func (m *manifest) copyTables(view *sqldb.Snapshot, tables []sqldb.Table, folder string) error {
	rows, err := view.Query(`SELECT package, number, name, checksum FROM schema_migration ORDER BY package, number`)
	if err != nil {
		return fmt.Errorf("read which migrations were made: %w", err)
	}
	for rows.Next() {
		var made migration
		if err := rows.Scan(&made.Package, &made.Number, &made.Name, &made.Checksum); err != nil {
			return err
		}
		m.Migrations = append(m.Migrations, made)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, t := range tables {
		copied := table{Name: t.Name, Columns: columnsOf(t)}
		if err := copied.copy(view, folder); err != nil {
			return fmt.Errorf("copy %s: %w", t.Name, err)
		}
		m.Tables = append(m.Tables, copied)
	}
	return nil
}

func (t *table) copy(view *sqldb.Snapshot, folder string) error {
	rows, err := view.Query(`SELECT ` + columnList(t.Columns) + ` FROM ` + quote(t.Name))
	if err != nil {
		return err
	}
	out, err := newRowWriter(filepath.Join(folder, t.file()))
	if err != nil {
		return err
	}
	values := make([]any, len(t.Columns))
	into := make([]any, len(t.Columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err = rows.Scan(into...); err != nil {
			break
		}
		for i, c := range t.Columns {
			if values[i], err = canonical(values[i], c.Type); err != nil {
				err = fmt.Errorf("%s: %w", c.Name, err)
				break
			}
		}
		if err != nil {
			break
		}
		if err = out.write(values); err != nil {
			break
		}
	}
	return errors.Join(err, rows.Err(), out.finish(t))
}

func (s Source) copyLedger(ctx context.Context, path string) error {
	if err := removeIfThere(path); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(keyring.ExportLedger(ctx, s.Store, file), file.Sync(), file.Close())
}
