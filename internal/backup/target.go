package backup

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	packageName = "backup"
	markTable   = "restore_mark"
	ledgerTable = "restore_ledger"
)

// ErrUnfinished says that a restore into a database is under way or was
// interrupted, so that nothing may use what is there.
var ErrUnfinished = errors.New("a restore into this database has not been finished")

// Usable returns ErrUnfinished for a database into which a restore has begun
// and not ended. Whoever is about to serve a database asks first.
func Usable(ctx context.Context, db *sqldb.DB) error {
	m, err := readMark(ctx, db)
	if err != nil {
		return err
	}
	if m != nil {
		return fmt.Errorf("%w: that of the backup %s, begun at %s. Run the restore again; it begins anew", ErrUnfinished, m.backup, m.begunAt.Format(time.RFC3339))
	}
	return nil
}

// mark is the row that says that a restore is under way.
type mark struct {
	backup  string
	epoch   int64
	begunAt time.Time
}

// readMark returns nil when no restore is under way.
func readMark(ctx context.Context, db *sqldb.DB) (*mark, error) {
	tables, err := db.Tables(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for an interrupted restore: %w", err)
	}
	if !slices.ContainsFunc(tables, func(t sqldb.Table) bool { return t.Name == markTable }) {
		return nil, nil
	}
	var m mark
	err = db.QueryRow(ctx, `SELECT backup, epoch, begun_at FROM restore_mark WHERE name = 'restore'`).Scan(&m.backup, &m.epoch, &m.begunAt)
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for an interrupted restore: %w", err)
	}
	return &m, nil
}

// target is one database that is restored into.
type target struct {
	db       *sqldb.DB
	part     string
	folder   string
	manifest *manifest
	sets     []sqldb.MigrationSet // those of this program
	known    []sqldb.MigrationSet // those that a backup may have
	mark     *mark                // of a restore that was interrupted
	empty    bool
}

// inspect looks at what is there.
func (t *target) inspect(ctx context.Context) error {
	var err error
	if t.mark, err = readMark(ctx, t.db); err != nil {
		return err
	}
	tables, err := t.db.Tables(ctx)
	if err != nil {
		return fmt.Errorf("look at what is there: %w", err)
	}
	t.empty = !slices.ContainsFunc(tables, func(table sqldb.Table) bool {
		return table.Name != "schema_migration" && table.Name != markTable && table.Name != ledgerTable
	})
	return nil
}

