package adminapi

import (
	"context"
	"encoding/base64"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
)

func (a *api) recordOperations() {
	declare(a, operation{
		id: "showRecordAnchors", method: get, path: "/record", noun: installation, scope: "installation:read",
		summary:     "Show where the chains of the record stand",
		description: "Each event is hashed onto the chain of its lane, of which there are 64. Kept elsewhere, the answer tells later whether somebody has made a chain anew.",
	}, a.showAnchors)
	declare(a, operation{
		id: "checkRecord", method: get, path: "/record/{lane}", noun: installation, scope: "installation:read",
		summary:     "Check whether the record is as it was made",
		description: "Looks at some events of a lane after a position, and stops at the first that does not fit the chain. Go on from the position and the chain of the answer until it says end.",
		errors:      []int{404},
	}, a.checkRecord)
}

// anchorView is where a chain stands.
type anchorView struct {
	Lane     int    `json:"lane"`
	Position int64  `json:"position" doc:"Of the lane's last event, or the last that was looked at; 0 for none."`
	Chain    string `json:"chain" doc:"SHA-256, in base64url; empty while nothing is chained."`
}

func viewAnchor(a event.Anchor) anchorView {
	return anchorView{a.Lane, a.Position, base64.RawURLEncoding.EncodeToString(a.Chain)}
}

func (a *api) showAnchors(ctx context.Context, _ *nothing) (*answer[page[anchorView]], error) {
	anchors, err := a.Log.Anchors(ctx)
	if err != nil {
		return nil, err
	}
	p := page[anchorView]{Items: []anchorView{}}
	for _, anchor := range anchors {
		p.Items = append(p.Items, viewAnchor(anchor))
	}
	return answerWith(p)
}

// checkedView is how far a lane was looked at, and what was found.
type checkedView struct {
	Lane      int         `json:"lane"`
	Position  int64       `json:"position" doc:"The last that was looked at."`
	Chain     string      `json:"chain" doc:"There, in base64url; empty while nothing is chained."`
	Events    int         `json:"events" doc:"That are as they were made."`
	Unchained int         `json:"unchained" doc:"Of an earlier release, which made no chain: nothing can be said of them."`
	Aged      int         `json:"aged" doc:"Whose time was over, and which are gone but for their positions."`
	End       bool        `json:"end" doc:"Whether nothing follows."`
	Last      int64       `json:"last" doc:"The position that was given last in the lane."`
	Fault     event.Fault `json:"fault,omitempty" enum:"changed,removed,chain,cut" doc:"What does not fit: the event was changed; it or its position was removed; the chain was broken before it; the end was cut off."`
	Event     id.Event    `json:"event,omitempty" doc:"That the fault is of, where there is one."`
}

func (a *api) checkRecord(ctx context.Context, in *struct {
	Lane  int    `path:"lane" minimum:"0" maximum:"63" doc:"Which lane." example:"0"`
	After int64  `query:"after" minimum:"0" doc:"The position to go on after; 0 begins."`
	Chain string `query:"chain" maxLength:"64" doc:"The chain at that position, as it was answered."`
	Seen  bool   `query:"seen" doc:"Whether an event of the lane was found before: none may be missing from then on."`
	To    int64  `query:"to" minimum:"0" doc:"The position to stop at; 0 is the end."`
	Limit int    `query:"limit" minimum:"1" maximum:"5000" default:"1000" doc:"How many events at most."`
},
) (*answer[checkedView], error) {
	chain, err := base64.RawURLEncoding.Strict().DecodeString(in.Chain)
	if err != nil {
		return nil, badRequest("The parameter chain is not one that was answered.")
	}
	done, err := a.Log.Check(ctx, event.Anchor{Lane: in.Lane, Position: in.After, Chain: chain}, in.Seen, in.To, in.Limit)
	if err != nil {
		return nil, err
	}
	at := viewAnchor(done.Anchor)
	return answerWith(checkedView{at.Lane, at.Position, at.Chain, done.Events, done.Unchained, done.Aged, done.End, done.Last, done.Fault, done.Event})
}
