package mailhook

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what is refused
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/outgoing"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

const secret = "correct-horse-battery"

// receiving is a handler and what it reported.
type receiving struct {
	t       *testing.T
	handler http.Handler
	got     []Report
	fails   error
}

func listen(t *testing.T, o Options) *receiving {
	t.Helper()
	r := &receiving{t: t}
	o.Clock, o.Logger = clock.NewFake(noon), slog.New(slog.DiscardHandler)
	o.Report = func(_ context.Context, report Report) error {
		r.got = append(r.got, report)
		return r.fails
	}
	var err error
	if r.handler, err = New(o); err != nil {
		t.Fatal(err)
	}
	return r
}

// post sends a body and returns the status and the reports.
func (r *receiving) post(path, body string, header ...string) (int, string, []Report) {
	r.t.Helper()
	r.got = nil
	request := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, request)
	return w.Code, w.Body.String(), r.got
}

// same is one report.
func same(got []Report, address, reason string) bool {
	return len(got) == 1 && got[0].Tenant == "ten_a" && got[0].Address == address && got[0].Reason == reason && !got[0].At.IsZero() && !got[0].At.After(noon)
}

func TestPostmark(t *testing.T) {
	r := listen(t, Options{Provider: "postmark", Secret: secret})
	basic := func(password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("any:"+password))
	}
	body := `{"RecordType":"Bounce","Type":"HardBounce","Email":"ana@example.com","BouncedAt":"2026-11-25T11:00:00Z","Metadata":{"cardea_tenant":"ten_a"},"Inactive":true}`
	if status, _, got := r.post("/hooks/mail/postmark", body, "Authorization", basic(secret)); status != 204 || !same(got, "ana@example.com", bounced) || !got[0].At.Equal(noon.Add(-time.Hour)) {
		t.Errorf("%d %+v", status, got)
	}
	if status, _, got := r.post("/hooks/mail/postmark", strings.Replace(body, "Bounce", "SpamComplaint", 1), "Authorization", basic(secret)); status != 204 || !same(got, "ana@example.com", complained) {
		t.Errorf("%d %+v", status, got)
	}
	for _, passing := range []string{strings.Replace(body, "HardBounce", "Transient", 1), strings.Replace(body, "HardBounce", "SoftBounce", 1), `{"RecordType":"Open"}`} {
		if status, _, got := r.post("/hooks/mail/postmark", passing, "Authorization", basic(secret)); status != 204 || len(got) != 0 {
			t.Errorf("%d %+v", status, got)
		}
	}
	for _, header := range []string{"", basic("wrong"), basic(""), "Bearer " + secret} {
		if status, _, got := r.post("/hooks/mail/postmark", body, "Authorization", header); status != 401 || len(got) != 0 {
			t.Errorf("%q: %d %+v", header, status, got)
		}
	}
	r.fails = errors.New("the database is away")
	if status, _, _ := r.post("/hooks/mail/postmark", body, "Authorization", basic(secret)); status != 503 {
		t.Errorf("%d", status)
	}
}

func TestSendGrid(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	r := listen(t, Options{Provider: "sendgrid", Secret: base64.StdEncoding.EncodeToString(der)})
	signed := func(body string, at time.Time) []string {
		stamp := fmt.Sprint(at.Unix())
		sum := sha256.Sum256([]byte(stamp + body))
		signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return []string{"X-Twilio-Email-Event-Webhook-Timestamp", stamp, "X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(signature)}
	}
	body := `[{"email":"a@example.com","event":"delivered","timestamp":1764070000},{"email":"ana@example.com","event":"bounce","type":"bounce","timestamp":1764070000,"cardea_tenant":"ten_a"},
		{"email":"b@example.com","event":"bounce","type":"blocked"},{"email":"c@example.com","event":"deferred"},{"email":"d@example.com","event":"dropped","reason":"Unsubscribed Address"}]`
	if status, _, got := r.post("/hooks/mail/sendgrid", body, signed(body, noon)...); status != 204 || !same(got, "ana@example.com", bounced) {
		t.Errorf("%d %+v", status, got)
	}
	spam := `[{"email":"ana@example.com","event":"spamreport","timestamp":1764070000,"cardea_tenant":"ten_a"}]`
	if status, _, got := r.post("/hooks/mail/sendgrid", spam, signed(spam, noon)...); status != 204 || !same(got, "ana@example.com", complained) {
		t.Errorf("%d %+v", status, got)
	}
	for name, header := range map[string][]string{
		"nothing": nil, "another body": signed(spam, noon), "an old one": signed(body, noon.Add(-14*time.Hour)), "one of the future": signed(body, noon.Add(time.Hour)),
		"no signature": {"X-Twilio-Email-Event-Webhook-Timestamp", fmt.Sprint(noon.Unix())},
	} {
		if status, _, got := r.post("/hooks/mail/sendgrid", body, header...); status != 401 || len(got) != 0 {
			t.Errorf("%s: %d %+v", name, status, got)
		}
	}
	if _, err := New(Options{Provider: "sendgrid", Secret: "not a key at all"}); err == nil {
		t.Error("what is no key is taken")
	}
}

func TestMailgun(t *testing.T) {
	r := listen(t, Options{Provider: "mailgun", Secret: secret})
	body := func(key string, at time.Time, event string) string {
		stamp := fmt.Sprint(at.Unix())
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(stamp + "token"))
		return fmt.Sprintf(`{"signature":{"timestamp":"%s","token":"token","signature":"%s"},"event-data":%s}`, stamp, hex.EncodeToString(mac.Sum(nil)), event)
	}
	failed := `{"event":"failed","severity":"permanent","recipient":"ana@example.com","timestamp":1764070000.5,"user-variables":{"cardea_tenant":"ten_a"}}`
	if status, _, got := r.post("/hooks/mail/mailgun", body(secret, noon, failed)); status != 204 || !same(got, "ana@example.com", bounced) {
		t.Errorf("%d %+v", status, got)
	}
	if status, _, got := r.post("/hooks/mail/mailgun", body(secret, noon, strings.Replace(failed, "failed", "complained", 1))); status != 204 || !same(got, "ana@example.com", complained) {
		t.Errorf("%d %+v", status, got)
	}
	if status, _, got := r.post("/hooks/mail/mailgun", body(secret, noon, strings.Replace(failed, "permanent", "temporary", 1))); status != 204 || len(got) != 0 {
		t.Errorf("%d %+v", status, got)
	}
	for name, text := range map[string]string{"another key": body("another key of them", noon, failed), "old": body(secret, noon.Add(-14*time.Hour), failed), "no signature": `{"event-data":` + failed + `}`, "no JSON": "x", "nothing": ""} {
		if status, _, got := r.post("/hooks/mail/mailgun", text); status != 401 || len(got) != 0 {
			t.Errorf("%s: %d %+v", name, status, got)
		}
	}
}

