package journey_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"context"

	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/tenant"
)

// tested counts the passwords and codes that get as far as being looked at.
type tested struct{ passwords, codes atomic.Int64 }

type passwordStep struct {
	step.Password
	count *tested
}

func (s passwordStep) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if s.Guard(run, answer).Tests != "" {
		s.count.passwords.Add(1)
	}
	return s.Password.Answer(ctx, run, answer)
}

type codeStep struct {
	step.Code
	count *tested
}

func (s codeStep) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if s.Guard(run, answer).Tests != "" {
		s.count.codes.Add(1)
	}
	return s.Code.Answer(ctx, run, answer)
}

// counted has the engines of nodes count what they test.
func counted(t *testing.T, nodes ...*world) *tested {
	t.Helper()
	count := &tested{}
	for _, w := range nodes {
		w.Kinds = step.Kinds(w.Capabilities)
		w.Kinds["password"] = passwordStep{step.Password{Capabilities: w.Capabilities}, count}
		w.Kinds["code"] = codeStep{step.Code{Capabilities: w.Capabilities}, count}
		engine, err := journey.New(w.Options())
		if err != nil {
			t.Fatal(err)
		}
		w.Engine = engine
	}
	return count
}

func limits(passwords, codes, sends int) func(*tenant.Settings) {
	return func(s *tenant.Settings) {
		s.Limits.PasswordPerHour, s.Limits.CodePerHour, s.Limits.SendPerHour = passwords, codes, sends
	}
}

// TestTwoNodesOneBudget is SECURITY.md, row H3: however many guesses come at
// once, over however many nodes and runs, no more are looked at than the limit
// says. The constant is 0.
func TestTwoNodesOneBudget(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		nodes := []*world{w, w.Second(t)}
		count := counted(t, nodes...)
		for _, address := range []string{v, "nobody@example.com"} {
			count.passwords.Store(0)
			if address == v {
				w.NewCustomer(t, v, password)
			}
			var limited atomic.Int64
			var all sync.WaitGroup
			for i := range 64 {
				b := nodes[i%2].Browser().Begin(t, "sign-in").Send(t, "identifier", address)
				all.Go(func() {
					if b.Submit(t, b.View.State, journeytest.Values("password", wrong)); b.Err != nil {
						t.Error(b.Err)
					} else if b.View.Limited != nil {
						limited.Add(1)
					}
				})
			}
			all.Wait()
			if count.passwords.Load() != 5 || limited.Load() != 59 {
				t.Errorf("%s: %d guesses were looked at, %d refused", address, count.passwords.Load(), limited.Load())
			}
		}
	}, limits(5, 5, 5))
}

// TestLimitHolds: once the guesses are used up the right one is refused too
// (H4), in new runs (H8) and under the customer's other names (H5), until the
// window is over. Another method and a known device still let in.
func TestLimitHolds(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		count := counted(t, w)
		username, err := identifier.Normalise(identifier.Username, "vera", identifier.Options{})
		if err != nil {
			t.Fatal(err)
		}
		w.NewCustomer(t, v, password, username)
		known := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "password", password)
		at(t, known, "authenticated")
		count.passwords.Store(0)
		for i, name := range []string{v, "vera", "V@EXAMPLE.com", " Vera "} {
			b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", name).Send(t, "password", wrong)
			if limited := b.View.Limited != nil; limited != (i >= 3) {
				t.Errorf("guess %d under the name %q: limited is %t", i, name, limited)
			}
		}
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "password", password)
		at(t, b, "password", "")
		if l := b.View.Limited; l == nil || l.What != "password" || !l.Until.Equal(w.Fake.Now().Add(time.Hour)) {
			t.Errorf("the right password: %+v", l)
		}
		if count.passwords.Load() != 3 {
			t.Errorf("%d guesses were looked at", count.passwords.Load())
		}
		// The owner, in his own browser.
		known.Session = ""
		at(t, known.Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "password", password), "authenticated")
		// Or by another method.
		b.Send(t, "choose", "code")
		at(t, b.Send(t, "code", w.Code(t, v)), "authenticated")
		w.Fake.Advance(time.Hour)
		b = w.Browser().Begin(t, "sign-in").Send(t, "identifier", v)
		at(t, b.Send(t, "password", password), "authenticated")
	}, limits(3, 3, 10))
}

