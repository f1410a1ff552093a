package sqldb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
)

// MigrationSet is the migrations of one package: the files of FS, in any
// folder, named NNN_name.sql, or NNN_name.sqlite.sql and NNN_name.postgres.sql
// where the engines need their own text.
type MigrationSet struct {
	Package string
	FS      fs.FS
}

type migration struct {
	pkg      string
	number   int64
	name     string
	checksum string
	text     string
}

// ErrChangedMigration says that a migration's text is not the one that was
// applied.
var ErrChangedMigration = errors.New("an applied migration was changed")

var migrationName = regexp.MustCompile(`^([0-9]{3,})_([a-z0-9_]+)(?:\.(sqlite|postgres))?\.sql$`)

// planMigrations reads the sets for an engine in the order in which Migrate
// applies them: by set, then by number. It refuses a misnamed file, a number
// that is used twice, and text for one engine without its counterpart.
func planMigrations(engine Engine, sets []MigrationSet) ([]migration, error) {
	var plan []migration
	packages := map[string]bool{}
	for _, set := range sets {
		if set.Package == "" || packages[set.Package] {
			return nil, fmt.Errorf("migrations of package %q are given twice or without a name", set.Package)
		}
		packages[set.Package] = true
		var own []migration
		engines := map[string]map[string]bool{} // number_name → the engines it has texts for
		err := fs.WalkDir(set.FS, ".", func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || path.Ext(file) != ".sql" {
				return err
			}
			part := migrationName.FindStringSubmatch(path.Base(file))
			if part == nil {
				return fmt.Errorf("%s is not named NNN_name.sql", file)
			}
			number, err := strconv.ParseInt(part[1], 10, 64)
			if err != nil {
				return err
			}
			key := part[1] + "_" + part[2]
			if engines[key] == nil {
				engines[key] = map[string]bool{}
			}
			engines[key][part[3]] = true
			if part[3] != "" && part[3] != string(engine) {
				return nil
			}
			text, err := fs.ReadFile(set.FS, file)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(text)
			own = append(own, migration{set.Package, number, part[2], hex.EncodeToString(sum[:]), string(text)})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("migrations of %s: %w", set.Package, err)
		}
		for key, has := range engines {
			if has[""] == (has["sqlite"] || has["postgres"]) || has["sqlite"] != has["postgres"] {
				return nil, fmt.Errorf("migrations of %s: %s needs one shared text, or one for each engine", set.Package, key)
			}
		}
		slices.SortFunc(own, func(a, b migration) int { return int(a.number - b.number) })
		for i := 1; i < len(own); i++ {
			if own[i].number == own[i-1].number {
				return nil, fmt.Errorf("migrations of %s: number %03d is used twice", set.Package, own[i].number)
			}
		}
		plan = append(plan, own...)
	}
	return plan, nil
}

// Migrate applies what is missing of the sets, each migration in a transaction
// of its own, one process at a time. What is applied already is left alone,
// and so is what a later release applied; ErrChangedMigration is returned
// when the text of an applied migration differs.
func (db *DB) Migrate(ctx context.Context, sets ...MigrationSet) error {
	plan, err := planMigrations(db.engine, sets)
	if err != nil {
		return err
	}
	if err := db.backend.migrate(ctx, plan); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

const (
	sqlCreateMigrationTable = `-- ground
CREATE TABLE IF NOT EXISTS schema_migration (
	package TEXT NOT NULL,
	number BIGINT NOT NULL,
	name TEXT NOT NULL,
	checksum TEXT NOT NULL,
	applied_at BIGINT NOT NULL,
	PRIMARY KEY (package, number)
)`
	sqlAppliedMigrations = `SELECT package, number, name, checksum FROM schema_migration`
	sqlAddMigration      = `INSERT INTO schema_migration (package, number, name, checksum, applied_at) VALUES ($1, $2, $3, $4, $5)`
)

type migrationKey struct {
	pkg    string
	number int64
}

// pending is the part of the plan that rows do not list as applied.
func pending(plan []migration, rows *Rows) ([]migration, error) {
	applied := map[migrationKey]migration{}
	for rows.Next() {
		var m migration
		if err := rows.Scan(&m.pkg, &m.number, &m.name, &m.checksum); err != nil {
			return nil, err
		}
		applied[migrationKey{m.pkg, m.number}] = m
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	var missing []migration
	for _, m := range plan {
		was, done := applied[migrationKey{m.pkg, m.number}]
		switch {
		case !done:
			missing = append(missing, m)
		case was.checksum != m.checksum || was.name != m.name:
			return nil, fmt.Errorf("%w: %s (it was applied as %s); add a new migration instead of editing this one",
				ErrChangedMigration, m, was)
		}
	}
	return missing, nil
}

func (m migration) String() string {
	return fmt.Sprintf("%s/%03d_%s", m.pkg, m.number, m.name)
}
