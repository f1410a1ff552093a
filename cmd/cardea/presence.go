package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

type sessionView struct {
	ID              string    `json:"id"`
	CreatedAt       time.Time `json:"created_at"`
	AuthenticatedAt time.Time `json:"authenticated_at"`
	LastSeenAt      time.Time `json:"last_seen_at"`
	IdleUntil       time.Time `json:"idle_until"`
	AbsoluteUntil   time.Time `json:"absolute_until"`
	Methods         []string  `json:"methods"`
	ACR             string    `json:"acr,omitempty"`
	Stay            bool      `json:"stay"`
	Agent           struct {
		Browser string `json:"browser"`
		OS      string `json:"os"`
		Device  string `json:"device"`
		IP      string `json:"ip"`
	} `json:"agent"`
}

type listSessionsCommand struct {
	ofCustomer
	output
}

func (c *listSessionsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	path, err := c.path(ctx, cl, "sessions")
	if err != nil {
		return err
	}
	found, err := list[sessionView](ctx, cl, path, nil, 0)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, x := range found {
			where := strings.TrimSpace(strings.Join([]string{x.Agent.Browser, x.Agent.OS, x.Agent.Device}, " "))
			lines = append(lines, []string{x.ID, when(x.AuthenticatedAt), when(x.LastSeenAt), when(x.AbsoluteUntil), strings.Join(x.Methods, " "), where, x.Agent.IP})
		}
		return p.table("The customer has no sessions.", []string{"SESSION", "SIGNED IN", "LAST SEEN", "UNTIL", "METHODS", "WHERE", "ADDRESS"}, lines)
	})
}

type revokeSessionCommand struct {
	ofCustomer
	output
	Session string `arg:"" optional:"" help:"The session."`
	All     bool   `help:"End all sessions, and everything that has outlived its session."`
}

func (c *revokeSessionCommand) Run(ctx context.Context, p *program) error {
	if c.All == (c.Session != "") {
		return usage("which session? Name one, or give --all")
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	parts := []string{"sessions"}
	if !c.All {
		parts = append(parts, c.Session)
	}
	path, err := c.path(ctx, cl, parts...)
	if err != nil {
		return err
	}
	var ended struct {
		Ended int `json:"ended"`
	}
	if err := cl.call(ctx, http.MethodDelete, path, nil, nil, &ended); err != nil {
		return err
	}
	return c.show(p, ended, func() error { return p.line("Sessions ended: %d.", ended.Ended) })
}

type grantView struct {
	Application string    `json:"application"`
	Name        string    `json:"name,omitempty"`
	FirstParty  bool      `json:"first_party"`
	Scopes      []string  `json:"scopes"`
	Claims      []string  `json:"claims"`
	GrantedAt   time.Time `json:"granted_at"`
	UsedAt      time.Time `json:"used_at,omitzero"`
}

type listGrantsCommand struct {
	ofCustomer
	output
}

func (c *listGrantsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	path, err := c.path(ctx, cl, "grants")
	if err != nil {
		return err
	}
	found, err := list[grantView](ctx, cl, path, nil, 0)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, g := range found {
			lines = append(lines, []string{g.Application, g.Name, yes(g.FirstParty), strings.Join(g.Scopes, " "), when(g.GrantedAt), when(g.UsedAt)})
		}
		return p.table("The customer has allowed no application anything.", []string{"APPLICATION", "NAME", "FIRST PARTY", "SCOPES", "GRANTED", "USED"}, lines)
	})
}

type revokeGrantCommand struct {
	ofCustomer
	Application string `arg:"" help:"The application's client id."`
}

func (c *revokeGrantCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	path, err := c.path(ctx, cl, "grants", c.Application)
	if err != nil {
		return err
	}
	if err := cl.call(ctx, http.MethodDelete, path, nil, nil, nil); err != nil {
		return err
	}
	return p.line("What the customer allowed %s is revoked, and its tokens with it.", c.Application)
}

type eventView struct {
	ID       string          `json:"id"`
	Type     string          `json:"type"`
	At       time.Time       `json:"at"`
	Customer string          `json:"customer,omitempty"`
	Actor    string          `json:"actor"`
	Request  string          `json:"request,omitempty"`
	Data     json.RawMessage `json:"data"`
	Operator json.RawMessage `json:"operator,omitempty"`
}

type listEventsCommand struct {
	ofTenant
	output
	Customer string `placeholder:"ID" help:"Only those about this customer."`
	Type     string `placeholder:"TYPE" help:"Only those of this type, such as session.started."`
	Limit    int    `default:"50" help:"How many at most; 0 is all."`
}

func (c *listEventsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	query := url.Values{}
	for name, value := range map[string]string{"customer": c.Customer, "type": c.Type} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if c.Limit > 0 {
		query.Set("limit", strconv.Itoa(min(c.Limit, 500)))
	}
	found, err := list[eventView](ctx, cl, pathTo("tenants", c.Tenant, "events"), query, c.Limit)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, e := range found {
			lines = append(lines, []string{when(e.At), e.Type, e.Customer, e.Actor, string(e.Data)})
		}
		return p.table("Nothing has happened.", []string{"AT", "TYPE", "CUSTOMER", "ACTOR", "DATA"}, lines)
	})
}
