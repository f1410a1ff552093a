package notify

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
)

// The signatures of the test suite that AWS publishes: get-vanilla, post-vanilla.
func TestSignatureVersion4(t *testing.T) {
	key := awsKey{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "service"}
	for method, want := range map[string]string{
		"GET":  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		"POST": "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
	} {
		request, err := http.NewRequest(method, "https://example.amazonaws.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		key.sign(request, nil, time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC))
		if got := request.Header.Get("Authorization"); got != "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature="+want {
			t.Errorf("%s: %s", method, got)
		}
	}
}

var posted = Mail{ID: "msg_1", Tenant: "ten_a", FromName: `Olive "&" Thymé`, From: "hello@olive.example", ReplyTo: "help@olive.example",
	To: "ana@example.com", Lang: "en", Subject: "123 456 is your code", Text: "text\n", HTML: "<p>html</p>", Code: "123456", At: noon}

// mailProvider is one that answers with a status, and remembers the request.
func mailProvider(t *testing.T, status *int) (string, func() (*http.Request, []byte)) {
	t.Helper()
	var last *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(*status)
		_, _ = w.Write([]byte(`{"Message":"about ana@example.com"}`))
	}))
	t.Cleanup(server.Close)
	return server.URL, func() (*http.Request, []byte) { return last, body }
}

