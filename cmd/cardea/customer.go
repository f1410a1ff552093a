package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
)

// ofCustomer is what a command needs that is about one customer.
type ofCustomer struct {
	ofTenant
	Customer string `arg:"" help:"The customer, by id or by a verified identifier such as an e-mail address."`
}

type customerView struct {
	ID          string           `json:"id"`
	Status      string           `json:"status"`
	Reason      string           `json:"reason,omitempty"`
	Since       time.Time        `json:"status_since,omitzero"`
	Until       time.Time        `json:"status_until,omitzero"`
	Revision    int64            `json:"revision"`
	Version     int64            `json:"version"`
	CreatedAt   time.Time        `json:"created_at"`
	UpdatedAt   time.Time        `json:"updated_at"`
	Identifiers []identifierView `json:"identifiers"`
	Profile     map[string]any   `json:"profile"`
}

type identifierView struct {
	ID         string    `json:"id,omitempty"`
	Kind       string    `json:"kind,omitempty"`
	Value      string    `json:"value"`
	Verified   bool      `json:"verified"`
	VerifiedAt time.Time `json:"verified_at,omitzero"`
	// Undeliverable is there while messages to it come back.
	Undeliverable *struct {
		Reason string    `json:"reason"`
		At     time.Time `json:"at"`
	} `json:"undeliverable,omitempty"`
}

func (v customerView) print(p *program, o output) error {
	return o.show(p, v, func() error {
		pairs := []string{"customer", v.ID, "status", v.Status, "reason", v.Reason, "until", when(v.Until), "revision", fmt.Sprint(v.Revision), "created", when(v.CreatedAt), "updated", when(v.UpdatedAt)}
		for _, it := range v.Identifiers {
			state := " (not verified)"
			if it.Verified {
				state = " (verified " + when(it.VerifiedAt) + ")"
			}
			if it.Undeliverable != nil {
				state += " (messages come back since " + when(it.Undeliverable.At) + ": " + it.Undeliverable.Reason + ")"
			}
			pairs = append(pairs, it.Kind, it.Value+state)
		}
		for _, name := range slices.Sorted(maps.Keys(v.Profile)) {
			text, plain := v.Profile[name].(string)
			if !plain {
				encoded, err := json.Marshal(v.Profile[name])
				if err != nil {
					return err
				}
				text = string(encoded)
			}
			pairs = append(pairs, name, text)
		}
		return p.fields(pairs...)
	})
}

// fetch reads a customer that is named by id or identifier.
func (c ofCustomer) fetch(ctx context.Context, cl *client) (customerView, error) {
	var found customerView
	path, query := pathTo("tenants", c.Tenant, "customers", "by-identifier"), url.Values{"identifier": {c.Customer}}
	if _, err := id.Parse[id.Customer](c.Customer); err == nil {
		path, query = pathTo("tenants", c.Tenant, "customers", c.Customer), nil
	}
	err := cl.call(ctx, http.MethodGet, path, query, nil, &found)
	return found, err
}

// path is the address of something of the customer's. One who is named by an
// identifier is looked up first.
func (c ofCustomer) path(ctx context.Context, cl *client, parts ...string) (string, error) {
	name := c.Customer
	if _, err := id.Parse[id.Customer](name); err != nil {
		found, err := c.fetch(ctx, cl)
		if err != nil {
			return "", err
		}
		name = found.ID
	}
	return pathTo(append([]string{"tenants", c.Tenant, "customers", name}, parts...)...), nil
}

