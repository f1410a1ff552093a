package notify

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestWords(t *testing.T) {
	words := newWords(t)
	for _, template := range Templates() {
		for _, lang := range []string{"en", "de", "ar"} {
			data := Data{
				Code: "123456", ValidFor: 10 * time.Minute, Application: "Olive & Thyme Shop", Browser: "Chrome", System: "Windows", Network: "192.0.2.7", Address: "new@example.com", At: noon,
				Until: noon.AddDate(0, 0, 30),
			}
			if template == JoinOrganization {
				data = Data{Organization: "Sage & Salt Ltd", Inviter: "Ana Lopes", Until: noon.AddDate(0, 0, 7), Link: "https://id.olive.example/join?link=x", At: noon}
			}
			m, err := words.render(template, lang, olive, data)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", fmt.Sprintf("%s.%s.golden", template, lang))
			got := []byte("Subject: " + m.Subject + "\n\n" + m.Text + "\n----\n" + m.HTML)
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not what it was (%v):\n%s", path, err, got)
			}
		}
	}
}

func TestCodeComesFirst(t *testing.T) {
	words := newWords(t)
	for lang, code := range map[string]string{"en": "123 456", "de": "123 456", "de-AT": "123 456", "ar": "123\u00a0456", "en-GB": "123 456", "tlh": "123 456", "": "123 456"} {
		m, err := words.render(Code, lang, olive, Data{Code: "123456", At: noon})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(m.Subject, code) || !strings.HasPrefix(m.Text, code) {
			t.Errorf("%s: %q, %q", lang, m.Subject, m.Text)
		}
		body := m.HTML[strings.Index(m.HTML, "<main"):]
		if !strings.Contains(body[:strings.Index(body, "</p>")], code) {
			t.Errorf("%s: the code is not first in %s", lang, body)
		}
		if strings.Contains(m.Text, "no value") || strings.Contains(m.Text, "  ") {
			t.Errorf("%s: %q", lang, m.Text)
		}
	}
	for code, want := range map[string]string{"123456": "123 456", "12345678": "1234 5678", "1234": "1234", "ABCDEFGH": "ABCD EFGH", "12345": "12345", "1\r\n2": "12"} {
		if got := spaced(code, false); got != want {
			t.Errorf("%q is written %q, want %q", code, got, want)
		}
	}
}

func TestMinutesAreCountedRightly(t *testing.T) {
	words := newWords(t)
	for _, c := range []struct {
		lang  string
		valid time.Duration
		want  string
	}{
		{"en", time.Minute, "for 1 minute."}, {"en", 90 * time.Second, "for 2 minutes."}, {"en", 0, "It works once."},
		{"de", time.Minute, "1 Minute lang."}, {"de", 10 * time.Minute, "10 Minuten lang."}, {"de", 0, "Er gilt einmal."},
		{"ar", time.Minute, "دقيقة واحدة"}, {"ar", 2 * time.Minute, "دقيقتين"}, {"ar", 10 * time.Minute, "دقائق"}, {"ar", 15 * time.Minute, "دقيقة."},
	} {
		m, err := words.render(Code, c.lang, olive, Data{Code: "1", ValidFor: c.valid, At: noon})
		if err != nil || !strings.Contains(m.Text, c.want) {
			t.Errorf("%s %v: %q, %v", c.lang, c.valid, m.Text, err)
		}
	}
}

// SECURITY N1: what tenants, applications and browsers are called is text and
// nothing else.
func TestNamesAreOnlyText(t *testing.T) {
	words := newWords(t)
	for _, evil := range []string{
		`<a href="https://evil.example">click</a>`, `{{.}}`, `{{range 1000000000}}x{{end}}`, "Ana\r\nBcc: v@corp.example", `"><script>alert(1)</script>`,
		"\u202egro.live", "line\u2028two", strings.Repeat("long ", 100), "\x00\x1b[31m",
	} {
		brand := olive
		brand.Name, brand.FromName, brand.Accent, brand.AccountURL = evil, evil, evil, evil
		for _, template := range Templates() {
			m, err := words.render(template, "en", brand, Data{Code: evil, Application: evil, Browser: evil, System: evil, Organization: evil, Inviter: evil, Until: noon, At: noon})
			if err != nil {
				t.Fatalf("%s with %q: %v", template, evil, err)
			}
			for _, bad := range []string{"<a", "<script", "evil.example\"", "\u202e", "\u2028", "\x00", "\x1b", "<no value>", "ZgotmplZ"} {
				if strings.Contains(m.HTML, bad) {
					t.Errorf("%s with %q: the HTML contains %q", template, evil, bad)
				}
			}
			for _, header := range []string{m.Subject, m.FromName} {
				if strings.ContainsAny(header, "\r\n\x00\u2028") || len([]rune(header)) > 160 {
					t.Errorf("%s with %q: header %q", template, evil, header)
				}
			}
			if strings.Contains(m.Text, "Bcc:\n") || strings.Contains(m.Text, "\nBcc:") {
				t.Errorf("%s with %q: %q", template, evil, m.Text)
			}
		}
	}
	m, err := words.render(NewSignIn, "en", olive, Data{Browser: "Go to https://evil.example now", System: "evil.example", At: noon})
	if err != nil || strings.Contains(m.Text, "evil.example") {
		t.Errorf("a browser's name became an address: %q, %v", m.Text, err)
	}
}

func TestLinks(t *testing.T) {
	words := newWords(t)
	for link, want := range map[string]bool{"https://id.olive.example/account": true, "http://127.0.0.1:8080/t/demo/account": true, "javascript:alert(1)": false, "//evil.example": false, "https://olive@evil.example/": false, "": false} {
		brand := olive
		brand.AccountURL = link
		m, err := words.render(PasswordChanged, "en", brand, Data{At: noon})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(m.HTML, "<a href"); got != want || (len(links(m.Text)) == 1) != want {
			t.Errorf("%q: linked is %t", link, got)
		}
	}
	for text, want := range map[string]string{
		"see https://a.example/x?y=1&z=2.": "[https://a.example/x?y=1&z=2]", "(https://a.example), https://a.example": "[https://a.example]", "no link": "[]",
	} {
		if got := fmt.Sprint(links(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
