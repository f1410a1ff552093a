package i18n

import (
	"encoding/json"
	"strings"
	"testing"
)

// Every text of ours would pass as a tenant's own: what operators copy works.
func TestOriginalsPassAsCustomTexts(t *testing.T) {
	b := bundle(t)
	for _, lang := range b.Languages() {
		for _, key := range b.Localizer(lang).Keys() {
			original := b.Original(lang, key)
			if err := b.CheckCustom(lang, key, original); err != nil {
				t.Errorf("%s %s: %v", lang, key, err)
			}
			args := Args{"App": "Shop", "Brand": "Olive", "Address": "a", "Date": "d", "ID": "i", "Wait": "w", "Title": "t", "Browser": "b", "System": "s", "Device": "e", "Value": "v",
				"Organization": "o", "Inviter": "n", "Clock": "c"}
			if _, single := original[""]; !single {
				args["Count"] = 3
			}
			l := b.Localizer(lang)
			if got, want := l.With(map[string]Custom{key: original}).Text(key, args), l.Text(key, args); got != want {
				t.Errorf("%s %s: as a custom text %q, as ours %q", lang, key, got, want)
			}
		}
	}
}

func TestCustomTextsAreChecked(t *testing.T) {
	b := bundle(t)
	for _, tt := range []struct{ name, lang, key, text, names string }{
		{"words of its own", "en", "identify.title", `"Come in"`, ""},
		{"HTML is only text", "en", "identify.title", `"<b>Come</b> & stay"`, ""},
		{"without the brand's name", "de", "account.connected_lead", `"Diese sehen Ihr Konto."`, ""},
		{"plural forms", "en", "wait.minutes", `{"one": "Wait {Count} minute.", "other": "Wait {Count} minutes."}`, ""},
		{"a language that is not spoken", "fr", "identify.title", `"Entrez"`, "not spoken"},
		{"no such text", "en", "identify.headline", `"x"`, "no text"},
		{"a placeholder too few", "en", "common.to_app", `"to go on"`, "{App}"},
		{"a placeholder too many", "en", "identify.title", `"Sign in to {Brand}"`, "{Brand}"},
		{"a template", "en", "common.to_app", `"to {{.App}}"`, "brace"},
		{"a template that hangs", "en", "identify.title", `"{{range 1000000000}}{{end}}"`, "brace"},
		{"an open brace", "en", "identify.title", `"x {"`, "brace"},
		{"nothing", "en", "identify.title", `" "`, "empty"},
		{"too long", "en", "identify.title", `"` + strings.Repeat("x", 601) + `"`, "600"},
		{"a line break", "en", "identify.title", `"a\nb"`, "line break"},
		{"a turned direction", "en", "identify.title", `"a\u202eb"`, "direction"},
		{"a mark of ours", "en", "identify.title", `"a\ue000b"`, "direction"},
		{"no plural forms", "en", "wait.minutes", `"Wait {Count} minutes."`, "one, other"},
		{"too few plural forms", "ar", "wait.minutes", `{"one": "x {Count}", "other": "x {Count}"}`, "few, many"},
		{"plural forms of what is not counted", "en", "identify.title", `{"one": "x", "other": "y"}`, "one text"},
	} {
		var c Custom
		if err := json.Unmarshal([]byte(tt.text), &c); err != nil {
			t.Fatal(err)
		}
		err := b.CheckCustom(tt.lang, tt.key, c)
		if (err == nil) != (tt.names == "") || err != nil && !strings.Contains(err.Error(), tt.names) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, text := range []string{`5`, `["a"]`, `{"one": 5}`, `null`} {
		var c Custom
		if err := json.Unmarshal([]byte(text), &c); err == nil && len(c) > 0 && c[""] != "" {
			t.Errorf("%s was read as %v", text, c)
		}
	}
}

func TestCustomTextsAreFilledOnce(t *testing.T) {
	b := bundle(t)
	l := b.Localizer("de").With(map[string]Custom{
		"common.to_app": {"": "zu {App}!"},
		"wait.minutes":  {"one": "noch {Count} Minute", "other": "noch {Count} Minuten"},
	})
	for _, tt := range []struct {
		key, want string
		args      Args
	}{
		{"common.to_app", "zu {Brand}{App}{{.App}}!", Args{"App": "{Brand}{App}{{.App}}", "Brand": "evil"}},
		{"wait.minutes", "noch 1 Minute", Args{"Count": 1}},
		{"wait.minutes", "noch 1.200 Minuten", Args{"Count": 1200}},
		{"common.continue", "Weiter", nil},
	} {
		if got := l.Text(tt.key, tt.args); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.key, got, tt.want)
		}
	}
	if got := b.Localizer("de").Text("common.to_app", Args{"App": "x"}); got != "weiter zu x" {
		t.Errorf("the program's own text is now %q", got)
	}
}
