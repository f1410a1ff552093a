package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/cardea-id/cardea/internal/config"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// fences returns the code blocks of a page of the documentation, by language.
func fences(t *testing.T, page string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string][]string{}
	for n, part := range strings.Split(string(text), "```") {
		if n%2 == 1 {
			language, body, _ := strings.Cut(part, "\n")
			blocks[language] = append(blocks[language], body)
		}
	}
	return blocks
}

// documented returns the cardea commands of a page, split into words.
func documented(t *testing.T, page string) [][]string {
	t.Helper()
	var commands [][]string
	for _, block := range fences(t, page)["sh"] {
		for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "bin/")
			line, _, _ = strings.Cut(line, " > ") // where its output goes
			if rest, ours := strings.CutPrefix(line, "cardea "); ours {
				commands = append(commands, words(rest))
			}
		}
	}
	return commands
}

// words splits a line as a shell does, where it has nothing but double quotes.
func words(line string) []string {
	var out []string
	for n, part := range strings.Split(line, `"`) {
		if n%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

func TestDocumentedCommandsExist(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob("../../examples/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(append(pages, examples...), "../../README.md") {
		for _, args := range documented(t, page) {
			seen++
			var c commands
			parser, err := kong.New(&c, kong.Name("cardea"), kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(args); err != nil {
				t.Errorf("%s: cardea %s: %v", filepath.Base(page), strings.Join(args, " "), err)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d commands were found: the test looks at the wrong place", seen)
	}
}

func TestTheCommandsOfTheGuideWork(t *testing.T) {
	page := "../../docs/commands.md"
	m := newMachine(t, sqldb.SQLite)
	settings := filepath.Join(m.folder, "thyme.yaml")
	if err := os.WriteFile(settings, []byte(fences(t, page)["yaml"][0]), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range documented(t, page) {
		for n, word := range args {
			if word == "thyme.yaml" {
				args[n] = settings
			}
		}
		m.here(args...)
	}
}

func TestTheConfigurationOfTheGuideIsTaken(t *testing.T) {
	blocks := fences(t, "../../docs/production.md")["yaml"]
	file := filepath.Join(t.TempDir(), "cardea.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(blocks, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(config.Options{File: file}); err != nil {
		t.Error(err)
	}
	for _, block := range fences(t, "../../docs/commands.md")["yaml"] {
		settings, err := tenant.ParseSettings(tenant.Defaults(), []byte(block))
		if err == nil {
			err = settings.Check()
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestTheRootKeyIsReplacedAsTheGuideSays runs the commands of that section.
func TestTheRootKeyIsReplacedAsTheGuideSays(t *testing.T) {
	text, err := os.ReadFile("../../docs/production.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "### Replacing the root key\n")
	section, _, ends := strings.Cut(section, "\n## ")
	page := filepath.Join(t.TempDir(), "section.md")
	if err := os.WriteFile(page, []byte(section), 0o600); err != nil || !found || !ends {
		t.Fatalf("the section is not found: %v", err)
	}
	steps := documented(t, page)
	if len(steps) != 3 {
		t.Fatalf("the section has the commands %q", steps)
	}
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		m := newMachine(t, engine)
		before, after := filepath.Join(m.folder, "root.key"), filepath.Join(m.folder, "root-2027.key")
		m.here("tenant", "create", "--slug", "shop", "--name", "Shop")
		m.here("customer", "create", "--tenant", "shop", "--email", "ana@example.com", "--verified", "--set", "given_name=Ana")
		written, err := os.ReadFile(m.config)
		if err != nil {
			t.Fatal(err)
		}
		configure := func(roots string) {
			t.Helper()
			if err := os.WriteFile(m.config, []byte(strings.Replace(string(written), "root_key: {file: "+before+"}", roots, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		reads := func() {
			t.Helper()
			if got := m.here("customer", "show", "--tenant", "shop", "ana@example.com"); !strings.Contains(got, "Ana") {
				t.Error(got)
			}
		}

		m.must(append(steps[0][:len(steps[0])-1:len(steps[0])-1], after)...)
		configure("root_key: {file: " + after + "}")
		m.fails(exitFailed, "old_root_keys.files", m.at("customer", "show", "--tenant", "shop", "ana@example.com")...)
		m.fails(exitFailed, "old_root_keys.files", m.at("serve")...)

		configure("root_key: {file: " + before + "}\nold_root_keys: {files: [" + after + "]}") // the first round of several nodes
		reads()
		configure("root_key: {file: " + after + "}\nold_root_keys: {files: [" + before + "]}")
		reads()
		m.here("customer", "create", "--tenant", "shop", "--email", "ben@example.com", "--verified")
		if got := m.here(steps[2]...); !strings.Contains(got, "2 keys still stand under an old root key") || !strings.Contains(got, "old, needed ") {
			t.Error(got)
		}
		m.here(steps[1]...)
		got := m.here(steps[2]...)
		if !strings.Contains(got, "Everything stands under the present root key") || !strings.Contains(got, "needed no more") {
			t.Error(got)
		}
		if found := parse[[]rootView](t, m.here(append(steps[2], "--json")...)); len(found) != 2 || !found[0].Present || found[0].Keys != 2 || found[1].Keys != 0 || found[1].Present {
			t.Errorf("%+v", found)
		}
		configure("root_key: {file: " + after + "}")
		reads()
		m.serve()
		reads()
		if found := parse[[]rootView](t, m.here(append(steps[2], "--json")...)); len(found) != 1 {
			t.Errorf("%+v", found)
		}
	})
}
