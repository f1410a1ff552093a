package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/id"
)

// ofApplication is what a command needs that is about one application.
type ofApplication struct {
	ofTenant
	Application string `arg:"" help:"The application's client id."`
}

// claimsView is what an application's mapped claims are shown and stored by.
type claimsView struct {
	Revision int64           `json:"revision"`
	Claims   []claim.Mapping `json:"claims"`
}

func (a ofApplication) fetch(ctx context.Context, cl *client) (found claimsView, err error) {
	err = cl.call(ctx, http.MethodGet, pathTo("tenants", a.Tenant, "applications", a.Application), nil, nil, &found)
	return found, err
}

type showClaimsCommand struct {
	ofApplication
	output
}

func (c *showClaimsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := c.fetch(ctx, cl)
	if err != nil {
		return err
	}
	if found.Claims == nil {
		found.Claims = []claim.Mapping{}
	}
	return c.show(p, found, func() error {
		// By way of JSON, whose names the file has too.
		asJSON, err := json.Marshal(map[string]any{"claims": found.Claims})
		if err != nil {
			return err
		}
		var document any
		if err := yaml.Unmarshal(asJSON, &document); err != nil {
			return err
		}
		text, err := yaml.Marshal(document)
		if err != nil {
			return err
		}
		return p.line("%s", text)
	})
}

// readClaims reads a file of mapped claims: {claims: […]}.
func (p *program) readClaims(path string) (json.RawMessage, error) {
	text, err := p.read(path)
	if err != nil {
		return nil, err
	}
	document, err := asJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not YAML: %w", path, err)
	}
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(document, &parts); err != nil || len(parts) != 1 || parts["claims"] == nil {
		return nil, fmt.Errorf("%s has something else than claims: [ … ]", path)
	}
	return parts["claims"], nil
}

type applyClaimsCommand struct {
	ofApplication
	output
	File     string `short:"f" required:"" placeholder:"FILE" help:"File with claims: in YAML or JSON; - is standard input."`
	Revision int64  `placeholder:"N" help:"Apply only if the application is at this revision."`
}

func (c *applyClaimsCommand) Run(ctx context.Context, p *program) error {
	wanted, err := p.readClaims(c.File)
	if err != nil {
		return err
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	revision := c.Revision
	if revision == 0 {
		found, err := c.fetch(ctx, cl)
		if err != nil {
			return err
		}
		revision = found.Revision
	}
	var applied claimsView
	err = cl.call(ctx, http.MethodPut, pathTo("tenants", c.Tenant, "applications", c.Application, "claims"), nil, map[string]any{"revision": revision, "claims": wanted}, &applied)
	if err != nil {
		return err
	}
	return c.show(p, applied, func() error {
		return p.line("%s has %d mapped claims, and is at revision %d.", c.Application, len(applied.Claims), applied.Revision)
	})
}

// previewView is what an application would get of a customer.
type previewView struct {
	Scopes      []string       `json:"scopes"`
	IDToken     map[string]any `json:"id_token"`
	AccessToken map[string]any `json:"access_token"`
	UserInfo    map[string]any `json:"userinfo"`
	Dropped     []struct {
		Name string `json:"name"`
		In   string `json:"in"`
		Why  string `json:"why"`
	} `json:"dropped"`
}

type previewClaimsCommand struct {
	ofApplication
	output
	Customer string   `arg:"" help:"The customer, by id or by a verified identifier such as an e-mail address."`
	Scope    []string `placeholder:"SCOPE" help:"A scope that the token would have; without any, all that the application may ask for. May be repeated."`
	Resource string   `placeholder:"URI" help:"The API that the access token would be for."`
	File     string   `short:"f" placeholder:"FILE" help:"File with claims: to try in place of the application's own; - is standard input."`
}

func (c *previewClaimsCommand) Run(ctx context.Context, p *program) error {
	body := map[string]any{"scopes": c.Scope}
	if c.Resource != "" {
		body["resource"] = c.Resource
	}
	if c.File != "" {
		wanted, err := p.readClaims(c.File)
		if err != nil {
			return err
		}
		body["claims"] = wanted
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	body["customer"] = c.Customer
	if _, err := id.Parse[id.Customer](c.Customer); err != nil {
		found, err := ofCustomer{ofTenant: c.ofTenant, Customer: c.Customer}.fetch(ctx, cl)
		if err != nil {
			return err
		}
		body["customer"] = found.ID
	}
	var preview previewView
	if err := cl.call(ctx, http.MethodPost, pathTo("tenants", c.Tenant, "applications", c.Application, "claims", "preview"), nil, body, &preview); err != nil {
		return err
	}
	return c.show(p, preview, func() error {
		var lines [][]string
		for _, part := range []struct {
			name   string
			claims map[string]any
		}{{"id_token", preview.IDToken}, {"access_token", preview.AccessToken}, {"userinfo", preview.UserInfo}} {
			for _, name := range slices.Sorted(maps.Keys(part.claims)) {
				value, err := json.Marshal(part.claims[name])
				if err != nil {
					return err
				}
				lines = append(lines, []string{part.name, name, string(value)})
			}
		}
		for _, d := range preview.Dropped {
			lines = append(lines, []string{d.In, d.Name, "dropped: " + d.Why})
		}
		return p.table("The application would get nothing.", []string{"IN", "CLAIM", "VALUE"}, lines)
	})
}
