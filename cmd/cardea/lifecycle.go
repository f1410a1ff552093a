package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// untilCommand is customer lock and suspend, which may end by themselves.
type untilCommand struct {
	ofCustomer
	output
	Reason string `placeholder:"TEXT" help:"Why, for whoever looks at the customer later."`
	Until  string `placeholder:"TIME" help:"When it ends by itself: a time such as 2026-01-31T12:00:00Z, or how long from now, such as 24h. Without, it does not."`
}

func (c *untilCommand) Run(ctx context.Context, p *program, parsed *kong.Context) error {
	body := map[string]any{"reason": c.Reason}
	if c.Until != "" {
		until, err := timeFrom(c.Until, time.Now())
		if err != nil {
			return err
		}
		body["until"] = until
	}
	return c.act(ctx, p, c.ofCustomer, strings.Fields(parsed.Command())[1], body)
}

// timeFrom reads a time, or a duration from now.
func timeFrom(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d).UTC().Truncate(time.Second), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usage("%q is neither a time such as 2026-01-31T12:00:00Z nor a duration such as 24h", text)
	}
	return at, nil
}

type inviteCommand struct {
	ofTenant
	output
	Email string            `required:"" placeholder:"ADDRESS" help:"Where the invitation is sent to."`
	Set   map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"Set an attribute of the profile to a text. May be repeated."`
}

func (c *inviteCommand) Run(ctx context.Context, p *program) error {
	profile := map[string]any{}
	for name, value := range c.Set {
		profile[name] = value
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var made customerView
	err = cl.call(ctx, http.MethodPost, pathTo("tenants", c.Tenant, "invitations"), nil, map[string]any{"email": c.Email, "profile": profile}, &made)
	if err != nil {
		return err
	}
	return made.print(p, c.output)
}

// lifeView is a customer's status with how it came about.
type lifeView struct {
	ID      string     `json:"id"`
	Status  string     `json:"status"`
	Reason  string     `json:"reason,omitempty"`
	Since   time.Time  `json:"since,omitzero"`
	Until   time.Time  `json:"until,omitzero"`
	Next    []string   `json:"next"`
	History []lifeStep `json:"history"`
}

type lifeStep struct {
	Type     string          `json:"type"`
	At       time.Time       `json:"at"`
	Actor    string          `json:"actor"`
	Data     json.RawMessage `json:"data"`
	Operator json.RawMessage `json:"operator,omitempty"`
}

type customerStatusCommand struct {
	ofCustomer
	output
}

func (c *customerStatusCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	path, err := c.path(ctx, cl, "status")
	if err != nil {
		return err
	}
	var life lifeView
	if err := cl.call(ctx, http.MethodGet, path, nil, nil, &life); err != nil {
		return err
	}
	return c.show(p, life, func() error {
		if err := p.fields("customer", life.ID, "status", life.Status, "reason", life.Reason, "since", when(life.Since), "until", when(life.Until),
			"may become", strings.Join(life.Next, ", ")); err != nil {
			return err
		}
		var lines [][]string
		for _, s := range life.History {
			said := ""
			if len(s.Operator) > 0 {
				said = " " + string(s.Operator)
			}
			lines = append(lines, []string{when(s.At), s.Type, s.Actor, fmt.Sprintf("%s%s", s.Data, said)})
		}
		return p.table("Nothing is known of how it came about.", []string{"WHEN", "WHAT", "WHO", "HOW"}, lines)
	})
}
