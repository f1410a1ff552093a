package step_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// noticed adds a journey that uses what the default ones do not.
const noticed = `
journey: notice
version: 1
start: notice
steps:
  - {id: notice, uses: notice, with: {text: hello}, on: {continued: end}}
  - {id: end, uses: deny, with: {reason: account_closed}}
`

// newWorld is a node with a customer, whose tenant asks for everything.
func newWorld(t *testing.T, engine sqldb.Engine) *world {
	t.Helper()
	w := journeytest.New(t, engine, func(s *tenant.Settings) {
		s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{URL: "https://shop.example/terms"}}}
		s.SignUp.Collect = []string{"given_name"}
		s.Notices.NewSignIn = false // its link is not the one that a test looks for
		s.Limits.PasswordPerHour, s.Limits.CodePerHour, s.Limits.SendPerHour = 100, 100, 100
	})
	w.NewCustomer(t, v, password)
	reload(t, w)
	return w
}

func each(t *testing.T, test func(t *testing.T, w *world)) {
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) { test(t, newWorld(t, engine)) })
	}
}

// reload has the node's engine use its kinds as they are now, with the default
// journeys and the one above.
func reload(t *testing.T, w *world) {
	t.Helper()
	files := fstest.MapFS{"notice.yaml": {Data: []byte(noticed)}}
	names, err := filepath.Glob("../definitions/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no definitions: %v", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = &fstest.MapFile{Data: text}
	}
	set, err := journey.Load(files, w.Kinds)
	if err != nil {
		t.Fatal(err)
	}
	w.Engine = journey.NewWith(w.Options(), set)
}

// runOf is what a step works with when a browser's page is answered.
func runOf(t *testing.T, b *browser) *journey.Run {
	t.Helper()
	w := b.World
	keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.Open("journey", b.View.State)
	if err != nil {
		t.Fatal(err)
	}
	run := &journey.Run{Tenant: w.Tenant, Keys: keys, Application: b.View.Application, Client: b.Client(t), State: &journey.State{}, Now: w.Fake.Now()}
	if err := json.Unmarshal(text, run.State); err != nil {
		t.Fatal(err)
	}
	run.Config = map[string]journey.Config{"notice": {"text": "hello"}, "deny": {"reason": "account_closed"}, "new-address": {"kind": "email"}}[b.At()]
	return run
}

func TestEveryKindIsHeld(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	if got, want := slices.Sorted(maps.Keys(kinds)), slices.Sorted(maps.Keys(w.Kinds)); !slices.Equal(got, want) {
		t.Fatalf("held are %v of %v", got, want)
	}
	for name, k := range kinds {
		kind := w.Kinds[name]
		if k.outcome != "" && !slices.Contains(kind.Outcomes(), k.outcome) {
			t.Errorf("%s has no outcome %q", name, k.outcome)
		}
		if err := kind.Check(journey.Config{"colour": "red", "text": "a", "reason": "a", "outcome": "denied"}); err == nil {
			t.Errorf("%s takes settings that it does not have", name)
		}
		if _, finishes := kind.(journey.Finishing); finishes != (k.reach == nil) {
			t.Errorf("%s: finishing is %t", name, finishes)
		}
	}
}

// TestPromptsWriteNothing, and say of what kind they are.
func TestPromptsWriteNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for name, k := range kinds {
			if k.reach == nil {
				continue
			}
			b := reach(t, w, name)
			if b.At() != name {
				t.Fatalf("%s is not reached but %s, %v", name, b.At(), b.Err)
			}
			run, before := runOf(t, b), w.Rows(t)
			for range 3 {
				prompt, err := w.Kinds[name].Prompt(t.Context(), run)
				if err != nil || prompt.Kind() != name {
					t.Errorf("%s: %+v, %v", name, prompt, err)
				}
			}
			same(t, name, before, w.Rows(t))
		}
	})
}

func same(t *testing.T, name string, before, after map[string]int) {
	t.Helper()
	for table, n := range after {
		if n != before[table] {
			t.Errorf("%s: %d rows more in %s", name, n-before[table], table)
		}
	}
}

