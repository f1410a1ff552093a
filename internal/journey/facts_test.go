package journey_test

import (
	"context"
	"testing"

	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// asked notes of whom facts are asked.
type asked struct {
	journey.Facts
	t       *testing.T
	missing int
	terms   int
}

func (a *asked) note(run *journey.Run, fact string) {
	if run.State.Customer != "" && len(run.State.Proofs) == 0 {
		a.t.Errorf("%s/%s: %s is asked of a customer who has proved nothing", run.State.Journey, run.State.Step, fact)
	}
}

func (a *asked) Missing(ctx context.Context, run *journey.Run) ([]string, error) {
	a.missing++
	a.note(run, "customer.missing")
	return a.Facts.Missing(ctx, run)
}

func (a *asked) TermsDue(ctx context.Context, run *journey.Run) (bool, error) {
	a.terms++
	a.note(run, "terms.due")
	return a.Facts.TermsDue(ctx, run)
}

// TestFactsAreAskedAfterAProof, and only those that a condition names: what is
// read of a customer takes time, and time tells strangers that there is one
// (SECURITY.md, row J2).
func TestFactsAreAskedAfterAProof(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password)
		spy := &asked{Facts: w.Capabilities, t: t}
		options := w.Options()
		options.Facts = spy
		engine, err := journey.New(options)
		if err != nil {
			t.Fatal(err)
		}
		w.Engine = engine
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v)
		back := *b
		at(t, back.Send(t, "choose", "back"), "identify", "")
		at(t, back.Send(t, "choose", "create"), "create-account", "")
		at(t, back.Send(t, "identifier", v), "code", "")
		at(t, back.Send(t, "choose", "back"), "create-account", "")
		at(t, back.Send(t, "choose", "sign-in"), "identify", "")
		at(t, back.Send(t, "choose", "create"), "create-account", "")
		if spy.missing+spy.terms != 0 {
			t.Errorf("facts that no condition names were asked: %d, %d", spy.missing, spy.terms)
		}
		at(t, b.Send(t, "password", password), "terms", "")
		if spy.missing != 0 || spy.terms != 1 {
			t.Errorf("asked were %d times what is missing and %d times what is due", spy.missing, spy.terms)
		}
		at(t, b.Send(t, "decision", "allow"), "collect", "")
		if spy.missing == 0 {
			t.Error("what is missing was not asked")
		}
	}, func(s *tenant.Settings) {
		s.SignUp.Collect = []string{"nickname"}
		s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{URL: "https://shop.example/terms"}}}
	})
}