// TestCodesAreLimited over all codes and runs of an address, known or not.
func TestCodesAreLimited(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		count := counted(t, w)
		w.NewCustomer(t, v, password)
		for _, address := range []string{v, "nobody@example.com"} {
			count.codes.Store(0)
			var b *browser
			for range 2 {
				b = w.Browser().Begin(t, "sign-in").Send(t, "identifier", address).Send(t, "choose", "code")
				code := w.Code(t, address)
				for range 4 {
					b.Send(t, "code", notCode(code))
				}
				if b.View.Limited == nil && b.Fault() != "code_exhausted" && b.Fault() != "code_wrong" {
					t.Errorf("at %s: %s", b.At(), b.Fault())
				}
			}
			if b.View.Limited == nil || count.codes.Load() != 6 {
				t.Errorf("%s: %d codes were looked at, limited %v", address, count.codes.Load(), b.View.Limited)
			}
			b = w.Browser().Begin(t, "sign-in").Send(t, "identifier", address).Send(t, "choose", "code")
			at(t, b.Send(t, "code", w.Code(t, address)), "code", "")
			if b.View.Limited == nil {
				t.Errorf("%s: the right code was looked at", address)
			}
		}
	}, limits(10, 6, 10), func(s *tenant.Settings) { s.Limits.AttemptsPerCode = 3 })
}

// TestAttemptsOfOneCode run out before the budget does, and the right code is
// then none.
func TestAttemptsOfOneCode(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password)
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "choose", "code")
		page, code := *b, w.Code(t, v)
		for range 3 {
			at(t, b.Send(t, "code", notCode(code)), "code", "code_wrong")
		}
		at(t, b.Send(t, "code", code), "code", "code_exhausted")
		at(t, page.Send(t, "code", code), "code", "code_exhausted") // rewound
		b.Send(t, "choose", "resend")
		at(t, b.Send(t, "code", w.Code(t, v)), "authenticated")
	}, func(s *tenant.Settings) { s.Limits.AttemptsPerCode = 3 })
}

func TestSendsAreLimited(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		for _, address := range []string{v, "nobody@example.com"} {
			if address == v {
				w.NewCustomer(t, v, password)
			}
			var all sync.WaitGroup
			var limited atomic.Int64
			for i := range 16 {
				b := w.Browser().Begin(t, []string{"sign-in", "sign-up"}[i%2])
				if i%2 == 0 {
					b.Send(t, "identifier", address)
				}
				all.Go(func() {
					values := journeytest.Values("choose", "code")
					if b.At() == "create-account" {
						values = journeytest.Values("identifier", address)
					}
					if b.Submit(t, b.View.State, values); b.Err != nil {
						t.Error(b.Err)
						return
					}
					prompt, shown := b.View.Prompt.(step.CodePrompt)
					if !shown || prompt.Sent != (b.View.Limited == nil) {
						t.Errorf("at %s: %+v, %v", b.At(), prompt, b.View.Limited)
					}
					if b.View.Limited != nil {
						limited.Add(1)
					}
				})
			}
			all.Wait()
			if got := len(w.Letters(t, address)); got != 3 || limited.Load() != 13 {
				t.Errorf("%s: %d were sent, %d refused", address, got, limited.Load())
			}
		}
	}, limits(10, 10, 3))
}

// TestCodesExpire, and are for one run of one browser.
func TestCodesExpire(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password)
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "choose", "code")
		code := w.Code(t, v)
		other := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "choose", "code")
		if w.Code(t, v) != code {
			at(t, other.Send(t, "code", code), "code", "code_wrong")
		}
		w.Fake.Advance(10 * time.Minute)
		at(t, b.Send(t, "code", code), "code", "code_expired")
	})
}