// TestEmptyAndUnknownAnswersKeepTheStep is SECURITY.md, row I3: an empty form,
// missing fields and a choice that the page does not offer lead nowhere, and
// cost nothing.
func TestEmptyAndUnknownAnswersKeepTheStep(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for name, k := range kinds {
			if k.reach == nil {
				continue
			}
			answers := map[string]url.Values{
				"other fields":                {"x": {"y"}, "state": {"z"}},
				"no value":                    {"identifier": {""}, "password": {""}, "code": {""}, "new_password": {""}, "decision": {""}, "given_name": {""}},
				"an unknown choice":           {"choose": {"again"}},
				"a choice that is an outcome": {"choose": {k.outcome + " "}},
				"an unknown choice with all fields": {
					"choose": {"x"}, "identifier": {v}, "password": {password}, "code": {"123456"}, "new_password": {password}, "decision": {"allow"}, "given_name": {"Ana"},
				},
			}
			if !k.shows {
				answers["nothing"] = nil
				answers["an empty form"] = url.Values{}
			} else {
				delete(answers, "other fields")
				delete(answers, "no value")
			}
			b := reach(t, w, name)
			page, before := b.View.State, w.Rows(t)
			for what, answer := range answers {
				if b.Submit(t, page, answer); b.Err != nil || b.At() != name {
					t.Errorf("%s, %s: at %s, %v", name, what, b.At(), b.Err)
				}
			}
			same(t, name, before, w.Rows(t))
		}
	})
}

// TestWrongAnswersKeepTheStep.
func TestWrongAnswersKeepTheStep(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for name, k := range kinds {
			if k.reach == nil {
				continue
			}
			b := reach(t, w, name)
			for _, answer := range k.wrong {
				if b.Submit(t, b.View.State, journeytest.Values(answer...)); b.Err != nil || b.At() != name || b.View.Limited != nil {
					t.Errorf("%s, %.40q: at %s, %v, %v", name, answer, b.At(), b.View.Limited, b.Err)
				}
			}
		}
	})
}

// TestAnswersHaveDeclaredOutcomes, and a step that neither tests nor sends
// writes nothing.
func TestAnswersHaveDeclaredOutcomes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for name, k := range kinds {
			if k.reach == nil {
				continue
			}
			kind, b := w.Kinds[name], reach(t, w, name)
			right := values(t, w, k.right...)
			answers := []url.Values{{}, right}
			for _, choice := range []string{"again", "back", "code", "password", "create", "sign-in", "skip", "decline", "resend", "finish", "correct", "known", "unknown", "taken"} {
				with := maps.Clone(right)
				with.Set("choose", choice)
				answers = append(answers, url.Values{"choose": {choice}}, with)
			}
			for _, answer := range k.wrong {
				answers = append(answers, journeytest.Values(answer...))
			}
			for _, decision := range []string{"allow", "deny"} {
				answers = append(answers, url.Values{"decision": {decision}})
			}
			led := map[string]bool{}
			for _, typed := range answers {
				run, answer := runOf(t, b), journey.Answer{Values: typed, Choice: typed.Get("choose")}
				before := w.Rows(t)
				hashed, guard := w.Hasher.Stats().Computed, kind.Guard(run, answer)
				if again := kind.Guard(run, answer); guard != again {
					t.Errorf("%s: the guard of %v is %+v, then %+v", name, typed, guard, again)
				}
				result, err := kind.Answer(t.Context(), run, answer)
				if err != nil {
					t.Errorf("%s: %v: %v", name, typed, err)
					continue
				}
				if unguarded(w, guard, hashed) {
					t.Errorf("%s: %v is hashed, and drawn from no budget", name, typed)
				}
				if result.Outcome() != "" && !slices.Contains(kind.Outcomes(), result.Outcome()) {
					t.Errorf("%s leads to %q, which it does not declare", name, result.Outcome())
				}
				if result.Outcome() != "" && len(result.Errors()) > 0 {
					t.Errorf("%s: %v leads to %q with mistakes", name, typed, result.Outcome())
				}
				if led[result.Outcome()] = true; guard == (journey.Guard{}) {
					same(t, fmt.Sprintf("%s: %v", name, typed), before, w.Rows(t))
				}
			}
			if k.outcome != "" && !led[k.outcome] {
				t.Errorf("%s: the right answer does not lead to %s but to %v", name, k.outcome, led)
			}
		}
	})
}

