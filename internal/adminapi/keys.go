package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/signingkey"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func (a *api) keyOperations() {
	declare(a, operation{
		id: "listKeys", method: get, path: ofTenant + "/keys", noun: keys, scope: "keys:read",
		summary: "List a tenant's signing keys", description: "What each is called and where it is in its life, and nothing of the key.", errors: []int{404},
	}, a.listKeys)
	declare(a, operation{
		id: "rotateKey", method: post, path: ofTenant + "/keys/rotate", noun: keys, scope: "keys:write",
		summary:     "Replace a key of a tenant",
		description: "Exactly one of three: the signing key of an algorithm, the key that wraps those of customers, or the key of the hashes that identifiers are found by.",
		errors:      []int{404, 409},
	}, a.rotateKeys)
	declare(a, operation{
		id: "showLookupRotation", method: get, path: ofTenant + "/keys/lookup", noun: keys, scope: "keys:read",
		summary: "Show how far the replacement of a look-up key has come", description: "It goes on in the background, and nobody is signed out by it.", errors: []int{404},
	}, a.showLookup)
	declare(a, operation{
		id: "listRootKeys", method: get, path: "/root-key", noun: installation, scope: "installation:read",
		summary: "List the root keys that are needed", description: "Their names, and nothing of the keys.",
	}, a.showRoots)
	declare(a, operation{
		id: "rewrapKeys", method: post, path: "/root-key/rewrap", noun: installation, scope: "installation:write",
		summary: "Move some keys to the present root key", description: "The server does the same by itself, slowly. Ask again until it is done.",
	}, a.rewrap)
	declare(a, operation{
		id: "exportErasureLedger", method: get, path: "/erasure-ledger", noun: installation, scope: "installation:read", streams: "application/jsonl",
		summary:     "Export who was erased",
		description: "One JSON object a line (application/jsonl), for safekeeping apart from backups. An export that was cut short lacks its last line, and is refused when it is read.",
	}, a.erasureLedger)
}

// keyView is a signing key as it is answered: what it is called and where it is
// in its life, and nothing of the key.
type keyView struct {
	KID       string           `json:"kid"`
	Alg       jose.Alg         `json:"alg" example:"ES256"`
	State     signingkey.State `json:"state"`
	CreatedAt time.Time        `json:"created_at"`
	ActiveAt  time.Time        `json:"active_at,omitzero"`
	RetiredAt time.Time        `json:"retired_at,omitzero"`
	GoneAt    time.Time        `json:"gone_at,omitzero"`
}

// maxKID is longer than any kid.
const maxKID = 100

