package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

type explanationView struct {
	ID              string    `json:"id"`
	At              time.Time `json:"at"`
	Request         string    `json:"request,omitempty"`
	Tenant          string    `json:"tenant,omitempty"`
	TenantName      string    `json:"tenant_name,omitempty"`
	Application     string    `json:"application,omitempty"`
	ApplicationName string    `json:"application_name,omitempty"`
	Proved          bool      `json:"application_proved,omitempty"`
	Customer        string    `json:"customer,omitempty"`
	Door            string    `json:"door,omitempty"`
	Grant           string    `json:"grant,omitempty"`
	Journey         string    `json:"journey,omitempty"`
	Step            string    `json:"step,omitempty"`
	Status          int       `json:"status"`
	Code            string    `json:"code"`
	Tried           []string  `json:"tried,omitempty"`
	Check           string    `json:"check,omitempty"`
	Reason          string    `json:"reason"`
	Why             string    `json:"why,omitempty"`
	Shed            bool      `json:"shed,omitempty"`
	Advice          string    `json:"advice"`
}

type explainCommand struct {
	place
	output
	Error string `arg:"" help:"The id of the error, as its page or answer shows it: err_…"`
}

func (c *explainCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	path := pathTo("errors", c.Error)
	var e explanationView
	if err := cl.call(ctx, http.MethodGet, path, nil, nil, &e); err != nil {
		return err
	}
	return c.show(p, e, func() error {
		application := named(e.ApplicationName, e.Application)
		if e.Proved {
			application += ", which had proved itself"
		} else if application != "" {
			application += ", as the request says"
		}
		door := e.Door
		if e.Grant != "" {
			door += ", grant " + e.Grant
		}
		if e.Journey != "" {
			door += ", journey " + e.Journey + ", step " + e.Step
		}
		check := e.Check
		if check == "" {
			check = "the door itself"
		}
		return p.fields(
			"Error", e.ID,
			"Met", when(e.At)+" ("+e.At.UTC().Format(time.RFC3339)+")",
			"Answered", fmt.Sprintf("%d %s", e.Status, e.Code),
			"Told", e.Reason,
			"Not told", e.Why,
			"Decided by", check,
			"Passed before", strings.Join(e.Tried, "; "),
			"Door", door,
			"Tenant", named(e.TenantName, e.Tenant),
			"Application", application,
			"Customer", e.Customer,
			"Request", e.Request,
			"What to do", e.Advice,
		)
	})
}

// named is a name with its id behind it.
func named(name, id string) string {
	if name == "" {
		return id
	}
	return name + " (" + id + ")"
}
