package ratelimit

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func newLimiter(t testing.TB, limit Limit, keys int) (*Limiter, *clock.Fake) {
	t.Helper()
	now := clock.NewFake(start)
	l, err := New(Options{Limit: limit, Keys: keys, Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	return l, now
}

func TestBurstThenPace(t *testing.T) {
	l, now := newLimiter(t, Limit{Burst: 3, Every: 10 * time.Second}, 100)
	for i, remaining := range []int{2, 1, 0} {
		if v := l.Allow("a"); !v.Allowed || v.Remaining != remaining || v.RetryAfter != 0 {
			t.Fatalf("request %d of the burst: %+v, want %d remaining", i+1, v, remaining)
		}
	}
	if v := l.Allow("a"); v.Allowed || v.RetryAfter != 10*time.Second {
		t.Fatalf("beyond the burst: %+v, want a refusal for 10 s", v)
	}
	if v := l.Allow("b"); !v.Allowed {
		t.Fatal("another key was limited too")
	}
	now.Advance(10*time.Second - time.Microsecond)
	if v := l.Allow("a"); v.Allowed || v.RetryAfter != time.Microsecond {
		t.Fatalf("a moment too early: %+v", v)
	}
	now.Advance(time.Microsecond)
	if v := l.Allow("a"); !v.Allowed {
		t.Fatalf("a client that waited as told was refused: %+v", v)
	}
	if v := l.Allow("a"); v.Allowed {
		t.Fatal("one interval gave room for two")
	}
	now.Advance(time.Hour)
	for i := range 3 {
		if v := l.Allow("a"); !v.Allowed {
			t.Fatalf("request %d after a long rest was refused", i+1)
		}
	}
	if l.Allow("a").Allowed {
		t.Fatal("a long rest saved up more than the burst")
	}
}

func TestClockSetBackLocksNobodyOut(t *testing.T) {
	l, now := newLimiter(t, Limit{Burst: 2, Every: time.Second}, 10)
	l.Allow("a")
	l.Allow("a")
	now.Advance(-24 * time.Hour)
	if v := l.Allow("a"); v.Allowed || v.RetryAfter > time.Second {
		t.Fatalf("after the clock was set back: %+v, want a refusal of one interval", v)
	}
}

func TestKeysAreBoundedAndTheOldestGoes(t *testing.T) {
	l, _ := newLimiter(t, Limit{Burst: 1, Every: time.Minute}, 3)
	for _, key := range []string{"a", "b", "c"} {
		l.Allow(key)
	}
	l.Allow("a") // refused, but seen: b is now the one that asked longest ago
	l.Allow("d")
	if n := l.Len(); n != 3 {
		t.Fatalf("%d keys are remembered, want 3", n)
	}
	if l.Allow("a").Allowed || l.Allow("c").Allowed || l.Allow("d").Allowed {
		t.Error("a key that asked lately was forgotten")
	}
	if !l.Allow("b").Allowed {
		t.Error("the key that asked longest ago is still remembered")
	}
	for i := range 10_000 {
		l.Allow(fmt.Sprint(i))
	}
	if n := l.Len(); n != 3 {
		t.Fatalf("%d keys are remembered after 10,000 came by, want 3", n)
	}
}

func TestParallelRequestsNeverExceedTheBurst(t *testing.T) {
	l, _ := newLimiter(t, Limit{Burst: 50, Every: time.Hour}, 10)
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 20 {
				if l.Allow("a").Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := allowed.Load(); n != 50 {
		t.Fatalf("%d requests were let in, want 50", n)
	}
}

// A leaky bucket kept with fractions is the plain model of the same limit.
func TestAgreesWithALeakyBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		burst := rapid.IntRange(1, 5).Draw(t, "burst")
		every := time.Duration(rapid.IntRange(1, 1000).Draw(t, "every ms")) * time.Millisecond
		now := clock.NewFake(start)
		l, err := New(Options{Limit: Limit{Burst: burst, Every: every}, Keys: 4, Clock: now})
		if err != nil {
			t.Fatal(err)
		}
		level := map[string]time.Duration{} // water in the bucket, in units of time to leak it
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			step := time.Duration(rapid.IntRange(0, 1500).Draw(t, "step ms")) * time.Millisecond
			now.Advance(step)
			for key := range level {
				level[key] = max(0, level[key]-step)
			}
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			want := level[key]+every <= time.Duration(burst)*every
			if want {
				level[key] += every
			}
			if got := l.Allow(key); got.Allowed != want {
				t.Fatalf("Allow(%s) = %+v, the model says %v", key, got, want)
			}
		}
	})
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	now := clock.NewFake(start)
	for _, o := range []Options{
		{Limit: Limit{Burst: 0, Every: time.Second}, Keys: 1, Clock: now},
		{Limit: Limit{Burst: 1, Every: 0}, Keys: 1, Clock: now},
		{Limit: Limit{Burst: 1 << 40, Every: time.Hour}, Keys: 1, Clock: now},
		{Limit: Limit{Burst: 1, Every: time.Second}, Keys: 0, Clock: now},
		{Limit: Limit{Burst: 1, Every: time.Second}, Keys: 1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("New(%+v) was taken", o)
		}
	}
}

