package adminapi

import (
	"context"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/mailcheck"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Mail looks after whether mail arrives.
type Mail interface {
	// CheckMail looks up what makes mail of a tenant's sender be believed.
	CheckMail(ctx context.Context, t *tenant.Tenant) (sender string, findings []mailcheck.Finding, err error)
	// TestMail sends a message at once. An error says why it did not leave.
	TestMail(ctx context.Context, t *tenant.Tenant, to, lang string) error
}

func (a *api) messageOperations() {
	a.messageTextOperations()
	declare(a, operation{
		id: "listWaitingMessages", method: get, path: ofTenant + "/waiting", noun: messages, scope: "messages:read",
		summary:     "List messages that have not left yet",
		description: "Nothing of what they say, nor whom to. What was sent is not listed: nothing is left of it.", errors: []int{404},
	}, a.listWaiting)
	declare(a, operation{
		id: "listUndeliveredMessages", method: get, path: ofTenant + "/undelivered", noun: messages, scope: "messages:read",
		summary: "List messages that were given up", description: "Those of the last seven days. Nothing of what one said, nor whom to, is left.", errors: []int{404},
	}, a.listUndelivered)
	declare(a, operation{
		id: "checkMail", method: get, path: ofTenant + "/mail/check", noun: messages, scope: "messages:read",
		summary:     "Check a sender's domain",
		description: "Looks up SPF, DKIM, DMARC and MX of the domain that the tenant's mail comes from, and says of each how it stands, what that means, and which record to add.", errors: []int{404, 409},
	}, a.checkMail)
	declare(a, operation{
		id: "testMail", method: post, path: ofTenant + "/mail/test", noun: messages, scope: "messages:write", status: 200,
		summary:     "Send a test message",
		description: "In the tenant's look and from its sender, with a code that is good for nothing, at once: what the mail server or provider says of it is answered.", errors: []int{404, 409},
	}, a.testMail)
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

// waitingView is a message that has not left yet, without what it says and whom
// to.
type waitingView struct {
	ID       id.Message      `json:"id"`
	Customer id.Customer     `json:"customer,omitempty"`
	Template notify.Template `json:"template" doc:"The kind of message."`
	Attempts int             `json:"attempts"`
	Reason   string          `json:"reason,omitempty" doc:"Why it did not leave at the last attempt."`
	Since    time.Time       `json:"since"`
	Next     time.Time       `json:"next_attempt_at"`
	Expires  time.Time       `json:"expires_at" doc:"From then on it is of no use and is not sent."`
}

func (a *api) listWaiting(ctx context.Context, in *struct {
	TenantPath
	Paging
},
) (*answer[page[waitingView]], error) {
	after, err := afterOf[id.Message](in.Paging)
	if err != nil {
		return nil, err
	}
	limit := min(in.Limit, maxMessages)
	found, err := a.Outbox.Unsent(ctx, tenantOf(ctx).ID, after, limit)
	if err != nil {
		return nil, err
	}
	return answerWith(pageOf(found, limit, func(w notify.Unsent) string { return string(w.ID) }, func(w notify.Unsent) waitingView { return waitingView(w) }))
}

// mailCheckView is what was found of a sender's domain.
type mailCheckView struct {
	Sender   string              `json:"sender" doc:"Whom the tenant's mail comes from."`
	Findings []mailcheck.Finding `json:"findings"`
}

func (a *api) checkMail(ctx context.Context, _ *struct{ TenantPath }) (*answer[mailCheckView], error) {
	sender, findings, err := a.Mail.CheckMail(ctx, tenantOf(ctx))
	if err != nil {
		return nil, err
	}
	if sender == "" {
		return nil, problem.Conflict("The tenant's mail has no sender. Set mail.from_address of its brand, or smtp.from of the installation.")
	}
	return answerWith(mailCheckView{sender, findings})
}

// sentView says that a message left.
type sentView struct {
	Sent bool `json:"sent" doc:"Whether the mail server or provider took it over."`
}

func (a *api) testMail(ctx context.Context, in *struct {
	TenantPath
	Body struct {
		To   string `json:"to" doc:"One e-mail address." example:"you@example.com"`
		Lang string `json:"lang,omitempty" doc:"In which language; the tenant's first unless told."`
	}
},
) (*answer[sentView], error) {
	t := tenantOf(ctx)
	if notify.CheckAddress(in.Body.To) != nil {
		return nil, problem.InvalidInput(problem.Field{Pointer: "/to", Detail: "It is not one e-mail address."})
	}
	if in.Body.Lang == "" {
		in.Body.Lang = t.Settings.Languages[0]
	}
	if err := a.Mail.TestMail(ctx, t, in.Body.To, in.Body.Lang); err != nil {
		return nil, problem.Conflict("The message did not leave: " + notify.ReasonOf(err) + ". Nothing was changed. See docs/messages.md for what to do.").Because(err)
	}
	err := a.DB.Write(ctx, func(tx *sqldb.Tx) error {
		return a.Log.Append(tx, event.Event{Tenant: t.ID, Type: "mail.tested", Actor: actor(ctx)})
	})
	if err != nil {
		return nil, err
	}
	return answerWith(sentView{true})
}
