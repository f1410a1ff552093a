package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/cardea-id/cardea/internal/credential"
)

type messageView struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer,omitempty"`
	Template string    `json:"template"`
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	At       time.Time `json:"at"`
}

type listMessagesCommand struct {
	ofTenant
	output
	Waiting bool `help:"Those that have not left yet."`
}

type waitingMessage struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer,omitempty"`
	Template string    `json:"template"`
	Attempts int       `json:"attempts"`
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since"`
	Next     time.Time `json:"next_attempt_at"`
	Expires  time.Time `json:"expires_at"`
}

func (c *listMessagesCommand) waiting(ctx context.Context, p *program, cl *client) error {
	found, err := list[waitingMessage](ctx, cl, pathTo("tenants", c.Tenant, "waiting"), nil, 0)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, m := range found {
			lines = append(lines, []string{when(m.Since), m.Template, m.Customer, m.Reason, fmt.Sprint(m.Attempts), when(m.Next)})
		}
		return p.table("No message waits to be sent.", []string{"SINCE", "MESSAGE", "CUSTOMER", "LAST REASON", "ATTEMPTS", "NEXT"}, lines)
	})
}

func (c *listMessagesCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	if c.Waiting {
		return c.waiting(ctx, p, cl)
	}
	found, err := list[messageView](ctx, cl, pathTo("tenants", c.Tenant, "undelivered"), nil, 0)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, m := range found {
			lines = append(lines, []string{when(m.At), m.Template, m.Customer, m.Reason, fmt.Sprint(m.Attempts)})
		}
		return p.table("No message was given up. Those that still wait are told by 'cardea check' and the metric cardea_outbox_waiting.", []string{"GIVEN UP", "MESSAGE", "CUSTOMER", "REASON", "ATTEMPTS"}, lines)
	})
}

type buildBreachedCommand struct {
	From string `required:"" placeholder:"FILE" help:"The list as it is published: a SHA-1 hash in hex a line, in order. - is standard input."`
	Out  string `required:"" placeholder:"FILE" help:"File to write, for breached_passwords_file. It is replaced only when all went well."`
}

func (c *buildBreachedCommand) Run(_ context.Context, p *program) error {
	from := p.in
	if c.From != "-" {
		file, err := os.Open(c.From)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // it was only read
		from = file
	}
	passwords, err := credential.BuildBreachedList(c.Out, from)
	if err != nil {
		return err
	}
	return p.line("%s has %d passwords.", c.Out, passwords)
}
