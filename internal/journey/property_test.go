package journey_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// witness sees what the engine lets steps do: each guess that is looked at, by
// whose budget, and each finish.
type witness struct {
	mu       sync.Mutex
	guesses  map[account]int
	settled  map[account]int
	finishes map[id.Run]int
	unproved []string // accounts that were made without a proof
}

// account is one budget.
type account struct {
	kind string
	of   budget.Subject
}

func newWitness() *witness {
	return &witness{guesses: map[account]int{}, settled: map[account]int{}, finishes: map[id.Run]int{}}
}

type watchedPassword struct {
	step.Password
	*witness
}

func (s watchedPassword) Answer(ctx context.Context, run *journey.Run, a journey.Answer) (journey.Result, error) {
	s.guess(s.Guard(run, a).Tests, run)
	return s.Password.Answer(ctx, run, a)
}

type watchedCode struct {
	step.Code
	*witness
}

func (s watchedCode) Answer(ctx context.Context, run *journey.Run, a journey.Answer) (journey.Result, error) {
	s.guess(s.Guard(run, a).Tests, run)
	return s.Code.Answer(ctx, run, a)
}

func (w *witness) guess(kind string, run *journey.Run) {
	if kind == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guesses[account{kind, journey.Subject(run)}]++
}

type watchedFinish struct {
	journey.Finishing
	*witness
}

func (s watchedFinish) Finish(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	proofs := slices.Clone(run.State.Proofs)
	finished, result, err := s.Finishing.Finish(ctx, run)
	if finished != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.finishes[run.State.Run]++
		for _, proof := range proofs {
			s.settled[account{proof.Budget, journey.Subject(run)}]++
		}
		if len(proofs) == 0 || finished.Created && !slices.ContainsFunc(proofs, func(p journey.Proof) bool { return p.Verified && p.Challenge != "" }) {
			s.unproved = append(s.unproved, string(finished.Customer))
		}
	}
	return finished, result, err
}

// page is a state that a browser was given.
type page struct {
	state string
	run   int // which begin it came of
}

// TestNoInterleavingGainsAnything has a customer and an attacker go through
// journeys in any order, forth and back, with each other's pages, and holds:
// one session for each run that finishes; no more guesses looked at than the
// budgets allow; no account without a proof; and whatever the attacker does, he
// is never signed in as anybody whose address is not his.
func TestNoInterleavingGainsAnything(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		seen := newWitness()
		w.Kinds["password"] = watchedPassword{step.Password{Capabilities: w.Capabilities}, seen}
		w.Kinds["code"] = watchedCode{step.Code{Capabilities: w.Capabilities}, seen}
		w.Kinds["finish"] = watchedFinish{step.Finish{Capabilities: w.Capabilities}, seen}
		engine, err := journey.New(w.Options())
		if err != nil {
			t.Fatal(err)
		}
		w.Engine = engine
		round := 0
		rapid.Check(t, func(t *rapid.T) {
			round++
			oneInterleaving(t, w, seen, round)
		})
	}, limits(4, 4, 6), func(s *tenant.Settings) {
		s.Limits.AttemptsPerCode = 3
		s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{URL: "https://shop.example/terms"}}}
		s.SignUp.Collect = []string{"given_name"}
	})
}

