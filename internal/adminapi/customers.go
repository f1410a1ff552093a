package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const ofCustomer = ofTenant + "/customers/{customer}"

func (a *api) customerOperations() {
	declare(a, operation{
		id: "findCustomer", method: get, path: ofTenant + "/customers/by-identifier", noun: customers, scope: "customers:read",
		summary:     "Find a customer by an identifier",
		description: "The one customer who has proved that the identifier is theirs. What nobody has proved finds nobody.",
		errors:      []int{404},
	}, a.findCustomer)
	declare(a, operation{
		id: "listCustomers", method: get, path: ofTenant + "/customers", noun: customers, scope: "customers:read",
		summary:     "List a tenant's customers",
		description: "In the order of their making, without what is personal: that is sealed with each one's key, and shown for one at a time.",
		errors:      []int{404},
	}, a.listCustomers)
	declare(a, operation{
		id: "createCustomer", method: post, path: ofTenant + "/customers", noun: customers, scope: "customers:write", status: http.StatusCreated,
		summary:     "Create a customer",
		description: "An account without a password: customers choose their own.",
		errors:      []int{404, 409},
	}, a.createCustomer)
	declare(a, operation{
		id: "showCustomer", method: get, path: ofCustomer, noun: customers, scope: "customers:read",
		summary: "Show a customer", description: "Status, identifiers and profile. The version is that of the identifiers and the profile.", errors: []int{404, 410},
	}, a.showCustomer)
	a.profileOperations()

	act := func(name, summary, description string, do func(context.Context, *customerAct) (*answer[statusView], error)) {
		declare(a, operation{
			id: name + "Customer", method: post, path: ofCustomer + "/" + name, noun: customers, scope: "customers:write",
			summary: summary, description: description, errors: []int{404, 409, 410},
		}, do)
	}
	act("lock", "Lock a customer", "Nobody signs in to the account until it is unlocked, or until the time that is given. All sessions end, and the customer is told by mail. Who is locked already gets the new end.", a.setStatus(customer.Locked))
	act("unlock", "Unlock a customer", "Ends a lock, and forgets all wrong guesses and sent messages that were counted, whatever the status.", a.unlock)
	act("suspend", "Suspend a customer", "Nobody signs in to the account until it is activated, or until the time that is given. All sessions end.", a.setStatus(customer.Suspended))
	act("activate", "End a customer's suspension", "The customer may sign in again.", a.setStatus(customer.Active, customer.Suspended))
	act("close", "Close a customer's account", "All sessions and tokens end, and the account is erased when the tenant's lifecycle.close_window is over. Until then the customer may sign in and keep it. The customer is told by mail.", a.setStatus(customer.Closed))
	act("reopen", "Reopen a closed account", "The customer may sign in again, and nothing is erased.", a.setStatus(customer.Active, customer.Closed))
	declare(a, operation{
		id: "eraseCustomer", method: post, path: ofCustomer + "/erase", noun: customers, scope: "customers:write",
		summary:     "Erase a customer",
		description: "Destroys the customer's key and everything that is kept of the customer, for good. It may be repeated.",
		errors:      []int{404, 409},
	}, a.eraseCustomer)
}

// customerView is a customer as it is answered.
type customerView struct {
	ID          id.Customer      `json:"id"`
	Status      customer.Status  `json:"status"`
	Reason      string           `json:"reason,omitempty" doc:"Why the status is what it is."`
	Since       time.Time        `json:"status_since,omitzero" doc:"Since when the status is so."`
	Until       time.Time        `json:"status_until,omitzero" doc:"When it ends by itself."`
	Revision    int64            `json:"revision" doc:"Of the profile and the identifiers."`
	Version     int64            `json:"version" doc:"Grows with every event of the customer."`
	CreatedAt   time.Time        `json:"created_at"`
	UpdatedAt   time.Time        `json:"updated_at"`
	Identifiers []identifierView `json:"identifiers"`
	Profile     map[string]any   `json:"profile" doc:"As the profile schema in the tenant's settings has it."`
}

type identifierView struct {
	ID         id.Identifier   `json:"id"`
	Kind       identifier.Kind `json:"kind" example:"email"`
	Value      string          `json:"value" example:"ana@example.com"`
	Verified   bool            `json:"verified"`
	VerifiedAt time.Time       `json:"verified_at,omitzero"`
	// Undeliverable is there while messages to it come back.
	Undeliverable *undeliverableView `json:"undeliverable,omitempty" doc:"There while messages to it come back."`
}

type undeliverableView struct {
	Reason string    `json:"reason" enum:"bounced,complained"`
	At     time.Time `json:"at"`
}

func viewOf(it customer.Identifier) identifierView {
	view := identifierView{ID: it.ID, Kind: it.Kind, Value: it.Display, Verified: it.Verified, VerifiedAt: it.VerifiedAt}
	if it.Undeliverable != "" {
		view.Undeliverable = &undeliverableView{it.Undeliverable, it.UndeliverableAt}
	}
	return view
}

