package adminapi

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
)

// eventView is an event as it is answered. Customers' personal parts stay
// sealed; what an operator said of an act, which the tenant's key seals, is
// shown to operators.
type eventView struct {
	event.Record
	Operator json.RawMessage `json:"operator,omitempty"`
}

// listEvents lists what happened in a tenant.
func (a *api) listEvents(w http.ResponseWriter, r *http.Request) error {
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	given, err := parameters(r, "after", "limit", "customer", "type", "since", "until", "order")
	if err != nil {
		return err
	}
	after, limit, err := paging[id.Event](given)
	if err != nil {
		return err
	}
	filter := event.Filter{Type: given["type"]}
	if text := given["customer"]; text != "" {
		if filter.Customer, err = id.Parse[id.Customer](text); err != nil {
			return badRequest("The parameter customer is not the id of a customer.")
		}
	}
	for name, into := range map[string]*time.Time{"since": &filter.Since, "until": &filter.Until} {
		if text := given[name]; text != "" {
			if *into, err = time.Parse(time.RFC3339, text); err != nil {
				return badRequest("The parameter " + name + " is a time such as 2026-01-31T12:00:00Z.")
			}
		}
	}
	which := event.Page{After: after, Limit: limit}
	switch given["order"] {
	case "", "newest":
	case "oldest":
		which.OldestFirst = true
	default:
		return badRequest("The parameter order is newest or oldest.")
	}
	found, err := a.Log.Read(r.Context(), t.ID, filter, which)
	if err != nil {
		return err
	}
	keys, err := a.Ring.Tenant(r.Context(), t.ID)
	if err != nil {
		return err
	}
	answer := page[eventView]{Items: []eventView{}, Next: next(found, limit, func(e event.Record) string { return string(e.ID) })}
	for _, e := range found {
		view := eventView{Record: e}
		if e.Personal != nil && e.Personal.Holder == "" {
			if view.Operator, err = e.Personal.Open(keys); err != nil {
				return err
			}
		}
		answer.Items = append(answer.Items, view)
	}
	return respond(w, http.StatusOK, answer)
}
