package program

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cardea-id/cardea/test/client"
)

// RedirectURI is where the applications of tests are answered. Nobody goes
// there: the code is read from the address.
const RedirectURI = "https://app.example/callback"

// CreateTenant makes a tenant that is served by path, with settings on top of
// the defaults.
func (p *Program) CreateTenant(ctx context.Context, slug string, settings map[string]any) error {
	text, err := json.Marshal(settings) // JSON is YAML
	if err != nil {
		return err
	}
	file := filepath.Join(p.Folder, "settings.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	_, err = p.Command(ctx, "tenant", "create", "--slug", slug, "--name", slug, "--settings", file)
	return err
}

// CreateApplication registers an application.
func (p *Program) CreateApplication(ctx context.Context, tenant, name, kind string, more ...string) (client.Application, error) {
	out, err := p.Command(ctx, append([]string{"application", "create", "--tenant", tenant, "--name", name, "--kind", kind, "--json"}, more...)...)
	if err != nil {
		return client.Application{}, err
	}
	var made struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	if err := json.Unmarshal(out, &made); err != nil || made.ID == "" {
		return client.Application{}, fmt.Errorf("application create printed %q: %w", out, err)
	}
	return client.Application{ID: made.ID, Secret: made.Secret, RedirectURI: RedirectURI}, nil
}

// SetProfile changes properties of a customer's profile; "" removes one.
func (p *Program) SetProfile(ctx context.Context, tenant, customer string, values map[string]string) error {
	args := []string{"customer", "profile", customer, "--tenant", tenant}
	for name, value := range values {
		if value == "" {
			args = append(args, "--unset", name)
		} else {
			args = append(args, "--set", name+"="+value)
		}
	}
	_, err := p.Command(ctx, args...)
	return err
}
