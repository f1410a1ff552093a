package adminapi

import (
	"context"
	"encoding/json"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
)

func (a *api) eventOperations() {
	declare(a, operation{
		id: "listEvents", method: get, path: ofTenant + "/events", noun: events, scope: "events:read",
		summary:     "List what happened in a tenant",
		description: "The newest first, or the oldest. Customers' personal parts stay sealed; what an operator said of an act is shown.",
		errors:      []int{404},
	}, a.listEvents)
}

// eventView is an event as it is answered. Customers' personal parts stay
// sealed; what an operator said of an act, which the tenant's key seals, is
// shown to operators.
type eventView struct {
	event.Record
	Operator json.RawMessage `json:"operator,omitempty" doc:"What the operator said of it."`
}

func (a *api) listEvents(ctx context.Context, in *struct {
	TenantPath
	Paging
	Customer string `query:"customer" doc:"Only those of this customer."`
	Type     string `query:"type" doc:"Only those of this type." example:"customer.status.changed"`
	Since    string `query:"since" doc:"Only those from then on (RFC 3339)." example:"2026-01-31T12:00:00Z"`
	Until    string `query:"until" doc:"Only those before then (RFC 3339)."`
	Order    string `query:"order" enum:"newest,oldest" default:"newest" doc:"Which come first."`
},
) (*answer[page[eventView]], error) {
	t := tenantOf(ctx)
	after, err := afterOf[id.Event](in.Paging)
	if err != nil {
		return nil, err
	}
	filter := event.Filter{Type: in.Type}
	if in.Customer != "" {
		if filter.Customer, err = id.Parse[id.Customer](in.Customer); err != nil {
			return nil, badRequest("The parameter customer is not the id of a customer.")
		}
	}
	if filter.Since, err = timeOf("since", in.Since); err != nil {
		return nil, err
	}
	if filter.Until, err = timeOf("until", in.Until); err != nil {
		return nil, err
	}
	found, err := a.Log.Read(ctx, t.ID, filter, event.Page{After: after, Limit: in.Limit, OldestFirst: in.Order == "oldest"})
	if err != nil {
		return nil, err
	}
	keys, err := a.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	p := pageOf(found, in.Limit, func(e event.Record) string { return string(e.ID) }, func(e event.Record) eventView { return eventView{Record: e} })
	for n := range p.Items {
		if said := p.Items[n].Personal; said != nil && said.Holder == "" {
			if p.Items[n].Operator, err = said.Open(keys); err != nil {
				return nil, err
			}
		}
	}
	return answerWith(p)
}

// timeOf reads a parameter that is a time; none is the zero time.
func timeOf(name, text string) (at time.Time, err error) {
	if text == "" {
		return at, nil
	}
	if at, err = time.Parse(time.RFC3339, text); err != nil {
		return at, badRequest("The parameter " + name + " is a time such as 2026-01-31T12:00:00Z.")
	}
	return at, nil
}
