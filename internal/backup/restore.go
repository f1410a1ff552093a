package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

var (
	// ErrNotEmpty says that the stores to restore into hold something already.
	ErrNotEmpty = errors.New("there is data already")
	// ErrNoLedger says that there is no erasure ledger but the backup's own.
	ErrNoLedger = errors.New("there is no erasure ledger newer than the backup")
)

// Restoration says what to restore, and where.
type Restoration struct {
	Folder string // the backup
	Keys   string // the folder of its keys part; "" for the one within Folder

	DatabaseURL string
	KeyStoreURL string
	// Migrations and StoreMigrations are those of this program for the two
	// stores; Known are further ones that a backup's database may have.
	Migrations      []sqldb.MigrationSet
	StoreMigrations []sqldb.MigrationSet
	Known           []sqldb.MigrationSet
	Root            keyring.Root
	OldRoots        []keyring.Root

	// Ledger is a file with an exported ledger, "" for none. The ledger of the
	// key store that is there already is taken in any case.
	Ledger string
	// Force replaces what is there, and goes on without a ledger.
	Force bool

	// Finish removes the rows of whoever stands on the ledger. It is called
	// when the stores can be opened again, and before anybody else may use
	// them.
	Finish func(context.Context) error

	Clock  clock.Clock
	Random io.Reader
	Logger *slog.Logger // may be nil
}

// Restored tells what a restore did.
type Restored struct {
	Backup    string    `json:"backup"`
	CreatedAt time.Time `json:"created_at"` // when the backup was made: what happened after is gone
	Tables    int       `json:"tables"`
	Rows      int64     `json:"rows"`
	Replaced  bool      `json:"replaced"` // there was data, which is gone
	// Erased is how many customers had been erased since the backup was made
	// and were erased again.
	Erased   int   `json:"erased_again"`
	NoLedger bool  `json:"no_ledger"` // it went on without one
	Epoch    int64 `json:"epoch"`     // tokens, codes and cookies from before are dead
}

// Restore puts a backup back. It takes both stores for itself and refuses while
// anybody uses them. Everything that can be checked is checked before anything
// is changed; from then on, until the end, the stores are marked and nobody may
// use them, so that an interrupted restore can only be run again.
func Restore(ctx context.Context, r Restoration) (*Restored, error) {
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	database := &target{part: partDatabase, folder: filepath.Join(r.Folder, partDatabase), sets: r.Migrations, known: withKnown(r.Migrations, r.Known)}
	keys := &target{part: partKeys, folder: r.Keys, sets: r.StoreMigrations, known: r.StoreMigrations}
	if keys.folder == "" {
		keys.folder = filepath.Join(r.Folder, partKeys)
	}
	targets := []*target{database, keys}
	for _, t := range targets {
		if _, err := os.Stat(t.folder); t == keys && errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: there is no folder %s with customers' keys. They are kept apart from the rest of a backup: name the folder that they are in with --keys", ErrDamaged, t.folder)
		}
		if err := t.verify(); err != nil {
			return nil, err
		}
	}
	if database.manifest.Backup != keys.manifest.Backup {
		return nil, fmt.Errorf("%w: the database is of the backup %s, the keys are of %s", ErrDamaged, database.manifest.Backup, keys.manifest.Backup)
	}
	if err := r.checkRoot(database.manifest.Root); err != nil {
		return nil, err
	}

	var locks []exclusive
	defer func() {
		for _, lock := range locks {
			lock.release()
		}
	}()
	for i, url := range []string{r.DatabaseURL, r.KeyStoreURL} {
		lock, err := lockExclusive(ctx, url)
		if err != nil {
			return nil, fmt.Errorf("take the %s for the restore: %w", targets[i].part, err)
		}
		locks = append(locks, lock)
		if targets[i].db, err = sqldb.Open(ctx, sqldb.Options{URL: url, Clock: r.Clock, Logger: r.Logger, MaxConns: 4, Lock: lock.file}); err != nil {
			return nil, fmt.Errorf("open the %s: %w", targets[i].part, err)
		}
		defer func() { _ = targets[i].close() }() // after a success it has been closed
	}
	done, err := r.replace(ctx, database, keys)
	if err != nil {
		return nil, err
	}

	// From here on the stores are whole, and still marked.
	for i, t := range targets {
		if err := t.close(); err != nil {
			return nil, fmt.Errorf("close the %s: %w", t.part, err)
		}
		if err := locks[i].soften(ctx); err != nil {
			return nil, err
		}
	}
	if r.Finish != nil {
		if err := r.Finish(ctx); err != nil {
			return nil, fmt.Errorf("finish the erasures: %w; run the restore again", err)
		}
	}
	for i, url := range []string{r.DatabaseURL, r.KeyStoreURL} {
		t := targets[i]
		if t.db, err = sqldb.Open(ctx, sqldb.Options{URL: url, Clock: r.Clock, Logger: r.Logger, MaxConns: 2}); err != nil {
			return nil, fmt.Errorf("open the %s: %w", t.part, err)
		}
		err := errors.Join(t.end(ctx), t.close())
		if err != nil {
			return nil, err
		}
	}
	return done, nil
}

