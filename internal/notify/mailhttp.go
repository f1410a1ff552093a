package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/outgoing"
)

// Providers of mail whose HTTP API is known, by the names that configuration
// uses.
const (
	SES      = "ses"
	Postmark = "postmark"
	SendGrid = "sendgrid"
	Mailgun  = "mailgun"
)

// MailHTTPOptions say which provider takes the mail.
type MailHTTPOptions struct {
	Client   *outgoing.Client
	Clock    clock.Clock
	Provider string
	Secret   string // the API's key; SES: the secret access key
	KeyID    string // SES: the access key's id
	Region   string // SES
	Domain   string // Mailgun: the sending domain
	Stream   string // Postmark's message stream, SES' configuration set; "" for theirs
	Endpoint string // origin of the API, "" for the usual one
}

// MailHTTP is the transport of mail to a provider's HTTP API. Each message goes
// with its tenant and id, which come back with what is told of a bounce or a
// complaint, and with all tracking off. It is safe for concurrent use.
type MailHTTP struct {
	o     MailHTTPOptions
	build func(ctx context.Context, m Mail) (*http.Request, error)
}

// Names of what goes with a message.
const (
	tagTenant  = "cardea_tenant"
	tagMessage = "cardea_message"
)

// NewMailHTTP makes the transport. It does not connect.
func NewMailHTTP(o MailHTTPOptions) (*MailHTTP, error) {
	if o.Client == nil || o.Clock == nil || o.Secret == "" {
		return nil, errors.New("mail by HTTP needs a client, a clock and a key")
	}
	t := &MailHTTP{o: o}
	origin := map[string]string{SES: "https://email." + o.Region + ".amazonaws.com", Postmark: "https://api.postmarkapp.com",
		SendGrid: "https://api.sendgrid.com", Mailgun: "https://api.mailgun.net"}[o.Provider]
	if t.o.Endpoint == "" {
		t.o.Endpoint = origin
	}
	switch o.Provider {
	case SES:
		if o.KeyID == "" || o.Region == "" {
			return nil, errors.New("mail by SES needs a key's id and a region")
		}
		t.build = t.ses
	case Postmark:
		t.build = t.postmark
	case SendGrid:
		t.build = t.sendGrid
	case Mailgun:
		if o.Domain == "" {
			return nil, errors.New("mail by Mailgun needs the sending domain")
		}
		t.build = t.mailgun
	default:
		return nil, fmt.Errorf("%q is no provider of mail; there are ses, postmark, sendgrid and mailgun", o.Provider)
	}
	return t, nil
}

// Send hands the message to the provider.
func (t *MailHTTP) Send(ctx context.Context, m Mail) error {
	for _, address := range []string{m.To, m.From} {
		if CheckAddress(address) != nil {
			return &PermanentError{Reason: reasonUnreadable}
		}
	}
	request, err := t.build(ctx, m)
	if err != nil {
		return &PermanentError{Reason: reasonUnreadable}
	}
	answer, err := t.o.Client.Do(ctx, request)
	return outcomeOf(answer, err)
}