// unguarded tells whether a step has hashed, since so many were, what its guard
// said nothing of.
func unguarded(w *world, guard journey.Guard, hashed uint64) bool {
	return guard.Tests != budget.Password && guard.Hashes == "" && w.Hasher.Stats().Computed != hashed
}

// unbudgeted is a kind of step that hashes unasked.
type unbudgeted struct{ step.NewPassword }

func (unbudgeted) Guard(*journey.Run, journey.Answer) journey.Guard { return journey.Guard{} }

// TestHashingIsGuarded: what every kind is held to above finds one that hashes
// without a guard, and neither a prompt, nor to reach a step, nor a finish
// hashes at all.
func TestHashingIsGuarded(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	run := runOf(t, reach(t, w, "new-password"))
	answer := journey.Answer{Values: journeytest.Values("new_password", password)}
	for kind, want := range map[journey.Step]bool{unbudgeted{step.NewPassword{Capabilities: w.Capabilities}}: true, w.Kinds["new-password"]: false} {
		hashed := w.Hasher.Stats().Computed
		if _, err := kind.Answer(t.Context(), run, answer); err != nil {
			t.Fatal(err)
		}
		if got := unguarded(w, kind.Guard(run, answer), hashed); got != want {
			t.Errorf("%T hashes without a guard: %t", kind, got)
		}
	}
	for name, k := range kinds {
		if k.reach == nil {
			continue
		}
		b := reach(t, w, name)
		run, hashed := runOf(t, b), w.Hasher.Stats().Computed
		if _, err := w.Kinds[name].Prompt(t.Context(), run); err != nil {
			t.Error(err)
		}
		if does, enters := w.Kinds[name].(journey.Entering); enters {
			if err := does.Enter(t.Context(), run); err != nil {
				t.Error(err)
			}
		}
		if k.ends && name != "identify" && name != "password" && name != "recover" && name != "new-password" {
			b.Submit(t, b.View.State, values(t, w, k.right...))
			for _, typed := range k.rest {
				if b.Finished == nil {
					b.Submit(t, b.View.State, values(t, w, typed...))
				}
			}
		}
		if n := w.Hasher.Stats().Computed - hashed; n != 0 {
			t.Errorf("%s: %d were hashed on the way from it", name, n)
		}
	}
}

// TestMissingProofsAreForged: no page gives a state without a proof to these
// steps, so that one which comes with it is not ours.
func TestMissingProofsAreForged(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for name, k := range kinds {
			if !k.proofs {
				continue
			}
			at := name
			if k.reach == nil {
				at = "new-password"
			}
			b := reach(t, w, at)
			run := runOf(t, b)
			run.State.Proofs, run.State.Session = nil, ""
			typed := values(t, w, k.right...)
			for _, typed := range []url.Values{typed, {"choose": {"skip"}}, {}} {
				answer := journey.Answer{Values: typed, Choice: typed.Get("choose")}
				if result, err := w.Kinds[name].Answer(t.Context(), run, answer); !errors.Is(err, journey.ErrForged) {
					t.Errorf("%s: %v leads to %q, %v", name, typed, result.Outcome(), err)
				}
			}
			finishing, is := w.Kinds[name].(journey.Finishing)
			if !is {
				continue
			}
			for what, forge := range map[string]func(*journey.State){
				"without a proof":   func(s *journey.State) {},
				"without a subject": func(s *journey.State) { s.Proofs, s.Subject = []journey.Proof{{Method: "otp", Verified: true}}, nil },
				"of an account to be made, with a password alone": func(s *journey.State) {
					s.Proofs = []journey.Proof{{Method: "pwd", Budget: budget.Password}}
				},
			} {
				run := runOf(t, b)
				run.State.Proofs, run.State.Customer = nil, ""
				forge(run.State)
				run.Config = journey.Config{"outcome": "authenticated"}
				before := w.Rows(t)
				if finished, result, err := finishing.Finish(t.Context(), run); !errors.Is(err, journey.ErrForged) {
					t.Errorf("%s, %s: %+v, %q, %v", name, what, finished, result.Outcome(), err)
				}
				after := w.Rows(t)
				delete(after, "customer_key") // of the id that was minted: the sweep takes it
				same(t, name+", "+what, before, after)
			}
		}
	})
}

