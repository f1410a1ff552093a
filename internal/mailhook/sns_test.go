package mailhook

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/outgoing"
)

// asked counts what is asked outside, and has nothing.
type asked struct{ n int }

func (a *asked) Do(context.Context, *http.Request) (*outgoing.Answer, error) {
	a.n++
	return &outgoing.Answer{Status: http.StatusNotFound}, nil
}

// SECURITY M1, O: strangers who make certificates up do not have them fetched
// without end.
func TestStrangersCauseFewRequests(t *testing.T) {
	client := &asked{}
	r := listen(t, Options{Topic: "arn:aws:sns:eu-west-1:123456789012:mail", Client: client})
	for n := range 100 {
		body := fmt.Sprintf(`{"Type":"Notification","TopicArn":"arn:aws:sns:eu-west-1:123456789012:mail","SignatureVersion":"2","Signature":"AAAA","SigningCertURL":"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-%d.pem"}`, n)
		w := httptest.NewRecorder()
		r.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/hooks/mail/ses", strings.NewReader(body)))
		if w.Code < 400 {
			t.Errorf("%d", w.Code)
		}
	}
	if client.n > mostFetches {
		t.Errorf("%d requests", client.n)
	}
}
