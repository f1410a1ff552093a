package notify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cardea-id/cardea/internal/outgoing"
)

// TextHTTPOptions say which provider takes text messages and how it is asked.
// In URL, Headers and Body, {{name}} stands for a fact; what stands for text
// and numbers is put in as data of the format, never as part of it.
type TextHTTPOptions struct {
	Client  *outgoing.Client
	URL     string   // may mention {{account}}
	Method  string   // "POST", or "GET", which has Body as its query
	Headers []string // "Name: value"; may mention {{account}}, {{secret}} and {{basic}}, both in Base64 as of RFC 7617
	Form    bool     // Body is a form, "to={{to}}&text={{text}}", else JSON
	Body    string   // may mention {{to}}, {{to_digits}}, {{text}}, {{sender}}, {{id}}, {{account}} and {{secret}}
	Account string
	Secret  string
}

// TextHTTP is the transport of text messages to a provider's HTTP API. A
// message is taken over when the provider answers 2xx. It is safe for
// concurrent use.
type TextHTTP struct {
	o       TextHTTPOptions
	address string
	headers [][2]string
	tree    any        // of a JSON body
	fields  url.Values // of a form
	// service, where it is set, is the form of a sender that is an account of the provider's.
	service url.Values
}

// messagingService is the id of a sender pool of Twilio's.
var messagingService = regexp.MustCompile(`^MG[0-9a-f]{32}$`)

// Providers whose API is known, by the names that configuration uses.
const (
	Twilio      = "twilio"
	Vonage      = "vonage"
	MessageBird = "messagebird"
)

// TextPreset is how a provider is asked, by its documentation: Twilio's
// Programmable Messaging, Vonage's Messages API, and MessageBird's (Bird's)
// SMS API.
func TextPreset(name string) (TextHTTPOptions, bool) {
	switch name {
	case Twilio:
		return TextHTTPOptions{Method: http.MethodPost, URL: "https://api.twilio.com/2010-04-01/Accounts/{{account}}/Messages.json",
			Headers: []string{"Authorization: Basic {{basic}}"}, Form: true, Body: "To={{to}}&From={{sender}}&Body={{text}}"}, true
	case Vonage:
		return TextHTTPOptions{Method: http.MethodPost, URL: "https://api.nexmo.com/v1/messages", Headers: []string{"Authorization: Basic {{basic}}"},
			Body: `{"message_type":"text","channel":"sms","to":"{{to_digits}}","from":"{{sender}}","text":"{{text}}","client_ref":"{{id}}","sms":{"encoding_type":"auto"}}`}, true
	case MessageBird:
		return TextHTTPOptions{Method: http.MethodPost, URL: "https://rest.messagebird.com/messages", Headers: []string{"Authorization: AccessKey {{secret}}"},
			Body: `{"recipients":["{{to_digits}}"],"originator":"{{sender}}","body":"{{text}}","datacoding":"auto","reference":"{{id}}"}`}, true
	}
	return TextHTTPOptions{}, false
}

// NewTextHTTP makes the transport. It does not connect.
func NewTextHTTP(o TextHTTPOptions) (*TextHTTP, error) {
	t := &TextHTTP{o: o}
	if o.Client == nil {
		return nil, errors.New("text messages by HTTP need a client")
	}
	if o.Method != http.MethodPost && o.Method != http.MethodGet && o.Method != http.MethodPut {
		return nil, fmt.Errorf("sms.method is %q; it is POST, PUT or GET", o.Method)
	}
	if o.Method == http.MethodGet && !o.Form {
		return nil, errors.New("sms.method GET takes its body as a query: set sms.format to form")
	}
	basic := base64.StdEncoding.EncodeToString([]byte(o.Account + ":" + o.Secret))
	var err error
	if t.address, err = substitute(o.URL, map[string]string{"account": url.PathEscape(o.Account)}); err != nil {
		return nil, fmt.Errorf("sms.url: %w", err)
	}
	if parsed, err := url.Parse(t.address); err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return nil, errors.New("sms.url is not a web address")
	}
	for _, header := range o.Headers {
		name, value, found := strings.Cut(header, ":")
		value, err := substitute(strings.TrimSpace(value), map[string]string{"account": o.Account, "secret": o.Secret, "basic": basic})
		if err != nil {
			return nil, fmt.Errorf("sms.headers: %s: %w", name, err)
		}
		if !found || !headerName.MatchString(name) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("sms.headers: %q is not a name, a colon and a value", name)
		}
		t.headers = append(t.headers, [2]string{name, value})
	}
	if err := t.readBody(); err != nil {
		return nil, fmt.Errorf("sms.body: %w", err)
	}
	return t, nil
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// readBody reads the template once, so that what is put into it later cannot
// change its shape.
func (t *TextHTTP) readBody() error {
	sample := t.facts(Text{To: "+1", Text: "text", From: "sender"})
	if !strings.Contains(t.o.Body, "{{text}}") || !strings.Contains(t.o.Body, "{{to}}") && !strings.Contains(t.o.Body, "{{to_digits}}") {
		return errors.New("it lacks {{text}}, or one of {{to}} and {{to_digits}}")
	}
	if t.o.Form {
		var err error
		if t.fields, err = url.ParseQuery(t.o.Body); err != nil {
			return errors.New("it is not a form such as to={{to}}&text={{text}}")
		}
		if strings.HasPrefix(t.o.URL, "https://api.twilio.com/") {
			t.service = url.Values{"To": {"{{to}}"}, "MessagingServiceSid": {"{{sender}}"}, "Body": {"{{text}}"}}
		}
		_, err = fillForm(t.fields, sample)
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(t.o.Body))
	decoder.UseNumber()
	if err := decoder.Decode(&t.tree); err != nil {
		return errors.New("it is not JSON; what stands for text belongs in quotes")
	}
	if decoder.More() {
		return errors.New("there is more after the JSON")
	}
	_, err := fillJSON(t.tree, sample)
	return err
}

