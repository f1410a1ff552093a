package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
)

func TestTheCommandsOfTheGuideToMessagesWork(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	m.here("tenant", "create", "--slug", "thyme", "--name", "Olive & Thyme", "--issuer", "https://id.example.com")
	const page = "../../docs/messages.md"
	words := fences(t, page)["yaml words.yaml"][0]
	file := filepath.Join(m.folder, "words.yaml")
	if err := os.WriteFile(file, []byte(words), 0o600); err != nil {
		t.Fatal(err)
	}
	ran, printed := 0, map[string]string{}
	for _, args := range documented(t, page) {
		if args[0] != "message" {
			continue
		}
		ran++
		args = slices.Clone(args)
		for n, word := range args {
			if slices.Contains([]string{"words.yaml", "recovery.html", "code.txt"}, word) {
				args[n] = filepath.Join(m.folder, word)
			}
		}
		printed[strings.Join(args[:2], " ")] = m.here(args...)
	}
	if ran < 8 {
		t.Errorf("%d commands", ran)
	}
	mail, err := os.ReadFile(filepath.Join(m.folder, "recovery.html"))
	if err != nil || !strings.Contains(string(mail), "Sie kaufen bei Olive &amp; Thyme") || !strings.Contains(string(mail), "Er gilt 10 Minuten.") {
		t.Errorf("%v %s", err, mail)
	}
	text, err := os.ReadFile(filepath.Join(m.folder, "code.txt"))
	if err != nil || !strings.HasPrefix(string(text), "123456 is your Olive & Thyme code") && !strings.Contains(string(text), "123456") {
		t.Errorf("%v %s", err, text)
	}
	if !strings.Contains(printed["message texts"], "recovery") || !strings.Contains(printed["message reset"], "Cardea's words") {
		t.Errorf("%v", printed)
	}

	// What show prints is what set takes.
	m.here("message", "set", "--tenant", "thyme", "--lang", "de", "--file", file, "mail", "recovery")
	shown := m.here("message", "show", "--tenant", "thyme", "--lang", "de", "mail", "recovery")
	if err := os.WriteFile(file, []byte(shown), 0o600); err != nil {
		t.Fatal(err)
	}
	m.here("message", "set", "--tenant", "thyme", "--lang", "de", "--file", file, "mail", "recovery")
	if again := m.here("message", "show", "--tenant", "thyme", "--lang", "de", "mail", "recovery"); again != shown || !strings.Contains(shown, "Feldweg") {
		t.Errorf("%s\n%s", shown, again)
	}
	if own := m.here("message", "texts", "--tenant", "thyme", "--own"); strings.Count(own, "the brand's") != 1 {
		t.Errorf("%s", own)
	}
	if err := os.WriteFile(file, []byte("subject: Code\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.fails(exitFailed, "subject it lacks {Code}", m.at("message", "set", "--tenant", "thyme", "--lang", "de", "--file", file, "mail", "recovery")...)
	m.fails(exitFailed, "no such message", m.at("message", "show", "--tenant", "thyme", "--lang", "de", "mail", "advert")...)
	m.fails(exitFailed, "changed by somebody else", m.at("message", "reset", "--tenant", "thyme", "--lang", "de", "--revision", "1", "mail", "recovery")...)
}