// begin marks the database as unusable, and keeps the ledgers with the mark.
func (t *target) begin(ctx context.Context, m mark, ledgers []*os.File) error {
	if err := t.db.Migrate(ctx, sqldb.MigrationSet{Package: packageName, FS: migrations}); err != nil {
		return err
	}
	err := t.db.Write(ctx, func(tx *sqldb.Tx) error {
		tx.Queue(`INSERT INTO restore_mark (name, backup, epoch, begun_at) VALUES ('restore', $1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET backup = excluded.backup, epoch = excluded.epoch, begun_at = excluded.begun_at`, m.backup, m.epoch, tx.Now())
		tx.Queue(`DELETE FROM restore_ledger`)
		for i, ledger := range ledgers {
			if err := keepLedger(tx, i+1, ledger); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mark the %s as being restored: %w", t.part, err)
	}
	return nil
}

func keepLedger(tx *sqldb.Tx, number int, ledger *os.File) error {
	if _, err := ledger.Seek(0, io.SeekStart); err != nil {
		return err
	}
	content := make([]byte, 256<<10)
	for part := 1; ; part++ {
		n, err := io.ReadFull(ledger, content)
		if n > 0 {
			if _, err := tx.Exec(`INSERT INTO restore_ledger (ledger, part, content) VALUES ($1, $2, $3)`, number, part, content[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// keptLedgers are those that begin kept, as temporary files.
func (t *target) keptLedgers(ctx context.Context) (ledgers []*os.File, err error) {
	err = t.db.Snapshot(ctx, func(view *sqldb.Snapshot) error {
		rows, err := view.Query(`SELECT ledger, content FROM restore_ledger ORDER BY ledger, part`)
		if err != nil {
			return err
		}
		last := 0
		for rows.Next() {
			var number int
			var content []byte
			if err := rows.Scan(&number, &content); err != nil {
				return err
			}
			if number != last {
				file, err := temporaryFile()
				if err != nil {
					return err
				}
				ledgers, last = append(ledgers, file), number
			}
			if _, err := ledgers[len(ledgers)-1].Write(content); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	if err != nil {
		return ledgers, fmt.Errorf("read the ledgers that were kept: %w", err)
	}
	return ledgers, nil
}

// temporaryFile is a file without a name.
func temporaryFile() (*os.File, error) {
	file, err := os.CreateTemp("", "cardea-ledger-*")
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}

// wipe drops all tables but those of the restore itself.
func (t *target) wipe(ctx context.Context) error {
	tables, err := t.db.Tables(ctx)
	if err != nil {
		return err
	}
	err = t.db.Write(ctx, func(tx *sqldb.Tx) error {
		for _, table := range tables {
			if table.Name == "schema_migration" || table.Name == markTable || table.Name == ledgerTable {
				continue
			}
			if _, err := tx.Exec(`DROP TABLE ` + quote(table.Name)); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`DELETE FROM schema_migration WHERE package <> $1`, packageName)
		return err
	})
	if err != nil {
		return fmt.Errorf("clear the %s: %w", t.part, err)
	}
	return nil
}

// load makes the tables as they were when the backup was made, fills them,
// counts what is there, and brings them up to date.
func (t *target) load(ctx context.Context) error {
	if err := t.db.Migrate(ctx, t.manifest.subset(t.known)...); err != nil {
		return err
	}
	if err := t.compare(ctx); err != nil {
		return err
	}
	for _, table := range t.manifest.Tables {
		if err := t.fill(ctx, table); err != nil {
			return fmt.Errorf("restore %s: %w", table.Name, err)
		}
	}
	// What the backup had and production does not know, such as the inbox of
	// development, stays as it is.
	return t.db.Migrate(ctx, t.sets...)
}

// compare makes sure that the tables are those of the backup.
func (t *target) compare(ctx context.Context) error {
	there, err := tablesToCopy(ctx, t.db)
	if err != nil {
		return err
	}
	byName := func(a, b column) int { return strings.Compare(a.Name, b.Name) }
	if len(there) != len(t.manifest.Tables) {
		return fmt.Errorf("the backup has %d tables, and its migrations make %d", len(t.manifest.Tables), len(there))
	}
	for _, made := range there {
		at := slices.IndexFunc(t.manifest.Tables, func(copied table) bool { return copied.Name == made.Name })
		if at < 0 {
			return fmt.Errorf("the backup has no table %s", made.Name)
		}
		own, copied := columnsOf(made), slices.Clone(t.manifest.Tables[at].Columns)
		slices.SortFunc(own, byName)
		slices.SortFunc(copied, byName)
		if !slices.Equal(own, copied) {
			return fmt.Errorf("the table %s has other columns in the backup than its migrations make", made.Name)
		}
	}
	return nil
}

const (
	statementValues = 512     // values in a statement
	writeRows       = 4000    // rows in a transaction
	writeBytes      = 4 << 20 // bytes in a transaction
)

// insertInto is the statement that inserts so many rows.
func insertInto(t table, rows int) string {
	text := strings.Builder{}
	text.WriteString(`INSERT INTO ` + quote(t.Name) + ` (` + columnList(t.Columns) + `) VALUES `)
	for at := range rows * len(t.Columns) {
		switch {
		case at == 0:
			text.WriteString("(")
		case at%len(t.Columns) == 0:
			text.WriteString("), (")
		default:
			text.WriteString(", ")
		}
		text.WriteString("$" + strconv.Itoa(at+1))
	}
	text.WriteString(")")
	return text.String()
}

// fill puts a table's rows in the place of those that its migration made.
func (t *target) fill(ctx context.Context, table table) error {
	perStatement := max(1, statementValues/len(table.Columns))
	many, one := insertInto(table, perStatement), insertInto(table, 1)

	var waiting [][]any
	size := 0
	first := true
	write := func() error {
		err := t.db.Write(ctx, func(tx *sqldb.Tx) error {
			if first {
				tx.Queue(`DELETE FROM ` + quote(table.Name))
			}
			rest := waiting
			for len(rest) >= perStatement && perStatement > 1 {
				tx.Queue(many, slices.Concat(rest[:perStatement]...)...)
				rest = rest[perStatement:]
			}
			for _, row := range rest {
				tx.Queue(one, row...)
			}
			return nil
		})
		waiting, size, first = waiting[:0], 0, false
		return err
	}
	err := table.read(t.folder, func(values []any) error {
		waiting = append(waiting, values)
		for _, value := range values {
			switch v := value.(type) {
			case string:
				size += len(v)
			case []byte:
				size += len(v)
			}
		}
		if len(waiting) < writeRows && size < writeBytes {
			return nil
		}
		return write()
	})
	if err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	var rows int64
	if err := t.db.QueryRow(ctx, `SELECT count(*) FROM `+quote(table.Name)).Scan(&rows); err != nil {
		return err
	}
	if rows != table.Rows {
		return fmt.Errorf("%d rows were written and %d are there", table.Rows, rows)
	}
	return nil
}

// end takes the mark away, with its tables.
func (t *target) end(ctx context.Context) error {
	err := t.db.Write(ctx, func(tx *sqldb.Tx) error {
		for _, name := range []string{markTable, ledgerTable} {
			if _, err := tx.Exec(`DROP TABLE ` + quote(name)); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`DELETE FROM schema_migration WHERE package = $1`, packageName)
		return err
	})
	if err != nil {
		return fmt.Errorf("mark the %s as restored: %w", t.part, err)
	}
	return nil
}

// migrationFile is the name of a migration, as sqldb has it.
var migrationFile = regexp.MustCompile(`^([0-9]{3,})_([a-z0-9_]+?)(?:\.(?:sqlite|postgres))?\.sql$`)

// known makes sure that this release has every migration of the backup.
func (m *manifest) known(sets []sqldb.MigrationSet) error {
	for _, made := range m.Migrations {
		found := false
		for _, set := range sets {
			if set.Package != made.Package {
				continue
			}
			err := fs.WalkDir(set.FS, ".", func(file string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				if part := migrationFile.FindStringSubmatch(path.Base(file)); part != nil {
					number, _ := strconv.ParseInt(part[1], 10, 64) // it is of digits
					found = found || number == made.Number && part[2] == made.Name
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if !found {
			return fmt.Errorf("the backup was made by release %s, which has the migration %s/%03d_%s that this release does not know: restore with that release or a later one",
				m.Release, made.Package, made.Number, made.Name)
		}
	}
	return nil
}

// subset are the migrations that had been made when the backup was made.
func (m *manifest) subset(sets []sqldb.MigrationSet) []sqldb.MigrationSet {
	var chosen []sqldb.MigrationSet
	for _, set := range sets {
		keep := func(name string) bool {
			part := migrationFile.FindStringSubmatch(name)
			if part == nil {
				return true
			}
			number, _ := strconv.ParseInt(part[1], 10, 64)
			return slices.ContainsFunc(m.Migrations, func(made migration) bool { return made.Package == set.Package && made.Number == number })
		}
		if slices.ContainsFunc(m.Migrations, func(made migration) bool { return made.Package == set.Package }) {
			chosen = append(chosen, sqldb.MigrationSet{Package: set.Package, FS: someFiles{set.FS, keep}})
		}
	}
	return chosen
}

// someFiles is a file system in which some files are not to be seen.
type someFiles struct {
	fs.FS
	keep func(name string) bool
}

func (s someFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(s.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && !s.keep(e.Name()) }), err
}
