// Package i18n owns the words: the texts of every hosted page in every
// language that is supported, how a language is chosen for a visitor, and how
// numbers, dates and spans of time are written in it.
//
// Texts stand in locales/*.yaml, one file a language, flat keys named
// "page.element" ("identify.title"), errors "error.*", things that happened
// "notice.*". A text is a whole sentence, never a piece of one; what varies is
// an argument ({{.App}}), what is counted has the plural forms of CLDR and the
// argument {{.Count}}. A test holds that every language has every key, every
// argument and every plural form its rules need.
//
// It knows nothing of HTTP, HTML or identity: results are plain text, to be
// escaped by whoever writes them. Texts are the program's own; where a tenant
// has words of its own (Custom), they are data: never a template.
package i18n

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	goi18n "github.com/nicksnyder/go-i18n/v2/i18n"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
)

//go:embed locales/*.yaml
var locales embed.FS

// Default is the language of whoever asks for none that is supported.
const Default = "en"

// supported are the languages that there are texts in, by their files.
var supported = sync.OnceValue(func() []string {
	files, _ := fs.Glob(locales, "locales/*.yaml") // the pattern is well formed, which is all that can be wrong
	languages := make([]string, 0, len(files))
	for _, file := range files {
		languages = append(languages, strings.TrimSuffix(path.Base(file), ".yaml"))
	}
	return languages
})

// Supports tells whether there are texts for a language, or for the one that it
// is a form of: for en-GB those in en.
func Supports(lang string) bool {
	return slices.ContainsFunc(supported(), func(has string) bool { return lang == has || strings.HasPrefix(lang, has+"-") })
}

// Bundle holds the texts of all languages. It does not change after New and is
// safe for concurrent use.
type Bundle struct {
	languages  []string
	tags       []language.Tag
	matcher    language.Matcher
	localizers map[string]*Localizer
}

// New reads the embedded texts.
func New() (*Bundle, error) {
	words := goi18n.NewBundle(language.English)
	words.RegisterUnmarshalFunc("yaml", yaml.Unmarshal)
	files, err := fs.Glob(locales, "locales/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("i18n: %w", err)
	}
	b := &Bundle{languages: []string{Default}, tags: []language.Tag{language.English}, localizers: map[string]*Localizer{}}
	keys, fixed, originals := map[string]map[string]bool{}, map[string]map[string]string{}, map[string]map[string]Custom{}
	for _, file := range files {
		data, err := locales.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("i18n: %w", err)
		}
		parsed, err := words.ParseMessageFileBytes(data, path.Base(file))
		if err != nil {
			return nil, fmt.Errorf("i18n: %s: %w", file, err)
		}
		lang := parsed.Tag.String()
		if lang != Default {
			b.languages = append(b.languages, lang)
			b.tags = append(b.tags, parsed.Tag)
		}
		keys[lang], fixed[lang], originals[lang] = map[string]bool{}, map[string]string{}, map[string]Custom{}
		for _, m := range parsed.Messages {
			keys[lang][m.ID], originals[lang][m.ID] = true, original(m)
			if m.One == "" && !strings.Contains(m.Other, "{{") {
				fixed[lang][m.ID] = m.Other
			}
		}
	}
	if keys[Default] == nil {
		return nil, errors.New("i18n: the texts of the default language are missing")
	}
	b.matcher = language.NewMatcher(b.tags)
	for _, lang := range b.languages {
		script, ok := scripts[lang]
		if !ok {
			return nil, fmt.Errorf("i18n: %s has texts but no way to write dates", lang)
		}
		b.localizers[lang] = &Localizer{lang: lang, words: goi18n.NewLocalizer(words, lang), keys: keys[lang], fixed: fixed[lang], originals: originals[lang], script: script}
	}
	return b, nil
}

// original is a text as tenants see it when they write their own.
func original(m *goi18n.Message) Custom {
	forms := Custom{}
	for form, text := range map[string]string{"zero": m.Zero, "one": m.One, "two": m.Two, "few": m.Few, "many": m.Many, "other": m.Other} {
		if text != "" {
			forms[form] = argumentOfOurs.ReplaceAllString(text, "{$1$2}")
		}
	}
	if len(forms) == 1 {
		return Custom{"": forms["other"]}
	}
	return forms
}

// Languages lists the supported languages, the default first.
func (b *Bundle) Languages() []string { return slices.Clone(b.languages) }

// Localizer returns the texts of a language as Match gave it; of the default
// language where it is not supported.
func (b *Bundle) Localizer(lang string) *Localizer {
	if l, ok := b.localizers[lang]; ok {
		return l
	}
	return b.localizers[Default]
}

// Localizer speaks one language. It is safe for concurrent use.
type Localizer struct {
	lang   string
	words  *goi18n.Localizer
	keys   map[string]bool
	fixed  map[string]string // texts in which nothing varies
	script script

	originals map[string]Custom
	custom    map[string]Custom // a tenant's own words, of With
}

// Lang is the language's BCP 47 tag.
func (l *Localizer) Lang() string { return l.lang }

// Dir is the direction of its writing: "ltr" or "rtl".
func (l *Localizer) Dir() string { return Dir(l.lang) }

// Has tells whether there is a text of that key.
func (l *Localizer) Has(key string) bool { return l.keys[key] }

// Keys lists the keys of all texts, sorted.
func (l *Localizer) Keys() []string { return slices.Sorted(maps.Keys(l.keys)) }

// Args are what varies in a text. An integer under "Count" also chooses the
// plural form. Integers are written with the language's digits.
type Args map[string]any

// Text returns the text of a key. A key that does not exist is an error of the
// program, found by tests; here it is returned as it is, which harms nobody.
func (l *Localizer) Text(key string, args Args) string {
	if l.custom != nil {
		if text, ok := l.customText(key, args); ok {
			return text
		}
	}
	if text, ok := l.fixed[key]; ok {
		return text
	}
	config := goi18n.LocalizeConfig{MessageID: key}
	if len(args) > 0 {
		data := make(map[string]any, len(args))
		for name, value := range args {
			number, isNumber := value.(int)
			if !isNumber {
				data[name] = value
				continue
			}
			data[name] = l.Number(number)
			if name == "Count" {
				config.PluralCount = number
			}
		}
		config.TemplateData = data
	}
	text, err := l.words.Localize(&config)
	if err != nil {
		return key
	}
	return text
}

// Name is what a language calls itself: the label of a choice of languages.
func Name(lang string) string {
	if s, ok := scripts[lang]; ok {
		return s.name
	}
	return lang
}

// Dir is the direction in which a language is written: "ltr" or "rtl".
func Dir(lang string) string {
	base, _, _ := strings.Cut(lang, "-")
	if scripts[base].rightToLeft {
		return "rtl"
	}
	return "ltr"
}
