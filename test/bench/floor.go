package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/argon2"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// The floor is what a path cannot do without, on the same processor, in the
// same run, over the same 64 connections: net/http, the signatures, the hash,
// the commit. It is this program again, as a server (-floor).

const (
	argonMemory = 19 * 1024 // KiB; the tenant's default
	argonTime   = 2
	commitBatch = 48 // transactions that share a commit on SQLite, with 64 connections
)

// serveFloor answers until the process is killed.
func serveFloor(address string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	claims := make([]byte, 420) // as long as an access token's header and claims
	signature, err := sign(key, claims)
	if err != nil {
		return err
	}
	write := func(w http.ResponseWriter, body []byte) { _, _ = w.Write(body) } // the generator has gone
	mux := http.NewServeMux()
	mux.HandleFunc("GET /empty", func(w http.ResponseWriter, _ *http.Request) { write(w, []byte("ok")) })
	for name, count := range map[string]int{"sign": 1, "sign2": 2} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, _ *http.Request) {
			var body []byte
			for range count {
				made, err := sign(key, claims)
				if err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
				body = base64.RawURLEncoding.AppendEncode(body, claims)
				body = append(body, '.')
				body = base64.RawURLEncoding.AppendEncode(body, made)
			}
			write(w, body)
		})
	}
	mux.HandleFunc("GET /verify", func(w http.ResponseWriter, _ *http.Request) {
		sum := sha256.Sum256(claims)
		if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signature) {
			http.Error(w, "false", http.StatusInternalServerError)
			return
		}
		write(w, []byte("ok"))
	})
	var one sync.Mutex
	mux.HandleFunc("GET /hash", func(w http.ResponseWriter, _ *http.Request) {
		one.Lock()
		defer one.Unlock()
		write(w, argon2.IDKey([]byte("walnut-lantern-quiet-harbour"), claims[:16], argonTime, argonMemory, 1, 32))
	})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: time.Minute}
	return server.ListenAndServe()
}

func sign(key *ecdsa.PrivateKey, text []byte) ([]byte, error) {
	sum := sha256.Sum256(text)
	return ecdsa.SignASN1(rand.Reader, key, sum[:])
}

// commits measures how many commits of one changed row a second the store can
// do, on the processor that it is called on, and prints it. On SQLite as many
// as can share one fsync do; on PostgreSQL they come over 16 connections.
func commits(ctx context.Context, database string, lasting time.Duration) (float64, error) {
	if database == "" {
		return sqliteCommits(ctx, lasting)
	}
	const writers = 16
	var conns []*pgx.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close(context.WithoutCancel(ctx)) // measured is measured
		}
	}()
	for range writers {
		conn, err := pgx.Connect(ctx, database)
		if err != nil {
			return 0, err
		}
		conns = append(conns, conn)
	}
	err := fill("BYTEA", func(statement string) error { _, err := conns[0].Exec(ctx, statement); return err })
	if err != nil {
		return 0, err
	}
	var group sync.WaitGroup
	counts, errs := make([]int, writers), make([]error, writers)
	began := time.Now()
	for i, conn := range conns {
		group.Go(func() {
			for n := 0; time.Since(began) < lasting && errs[i] == nil; n++ {
				_, errs[i] = conn.Exec(ctx, "UPDATE floor SET generation = generation + 1, value = $2 WHERE id = $1", (n*writers+i)%rows, make([]byte, 200))
				counts[i]++
			}
		})
	}
	group.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(began).Seconds(), errors.Join(errs...)
}

// rows is how many rows the commits go round.
const rows = 10_000

func fill(blob string, execute func(string) error) error {
	for _, statement := range []string{
		"DROP TABLE IF EXISTS floor",
		"CREATE TABLE floor (id BIGINT PRIMARY KEY, generation BIGINT NOT NULL, value " + blob + " NOT NULL)",
		fmt.Sprintf("WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO floor SELECT i, 0, '' FROM n", rows-1),
	} {
		if err := execute(statement); err != nil {
			return err
		}
	}
	return nil
}

func sqliteCommits(ctx context.Context, lasting time.Duration) (rate float64, err error) {
	folder, err := os.MkdirTemp("", "cardea-floor-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	db, err := sql.Open("sqlite", filepath.Join(folder, "floor.db")+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_txlock=immediate")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if err := fill("BLOB", func(statement string) error { _, err := db.ExecContext(ctx, statement); return err }); err != nil {
		return 0, err
	}
	n := 0
	began := time.Now()
	for time.Since(began) < lasting {
		if err := sqliteCommit(ctx, db, n); err != nil {
			return 0, err
		}
		n += commitBatch
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// sqliteCommit changes as many rows as share a commit.
func sqliteCommit(ctx context.Context, db *sql.DB, n int) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	update, err := tx.PrepareContext(ctx, "UPDATE floor SET generation = generation + 1, value = $2 WHERE id = $1")
	if err != nil {
		return err
	}
	for i := range commitBatch {
		if _, err := update.ExecContext(ctx, (n+i)*37%rows, make([]byte, 200)); err != nil {
			return errors.Join(err, update.Close()) //nolint:sqlclosecheck // deferred it would come after the commit
		}
	}
	if err := update.Close(); err != nil {
		return err
	}
	return tx.Commit()
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
