// Package brand owns what a brand may look like and say beyond the colours of
// its theme: its pictures and fonts, the links of its footer, its own CSS, its
// own words on pages and in messages, and who its mail comes from.
//
// All of it is data that an operator writes, and is checked here before it is
// stored: a stylesheet that cannot reach outside or hide anything, pictures
// that cannot run anything, texts that are never templates. The package knows
// no tenants and stores nothing.
package brand

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/cardea-id/cardea/internal/i18n"
)

// Document is what a brand is, but for its name, its theme and its assets. The
// zero value is a brand that leaves everything as it is.
type Document struct {
	Logo LogoShape `json:"logo"`
	// Links stand in the footer: by language and by what they lead to.
	Links map[string]map[string]string `json:"links,omitempty"`
	CSS   string                       `json:"css,omitempty"`
	// Texts are the brand's own words on pages, by language and key.
	Texts map[string]map[string]i18n.Custom `json:"texts,omitempty"`
	Mail  Mail                              `json:"mail"`
	SMS   SMS                               `json:"sms"`
}

// SMS is who a brand's text messages come from and what they say. Without a
// sender they come from the installation's.
type SMS struct {
	Sender string `json:"sender,omitempty"`
	// Texts are the brand's own words, by language and kind of message.
	Texts map[string]map[string]string `json:"texts,omitempty"`
}

// LogoShape says how the logo stands.
type LogoShape struct {
	Height int  `json:"height,omitempty"` // in px; 0 is 40
	Alone  bool `json:"alone,omitempty"`  // the picture spells the name, which is not written beside it
}

// Mail is who a brand's mail comes from and what it says. What is empty is the
// tenant's, then the installation's.
type Mail struct {
	FromName    string `json:"from_name,omitempty"`
	FromAddress string `json:"from_address,omitempty"`
	ReplyTo     string `json:"reply_to,omitempty"`
	// Texts are the brand's own words, by language and kind of message.
	Texts map[string]map[string]MailText `json:"texts,omitempty"`
}

// MailText is the brand's own words in one kind of message. What is empty is
// said in the program's words.
type MailText struct {
	Subject string `json:"subject,omitempty"`
	Heading string `json:"heading,omitempty"`
	Intro   string `json:"intro,omitempty"`
	Button  string `json:"button,omitempty"`
	Footer  string `json:"footer,omitempty"` // below everything; the program has none
}

// Change is what a file says about a brand: what it does not name stays.
type Change struct {
	Name  *string                           `json:"name"`
	Theme json.RawMessage                   `json:"theme"`
	Logo  *LogoShape                        `json:"logo"`
	Links map[string]map[string]string      `json:"links"`
	CSS   *string                           `json:"css"`
	Texts map[string]map[string]i18n.Custom `json:"texts"`
	Mail  *Mail                             `json:"mail"`
	SMS   *SMS                              `json:"sms"`
}

// ParseChange reads a brand's file, YAML or JSON. Unknown keys are refused.
func ParseChange(text []byte) (Change, error) {
	var document any
	if err := yaml.Unmarshal(text, &document); err != nil {
		return Change{}, fmt.Errorf("the brand is not YAML: %w", err)
	}
	asJSON, err := json.Marshal(document)
	if err != nil {
		return Change{}, fmt.Errorf("the brand has a key that is not text: %w", err)
	}
	var c Change
	decoder := json.NewDecoder(bytes.NewReader(asJSON))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return Change{}, fmt.Errorf("the brand is not understood: %w", err)
	}
	return c, nil
}

// Apply returns the document with what the change names in it, each whole.
func (d Document) Apply(c Change) Document {
	if c.Logo != nil {
		d.Logo = *c.Logo
	}
	if c.Links != nil {
		d.Links = c.Links
	}
	if c.CSS != nil {
		d.CSS = *c.CSS
	}
	if c.Texts != nil {
		d.Texts = c.Texts
	}
	if c.Mail != nil {
		d.Mail = *c.Mail
	}
	if c.SMS != nil {
		d.SMS = *c.SMS
	}
	return d
}

// maxDocument is how long a brand's document is at most, as JSON.
const maxDocument = 128 << 10

// LinkKinds are what links of the footer lead to, in their order.
func LinkKinds() []string { return []string{"help", "imprint", "privacy", "terms", "accessibility"} }

