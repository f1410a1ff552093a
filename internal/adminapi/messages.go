package adminapi

import (
	"net/http"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/notify"
)

// messageView is a message that was given up. Nothing of what it said, nor
// whom to, is left.
type messageView struct {
	ID       id.Message      `json:"id"`
	Customer id.Customer     `json:"customer,omitempty"`
	Template notify.Template `json:"template"`
	Reason   string          `json:"reason"`
	Attempts int             `json:"attempts"`
	At       time.Time       `json:"at"`
}

// maxMessages is the longest page of messages.
const maxMessages = 200

// listUndelivered lists the messages of the last seven days that were given up.
func (a *api) listUndelivered(w http.ResponseWriter, r *http.Request) error {
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	given, err := parameters(r, "after", "limit")
	if err != nil {
		return err
	}
	after, limit, err := paging[id.Message](given)
	if err != nil {
		return err
	}
	limit = min(limit, maxMessages)
	found, err := a.Outbox.Undelivered(r.Context(), t.ID, after, limit)
	if err != nil {
		return err
	}
	answer := page[messageView]{Items: []messageView{}, Next: next(found, limit, func(u notify.Undelivered) string { return string(u.ID) })}
	for _, u := range found {
		answer.Items = append(answer.Items, messageView(u))
	}
	return respond(w, http.StatusOK, answer)
}
