package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/cardea-id/cardea/internal/check"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/config"
)

type checkCommand struct {
	place
	output
	Reach  bool   `help:"Ask the public addresses of the tenants and the mail server too. Nothing is sent to anybody."`
	FailOn string `default:"weakness" enum:"fault,weakness,advice" help:"From which severity on the exit code is 1: fault, weakness or advice."`
}

func (c *checkCommand) Run(ctx context.Context, p *program) error {
	found, err := c.find(p)
	if wrong, is := errors.AsType[*config.Error](err); is {
		if c.JSON {
			err = errors.Join(err, p.json(check.Faults(wrong)))
		}
		return err
	}
	if err != nil {
		return err
	}
	findings := check.Run(ctx, check.Options{Config: found.config, File: c.Config, Development: found.development, Reach: c.Reach,
		Clock: clock.System(), Random: rand.Reader})
	if findings == nil {
		findings = []check.Finding{} // a list in JSON
	}
	if err := c.show(p, findings, func() error { return p.findings(findings, c.Reach) }); err != nil {
		return err
	}
	counts, bad := map[check.Severity]int{}, 0
	for _, f := range findings {
		counts[f.Severity]++
		if f.Severity.AtLeast(check.Severity(c.FailOn)) {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("found: %d of severity fault, %d weakness, %d advice", counts[check.Fault], counts[check.Weakness], counts[check.Advice])
	}
	return nil
}

// findings prints what was found, and once for each kind what it means and what
// to do.
func (p *program) findings(findings []check.Finding, reached bool) error {
	if len(findings) == 0 {
		text := "Nothing was found."
		if !reached {
			text += " --reach asks the public addresses and the mail server too."
		}
		return p.line("%s", text)
	}
	for i, f := range findings {
		if i == 0 || findings[i-1].ID != f.ID {
			if err := p.line("%s  %s\n  %s\n  %s", strings.ToUpper(string(f.Severity)), f.ID, f.Means, f.Do); err != nil {
				return err
			}
		}
		if err := p.line("  - %s", f.Found); err != nil {
			return err
		}
	}
	return nil
}