func oneInterleaving(t *rapid.T, w *world, seen *witness, round int) {
	address := func(name string) string { return fmt.Sprintf("%s%d@example.com", name, round) }
	victim, fresh, evil := address("victim"), address("fresh"), address("evil")
	passwords := map[string]string{victim: password, evil: "evil evil was I ere I saw"}
	w.NewCustomer(t, victim, passwords[victim])
	w.NewCustomer(t, evil, passwords[evil])
	addresses := []string{victim, fresh, evil}
	owner, attacker := w.Browser(), w.Browser()
	mailbox := map[*browser][]string{owner: {victim, fresh}, attacker: {evil}}
	knows := map[*browser][]string{owner: {victim}, attacker: {evil}}
	pages := map[*browser][]page{}
	runs := 0
	sessionsBefore := w.Count(t, `SELECT COUNT(*) FROM event WHERE type = 'session.started' OR type = 'session.reauthenticated'`)
	finishesBefore := total(seen.finishes)

	// newest keeps the codes that were read, so that old ones are tried too.
	codes := map[string][]string{}
	guess := func(b *browser, name string) string {
		if !slices.Contains(mailbox[b], name) || rapid.IntRange(0, 3).Draw(t, "mistyped") == 0 {
			return rapid.SampledFrom([]string{"000000", "123456", "999999"}).Draw(t, "code")
		}
		letters := w.Letters(t, name)
		if len(letters) > len(codes[name]) {
			codes[name] = append(codes[name], letters[len(letters)-1].Data.Code)
		}
		if len(codes[name]) == 0 {
			return "000000"
		}
		return codes[name][max(0, len(codes[name])-rapid.IntRange(1, 2).Draw(t, "which code"))]
	}
	values := func(b *browser) url.Values {
		name := rapid.SampledFrom(addresses).Draw(t, "address")
		switch rapid.IntRange(0, 8).Draw(t, "answer") {
		case 0, 1:
			return journeytest.Values("identifier", name)
		case 2:
			typed := wrong
			if slices.Contains(knows[b], name) {
				typed = passwords[name]
			}
			return journeytest.Values("password", typed)
		case 3, 4:
			return journeytest.Values("code", guess(b, name))
		case 5:
			return journeytest.Values("choose", rapid.SampledFrom([]string{"code", "resend", "back", "password", "create", "sign-in", "skip", "x"}).Draw(t, "choice"))
		case 6:
			return journeytest.Values("choose", "skip")
		case 7:
			return journeytest.Values("decision", rapid.SampledFrom([]string{"allow", "deny"}).Draw(t, "decision"), "given_name", "Ana")
		}
		return journeytest.Values("identifier", name, "password", wrong, "code", "000000", "new_password", "a kettle of another colour",
			"decision", "allow", "given_name", "Eve")
	}
	begin := func(b *browser) {
		if len(pages[b]) > 0 && rapid.IntRange(0, 2).Draw(t, "cookies") == 0 {
			b.Session = "" // signed out; the device cookie stays
		}
		b.Begin(t, rapid.SampledFrom([]string{"sign-in", "sign-up"}).Draw(t, "journey"))
		runs++
		pages[b] = append(pages[b], page{b.View.State, runs})
	}
	binding := map[string]string{} // of every state, the cookie it came with
	submit := func(b *browser, from *browser) {
		if len(pages[from]) == 0 {
			begin(from)
			binding[pages[from][0].state] = from.Binding
			return
		}
		// Mostly the newest page, now and then any.
		at := len(pages[from]) - 1
		if rapid.IntRange(0, 2).Draw(t, "rewind") == 0 {
			at = rapid.IntRange(0, at).Draw(t, "page")
		}
		sent, crossed := pages[from][at], b.Binding != binding[pages[from][at].state]
		b.Submit(t, sent.state, values(b))
		switch {
		case crossed && !errors.Is(b.Err, journey.ErrCrossed):
			t.Fatalf("a page of another browser, or from before this one was signed in, is taken: at %s, %v", b.At(), b.Err)
		case b.Err != nil:
			if !errors.Is(b.Err, journey.ErrCrossed) && !errors.Is(b.Err, journey.ErrFinished) && !errors.Is(b.Err, journey.ErrForged) && !errors.Is(b.Err, journey.ErrExpired) {
				t.Fatalf("at %s: %v", b.At(), b.Err)
			}
		case b.Finished != nil:
			if b == attacker && b.Finished.Customer != w.Find(t, evil) {
				t.Fatalf("the attacker is signed in as %s", b.Finished.Customer)
			}
			// He keeps the cookie of before, as attackers do, in one of two cases.
			if old := binding[sent.state]; rapid.Bool().Draw(t, "keeps the old cookie") {
				b.Binding = old
			}
		default:
			pages[b] = append(pages[b], page{b.View.State, sent.run})
			binding[b.View.State] = b.Binding
		}
	}
	passed := time.Duration(0)
	for range rapid.IntRange(5, 40).Draw(t, "length") {
		b := rapid.SampledFrom([]*browser{owner, attacker}).Draw(t, "who")
		switch rapid.IntRange(0, 11).Draw(t, "what") {
		case 0:
			begin(b)
			binding[b.View.State] = b.Binding
		case 1:
			from := owner
			if b == owner {
				from = attacker
			}
			submit(b, from)
		case 2:
			later := rapid.SampledFrom([]time.Duration{time.Second, 11 * time.Minute}).Draw(t, "later")
			w.Fake.Advance(later)
			passed += later
		default:
			submit(b, b)
		}
	}

	seen.mu.Lock()
	defer seen.mu.Unlock()
	for run, n := range seen.finishes {
		if n > 1 {
			t.Fatalf("%s finished %d times", run, n)
		}
	}
	finished := total(seen.finishes) - finishesBefore
	if sessions := w.Count(t, `SELECT COUNT(*) FROM event WHERE type = 'session.started' OR type = 'session.reauthenticated'`) - sessionsBefore; sessions != finished {
		t.Fatalf("%d sessions of %d runs that finished", sessions, finished)
	}
	for of, n := range seen.guesses {
		if windows := 1 + int((passed+time.Minute)/time.Hour); n > (4+seen.settled[of])*windows {
			t.Fatalf("%d guesses of %+v were looked at, of which %d succeeded", n, of, seen.settled[of])
		}
	}
	if len(seen.unproved) > 0 {
		t.Fatalf("without a proof: %v", seen.unproved)
	}
	if who := w.Find(t, fresh); who != "" && w.Count(t, `SELECT COUNT(*) FROM customer_identifier WHERE tenant = $1 AND customer = $2`, w.Tenant.ID, who) != 1 {
		t.Fatalf("the account of %s has other addresses", fresh)
	}
	// What was seen of this round is of no use to the next, whose addresses and
	// customers are others.
	clear(seen.guesses)
	clear(seen.settled)
	if err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := tx.Exec(`DELETE FROM notify_outbox`); return err }); err != nil {
		t.Fatal(err)
	}
}

func total(counts map[id.Run]int) (sum int) {
	for _, n := range counts {
		sum += n
	}
	return sum
}
