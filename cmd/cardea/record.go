package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
)

type anchorView struct {
	Lane     int    `json:"lane"`
	Position int64  `json:"position"`
	Chain    string `json:"chain"`
}

type checkedView struct {
	anchorView
	Events    int    `json:"events"`
	Unchained int    `json:"unchained"`
	Aged      int    `json:"aged"`
	End       bool   `json:"end"`
	Last      int64  `json:"last"`
	Fault     string `json:"fault"`
	Event     string `json:"event"`
}

type anchorRecordCommand struct {
	place
	Out string `required:"" placeholder:"FILE" help:"File to write, as a whole or not at all."`
}

func (c *anchorRecordCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var anchors struct {
		Items []anchorView `json:"items"`
	}
	if err := cl.call(ctx, http.MethodGet, pathTo("record"), nil, nil, &anchors); err != nil {
		return err
	}
	text, err := json.MarshalIndent(anchors.Items, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(c.Out, append(text, '\n')); err != nil {
		return fmt.Errorf("write the anchor: %w", err)
	}
	return p.line("The anchor is in %s. Keep it where whoever may write to the database may not.", c.Out)
}

type verifyRecordCommand struct {
	place
	output
	Anchor string `placeholder:"FILE" help:"An earlier anchor, which the chains must still lead through."`
}

// verified is what came of it.
type verified struct {
	Events    int         `json:"events"`
	Unchained int         `json:"unchained"`
	Aged      int         `json:"aged"`
	Faults    []laneFault `json:"faults"`
}

type laneFault struct {
	Lane     int    `json:"lane"`
	Position int64  `json:"after_position"`
	Fault    string `json:"fault"`
	Event    string `json:"event,omitempty"`
}

// lanes are how many chains there are.
const lanes = 64

var laneFaults = map[string]string{
	"changed": "the event is not as it was made",
	"removed": "an event was removed",
	"chain":   "an event was put in, or its digest was changed",
	"cut":     "the newest events were cut off",
	"anchor":  "the chain does not lead through the anchor: it was made anew, or the database was restored from before",
}

func (c *verifyRecordCommand) Run(ctx context.Context, p *program) error {
	anchors := map[int]anchorView{}
	if c.Anchor != "" {
		text, err := os.ReadFile(c.Anchor)
		if err != nil {
			return err
		}
		var all []anchorView
		if err := json.Unmarshal(text, &all); err != nil {
			return fmt.Errorf("%s is no anchor: %w", c.Anchor, err)
		}
		for _, a := range all {
			anchors[a.Lane] = a
		}
		if len(anchors) != lanes {
			return fmt.Errorf("%s is no anchor: it has %d of %d lanes", c.Anchor, len(anchors), lanes)
		}
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found := verified{Faults: []laneFault{}}
	for lane := range lanes {
		if err := found.lane(ctx, cl, lane, anchors[lane]); err != nil {
			return err
		}
	}
	if err := c.show(p, found, func() error { return found.print(p) }); err != nil {
		return err
	}
	if len(found.Faults) > 0 {
		return errors.New("the record is not as it was made")
	}
	return nil
}

// lane checks one lane: to the anchor, if there is one, and then to its end.
func (v *verified) lane(ctx context.Context, cl *client, lane int, anchor anchorView) error {
	at, seen, to := checkedView{}, false, anchor.Position
	for {
		query := url.Values{"after": {strconv.FormatInt(at.Position, 10)}, "chain": {at.Chain}, "seen": {strconv.FormatBool(seen)}, "to": {strconv.FormatInt(to, 10)}, "limit": {"5000"}}
		at = checkedView{}
		if err := cl.call(ctx, http.MethodGet, pathTo("record", strconv.Itoa(lane)), query, nil, &at); err != nil {
			return err
		}
		v.Events, v.Unchained, v.Aged, seen = v.Events+at.Events, v.Unchained+at.Unchained, v.Aged+at.Aged, seen || at.Events > 0
		if at.Fault == "" && at.End && to > 0 && !at.leadsThrough(anchor) {
			at.Fault = "anchor"
		}
		switch {
		case at.Fault != "":
			v.Faults = append(v.Faults, laneFault{lane, at.Position, at.Fault, at.Event})
			return nil
		case at.End && to > 0:
			to = 0
		case at.End:
			return nil
		}
	}
}

// leadsThrough tells whether a lane that was looked at up to an anchor had that
// anchor. Where nothing is left of it before there, the time of its events was over.
func (c checkedView) leadsThrough(anchor anchorView) bool {
	if c.Last < anchor.Position {
		return false
	}
	return c.Position == 0 || c.Position == anchor.Position && c.Chain == anchor.Chain
}

func (v *verified) print(p *program) error {
	for _, f := range v.Faults {
		text := fmt.Sprintf("lane %d, after position %d: %s", f.Lane, f.Position, laneFaults[f.Fault])
		if f.Event != "" {
			text += " (" + f.Event + ")"
		}
		if err := p.line("%s", text); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%d events were looked at", v.Events)
	if v.Unchained > 0 {
		text += fmt.Sprintf(", and %d of an earlier release, of which nothing can be said", v.Unchained)
	}
	if len(v.Faults) == 0 {
		text += ": all are as they were made"
	}
	return p.line("%s.", text)
}
