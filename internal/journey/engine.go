package journey

import (
	"context"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
	"github.com/cardea-id/cardea/internal/tracing"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "journey", FS: migrations}
}

// Applications finds applications.
type Applications interface {
	Get(ctx context.Context, tenant id.Tenant, application id.Application) (*application.Application, error)
}

// Devices tells by which device a customer is known in a browser.
type Devices interface {
	// Device returns the device that the device cookie names for customer, ""
	// when it names none that is still good.
	Device(ctx context.Context, tenant id.Tenant, customer id.Customer, cookie string) (id.Device, error)
}

// Subjects finds who is to prove himself again.
type Subjects interface {
	// Subject fills in the identifier and the customer of a state from a
	// customer who is signed in.
	Subject(ctx context.Context, run *Run, customer id.Customer) error
}

// Options are what an Engine works with.
type Options struct {
	DB           *sqldb.DB
	Ring         *keyring.Ring
	Budgets      *budget.Budgets
	Log          *event.Log
	Applications Applications
	Devices      Devices
	Subjects     Subjects
	Facts        Facts
	Kinds        map[string]Step
	Clock        clock.Clock
	Random       io.Reader
	Logger       *slog.Logger
}

// Engine leads customers through journeys. It is safe for concurrent use.
type Engine struct {
	Options
	set *Set
}

// New returns the engine with the journeys that every tenant has.
func New(o Options) (*Engine, error) {
	set, err := LoadDefaults(o.Kinds)
	if err != nil {
		return nil, fmt.Errorf("the default journeys are wrong: %w", err)
	}
	return NewWith(o, set), nil
}

// NewWith returns an engine with a set of journeys.
func NewWith(o Options, set *Set) *Engine { return &Engine{Options: o, set: set} }

// inSession are the journeys that go on with whoever is signed in.
var inSession = []string{"consent", "join", "organization"}

// Begin opens a journey and returns its first page. It writes nothing.
func (e *Engine) Begin(ctx context.Context, t *tenant.Tenant, start Start) (*View, error) {
	journey := e.set.journeys[start.Journey]
	if journey == nil {
		return nil, fmt.Errorf("there is no journey %q", start.Journey)
	}
	run, err := e.newRun(ctx, t, start.Client)
	if err != nil {
		return nil, err
	}
	run.Application = start.Application
	explain.Of(ctx).InStep(start.Journey, "its beginning")
	run.State = &State{
		Run:     id.New[id.Run](run.Now, e.Random),
		Journey: start.Journey,
		Expires: run.Now.Add(Lifetime).Unix(),
		Binding: bindingOf(start.Client.Binding),
		Return:  start.Return,
		Scopes:  start.Scopes,
		Hint:    start.LoginHint,
		Link:    start.Link,
		Minted:  id.New[id.Customer](run.Now, e.Random),

		Organization: start.Organization,
	}
	if start.Application != nil {
		run.State.Application = start.Application.ID
	}
	run.State.Target = start.Target
	name, step := start.Journey, journey.start
	if journey.signedIn {
		if err := e.beginSignedIn(ctx, run); err != nil {
			return nil, err
		}
	} else if signedIn := start.Client.Session; signedIn != nil {
		run.State.Session = signedIn.ID
		switch {
		case slices.Contains(inSession, start.Journey):
			run.State.Customer, run.State.Epoch = signedIn.Customer, signedIn.Epoch
		case start.Again && start.Journey == "sign-in":
			// He is to prove himself again: do not ask who he is, and offer what he
			// chose the last time.
			run.State.Stay = signedIn.Stay && t.Settings.Session.OfferStay
			if err := e.Subjects.Subject(ctx, run, signedIn.Customer); err != nil {
				return nil, err
			}
			if run.State.Subject != nil {
				name, step = split(name, journey.steps[step].definition.On["identified"])
			}
		}
	}
	if err := e.moveTo(ctx, run, name, step); err != nil {
		return nil, err
	}
	return e.show(ctx, run, nil, nil, false)
}

