package sqldb_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

func TestFacts(t *testing.T) {
	dbtest.Each(t, nil, func(t *testing.T, db *sqldb.DB) {
		f, err := db.Facts(t.Context())
		if err != nil || f.Version == "" {
			t.Fatalf("%+v, %v", f, err)
		}
		if db.Engine() == sqldb.SQLite {
			if f.File == "" {
				t.Errorf("%+v", f)
			}
			return
		}
		if f.Number < 140000 || f.Connections < 10 || f.Pooled || f.Replica || f.Synchronous != 0 {
			t.Errorf("%+v", f)
		}
	})
}

// What the server has is told, and not what this program asks of it.
func TestFactsAreTheServersOwn(t *testing.T) {
	db := dbtest.Open(t, sqldb.Postgres, nil)
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		var name string
		if err := tx.QueryRow(`SELECT current_database()::TEXT`).Scan(&name); err != nil {
			return err
		}
		_, err := tx.Exec(`ALTER DATABASE ` + name + ` SET synchronous_commit = off`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if f, err := dbtest.OpenSecond(t, db).Facts(t.Context()); err != nil || f.SynchronousCommit != "off" {
		t.Errorf("%+v, %v", f, err)
	}
}

// What lends connections is noticed.
func TestFactsTellOfAPooler(t *testing.T) {
	direct, err := url.Parse(dbtest.URL(t, sqldb.Postgres, nil))
	if err != nil {
		t.Fatal(err)
	}
	network, address := "tcp", direct.Host
	if host := direct.Query().Get("host"); strings.HasPrefix(host, "/") {
		network, address = "unix", host+"/.s.PGSQL.5432"
	}
	pooler := renumber(t, network, address)
	through := *direct
	through.Host = pooler
	query := through.Query()
	query.Del("host")
	query.Set("sslmode", "disable")
	through.RawQuery = query.Encode()
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: through.String(), MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if f, err := db.Facts(t.Context()); err != nil || !f.Pooled {
		t.Errorf("%+v, %v", f, err)
	}
}

// renumber passes connections on to a server, with a process number that is
// not the server's, as PgBouncer does.
func renumber(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				client.Close()
				return
			}
			go func() { defer server.Close(); _, _ = io.Copy(server, client) }()
			go func() {
				defer client.Close()
				for head := make([]byte, 5); ; {
					if _, err := io.ReadFull(server, head); err != nil {
						return
					}
					body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
					if _, err := io.ReadFull(server, body); err != nil {
						return
					}
					if head[0] == 'K' { // BackendKeyData
						body[3]++
					}
					if _, err := client.Write(append(head, body...)); err != nil {
						return
					}
					head = head[:5]
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestPending(t *testing.T) {
	set := func(names ...string) sqldb.MigrationSet {
		files := fstest.MapFS{}
		for _, name := range names {
			files[name+".sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE a" + name + " (id BIGINT PRIMARY KEY);")}
		}
		return sqldb.MigrationSet{Package: "p", FS: files}
	}
	dbtest.Each(t, nil, func(t *testing.T, db *sqldb.DB) {
		if names, later, err := db.Pending(t.Context(), set("001_a", "002_b")); err != nil || later || len(names) != 2 {
			t.Errorf("an empty database: %q, %v, %v", names, later, err)
		}
		if err := db.Migrate(t.Context(), set("001_a", "002_b")); err != nil {
			t.Fatal(err)
		}
		if names, later, err := db.Pending(t.Context(), set("001_a", "002_b", "003_c")); err != nil || later || len(names) != 1 || names[0] != "p/003_c" {
			t.Errorf("%q, %v, %v", names, later, err)
		}
		if names, later, err := db.Pending(t.Context(), set("001_a")); err != nil || !later || len(names) != 0 {
			t.Errorf("after a later release: %q, %v, %v", names, later, err)
		}
	})
}
