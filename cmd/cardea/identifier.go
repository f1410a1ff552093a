package main

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/identifier"
)

// anIdentifier is what a command needs that is about an identifier of a
// customer.
type anIdentifier struct {
	ofCustomer
	output
	Value string `arg:"" help:"The identifier, such as an e-mail address."`
	Kind  string `placeholder:"KIND" help:"Its kind, if its form does not tell: email, phone, username, or one that the tenant declares."`
}

func (c anIdentifier) kind() string {
	known := []identifier.Kind{"", identifier.Email, identifier.Phone, identifier.Username}
	if slices.Contains(known, identifier.Kind(c.Kind)) {
		return c.Kind
	}
	return string(identifier.Declared(c.Kind))
}

// change has the server change the identifier, which the customer has.
func (c anIdentifier) change(ctx context.Context, p *program, method string, more ...string) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := c.fetch(ctx, cl)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(found.Identifiers, func(it identifierView) bool {
		return it.ID == c.Value || strings.EqualFold(it.Value, c.Value) && (c.Kind == "" || it.Kind == c.kind())
	})
	if at < 0 {
		return usage("the customer has no identifier %s; 'cardea customer show' lists them as they are to be given here", c.Value)
	}
	var changed customerView
	path := pathTo(append([]string{"tenants", c.Tenant, "customers", found.ID, "identifiers", found.Identifiers[at].ID}, more...)...)
	if err := cl.call(ctx, method, path, nil, nil, &changed); err != nil {
		return err
	}
	return changed.print(p, c.output)
}

type addIdentifierCommand struct {
	anIdentifier
	Verified bool `help:"It is known to be the customer's."`
}

func (c *addIdentifierCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	path, err := c.path(ctx, cl, "identifiers")
	if err != nil {
		return err
	}
	var changed customerView
	body := identifierView{Kind: c.kind(), Value: c.Value, Verified: c.Verified}
	if err := cl.call(ctx, http.MethodPost, path, nil, body, &changed); err != nil {
		return err
	}
	return changed.print(p, c.output)
}

type verifyIdentifierCommand struct{ anIdentifier }

func (c *verifyIdentifierCommand) Run(ctx context.Context, p *program) error {
	return c.change(ctx, p, http.MethodPost, "verify")
}

type removeIdentifierCommand struct{ anIdentifier }

func (c *removeIdentifierCommand) Run(ctx context.Context, p *program) error {
	return c.change(ctx, p, http.MethodDelete)
}
