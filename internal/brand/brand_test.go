package brand

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/i18n"
)

func words(t testing.TB) *i18n.Bundle {
	t.Helper()
	b, err := i18n.New()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const good = `
name: Olive & Thyme
theme: {radius: 4}
logo: {height: 32, alone: true}
links:
  en: {imprint: "https://olive.example/imprint", accessibility: "https://olive.example/a11y"}
  de: {imprint: "https://olive.example/impressum"}
css: |
  h1 { font-size: 2rem }
texts:
  de:
    identify.title: Schön, dass Sie da sind
    wait.minutes: {one: "noch {Count} Minute", other: "noch {Count} Minuten"}
mail:
  from_name: Olive & Thyme
  from_address: hallo@olive.example
  texts:
    de:
      code: {subject: "{Code}: Ihr Code"}
`

func TestChangeIsApplied(t *testing.T) {
	c, err := ParseChange([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	d := Document{}.Apply(c)
	if err := d.Check(words(t), nil); err != nil {
		t.Fatal(err)
	}
	if *c.Name != "Olive & Thyme" || string(c.Theme) != `{"radius":4}` || !d.Logo.Alone || d.Mail.Texts["de"]["code"].Subject != "{Code}: Ihr Code" {
		t.Errorf("%+v", d)
	}
	// As it is stored and read again.
	stored, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var again Document
	if err := json.Unmarshal(stored, &again); err != nil || again.Texts["de"]["wait.minutes"]["other"] != "noch {Count} Minuten" || again.Texts["de"]["identify.title"][""] != "Schön, dass Sie da sind" {
		t.Errorf("%+v, %v", again, err)
	}
	only, err := ParseChange([]byte("css: ''"))
	if err != nil {
		t.Fatal(err)
	}
	if changed := d.Apply(only); changed.CSS != "" || !changed.Logo.Alone || len(changed.Texts) != 1 {
		t.Errorf("%+v", changed)
	}
}

func TestParseChangeRefuses(t *testing.T) {
	for text, names := range map[string]string{
		"colour: red":                            "colour",
		"logo: {size: 4}":                        "size",
		"texts: {de: {identify.title: [a]}}":     "plural",
		"links: {de: {imprint: [a]}}":            "links",
		"mail: {texts: {de: {code: {body: x}}}}": "body",
		"- 1":                                    "not understood",
		"css: [":                                 "YAML",
	} {
		if c, err := ParseChange([]byte(text)); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}

func TestCheckTellsEverything(t *testing.T) {
	for text, names := range map[string]string{
		"logo: {height: 400}":                                               "logo.height",
		"links: {fr: {imprint: 'https://a.example'}}":                       "links.fr",
		"links: {de: {agb: 'https://a.example'}}":                           "links.de.agb",
		"links: {de: {imprint: 'http://a.example'}}":                        "https",
		"links: {de: {imprint: 'javascript:alert(1)'}}":                     "https",
		"links: {de: {imprint: 'https://me@a.example'}}":                    "https",
		"links: {de: {imprint: 'https://a.example/\"><b>'}}":                "https",
		"css: 'main{display:none}'":                                         "display",
		"css: 'body{background:url(asset:background)}'":                     "asset:background",
		"texts: {de: {identify.titel: x}}":                                  "identify.titel",
		"texts: {de: {common.to_app: x}}":                                   "{App}",
		"texts: {fr: {identify.title: x}}":                                  "fr",
		"texts: {de: {consent.unverified: Alles gut}}":                      "same words",
		"texts: {de: {share.email: Nichts}}":                                "same words",
		"texts: {de: {disown.body: Nichts}}":                                "same words",
		"mail: {from_name: \"a\\nBcc: x\"}":                                 "mail.from_name",
		"texts: {de: {identify.title: '" + strings.Repeat("x", 700) + "'}}": "600",
	} {
		c, err := ParseChange([]byte(text))
		if err != nil {
			t.Fatal(text, err)
		}
		if err := (Document{}).Apply(c).Check(words(t), nil); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLinksFallBack(t *testing.T) {
	d := Document{Links: map[string]map[string]string{"en": {"imprint": "https://e"}, "de": {"imprint": "https://d", "terms": "https://t"}}}
	for _, tt := range [][3]string{{"de", "imprint", "https://d"}, {"ar", "imprint", "https://e"}, {"ar", "terms", "https://t"}, {"de", "privacy", ""}} {
		if got := d.Link(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%v: %q", tt, got)
		}
	}
	if warnings := strings.Join(d.Warnings([]string{"en", "de"}), "\n"); !strings.Contains(warnings, "terms is there in de and not in en") || strings.Contains(warnings, "imprint") {
		t.Errorf("%q", warnings)
	}
}
