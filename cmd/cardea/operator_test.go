package main

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// withSystem gives the machine's installation a tenant of the operators.
func (m *machine) withSystem() {
	m.t.Helper()
	file, err := os.OpenFile(m.config, os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.WriteString("system_url: https://system.example.com\n")
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// TestTheCommandsOfTheOperatorsGuideWork runs docs/operators.md.
func TestTheCommandsOfTheOperatorsGuideWork(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	m.withSystem()
	m.here("tenant", "create", "--slug", "thyme", "--name", "Thyme", "--issuer", "https://id.example.com")
	var robot struct {
		ID string `json:"client_id"`
	}
	if err := json.Unmarshal([]byte(m.here("app", "create", "--tenant", "system", "--name", "Robot", "--kind", "machine", "--scope", "events:read", "--json")), &robot); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, args := range documented(t, "../../docs/operators.md") {
		for n, word := range args {
			if strings.HasPrefix(word, "app_") {
				args[n] = robot.ID
			}
		}
		m.here(args...)
		seen++
	}
	if seen < 8 {
		t.Errorf("only %d commands were found", seen)
	}
	var all []operatorView
	if err := json.Unmarshal([]byte(m.here("operator", "list", "--json")), &all); err != nil || len(all) != 2 {
		t.Fatalf("%v %v", all, err)
	}
	for _, o := range all {
		if full := len(o.Scopes) == len(operator.Scopes()); !o.AllTenants || full != (o.Name == "olga@example.com") {
			t.Errorf("%+v", o)
		}
	}
	m.fails(exitFailed, "Nobody who holds every scope", m.at("operator", "remove", "olga@example.com")...)
	m.fails(exitFailed, "there is no scope", m.at("operator", "create", "x@example.com", "--scopes", "all", "--all-tenants")...)
	m.fails(exitUsage, "which tenants", m.at("operator", "create", "x@example.com")...)
	m.fails(exitFailed, "No customer", m.at("operator", "scopes", "nobody@example.com")...)
	link := m.here("operator", "break-glass")
	if !regexp.MustCompile(`^https://system\.example\.com/operator\?link=[\w-]{43}\n$`).MatchString(link) {
		t.Errorf("%q", link)
	}
	if got := m.run(m.at("event", "list", "--tenant", "system", "--type", "operator.link.made")...); strings.Contains(got.out, link[len(link)-44:len(link)-1]) || strings.Count(got.out, "operator.link.made") != 3 {
		t.Errorf("%s", got.out)
	}
}

// TestServePrintsTheFirstLink: while there is no operator, and no longer.
func TestServePrintsTheFirstLink(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	m.withSystem()
	start := func() string {
		ctx, cancel := context.WithCancel(t.Context())
		out := &lockedBuffer{}
		ended := make(chan int, 1)
		go func() { ended <- (&program{out: out, err: out}).run(ctx, append([]string{"serve"}, m.args...)) }()
		for began := time.Now(); !strings.Contains(out.String(), "msg=ready") && time.Since(began) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
		}
		time.Sleep(200 * time.Millisecond) // what is printed follows at once
		cancel()
		<-ended
		return regexp.MustCompile(`https://system\.example\.com/operator\?link=\S+`).FindString(out.String())
	}
	first, second := start(), start()
	if first == "" || second == "" || first == second {
		t.Errorf("%q, then %q", first, second)
	}
	m.here("operator", "create", "olga@example.com", "--all-tenants")
	if third := start(); third != "" {
		t.Errorf("there is an operator, and %q is printed", third)
	}
}