// withKnown adds the sets of packages that are not among the sets.
func withKnown(sets, further []sqldb.MigrationSet) []sqldb.MigrationSet {
	all := slices.Clone(sets)
	for _, set := range further {
		if !slices.ContainsFunc(all, func(s sqldb.MigrationSet) bool { return s.Package == set.Package }) {
			all = append(all, set)
		}
	}
	return all
}

// verify reads the manifest and makes sure that all files are as they were
// written.
func (t *target) verify() (err error) {
	if t.manifest, err = readManifest(t.folder, t.part); err != nil {
		return err
	}
	if err := t.manifest.known(t.known); err != nil {
		return err
	}
	for _, table := range t.manifest.Tables {
		if err := table.check(t.folder); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) close() error {
	if t.db == nil {
		return nil
	}
	db := t.db
	t.db = nil
	return db.Close()
}

// checkRoot makes sure that the keys in the backup can be unwrapped.
func (r Restoration) checkRoot(needed string) error {
	given := []string{r.Root.ID()}
	for _, old := range r.OldRoots {
		given = append(given, old.ID())
	}
	if slices.Contains(given, needed) {
		return nil
	}
	return fmt.Errorf("%w: the backup's keys are wrapped by the root key with the ID %s, but what is configured is %s. Nothing was changed. Configure the root key that the backup was made with",
		keyring.ErrRoot, needed, strings.Join(given, ", "))
}

// replace marks both stores, replaces what is in them, erases again whoever
// was erased since the backup was made, and raises the epoch.
func (r Restoration) replace(ctx context.Context, database, keys *target) (*Restored, error) {
	began := r.Clock.Now()
	for _, t := range []*target{database, keys} {
		if err := t.inspect(ctx); err != nil {
			return nil, err
		}
	}
	interrupted := database.mark != nil || keys.mark != nil
	done := &Restored{Backup: database.manifest.Backup, CreatedAt: database.manifest.CreatedAt, Replaced: !interrupted && (!database.empty || !keys.empty)}
	if done.Replaced && !r.Force {
		return nil, fmt.Errorf("%w where the backup is to be restored to, and a restore replaces it. Nothing was changed. Back it up, then use --force", ErrNotEmpty)
	}
	ledgers, err := r.ledgers(ctx, keys)
	defer func() {
		for _, ledger := range ledgers {
			_ = ledger.Close() // it was only read
		}
	}()
	if err != nil {
		return nil, err
	}
	if done.NoLedger = len(ledgers) == 0; done.NoLedger && !r.Force {
		return nil, fmt.Errorf("%w, so customers who were erased after %s would be back. Nothing was changed. Give the newest ledger.jsonl of any later backup with --ledger, or use --force to go on without",
			ErrNoLedger, done.CreatedAt.Format(time.RFC3339))
	}

	m := mark{backup: done.Backup, epoch: r.present(ctx, database)}
	if err := keys.begin(ctx, m, ledgers); err != nil {
		return nil, err
	}
	if err := database.begin(ctx, m, nil); err != nil {
		return nil, err
	}
	for _, t := range []*target{database, keys} {
		r.Logger.InfoContext(ctx, "restoring", "part", t.part, "tables", len(t.manifest.Tables))
		if err := t.wipe(ctx); err != nil {
			return nil, err
		}
		if err := t.load(ctx); err != nil {
			return nil, err
		}
		rows, _ := t.manifest.rows()
		done.Tables += len(t.manifest.Tables)
		done.Rows += rows
	}
	for _, ledger := range ledgers {
		if _, err := ledger.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		applied, err := keyring.ImportLedger(ctx, keys.db, ledger)
		if err != nil {
			return nil, err
		}
		done.Erased += applied
	}
	// It opens only if the root key and the key store are the right ones.
	if _, err := keyring.Open(ctx, keyring.Options{DB: database.db, Store: keys.db, Root: r.Root, OldRoots: r.OldRoots, Clock: r.Clock, Random: r.Random}); err != nil {
		return nil, err
	}
	done.Epoch, err = r.raise(ctx, database.db, began, m.epoch)
	return done, err
}

// present raises the epoch of the database that is about to be replaced, so
// that the restored one's can be made to be above whatever was issued by it. It
// is 0 where there is none.
func (r Restoration) present(ctx context.Context, database *target) int64 {
	known := int64(0)
	if database.mark != nil {
		known = database.mark.epoch
	}
	if database.empty {
		return known
	}
	epoch, err := keyring.RaiseEpoch(ctx, database.db, r.Clock.Now())
	if err != nil {
		r.Logger.InfoContext(ctx, "the epoch of what is replaced is not known", "error", err)
	}
	return max(known, epoch)
}

// raise sets the epoch of the restored database above its own, above that of
// the one replaced, and to a second that began after the restore did: whatever
// was issued up to then is dead.
func (r Restoration) raise(ctx context.Context, db *sqldb.DB, began time.Time, above int64) (int64, error) {
	for {
		now := r.Clock.Now()
		if now.Unix() > began.Unix() || now.Before(began) {
			return keyring.RaiseEpoch(ctx, db, time.Unix(max(now.Unix(), above+1), 0))
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ledgers are those there are beside the backup's own: that of the key store
// which is there, or those of a restore that was interrupted, and the file.
// The caller closes them, whatever the error.
func (r Restoration) ledgers(ctx context.Context, keys *target) (ledgers []*os.File, err error) {
	switch {
	case keys.mark != nil:
		ledgers, err = keys.keptLedgers(ctx)
	case !keys.empty:
		ledgers, err = keys.ownLedger(ctx)
	}
	if err != nil || r.Ledger == "" {
		return ledgers, err
	}
	file, err := os.Open(r.Ledger)
	if err != nil {
		return ledgers, fmt.Errorf("the ledger: %w", err)
	}
	ledgers = append(ledgers, file)
	store, err := keyring.LedgerStore(file)
	if err != nil {
		return ledgers, fmt.Errorf("%s: %w", r.Ledger, err)
	}
	if store != keys.manifest.Store {
		return ledgers, fmt.Errorf("%w: the ledger %s is of the key store %s, the backup of %s. Nothing was changed", keyring.ErrStore, r.Ledger, store, keys.manifest.Store)
	}
	return ledgers, nil
}

// ownLedger is that of the key store that is about to be replaced, or none if
// that is another than the backup's.
func (t *target) ownLedger(ctx context.Context) ([]*os.File, error) {
	store, err := keyring.StoreID(ctx, t.db)
	if errors.Is(err, sqldb.ErrNoRows) || err == nil && store != t.manifest.Store {
		return nil, nil
	}
	var file *os.File
	if err == nil {
		file, err = temporaryFile()
	}
	if err == nil {
		if err = keyring.ExportLedger(ctx, t.db, file); err == nil {
			return []*os.File{file}, nil
		}
	}
	if file != nil {
		err = errors.Join(err, file.Close())
	}
	return nil, fmt.Errorf("the erasure ledger of the key store that is there cannot be read, and without it erased customers would be back: %w. If that key store is lost, move it away and give a ledger with --ledger", err)
}