// beginSignedIn readies the state of a journey for who is signed in: it is about
// him, and worth what his security epoch is now.
func (e *Engine) beginSignedIn(ctx context.Context, run *Run) error {
	now := run.Client.Session
	if now == nil {
		return ErrSignedOut
	}
	s := run.State
	if err := e.Subjects.Subject(ctx, run, now.Customer); err != nil {
		return err
	}
	s.Session, s.Customer, s.Epoch = now.ID, now.Customer, now.Epoch
	var err error
	run.Device, err = e.deviceOf(ctx, run)
	return err
}

// Answer takes what came back with a sealed state. It returns the next page to
// show, or the journey's end.
//
// ErrForged, ErrCrossed, ErrExpired and ErrFinished say that the state cannot
// go on; Resumable then tells where it came from. ErrClosed says that nobody's
// can.
func (e *Engine) Answer(ctx context.Context, t *tenant.Tenant, sealed string, values url.Values, client Client) (_ *View, _ *Finished, err error) {
	run, err := e.newRun(ctx, t, client)
	if err != nil {
		return nil, nil, err
	}
	if run.State, err = open(run.Keys, sealed); err != nil {
		return nil, nil, err
	}
	if err := run.State.check(client.Binding, e.set.hash(run.State.Journey), run.Now); err != nil {
		return nil, nil, err
	}
	if span := tracing.Of(ctx); span.Recording() {
		ctx, span = tracing.Start(ctx, "journey step "+run.State.Journey+"/"+run.State.Step)
		defer func() { span.End(err) }()
	}
	trail := explain.Of(ctx)
	trail.InStep(run.State.Journey, run.State.Step)
	trail.From(run.State.Application, false)
	if len(run.State.Proofs) > 0 { // before that anybody may have named him
		trail.About(run.State.Customer)
	}
	step := e.set.find(run.State.Journey, run.State.Step)
	if step == nil {
		return nil, nil, ErrExpired
	}
	if e.set.journeys[run.State.Journey].signedIn && !InSession(run) {
		return nil, nil, ErrCrossed // signed out, or another session's
	}
	if run.State.Application != "" {
		run.Application, err = e.Applications.Get(ctx, t.ID, run.State.Application)
		if err != nil {
			return nil, nil, fmt.Errorf("the application that the journey is for: %w", err)
		}
	}
	run.Config = Config(step.definition.With)
	if run.Device, err = e.deviceOf(ctx, run); err != nil {
		return nil, nil, err
	}

	answer := Answer{Values: values, Choice: values.Get("choose")}
	guard := step.step.Guard(run, answer)
	drawn, limited, err := e.draw(ctx, run, guard)
	if err != nil {
		return nil, nil, err
	}
	if limited != nil {
		e.logFailed(ctx, run, guard.Tests, "limited")
		view, err := e.show(ctx, run, nil, limited, false)
		return view, nil, err
	}
	proofs := len(run.State.Proofs)
	result, err := step.step.Answer(ctx, run, answer)
	if errors.Is(err, credential.ErrBusy) { // nothing was tried
		if err := e.refund(ctx, run, drawn); err != nil {
			return nil, nil, err
		}
		view, err := e.show(ctx, run, nil, nil, true)
		return view, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	if run.Void && len(run.State.Proofs) > proofs {
		return nil, nil, fmt.Errorf("the step %s took a proof beyond the budget", run.State.Step)
	}
	if result.outcome == "" {
		if len(result.errors) > 0 {
			e.logFailed(ctx, run, guard.Tests, result.errors[0].Code)
		}
		view, err := e.show(ctx, run, result.errors, nil, false)
		return view, nil, err
	}
	if result.outcome == refusedOutcome { // what was right, and lets nobody in
		e.logFailed(ctx, run, guard.Tests, result.outcome)
	}
	return e.follow(ctx, run, step, result)
}

// Resumable tells, of a state that could not go on, what it was to return to.
// It is false for a state that is not ours.
func (e *Engine) Resumable(ctx context.Context, t *tenant.Tenant, sealed string) (Return, bool) {
	keys, err := e.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return Return{}, false
	}
	state, err := open(keys, sealed)
	if err != nil {
		return Return{}, false
	}
	return state.Return, true
}

