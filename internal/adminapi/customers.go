package adminapi

import (
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

// customerView is a customer as it is answered.
type customerView struct {
	ID          id.Customer      `json:"id"`
	Status      customer.Status  `json:"status"`
	Reason      string           `json:"reason,omitempty"`
	Revision    int64            `json:"revision"`
	Version     int64            `json:"version"`
	CreatedAt   time.Time        `json:"created_at"`
	UpdatedAt   time.Time        `json:"updated_at"`
	Identifiers []identifierView `json:"identifiers"`
	Profile     map[string]any   `json:"profile"`
}

type identifierView struct {
	ID         id.Identifier   `json:"id"`
	Kind       identifier.Kind `json:"kind"`
	Value      string          `json:"value"`
	Verified   bool            `json:"verified"`
	VerifiedAt time.Time       `json:"verified_at,omitzero"`
}

func (a *api) respondCustomer(w http.ResponseWriter, r *http.Request, status int, t id.Tenant, c id.Customer) error {
	found, err := a.Directory.Get(r.Context(), t, c)
	if err != nil {
		return err
	}
	view := customerView{
		ID: found.ID, Status: found.Status, Reason: found.Reason, Revision: found.Revision, Version: found.Version,
		CreatedAt: found.CreatedAt, UpdatedAt: found.UpdatedAt, Identifiers: []identifierView{}, Profile: found.Profile,
	}
	for _, it := range found.Identifiers {
		view.Identifiers = append(view.Identifiers, identifierView{it.ID, it.Kind, it.Display, it.Verified, it.VerifiedAt})
	}
	if view.Profile == nil {
		view.Profile = map[string]any{}
	}
	return respond(w, status, view)
}

func (a *api) showCustomer(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, c, err := a.customerOf(r)
	if err != nil {
		return err
	}
	return a.respondCustomer(w, r, http.StatusOK, t.ID, c)
}

// findCustomer returns the one customer who has proved an identifier.
func (a *api) findCustomer(w http.ResponseWriter, r *http.Request) error {
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	given, err := parameters(r, "identifier", "kind")
	if err != nil {
		return err
	}
	if given["identifier"] == "" {
		return badRequest("The parameter identifier is missing: an e-mail address, phone number, user name or declared identifier.")
	}
	asked, err := recognise(t, identifier.Kind(given["kind"]), given["identifier"])
	if err != nil {
		return badRequest("The parameter identifier: " + err.Error() + ".")
	}
	keys, err := a.Ring.Tenant(r.Context(), t.ID)
	if err != nil {
		return err
	}
	c, found, err := a.Directory.Find(r.Context(), t.ID, keys, asked)
	if err != nil {
		return err
	}
	if !found {
		return problem.NotFound("No customer of the tenant has proved that identifier.")
	}
	return a.respondCustomer(w, r, http.StatusOK, t.ID, c)
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
	Identifiers []newIdentifier `json:"identifiers"`
	Profile     map[string]any  `json:"profile"`
}

type newIdentifier struct {
	Kind     identifier.Kind `json:"kind"` // "" for what the value seems to be
	Value    string          `json:"value"`
	Verified bool            `json:"verified"` // the operator knows it to be the customer's
}

// maxIdentifiers is how many identifiers an account is made with at most.
const maxIdentifiers = 20

func (a *api) createCustomer(w http.ResponseWriter, r *http.Request) error {
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	if _, err := parameters(r); err != nil {
		return err
	}
	var n newCustomer
	if err := decode(w, r, &n); err != nil {
		return err
	}
	made, err := n.read(t)
	if err != nil {
		return err
	}
	made.Tenant, made.Actor, made.Lifecycle = t.ID, Operator, t.Settings.Lifecycle
	made.Customer = id.New[id.Customer](a.Clock.Now(), a.Random)
	keys, err := a.Ring.Tenant(r.Context(), t.ID)
	if err != nil {
		return err
	}
	// The customer's key is durable before the transaction that first uses it.
	key, err := a.Ring.CreateCustomer(r.Context(), t.ID, made.Customer)
	if err != nil {
		return err
	}
	err = a.DB.Write(r.Context(), func(tx *sqldb.Tx) error { return a.Directory.Create(tx, keys, key, made) })
	if err != nil {
		return err
	}
	return a.respondCustomer(w, r, http.StatusCreated, t.ID, made.Customer)
}

// read checks what an account is to be made of.
func (n newCustomer) read(t *tenant.Tenant) (customer.NewCustomer, error) {
	made := customer.NewCustomer{Profile: n.Profile}
	var faults []problem.Field
	if len(n.Identifiers) == 0 || len(n.Identifiers) > maxIdentifiers {
		faults = append(faults, problem.Field{Pointer: "/identifiers", Detail: fmt.Sprintf("has 1 to %d entries", maxIdentifiers)})
	}
	for i, it := range n.Identifiers {
		read, err := recognise(t, it.Kind, it.Value)
		if err != nil {
			faults = append(faults, problem.Field{Pointer: fmt.Sprintf("/identifiers/%d/value", i), Detail: err.Error()})
			continue
		}
		made.Identifiers = append(made.Identifiers, customer.NewIdentifier{Normalised: read, Verified: it.Verified})
	}
	faults = append(faults, profileFaults(t, n.Profile)...)
	if len(faults) > 0 {
		return customer.NewCustomer{}, problem.InvalidInput(faults...)
	}
	return made, nil
}

func profileFaults(t *tenant.Tenant, profile map[string]any) (faults []problem.Field) {
	if profile == nil {
		profile = map[string]any{}
	}
	for _, f := range t.Schema.Validate(profile) {
		pointer := "/profile"
		if f.Name != "" {
			pointer += "/" + f.Name
		}
		faults = append(faults, problem.Field{Pointer: pointer, Detail: f.Reason})
	}
	return faults
}

// changedProfile replaces a profile.
type changedProfile struct {
	Revision int64          `json:"revision"` // of the customer, as it was read
	Profile  map[string]any `json:"profile"`
}

func (a *api) setProfile(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, c, err := a.customerOf(r)
	if err != nil {
		return err
	}
	var wanted changedProfile
	if err := decode(w, r, &wanted); err != nil {
		return err
	}
	faults := profileFaults(t, wanted.Profile)
	if wanted.Revision < 1 {
		faults = append(faults, problem.Field{Pointer: "/revision", Detail: "is the revision of the customer as you have read it"})
	}
	if wanted.Profile == nil {
		faults = append(faults, problem.Field{Pointer: "/profile", Detail: "is missing; {} empties it"})
	}
	if len(faults) > 0 {
		return problem.InvalidInput(faults...)
	}
	key, err := a.Directory.Key(r.Context(), t.ID, c)
	if err != nil {
		return err
	}
	err = a.DB.Write(r.Context(), func(tx *sqldb.Tx) error {
		return a.Directory.SetProfile(tx, key, t.ID, c, wanted.Revision, wanted.Profile, Operator)
	})
	if err != nil {
		return err
	}
	return a.respondCustomer(w, r, http.StatusOK, t.ID, c)
}

// changedStatus is why a status is changed.
type changedStatus struct {
	Reason string `json:"reason"`
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
func (a *api) setStatus(status customer.Status, from ...customer.Status) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		return a.act(w, r, status, func(tx *sqldb.Tx, t id.Tenant, c id.Customer, change customer.StatusChange) (statusView, error) {
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
func (a *api) unlock(w http.ResponseWriter, r *http.Request) error {
	return a.act(w, r, customer.Active, func(tx *sqldb.Tx, t id.Tenant, c id.Customer, change customer.StatusChange) (statusView, error) {
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
		return now, a.Log.Append(tx, event.Event{Tenant: t, Customer: c, Type: "customer.limits.cleared", Actor: Operator})
	})
}

// act does something to a customer in one transaction, which may change his
// status to the given one for the reason that was told.
func (a *api) act(w http.ResponseWriter, r *http.Request, status customer.Status, do func(tx *sqldb.Tx, t id.Tenant, c id.Customer, change customer.StatusChange) (statusView, error)) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, c, err := a.customerOf(r)
	if err != nil {
		return err
	}
	var wanted changedStatus
	if err := decode(w, r, &wanted); err != nil {
		return err
	}
	if len(wanted.Reason) > maxReason {
		return problem.InvalidInput(problem.Field{Pointer: "/reason", Detail: fmt.Sprintf("has %d bytes at most", maxReason)})
	}
	change, err := a.Directory.PrepareStatus(r.Context(), t.ID, c, status, wanted.Reason, Operator)
	if err != nil {
		return err
	}
	var now statusView
	err = a.DB.Write(r.Context(), func(tx *sqldb.Tx) (err error) {
		now, err = do(tx, t.ID, c, change)
		return err
	})
	if errors.Is(err, customer.ErrNotAllowed) {
		return problem.Conflict("The customer's present status does not take this: only who is suspended is activated, and who was erased stays so. Nothing was changed.").Because(err)
	}
	if err != nil {
		return err
	}
	return respond(w, http.StatusOK, now)
}

// eraseCustomer destroys a customer for good. It may be repeated.
func (a *api) eraseCustomer(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, c, err := a.customerOf(r)
	if err != nil {
		return err
	}
	if err := decode(w, r, &struct{}{}); err != nil {
		return err
	}
	if err := a.Directory.Erase(r.Context(), t.ID, c, Operator); err != nil {
		return err
	}
	return respond(w, http.StatusOK, statusView{ID: c, Status: customer.Erased})
}