// fixedTexts say what protects a customer, and are the program's own: who gets
// what, and why something was stopped.
var fixedTexts = []string{"consent.", "share.", "disown.", "keep.", "fault.", "join."}

// Check returns everything that is wrong with a document, joined; each line
// names the key. The theme and the words of mail are checked by those who draw
// and write them.
func (d Document) Check(words *i18n.Bundle, assets []Asset) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if text, err := json.Marshal(d); err != nil || len(text) > maxDocument {
		fault("the brand has more than %d bytes without its assets", maxDocument)
	}
	if d.Logo.Height != 0 && (d.Logo.Height < 16 || d.Logo.Height > 96) {
		fault("logo.height is %d; it is between 16 and 96", d.Logo.Height)
	}
	for _, lang := range slices.Sorted(maps.Keys(d.Links)) {
		if !slices.Contains(words.Languages(), lang) {
			fault("links.%s: the language is not spoken here; there are %s", lang, strings.Join(words.Languages(), ", "))
		}
		for _, kind := range slices.Sorted(maps.Keys(d.Links[lang])) {
			if !slices.Contains(LinkKinds(), kind) {
				fault("links.%s.%s is none of %s", lang, kind, strings.Join(LinkKinds(), ", "))
			}
			if !isHTTPS(d.Links[lang][kind]) {
				fault("links.%s.%s: %q is not an address that begins with https://", lang, kind, short(d.Links[lang][kind]))
			}
		}
	}
	if _, err := d.Stylesheet(assets, ""); err != nil {
		faults = append(faults, err)
	}
	for _, lang := range slices.Sorted(maps.Keys(d.Texts)) {
		for _, key := range slices.Sorted(maps.Keys(d.Texts[lang])) {
			if slices.ContainsFunc(fixedTexts, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
				fault("texts.%s.%s: what is shared with whom, and why something was stopped, is said in the same words everywhere", lang, key)
				continue
			}
			if err := words.CheckCustom(lang, key, d.Texts[lang][key]); err != nil {
				fault("texts.%s.%s: %w", lang, key, err)
			}
		}
	}
	if name := d.Mail.FromName; name != "" {
		if err := i18n.CheckLine(name, 60); err != nil {
			fault("mail.from_name: %w", err)
		}
	}
	return errors.Join(faults...)
}

// AssetPath is where a brand's assets are served below its tenant's address.
const AssetPath = "/assets/brand/"

// Stylesheet is the document's own CSS as it is served; path is the tenant's.
func (d Document) Stylesheet(assets []Asset, path string) (string, error) {
	return Stylesheet(d.CSS, func(role Role) string {
		if found, ok := Find(assets, role); ok {
			return path + AssetPath + found.Name
		}
		return ""
	})
}

// Find returns the asset of a role.
func Find(assets []Asset, role Role) (Asset, bool) {
	i := slices.IndexFunc(assets, func(a Asset) bool { return a.Role == role })
	if i < 0 {
		return Asset{}, false
	}
	return assets[i], true
}

// Warnings are what is allowed and yet worth a look.
func (d Document) Warnings(languages []string) []string {
	var warnings []string
	css := strings.ToLower(d.CSS)
	if strings.Contains(css, "color:") || strings.Contains(css, "background") {
		warnings = append(warnings, "css sets colours: the contrast of the theme's is checked, that of these is yours to check (4.5 for text, 3 for edges)")
	}
	for _, kind := range LinkKinds() {
		var have, lack []string
		for _, lang := range languages {
			if d.Links[lang][kind] == "" {
				lack = append(lack, lang)
			} else {
				have = append(have, lang)
			}
		}
		if len(have) > 0 && len(lack) > 0 {
			warnings = append(warnings, fmt.Sprintf("links: %s is there in %s and not in %s, whose pages link to the same", kind, strings.Join(have, ", "), strings.Join(lack, ", ")))
		}
	}
	return warnings
}

// Link returns where a link leads in a language: as that language has it, else
// English, else any.
func (d Document) Link(lang, kind string) string {
	for _, wanted := range append([]string{lang, i18n.Default}, slices.Sorted(maps.Keys(d.Links))...) {
		if address := d.Links[wanted][kind]; address != "" {
			return address
		}
	}
	return ""
}

func isHTTPS(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && len(address) <= 500 && !strings.ContainsAny(address, " \\\"'<>\t\r\n")
}
