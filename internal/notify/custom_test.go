package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/brand"
)

func mailTexts(lang string, t Template, m brand.MailText) map[string]map[string]brand.MailText {
	return map[string]map[string]brand.MailText{lang: {string(t): m}}
}

func TestBrandsOwnWords(t *testing.T) {
	words := newWords(t)
	own := olive
	own.Texts = mailTexts("de", Code, brand.MailText{
		Subject: "{Code} – Ihr Schlüssel zu {Brand}", Heading: "Hier ist <b>Ihr</b> Schlüssel", Intro: "Er passt {Minutes} Minuten lang.",
		Footer: "Olive & Thyme GmbH, Feldweg 1, 10115 Berlin",
	})
	if err := words.CheckBrand(brand.Mail{Texts: own.Texts}); err != nil {
		t.Fatal(err)
	}
	m, err := words.render(Code, "de", own, Data{Code: "123456", ValidFor: 10 * time.Minute, At: noon})
	if err != nil {
		t.Fatal(err)
	}
	if want := "123 456 – Ihr Schlüssel zu " + olive.Name; m.Subject != want {
		t.Errorf("subject %q, want %q", m.Subject, want)
	}
	for _, part := range []string{"Er passt 10 Minuten lang.", "GmbH, Feldweg 1", "Wenn Sie das nicht waren", "Angefordert am"} {
		if !strings.Contains(m.Text, part) || !strings.Contains(m.HTML, part) {
			t.Errorf("%q is not in both:\n%s\n%s", part, m.Text, m.HTML)
		}
	}
	if strings.Contains(m.HTML, "<b>") || !strings.Contains(m.HTML, "&lt;b&gt;") {
		t.Errorf("a text became markup: %s", m.HTML)
	}
	// Another language and another message are as they were.
	for _, c := range []struct {
		t    Template
		lang string
	}{{Code, "en"}, {Welcome, "de"}} {
		got, err := words.render(c.t, c.lang, own, Data{Code: "123456", At: noon})
		plain, _ := words.render(c.t, c.lang, olive, Data{Code: "123456", At: noon})
		if err != nil || got.Subject != plain.Subject || got.HTML != plain.HTML {
			t.Errorf("%s in %s: %q, %v", c.t, c.lang, got.Subject, err)
		}
	}
	// A sentence about what is not known is not said.
	own.Texts = mailTexts("de", Welcome, brand.MailText{Intro: "Viel Freude mit {Application}!"})
	for application, said := range map[string]bool{"": false, "Shop": true} {
		m, err := words.render(Welcome, "de", own, Data{Application: application, At: noon})
		if err != nil || strings.Contains(m.Text, "Viel Freude") != said || strings.Contains(m.Text, "{") {
			t.Errorf("%q: %q, %v", application, m.Text, err)
		}
	}
	// What fills a placeholder is not looked into.
	m, err = words.render(Welcome, "de", own, Data{Application: "{Brand}{Code}", At: noon})
	if err != nil || !strings.Contains(m.Text, "mit {Brand}{Code}!") {
		t.Errorf("%q, %v", m.Text, err)
	}
}

func TestBrandsMailIsChecked(t *testing.T) {
	words := newWords(t)
	for name, c := range map[string]struct {
		mail  brand.Mail
		names string
	}{
		"two senders":                  {brand.Mail{FromAddress: "a@a.example,b@b.example"}, "from_address"},
		"a sender with a header":       {brand.Mail{FromAddress: "a@a.example\r\nBcc: b@b.example"}, "from_address"},
		"no reply address":             {brand.Mail{ReplyTo: "nobody"}, "reply_to"},
		"a language not spoken":        {brand.Mail{Texts: mailTexts("fr", Code, brand.MailText{})}, "fr"},
		"an unknown message":           {brand.Mail{Texts: mailTexts("de", "advert", brand.MailText{})}, "advert"},
		"a subject without the code":   {brand.Mail{Texts: mailTexts("de", Code, brand.MailText{Subject: "Ihr Code"})}, "{Code}"},
		"a subject with it at the end": {brand.Mail{Texts: mailTexts("de", Code, brand.MailText{Subject: "Dies ist der Code, den Sie wollten: {Code}"})}, "{Code}"},
		"an unknown placeholder":       {brand.Mail{Texts: mailTexts("de", Welcome, brand.MailText{Intro: "{Code}"})}, "{Code}"},
		"a template":                   {brand.Mail{Texts: mailTexts("de", Welcome, brand.MailText{Intro: "{{.Brand}}"})}, "brace"},
		"another header":               {brand.Mail{Texts: mailTexts("de", Welcome, brand.MailText{Subject: "Hallo\r\nBcc: v@corp.example"})}, "line break"},
		"a button to the code":         {brand.Mail{Texts: mailTexts("de", Code, brand.MailText{Button: "Los"})}, "button"},
		"a long subject":               {brand.Mail{Texts: mailTexts("de", Welcome, brand.MailText{Subject: strings.Repeat("x", 121)})}, "120"},
	} {
		if err := words.CheckBrand(c.mail); err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := words.CheckBrand(brand.Mail{FromName: "Olive", FromAddress: "hallo@olive.example", ReplyTo: "hilfe@olive.example"}); err != nil {
		t.Error(err)
	}
}

func TestMessagesAreShown(t *testing.T) {
	words := newWords(t)
	for _, template := range Templates() {
		shows := "Firefox auf Windows"
		switch template {
		case Locked, Reopened, Closed:
			shows = "12:00 Uhr"
		case Invitation, Dormancy, Erasure:
			shows = "bis 22"
		case JoinOrganization:
			shows = "Example Ltd"
		}
		if m, err := words.Preview(template, "de", olive, Sample{}, noon); err != nil || m.Subject == "" || !strings.Contains(m.HTML, shows) {
			t.Errorf("%s: %+v, %v", template, m, err)
		}
	}
	if _, err := words.Preview("advert", "de", olive, Sample{}, noon); err == nil {
		t.Error("a message that is not there was shown")
	}
}