// TestFinishedStatesEndNothing: from whichever step a journey went on to its
// finish, the same page does not bring it there again.
func TestFinishedStatesEndNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for name, k := range kinds {
			if !k.ends {
				continue
			}
			b := reach(t, w, name)
			before := *b
			walk := append([][]string{k.right}, k.rest...)
			// follow goes to the end by the answers that are asked for; some pages
			// are passed over the second time.
			follow := func(b *browser, asked map[string][]string) map[string][]string {
				used := map[string][]string{}
				for range 10 {
					at := b.At()
					typed := asked[at]
					if asked == nil {
						i := len(used)
						if i >= len(walk) {
							break
						}
						typed = walk[i]
					}
					used[at] = typed
					if b.Submit(t, b.View.State, values(t, w, typed...)); b.Err != nil || b.Finished != nil {
						return used
					}
					if asked != nil && b.At() == at {
						return used
					}
				}
				return used
			}
			used := follow(b, nil)
			if b.Finished == nil {
				t.Fatalf("%s: the journey does not end but is at %s with %s, %v", name, b.At(), b.Fault(), b.Err)
			}
			rows := w.Rows(t)
			follow(&before, used)
			if before.Finished != nil {
				t.Errorf("%s: the journey ends twice: %+v", name, before.Finished)
			}
			dead := before.Finished == nil && before.Err == nil && before.View.Prompt == journey.Prompt(step.InvitationPrompt{Dead: true})
			if !dead && !errors.Is(before.Err, journey.ErrFinished) && before.Fault() != "code_expired" && !errors.Is(before.Err, journey.ErrCrossed) {
				t.Errorf("%s: the second time the journey is at %s with %s, %v", name, before.At(), before.Fault(), before.Err)
			}
			for _, table := range []string{"customer", "session", "credential_password", "customer_grant", "terms_acceptance", "organization_membership", "organization_choice"} {
				if now := w.Rows(t)[table]; now != rows[table] {
					t.Errorf("%s: the second time makes %d rows of %s", name, now-rows[table], table)
				}
			}
		}
	})
}

// reach brings a new browser to a step, as if nobody had been there before.
func reach(t *testing.T, w *world, name string) *browser {
	t.Helper()
	clean(t, w)
	return kinds[name].reach(t, w)
}

