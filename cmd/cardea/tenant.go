package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// ofTenant is what a command needs that is about one tenant.
type ofTenant struct {
	place
	Tenant string `required:"" placeholder:"TENANT" help:"The tenant, by id or slug."`
}

type tenantView struct {
	ID        string   `json:"id"`
	Slug      string   `json:"slug"`
	Name      string   `json:"name"`
	Issuer    string   `json:"issuer"`
	Suspended bool     `json:"suspended"`
	Brand     string   `json:"brand"`
	Revision  int64    `json:"revision"`
	Warnings  []string `json:"warnings,omitempty"`
}

type createTenantCommand struct {
	place
	output
	Slug     string `required:"" help:"Its name in addresses and cookies: lower-case letters, digits and dashes. It cannot be changed."`
	Name     string `required:"" help:"Its name for people."`
	Issuer   string `placeholder:"ORIGIN" help:"Origin of its own, such as https://id.example.com. It cannot be changed. Without one the tenant is served by path under base_url."`
	Brand    string `help:"Name of its brand, if it differs."`
	Settings string `placeholder:"FILE" help:"File with settings that differ from the defaults, in YAML or JSON; - is standard input."`
}

func (c *createTenantCommand) Run(ctx context.Context, p *program) error {
	body := map[string]any{"slug": c.Slug, "name": c.Name, "issuer": c.Issuer, "brand": c.Brand}
	if c.Settings != "" {
		text, err := p.read(c.Settings)
		if err != nil {
			return err
		}
		if body["settings"], err = asJSON(text); err != nil {
			return fmt.Errorf("%s: %w", c.Settings, err)
		}
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var made tenantView
	if err := cl.call(ctx, http.MethodPost, pathTo("tenants"), nil, body, &made); err != nil {
		return err
	}
	p.warn(made.Warnings)
	return c.show(p, made, func() error {
		return p.fields("tenant", made.ID, "slug", made.Slug, "name", made.Name, "issuer", made.Issuer)
	})
}

type listTenantsCommand struct {
	place
	output
}

func (c *listTenantsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := list[tenantView](ctx, cl, pathTo("tenants"), nil, 0)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, t := range found {
			lines = append(lines, []string{t.ID, t.Slug, t.Name, t.Issuer, yes(t.Suspended)})
		}
		return p.table("There are no tenants.", []string{"TENANT", "SLUG", "NAME", "ISSUER", "SUSPENDED"}, lines)
	})
}

// suspendTenantCommand is tenant suspend and resume: the last word of the
// command is the act.
type suspendTenantCommand struct {
	ofTenant
	output
}

func (c *suspendTenantCommand) Run(ctx context.Context, p *program, parsed *kong.Context) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	act := strings.Fields(parsed.Command())[1]
	var now tenantView
	if err := cl.call(ctx, http.MethodPost, pathTo("tenants", c.Tenant, act), nil, nil, &now); err != nil {
		return err
	}
	return c.show(p, now, func() error {
		if now.Suspended {
			return p.line("%s is suspended: nobody signs in, and none of its tokens are good.", now.Slug)
		}
		return p.line("%s is open.", now.Slug)
	})
}

type showSettingsCommand struct {
	ofTenant
}

type settingsView struct {
	Tenant   string          `json:"tenant"`
	Revision int64           `json:"revision"`
	Settings json.RawMessage `json:"settings"`
	Warnings []string        `json:"warnings"`
}

func (c *showSettingsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var found settingsView
	if err := cl.call(ctx, http.MethodGet, pathTo("tenants", c.Tenant, "settings"), nil, nil, &found); err != nil {
		return err
	}
	p.warn(found.Warnings)
	return p.json(found.Settings)
}

type applySettingsCommand struct {
	ofTenant
	output
	File     string `short:"f" required:"" placeholder:"FILE" help:"File with the settings to change, in YAML or JSON; - is standard input."`
	Revision int64  `placeholder:"N" help:"Apply only if the settings are at this revision."`
}

func (c *applySettingsCommand) Run(ctx context.Context, p *program) error {
	text, err := p.read(c.File)
	if err != nil {
		return err
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	header := http.Header{}
	if c.Revision != 0 {
		header.Set("If-Match", `"`+strconv.FormatInt(c.Revision, 10)+`"`)
	}
	answered, err := cl.send(ctx, http.MethodPut, pathTo("tenants", c.Tenant, "settings"), nil, "application/yaml", text, header)
	if err != nil {
		return err
	}
	var applied settingsView
	if err := json.Unmarshal(answered, &applied); err != nil {
		return fmt.Errorf("the server's answer is not understood: %w", err)
	}
	p.warn(applied.Warnings)
	return c.show(p, applied, func() error {
		return p.line("The settings of %s are at revision %d.", c.Tenant, applied.Revision)
	})
}

// read reads a file, or standard input for "-".
func (p *program) read(path string) ([]byte, error) {
	const most = 1 << 20
	from := p.in
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // it was only read
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return text, err
}

func (p *program) warn(warnings []string) {
	for _, warning := range warnings {
		fmt.Fprintln(p.err, "warning: "+printable(strings.TrimSpace(warning)))
	}
}

// end closes the client; what it was asked for has been answered.
func (c *client) end(p *program) {
	if err := c.close(); err != nil {
		p.complain(err)
	}
}

// asJSON turns YAML, of which JSON is a part, into JSON.
func asJSON(text []byte) (json.RawMessage, error) {
	var document any
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	return json.Marshal(document)
}
