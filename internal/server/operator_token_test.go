package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

// TestATokenByHand follows that section of docs/operators.md: what a shell runs is
// run by one, and a browser signs in between.
func TestATokenByHand(t *testing.T) {
	for _, tool := range []string{"curl", "openssl", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not there")
		}
	}
	guide, err := os.ReadFile("../../docs/operators.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(guide), "\n## A token by hand\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for n, part := range strings.Split(section, "```") {
		if body, shell := strings.CutPrefix(part, "sh\n"); n%2 == 1 && shell {
			blocks = append(blocks, body)
		}
	}
	if len(blocks) != 3 {
		t.Fatalf("the section has the commands %q", blocks)
	}
	i := servertest.New(t, "sqlite")
	system := i.System()
	i.Tenant("shop", nil)
	olga := i.Customer(system, "olga@example.com", "lemon-orchard-at-dusk")
	i.Operator(string(olga), operator.Everything())
	app := i.Application(system, func(s *application.Settings) { // as the first command makes it
		s.Name, s.Kind, s.FirstParty, s.RedirectURIs, s.PostLogoutURIs = "Terminal", application.Native, false, []string{"http://127.0.0.1:8400/callback"}, nil
		s.Scopes = []string{"tenants:read", "customers:read"}
	})
	folder := t.TempDir()
	environment := fmt.Sprintf("OIDC_ISSUER=%s\nOIDC_CLIENT_ID=%s\nOIDC_REDIRECT_URI=%s\n", system.Issuer, app.ID, app.RedirectURIs[0])
	if err := os.WriteFile(filepath.Join(folder, "terminal.env"), []byte(environment), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := func(script string) string {
		t.Helper()
		run := exec.CommandContext(t.Context(), "bash", "-c", "set -euo pipefail\n"+script)
		run.Dir, run.Env = folder, append(os.Environ(), "no_proxy=*")
		out, err := run.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	out := shell(blocks[1] + "printf '%s' \"$VERIFIER\" > verifier\n")
	b := i.SystemBrowser()
	p := b.Get(strings.TrimSpace(out))
	p = b.Answer(p, url.Values{"identifier": {"olga@example.com"}})
	p = b.Answer(p, url.Values{"password": {"lemon-orchard-at-dusk"}})
	if p.Location == nil && p.Has("decision") {
		p = b.Answer(p, url.Values{"decision": {"allow"}})
	}
	if p.Location == nil || p.Location.Query().Get("code") == "" {
		t.Fatalf("the browser was not sent back with a code (status %d, %v): %s", p.Status, p.Location, servertest.Text(p.Body))
	}
	var token servertest.Tokens
	answer := shell(". ./terminal.env\nVERIFIER=$(cat verifier)\n" + strings.Replace(blocks[2], "code=CODE", "code="+p.Location.Query().Get("code"), 1))
	if err := json.Unmarshal([]byte(answer), &token); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	if status, _, body := i.Admin(token.Access, http.MethodGet, "/admin/v1/tenants", ""); status != http.StatusOK || !strings.Contains(body, `"slug":"shop"`) {
		t.Errorf("%d %s", status, body)
	}
}
