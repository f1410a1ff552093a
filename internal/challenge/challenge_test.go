package challenge_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/session/sessiontest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

type world struct {
	*sessiontest.World
	*challenge.Challenges
}

func wire(w *sessiontest.World) world {
	return world{w, challenge.New(challenge.Options{DB: w.DB, Ring: w.Ring, Clock: w.Clock, Random: rand.Reader})}
}

func each(t *testing.T, test func(t *testing.T, w world)) {
	t.Helper()
	sessiontest.Each(t, []sqldb.MigrationSet{challenge.Migrations()}, func(t *testing.T, w *sessiontest.World) { test(t, wire(w)) })
}

const code = "123456"

func (w world) issue(t testing.TB, who id.Customer) challenge.Asked {
	t.Helper()
	keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	handle := sha256.Sum256([]byte(t.Name()))
	a := challenge.Asked{Tenant: w.Tenant.ID, Handle: handle[:], Purpose: "email", Run: id.New[id.Run](w.Clock.Now(), rand.Reader)}
	w.Write(t, func(tx *sqldb.Tx) (err error) {
		a.Challenge, err = w.Issue(tx, keys, challenge.Issue{Tenant: a.Tenant, Handle: a.Handle, Customer: who, Purpose: a.Purpose, Run: a.Run,
			Code: code, Expires: tx.Now().Add(10 * time.Minute), MaxAttempts: 5})
		return err
	})
	return a
}

func (w world) want(t testing.TB, a challenge.Asked, typed string, want challenge.Result) {
	t.Helper()
	got, err := w.Test(t.Context(), a, typed)
	if err != nil || got != want {
		t.Errorf("%q is %s (%v), not %s", typed, got, err, want)
	}
}

func (w world) spend(t testing.TB, a challenge.Asked) (spent bool) {
	t.Helper()
	w.Write(t, func(tx *sqldb.Tx) (err error) {
		spent, err = w.Spend(tx, a)
		return err
	})
	return spent
}

func TestCodeIsRightAndSpentOnce(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		a := w.issue(t, "")
		if w.spend(t, a) {
			t.Error("spent before it was solved")
		}
		w.want(t, a, "000000", challenge.Wrong)
		if w.spend(t, a) {
			t.Error("spent by a wrong code")
		}
		w.want(t, a, code, challenge.Correct)
		w.want(t, a, "123 456", challenge.Correct) // it is not spent by being right
		w.Clock.Advance(30 * time.Minute)          // choosing a password may take longer than the code lives
		if !w.spend(t, a) {
			t.Error("not spent although it was solved")
		}
		if w.spend(t, a) {
			t.Error("spent twice")
		}
		w.want(t, a, code, challenge.Spent)
		if n, err := w.Sweep(t.Context(), 10); n != 0 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
	})
}

func TestAttemptsRunOut(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		a := w.issue(t, "")
		w.want(t, a, code, challenge.Correct) // counts as well
		for range 4 {
			w.want(t, a, "000000", challenge.Wrong)
		}
		w.want(t, a, code, challenge.Exhausted)
		if !w.spend(t, a) {
			t.Error("what was solved before cannot be spent")
		}
	})
}

func TestNotThisChallenge(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		a := w.issue(t, "")
		for name, change := range map[string]func(*challenge.Asked){
			"tenant":    func(a *challenge.Asked) { a.Tenant = w.Other.ID },
			"handle":    func(a *challenge.Asked) { a.Handle = []byte("another") },
			"challenge": func(a *challenge.Asked) { a.Challenge = id.New[id.Challenge](w.Clock.Now(), rand.Reader) },
			"purpose":   func(a *challenge.Asked) { a.Purpose = "reset" }, // SECURITY B5
			"run":       func(a *challenge.Asked) { a.Run = id.New[id.Run](w.Clock.Now(), rand.Reader) },
		} {
			other := a
			change(&other)
			if got, err := w.Test(t.Context(), other, code); err != nil || got != challenge.Unknown {
				t.Errorf("another %s: %s, %v", name, got, err)
			}
		}
		w.want(t, a, code, challenge.Correct)
		for name, change := range map[string]func(*challenge.Asked){
			"tenant": func(a *challenge.Asked) { a.Tenant = w.Other.ID }, "run": func(a *challenge.Asked) { a.Run = "run_x" },
			"purpose": func(a *challenge.Asked) { a.Purpose = "reset" },
		} {
			other := a
			if change(&other); w.spend(t, other) {
				t.Errorf("spent for another %s", name)
			}
		}
	})
}

func TestExpiry(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		a := w.issue(t, "")
		solved := w.issue(t, "")
		w.want(t, solved, code, challenge.Correct)
		w.Clock.Advance(10*time.Minute - time.Microsecond)
		w.want(t, a, "000000", challenge.Wrong)
		w.Clock.Advance(time.Microsecond)
		w.want(t, a, code, challenge.Expired)
		w.Clock.Advance(challenge.Kept)
		if w.spend(t, solved) {
			t.Error("spent for ever after")
		}
		if n, err := w.Sweep(t.Context(), 1); n != 1 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
		if n, err := w.Sweep(t.Context(), 9); n != 1 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
		w.want(t, a, code, challenge.Unknown)
	})
}

func TestErase(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who, stranger := id.New[id.Customer](w.Clock.Now(), rand.Reader), id.Customer("")
		theirs, others := w.issue(t, who), w.issue(t, stranger)
		w.Write(t, func(tx *sqldb.Tx) error { return w.EraseCustomer(tx, w.Tenant.ID, stranger) })
		w.want(t, others, code, challenge.Correct)
		w.Write(t, func(tx *sqldb.Tx) error { return w.EraseCustomer(tx, w.Tenant.ID, who) })
		w.want(t, theirs, code, challenge.Unknown)
		w.want(t, others, code, challenge.Correct)
	})
}