func TestGeneric(t *testing.T) {
	r := listen(t, Options{Secret: secret})
	body := `{"tenant":"ten_a","address":"ana@example.com","reason":"bounced"}`
	if status, _, got := r.post("/hooks/mail/generic", body, "Authorization", "Bearer "+secret); status != 204 || !same(got, "ana@example.com", bounced) {
		t.Errorf("%d %+v", status, got)
	}
	for _, header := range []string{"", "Bearer wrong", secret} {
		if status, _, got := r.post("/hooks/mail/generic", body, "Authorization", header); status != 401 || len(got) != 0 {
			t.Errorf("%q: %d %+v", header, status, got)
		}
	}
	for _, text := range []string{"", "x", `{"tenant":"ten_a","address":"ana@example.com","reason":"away"}`, `{"tenant":"ten_a","address":"ana@example.com","reason":"bounced","customer":"cus_x"}`} {
		if status, _, got := r.post("/hooks/mail/generic", text, "Authorization", "Bearer "+secret); status != 400 || len(got) != 0 {
			t.Errorf("%q: %d %+v", text, status, got)
		}
	}
}

// What is not set up is not there, however well it is proved.
func TestOnlyWhatIsSetUpIsListenedTo(t *testing.T) {
	for _, o := range []Options{{}, {Provider: "postmark"}, {Provider: "mailgun", Secret: secret}} {
		r := listen(t, o)
		for _, provider := range []string{"postmark", "sendgrid", "ses", "generic", "other", ""} {
			if status, _, got := r.post("/hooks/mail/"+provider, `{}`, "Authorization", "Bearer "+secret); status != 404 || len(got) != 0 {
				t.Errorf("%+v, %s: %d", o, provider, status)
			}
		}
	}
	r := listen(t, Options{Secret: secret})
	if status, _, _ := r.post("/hooks/mail/generic", strings.Repeat(" ", MaxBody+1), "Authorization", "Bearer "+secret); status != 413 {
		t.Errorf("a large body: %d", status)
	}
}

// amazon is the server that has the certificate, and remembers what it was asked.
type amazon struct {
	certificate []byte
	asked       []string
}

func (a *amazon) Do(_ context.Context, request *http.Request) (*outgoing.Answer, error) {
	a.asked = append(a.asked, request.URL.String())
	return &outgoing.Answer{Status: http.StatusOK, Body: a.certificate}, nil
}

const topic = "arn:aws:sns:eu-central-1:123456789012:bounces"