func transportOf(t *testing.T, provider, endpoint string) *MailHTTP {
	t.Helper()
	transport, err := NewMailHTTP(MailHTTPOptions{Client: local, Clock: clock.NewFake(noon), Provider: provider, Secret: "shh", KeyID: "AKID", Region: "eu-central-1", Domain: "mg.olive.example", Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	return transport
}

func TestMailPresetsAskAsTheProvidersDocument(t *testing.T) {
	status := http.StatusOK
	sent := func(provider string) (*http.Request, []byte) {
		base, last := mailProvider(t, &status)
		if err := transportOf(t, provider, base).Send(t.Context(), posted); err != nil {
			t.Fatalf("%s: %v", provider, err)
		}
		return last()
	}
	read := func(body []byte) map[string]any {
		var tree map[string]any
		if err := json.Unmarshal(body, &tree); err != nil {
			t.Fatal(err)
		}
		return tree
	}
	type object = map[string]any
	list := func(of ...any) []any { return of }

	r, body := sent(Postmark)
	if r.Method != "POST" || r.URL.Path != "/email" || r.Header.Get("X-Postmark-Server-Token") != "shh" || r.Header.Get("Accept") != "application/json" || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("postmark: %s %s %v", r.Method, r.URL, r.Header)
	}
	if got, want := read(body), (object{"From": `"Olive \"&\" Thymé" <hello@olive.example>`, "To": "ana@example.com", "ReplyTo": "help@olive.example", "Subject": posted.Subject,
		"TextBody": "text\n", "HtmlBody": "<p>html</p>", "Headers": list(object{"Name": "Auto-Submitted", "Value": "auto-generated"}, object{"Name": "X-Auto-Response-Suppress", "Value": "All"}),
		"Metadata": object{"cardea_tenant": "ten_a", "cardea_message": "msg_1"}, "TrackOpens": false, "TrackLinks": "None"}); !reflect.DeepEqual(got, want) {
		t.Errorf("postmark:\n%v\n%v", got, want)
	}

	status = http.StatusAccepted
	r, body = sent(SendGrid)
	if r.Method != "POST" || r.URL.Path != "/v3/mail/send" || r.Header.Get("Authorization") != "Bearer shh" {
		t.Errorf("sendgrid: %s %s %v", r.Method, r.URL, r.Header)
	}
	if got, want := read(body), (object{"personalizations": list(object{"to": list(object{"email": "ana@example.com"})}), "from": object{"email": "hello@olive.example", "name": posted.FromName},
		"reply_to": object{"email": "help@olive.example"}, "subject": posted.Subject, "content": list(object{"type": "text/plain", "value": "text\n"}, object{"type": "text/html", "value": "<p>html</p>"}),
		"headers": object{"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}, "custom_args": object{"cardea_tenant": "ten_a", "cardea_message": "msg_1"},
		"mail_settings":     object{"bypass_unsubscribe_management": object{"enable": true}},
		"tracking_settings": object{"click_tracking": object{"enable": false, "enable_text": false}, "open_tracking": object{"enable": false}, "subscription_tracking": object{"enable": false}}}); !reflect.DeepEqual(got, want) {
		t.Errorf("sendgrid:\n%v\n%v", got, want)
	}

	status = http.StatusOK
	r, body = sent(Mailgun)
	user, key, _ := r.BasicAuth()
	if r.Method != "POST" || r.URL.Path != "/v3/mg.olive.example/messages" || user != "api" || key != "shh" {
		t.Errorf("mailgun: %s %s %v", r.Method, r.URL, r.Header)
	}
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	form, err := multipart.NewReader(strings.NewReader(string(body)), params["boundary"]).ReadForm(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"from": `"Olive \"&\" Thymé" <hello@olive.example>`, "to": "ana@example.com", "subject": posted.Subject, "text": "text\n", "html": "<p>html</p>",
		"o:tracking": "no", "v:cardea_tenant": "ten_a", "v:cardea_message": "msg_1", "h:Reply-To": "help@olive.example", "h:Auto-Submitted": "auto-generated"} {
		if got := form.Value[name]; len(got) != 1 || got[0] != want {
			t.Errorf("mailgun: %s is %q", name, got)
		}
	}

	r, body = sent(SES)
	if r.Method != "POST" || r.URL.Path != "/v2/email/outbound-emails" || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKID/20261122/eu-central-1/ses/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=") || r.Header.Get("X-Amz-Date") != "20261122T120000Z" {
		t.Errorf("ses: %s %s %v", r.Method, r.URL, r.Header)
	}
	var ses struct {
		Content          struct{ Raw struct{ Data []byte } }
		Destination      struct{ ToAddresses []string }
		FromEmailAddress string
		EmailTags        []struct{ Name, Value string }
	}
	if err := json.Unmarshal(body, &ses); err != nil {
		t.Fatal(err)
	}
	message, err := netmail.ReadMessage(strings.NewReader(string(ses.Content.Raw.Data)))
	if err != nil {
		t.Fatal(err)
	}
	to, _ := message.Header.AddressList("To")
	if len(to) != 1 || to[0].Address != "ana@example.com" || len(ses.Destination.ToAddresses) != 1 || ses.FromEmailAddress != "hello@olive.example" || len(ses.EmailTags) != 2 || ses.EmailTags[0].Value != "ten_a" || ses.EmailTags[1].Name != "cardea_message" {
		t.Errorf("ses: %+v %v", ses, message.Header)
	}
}

func TestProvidersOfMailRefuseForGoodOrForNow(t *testing.T) {
	status := 0
	base, last := mailProvider(t, &status)
	for _, provider := range []string{SES, Postmark, SendGrid, Mailgun} {
		transport := transportOf(t, provider, base)
		for code, good := range map[int]bool{400: true, 401: false, 403: false, 413: true, 422: true, 429: false, 500: false} {
			status = code
			err := transport.Send(t.Context(), posted)
			var permanent *PermanentError
			if err == nil || errors.As(err, &permanent) != good || strings.Contains(err.Error(), "ana@") {
				t.Errorf("%s, %d: %v", provider, code, err)
			}
		}
		// SECURITY N1: what would be several recipients or headers leaves nowhere.
		before, _ := last()
		for _, to := range []string{"a@x.example,b@x.example", "a@x.example\r\nBcc: b@x.example", "<a@x.example>", "a b@x.example"} {
			evil := posted
			evil.To = to
			if err := transport.Send(t.Context(), evil); err == nil {
				t.Errorf("%s sent to %q", provider, to)
			}
		}
		if after, _ := last(); after != before {
			t.Errorf("%s was asked", provider)
		}
	}
}
