package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/idempotency"
	"github.com/cardea-id/cardea/internal/problem"
)

// idempotencyHeader is how a request is named by its sender.
const idempotencyHeader = "Idempotency-Key"

// maxIdempotencyKey is how long such a name may be.
const maxIdempotencyKey = 255

// remembered is an answer as it is kept.
type remembered struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// once has a request that names itself done once. It returns nil where the
// request does not, and what to do with the answer where it goes on.
func (a *api) once(r *http.Request, c *call, o operation, body []byte) (finish func(*kept), replay *kept, err error) {
	names := r.Header.Values(idempotencyHeader)
	if len(names) == 0 || r.Method != post {
		return nil, nil, nil
	}
	if a.access == nil {
		return nil, nil, badRequest(idempotencyHeader + " is taken over HTTP only. Nothing was changed.")
	}
	if len(names) > 1 || names[0] == "" || len(names[0]) > maxIdempotencyKey {
		return nil, nil, badRequest(fmt.Sprintf("%s is one text of up to %d bytes. Nothing was changed.", idempotencyHeader, maxIdempotencyKey))
	}
	request := idempotency.Request{Tenant: id.SystemTenant, Sender: c.subject, Key: names[0],
		Content: fmt.Appendf(nil, "%s %s?%s\n%s", r.Method, r.URL.Path, r.URL.RawQuery, body)}
	if o.id != "eraseCustomer" { // whose answer tells nothing of the customer, and is given again afterwards
		request.Customer = customerIn(r.URL.Path)
	}
	if strings.HasSuffix(o.scope, ":read") { // it changes nothing: doing it again is as good as remembering it
		return nil, nil, nil
	}
	outcome, answer, err := a.Once.Claim(r.Context(), request)
	if err != nil {
		return nil, nil, err
	}
	switch outcome {
	case idempotency.Other:
		return nil, nil, problem.New("idempotency-key-reused", http.StatusUnprocessableEntity, "The key names another request",
			"Nothing was changed. The "+idempotencyHeader+" was sent with another request within the last 24 hours. Choose a new one for each request.")
	case idempotency.Underway:
		return nil, nil, problem.New("request-in-progress", http.StatusConflict, "The request is under way",
			"Nothing was changed by this one. A request with this "+idempotencyHeader+" is under way: repeat it in a moment for its answer. If this lasts, the server was stopped in the middle of it: look whether it had its effect.")
	case idempotency.Erased:
		return nil, nil, problem.New("erased", http.StatusGone, "The customer was erased",
			"Nothing was changed by this one. The request was answered before, of a customer who has been erased since.")
	case idempotency.Answered:
		var before remembered
		if err := json.Unmarshal(answer, &before); err != nil {
			return nil, nil, fmt.Errorf("read the remembered answer: %w", err)
		}
		replay = &kept{header: before.Header, status: before.Status}
		replay.header.Set("Idempotent-Replayed", "true")
		_, _ = replay.body.Write(before.Body) // a buffer takes everything
		return nil, replay, nil
	case idempotency.Claimed:
	}
	// What was begun ends, whether or not who asked still listens.
	ctx := context.WithoutCancel(r.Context())
	return func(k *kept) {
		if k == nil {
			if err := a.Once.Release(ctx, request); err != nil {
				a.Logger.WarnContext(ctx, "an idempotency key was not given back; it stays claimed for a day", "error", err)
			}
			return
		}
		var made struct{ ID string }
		if request.Customer == "" && json.Unmarshal(k.body.Bytes(), &made) == nil {
			request.Customer, _ = id.Parse[id.Customer](made.ID) // else it tells of something else
		}
		text, err := json.Marshal(remembered{k.status, k.header, k.body.Bytes()})
		if err == nil {
			err = a.Once.Finish(ctx, request, text)
		}
		if err != nil {
			a.Logger.WarnContext(ctx, "an answer was not remembered; the key stays claimed for a day", "error", err)
		}
	}, nil, nil
}

// customerIn is the customer that a path names, "" for none.
func customerIn(path string) id.Customer {
	_, after, found := strings.Cut(path, "/customers/")
	if !found {
		return ""
	}
	name, _, _ := strings.Cut(after, "/")
	customer, err := id.Parse[id.Customer](name)
	if err != nil {
		return ""
	}
	return customer
}

// changedNothing tells whether an error says that a request had no effect. That the
// database had too much to do may have been found after something was committed.
func changedNothing(err error, committed bool, now time.Time) bool {
	told, known := fault(err, now).(*problem.Error) //nolint:errorlint // fault returns it as it is
	return known && (told.Status < 500 || told.Code == problem.CodeBusy && !committed)
}