func (e *Engine) newRun(ctx context.Context, t *tenant.Tenant, client Client) (*Run, error) {
	if t.Suspended {
		return nil, ErrClosed
	}
	keys, err := e.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, fmt.Errorf("read the tenant's keys: %w", err)
	}
	return &Run{Tenant: t, Keys: keys, Client: client, Now: e.Clock.Now()}, nil
}

func (e *Engine) deviceOf(ctx context.Context, run *Run) (id.Device, error) {
	if run.State.Subject == nil {
		return "", nil
	}
	return e.Devices.Device(ctx, run.Tenant.ID, run.Known(), run.Client.Device)
}

// follow goes where an outcome leads, through steps that are passed over, and
// to the end when that is where it leads.
func (e *Engine) follow(ctx context.Context, run *Run, from *compiledStep, result Result) (*View, *Finished, error) {
	for {
		journey, target := split(run.State.Journey, from.definition.On[result.outcome])
		if err := e.moveTo(ctx, run, journey, target); err != nil {
			return nil, nil, err
		}
		step := e.set.find(run.State.Journey, run.State.Step)
		finishing, ends := step.step.(Finishing)
		if !ends {
			limited, err := e.enter(ctx, run, step.step)
			if err != nil {
				return nil, nil, err
			}
			view, err := e.show(ctx, run, nil, limited, false)
			return view, nil, err
		}
		finished, next, err := finishing.Finish(ctx, run)
		if err != nil {
			return nil, nil, err
		}
		if finished != nil {
			finished.Return, finished.Application, finished.Organization = run.State.Return, run.State.Application, run.State.Organization
			return nil, finished, nil
		}
		for _, proof := range run.State.Proofs { // what was right, and lets nobody in
			e.logFailed(ctx, run, proof.Budget, next.outcome)
		}
		from, result = step, next
	}
}

// refusedOutcome is how a step that tests something ends when that was right and
// its customer may not sign in.
const refusedOutcome = "refused"

// logFailed tells the log of a sign-in that failed by a method: "" for none. It
// writes no row, and names whom it was about by the keyed hash that stands for
// the address in events, whether or not there is an account.
func (e *Engine) logFailed(ctx context.Context, run *Run, method, outcome string) {
	if method == "" || !e.Logger.Enabled(ctx, slog.LevelInfo) {
		return
	}
	if run.Void {
		outcome = "paused" // whatever it would have been
	}
	e.Logger.LogAttrs(ctx, slog.LevelInfo, "a sign-in failed", slog.String("request", string(run.Client.Request)),
		slog.String("tenant", string(run.Tenant.ID)), slog.String("journey", run.State.Journey), slog.String("with", method),
		slog.String("outcome", outcome), slog.Bool("known_device", run.Device != ""),
		slog.String("address_hash", base64.StdEncoding.EncodeToString(run.Handle())))
}

// moveTo sets the state's step, following conditions that pass steps over.
func (e *Engine) moveTo(ctx context.Context, run *Run, journey, step string) error {
	for {
		found := e.set.find(journey, step)
		if found == nil {
			return fmt.Errorf("there is no step %s/%s", journey, step)
		}
		run.State.Journey, run.State.Step, run.Config = journey, step, Config(found.definition.With)
		run.State.Hash = e.set.hash(journey)
		if found.when == nil {
			return nil
		}
		holds, err := found.when.holds(ctx, e.Facts, run)
		if err != nil {
			return err
		}
		if holds {
			return nil
		}
		journey, step = split(journey, found.definition.Else)
	}
}

