package notify

import (
	"bytes"
	"embed"
	"fmt"
	htmltemplate "html/template"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"text/template"
	"unicode"

	"github.com/cardea-id/cardea/internal/i18n"
)

//go:embed templates/*.tmpl
var templates embed.FS

// Words puts messages into words. The texts are the program's own; what tenants
// and customers write is data in them. It is safe for concurrent use.
type Words struct {
	bundle *i18n.Bundle
	texts  map[string]*template.Template // by language
	layout *htmltemplate.Template
}

// parts are the sentences of each message as mail. The action is the label of
// the link to the account. As a text message
// it has one part, "sms", or says its subject alone.
var parts = [...]string{"subject", "heading", "lead", "details", "not_you", "action"}

// NewWords reads the embedded texts. Each language of the bundle must have all
// parts of all messages.
func NewWords(bundle *i18n.Bundle) (*Words, error) {
	w := &Words{bundle: bundle, texts: map[string]*template.Template{}}
	var err error
	if w.layout, err = htmltemplate.ParseFS(templates, "templates/layout.html.tmpl"); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	for _, lang := range bundle.Languages() {
		texts, err := template.New(lang).Option("missingkey=error").ParseFS(templates, "templates/"+lang+".tmpl")
		if err != nil {
			return nil, fmt.Errorf("notify: %w", err)
		}
		for _, t := range Templates() {
			for _, part := range parts {
				if texts.Lookup(string(t)+"."+part) == nil {
					return nil, fmt.Errorf("notify: the texts in %s lack %s.%s", lang, t, part)
				}
			}
		}
		w.texts[lang] = texts
	}
	return w, nil
}

func (w *Words) has(t Template) bool {
	texts := w.texts[i18n.Default]
	return texts != nil && texts.Lookup(string(t)+".subject") != nil
}

// facts are what the sentences may mention.
type facts struct {
	Brand, Application, Browser, System string
	Code                                string
	Date, Clock                         string
	Until                               string // the day of Data.Until, "" for none
	UntilClock                          string
	Minutes                             string // "" where there is no limit to tell
	Plural                              string // CLDR's category of Minutes
	Network                             string
	Holder                              Holder
	Address                             string
	Phone                               bool // Address is a phone number
	Link                                bool // there is a link of the message's own
	Staff                               bool // an operator did it
	Organization, Inviter               string
}

// page is what the layout shows.
type page struct {
	Lang, Dir, Brand, Subject, Heading, Lead, Details, NotYou, Action, Link, Code, Footer string
	Accent, OnAccent                                                                      string
}

func (w *Words) render(t Template, lang string, brand Brand, d Data) (Mail, error) {
	words := w.bundle.Localizer(w.bundle.Match(lang, "", ""))
	f := factsOf(words, brand, d)
	p := page{Lang: words.Lang(), Dir: words.Dir(), Brand: f.Brand, Code: f.Code, Accent: color(brand.Accent, "#1f6f54"), OnAccent: color(brand.OnAccent, "#ffffff")}
	for i, into := range []*string{&p.Subject, &p.Heading, &p.Lead, &p.Details, &p.NotYou, &p.Action} {
		var text strings.Builder
		if err := w.texts[words.Lang()].ExecuteTemplate(&text, string(t)+"."+parts[i], f); err != nil {
			return Mail{}, fmt.Errorf("putting %s into words: %w", t, err)
		}
		*into = strings.TrimSpace(text.String())
	}
	ours := p
	p.take(brand.Texts[words.Lang()][string(t)], f)
	if d.Holder != "" { // what is to be said of the account is said
		p.Lead = ours.Lead
	}
	target := brand.AccountURL
	if d.Link != "" { // it leads elsewhere than a brand's button does
		target, p.Action = d.Link, ours.Action
	}
	if link, ok := safeLink(target); ok && p.Action != "" {
		p.Link = link
	}
	var html bytes.Buffer
	if err := w.layout.Execute(&html, p); err != nil {
		return Mail{}, fmt.Errorf("laying %s out: %w", t, err)
	}
	from := plain(brand.FromName, 60)
	if from == "" {
		from = f.Brand
	}
	return Mail{
		FromName: from, From: brand.From, ReplyTo: brand.ReplyTo, Lang: words.Lang(),
		Subject: p.Subject, Text: p.text(), HTML: html.String(), Code: d.Code,
	}, nil
}

// text is the plain twin of the layout.
func (p page) text() string {
	paragraphs := []string{p.Subject, p.Lead, p.Details, p.NotYou}
	if p.Link != "" {
		paragraphs = append(paragraphs, p.Action+":\n"+p.Link)
	}
	paragraphs = append(paragraphs, p.Brand)
	if p.Footer != "" {
		paragraphs = append(paragraphs, p.Footer)
	}
	return strings.Join(paragraphs, "\n\n") + "\n"
}

// plain makes one line of text of what a tenant or a customer wrote: no control
// characters, nothing that turns the direction of writing, no more than max
// characters.
func plain(text string, max int) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, ""), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)
	}), " ")
	if runes := []rune(text); len(runes) > max {
		text = strings.TrimSpace(string(runes[:max-1])) + "…"
	}
	return text
}

// modest is plain for what a browser says of itself: nothing of it can look
// like an address or a sentence.
func modest(text string) string {
	return plain(strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == ' ') {
			return r
		}
		return -1
	}, text), 24)
}

// address is an IP address as it is written, "" for anything else.
func address(text string) string {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

// spaced groups a code for the eye: "123 456". In languages written from right
// to left the space does not break, as a plain one would turn the groups round.
func spaced(code string, rightToLeft bool) string {
	code = modest(code)
	group := 3
	if len(code)%4 == 0 {
		group = 4
	}
	if len(code) < 6 || len(code)%group != 0 {
		return code
	}
	space := " "
	if rightToLeft {
		space = "\u00a0"
	}
	var out strings.Builder
	for i := 0; i < len(code); i += group {
		if i > 0 {
			out.WriteString(space)
		}
		out.WriteString(code[i : i+group])
	}
	return out.String()
}

var hexColor = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

func color(wanted, fallback string) string {
	if hexColor.MatchString(wanted) {
		return wanted
	}
	return fallback
}

// safeLink accepts absolute web addresses only.
func safeLink(link string) (string, bool) {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return "", false
	}
	return u.String(), true
}