func TestSES(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, NotBefore: noon.AddDate(0, -1, 0), NotAfter: noon.AddDate(0, 1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server := &amazon{certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	r := listen(t, Options{Topic: topic, Client: server})
	const pemURL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-abc123.pem"
	// message is what the service sends, signed; change may forge it before, forge after.
	message := func(kind, text string, change func(m map[string]string)) string {
		m := map[string]string{"Type": kind, "MessageId": "id", "TopicArn": topic, "Message": text, "Timestamp": "2026-11-25T11:59:00.000Z", "SignatureVersion": "2", "SigningCertURL": pemURL}
		fields := []string{"Message", "MessageId", "Timestamp", "TopicArn", "Type"}
		if kind == "SubscriptionConfirmation" {
			m["Token"], m["SubscribeURL"] = "tok", "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=tok"
			fields = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
		}
		if change != nil {
			change(m)
		}
		signed := ""
		for _, field := range fields {
			signed += field + "\n" + m[field] + "\n"
		}
		sum, hash := sha256.Sum256([]byte(signed)), crypto.SHA256
		digest := sum[:]
		if m["SignatureVersion"] == "1" {
			old := sha1.Sum([]byte(signed)) //nolint:gosec // what is refused
			digest, hash = old[:], crypto.SHA1
		}
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, hash, digest)
		if err != nil {
			t.Fatal(err)
		}
		m["Signature"] = base64.StdEncoding.EncodeToString(signature)
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	bounce := `{"eventType":"Bounce","bounce":{"bounceType":"Permanent","bouncedRecipients":[{"emailAddress":"ana@example.com"}],"timestamp":"2026-11-25T11:58:00.000Z"},"mail":{"tags":{"cardea_tenant":["ten_a"],"ses:from-domain":["olive.example"]}}}`
	if status, _, got := r.post("/hooks/mail/ses", message("Notification", bounce, nil)); status != 204 || !same(got, "ana@example.com", bounced) {
		t.Errorf("%d %+v", status, got)
	}
	complaint := `{"eventType":"Complaint","complaint":{"complainedRecipients":[{"emailAddress":"ana@example.com"}],"timestamp":"2026-11-25T11:58:00.000Z"},"mail":{"tags":{"cardea_tenant":["ten_a"]}}}`
	if status, _, got := r.post("/hooks/mail/ses", message("Notification", complaint, nil)); status != 204 || !same(got, "ana@example.com", complained) {
		t.Errorf("%d %+v", status, got)
	}
	if status, _, got := r.post("/hooks/mail/ses", message("Notification", strings.Replace(bounce, "Permanent", "Transient", 1), nil)); status != 204 || len(got) != 0 {
		t.Errorf("%d %+v", status, got)
	}
	if len(server.asked) != 1 || server.asked[0] != pemURL {
		t.Errorf("asked for %v", server.asked)
	}
	server.asked = nil
	if status, _, _ := r.post("/hooks/mail/ses", message("SubscriptionConfirmation", "You have chosen", nil)); status != 204 || len(server.asked) != 1 || !strings.Contains(server.asked[0], "Action=ConfirmSubscription") {
		t.Errorf("%d, asked %v", status, server.asked)
	}
	server.asked = nil
	for name, body := range map[string]string{
		"another topic": message("Notification", bounce, func(m map[string]string) { m["TopicArn"] += "x" }),
		"SHA-1":         message("Notification", bounce, func(m map[string]string) { m["SignatureVersion"] = "1" }),
		"changed since": strings.Replace(message("Notification", bounce, nil), "ana@", "ben@", 1),
		"a host of somebody's": message("Notification", bounce, func(m map[string]string) {
			m["SigningCertURL"] = "https://evil.example/SimpleNotificationService-abc123.pem"
		}),
		"a host that begins so": message("Notification", bounce, func(m map[string]string) {
			m["SigningCertURL"] = "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-a.pem"
		}),
		"a host with a user": message("Notification", bounce, func(m map[string]string) {
			m["SigningCertURL"] = "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-a.pem"
		}),
		"a bucket": message("Notification", bounce, func(m map[string]string) {
			m["SigningCertURL"] = "https://bucket.s3.amazonaws.com/SimpleNotificationService-a.pem"
		}),
		"another region": message("Notification", bounce, func(m map[string]string) {
			m["SigningCertURL"] = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-a.pem"
		}),
		"plain http":   message("Notification", bounce, func(m map[string]string) { m["SigningCertURL"] = strings.Replace(pemURL, "https", "http", 1) }),
		"another port": message("Notification", bounce, func(m map[string]string) { m["SigningCertURL"] = strings.Replace(pemURL, ".com/", ".com:8443/", 1) }),
		"another path": message("Notification", bounce, func(m map[string]string) {
			m["SigningCertURL"] = "https://sns.eu-central-1.amazonaws.com/?Action=x.pem"
		}),
		"no signature":             `{"Type":"Notification","TopicArn":"` + topic + `","SignatureVersion":"2","SigningCertURL":"` + pemURL + `","Message":"x"}`,
		"nothing":                  "",
		"a subscription elsewhere": message("SubscriptionConfirmation", "x", func(m map[string]string) { m["SubscribeURL"] = "https://evil.example/" }),
	} {
		if status, _, got := r.post("/hooks/mail/ses", body); status != 401 || len(got) != 0 {
			t.Errorf("%s: %d %+v", name, status, got)
		}
	}
	if len(server.asked) != 0 {
		t.Errorf("others were asked: %v", server.asked)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key = other
	if status, _, _ := r.post("/hooks/mail/ses", message("Notification", bounce, nil)); status != 401 {
		t.Errorf("another key: %d", status)
	}
}
