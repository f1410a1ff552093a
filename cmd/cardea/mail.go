package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// finding is what was found of a sender's domain.
type finding struct {
	Domain  string `json:"domain"`
	Record  string `json:"record"`
	Verdict string `json:"verdict"`
	Found   string `json:"found,omitempty"`
	Means   string `json:"means"`
	Add     string `json:"add,omitempty"`
}

type mailCheck struct {
	Tenant   string    `json:"tenant"`
	Sender   string    `json:"sender"`
	Findings []finding `json:"findings"`
}

type checkMailCommand struct {
	Tenant string `placeholder:"TENANT" help:"The tenant, by slug or id; all of them unless told."`
	place
	output
}

func (c *checkMailCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	tenants := []string{c.Tenant}
	if c.Tenant == "" {
		found, err := list[tenantView](ctx, cl, pathTo("tenants"), nil, 0)
		if err != nil {
			return err
		}
		tenants = nil
		for _, t := range found {
			tenants = append(tenants, t.Slug)
		}
	}
	var checks []mailCheck
	for _, tenant := range tenants {
		check := mailCheck{Tenant: tenant}
		if err := cl.call(ctx, http.MethodGet, pathTo("tenants", tenant, "mail", "check"), nil, nil, &check); err != nil {
			if c.Tenant != "" {
				return err
			}
			p.warn([]string{tenant + ": " + err.Error()}) // such as one without a sender
			continue
		}
		checks = append(checks, check)
	}
	missing := 0
	for _, check := range checks {
		for _, f := range check.Findings {
			if f.Verdict == "missing" {
				missing++
			}
		}
	}
	err = c.show(p, checks, func() error {
		for _, check := range checks {
			if err := p.line("%s: mail from %s", check.Tenant, check.Sender); err != nil {
				return err
			}
			for _, f := range check.Findings {
				pairs := []string{f.Record, strings.ToUpper(f.Verdict), "means", f.Means}
				if f.Found != "" {
					pairs = append(pairs, "found", f.Found)
				}
				if f.Add != "" {
					pairs = append(pairs, "add", f.Add)
				}
				if err := p.fields(pairs...); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil && missing > 0 {
		err = fmt.Errorf("found: %d of the records are missing", missing)
	}
	return err
}

type testMailCommand struct {
	ofTenant
	output
	To   string `arg:"" help:"Address that the message goes to."`
	Lang string `placeholder:"LANG" help:"In which language; the tenant's first unless told."`
}

func (c *testMailCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	body := map[string]any{"to": c.To}
	if c.Lang != "" {
		body["lang"] = c.Lang
	}
	var sent struct {
		Sent bool `json:"sent"`
	}
	if err := cl.call(ctx, http.MethodPost, pathTo("tenants", c.Tenant, "mail", "test"), nil, body, &sent); err != nil {
		return err
	}
	return c.show(p, sent, func() error {
		return p.line("A test message was handed over for %s. Look whether it arrives, and not among unwanted mail.", c.To)
	})
}
