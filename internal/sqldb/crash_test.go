package sqldb_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb"
)

const crashFile = "CARDEA_SQLDB_CRASH_FILE"

// TestCrashChild is the process that is killed: it writes from many goroutines
// and prints what has been acknowledged.
func TestCrashChild(t *testing.T) {
	path := os.Getenv(crashFile)
	if path == "" {
		t.Skip("run by TestAcknowledgedWritesSurviveKill")
	}
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: "sqlite:" + path})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), counters...); err != nil {
		t.Fatal(err)
	}
	first := time.Now().UnixNano()
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				id := int(first) + i*16 + w
				err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
					tx.Queue(`INSERT INTO counter (name, value) VALUES ('all', 1) ON CONFLICT (name) DO UPDATE SET value = counter.value + 1`)
					return addNote(tx, id)
				})
				if err != nil {
					fmt.Println("error", err)
					return
				}
				fmt.Println(id)
			}
		}()
	}
	wg.Wait()
}

func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "crash.db")
	acked := map[int]bool{}
	for round := range 6 {
		child := exec.Command(os.Args[0], "-test.run=^TestCrashChild$", "-test.v=false")
		child.Env = append(os.Environ(), crashFile+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		before := len(acked)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			id, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Errorf("the child says %q", lines.Text())
				break
			}
			acked[id] = true
			if len(acked) == before+200+round*137 {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		child.Wait() // killed

		db, err := sqldb.Open(t.Context(), sqldb.Options{URL: "sqlite:" + path})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := db.Query(t.Context(), `SELECT id FROM note`)
		if err != nil {
			t.Fatal(err)
		}
		there := map[int]bool{}
		for rows.Next() {
			var id int
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			there[id] = true
		}
		for id := range acked {
			if !there[id] {
				t.Errorf("round %d: %d was acknowledged and is gone", round, id)
			}
		}
		var n int
		if err := db.QueryRow(t.Context(), `SELECT value FROM counter WHERE name = 'all'`).Scan(&n); err != nil || n != len(there) {
			t.Errorf("round %d: a transaction is half there: the counter says %d, and there are %d rows, %v", round, n, len(there), err)
		}
		db.Close()
	}
	t.Log(len(acked), "acknowledged writes")
}
