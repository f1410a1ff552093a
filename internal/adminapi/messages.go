package adminapi

import (
	"context"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/notify"
)

func (a *api) messageOperations() {
	declare(a, operation{
		id: "listUndeliveredMessages", method: get, path: ofTenant + "/undelivered", noun: messages, scope: "messages:read",
		summary: "List messages that were given up", description: "Those of the last seven days. Nothing of what one said, nor whom to, is left.", errors: []int{404},
	}, a.listUndelivered)
}

// messageView is a message that was given up. Nothing of what it said, nor
// whom to, is left.
type messageView struct {
	ID       id.Message      `json:"id"`
	Customer id.Customer     `json:"customer,omitempty"`
	Template notify.Template `json:"template" doc:"The kind of message."`
	Reason   string          `json:"reason" doc:"Why it was given up."`
	Attempts int             `json:"attempts"`
	At       time.Time       `json:"at"`
}

// maxMessages is the longest page of messages.
const maxMessages = 200

func (a *api) listUndelivered(ctx context.Context, in *struct {
	TenantPath
	Paging
},
) (*answer[page[messageView]], error) {
	after, err := afterOf[id.Message](in.Paging)
	if err != nil {
		return nil, err
	}
	limit := min(in.Limit, maxMessages)
	found, err := a.Outbox.Undelivered(ctx, tenantOf(ctx).ID, after, limit)
	if err != nil {
		return nil, err
	}
	return answerWith(pageOf(found, limit, func(u notify.Undelivered) string { return string(u.ID) }, func(u notify.Undelivered) messageView { return messageView(u) }))
}