// SECURITY H1: rotating within one's own /64 and spelling an address
// differently make no new bucket.
func TestOneClientHasOneKey(t *testing.T) {
	for _, same := range [][]string{
		{"2001:db8:1:2::1", "2001:DB8:1:2::1", "2001:0db8:0001:0002:0000:0000:0000:0001", "[2001:db8:1:2::1]:443", "[2001:db8:1:2::1]",
			"2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2:a:b:c:d", "2001:db8:1:2::192.0.2.1", "2001:db8:1:2::1%eth0", "[2001:db8:1:2::1%eth0]:443"},
		{"192.0.2.1", "192.0.2.1:8080", "::ffff:192.0.2.1", "::FFFF:192.0.2.1", "::ffff:c000:201", "0:0:0:0:0:ffff:c000:0201", "[::ffff:192.0.2.1]:8080", "::ffff:192.0.2.1%eth0"},
		{"fe80::1%eth0", "fe80::1%wlan0", "fe80::2"},
		{"", "unix", "@", "300.1.1.1", "192.0.2.01", "[", "[]", "192.0.2.1:99999", "2001:db8::/64"},
	} {
		for _, text := range same[1:] {
			if got, want := Address(text), Address(same[0]); got != want {
				t.Errorf("Address(%q) = %q, but Address(%q) = %q", text, got, same[0], want)
			}
		}
	}
	different := map[string]string{}
	for _, text := range []string{"2001:db8:1:2::1", "2001:db8:1:3::1", "192.0.2.1", "192.0.2.2", "::192.0.2.1", "::1", "64:ff9b::192.0.2.1", "nonsense"} {
		key := Address(text)
		if other, found := different[key]; found && !(text == "::1" && other == "::192.0.2.1") { // both are in ::/64
			t.Errorf("%q and %q share the key %q", text, other, key)
		}
		different[key] = text
	}
}

func TestRotationWithinANetworkSharesOneBudget(t *testing.T) {
	l, _ := newLimiter(t, Limit{Burst: 5, Every: time.Minute}, 100)
	allowed := 0
	for i := range 200 {
		if l.Allow(Address(fmt.Sprintf("[2001:db8:0:1:%x:%x::%x]:%d", i, i*7, i, 1000+i))).Allowed {
			allowed++
		}
	}
	if allowed != 5 || l.Len() != 1 {
		t.Fatalf("%d of 200 addresses in one /64 were let in under %d keys, want 5 under 1", allowed, l.Len())
	}
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"192.0.2.1:80", "[::1%lo]:1", "::ffff:1.2.3.4", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key := Address(text)
		if key == "unknown" {
			return
		}
		if _, err := netip.ParsePrefix(key); err != nil {
			if again := Address(key); again != key {
				t.Errorf("Address(%q) = %q, and of that %q", text, key, again)
			}
		}
	})
}

func BenchmarkAllow(b *testing.B) {
	l, err := New(Options{Limit: Limit{Burst: 10, Every: time.Millisecond}, Keys: 1000, Clock: clock.System()})
	if err != nil {
		b.Fatal(err)
	}
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = fmt.Sprintf("192.0.%d.%d", i/256, i%256)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.Allow(keys[i%len(keys)])
	}
}

// Failures are limited by asking before and counting after.
func TestCheckCountsNothing(t *testing.T) {
	l, now := newLimiter(t, Limit{Burst: 2, Every: 10 * time.Second}, 100)
	name := func(key string) func() string { return func() string { return key } }
	never := func() string { t.Error("the key was made although nobody is refused"); return "a" }
	for range 10 {
		if v := l.Check(never); !v.Allowed {
			t.Fatalf("nothing has failed: %+v", v)
		}
	}
	l.Allow("a")
	if v := l.Check(never); !v.Allowed {
		t.Fatalf("there is room left: %+v", v)
	}
	l.Allow("a")
	for range 10 {
		if v := l.Check(name("a")); v.Allowed || v.RetryAfter != 10*time.Second {
			t.Fatalf("after as many failures as are allowed: %+v", v)
		}
	}
	if v := l.Check(name("b")); !v.Allowed {
		t.Fatalf("another key is refused: %+v", v)
	}
	if got := l.Refused(); got != 10 {
		t.Errorf("%d refusals were counted, want 10", got)
	}
	now.Advance(10 * time.Second)
	if v := l.Check(never); !v.Allowed {
		t.Fatalf("a client that waited as told is refused: %+v", v)
	}
	now.Advance(-24 * time.Hour)
	if v := l.Check(name("a")); v.Allowed || v.RetryAfter > 10*time.Second {
		t.Errorf("after the clock was set back: %+v", v)
	}
}

func TestNoLimiterLimitsNothing(t *testing.T) {
	var l *Limiter
	for range 1000 {
		if !l.Allow("a").Allowed || !l.Check(func() string { return "a" }).Allowed {
			t.Fatal("refused")
		}
	}
	if l.Refused() != 0 {
		t.Error("refusals were counted")
	}
}

// Whatever is asked in whichever order, Check says what Allow would.
func TestCheckForetellsAllow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := clock.NewFake(start)
		l, err := New(Options{Limit: Limit{Burst: rapid.IntRange(1, 4).Draw(t, "burst"), Every: time.Second}, Keys: 3, Clock: now})
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now.Advance(time.Duration(rapid.IntRange(0, 1500).Draw(t, "ms")) * time.Millisecond)
			key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
			told := l.Check(func() string { return key })
			if did := l.Allow(key); did.Allowed != told.Allowed || did.RetryAfter != told.RetryAfter {
				t.Fatalf("told %+v, did %+v", told, did)
			}
		}
	})
}
