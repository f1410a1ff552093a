package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
)

const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><circle cx="20" cy="20" r="18" fill="#4f5d1d"/></svg>`

// brandFiles writes the files that the guide's commands name.
func brandFiles(t *testing.T, m *machine) func(args []string) []string {
	t.Helper()
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 20, 10))); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"brand.yaml": []byte(fences(t, "../../docs/brands.md")["yaml"][0]), "logo.svg": []byte(logo), "garden.png": picture.Bytes(),
		"sign-in.html": nil, "code.html": nil,
	}
	for name, content := range files {
		if content != nil {
			if err := os.WriteFile(filepath.Join(m.folder, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return func(args []string) []string {
		args = slices.Clone(args)
		for n, word := range args {
			if _, ours := files[word]; ours {
				args[n] = filepath.Join(m.folder, word)
			}
		}
		return args
	}
}

func TestTheCommandsOfTheGuideToBrandsWork(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	in := brandFiles(t, m)
	for _, args := range documented(t, "../../docs/brands.md") {
		m.here(in(args)...)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(m.folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	page := read("sign-in.html")
	for _, part := range []string{`<html lang="de"`, "Schön, dass Sie da sind", "#4f5d1d", "data:image/svg+xml;base64,", "https://olive-thyme.example/impressum", "Barrierefreiheit", "border-radius:26px", "data:image/png"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %q:\n%s", part, page)
		}
	}
	for _, outside := range []string{`src="/`, `href="/assets`, "<script", `url("/`} {
		if strings.Contains(page, outside) {
			t.Errorf("the page needs %s", outside)
		}
	}
	if mail := read("code.html"); !strings.Contains(mail, "123 456 ist Ihr Code") || !strings.Contains(mail, "Feldweg 1") || !strings.Contains(mail, "#4f5d1d") {
		t.Error(mail)
	}
	// What show prints is what apply takes.
	shown := m.here("brand", "show", "--tenant", "thyme")
	if err := os.WriteFile(filepath.Join(m.folder, "shown.yaml"), []byte(shown), 0o600); err != nil {
		t.Fatal(err)
	}
	m.here("brand", "apply", "--tenant", "thyme", "--file", filepath.Join(m.folder, "shown.yaml"))
	again := m.here("brand", "show", "--tenant", "thyme")
	_, before, _ := strings.Cut(shown, "\n")
	_, after, _ := strings.Cut(again, "\n")
	if before != after || !strings.Contains(shown, "# logo: image/svg+xml") {
		t.Errorf("shown\n%s\nand then\n%s", shown, again)
	}
}

func TestBrandsAreRefusedInWords(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	brandFiles(t, m)
	m.here("tenant", "create", "--slug", "thyme", "--name", "Thyme", "--issuer", "https://id.example.com")
	apply := func(text string) []string {
		file := filepath.Join(m.folder, "refused.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return m.at("brand", "apply", "--tenant", "thyme", "--file", file)
	}
	for text, says := range map[string]string{
		"colour: red": "colour",
		"theme: {light: {text_quiet: \"#aaaaaa\"}}":    "contrast",
		"theme: {light: {accent: red}}":                "#rrggbb",
		"theme: {css: x}":                              "unknown",
		"theme: {dress: {css: x}}":                     "unknown",
		"theme: nothing":                               "built-in",
		"css: '@import \"https://evil.example\";'":     "line 1",
		"css: 'main{display:none}'":                    "display",
		"links: {de: {imprint: 'http://a.example'}}":   "https",
		"texts: {de: {common.to_app: hier}}":           "{App}",
		"mail: {from_address: nobody}":                 "mail.from_address",
		"mail: {texts: {de: {code: {subject: Code}}}}": "{Code}",
	} {
		m.fails(exitFailed, says, apply(text)...)
	}
	file := filepath.Join(m.folder, "evil.svg")
	if err := os.WriteFile(file, []byte(strings.Replace(logo, "<circle", "<script>alert(1)</script><circle", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	m.fails(exitFailed, "<script>", m.at("brand", "asset", "set", "--tenant", "thyme", "logo", file)...)
	m.fails(exitFailed, "no \"banner\"", m.at("brand", "asset", "set", "--tenant", "thyme", "banner", filepath.Join(m.folder, "logo.svg"))...)
	m.fails(exitFailed, "nothing in that role", m.at("brand", "asset", "remove", "--tenant", "thyme", "logo")...)
	m.fails(exitFailed, "no page", m.at("brand", "preview", "--tenant", "thyme", "--page", "checkout", "--out", "-")...)
	m.fails(exitFailed, "changed by somebody else", m.at("brand", "asset", "set", "--tenant", "thyme", "--revision", "7", "logo", filepath.Join(m.folder, "logo.svg"))...)
	var brand brandView
	if err := json.Unmarshal([]byte(m.here("brand", "show", "--tenant", "thyme", "--json")), &brand); err != nil || brand.Revision != 1 || len(brand.Assets) != 0 {
		t.Errorf("something was changed: %+v, %v", brand, err)
	}
}

func TestPreviewsChangeNothing(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	in := brandFiles(t, m)
	m.here("tenant", "create", "--slug", "thyme", "--name", "Thyme", "--issuer", "https://id.example.com")
	for _, what := range [][]string{{"--page", "account"}, {"--page", "consent"}, {"--page", "fault"}, {"--mail", "welcome"}, {"--mail", "new_sign_in", "--lang", "ar"}} {
		html := m.here(in(append([]string{"brand", "preview", "--tenant", "thyme", "--file", "brand.yaml", "--out", "-"}, what...))...)
		if !strings.Contains(html, "Olive &amp; Thyme") || !strings.Contains(html, "</html>") {
			t.Errorf("%v: %s", what, html)
		}
	}
	if shown := m.here("brand", "show", "--tenant", "thyme"); !strings.Contains(shown, "revision 1") || strings.Contains(shown, "Olive") {
		t.Errorf("%s", shown)
	}
}
