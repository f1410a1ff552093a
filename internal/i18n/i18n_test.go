package i18n

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func bundle(t *testing.T) *Bundle {
	t.Helper()
	b, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// forms are the plural forms that CLDR's rules can ask of a language.
var forms = map[string][]string{
	"en": {"one", "other"},
	"de": {"one", "other"},
	"ar": {"few", "many", "one", "other", "two", "zero"},
}

func texts(t *testing.T, lang string) map[string]any {
	t.Helper()
	data, err := locales.ReadFile("locales/" + lang + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := yaml.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

var argument = regexp.MustCompile(`\{\{\.\w+\}\}|\{\w+\}`)

func arguments(text string) []string {
	found := argument.FindAllString(text, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

func TestEveryLanguageIsComplete(t *testing.T) {
	english := texts(t, "en")
	for _, lang := range bundle(t).Languages() {
		theirs := texts(t, lang)
		for key := range theirs {
			if _, ok := english[key]; !ok {
				t.Errorf("%s has %q, which English has not", lang, key)
			}
		}
		for key, text := range english {
			switch theirs := theirs[key].(type) {
			case nil:
				t.Errorf("%s lacks %q", lang, key)
			case string:
				if plain, ok := text.(string); !ok || !slices.Equal(arguments(plain), arguments(theirs)) {
					t.Errorf("%s: %q has other arguments than English: %q", lang, key, theirs)
				}
				if strings.TrimSpace(theirs) == "" {
					t.Errorf("%s: %q is empty", lang, key)
				}
			case map[string]any:
				if got := slices.Sorted(maps.Keys(theirs)); !slices.Equal(got, forms[lang]) {
					t.Errorf("%s: %q has the plural forms %v, its rules need %v", lang, key, got, forms[lang])
				}
				for form, text := range theirs {
					if got := arguments(text.(string)); form != "one" && form != "two" && !slices.Equal(got, []string{"{{.Count}}"}) {
						t.Errorf("%s: %q %s has the arguments %v", lang, key, form, got)
					}
				}
			}
		}
	}
}

func TestTextsAvoidJargon(t *testing.T) {
	for lang, jargon := range map[string]*regexp.Regexp{
		"en": regexp.MustCompile(`(?i)\b(otp|idp|mfa|2fa|credentials?|sessions?|authenticat\w*|verification|token|invalid|log ?in|e-?mail id)\b`),
		"de": regexp.MustCompile(`(?i)\b(otp|idp|mfa|2fa|zugangsdaten|credentials?|sessions?|sitzung\w*|authenti\w*|verifi\w*|verifizier\w*|token|ungültig\w*|log-?in\w*|einloggen|ausloggen|mail|du|dein\w*|dir|dich)\b`),
	} {
		l := bundle(t).Localizer(lang)
		for _, key := range l.Keys() {
			if text := strings.ReplaceAll(l.Text(key, Args{"Count": 2}), "E-Mail", ""); jargon.MatchString(text) {
				t.Errorf("%s: %q", key, text)
			}
		}
	}
}

func TestPlurals(t *testing.T) {
	for _, tt := range []struct {
		lang  string
		count int
		want  string
	}{
		{"en", 1, "You can try again in 1 minute."},
		{"en", 2, "You can try again in 2 minutes."},
		{"de", 1, "In 1 Minute können Sie es noch einmal versuchen."},
		{"de", 2, "In 2 Minuten können Sie es noch einmal versuchen."},
		{"ar", 0, "يمكنك المحاولة بعد ٠ دقيقة."},
		{"ar", 1, "يمكنك المحاولة بعد دقيقة واحدة."},
		{"ar", 2, "يمكنك المحاولة بعد دقيقتين."},
		{"ar", 3, "يمكنك المحاولة بعد ٣ دقائق."},
		{"ar", 10, "يمكنك المحاولة بعد ١٠ دقائق."},
		{"ar", 11, "يمكنك المحاولة بعد ١١ دقيقةً."},
		{"ar", 100, "يمكنك المحاولة بعد ١٠٠ دقيقة."},
		{"ar", 103, "يمكنك المحاولة بعد ١٠٣ دقائق."},
	} {
		if got := bundle(t).Localizer(tt.lang).Text("wait.minutes", Args{"Count": tt.count}); got != tt.want {
			t.Errorf("%s %d: %q, want %q", tt.lang, tt.count, got, tt.want)
		}
	}
}

// What a customer or a tenant wrote is an argument: it is never a template.
func TestArgumentsAreNotTemplates(t *testing.T) {
	got := bundle(t).Localizer("en").Text("common.to_app", Args{"App": "{{range 1000000000}}{{end}}"})
	if want := "to continue to {{range 1000000000}}{{end}}"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct{ name, uiLocales, accept, tenant, want string }{
		{"nothing", "", "", "", "en"},
		{"application", "ar", "en-GB,en;q=0.9", "en", "ar"},
		{"application, region", "fr ar-EG en", "", "", "ar"},
		{"application asks for what is not there", "fr", "ar-SA,ar;q=0.9", "", "ar"},
		{"browser", "", "fr;q=0.9, ar;q=0.8, en;q=0.1", "", "ar"},
		{"browser, of another country", "", "de-AT,de;q=0.9,en;q=0.8", "en", "de"},
		{"application, German", "de-CH", "en", "en", "de"},
		{"browser, order by weight", "", "ar;q=0.1, en-US;q=0.8", "", "en"},
		{"browser refuses", "", "ar;q=0", "en", "en"},
		{"tenant", "", "fr", "ar", "ar"},
		{"star", "", "*", "ar", "ar"},
		{"malformed", "\x00;;", "en;q=x,,,;;", "ar", "ar"},
		{"long header, wanted first", "", "ar," + strings.Repeat("fr-Latn-FR-1694acad,", 5000), "", "ar"},
		{"long header, wanted beyond what is read", "", strings.Repeat("fr-Latn-FR-1694acad,", 5000) + "ar", "", "en"},
		{"one endless word", strings.Repeat("a", 1<<20), strings.Repeat("-a", 1<<20), "ar", "ar"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := bundle(t).Match(tt.uiLocales, tt.accept, tt.tenant); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("ar-EG en", "de;q=0.9, ar;q=0.8")
	f.Add("x-", "en-u-co-phonebk;q=0.5,*")
	f.Add("aa_aa_aa", strings.Repeat("a-", 150))
	b, err := New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, uiLocales, accept string) {
		if got := b.Match(uiLocales, accept, "en"); !slices.Contains(b.Languages(), got) {
			t.Errorf("%q is not a language we have", got)
		}
	})
}

func TestDir(t *testing.T) {
	for lang, want := range map[string]string{"en": "ltr", "de": "ltr", "ar": "rtl", "ar-EG": "rtl", "": "ltr", "xx": "ltr"} {
		if got := Dir(lang); got != want {
			t.Errorf("%q: %s, want %s", lang, got, want)
		}
	}
}

func TestWriting(t *testing.T) {
	at := time.Date(2026, 8, 1, 15, 4, 0, 0, time.UTC)
	en, de, ar := bundle(t).Localizer("en"), bundle(t).Localizer("de"), bundle(t).Localizer("ar")
	for _, tt := range []struct{ got, want string }{
		{en.Date(at), "1 August 2026"},
		{de.Date(at), "1. August 2026"},
		{de.Clock(at), "15:04"},
		{de.Clock(at.Add(-7 * time.Hour)), "08:04"},
		{de.Number(1234567), "1.234.567"},
		{de.Seen(at, at.Add(-25*time.Hour)), "Zuletzt aktiv vor 1 Tag"},
		{de.Seen(at, at.Add(-40*24*time.Hour)), "Zuletzt aktiv am 22. Juni 2026"},
		{ar.Date(at), "١ أغسطس ٢٠٢٦"},
		{en.Clock(at), "3:04 pm"},
		{ar.Clock(at), "٣:٠٤ م"},
		{en.Number(1234567), "1,234,567"},
		{en.Number(-12), "-12"},
		{ar.Number(1234), "١٬٢٣٤"},
		{en.Wait(at, at.Add(61*time.Second)), "You can try again in 2 minutes."},
		{en.Wait(at, at.Add(-time.Second)), "You can try again now."},
		{en.Wait(at, at.Add(3*time.Hour)), "You can try again in 3 hours."},
		{en.Wait(at, at.Add(72*time.Hour)), "You can try again in 3 days."},
		{en.Seen(at, at.Add(-time.Minute)), "Active now"},
		{en.Seen(at, at.Add(-7*time.Minute)), "Last active 7 minutes ago"},
		{en.Seen(at, at.Add(-25*time.Hour)), "Last active 1 day ago"},
		{en.Seen(at, at.Add(-40*24*time.Hour)), "Last active on 22 June 2026"},
		{ar.Seen(at, at.Add(-2*time.Hour)), "آخر نشاط قبل ساعتين"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestSupports(t *testing.T) {
	for _, lang := range bundle(t).Languages() {
		if !Supports(lang) || !Supports(lang+"-XX") {
			t.Errorf("%s is not supported", lang)
		}
	}
	for _, lang := range []string{"", "fr", "e", "eng", "x-en"} {
		if Supports(lang) {
			t.Errorf("%q is supported", lang)
		}
	}
}