// mailbox writes a name and an address as providers read them. The name has no
// control characters.
func mailbox(name, address string) string {
	if name == "" {
		return address
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `" <` + address + ">"
}

// automatic are headers that keep others from answering a message by machine.
var automatic = [][2]string{{"Auto-Submitted", "auto-generated"}, {"X-Auto-Response-Suppress", "All"}}

func (t *MailHTTP) json(ctx context.Context, path string, body any) (*http.Request, []byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.o.Endpoint+path, bytes.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	return request, text, nil
}

// postmark asks for POST /email.
func (t *MailHTTP) postmark(ctx context.Context, m Mail) (*http.Request, error) {
	type header struct{ Name, Value string }
	body := struct {
		From, To, ReplyTo, Subject, TextBody string
		HTMLBody                             string `json:"HtmlBody"`
		Headers                              []header
		MessageStream                        string `json:",omitempty"`
		Metadata                             map[string]string
		TrackOpens                           bool
		TrackLinks                           string
	}{
		From: mailbox(m.FromName, m.From), To: m.To, ReplyTo: m.ReplyTo, Subject: m.Subject, TextBody: m.Text, HTMLBody: m.HTML,
		MessageStream: t.o.Stream, Metadata: map[string]string{tagTenant: string(m.Tenant), tagMessage: string(m.ID)}, TrackLinks: "None",
	}
	for _, h := range automatic {
		body.Headers = append(body.Headers, header{h[0], h[1]})
	}
	request, _, err := t.json(ctx, "/email", body)
	if err == nil {
		request.Header.Set("X-Postmark-Server-Token", t.o.Secret)
	}
	return request, err
}

// sendGrid asks for POST /v3/mail/send. What somebody said of newsletters does
// not keep a code from him; bounces and complaints do.
func (t *MailHTTP) sendGrid(ctx context.Context, m Mail) (*http.Request, error) {
	type object = map[string]any
	headers := object{}
	for _, h := range automatic {
		headers[h[0]] = h[1]
	}
	body := object{
		"personalizations": []object{{"to": []object{{"email": m.To}}}},
		"from":             object{"email": m.From, "name": m.FromName},
		"subject":          m.Subject,
		"content":          []object{{"type": "text/plain", "value": m.Text}, {"type": "text/html", "value": m.HTML}},
		"headers":          headers,
		"custom_args":      object{tagTenant: m.Tenant, tagMessage: m.ID},
		"mail_settings":    object{"bypass_unsubscribe_management": object{"enable": true}},
		"tracking_settings": object{"click_tracking": object{"enable": false, "enable_text": false}, "open_tracking": object{"enable": false},
			"subscription_tracking": object{"enable": false}},
	}
	if m.ReplyTo != "" {
		body["reply_to"] = object{"email": m.ReplyTo}
	}
	request, _, err := t.json(ctx, "/v3/mail/send", body)
	if err == nil {
		request.Header.Set("Authorization", "Bearer "+t.o.Secret)
	}
	return request, err
}

// mailgun asks for POST /v3/{domain}/messages.
func (t *MailHTTP) mailgun(ctx context.Context, m Mail) (*http.Request, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	fields := [][2]string{
		{"from", mailbox(m.FromName, m.From)}, {"to", m.To}, {"subject", m.Subject}, {"text", m.Text}, {"html", m.HTML},
		{"o:tracking", "no"}, {"v:" + tagTenant, string(m.Tenant)}, {"v:" + tagMessage, string(m.ID)},
	}
	if m.ReplyTo != "" {
		fields = append(fields, [2]string{"h:Reply-To", m.ReplyTo})
	}
	for _, h := range automatic {
		fields = append(fields, [2]string{"h:" + h[0], h[1]})
	}
	for _, field := range fields {
		if err := form.WriteField(field[0], field[1]); err != nil {
			return nil, err
		}
	}
	if err := form.Close(); err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.o.Endpoint+"/v3/"+url.PathEscape(t.o.Domain)+"/messages", &body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", form.FormDataContentType())
	request.SetBasicAuth("api", t.o.Secret)
	return request, nil
}

// ses asks for SendEmail of the SES API v2, with the message as SMTP would have
// carried it.
func (t *MailHTTP) ses(ctx context.Context, m Mail) (*http.Request, error) {
	message, err := compose(m)
	if err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	if _, err := message.WriteTo(&raw); err != nil {
		return nil, err
	}
	type tag struct{ Name, Value string }
	var body struct {
		Content struct {
			Raw struct{ Data []byte } // JSON has it in Base64
		}
		Destination          struct{ ToAddresses []string }
		FromEmailAddress     string
		EmailTags            []tag
		ConfigurationSetName string `json:",omitempty"`
	}
	body.Content.Raw.Data = raw.Bytes()
	body.Destination.ToAddresses = []string{m.To}
	body.FromEmailAddress, body.ConfigurationSetName = m.From, t.o.Stream
	body.EmailTags = []tag{{tagTenant, string(m.Tenant)}, {tagMessage, string(m.ID)}}
	request, text, err := t.json(ctx, "/v2/email/outbound-emails", body)
	if err != nil {
		return nil, err
	}
	awsKey{t.o.KeyID, t.o.Secret, t.o.Region, "ses"}.sign(request, text, t.o.Clock.Now())
	return request, nil
}
