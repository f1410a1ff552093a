package tenant_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/tenant"
)

func TestDefaultsAreRight(t *testing.T) {
	if err := tenant.Defaults().Check(); err != nil {
		t.Error(err)
	}
	if warnings := tenant.Defaults().Warnings(); len(warnings) != 0 {
		t.Errorf("warnings %q", warnings)
	}
	if tenant.Defaults().Password.MinLength != 15 {
		t.Error("NIST SP 800-63B-4 asks for 15 where the password is the only factor")
	}
}

func TestParseSettings(t *testing.T) {
	base := tenant.Defaults()
	for name, text := range map[string]string{
		"YAML": "password:\n  min_length: 8\nlimits:\n  code_lifetime: 5m\nlanguages: [ar]\n",
		"JSON": `{"password": {"min_length": 8}, "limits": {"code_lifetime": "5m"}, "languages": ["ar"]}`,
	} {
		parsed, err := tenant.ParseSettings(base, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		want := tenant.Defaults()
		want.Password.MinLength, want.Limits.CodeLifetime, want.Languages = 8, tenant.Duration(5*time.Minute), []string{"ar"}
		if !reflect.DeepEqual(parsed, want) {
			t.Errorf("%s: got %+v", name, parsed)
		}
		if err := parsed.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if warnings := parsed.Warnings(); len(warnings) != 1 || !strings.Contains(warnings[0], "800-63B") {
			t.Errorf("%s: warnings %q", name, warnings)
		}
	}
	if parsed, err := tenant.ParseSettings(base, nil); err != nil || !reflect.DeepEqual(parsed, base) {
		t.Errorf("nothing: %+v, %v", parsed, err)
	}
}

// TestParseLeavesTheBaseAlone: the base is a value that all of the node shares.
func TestParseLeavesTheBaseAlone(t *testing.T) {
	full := func() tenant.Settings {
		s := tenant.Defaults()
		s.SignUp.Collect = []string{"given_name", "family_name"}
		s.Identifiers = []tenant.DeclaredIdentifier{{Name: "card", Label: "Card", Pattern: "[0-9]{6}", Case: "exact"}}
		s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{Title: map[string]string{"en": "Terms", "de": "AGB"}, URL: "https://shop.example/terms"}}}
		return s
	}
	base := full()
	parsed, err := tenant.ParseSettings(base, []byte(`
sign_up: {collect: [nickname]}
identifiers: [{name: number, label: Number, pattern: "[A-Z]+"}]
terms: {documents: [{title: {ar: "الشروط"}, url: "https://shop.example/ar"}]}
languages: [ar]
profile: {type: object, additionalProperties: false, properties: {nickname: {type: string}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(base, full()) {
		t.Errorf("the base is now %+v", base)
	}
	if err := parsed.Check(); err != nil {
		t.Error(err)
	}
	// Lists are replaced whole: nothing of what stood at the same place stays.
	if got := parsed.Identifiers; len(got) != 1 || got[0] != (tenant.DeclaredIdentifier{Name: "number", Label: "Number", Pattern: "[A-Z]+"}) {
		t.Errorf("identifiers %+v", got)
	}
	if got := parsed.Terms.Documents; len(got) != 1 || len(got[0].Title) != 1 || got[0].Title["ar"] == "" {
		t.Errorf("documents %+v", got)
	}
	if parsed.Terms.Version != "1" {
		t.Errorf("the version, which was not named, is %q", parsed.Terms.Version)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, names := range map[string]string{
		"password: [":                      "YAML",
		"pasword: {min_length: 8}":         "pasword",
		"password: {min_lenght: 8}":        "min_lenght",
		"password: {min_length: eight}":    "min_length",
		"password: {min_length: 8.5}":      "min_length",
		"session: {idle: 3600}":            "idle",
		"session: {idle: soon}":            "soon",
		"region: GB\nregion: DE":           "region",
		"- 1":                              "not understood",
		"sign_up: {collect: given_name}":   "collect",
		"terms: {documents: [{href: x}]}":  "href",
		"? [a, b]\n: 1":                    "",
		"password: {parallelism: 300}":     "parallelism",
		"password: {memory_kib: -1}":       "memory_kib",
		"languages: {en: true}":            "languages",
		"profile: {a: 1}\nprofile: {b: 2}": "profile",
	} {
		if parsed, err := tenant.ParseSettings(tenant.Defaults(), []byte(text)); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%q: %+v, %v", text, parsed.Password, err)
		}
	}
}

func TestCheckTellsAllFaults(t *testing.T) {
	var s tenant.Settings
	err := s.Check()
	if err == nil {
		t.Fatal("nothing is right")
	}
	for _, key := range []string{
		"password.min_length", "password.memory_kib", "password.time", "password.parallelism", "session.idle", "session.stay_idle",
		"limits.password_per_hour", "limits.password_total", "limits.code_per_hour", "limits.code_total", "limits.send_per_hour",
		"limits.attempts_per_code", "limits.code_lifetime", "tokens.access", "tokens.id", "tokens.code", "tokens.refresh_idle", "region", "languages", "profile",
	} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not told of", key)
		}
	}
}

func TestCheck(t *testing.T) {
	minutes := func(n int) tenant.Duration { return tenant.Duration(time.Duration(n) * time.Minute) }
	for _, c := range []struct {
		name   string
		change func(*tenant.Settings)
		names  string // "" says that it is right
	}{
		{"a short password", func(s *tenant.Settings) { s.Password.MinLength = 8 }, ""},
		{"too short a password", func(s *tenant.Settings) { s.Password.MinLength = 7 }, "password.min_length"},
		{"a password too long to ask for", func(s *tenant.Settings) { s.Password.MinLength = 65 }, "password.min_length"},
		{"OWASP's 12 MiB", func(s *tenant.Settings) { s.Password.MemoryKiB, s.Password.Time = 12288, 3 }, ""},
		{"OWASP's 7 MiB", func(s *tenant.Settings) { s.Password.MemoryKiB, s.Password.Time = 7168, 5 }, ""},
		{"a hash that is too cheap", func(s *tenant.Settings) { s.Password.Time = 1 }, "weaker"},
		{"a hash that is too dear", func(s *tenant.Settings) { s.Password.MemoryKiB = 1 << 20 }, "memory_kib"},
		{"a session that ends before it idles", func(s *tenant.Settings) { s.Session.Absolute = minutes(30) }, "session.absolute"},
		{"codes that live too long", func(s *tenant.Settings) { s.Limits.CodeLifetime = minutes(11) }, "limits.code_lifetime"},
		{"more wrong passwords than NIST allows", func(s *tenant.Settings) { s.Limits.PasswordTotal = 101 }, "limits.password_total"},
		{"no limit for codes", func(s *tenant.Settings) { s.Limits.CodePerHour = 0 }, "limits.code_per_hour"},
		{"authorization codes that live too long", func(s *tenant.Settings) { s.Tokens.Code = minutes(11) }, "tokens.code"},
		{"negative durations", func(s *tenant.Settings) { s.Tokens.Access = minutes(-1) }, "tokens.access"},
		{"a region in lower case", func(s *tenant.Settings) { s.Region = "gb" }, "region"},
		{"no languages", func(s *tenant.Settings) { s.Languages = nil }, "languages"},
		{"a language that is none", func(s *tenant.Settings) { s.Languages = []string{"en", "x\r\ny"} }, "languages"},
		{"collecting what is declared", func(s *tenant.Settings) { s.SignUp.Collect = []string{"given_name"} }, ""},
		{"collecting what is not declared", func(s *tenant.Settings) { s.SignUp.Collect = []string{"shoe_size"} }, "shoe_size"},
		{"an identifier", func(s *tenant.Settings) {
			s.Identifiers = []tenant.DeclaredIdentifier{{Name: "card", Pattern: "[0-9]+"}}
		}, ""},
		{"an identifier named like a built-in one", func(s *tenant.Settings) { s.Identifiers = []tenant.DeclaredIdentifier{{Name: "email", Pattern: "a"}} }, "email"},
		{"an identifier twice", func(s *tenant.Settings) {
			s.Identifiers = []tenant.DeclaredIdentifier{{Name: "a", Pattern: "a"}, {Name: "a", Pattern: "b"}}
		}, "twice"},
		{"an identifier with a bad name", func(s *tenant.Settings) { s.Identifiers = []tenant.DeclaredIdentifier{{Name: "A b", Pattern: "a"}} }, "A b"},
		{"an identifier with a bad pattern", func(s *tenant.Settings) { s.Identifiers = []tenant.DeclaredIdentifier{{Name: "a", Pattern: "("}} }, `"a"`},
		{"an identifier with a bad case", func(s *tenant.Settings) {
			s.Identifiers = []tenant.DeclaredIdentifier{{Name: "a", Pattern: "a", Case: "title"}}
		}, `"a"`},
		{"terms", func(s *tenant.Settings) {
			s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{URL: "https://shop.example/terms"}}}
		}, ""},
		{"terms in development", func(s *tenant.Settings) {
			s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{URL: "http://localhost:8081/terms"}}}
		}, ""},
		{"terms without a version", func(s *tenant.Settings) { s.Terms.Documents = []tenant.Document{{URL: "https://shop.example/terms"}} }, "terms.version"},
		{"a sender", func(s *tenant.Settings) { s.Mail = tenant.Mail{FromName: "Shop", FromAddress: "hello@shop.example"} }, ""},
		{"a sender with another header", func(s *tenant.Settings) { s.Mail.FromName = "Shop\r\nBcc: evil@evil.example" }, "mail"},
		{"two senders", func(s *tenant.Settings) { s.Mail.FromAddress = "a@shop.example,b@shop.example" }, "mail"},
	} {
		s := tenant.Defaults()
		c.change(&s)
		err := s.Check()
		if c.names == "" && err != nil || c.names != "" && (err == nil || !strings.Contains(err.Error(), c.names)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestTermsLinkToWebPages: SECURITY.md, row A6, for the one address in
// settings that pages link to.
func TestTermsLinkToWebPages(t *testing.T) {
	for _, address := range []string{
		"", "/terms", "JaVaScript:alert(1)", "javascript://shop.example/%0aalert(1)", "data:text/html,x", "vbscript:x", "\thttps://shop.example",
		"\x00https://shop.example", "https://", "https:///terms", "https://a@shop.example/", "http://shop.example", "http://localhost.evil.example/",
		"http://localhost@evil.example/", "https://shop.example/\r\nx", "https://shop.example\\@evil.example/",
	} {
		s := tenant.Defaults()
		s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{URL: address}}}
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), "terms") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestTitleIn(t *testing.T) {
	d := tenant.Document{Title: map[string]string{"en": "Terms", "de": "AGB"}, URL: "https://shop.example/terms"}
	for language, want := range map[string]string{"de": "AGB", "en": "Terms", "ar": "Terms"} {
		if got := d.TitleIn(language); got != want {
			t.Errorf("%s: %s", language, got)
		}
	}
	if got := (tenant.Document{Title: map[string]string{"de": "AGB"}}).TitleIn("ar"); got != "AGB" {
		t.Error(got)
	}
	if got := (tenant.Document{URL: "https://shop.example/terms"}).TitleIn("ar"); got != "https://shop.example/terms" {
		t.Error(got)
	}
}

// TestSettingsAreStoredAsTheyAreWritten: what is stored is JSON with the keys
// that operators write.
func TestSettingsAreStoredAsTheyAreWritten(t *testing.T) {
	text, err := json.Marshal(tenant.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := tenant.ParseSettings(tenant.Settings{}, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := parsed.Check(); err != nil || parsed.Session != tenant.Defaults().Session || parsed.Tokens != tenant.Defaults().Tokens {
		t.Errorf("got %+v, %v", parsed, err)
	}
}

func FuzzParseSettings(f *testing.F) {
	for _, seed := range []string{"", "region: DE", `{"languages":["en"]}`, "a: &a [*a]", "profile: {type: object}", "terms: {documents: [{}]}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		parsed, err := tenant.ParseSettings(tenant.Defaults(), text)
		if err == nil {
			_ = parsed.Check() // must not panic
		}
	})
}

// A language that nothing can be shown in is allowed, for a text of the
// tenant's own, and told of.
func TestLanguagesWithoutWords(t *testing.T) {
	settings := tenant.Defaults()
	settings.Languages = []string{"en-GB", "ar", "fr"}
	if err := settings.Check(); err != nil {
		t.Fatal(err)
	}
	if warnings := settings.Warnings(); len(warnings) != 1 || !strings.Contains(warnings[0], "names fr,") {
		t.Errorf("warnings %q", warnings)
	}
}
