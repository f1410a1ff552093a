package credential

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cardea-id/cardea/internal/id"
)

func newHasher(t *testing.T, o HasherOptions) *Hasher {
	t.Helper()
	o.Random = rand.Reader
	h, err := NewHasher(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHashAndVerify(t *testing.T) {
	h, ctx, asker := newHasher(t, HasherOptions{}), t.Context(), Asker{Tenant: "ten_a"}
	a, err := h.Hash(ctx, asker, DefaultParams(), NewPassword("correct horse battery staple"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Hash(ctx, asker, DefaultParams(), NewPassword("correct horse battery staple"))
	if err != nil || a == b {
		t.Errorf("two hashes of one password are the same, or: %v", err)
	}
	long := NewPassword(string(make([]byte, 900)) + "x")
	longHash, err := h.Hash(ctx, asker, cheap, long)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		hash  Hash
		typed string
		want  bool
	}{
		{a, "correct horse battery staple", true},
		{a, "correct\u00a0horse battery staple", true}, // some keyboards type it
		{a, "correct horse battery stapl", false},
		{a, "correct horse battery staple ", false},
		{a, "Correct horse battery staple", false},
		{a, "", false},
		{longHash, string(make([]byte, 900)) + "x", true},
		{longHash, string(make([]byte, 900)) + "y", false}, // the whole of it counts
		{a, string(make([]byte, 1<<20)), false},
	} {
		got, err := h.Verify(ctx, asker, c.hash, NewPassword(c.typed))
		if err != nil || got != c.want {
			t.Errorf("%.40q: %t, %v; want %t", c.typed, got, err, c.want)
		}
	}
	if _, err := h.Verify(ctx, asker, "rubbish", NewPassword("x")); !errors.Is(err, ErrHash) {
		t.Errorf("rubbish as a hash: %v", err)
	}
	if _, err := h.Hash(ctx, asker, cheap, NewPassword("")); !errors.Is(err, ErrMalformed) {
		t.Errorf("hashing nothing: %v", err)
	}
	if _, err := h.Hash(ctx, asker, Params{1 << 30, 1, 1}, NewPassword("x")); !errors.Is(err, ErrCost) {
		t.Errorf("a hash of 1 TiB: %v", err)
	}
}

func TestDummyCostsTheSame(t *testing.T) {
	h, ctx, asker, p := newHasher(t, HasherOptions{}), t.Context(), Asker{Tenant: "ten_a"}, NewPassword("some password")
	hash, err := h.Hash(ctx, asker, DefaultParams(), p)
	if err != nil {
		t.Fatal(err)
	}
	quickest := func(f func()) time.Duration {
		best := time.Duration(math.MaxInt64)
		for range 15 {
			started := time.Now()
			f()
			best = min(best, time.Since(started))
		}
		return best
	}
	known := quickest(func() { _, err = h.Verify(ctx, asker, hash, p) })
	unknown := quickest(func() { err = errors.Join(err, h.VerifyDummy(ctx, asker, DefaultParams(), p)) })
	if err != nil {
		t.Fatal(err)
	}
	if ratio := float64(known) / float64(unknown); ratio < 0.6 || ratio > 1.6 {
		t.Errorf("a real check takes %v, a dummy one %v", known, unknown)
	}
	if got := h.Stats().Computed; got != 31 {
		t.Errorf("%d hashes were computed, want 31", got)
	}
}

// occupy takes all slots of a queue and gives back a function that frees one.
func occupy(t *testing.T, q *queue) (free func()) {
	t.Helper()
	for range q.slots {
		if err := q.enter(t.Context(), Asker{Tenant: "ten_first"}, 1); err != nil {
			t.Fatal(err)
		}
	}
	return func() { q.leave(1, time.Millisecond) }
}

func TestQueueIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1, 100, 1000)
		free := occupy(t, q)
		var mu sync.Mutex
		var order []string
		ask := func(name string, asker Asker) {
			go func() {
				if err := q.enter(t.Context(), asker, 1); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				q.leave(1, time.Millisecond)
			}()
			synctest.Wait()
		}
		for i := range 4 {
			ask(fmt.Sprint("a", i), Asker{Tenant: "a"})
		}
		ask("b0", Asker{Tenant: "b"})
		ask("b1", Asker{Tenant: "b"})
		ask("c0", Asker{Tenant: "c"})
		ask("a-known", Asker{Tenant: "a", Known: true})
		free()
		synctest.Wait()
		if got, want := fmt.Sprint(order), "[a-known b0 c0 a0 b1 a1 a2 a3]"; got != want {
			t.Errorf("served %s, want %s", got, want)
		}
		if s := q.stats(); s.Running != 0 || s.Waiting != 0 || len(q.lines) != 0 || len(q.turns) != 0 {
			t.Errorf("something was left behind: %+v", s)
		}
	})
}