func (t *TextHTTP) facts(m Text) map[string]string {
	return map[string]string{"to": m.To, "to_digits": strings.TrimPrefix(m.To, "+"), "text": m.Text, "sender": m.From, "id": string(m.ID),
		"account": t.o.Account, "secret": t.o.Secret}
}

// SendText hands the message to the provider.
func (t *TextHTTP) SendText(ctx context.Context, m Text) error {
	request, err := t.request(ctx, m)
	if err != nil {
		return &PermanentError{Reason: reasonUnreadable}
	}
	answer, err := t.o.Client.Do(ctx, request)
	return outcomeOf(answer, err)
}

func (t *TextHTTP) request(ctx context.Context, m Text) (*http.Request, error) {
	address, contentType := t.address, "application/json"
	var body []byte
	if t.o.Form {
		fields := t.fields
		if t.service != nil && messagingService.MatchString(m.From) {
			fields = t.service
		}
		filled, err := fillForm(fields, t.facts(m))
		if err != nil {
			return nil, err
		}
		contentType, body = "application/x-www-form-urlencoded", []byte(filled.Encode())
		if t.o.Method == http.MethodGet {
			address, body = address+"?"+filled.Encode(), nil
		}
	} else {
		filled, err := fillJSON(t.tree, t.facts(m))
		if err != nil {
			return nil, err
		}
		if body, err = json.Marshal(filled); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, t.o.Method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", contentType)
	}
	request.Header.Set("Accept", "application/json")
	for _, header := range t.headers {
		request.Header.Set(header[0], header[1])
	}
	return request, nil
}

// outcomeOf says what came of handing a message to a provider. What it answered
// often repeats the address, and is not kept. A refused key is tried again: an
// operator may put it right while the message is still of use.
func outcomeOf(answer *outgoing.Answer, err error) error {
	switch {
	case errors.Is(err, outgoing.ErrRefused):
		return &PermanentError{Reason: "outgoing.allow_networks"}
	case errors.Is(err, context.DeadlineExceeded):
		return &reasonError{reason: "timeout", err: err}
	case err != nil:
		return &reasonError{reason: "connection", err: err}
	case answer.Status >= 200 && answer.Status < 300:
		return nil
	}
	reason := "http_" + strconv.Itoa(answer.Status)
	passing := []int{http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests}
	if answer.Status >= 500 || slices.Contains(passing, answer.Status) {
		return &reasonError{reason: reason, err: errors.New("the provider did not take it")}
	}
	return &PermanentError{Reason: reason}
}

var fact = regexp.MustCompile(`\{\{([a-z_]*)\}\}`)

// substitute puts facts into a text, once: what they say is not looked into.
func substitute(text string, facts map[string]string) (string, error) {
	var unknown string
	filled := fact.ReplaceAllStringFunc(text, func(found string) string {
		value, known := facts[found[2:len(found)-2]]
		if !known {
			unknown = found
		}
		return value
	})
	if unknown != "" {
		return "", fmt.Errorf("%s stands for nothing here", unknown)
	}
	return filled, nil
}

func fillForm(fields url.Values, facts map[string]string) (url.Values, error) {
	filled := url.Values{}
	for name, values := range fields {
		for _, value := range values {
			text, err := substitute(value, facts)
			if err != nil {
				return nil, err
			}
			filled.Add(name, text)
		}
	}
	return filled, nil
}

func fillJSON(tree any, facts map[string]string) (any, error) {
	var err error
	switch node := tree.(type) {
	case string:
		return substitute(node, facts)
	case []any:
		filled := make([]any, len(node))
		for i := range node {
			if filled[i], err = fillJSON(node[i], facts); err != nil {
				return nil, err
			}
		}
		return filled, nil
	case map[string]any:
		filled := make(map[string]any, len(node))
		for name := range node {
			if filled[name], err = fillJSON(node[name], facts); err != nil {
				return nil, err
			}
		}
		return filled, nil
	}
	return tree, nil
}
