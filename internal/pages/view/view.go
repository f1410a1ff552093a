// Package view draws the hosted pages: it turns what a page has to say into
// HTML in the visitor's language and the brand's look, and owns the templates,
// the stylesheet, the script and the themes.
//
// It holds no rule, routes nothing and reads no request: the pages package
// decides which page comes next, and hands over a Page. Every page works
// without scripts; there is no inline code or style, so that the policy that
// CSP writes holds. Whatever is shown is data: texts of customers, tenants and
// applications are escaped where they stand, and isolated from the direction
// of the sentence around them.
//
//	views, err := view.New()
//	look, err := views.Look(view.OliveAndThyme())
//	err = views.Render(w, view.Page{Lang: "en", Look: look, Action: "/journey", State: sealed,
//		Data: view.Identify{Kinds: []string{"email"}, Create: true}})
package view

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cardea-id/cardea/internal/i18n"
)

//go:embed templates/*.html
var templateFiles embed.FS

// Views draws pages. It does not change after New and is safe for concurrent
// use.
type Views struct {
	words  *i18n.Bundle
	pages  map[string]func() (*template.Template, error) // read when a page is first drawn
	assets assets
}

// Page is everything that one page shows.
type Page struct {
	Lang        string   // as i18n.Bundle.Match chose it
	Languages   []string // offered in the footer, posted as field "lang"; none hides the choice
	Look        *Look    // the brand's, from Views.Look
	Application string   // whose sign-in this is, as the customer knows it; may be empty
	Action      string   // where the form is posted: a path of this host
	State       string   // the journey's sealed state, posted back as field "state"
	Values      map[string]string
	Errors      map[string]Text // what is wrong, by field
	Notice      *Notice         // what just happened, above the form
	Portal      *Portal         // around pages of the account; nil for others
	Appearance  string          // light or dark where the customer wants that; else as the device
	Now         time.Time       // what "5 minutes ago" counts from
	Data        Data            // which page this is, and what it alone needs
}

// Data is one of the structs of this package that describe a page: Identify,
// Password, Recover, CreateAccount, Code, NewPassword, NewAddress, RemoveAddress, ReviewAddresses, ConfirmAddress, CloseAccount, Collect, Terms, Consent, Disown, Message,
// Deny, Fault, Expired, Limited, Busy, SignOut, SignedOut, NotFound,
// the account's: Account, Profile, Access, Devices, Applications, Revoke, Preferences,
// and organizations': JoinOrganization, ChooseOrganization, Organizations,
// LeaveOrganization.
type Data interface{ page() string }

// Text is a sentence to show: one of i18n's by its key with arguments, or, if
// Literal is set, a tenant's own words as they are.
type Text struct {
	Key     string
	Args    i18n.Args
	Literal string
}

// T is the text of a key; pairs are the names and values of its arguments.
func T(key string, pairs ...any) Text { return Text{Key: key, Args: arguments(pairs)} }

// Literal is a text in a tenant's own words.
func Literal(words string) Text { return Text{Literal: words} }

// Tone is the meaning of a notice, shown by colour and mark.
type Tone string

const (
	Info    Tone = "info"
	OK      Tone = "ok"
	Problem Tone = "problem"
)

// Notice says what just happened.
type Notice struct {
	Tone Tone
	Text Text
}

var errPage = errors.New("view: page is not whole")

// New reads the embedded texts, assets and shared templates.
func New() (*Views, error) {
	words, err := i18n.New()
	if err != nil {
		return nil, err
	}
	v := &Views{words: words, pages: map[string]func() (*template.Template, error){}}
	if v.assets, err = readAssets(); err != nil {
		return nil, err
	}
	shared, err := template.New("").ParseFS(templateFiles, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	for _, data := range everyPage() {
		v.pages[data.page()] = sync.OnceValues(func() (*template.Template, error) {
			t, err := shared.Clone()
			if err != nil {
				return nil, err
			}
			return t.ParseFS(templateFiles, "templates/"+data.page()+".html")
		})
	}
	return v, nil
}

// Words are the texts that the pages are written with; Match chooses a Lang.
func (v *Views) Words() *i18n.Bundle { return v.words }

// Render writes the page whole, or nothing.
func (v *Views) Render(w io.Writer, p Page) error {
	if p.Data == nil || p.Look == nil {
		return fmt.Errorf("%w: it needs data and a look", errPage)
	}
	name := p.Data.page()
	read, ok := v.pages[name]
	if !ok {
		return fmt.Errorf("%w: no page %q", errPage, name)
	}
	t, err := read()
	if err != nil {
		return fmt.Errorf("view: %s: %w", name, err)
	}
	f := &frame{Page: p, name: name, l: v.Localizer(p.Look, p.Lang), assets: v.assets}
	f.Languages = slices.DeleteFunc(slices.Clone(p.Languages), func(lang string) bool { return lang == f.l.Lang() })
	var out bytes.Buffer
	if err := t.ExecuteTemplate(&out, "layout", f); err != nil {
		return fmt.Errorf("view: %s: %w", name, err)
	}
	_, err = w.Write(out.Bytes())
	return err
}

func (t Text) empty() bool { return t.Key == "" && t.Literal == "" }