// clean makes a fresh address fresh again, and the customer one who is asked for
// everything.
func clean(t *testing.T, w *world) {
	t.Helper()
	for _, address := range []string{fresh, v, guest} {
		if who := w.Find(t, address); who != "" {
			if err := w.Directory.Erase(t.Context(), w.Tenant.ID, who, "system"); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.NewCustomer(t, v, password)
	w.Fake.Advance(time.Second) // so that the next code is the last
}

// spy notes what the engine has a step do.
type spy struct {
	journey.Entering
	answered, entered int
}

func (s *spy) Answer(ctx context.Context, run *journey.Run, a journey.Answer) (journey.Result, error) {
	s.answered++
	return s.Entering.Answer(ctx, run, a)
}

func (s *spy) Enter(ctx context.Context, run *journey.Run) error {
	s.entered++
	return s.Entering.Enter(ctx, run)
}

// entering makes an Entering of a step that does nothing when it is reached.
type entering struct{ journey.Step }

func (entering) EnterGuard(*journey.Run) journey.Guard     { return journey.Guard{} }
func (entering) Enter(context.Context, *journey.Run) error { return nil }

// TestBudgetsComeFirst: with nothing left of a budget a step is not asked what
// it thinks of a guess, and does not send.
func TestBudgetsComeFirst(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		spies := map[string]*spy{}
		for name, kind := range w.Kinds {
			if _, finishes := kind.(journey.Finishing); finishes {
				continue
			}
			does, is := kind.(journey.Entering)
			if !is {
				does = entering{kind}
			}
			spies[name] = &spy{Entering: does}
			w.Kinds[name] = spies[name]
		}
		reload(t, w)
		exhaust := func(kind string, who id.Customer) {
			t.Helper()
			for range 1000 {
				verdict, err := w.Budgets.Take(t.Context(), w.Tenant.ID, kind, budget.Known(who), journey.LimitOf(w.Tenant, kind))
				if err != nil {
					t.Fatal(err)
				}
				if !verdict.Allowed {
					return
				}
			}
			t.Fatal("the budget has no end")
		}
		who := w.Find(t, v)
		atPassword, atCode := kinds["password"].reach(t, w), kinds["code"].reach(t, w)
		code := w.Code(t, v)
		for kind, try := range map[string]func() (*browser, *spy){
			budget.Password: func() (*browser, *spy) {
				return atPassword.Submit(t, atPassword.View.State, journeytest.Values("password", password)), spies["password"]
			},
			budget.Code: func() (*browser, *spy) {
				return atCode.Submit(t, atCode.View.State, journeytest.Values("code", code)), spies["code"]
			},
			budget.Send: func() (*browser, *spy) {
				return atCode.Submit(t, atCode.View.State, journeytest.Values("choose", "resend")), spies["code"]
			},
		} {
			exhaust(kind, who)
			before, letters := *spies[map[string]string{budget.Password: "password", budget.Code: "code", budget.Send: "code"}[kind]], len(w.Letters(t, v))
			b, asked := try()
			if b.Err != nil || b.View.Limited == nil || b.View.Limited.What != kind {
				t.Errorf("%s: at %s, %v", kind, b.At(), b.Err)
			}
			if asked.answered != before.answered || asked.entered != before.entered || len(w.Letters(t, v)) != letters {
				t.Errorf("%s: the step was asked all the same", kind)
			}
		}
		// Nor does it send when it is reached.
		before, letters := spies["code"].entered, len(w.Letters(t, v))
		b := signIn(t, w, v).Send(t, "choose", "code")
		if b.At() != "code" || b.View.Limited == nil || b.View.Limited.What != budget.Send || spies["code"].entered != before || len(w.Letters(t, v)) != letters {
			t.Errorf("at %s: %v, entered %d times", b.At(), b.View.Limited, spies["code"].entered-before)
		}
		if prompt := b.View.Prompt.(step.CodePrompt); prompt.Sent {
			t.Error("the page says that a code was sent")
		}
	})
}

// TestPromptsShowNothingOfTheCustomer before he has proved that it is he: only
// what was typed.
func TestPromptsShowNothingOfTheCustomer(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	username, err := identifier.Normalise(identifier.Username, "vera", identifier.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.NewCustomer(t, "hidden@example.com", password, username)
	b := signIn(t, w, "vera")
	for range 2 {
		text := fmt.Sprintf("%+v", b.View.Prompt)
		if strings.Contains(text, "hidden") || strings.Contains(text, "cus_") || !strings.Contains(text, "vera") {
			t.Errorf("%s shows %s", b.At(), text)
		}
		b.Send(t, "choose", "code")
	}
}

// TestConsentShowsTheValues that the application would get, then what it would
// get once it is known.
func TestConsentShowsTheValues(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	b := reach(t, w, "consent")
	b.Scopes = []string{"openid", "profile", "email", "address", "phone"}
	b.Begin(t, "consent")
	got := ""
	for _, claim := range b.View.Prompt.(step.ConsentPrompt).Claims {
		got += claim.Name
		if claim.Value != nil {
			got += "=" + fmt.Sprint(claim.Value)
		}
		got += " "
	}
	if got != "name=Ana given_name=Ana email="+v+" family_name middle_name nickname preferred_username profile picture website gender birthdate zoneinfo locale address phone_number " {
		t.Errorf("shown are %v", got)
	}
	var none *application.Application
	b.Application = none
	if b.Begin(t, "consent").Submit(t, b.View.State, journeytest.Values("decision", "allow")); !errors.Is(b.Err, journey.ErrForged) {
		t.Errorf("consent for nobody: at %s, %v", b.At(), b.Err)
	}
}