func (a *api) answerCustomer(ctx context.Context, c id.Customer) (*versioned[customerView], error) {
	found, err := a.Directory.Get(ctx, tenantOf(ctx).ID, c)
	if err != nil {
		return nil, err
	}
	view := customerView{
		ID: found.ID, Status: found.Status, Reason: found.Reason, Since: found.StatusAt, Until: found.Until, Revision: found.Revision, Version: found.Version,
		CreatedAt: found.CreatedAt, UpdatedAt: found.UpdatedAt, Identifiers: []identifierView{}, Profile: found.Profile,
	}
	for _, it := range found.Identifiers {
		view.Identifiers = append(view.Identifiers, viewOf(it))
	}
	if view.Profile == nil {
		view.Profile = map[string]any{}
	}
	return &versioned[customerView]{etag(found.Revision), view}, nil
}

func (a *api) showCustomer(ctx context.Context, in *struct{ CustomerPath }) (*versioned[customerView], error) {
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	return a.answerCustomer(ctx, c)
}

// customerEntry is a customer in a list.
type customerEntry struct {
	ID        id.Customer     `json:"id"`
	Status    customer.Status `json:"status"`
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`
}

func (a *api) listCustomers(ctx context.Context, in *struct {
	TenantPath
	Paging
},
) (*answer[page[customerEntry]], error) {
	after, err := afterOf[id.Customer](in.Paging)
	if err != nil {
		return nil, err
	}
	found, err := a.Directory.List(ctx, tenantOf(ctx).ID, after, in.Limit)
	if err != nil {
		return nil, err
	}
	return answerWith(pageOf(found, in.Limit, func(e customer.Entry) string { return string(e.ID) }, func(e customer.Entry) customerEntry { return customerEntry(e) }))
}

func (a *api) findCustomer(ctx context.Context, in *struct {
	TenantPath
	Identifier string `query:"identifier" required:"true" doc:"An e-mail address, phone number, user name or declared identifier." example:"ana@example.com"`
	Kind       string `query:"kind" doc:"The identifier's kind; without one, what it seems to be." example:"email"`
},
) (*versioned[customerView], error) {
	t := tenantOf(ctx)
	asked, err := recognise(t, identifier.Kind(in.Kind), in.Identifier)
	if err != nil {
		return nil, badRequest("The parameter identifier: " + err.Error() + ".")
	}
	keys, err := a.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	c, found, err := a.Directory.Find(ctx, t.ID, keys, asked)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, problem.NotFound("No customer of the tenant has proved that identifier.")
	}
	return a.answerCustomer(ctx, c)
}

// recognise reads an identifier of a kind, or of whatever kind it seems to be.
// One that the tenant declares goes before a user name.
func recognise(t *tenant.Tenant, kind identifier.Kind, raw string) (identifier.Normalised, error) {
	normalise := func(kind identifier.Kind) (identifier.Normalised, error) {
		return identifier.Normalise(kind, raw, identifier.Options{Region: t.Settings.Region, Rule: t.Rules[kind]})
	}
	if kind != "" {
		return normalise(kind)
	}
	guess := identifier.Guess(raw)
	if guess == identifier.Username || guess == identifier.Phone {
		for _, declared := range t.Settings.Identifiers {
			if n, err := normalise(identifier.Declared(declared.Name)); err == nil {
				return n, nil
			}
		}
	}
	return normalise(guess)
}

// newCustomer is what an account is made of. There is no password in it:
// customers choose their own.
type newCustomer struct {
	Identifiers []newIdentifier `json:"identifiers" minItems:"1" maxItems:"20"`
	Profile     map[string]any  `json:"profile,omitempty" doc:"As the profile schema in the tenant's settings has it."`
}

type newIdentifier struct {
	Kind     identifier.Kind `json:"kind,omitempty" doc:"Without one, what the value seems to be." example:"email"`
	Value    string          `json:"value" example:"ana@example.com"`
	Verified bool            `json:"verified,omitempty" doc:"Whether you know it to be the customer's: only then does it find the customer."`
}

func (a *api) createCustomer(ctx context.Context, in *struct {
	TenantPath
	Body newCustomer
},
) (*versioned[customerView], error) {
	t := tenantOf(ctx)
	made, err := in.Body.read(t)
	if err != nil {
		return nil, err
	}
	made.Tenant, made.Actor, made.Lifecycle = t.ID, actor(ctx), t.Settings.Lifecycle
	made.Customer = id.New[id.Customer](a.Clock.Now(), a.Random)
	keys, err := a.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	// The customer's key is durable before the transaction that first uses it.
	key, err := a.Ring.CreateCustomer(ctx, t.ID, made.Customer)
	if err != nil {
		return nil, err
	}
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) error { return a.Directory.Create(tx, keys, key, made) })
	if err != nil {
		return nil, err
	}
	return a.answerCustomer(ctx, made.Customer)
}

// read checks what an account is to be made of.
func (n newCustomer) read(t *tenant.Tenant) (customer.NewCustomer, error) {
	made := customer.NewCustomer{Profile: n.Profile}
	var faults []problem.Field
	for i, it := range n.Identifiers {
		read, err := recognise(t, it.Kind, it.Value)
		if err != nil {
			faults = append(faults, problem.Field{Pointer: fmt.Sprintf("/identifiers/%d/value", i), Detail: err.Error()})
			continue
		}
		made.Identifiers = append(made.Identifiers, customer.NewIdentifier{Normalised: read, Verified: it.Verified})
	}
	faults = append(faults, profileFaults(t, "/profile", n.Profile)...)
	if len(faults) > 0 {
		return customer.NewCustomer{}, problem.InvalidInput(faults...)
	}
	return made, nil
}

// customerAct is something that is done to a customer, for a reason.
type customerAct struct {
	CustomerPath
	Body *changedStatus
}

// changedStatus is why a status is changed.
type changedStatus struct {
	Reason string    `json:"reason,omitempty" doc:"For other operators; 500 bytes at most. It is sealed with the customer's key."`
	Until  time.Time `json:"until,omitzero" doc:"When it ends by itself (RFC 3339): of lock and suspend alone." example:"2026-01-31T12:00:00Z"`
}

// maxReason is how long a reason may be, in bytes.
const maxReason = 500

// statusView is what came of a change of status.
type statusView struct {
	ID       id.Customer     `json:"id"`
	Status   customer.Status `json:"status"`
	Sessions int             `json:"sessions_ended"`
}

// setStatus moves a customer to another status, where from are those that the
// act is for; none means any.
func (a *api) setStatus(status customer.Status, from ...customer.Status) func(context.Context, *customerAct) (*answer[statusView], error) {
	return func(ctx context.Context, in *customerAct) (*answer[statusView], error) {
		return a.act(ctx, in, status, func(tx *sqldb.Tx, t id.Tenant, c id.Customer, change customer.StatusChange) (statusView, error) {
			state, err := a.Directory.Hold(tx, t, c)
			if err != nil {
				return statusView{}, err
			}
			if len(from) > 0 && state.Status != status && !slices.Contains(from, state.Status) {
				return statusView{}, fmt.Errorf("%w: it is %s", customer.ErrNotAllowed, state.Status)
			}
			changed, err := a.Directory.ChangeStatus(tx, change)
			return statusView{ID: c, Status: status, Sessions: changed.Sessions}, err
		})
	}
}

// unlock lets a locked customer in again and forgets all wrong guesses and sent
// messages that were counted, whatever the status: an account is shut to
// guessing without being locked. One who is suspended stays so.
func (a *api) unlock(ctx context.Context, in *customerAct) (*answer[statusView], error) {
	return a.act(ctx, in, customer.Active, func(tx *sqldb.Tx, t id.Tenant, c id.Customer, change customer.StatusChange) (statusView, error) {
		state, err := a.Directory.Hold(tx, t, c)
		if err != nil {
			return statusView{}, err
		}
		if state.Status == customer.Erased {
			return statusView{}, fmt.Errorf("%w: it is %s", customer.ErrNotAllowed, state.Status)
		}
		now := statusView{ID: c, Status: state.Status}
		if state.Status == customer.Locked {
			now.Status = customer.Active
			if _, err := a.Directory.ChangeStatus(tx, change); err != nil {
				return statusView{}, err
			}
		}
		if err := a.Budgets.Clear(tx, t, c); err != nil {
			return statusView{}, err
		}
		return now, a.Log.Append(tx, event.Event{Tenant: t, Customer: c, Type: "customer.limits.cleared", Actor: actor(ctx)})
	})
}

// act does something to a customer in one transaction, which may change his
// status to the given one for the reason that was told.
func (a *api) act(ctx context.Context, in *customerAct, status customer.Status, do func(tx *sqldb.Tx, t id.Tenant, c id.Customer, change customer.StatusChange) (statusView, error)) (*answer[statusView], error) {
	t := tenantOf(ctx)
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	var why string
	var until time.Time
	if in.Body != nil {
		why, until = in.Body.Reason, in.Body.Until
	}
	if len(why) > maxReason {
		return nil, problem.InvalidInput(problem.Field{Pointer: "/reason", Detail: fmt.Sprintf("has %d bytes at most", maxReason)})
	}
	change, err := a.Directory.PrepareStatusUntil(ctx, t.ID, c, status, until, why, actor(ctx))
	if errors.Is(err, customer.ErrUntil) {
		return nil, problem.InvalidInput(problem.Field{Pointer: "/until", Detail: "is a time that is still to come, and only lock and suspend take one"})
	}
	if err != nil {
		return nil, err
	}
	var now statusView
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		now, err = do(tx, t.ID, c, change)
		return err
	})
	if errors.Is(err, customer.ErrNotAllowed) {
		return nil, problem.Conflict("The customer's present status does not take this: only who is suspended is activated, only who is closed is reopened, while there is time, and who was erased stays so. Nothing was changed.").Because(err)
	}
	if err != nil {
		return nil, err
	}
	return answerWith(now)
}

func (a *api) eraseCustomer(ctx context.Context, in *struct{ CustomerPath }) (*answer[statusView], error) {
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	if err := a.Directory.Erase(ctx, tenantOf(ctx).ID, c, actor(ctx)); err != nil {
		return nil, err
	}
	return answerWith(statusView{ID: c, Status: customer.Erased})
}