type createCustomerCommand struct {
	ofTenant
	output
	Email      []string          `sep:"none" placeholder:"ADDRESS" help:"E-mail address. May be repeated."`
	Phone      []string          `sep:"none" placeholder:"NUMBER" help:"Phone number. May be repeated."`
	Username   []string          `sep:"none" placeholder:"NAME" help:"User name. May be repeated."`
	Identifier map[string]string `mapsep:"none" placeholder:"KIND=VALUE" help:"Identifier of a kind that the tenant declares. May be repeated."`
	Verified   bool              `help:"The identifiers are known to be the customer's."`
	Set        map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"Set an attribute of the profile to a text. May be repeated."`
	Profile    string            `placeholder:"FILE" help:"File with the profile as JSON; - is standard input."`
}

func (c *createCustomerCommand) Run(ctx context.Context, p *program) error {
	profile := map[string]any{}
	if err := p.readProfile(c.Profile, &profile); err != nil {
		return err
	}
	for name, value := range c.Set {
		profile[name] = value
	}
	var identifiers []identifierView
	add := func(kind string, values []string) {
		for _, value := range values {
			identifiers = append(identifiers, identifierView{Kind: kind, Value: value, Verified: c.Verified})
		}
	}
	add("email", c.Email)
	add("phone", c.Phone)
	add("username", c.Username)
	for _, kind := range slices.Sorted(maps.Keys(c.Identifier)) {
		add(string(identifier.Declared(kind)), []string{c.Identifier[kind]})
	}
	if len(identifiers) == 0 {
		return usage("an account needs an identifier: give --email, --phone, --username or --identifier")
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var made customerView
	err = cl.call(ctx, http.MethodPost, pathTo("tenants", c.Tenant, "customers"), nil, map[string]any{"identifiers": identifiers, "profile": profile}, &made)
	if err != nil {
		return err
	}
	return made.print(p, c.output)
}

func (p *program) readProfile(path string, into *map[string]any) error {
	if path == "" {
		return nil
	}
	text, err := p.read(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s is not a profile in JSON: %w", path, err)
	}
	return nil
}

type showCustomerCommand struct {
	ofCustomer
	output
}

func (c *showCustomerCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := c.fetch(ctx, cl)
	if err != nil {
		return err
	}
	return found.print(p, c.output)
}

type profileCommand struct {
	ofCustomer
	output
	Set      map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"Set an attribute to a text. May be repeated."`
	Unset    []string          `sep:"none" placeholder:"NAME" help:"Take an attribute away. May be repeated."`
	Replace  string            `placeholder:"FILE" help:"File with the whole profile as JSON, in place of the present one; - is standard input."`
	Revision int64             `placeholder:"N" help:"Change it only if the customer is at this revision."`
}

func (c *profileCommand) Run(ctx context.Context, p *program) error {
	if c.Replace == "" && len(c.Set) == 0 && len(c.Unset) == 0 {
		return usage("nothing to change: give --set, --unset or --replace")
	}
	replaced := map[string]any{}
	if err := p.readProfile(c.Replace, &replaced); err != nil {
		return err
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := c.fetch(ctx, cl)
	if err != nil {
		return err
	}
	method, body := http.MethodPatch, map[string]any{}
	if c.Replace != "" {
		method, body = http.MethodPut, replaced
	}
	for name, value := range c.Set {
		body[name] = value
	}
	for _, name := range c.Unset {
		if method == http.MethodPatch {
			body[name] = nil
		} else {
			delete(body, name)
		}
	}
	content, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write the profile: %w", err)
	}
	header := http.Header{}
	if c.Revision != 0 {
		header.Set("If-Match", `"`+strconv.FormatInt(c.Revision, 10)+`"`)
	}
	one := ofCustomer{ofTenant: c.ofTenant, Customer: found.ID}
	path, err := one.path(ctx, cl, "profile")
	if err != nil {
		return err
	}
	if _, err := cl.send(ctx, method, path, nil, "application/json", content, header); err != nil {
		return err
	}
	changed, err := one.fetch(ctx, cl)
	if err != nil {
		return err
	}
	return changed.print(p, c.output)
}

type statusView struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Sessions int    `json:"sessions_ended"`
}

// statusCommand is customer unlock, activate, close and reopen: the last word of
// the command is the act.
type statusCommand struct {
	ofCustomer
	output
	Reason string `placeholder:"TEXT" help:"Why, for whoever looks at the customer later."`
}

func (c *statusCommand) Run(ctx context.Context, p *program, parsed *kong.Context) error {
	words := strings.Fields(parsed.Command())
	return c.act(ctx, p, c.ofCustomer, words[1], map[string]any{"reason": c.Reason})
}

func (o output) act(ctx context.Context, p *program, c ofCustomer, act string, body any) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	path, err := c.path(ctx, cl, act)
	if err != nil {
		return err
	}
	var now statusView
	if err := cl.call(ctx, http.MethodPost, path, nil, body, &now); err != nil {
		return err
	}
	return o.show(p, now, func() error {
		if now.Sessions == 0 {
			return p.line("%s is %s.", now.ID, now.Status)
		}
		return p.line("%s is %s; %d sessions were ended.", now.ID, now.Status, now.Sessions)
	})
}

type eraseCommand struct {
	ofCustomer
	output
	Yes bool `help:"Erase the customer and all that is known of him. This cannot be undone."`
}

func (c *eraseCommand) Run(ctx context.Context, p *program) error {
	if !c.Yes {
		return usage("erasing %s destroys all that is known of the customer and cannot be undone; say --yes to do it", c.Customer)
	}
	return c.act(ctx, p, c.ofCustomer, "erase", nil)
}
