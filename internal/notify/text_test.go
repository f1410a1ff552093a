package notify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/outgoing"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const benPhone = "+447700900123"

func TestTextMessagesEndWithTheLineThatPhonesRead(t *testing.T) {
	words := newWords(t)
	for lang, want := range map[string]string{
		"en": "123456 is your Olive & Thyme code. Don't share it: we never ask for it. It works for 10 minutes.\n\n@id.olive.example #123456",
		"de": "123456 ist Ihr Code für Olive & Thyme. Geben Sie ihn nicht weiter: Wir fragen nie danach. Er gilt 10 Minuten.\n\n@id.olive.example #123456",
	} {
		text, err := words.renderText(Code, lang, olive, Data{Code: "123456", ValidFor: 10 * time.Minute, At: noon})
		if err != nil || text.Text != want || !IsGSM(text.Text) || len([]rune(text.Text)) > 160 {
			t.Errorf("%s: %v, %d characters\n%s", lang, err, len([]rune(text.Text)), text.Text)
		}
	}
	for _, lang := range []string{"en", "de", "ar"} {
		for _, kind := range Templates() {
			text, err := words.renderText(kind, lang, olive, Data{Code: codeOf(kind), ValidFor: time.Minute, Link: "https://id.olive.example/not-me?link=x", At: noon})
			if err != nil || strings.Contains(text.Text, "<no value>") || strings.Contains(text.Text, "{{") {
				t.Errorf("%s %s: %v %s", kind, lang, err, text.Text)
			}
			if lang != "ar" && !IsGSM(text.Text) {
				t.Errorf("%s %s is not in the GSM alphabet: %s", kind, lang, text.Text)
			}
			lines := strings.Split(text.Text, "\n")
			if last := lines[len(lines)-1]; carriesCode(kind) != (last == "@id.olive.example #123456") {
				t.Errorf("%s %s ends with %q", kind, lang, last)
			}
		}
	}
}

// A brand's name in another alphabet stays whole; typography does not cost a part.
func TestGSM(t *testing.T) {
	if got := plainGSM("It’s “here” – now…"); got != `It's "here" - now...` {
		t.Error(got)
	}
	if got := plainGSM("Łódź’s code"); got != "Łódź’s code" {
		t.Error(got)
	}
}

// SECURITY N1: what brands and strangers write is data.
func TestTextsOfStrangersAreData(t *testing.T) {
	words := newWords(t)
	b := olive
	b.Name, b.Sender = "A{{.Code}}\r\n@evil.example #999999\u202e", "OLIVE"
	text, err := words.renderText(Code, "en", b, Data{Code: "123456", Application: "{{range 9}}", At: noon})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.Text, "\n")
	if len(lines) != 3 || lines[2] != "@id.olive.example #123456" || strings.Contains(text.Text, "\u202e") {
		t.Errorf("%q", text.Text)
	}
}

func TestABrandsOwnTextMessages(t *testing.T) {
	words := newWords(t)
	for text, fault := range map[string]string{
		"{Code} for {Brand}": "", "For {Brand}": "{Code}", "{Code} {Network}": "{Network}", "a\nb {Code}": "line break", strings.Repeat("x", 301): "300",
	} {
		err := words.CheckTexts(brand.SMS{Texts: map[string]map[string]string{"en": {"code": text}}})
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for sender, good := range map[string]bool{"OLIVE": true, "Olive Thyme": true, "Olive & Thymes": false, "+447700900000": true, "12345": true, "": true, "Über": false, "1 2": false, "MG0123456789abcdef0123456789abcdef": true, "A\r\nB": false} {
		if err := words.CheckTexts(brand.SMS{Sender: sender}); (err == nil) != good {
			t.Errorf("sender %q: %v", sender, err)
		}
	}
	b := olive
	b.SMS = map[string]map[string]string{"en": {"code": "{Brand}: {Code}"}}
	text, err := words.renderText(Code, "en", b, Data{Code: "123456", At: noon})
	if err != nil || text.Text != "Olive & Thyme: 123456\n\n@id.olive.example #123456" {
		t.Errorf("%v %q", err, text.Text)
	}
}

// asked is what a provider was asked.
type asked struct {
	method, path, auth, contentType, body string
	query                                 url.Values
}

// provider is one that answers with a status, and remembers.
func provider(t *testing.T, status func() int) (string, func() asked) {
	t.Helper()
	var last asked
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		last = asked{r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body), r.URL.Query()}
		w.WriteHeader(status())
	}))
	t.Cleanup(server.Close)
	return server.URL, func() asked { return last }
}

