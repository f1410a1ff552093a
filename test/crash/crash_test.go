// Package crash kills the program without warning, over and over, while
// customers use it, and holds it to what it has answered: nothing that was
// acknowledged is lost, and nothing is half done.
//
//	make crash
//
// The customers keep a ledger. What they got an answer to (2xx or 3xx) must be
// there after the restart; what they got none to must be there as a whole or
// not at all, and must not stand in the way of trying again.
package crash

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
	"github.com/cardea-id/cardea/test/client"
	"github.com/cardea-id/cardea/test/program"
)

var (
	binary         = flag.String("binary", "", "the program under test")
	sqliteCycles   = flag.Int("sqlite", 25, "cycles of kill -9 on SQLite")
	postgresCycles = flag.Int("postgres", 8, "cycles of kill -9 of a node on PostgreSQL")
	seed           = flag.Uint64("seed", 0, "what the moments of killing are drawn from; 0 draws one")
)

// readyWithin is what is asked of a restart (SECURITY.md, R1). One in a hundred
// may take longer: other programs use the machine, too.
const readyWithin = 3 * time.Second

func TestKillOnSQLite(t *testing.T) {
	run(t, *sqliteCycles, func(t *testing.T, folder string) storage {
		main, keys := filepath.Join(folder, "cardea.db"), filepath.Join(folder, "keys.db")
		return storage{open: func(context.Context) (*stores, error) { return copySQLite(t.TempDir(), main, keys) }}
	})
}