// enter lets a step do what it does when it is reached, if the budget allows.
func (e *Engine) enter(ctx context.Context, run *Run, step Step) (*Limited, error) {
	entering, does := step.(Entering)
	if !does {
		return nil, nil
	}
	_, limited, err := e.draw(ctx, run, entering.EnterGuard(run))
	if err != nil || limited != nil {
		return limited, err
	}
	return nil, entering.Enter(ctx, run)
}

func (e *Engine) show(ctx context.Context, run *Run, faults []FieldError, limited *Limited, busy bool) (*View, error) {
	step := e.set.find(run.State.Journey, run.State.Step)
	prompt, err := step.step.Prompt(ctx, run)
	if err != nil {
		return nil, err
	}
	sealed, err := seal(run.Keys, run.State)
	if err != nil {
		return nil, err
	}
	return &View{
		State: sealed, Journey: run.State.Journey, Step: run.State.Step, Prompt: prompt, Errors: faults,
		Limited: limited, Busy: busy, Application: run.Application, Return: run.State.Return,
	}, nil
}

// drawn is one take from a budget.
type drawn struct {
	kind    string
	subject budget.Subject
	verdict budget.Verdict
}

// draw takes what guard asks for from the budgets: from the device's where the
// browser is known to the customer, else from the customer's, else from that
// of whoever has the address; for new passwords from the run's, which all its
// rewound states share. It returns what it took, and what is exhausted.
// A take that must come to nothing makes the run Void.
func (e *Engine) draw(ctx context.Context, run *Run, guard Guard) ([]drawn, *Limited, error) {
	var taken []drawn
	for _, kind := range []string{guard.Tests, guard.Sends, guard.Hashes} {
		if kind == "" {
			continue
		}
		limit := LimitOf(run.Tenant, kind)
		if guard.Strong {
			limit.Total = 0
		}
		take := drawn{kind: kind, subject: Subject(run)}
		if kind == budget.Hash {
			take.subject = budget.Stranger([]byte("run " + run.State.Run))
		}
		var err error
		if take.verdict, err = e.Budgets.Take(ctx, run.Tenant.ID, kind, take.subject, limit, e.tellCrossed(run, kind)); err != nil {
			return nil, nil, fmt.Errorf("draw on the budget: %w", err)
		}
		if !take.verdict.Allowed {
			return nil, &Limited{What: kind, Until: take.verdict.Until}, nil
		}
		run.Void = run.Void || take.verdict.Void
		taken = append(taken, take)
	}
	if guard.Address != "" {
		// It is a budget of the new addresses alone. That which strangers draw on
		// for the same address counts only while nobody has it, and so its limit
		// would tell whether somebody does.
		take := drawn{kind: guard.Sends, subject: budget.Stranger([]byte("new address " + guard.Address))}
		var err error
		if take.verdict, err = e.Budgets.Take(ctx, run.Tenant.ID, take.kind, take.subject, LimitOf(run.Tenant, guard.Sends)); err != nil {
			return nil, nil, fmt.Errorf("draw on the budget: %w", err)
		}
		if !take.verdict.Allowed {
			return nil, &Limited{What: guard.Sends, Until: take.verdict.Until}, e.refund(ctx, run, taken)
		}
		taken = append(taken, take)
	}
	if guard.Text != "" {
		limited, err := e.drawText(ctx, run, guard.Text, guard.Address == "")
		if err == nil && limited != nil {
			err = e.refund(ctx, run, taken)
		}
		if err != nil || limited != nil {
			return nil, limited, err
		}
	}
	return taken, nil, nil
}

// refund gives back what was drawn for something that was not done.
func (e *Engine) refund(ctx context.Context, run *Run, taken []drawn) error {
	// It may have been the request's own time that ran out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refundTime)
	defer cancel()
	for _, take := range taken {
		if err := e.Budgets.Refund(ctx, run.Tenant.ID, take.kind, take.subject, take.verdict); err != nil {
			return err
		}
	}
	return nil
}