var local = outgoing.New(outgoing.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})

func created() int { return http.StatusCreated }

func TestPresetsAskAsTheProvidersDocument(t *testing.T) {
	message := Text{ID: "msg_1", From: "OLIVE", To: benPhone, Text: "line 1 \"&{{secret}}\n\n@h #123456"}
	at := func(name string) (asked, error) {
		base, last := provider(t, created)
		o, known := TextPreset(name)
		if !known {
			t.Fatalf("no preset %s", name)
		}
		o.Client, o.Account, o.Secret = local, "AC123", "shh"
		for _, origin := range []string{"https://api.twilio.com", "https://api.nexmo.com", "https://rest.messagebird.com"} {
			o.URL = strings.Replace(o.URL, origin, base, 1)
		}
		transport, err := NewTextHTTP(o)
		if err != nil {
			t.Fatal(err)
		}
		err = transport.SendText(t.Context(), message)
		return last(), err
	}
	got, err := at(Twilio)
	form, _ := url.ParseQuery(got.body)
	if err != nil || got.method != "POST" || got.path != "/2010-04-01/Accounts/AC123/Messages.json" || got.auth != "Basic QUMxMjM6c2ho" ||
		got.contentType != "application/x-www-form-urlencoded" || form.Get("To") != benPhone || form.Get("From") != "OLIVE" || form.Get("Body") != message.Text || len(form) != 3 {
		t.Errorf("twilio: %v %+v", err, got)
	}
	var vonage struct {
		MessageType string `json:"message_type"`
		Channel     string
		To          string
		From        string
		Text        string
		ClientRef   string `json:"client_ref"`
		SMS         struct {
			Encoding string `json:"encoding_type"`
		}
	}
	got, err = at(Vonage)
	if errJSON := json.Unmarshal([]byte(got.body), &vonage); err != nil || errJSON != nil || got.path != "/v1/messages" || got.auth != "Basic QUMxMjM6c2ho" || got.contentType != "application/json" ||
		vonage.MessageType != "text" || vonage.Channel != "sms" || vonage.To != "447700900123" || vonage.From != "OLIVE" || vonage.Text != message.Text || vonage.ClientRef != "msg_1" || vonage.SMS.Encoding != "auto" {
		t.Errorf("vonage: %v %+v", err, got)
	}
	var bird struct {
		Recipients                              []string
		Originator, Body, Datacoding, Reference string
	}
	got, err = at(MessageBird)
	if errJSON := json.Unmarshal([]byte(got.body), &bird); err != nil || errJSON != nil || got.path != "/messages" || got.auth != "AccessKey shh" ||
		len(bird.Recipients) != 1 || bird.Recipients[0] != "447700900123" || bird.Originator != "OLIVE" || bird.Body != message.Text || bird.Datacoding != "auto" {
		t.Errorf("messagebird: %v %+v", err, got)
	}
}

func TestTwilioTakesAMessagingService(t *testing.T) {
	o, _ := TextPreset(Twilio)
	o.Client, o.Account, o.Secret = local, "AC123", "shh"
	transport, err := NewTextHTTP(o)
	if err != nil {
		t.Fatal(err)
	}
	service := "MG0123456789abcdef0123456789abcdef"
	request, err := transport.request(t.Context(), Text{From: service, To: benPhone, Text: "x"})
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(request.Body)
	form, _ := url.ParseQuery(string(body))
	if form.Get("MessagingServiceSid") != service || form.Has("From") {
		t.Errorf("%s", body)
	}
}

