package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/operator"
)

type operatorView struct {
	Subject    string    `json:"subject"`
	Name       string    `json:"name,omitempty"`
	Scopes     []string  `json:"scopes"`
	AllTenants bool      `json:"all_tenants"`
	Tenants    []string  `json:"tenants"`
	Revision   int64     `json:"revision"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
}

func (v operatorView) tenants() string {
	if v.AllTenants {
		return "all"
	}
	return strings.Join(v.Tenants, " ")
}

func (v operatorView) scopes() string {
	if len(v.Scopes) == len(operator.Scopes()) {
		return "all"
	}
	return strings.Join(v.Scopes, " ")
}

func (v operatorView) print(p *program, o output) error {
	return o.show(p, v, func() error {
		return p.fields("operator", v.Subject, "name", v.Name, "scopes", v.scopes(), "tenants", v.tenants(), "since", when(v.CreatedAt), "changed", when(v.UpdatedAt))
	})
}

type listOperatorsCommand struct {
	place
	output
}

func (c *listOperatorsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := list[operatorView](ctx, cl, pathTo("operators"), nil, 0)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, o := range found {
			lines = append(lines, []string{o.Subject, o.Name, o.tenants(), o.scopes()})
		}
		return p.table("There is no operator. The server prints a link for the first one when it starts.", []string{"OPERATOR", "NAME", "TENANTS", "SCOPES"}, lines)
	})
}

// held is what an operator is to hold, as flags.
type held struct {
	Scopes     []string `placeholder:"SCOPE,…" help:"Scopes to hold, as in customers:read,events:read. Without any, all."`
	Tenants    []string `placeholder:"TENANT,…" help:"Tenants, by id or short name, that it is for."`
	AllTenants bool     `help:"It is for all tenants."`
}

func (h held) body() (map[string]any, error) {
	if h.AllTenants == (len(h.Tenants) > 0) {
		return nil, usage("say which tenants it is for: --tenants, or --all-tenants")
	}
	if len(h.Scopes) == 0 {
		h.Scopes = operator.Scopes()
	}
	body := map[string]any{"scopes": h.Scopes, "all_tenants": h.AllTenants}
	if len(h.Tenants) > 0 {
		body["tenants"] = h.Tenants
	}
	return body, nil
}

// anOperator names one by id, or by the address that the operator signs in with.
type anOperator struct {
	place
	output
	Operator string `arg:"" help:"The operator: an e-mail address, or the id of a customer or an application of the system tenant."`
}

// subject is the id of who is named.
func (c anOperator) subject(ctx context.Context, cl *client) (string, error) {
	if !strings.Contains(c.Operator, "@") {
		return c.Operator, nil
	}
	var found customerView
	err := cl.call(ctx, http.MethodGet, pathTo("tenants", string(id.SystemTenant), "customers", "by-identifier"), url.Values{"identifier": {c.Operator}}, nil, &found)
	return found.ID, err
}

func (c anOperator) set(ctx context.Context, p *program, cl *client, subject string, body map[string]any) error {
	var now operatorView
	if err := cl.call(ctx, http.MethodPut, pathTo("operators", subject), nil, body, &now); err != nil {
		return err
	}
	return now.print(p, c.output)
}

type createOperatorCommand struct {
	anOperator
	held
}

// Run makes the account where there is none, which has no password: its owner
// signs in by a code and chooses one.
func (c *createOperatorCommand) Run(ctx context.Context, p *program) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	subject, err := c.subject(ctx, cl)
	if refused, is := err.(*refusal); is && refused.Status == http.StatusNotFound && strings.Contains(c.Operator, "@") { //nolint:errorlint // call returns it as it is
		var made customerView
		account := map[string]any{"identifiers": []identifierView{{Kind: "email", Value: c.Operator, Verified: true}}}
		err = cl.call(ctx, http.MethodPost, pathTo("tenants", string(id.SystemTenant), "customers"), nil, account, &made)
		subject = made.ID
	}
	if err != nil {
		return err
	}
	return c.set(ctx, p, cl, subject, body)
}

type operatorScopesCommand struct {
	anOperator
	held
}

// Run shows what an operator holds, or has it hold something else.
func (c *operatorScopesCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	subject, err := c.subject(ctx, cl)
	if err != nil {
		return err
	}
	if len(c.Scopes) == 0 && len(c.Tenants) == 0 && !c.AllTenants {
		var now operatorView
		if err := cl.call(ctx, http.MethodGet, pathTo("operators", subject), nil, nil, &now); err != nil {
			return err
		}
		return now.print(p, c.output)
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	return c.set(ctx, p, cl, subject, body)
}

type removeOperatorCommand struct{ anOperator }

func (c *removeOperatorCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	subject, err := c.subject(ctx, cl)
	if err != nil {
		return err
	}
	if err := cl.call(ctx, http.MethodDelete, pathTo("operators", subject), nil, nil, nil); err != nil {
		return err
	}
	return p.line("%s holds nothing any more. The account is still there.", c.Operator)
}

type breakGlassCommand struct {
	place
	Operator string `arg:"" optional:"" help:"An account of the system tenant, by e-mail address or id, that the link is for. Without one it is for whoever opens it first."`
}

func (c *breakGlassCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	body := map[string]any{}
	if c.Operator != "" {
		subject, err := (anOperator{place: c.place, Operator: c.Operator}).subject(ctx, cl)
		if err != nil {
			return err
		}
		body["customer"] = subject
	}
	var made struct {
		Link string `json:"link"`
	}
	if err := cl.call(ctx, http.MethodPost, pathTo("operator-links"), nil, body, &made); err != nil {
		return err
	}
	fmt.Fprintln(p.err, "Whoever opens this link first and chooses a password is an operator who holds everything. It is good for an hour, and on record.")
	_, err = fmt.Fprintln(p.out, made.Link)
	return err
}