func (a *api) listKeys(ctx context.Context, in *struct {
	TenantPath
	Paging
},
) (*answer[page[keyView]], error) {
	if len(in.After) > maxKID {
		return nil, badRequest("The parameter after is not what a page of this list gave as next.")
	}
	found, err := a.SigningKeys.List(ctx, tenantOf(ctx).ID, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return answerWith(pageOf(found, in.Limit, func(k signingkey.Info) string { return k.KID }, func(k signingkey.Info) keyView {
		return keyView{k.KID, k.Alg, k.State, k.CreatedAt, k.ActiveAt, k.RetiredAt, k.GoneAt}
	}))
}

// rotation says which key is to be replaced: exactly one of the three.
type rotation struct {
	Alg      jose.Alg `json:"alg,omitempty" doc:"The signing key of this algorithm: ES256, RS256 or EdDSA."`
	Envelope bool     `json:"envelope,omitempty" doc:"The tenant's key, which wraps those of its customers."`
	Lookup   bool     `json:"lookup,omitempty" doc:"The key of the hashes that identifiers are found by."`
}

type rotated struct {
	KID      string      `json:"kid,omitempty" doc:"Of the new signing key."`
	Envelope bool        `json:"envelope,omitempty"`
	Lookup   *lookupView `json:"lookup,omitempty"`
}

// lookupView is how far the replacement of a look-up key has come.
type lookupView struct {
	Phase     string    `json:"phase" enum:"none,announced,rewriting,clearing"`
	StartedAt time.Time `json:"started_at,omitzero"`
	ReadyAt   time.Time `json:"ready_at,omitzero" doc:"When rewriting begins."`
	EndedAt   time.Time `json:"ended_at,omitzero" doc:"When the old key was dropped."`
	Rewritten int64     `json:"rewritten"`
	Failed    int64     `json:"failed" doc:"In the latest pass; the log says why."`
}

func lookupOf(r *customer.LookupRotation) *lookupView {
	if r == nil {
		return &lookupView{Phase: "none"}
	}
	return &lookupView{string(r.Phase), r.StartedAt, r.ReadyAt, r.EndedAt, r.Rewritten, r.Failed}
}

func (a *api) showLookup(ctx context.Context, _ *struct{ TenantPath }) (*answer[*lookupView], error) {
	now, err := a.Directory.LookupRotation(ctx, tenantOf(ctx).ID)
	if err != nil {
		return nil, err
	}
	return answerWith(lookupOf(now))
}

func (a *api) rotateKeys(ctx context.Context, in *struct {
	TenantPath
	Body rotation
},
) (*answer[rotated], error) {
	t, wanted := tenantOf(ctx), in.Body
	switch known := wanted.Alg == jose.ES256 || wanted.Alg == jose.RS256 || wanted.Alg == jose.EdDSA; {
	case wanted.Lookup && !wanted.Envelope && wanted.Alg == "":
		now, err := a.Directory.RotateLookup(ctx, t.ID, actor(ctx))
		if err != nil {
			return nil, err
		}
		return answerWith(rotated{Lookup: lookupOf(now)})
	case wanted.Envelope && !wanted.Lookup && wanted.Alg == "":
		err := a.Ring.RotateTenant(ctx, t.ID, func(tx *sqldb.Tx) error {
			return a.Log.Append(tx, event.Event{Tenant: t.ID, Type: "tenant.key.rotated", Actor: actor(ctx)})
		})
		if err != nil {
			return nil, err
		}
		return answerWith(rotated{Envelope: true})
	case !wanted.Envelope && !wanted.Lookup && known:
		kid, err := a.SigningKeys.Rotate(ctx, t.ID, wanted.Alg, actor(ctx))
		if err != nil {
			return nil, err
		}
		return answerWith(rotated{KID: kid})
	}
	return nil, problem.InvalidInput(problem.Field{Pointer: "/alg", Detail: "is ES256, RS256 or EdDSA, or envelope or lookup is true; only one of them"})
}

// rootView is a root key as it is answered: its name, and nothing of the key.
type rootView struct {
	ID         string `json:"id"`
	Present    bool   `json:"present" doc:"Whether it wraps what is new."`
	Configured bool   `json:"configured" doc:"False for one that somebody else began to wrap with."`
	Keys       int64  `json:"keys" doc:"How many it wraps."`
}

func (a *api) showRoots(ctx context.Context, _ *nothing) (*answer[page[rootView]], error) {
	roots, err := a.Ring.Roots(ctx)
	if err != nil {
		return nil, err
	}
	p := page[rootView]{Items: []rootView{}}
	for _, root := range roots {
		p.Items = append(p.Items, rootView(root))
	}
	return answerWith(p)
}

// rewrapBatch is how many keys one request moves.
const rewrapBatch = 500

type rewrapped struct {
	Done bool `json:"done" doc:"Whether nothing is left; otherwise ask again."`
}

func (a *api) rewrap(ctx context.Context, _ *nothing) (*answer[rewrapped], error) {
	done, err := a.Ring.Rewrap(ctx, rewrapBatch)
	if err != nil {
		return nil, err
	}
	return answerWith(rewrapped{done})
}

func (a *api) erasureLedger(ctx context.Context, _ *nothing) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(h huma.Context) {
		_, w := humago.Unwrap(h)
		w.Header().Set("Content-Type", "application/jsonl")
		begun := &tracker{w: w}
		if err := keyring.ExportLedger(ctx, a.KeyStore, begun); err != nil {
			if begun.any {
				panic(http.ErrAbortHandler)
			}
			callOf(ctx).err = err
		}
	}}, nil
}

// tracker knows whether anything was written.
type tracker struct {
	w   http.ResponseWriter
	any bool
}

func (t *tracker) Write(p []byte) (int, error) {
	t.any = true
	return t.w.Write(p)
}
