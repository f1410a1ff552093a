// Package explain keeps what stands behind the id of an error that somebody was
// shown, for whoever is asked about it: what was tried, at which door, which
// check decided, and why, in plain words.
//
// A Trail goes with each request and costs it nothing but its memory. The
// surfaces and the flow note on it what they learn anyway; Met gives an error
// its id. A Journal keeps the trails of errors: all of them in a small memory of
// the node, and in the database those that its limits let through, written in
// batches, so that no visitor decides how many rows there are.
//
// What is kept is for a support person's eyes: ids, names of checks and
// sentences of this program. It has no secret, no address and nothing that a
// customer or an application typed; the causes of our own faults stand in the
// log alone.
package explain

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/id"
)

// Verdict is how a request ended that was answered with an error.
type Verdict struct {
	Status int    // of HTTP; 303 where the error travels by redirect
	Code   string // of the protocol, of a page or of a problem
	Reason string // what the caller was told, in words of this program
	Shed   bool   // there was too much to do; nothing is broken
}

// Record is what is kept of one error.
type Record struct {
	ID          id.Fault       `json:"id"`
	At          time.Time      `json:"at"`
	Request     id.Request     `json:"request,omitempty"`
	Tenant      id.Tenant      `json:"tenant,omitempty"`
	Application id.Application `json:"application,omitempty"`
	Proved      bool           `json:"application_proved,omitempty"` // the application had proved itself
	Customer    id.Customer    `json:"customer,omitempty"`
	Door        string         `json:"door,omitempty"`    // the route
	Grant       string         `json:"grant,omitempty"`   // of the token endpoint
	Journey     string         `json:"journey,omitempty"` // with Step
	Step        string         `json:"step,omitempty"`
	Status      int            `json:"status"`
	Code        string         `json:"code"`
	Tried       []string       `json:"tried,omitempty"` // what was passed before, in order
	Check       string         `json:"check,omitempty"` // what decided
	Reason      string         `json:"reason"`          // as the caller was told it
	Why         string         `json:"why,omitempty"`   // what the caller was not told
	Shed        bool           `json:"shed,omitempty"`
}

// Ours tells whether something is broken on our side.
func (r *Record) Ours() bool { return r.Status >= 500 && !r.Shed }

// Trail is what is known so far of one request. It belongs to the goroutine
// that handles the request. A nil Trail takes notes and keeps none.
type Trail struct{ record Record }

type trailKey struct{}

// With returns the context of a request that has a trail.
func With(ctx context.Context) (context.Context, *Trail) {
	t := &Trail{}
	return context.WithValue(ctx, trailKey{}, t), t
}

// Of returns the trail of a request, nil where there is none.
func Of(ctx context.Context) *Trail {
	t, _ := ctx.Value(trailKey{}).(*Trail)
	return t
}

// At notes the route that took the request, and its tenant.
func (t *Trail) At(door string, tenant id.Tenant) {
	if t != nil {
		t.record.Door, t.record.Tenant = door, tenant
	}
}

// From notes the application that a request is from, or says it is from.
func (t *Trail) From(application id.Application, proved bool) {
	if t != nil {
		t.record.Application, t.record.Proved = application, proved
	}
}

// About notes the customer that a request is about. It is noted only of those
// who are known by something that they have shown.
func (t *Trail) About(customer id.Customer) {
	if t != nil {
		t.record.Customer = customer
	}
}

// Uses notes the grant type of a request for tokens: one that there is.
func (t *Trail) Uses(grant string) {
	if t != nil {
		t.record.Grant = grant
	}
}

// InStep notes where in a journey a request came in.
func (t *Trail) InStep(journey, step string) {
	if t != nil {
		t.record.Journey, t.record.Step = journey, step
	}
}

// Decided notes the check that ended a request, and those that it had passed.
func (t *Trail) Decided(check string, passed ...string) {
	if t != nil && t.record.Check == "" {
		t.record.Check, t.record.Tried = check, slices.Clone(passed)
	}
}

// Because notes why, in words of this program, where the caller is not told
// all of it. The first reason stands: it is the nearest to what happened.
func (t *Trail) Because(why string) {
	if t != nil && t.record.Why == "" {
		t.record.Why = why
	}
}

// Fault is the error's id, "" while there is none.
func (t *Trail) Fault() id.Fault {
	if t == nil {
		return ""
	}
	return t.record.ID
}

// Met gives the error that a request is answered with an id. A request has one
// id, however often it is asked for, and the verdict of the first time.
func Met(ctx context.Context, now time.Time, random io.Reader, v Verdict) id.Fault {
	t := Of(ctx)
	if met := t.Fault(); met != "" {
		return met
	}
	fault := id.New[id.Fault](now, random)
	id.SetFault(ctx, fault)
	if t != nil {
		r := &t.record
		r.ID, r.At, r.Request = fault, now.UTC().Truncate(time.Millisecond), id.RequestOf(ctx)
		r.Status, r.Code, r.Reason, r.Shed = v.Status, v.Code, v.Reason, v.Shed
	}
	return fault
}
