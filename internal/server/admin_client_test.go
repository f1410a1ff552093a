package server_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// TestClientOfOthers gets a token and uses the API with a client that others
// wrote.
func TestClientOfOthers(t *testing.T) {
	i := servertest.New(t, "sqlite")
	system := i.System()
	robot := i.Robot(system, operator.Everything())
	c := clientcredentials.Config{ClientID: string(robot.ID), ClientSecret: robot.Secret, TokenURL: system.Issuer + "/token", Scopes: []string{"tenants:read"}}
	response, err := c.Client(t.Context()).Get(system.Issuer + "/admin/v1/tenants")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var page struct {
		Items []struct {
			Slug string `json:"slug"`
		} `json:"items"`
	}
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil || len(page.Items) != 1 || page.Items[0].Slug != "system" {
		t.Errorf("%d %v %v", response.StatusCode, page, err)
	}
}

// TestCommandsOfTheAdminAPIGuide runs what docs/admin-api.md has for a shell.
func TestCommandsOfTheAdminAPIGuide(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not there")
	}
	guide, err := os.ReadFile("../../docs/admin-api.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for n, part := range strings.Split(string(guide), "```") {
		if body, shell := strings.CutPrefix(part, "sh\n"); n%2 == 1 && shell {
			for line := range strings.Lines(body) {
				if !strings.HasPrefix(line, "cardea ") {
					script.WriteString(line)
				}
			}
		}
	}
	if strings.Count(script.String(), "curl ") < 7 {
		t.Fatalf("the test looks at the wrong place: %s", &script)
	}
	i := servertest.New(t, "sqlite")
	system, shop := i.System(), i.Tenant("shop", func(s *tenant.Settings) { s.Search.Identifiers = []string{"email"} })
	i.Customer(shop, "ana@example.com", "")
	i.Application(shop, func(s *application.Settings) { s.Name = "Before" })
	robot := i.Robot(system, operator.Holding{Tenants: []id.Tenant{shop.ID}, Scopes: append(operator.Scopes()[:0:0], "tenants:read", "customers:read", "customers:write", "applications:read", "applications:write")})
	run := exec.CommandContext(t.Context(), "bash", "-c", "set -euo pipefail\n"+script.String())
	run.Dir = t.TempDir()
	// What `cardea app create --env` writes; the guide makes everything else itself.
	environment := fmt.Sprintf("OIDC_ISSUER=%s\nOIDC_CLIENT_ID=%s\nOIDC_CLIENT_SECRET=%s\n", system.Issuer, robot.ID, robot.Secret)
	if err := os.WriteFile(filepath.Join(run.Dir, "robot.env"), []byte(environment), 0o600); err != nil {
		t.Fatal(err)
	}
	run.Env = append(os.Environ(), "no_proxy=*")
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, part := range []string{`"slug":"shop"`, `ana@example.com`, `"client_secret":`, `"https://shop.example.com/"`, `"in":"email","value":"ana@example.com"`, `{"nickname":"Ana"}`} {
		if !strings.Contains(string(out), part) {
			t.Errorf("nothing was answered with %s: %s", part, out)
		}
	}
	found, err := i.Applications.List(t.Context(), shop.ID, "", 10)
	if err != nil || len(found) != 2 {
		t.Errorf("%d applications, %v: the second attempt made another", len(found), err)
	}
}
