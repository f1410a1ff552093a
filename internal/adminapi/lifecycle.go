package adminapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/problem"
)

func (a *api) lifecycleOperations() {
	declare(a, operation{
		id: "inviteCustomer", method: post, path: ofTenant + "/invitations", noun: customers, scope: "customers:write", status: http.StatusCreated,
		summary: "Invite a customer",
		description: "Sends an invitation to an address. The account is active once the customer has proved the address by the link; until then it " +
			"finds nobody, and it is erased when the invitation runs out. Whoever is invited already is sent another one.",
		errors: []int{404, 409, 429},
	}, a.inviteCustomer)
	declare(a, operation{
		id: "showCustomerStatus", method: get, path: ofCustomer + "/status", noun: customers, scope: "customers:read",
		summary:     "Show a customer's status and how it came about",
		description: "Since when, until when, which statuses may follow, and the changes, the newest first.",
		errors:      []int{404, 410},
	}, a.showStatus)
}

type invited struct {
	Email   string         `json:"email" example:"gus@example.com"`
	Profile map[string]any `json:"profile,omitempty" doc:"As the profile schema in the tenant's settings has it."`
}

func (a *api) inviteCustomer(ctx context.Context, in *struct {
	TenantPath
	Body invited
},
) (*versioned[customerView], error) {
	t := tenantOf(ctx)
	address, err := recognise(t, identifier.Email, in.Body.Email)
	if err != nil {
		return nil, problem.InvalidInput(problem.Field{Pointer: "/email", Detail: err.Error()})
	}
	if faults := profileFaults(t, "/profile", in.Body.Profile); len(faults) > 0 {
		return nil, problem.InvalidInput(faults...)
	}
	// An address is written to no more often than by other invitations.
	keys, err := a.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	verdict, err := a.Budgets.Take(ctx, t.ID, organization.BudgetKind, budget.Stranger(keys.Lookup(string(address.Kind), address.Key)[0]),
		budget.Limit{Window: time.Hour, PerWindow: t.Settings.Limits.SendPerHour})
	if err != nil {
		return nil, err
	}
	if !verdict.Allowed {
		return nil, &organization.LimitedError{Until: verdict.Until}
	}
	who, _, err := a.Directory.Invite(ctx, customer.NewCustomer{Tenant: t.ID, Profile: in.Body.Profile, Actor: actor(ctx),
		Identifiers: []customer.NewIdentifier{{Normalised: address}}})
	if err != nil {
		return nil, err
	}
	return a.answerCustomer(ctx, who)
}

// lifeView is a customer's status with its history.
type lifeView struct {
	ID      id.Customer       `json:"id"`
	Status  customer.Status   `json:"status"`
	Reason  string            `json:"reason,omitempty"`
	Since   time.Time         `json:"since,omitzero"`
	Until   time.Time         `json:"until,omitzero" doc:"When it ends by itself: for closed, invited and dormant, by erasing the account."`
	Next    []customer.Status `json:"next" doc:"The statuses that may follow. Erased may follow all."`
	History []eventView       `json:"history" doc:"The newest first."`
}

// lifeEvents are the events that tell of an account's life.
var lifeEvents = []string{"customer.created", "customer.invited", "customer.status.changed", "customer.status.prolonged", "customer.warned", "customer.unreachable"}

// maxHistory is how many events of each type are shown.
const maxHistory = 50

func (a *api) showStatus(ctx context.Context, in *struct{ CustomerPath }) (*answer[lifeView], error) {
	t := tenantOf(ctx)
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	found, err := a.Directory.Get(ctx, t.ID, c)
	if err != nil {
		return nil, err
	}
	keys, err := a.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	view := lifeView{ID: c, Status: found.Status, Reason: found.Reason, Since: found.StatusAt, Until: found.Until,
		Next: append([]customer.Status{}, found.Status.Next()...), History: []eventView{}}
	for _, kind := range lifeEvents {
		read, err := a.Log.Read(ctx, t.ID, event.Filter{Customer: c, Type: kind}, event.Page{Limit: maxHistory})
		if err != nil {
			return nil, err
		}
		for _, e := range read {
			shown := eventView{Record: e}
			if e.Personal != nil && e.Personal.Holder == "" {
				if shown.Operator, err = e.Personal.Open(keys); err != nil {
					return nil, err
				}
			}
			view.History = append(view.History, shown)
		}
	}
	slices.SortFunc(view.History, func(a, b eventView) int {
		if a.Version != b.Version {
			return int(b.Version - a.Version)
		}
		return int(b.Sequence - a.Sequence)
	})
	return answerWith(view)
}
