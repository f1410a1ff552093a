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