// However many guess at once, on however many nodes, no more are looked at than
// the challenge has attempts (SECURITY H3), and one proof buys one thing.
func TestRaces(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		nodes := []world{w}
		if w.DB.Engine() == sqldb.Postgres {
			nodes = append(nodes, wire(w.World.Second(t)))
		}
		const parallel = 64
		run := func(fn func(i int, w world) error) {
			t.Helper()
			start := make(chan struct{})
			var wait sync.WaitGroup
			for i := range parallel {
				wait.Go(func() {
					<-start
					if err := fn(i, nodes[i%len(nodes)]); err != nil {
						t.Error(err)
					}
				})
			}
			close(start)
			wait.Wait()
		}
		a := w.issue(t, "")
		var looked, exhausted atomic.Int64
		run(func(i int, w world) error {
			got, err := w.Test(t.Context(), a, fmt.Sprintf("%06d", i))
			switch got {
			case challenge.Wrong, challenge.Correct:
				looked.Add(1)
			case challenge.Exhausted:
				exhausted.Add(1)
			}
			return err
		})
		if looked.Load() != 5 || exhausted.Load() != parallel-5 {
			t.Errorf("%d guesses were looked at, %d refused", looked.Load(), exhausted.Load())
		}
		a = w.issue(t, "")
		w.want(t, a, code, challenge.Correct)
		var spent atomic.Int64
		run(func(_ int, w world) error {
			var mine bool
			err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
				mine, err = w.Spend(tx, a)
				return err
			})
			if mine && err == nil {
				spent.Add(1)
			}
			return err
		})
		if spent.Load() != 1 {
			t.Errorf("spent %d times", spent.Load())
		}
	})
}

func TestNewLongCode(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		code, err := challenge.NewLongCode(rand.Reader)
		if err != nil || len(code) != challenge.LongDigits || strings.Trim(code, "0123456789") != "" || challenge.NormalCode(code) != code || seen[code] {
			t.Fatalf("%q, %v", code, err)
		}
		seen[code] = true
	}
	if _, err := challenge.NewLongCode(bytes.NewReader(nil)); err == nil {
		t.Error("a code was made of nothing")
	}
}

func TestNewCode(t *testing.T) {
	for _, c := range []struct {
		random []byte
		want   string
	}{
		{[]byte{0, 0, 0}, "000000"},
		{[]byte{0, 0, 42}, "000042"},
		{[]byte{0xf4, 0x23, 0xff}, "999999"},          // 15,999,999
		{[]byte{0xf4, 0x24, 0x00, 0, 0, 7}, "000007"}, // 16,000,000 would favour the low codes
		{[]byte{0xff, 0xff, 0xff, 0, 0, 8}, "000008"},
	} {
		if got, err := challenge.NewCode(bytes.NewReader(c.random)); err != nil || got != c.want {
			t.Errorf("% x: %q, %v", c.random, got, err)
		}
	}
	if _, err := challenge.NewCode(bytes.NewReader(nil)); err == nil {
		t.Error("a code without randomness")
	}
}

func TestNormalCode(t *testing.T) {
	for typed, want := range map[string]string{
		"123456": code, " 123456\n": code, "123 456": code, "123-456": code, "123–456": code, "12\u200b3456": code,
		"١٢٣٤٥٦": code, "۱۲۳۴۵۶": code, "１２３４５６": code, "१२३४५६": code, "𝟏𝟐𝟑𝟒𝟓𝟔": code, "𝟭𝟮𝟯𝟰𝟱𝟲": code,
		"": "", "12345x": "12345x", "１２３４５": "12345",
	} {
		if got := challenge.NormalCode(typed); got != want {
			t.Errorf("%q is %q", typed, got)
		}
	}
	if got := challenge.NormalCode(string(bytes.Repeat([]byte("1"), 1<<20))); len(got) > 64 {
		t.Errorf("%d bytes of a typed code are looked at", len(got))
	}
}

func FuzzNormalCode(f *testing.F) {
	f.Add("123 456")
	f.Add("١٢٣٤٥٦")
	f.Add("\xff\xfe")
	f.Fuzz(func(t *testing.T, typed string) {
		once := challenge.NormalCode(typed)
		if twice := challenge.NormalCode(once); len(once) <= 64 && twice != once {
			t.Errorf("%q becomes %q and then %q", typed, once, twice)
		}
	})
}

// A row that was edited or copied in the database is good for nothing.
func TestEditedRow(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		for column, change := range map[string]func(*challenge.Asked) string{
			"purpose": func(a *challenge.Asked) string { a.Purpose = "reset"; return a.Purpose },
			"run": func(a *challenge.Asked) string {
				a.Run = id.New[id.Run](w.Clock.Now(), rand.Reader)
				return string(a.Run)
			},
			"challenge": func(a *challenge.Asked) string {
				a.Challenge = id.New[id.Challenge](w.Clock.Now(), rand.Reader)
				return string(a.Challenge)
			},
		} {
			a := w.issue(t, "")
			old := a.Challenge
			value := change(&a)
			w.Write(t, func(tx *sqldb.Tx) error {
				_, err := tx.Exec(`UPDATE challenge SET `+column+` = $1 WHERE challenge = $2`, value, old)
				return err
			})
			w.want(t, a, code, challenge.Wrong)
			if w.spend(t, a) {
				t.Errorf("spent with another %s", column)
			}
		}
	})
}