func TestKillOnPostgres(t *testing.T) {
	run(t, *postgresCycles, func(t *testing.T, _ string) storage {
		server, stop, err := dbtest.StartPostgres("", dbtest.PostgresOptions{Durable: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
		main, keys, err := createDatabases(t.Context(), server)
		if err != nil {
			t.Fatal(err)
		}
		return storage{main, keys, func(ctx context.Context) (*stores, error) { return openPostgres(ctx, main, keys) }}
	})
}

// storage is where the program keeps its data, and how that is looked at while
// the program is dead.
type storage struct {
	main, keys string // URLs; "" for SQLite in the folder
	open       func(context.Context) (*stores, error)
}

// harness is one installation with the ledger of its customers.
type harness struct {
	t       *testing.T
	program *program.Program
	site    *client.Site
	mail    *client.Mailbox
	app     client.Application
	tenant  string
	storage storage
	random  *rand.Rand // of the main goroutine
	slow    int        // restarts that took longer than they may
	killed  atomic.Bool

	killedAt time.Time

	acknowledged atomic.Int64 // operations
	changed      atomic.Int64 // the same without refreshes, which are many

	mu       sync.Mutex
	accounts []*account
	counts   map[string]int // what was acknowledged, and what was cut off
	touched  map[*account]bool
}

func run(t *testing.T, cycles int, store func(*testing.T, string) storage) {
	if *binary == "" {
		t.Skip("make crash builds the program and runs this")
	}
	if cycles <= 0 {
		t.Skip("no cycles were asked for")
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d", *seed)
	h := begin(t, store)
	var slowest, total time.Duration
	for cycle := range cycles {
		took := h.cycle(cycle)
		slowest, total = max(slowest, took), total+took
		if t.Failed() {
			t.Fatalf("cycle %d of %d; the program's log ends:\n%s", cycle+1, cycles, h.program.LogTail())
		}
		if (cycle+1)%50 == 0 {
			t.Logf("cycle %d: %s", cycle+1, h.summary())
		}
	}
	h.finish()
	if h.slow > 1+cycles/100 {
		t.Errorf("%d of %d restarts took longer than %s", h.slow, cycles, readyWithin)
	}
	t.Logf("%d times killed: %s; ready after %s on average and %s at most", cycles, h.summary(),
		(total / time.Duration(cycles)).Round(time.Millisecond), slowest.Round(time.Millisecond))
}

// begin makes the installation, its tenant and its application.
func begin(t *testing.T, store func(*testing.T, string) storage) *harness {
	ctx := t.Context()
	// Not the test's own folder, whose path may be too long for a socket.
	folder, err := os.MkdirTemp("", "cardea-crash-")
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, random: rand.New(rand.NewPCG(*seed, 1)), counts: map[string]int{}, touched: map[*account]bool{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the data is kept in %s", folder)
		} else if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	if h.mail, err = client.NewMailbox(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.mail.Close() })
	h.storage = store(t, folder)
	h.program, err = program.New(ctx, program.Options{Binary: *binary, Folder: folder,
		Database: h.storage.main, KeyStore: h.storage.keys, MailPort: h.mail.Port()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.program.Start(context.WithoutCancel(ctx)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.program.Kill() }) // whatever state it is in
	h.tenant = "crash"
	// The least that is allowed of a hash: this is not about hashing.
	err = h.program.CreateTenant(ctx, h.tenant, map[string]any{
		"password": map[string]any{"memory_kib": 7168, "time": 5},
		"sign_up":  map[string]any{"collect": profileNames},
		"search":   map[string]any{"identifiers": []string{"email"}, "attributes": []string{"given_name", "family_name"}},
		"limits":   map[string]any{"password_per_hour": 100, "code_per_hour": 100, "send_per_hour": 100},
	})
	if err != nil {
		t.Fatal(err)
	}
	if h.app, err = h.program.CreateApplication(ctx, h.tenant, "Shop", "web", "--first-party", "--id-token-alg", "ES256", "--redirect-uri", program.RedirectURI); err != nil {
		t.Fatal(err)
	}
	h.site = client.New(h.program.Origin + "/t/" + h.tenant)
	var group sync.WaitGroup
	for range residents {
		group.Go(func() { h.signUp(ctx, nil) })
	}
	group.Wait()
	return h
}

const (
	mostAcknowledged = 150                   // between a restart and the next kill
	mostChanges      = 6                     // the same in every other cycle, of all but refreshes
	mostLoad         = 2 * time.Second       // and where it takes longer, no longer than this
	late             = 20 * time.Millisecond // how long after the last one at most
	sample           = 12                    // accounts of earlier cycles that are looked at in each
	checkers         = 8                     // who look at once
	residents        = 16                    // accounts that are there before the first kill
)

// cycle lets customers in, kills the program at a moment of chance, starts it
// again and looks at what it remembers. It returns how long the restart took.
func (h *harness) cycle(number int) time.Duration {
	ctx := context.WithoutCancel(h.t.Context())
	h.killed.Store(false)
	working, stop := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for i, work := range h.workers() {
		random := rand.New(rand.NewPCG(*seed, uint64(number)<<8|uint64(i)+2))
		workers.Go(func() {
			for working.Err() == nil && !h.killed.Load() {
				work(working, random)
			}
		})
	}
	if number%2 == 0 {
		h.awaitMoment(&h.acknowledged, h.random.IntN(mostAcknowledged))
	} else {
		h.awaitMoment(&h.changed, h.random.IntN(mostChanges))
	}
	h.killed.Store(true)
	h.killedAt = time.Now()
	if err := h.program.Kill(); err != nil {
		h.t.Error(err)
	}
	stop()
	workers.Wait()
	h.site.Disconnect()
	if h.t.Failed() {
		return 0
	}
	if number%50 == 49 {
		h.inspect(false)
	}
	if number%10 == 7 { // and again before it has come up
		if err := h.program.Launch(ctx); err != nil {
			h.t.Fatal(err)
		}
		time.Sleep(time.Duration(h.random.Int64N(int64(200 * time.Millisecond))))
		if err := h.program.Kill(); err != nil {
			h.t.Fatal(err)
		}
	}
	took, err := h.program.Start(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	if took > readyWithin {
		h.slow++
		h.t.Logf("cycle %d: ready after %s", number+1, took)
	}
	h.killed.Store(false) // from here on an error is the program's
	h.verifyTouched(ctx)
	return took
}

// awaitMoment waits until so many operations have been acknowledged, and a
// moment more, in which others are on their way.
func (h *harness) awaitMoment(counter *atomic.Int64, operations int) {
	target := counter.Load() + int64(operations)
	for began := time.Now(); counter.Load() < target && time.Since(began) < mostLoad; {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Duration(h.random.Int64N(int64(late))))
}

// verifyTouched looks at the accounts that were used since the last look, and
// at some others.
func (h *harness) verifyTouched(ctx context.Context) {
	h.mu.Lock()
	chosen := make([]*account, 0, len(h.touched)+sample)
	for a := range h.touched {
		chosen = append(chosen, a)
	}
	for range min(sample, len(h.accounts)) {
		if a := h.accounts[h.random.IntN(len(h.accounts))]; !slices.Contains(chosen, a) {
			chosen = append(chosen, a)
		}
	}
	clear(h.touched)
	h.mu.Unlock()
	// Refreshes in doubt are asked again first: a token that was replaced is
	// answered for ten seconds.
	h.each(chosen, func(a *account) { h.settleRefreshes(ctx, a) })
	h.each(chosen, func(a *account) { h.verify(ctx, a) })
}

func (h *harness) each(accounts []*account, do func(*account)) {
	next := make(chan *account)
	var group sync.WaitGroup
	for range checkers {
		group.Go(func() {
			for a := range next {
				do(a)
			}
		})
	}
	for _, a := range accounts {
		next <- a
	}
	close(next)
	group.Wait()
}

// finish looks at every account, lets the events come to order, kills once
// more and looks at the stores.
func (h *harness) finish() {
	ctx := context.WithoutCancel(h.t.Context())
	for _, a := range h.accounts {
		a.proven = false
	}
	h.each(h.accounts, func(a *account) { h.verify(ctx, a) })
	h.each(h.accounts, func(a *account) { h.reuse(ctx, a) })
	h.awaitOrder(ctx)
	if out, err := h.program.Command(ctx, "event", "verify"); err != nil {
		h.t.Errorf("the record: %v\n%s", err, out)
	}
	if err := h.program.Kill(); err != nil {
		h.t.Fatal(err)
	}
	h.inspect(true)
	lines, err := h.program.Errors()
	if err != nil {
		h.t.Error(err)
	}
	for _, line := range lines[:min(len(lines), 10)] {
		h.t.Errorf("the program logged: %s", line)
	}
}

func (h *harness) count(what string) {
	if what != "doubt" && what != "done" {
		h.acknowledged.Add(1)
		if what != "refresh" {
			h.changed.Add(1)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[what]++
}

func (h *harness) summary() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprintf("%d accounts, acknowledged %d sign-ups, %d sign-ins, %d refreshes, %d revocations, %d profiles by command, %d by collect; cut off %d, of which %d were done",
		len(h.accounts), h.counts["sign-up"], h.counts["sign-in"], h.counts["refresh"], h.counts["revocation"], h.counts["command"], h.counts["collect"],
		h.counts["doubt"], h.counts["done"])
}
