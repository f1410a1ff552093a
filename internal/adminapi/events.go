package adminapi

import (
	"net/http"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
)

// listEvents lists what happened in a tenant. The personal parts stay sealed.
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
	answer := page[event.Record]{Items: found, Next: next(found, limit, func(e event.Record) string { return string(e.ID) })}
	if answer.Items == nil {
		answer.Items = []event.Record{}
	}
	return respond(w, http.StatusOK, answer)
}