func TestACustomProvider(t *testing.T) {
	base, last := provider(t, created)
	get, err := NewTextHTTP(TextHTTPOptions{Client: local, URL: base + "/send", Method: "GET", Form: true, Headers: []string{"X-Key: {{secret}}", "Authorization: Bearer {{secret}}"},
		Body: "to={{to}}&text={{text}}&from={{sender}}&kind=otp", Secret: "shh"})
	if err != nil {
		t.Fatal(err)
	}
	if err := get.SendText(t.Context(), Text{From: "A&b=c", To: benPhone, Text: "x&to=+19995550100"}); err != nil {
		t.Fatal(err)
	}
	got := last()
	if got.method != "GET" || got.auth != "Bearer shh" || got.query.Get("to") != benPhone || len(got.query["to"]) != 1 || got.query.Get("text") != "x&to=+19995550100" || got.query.Get("kind") != "otp" {
		t.Errorf("%+v", got)
	}
	good := TextHTTPOptions{Client: local, URL: base, Method: "POST", Body: `{"to":"{{to}}","text":"{{text}}"}`}
	for name, change := range map[string]func(*TextHTTPOptions){
		"no text":          func(o *TextHTTPOptions) { o.Body = `{"to":"{{to}}"}` },
		"no number":        func(o *TextHTTPOptions) { o.Body = `{"text":"{{text}}"}` },
		"unknown fact":     func(o *TextHTTPOptions) { o.Body = `{"to":"{{to}}","text":"{{text}}{{code}}"}` },
		"no JSON":          func(o *TextHTTPOptions) { o.Body = `{"to":{{to}},"text":"{{text}}"}` },
		"two documents":    func(o *TextHTTPOptions) { o.Body += `{}` },
		"secret in URL":    func(o *TextHTTPOptions) { o.URL += "/{{secret}}" },
		"number in header": func(o *TextHTTPOptions) { o.Headers = []string{"X: {{to}}"} },
		"bad header":       func(o *TextHTTPOptions) { o.Headers = []string{"X Y: z"} },
		"GET with JSON":    func(o *TextHTTPOptions) { o.Method = "GET" },
		"DELETE":           func(o *TextHTTPOptions) { o.Method = "DELETE" },
		"no address":       func(o *TextHTTPOptions) { o.URL = "provider" },
	} {
		o := good
		change(&o)
		if _, err := NewTextHTTP(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestAProvidersFailuresAreTriedAgainOrGivenUp(t *testing.T) {
	status := 0
	base, _ := provider(t, func() int { return status })
	transport, err := NewTextHTTP(TextHTTPOptions{Client: local, URL: base, Method: "POST", Body: `{"to":"{{to}}","text":"{{text}}"}`})
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[int]string{200: "sent", 202: "sent", 302: "given up", 400: "given up", 401: "again", 404: "given up", 408: "again", 422: "given up", 429: "again", 500: "again", 503: "again"} {
		status = code
		err := transport.SendText(t.Context(), Text{To: benPhone, Text: "x"})
		var permanent *PermanentError
		outcome := "again"
		switch {
		case err == nil:
			outcome = "sent"
		case errors.As(err, &permanent):
			outcome = "given up"
		}
		if outcome != want || err != nil && strings.Contains(reasonOf(err), benPhone) {
			t.Errorf("%d: %s, %v", code, outcome, err)
		}
	}
	inner, err := NewTextHTTP(TextHTTPOptions{Client: outgoing.New(outgoing.Options{}), URL: base, Method: "POST", Body: `{"to":"{{to}}","text":"{{text}}"}`})
	if err != nil {
		t.Fatal(err)
	}
	var permanent *PermanentError
	if err := inner.SendText(t.Context(), Text{To: benPhone, Text: "x"}); !errors.As(err, &permanent) || permanent.Reason != "outgoing.allow_networks" {
		t.Errorf("an inner provider: %v", err)
	}
}

// textSink remembers text messages.
type textSink struct{ texts []Text }

func (s *textSink) SendText(_ context.Context, t Text) error {
	s.texts = append(s.texts, t)
	return nil
}

func try(t *testing.T, w *world, m Message) error {
	t.Helper()
	return w.db.Write(t.Context(), func(tx *sqldb.Tx) error { return w.outbox.Enqueue(tx, m) })
}

func TestTheOutboxSendsByTheChannelThatAMessageSays(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mails, texts := &sink{}, &textSink{}
		o := w.node(w.db, mails)
		o.o.Texts = texts
		o.o.Brands = func(context.Context, id.Tenant, id.Brand) (Brand, error) {
			b := olive
			b.Sender = "OLIVE"
			return b, nil
		}
		message := w.code(benPhone)
		if err := try(t, w, message); !errors.Is(err, ErrAddress) {
			t.Errorf("a number as mail: %v", err)
		}
		message.By = ByText
		w.enqueue(message)
		for range 3 {
			w.pass(o)
		}
		if len(mails.got()) != 0 || len(texts.texts) != 1 || texts.texts[0].To != benPhone || texts.texts[0].From != "OLIVE" || texts.texts[0].Code == "" {
			t.Fatalf("%+v, %d mails", texts.texts, len(mails.got()))
		}
		if rows := w.rows(); len(rows) != 0 {
			t.Errorf("%+v is left", rows)
		}
		message.To = "ana@olive.example"
		if err := try(t, w, message); !errors.Is(err, ErrPhone) {
			t.Errorf("an address as a text message: %v", err)
		}
		o.o.Texts = nil // an installation that sends none
		message.To = benPhone
		w.enqueue(message)
		w.pass(o)
		if rows := w.rows(); len(rows) != 1 || rows[0].reason != reasonNoTexts {
			t.Errorf("%+v", rows)
		}
	})
}

// What is told of a phone number is worded for one, and the link of a text
// message is what its last sentence leads to.
func TestNoticesOfNumbersAreWordedForThem(t *testing.T) {
	words := newWords(t)
	for lang, word := range map[string]string{"en": "phone number", "de": "Telefonnummer", "ar": "رقم هاتف"} {
		for _, kind := range []Template{AddressAdded, AddressChanged, AddressRemoved} {
			for address, phone := range map[string]bool{"+44 7400 123456": true, "new@example.com": false} {
				data := Data{Address: address, Link: "https://id.olive.example/not-me?link=x", At: noon}
				mail, err := words.render(kind, lang, olive, data)
				if err != nil {
					t.Fatal(err)
				}
				text, err := words.renderText(kind, lang, olive, data)
				if err != nil {
					t.Fatal(err)
				}
				for what, said := range map[string]string{"the subject": mail.Subject, "the heading": mail.HTML, "the text message": text.Text} {
					if strings.Contains(said, word) != phone {
						t.Errorf("%s of %s in %s about %s: %s", what, kind, lang, address, said)
					}
				}
				if !strings.Contains(mail.Text, address) || !strings.Contains(text.Text, ":\nhttps://id.olive.example/not-me?link=x") {
					t.Errorf("%s in %s: %s", kind, lang, text.Text)
				}
			}
		}
		if text, err := words.renderText(NewSignIn, lang, olive, Data{Link: "https://id.olive.example/not-me?link=x", At: noon}); err != nil || !strings.Contains(text.Text, ":\nhttps://") {
			t.Errorf("%s, %v", text.Text, err)
		}
	}
}

// codeOf is the code of a message's preview, "" where it carries none.
func codeOf(t Template) string {
	if carriesCode(t) {
		return "123456"
	}
	return ""
}