// refundTime is how long a refund may take.
const refundTime = 5 * time.Second

// Subject is whose budget a run draws on.
func Subject(run *Run) budget.Subject {
	switch {
	case run.State.Customer != "" && run.Device != "":
		return budget.Device(run.State.Customer, run.Device)
	case run.State.Customer != "":
		return budget.Known(run.State.Customer)
	default:
		return budget.Stranger(run.Handle())
	}
}

// LimitOf is a tenant's limit for a kind of budget. A quarter of a total is for
// the browsers that the customer is known in (docs/decisions/0011).
func LimitOf(t *tenant.Tenant, kind string) budget.Limit {
	limits := t.Settings.Limits
	limit := func(perHour, total int) budget.Limit {
		return budget.Limit{Window: time.Hour, PerWindow: perHour, Total: total, Reserve: max(1, total/4)}
	}
	switch kind {
	case budget.Password:
		return limit(limits.PasswordPerHour, limits.PasswordTotal)
	case budget.Code:
		return limit(limits.CodePerHour, limits.CodeTotal)
	case budget.Hash:
		return limit(hashesPerRun, 0)
	default:
		return limit(limits.SendPerHour, 0)
	}
}

// hashesPerRun is how many new passwords one run may try. Weak ones count.
const hashesPerRun = 20

// tellCrossed returns what appends the event of a limit that is just met, as
// part of the take that meets it: that is said once. One without a customer
// holds the keyed hash of the address only.
func (e *Engine) tellCrossed(run *Run, kind string) func(*sqldb.Tx) error {
	return func(tx *sqldb.Tx) error {
		data := map[string]any{"limit": kind, "known_device": run.Device != ""}
		if run.State.Customer == "" {
			data["address_hash"] = run.Handle()
		}
		return e.Log.Append(tx, event.Event{Tenant: run.Tenant.ID, Customer: run.State.Customer, Type: "signin.limited", Actor: "system", Data: data})
	}
}

// Journeys returns the names of the journeys in order.
func (e *Engine) Journeys() []string { return slices.Sorted(maps.Keys(e.set.journeys)) }

// Sweep deletes the markers of journeys that were finished so long ago that
// their states have expired. It returns how many it deleted, up to limit.
func (e *Engine) Sweep(ctx context.Context, limit int) (int64, error) {
	var deleted int64
	err := e.DB.Write(ctx, func(tx *sqldb.Tx) error {
		var err error
		deleted, err = tx.Exec(`DELETE FROM journey_run WHERE (tenant, customer, run) IN
			(SELECT tenant, customer, run FROM journey_run WHERE expires_at < $1 LIMIT $2)`, tx.Now(), limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("delete the markers of finished journeys: %w", err)
	}
	return deleted, nil
}

// Mark spends the run as part of tx: the first finish wins, later ones get
// ErrFinished, whoever they are for. The marker stands beside the customer id
// that was minted for the run, which is the same for all that contend, and is
// the new account's at a sign-up. It is kept until the state has expired, and 2
// hours.
func Mark(tx *sqldb.Tx, run *Run) error {
	made, err := tx.Exec(`INSERT INTO journey_run (tenant, customer, run, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		run.Tenant.ID, run.State.Minted, run.State.Run, time.Unix(run.State.Expires, 0).Add(2*time.Hour))
	if err != nil {
		return fmt.Errorf("mark the journey as finished: %w", err)
	}
	if made == 0 {
		return ErrFinished
	}
	return nil
}

// EraseCustomer deletes what is kept of a customer's journeys.
func EraseCustomer(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	tx.Queue(`DELETE FROM journey_run WHERE tenant = $1 AND customer = $2`, tenant, customer)
	return nil
}
