package adminapi

import (
	"net/http"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/signingkey"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// keyView is a signing key as it is answered: what it is called and where it is
// in its life, and nothing of the key.
type keyView struct {
	KID       string           `json:"kid"`
	Alg       jose.Alg         `json:"alg"`
	State     signingkey.State `json:"state"`
	CreatedAt time.Time        `json:"created_at"`
	ActiveAt  time.Time        `json:"active_at,omitzero"`
	RetiredAt time.Time        `json:"retired_at,omitzero"`
	GoneAt    time.Time        `json:"gone_at,omitzero"`
}

// maxKID is longer than any kid.
const maxKID = 100

func (a *api) listKeys(w http.ResponseWriter, r *http.Request) error {
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	given, err := parameters(r, "after", "limit")
	if err != nil {
		return err
	}
	limit, err := limitOf(given)
	if err != nil {
		return err
	}
	if len(given["after"]) > maxKID {
		return badRequest("The parameter after is not what a page of this list gave as next.")
	}
	found, err := a.SigningKeys.List(r.Context(), t.ID, given["after"], limit)
	if err != nil {
		return err
	}
	answer := page[keyView]{Items: []keyView{}, Next: next(found, limit, func(k signingkey.Info) string { return k.KID })}
	for _, k := range found {
		answer.Items = append(answer.Items, keyView{k.KID, k.Alg, k.State, k.CreatedAt, k.ActiveAt, k.RetiredAt, k.GoneAt})
	}
	return respond(w, http.StatusOK, answer)
}

// rotation says which key is to be replaced: exactly one of the three.
type rotation struct {
	Alg      jose.Alg `json:"alg"`      // the signing key of this algorithm
	Envelope bool     `json:"envelope"` // the tenant's key, which wraps those of its customers
	Lookup   bool     `json:"lookup"`   // the key of the hashes that identifiers are found by
}

type rotated struct {
	KID      string      `json:"kid,omitempty"`
	Envelope bool        `json:"envelope,omitempty"`
	Lookup   *lookupView `json:"lookup,omitempty"`
}

// lookupView is how far the replacement of a look-up key has come.
type lookupView struct {
	Phase     string    `json:"phase"` // announced, rewriting, clearing; none when none is under way
	StartedAt time.Time `json:"started_at,omitzero"`
	ReadyAt   time.Time `json:"ready_at,omitzero"` // when rewriting begins
	EndedAt   time.Time `json:"ended_at,omitzero"` // when the old key was dropped
	Rewritten int64     `json:"rewritten"`
	Failed    int64     `json:"failed"` // in the latest pass; the log says why
}

func lookupOf(r *customer.LookupRotation) *lookupView {
	if r == nil {
		return &lookupView{Phase: "none"}
	}
	return &lookupView{string(r.Phase), r.StartedAt, r.ReadyAt, r.EndedAt, r.Rewritten, r.Failed}
}

// showLookup tells how far the replacement of a tenant's look-up key has come.
func (a *api) showLookup(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	now, err := a.Directory.LookupRotation(r.Context(), t.ID)
	if err != nil {
		return err
	}
	return respond(w, http.StatusOK, lookupOf(now))
}

func (a *api) rotateKeys(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	var wanted rotation
	if err := decode(w, r, &wanted); err != nil {
		return err
	}
	switch known := wanted.Alg == jose.ES256 || wanted.Alg == jose.RS256 || wanted.Alg == jose.EdDSA; {
	case wanted.Lookup && !wanted.Envelope && wanted.Alg == "":
		now, err := a.Directory.RotateLookup(r.Context(), t.ID, Operator)
		if err != nil {
			return err
		}
		return respond(w, http.StatusOK, rotated{Lookup: lookupOf(now)})
	case wanted.Envelope && !wanted.Lookup && wanted.Alg == "":
		err := a.Ring.RotateTenant(r.Context(), t.ID, func(tx *sqldb.Tx) error {
			return a.Log.Append(tx, event.Event{Tenant: t.ID, Type: "tenant.key.rotated", Actor: Operator})
		})
		if err != nil {
			return err
		}
		return respond(w, http.StatusOK, rotated{Envelope: true})
	case !wanted.Envelope && !wanted.Lookup && known:
		kid, err := a.SigningKeys.Rotate(r.Context(), t.ID, wanted.Alg, Operator)
		if err != nil {
			return err
		}
		return respond(w, http.StatusOK, rotated{KID: kid})
	}
	return problem.InvalidInput(problem.Field{Pointer: "/alg", Detail: "is ES256, RS256 or EdDSA, or envelope or lookup is true; only one of them"})
}

// rootView is a root key as it is answered: its name, and nothing of the key.
type rootView struct {
	ID         string `json:"id"`
	Present    bool   `json:"present"`    // wraps what is new
	Configured bool   `json:"configured"` // false for one that somebody else began to wrap with
	Keys       int64  `json:"keys"`       // that it wraps
}

// showRoots tells which root keys are needed.
func (a *api) showRoots(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	roots, err := a.Ring.Roots(r.Context())
	if err != nil {
		return err
	}
	answer := page[rootView]{Items: []rootView{}}
	for _, root := range roots {
		answer.Items = append(answer.Items, rootView(root))
	}
	return respond(w, http.StatusOK, answer)
}

// rewrapBatch is how many keys one request moves.
const rewrapBatch = 500

type rewrapped struct {
	Done bool `json:"done"` // whether nothing is left; otherwise ask again
}

// rewrap moves some keys to the present root key and the present keys of their
// tenants. The server does the same by itself, slowly.
func (a *api) rewrap(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	if err := decode(w, r, &struct{}{}); err != nil {
		return err
	}
	done, err := a.Ring.Rewrap(r.Context(), rewrapBatch)
	if err != nil {
		return err
	}
	return respond(w, http.StatusOK, rewrapped{done})
}

// erasureLedger exports who was erased, for safekeeping apart from backups. An
// export that was cut short lacks its last line, and is refused when it is read.
func (a *api) erasureLedger(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jsonl")
	begun := &tracker{w: w}
	if err := keyring.ExportLedger(r.Context(), a.KeyStore, begun); err != nil {
		if begun.any {
			panic(http.ErrAbortHandler)
		}
		return err
	}
	return nil
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
