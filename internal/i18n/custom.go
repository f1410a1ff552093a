package i18n

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// Custom is one text in a tenant's own words: under "" where nothing is
// counted, else under each plural form. It is data: {Name} stands for an
// argument, and nothing else in it means anything.
type Custom map[string]string

// UnmarshalJSON reads a text, or an object of texts by plural form.
func (c *Custom) UnmarshalJSON(text []byte) error {
	var plain string
	if err := json.Unmarshal(text, &plain); err == nil {
		*c = Custom{"": plain}
		return nil
	}
	var forms map[string]string
	if err := json.Unmarshal(text, &forms); err != nil || forms == nil {
		return errors.New("it is neither a text nor texts by plural form, such as {one: …, other: …}")
	}
	*c = forms
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (c Custom) MarshalJSON() ([]byte, error) {
	if plain, ok := c[""]; ok && len(c) == 1 {
		return json.Marshal(plain)
	}
	return json.Marshal(map[string]string(c))
}

// longestCustom is how many characters a custom text has at most.
const longestCustom = 600

var (
	argumentOfOurs = regexp.MustCompile(`\{\{\.(\w+)\}\}|\{(\w+)\}`)
	placeholder    = regexp.MustCompile(`\{([A-Za-z]\w*)\}`)
)

// Placeholders lists what stands in braces in a text of a tenant's, sorted.
// Braces that are no placeholder are an error.
func Placeholders(text string) ([]string, error) {
	if rest := placeholder.ReplaceAllString(text, ""); strings.ContainsAny(rest, "{}") {
		return nil, errors.New("it has a brace that is not part of a placeholder such as {Brand}")
	}
	var names []string
	for _, found := range placeholder.FindAllStringSubmatch(text, -1) {
		names = append(names, found[1])
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Fill puts values in the place of a text's placeholders. One without a value
// stays as it is. Values are not looked into.
func Fill(text string, value func(name string) (string, bool)) string {
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		if filled, ok := value(found[1 : len(found)-1]); ok {
			return filled
		}
		return found
	})
}

// CheckLine holds a tenant's text to one line of so many characters, with
// nothing in it that could make it look like something else.
func CheckLine(text string, most int) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New("it is empty")
	case !utf8.ValidString(text):
		return errors.New("it is not UTF-8")
	case utf8.RuneCountInString(text) > most:
		return fmt.Errorf("it has more than %d characters", most)
	case strings.ContainsFunc(text, unsafeInText):
		return errors.New("it has a line break, a control character or a mark that turns the direction of writing")
	}
	return nil
}

func unsafeInText(r rune) bool {
	return unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029 || r == 0xfeff || unicode.In(r, unicode.Co)
}

// Original returns the program's own text of a key by plural form ("" where
// nothing is counted), with placeholders as custom texts write them; nil where
// there is none.
func (b *Bundle) Original(lang, key string) Custom {
	l, ok := b.localizers[lang]
	if !ok {
		return nil
	}
	return l.originals[key]
}

// CheckCustom tells whether a text may stand in the place of the program's
// own: it has the same placeholders, but for {Brand}, which it may leave out,
// and the same plural forms.
func (b *Bundle) CheckCustom(lang, key string, c Custom) error {
	original := b.Original(lang, key)
	if original == nil {
		if _, spoken := b.localizers[lang]; !spoken {
			return fmt.Errorf("the language %q is not spoken here; there are %s", lang, strings.Join(b.languages, ", "))
		}
		return fmt.Errorf("there is no text %q", key)
	}
	if have, want := slices.Sorted(maps.Keys(c)), slices.Sorted(maps.Keys(original)); !slices.Equal(have, want) {
		if _, single := original[""]; single {
			return errors.New("it is one text, without plural forms")
		}
		return fmt.Errorf("it counts: in %q it needs the plural forms %s", lang, strings.Join(want, ", "))
	}
	for _, form := range slices.Sorted(maps.Keys(c)) {
		if err := checkForm(c[form], original[form]); err != nil {
			if form != "" {
				return fmt.Errorf("%s: %w", form, err)
			}
			return err
		}
	}
	return nil
}

func checkForm(text, original string) error {
	if err := CheckLine(text, longestCustom); err != nil {
		return err
	}
	have, err := Placeholders(text)
	if err != nil {
		return err
	}
	want, err := Placeholders(original)
	if err != nil {
		return err
	}
	for _, name := range have {
		if !slices.Contains(want, name) {
			return fmt.Errorf("it has {%s}, which the text %q has not", name, original)
		}
	}
	for _, name := range want {
		if !slices.Contains(have, name) && name != "Brand" {
			return fmt.Errorf("it lacks {%s} of the text %q", name, original)
		}
	}
	return nil
}

// With returns a Localizer that says the given texts, by key, in the place of
// its own. The texts were checked by CheckCustom; what is missing in them is
// said in the program's words.
func (l *Localizer) With(custom map[string]Custom) *Localizer {
	if len(custom) == 0 {
		return l
	}
	own := *l
	own.custom = custom
	return &own
}

// customText is the tenant's text of a key.
func (l *Localizer) customText(key string, args Args) (string, bool) {
	forms, ok := l.custom[key]
	if !ok {
		return "", false
	}
	form := ""
	if count, counted := args["Count"].(int); counted && forms[""] == "" {
		form = Plural(l.lang, count)
	}
	text, ok := forms[form]
	if !ok {
		return "", false
	}
	return Fill(text, func(name string) (string, bool) {
		value, there := args[name]
		if number, isNumber := value.(int); isNumber {
			return l.Number(number), true
		}
		return fmt.Sprint(value), there
	}), true
}

var pluralNames = map[plural.Form]string{
	plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many", plural.Other: "other",
}

// Plural is CLDR's plural form of a count: "one", "other", ….
func Plural(lang string, n int) string {
	return pluralNames[plural.Cardinal.MatchPlural(language.Make(lang), n, 0, 0, 0, 0)]
}
