// Package mailhook takes what providers of mail tell of bounces and complaints,
// at /hooks/mail/{provider}, and passes it on as reports of addresses.
//
// Each provider proves itself its own way, before anything it says is read.
// Whoever does not is answered the same whatever he sent. Whoever does is
// answered the same whether or not there is such a tenant, address or account.
// What passes by itself, such as a full mailbox, is no report.
//
// A report is believed to be of the time that the provider says the event is
// from: whoever sends an old one again gains nothing (see Report.At).
package mailhook

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/outgoing"
)

// MaxBody is how long a body is at most, in bytes: SendGrid's batches end at 768
// KB.
const MaxBody = 1 << 20

// Prefix is what the paths begin with.
const Prefix = "/hooks/mail/"

// Report says that messages to an address come back.
type Report struct {
	Tenant  string // its id, as went with the message; for the generic one also its name in addresses
	Address string
	Reason  string // "bounced" or "complained"
	At      time.Time
}

// Options say which providers are listened to, and what their reports do.
type Options struct {
	Provider string // whose key Secret is: "postmark", "sendgrid", "mailgun"; "" for the generic one
	Secret   string // "" listens to none of them
	Topic    string // ARN of the SNS topic of SES; "" does not listen to it
	Client   Asker
	Clock    clock.Clock
	Logger   *slog.Logger
	// Report does what there is to do. An error has the provider tell it again.
	Report func(context.Context, Report) error
}

// Asker fetches what a provider refers to: *outgoing.Client.
type Asker interface {
	Do(ctx context.Context, request *http.Request) (*outgoing.Answer, error)
}

// errForeign says that a request does not come from the provider.
var errForeign = errors.New("the request does not prove where it comes from")

// errUnread says that a request is the provider's and is not understood.
var errUnread = errors.New("the request is not understood")

// receiver reads a request of one provider: it proves, then parses.
type receiver func(ctx context.Context, r *http.Request, body []byte) ([]Report, error)

// hooks answers.
type hooks struct {
	Options
	receivers map[string]receiver
}

// New returns the handler of POST /hooks/mail/{provider}.
func New(o Options) (http.Handler, error) {
	h := &hooks{Options: o, receivers: map[string]receiver{}}
	if o.Secret != "" {
		switch o.Provider {
		case "postmark":
			h.receivers["postmark"] = h.postmark
		case "sendgrid":
			key, err := sendGridKey(o.Secret)
			if err != nil {
				return nil, err
			}
			h.receivers["sendgrid"] = func(_ context.Context, r *http.Request, body []byte) ([]Report, error) {
				return h.sendGrid(key, r, body)
			}
		case "mailgun":
			h.receivers["mailgun"] = h.mailgun
		default:
			h.receivers["generic"] = h.generic
		}
	}
	if o.Topic != "" {
		sns := &sns{topic: o.Topic, client: o.Client, clock: o.Clock}
		h.receivers["ses"] = sns.receive
	}
	return h, nil
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	receive := h.receivers[strings.TrimPrefix(r.URL.Path, Prefix)]
	if receive == nil {
		http.Error(w, "There is nothing at this address.", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		http.Error(w, "The request is too large or was cut off.", http.StatusRequestEntityTooLarge)
		return
	}
	reports, err := receive(r.Context(), r, body)
	switch {
	case errors.Is(err, errForeign):
		h.Logger.InfoContext(r.Context(), "a report about mail did not prove where it comes from, and was not read", "path", r.URL.Path)
		http.Error(w, "The request does not prove where it comes from.", http.StatusUnauthorized)
		return
	case errors.Is(err, errUnread):
		http.Error(w, "The request is not understood.", http.StatusBadRequest)
		return
	case err != nil:
		h.Logger.WarnContext(r.Context(), "a report about mail could not be taken, and is sent again", "error", err)
		http.Error(w, "Please send this again later.", http.StatusServiceUnavailable)
		return
	}
	now := h.Clock.Now()
	for _, report := range reports {
		if report.At.IsZero() || report.At.After(now) {
			report.At = now
		}
		if err := h.Report(r.Context(), report); err != nil {
			h.Logger.WarnContext(r.Context(), "a report about mail could not be noted, and is sent again", "error", err)
			http.Error(w, "Please send this again later.", http.StatusServiceUnavailable)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// equal compares in constant time, but for the fact that both are hashed.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// Reasons, as customers' records have them.
const (
	bounced    = "bounced"
	complained = "complained"
)