func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1, 4, 1000)
		free := occupy(t, q)
		results := map[string]error{}
		var mu sync.Mutex
		ask := func(name string, asker Asker) {
			go func() {
				err := q.enter(t.Context(), asker, 1)
				mu.Lock()
				results[name] = err
				mu.Unlock()
				if err == nil {
					q.leave(1, time.Millisecond)
				}
			}()
			synctest.Wait()
		}
		refused := func(name string) bool {
			mu.Lock()
			defer mu.Unlock()
			return errors.Is(results[name], ErrBusy)
		}
		for i := range 4 {
			ask(fmt.Sprint("flood", i), Asker{Tenant: "a"})
		}
		ask("one more", Asker{Tenant: "a"})
		if !refused("one more") {
			t.Error("a tenant that fills the queue gets one more place")
		}
		ask("other tenant", Asker{Tenant: "b"})
		if refused("other tenant") || !refused("flood3") {
			t.Error("a flood at one tenant shuts another out")
		}
		ask("known", Asker{Tenant: "a", Known: true})
		if refused("known") || !refused("flood2") {
			t.Error("a flood of strangers shuts a known device out")
		}
		free()
		synctest.Wait()
		for _, name := range []string{"flood0", "flood1", "other tenant", "known"} {
			if results[name] != nil {
				t.Errorf("%s: %v", name, results[name])
			}
		}
		var busy *BusyError
		if !errors.As(results["flood3"], &busy) || busy.RetryAfter < time.Second {
			t.Errorf("no advice when to come back: %v", results["flood3"])
		}
		if got := q.stats().Refused; got != 3 {
			t.Errorf("%d refusals are counted, want 3", got)
		}
	})
}

func TestQueueMindsContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1, 4, 1000)
		free := occupy(t, q)
		deadline, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := q.enter(deadline, Asker{Tenant: "a"}, 1); !errors.Is(err, ErrBusy) {
			t.Errorf("after the deadline: %v", err)
		}
		gone, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		if err := q.enter(gone, Asker{Tenant: "a"}, 1); !errors.Is(err, context.Canceled) || errors.Is(err, ErrBusy) {
			t.Errorf("after the caller went away: %v", err)
		}
		free()
		if s := q.stats(); s.Running != 0 || s.Waiting != 0 || len(q.lines) != 0 {
			t.Errorf("something was left behind: %+v", s)
		}
	})
}

func TestQueueBoundsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(4, 10, 100)
		var used, most atomic.Int64
		for i := range 8 {
			memory := uint64(40)
			if i == 3 {
				memory = 500 // more than there is: runs alone
			}
			go func() {
				if err := q.enter(t.Context(), Asker{Tenant: id.Tenant(fmt.Sprint(i % 2))}, memory); err != nil {
					t.Error(err)
					return
				}
				now := used.Add(int64(memory))
				if memory == 500 && now != 500 {
					t.Errorf("the big one runs beside others: %d", now)
				}
				if memory != 500 {
					most.Store(max(most.Load(), now))
				}
				time.Sleep(time.Second)
				used.Add(-int64(memory))
				q.leave(memory, time.Second)
			}()
		}
		time.Sleep(time.Minute)
		if most.Load() != 80 {
			t.Errorf("at most %d KiB were used, want 80 of 100", most.Load())
		}
		if s := q.stats(); s.Computed != 8 || s.Running != 0 || q.used != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestQueueUnderLoad(t *testing.T) {
	h := newHasher(t, HasherOptions{Concurrency: 2, Queue: 16})
	var done sync.WaitGroup
	var ok, busy atomic.Int64
	for i := range 200 {
		done.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i%7)*time.Millisecond)
			defer cancel()
			_, err := h.Hash(ctx, Asker{Tenant: id.Tenant(fmt.Sprint(i % 5)), Known: i%3 == 0}, Params{512, 1, 1}, NewPassword("some password"))
			switch {
			case err == nil:
				ok.Add(1)
			case errors.Is(err, ErrBusy):
				busy.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	done.Wait()
	if s := h.Stats(); s.Running != 0 || s.Waiting != 0 || int64(s.Computed) != ok.Load() || int64(s.Refused) != busy.Load() || ok.Load() == 0 {
		t.Errorf("%+v after %d hashes and %d refusals", s, ok.Load(), busy.Load())
	}
}

// BenchmarkSignIns measures 64 sign-ins at once with the default parameters,
// and reports the most memory that the process ever had.
func BenchmarkSignIns(b *testing.B) {
	h, err := NewHasher(HasherOptions{Random: rand.Reader})
	if err != nil {
		b.Fatal(err)
	}
	p := NewPassword("correct horse battery staple")
	hash, err := h.Hash(b.Context(), Asker{}, DefaultParams(), p)
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if ok, err := h.Verify(b.Context(), Asker{Tenant: "ten_a"}, hash, p); !ok || err != nil {
				b.Error(ok, err)
			}
		}
	})
	b.ReportMetric(peakMiB(b), "peak-MiB")
}

func BenchmarkHash(b *testing.B) {
	p, salt := NewPassword("correct horse battery staple"), make([]byte, saltSize)
	for b.Loop() {
		derive(p, salt, DefaultParams(), sumSize)
	}
}

func peakMiB(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc here")
	}
	var kib float64
	for line := range strings.SplitSeq(string(status), "\n") {
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err == nil {
			break
		}
	}
	return kib / 1024
}
