// Package dbtest gives tests databases on both engines, each fresh, migrated,
// and gone after the test.
//
// PostgreSQL is a server of the test process's own, started on first use from
// the machine's binaries and gone with the process, however that ends. When
// CARDEA_TEST_POSTGRES_URL names a running server, databases are made there
// instead; the program in withpostgres runs a command beside such a server.
package dbtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// Each runs test on a fresh SQLite and a fresh PostgreSQL database in which
// the sets have been migrated. configure may set the options of the handle,
// such as its clock.
func Each(t *testing.T, sets []sqldb.MigrationSet, test func(t *testing.T, db *sqldb.DB), configure ...func(*sqldb.Options)) {
	t.Helper()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) { test(t, Open(t, engine, sets, configure...)) })
	}
}

// Open returns a handle on a fresh database, in which the sets have been
// migrated, that lasts as long as the test.
func Open(t testing.TB, engine sqldb.Engine, sets []sqldb.MigrationSet, configure ...func(*sqldb.Options)) *sqldb.DB {
	t.Helper()
	return open(t, URL(t, engine, sets), configure)
}

// OpenSecond returns a second handle on the database of db, which Open made,
// as a second node would have.
func OpenSecond(t testing.TB, db *sqldb.DB, configure ...func(*sqldb.Options)) *sqldb.DB {
	t.Helper()
	url, ok := opened.Load(db)
	if !ok {
		t.Fatal("dbtest.OpenSecond: the first handle is not from dbtest.Open, or its test has ended")
	}
	return open(t, url.(string), configure)
}

// opened are the URLs of the handles of tests under way.
var opened sync.Map // *sqldb.DB → string

func open(t testing.TB, url string, configure []func(*sqldb.Options)) *sqldb.DB {
	t.Helper()
	options := sqldb.Options{URL: url}
	for _, set := range configure {
		set(&options)
	}
	db, err := sqldb.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	opened.Store(db, url)
	t.Cleanup(func() {
		opened.Delete(db)
		if err := db.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return db
}

// URL makes a fresh database in which the sets have been migrated, and
// returns where it is. It is deleted when the test ends.
func URL(t testing.TB, engine sqldb.Engine, sets []sqldb.MigrationSet) string {
	t.Helper()
	var url string
	var err error
	if engine == sqldb.SQLite {
		url, err = sqliteURL(t, sets)
	} else {
		url, err = postgresURL(t, sets)
	}
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// template is something made once a content of migrations.
type template struct {
	once sync.Once
	file []byte // the SQLite database
	name string // of the PostgreSQL database
	err  error
}

var templates sync.Map // engine and hash of the sets → *template

func templateOf(engine sqldb.Engine, sets []sqldb.MigrationSet) (*template, string, error) {
	hash := sha256.New()
	for _, set := range sets {
		hash.Write([]byte("\x00" + set.Package + "\x00"))
		err := fs.WalkDir(set.FS, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".sql" {
				return err
			}
			text, err := fs.ReadFile(set.FS, path)
			hash.Write([]byte(path + "\x00"))
			hash.Write(text)
			return err
		})
		if err != nil {
			return nil, "", err
		}
	}
	sum := hex.EncodeToString(hash.Sum(nil))[:24]
	made, _ := templates.LoadOrStore(string(engine)+sum, &template{})
	return made.(*template), sum, nil
}

func sqliteURL(t testing.TB, sets []sqldb.MigrationSet) (string, error) {
	made, _, err := templateOf(sqldb.SQLite, sets)
	if err != nil {
		return "", err
	}
	made.once.Do(func() {
		made.file, made.err = sqliteTemplate(t, filepath.Join(t.TempDir(), "template.db"), sets)
	})
	if made.err != nil {
		return "", made.err
	}
	path := filepath.Join(t.TempDir(), "test.db")
	return "sqlite:" + path, os.WriteFile(path, made.file, 0o600)
}

func sqliteTemplate(t testing.TB, path string, sets []sqldb.MigrationSet) ([]byte, error) {
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: "sqlite:" + path})
	if err != nil {
		return nil, err
	}
	err = db.Migrate(t.Context(), sets...)
	if cerr := db.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func randomName() string { return strings.ToLower(rand.Text()[:12]) }
