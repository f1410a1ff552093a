package claim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cardea-id/cardea/internal/expr"
)

// Set is mappings that are compiled: a tenant's, and an application's, which take
// the place of those of the same name. It is safe for concurrent use.
type Set struct {
	entries  []entry
	customer bool // whether any names what is stored of the customer
	granted  bool // or when the grant was given
}

type entry struct {
	Mapping
	value    *expr.Value // nil: it does not compile
	personal bool
	consent  string // what a third party is allowed: the name, and what it means
}

// Compile compiles mappings. One that cannot be compiled, which Check has not
// let through here but perhaps at a node of another release, is dropped each
// time, as one that fails.
func Compile(tenant, application []Mapping) *Set {
	s := &Set{}
	add := func(m Mapping) {
		sum := sha256.Sum256([]byte(m.Value))
		e := entry{Mapping: m, consent: m.Name + "#" + hex.EncodeToString(sum[:4])}
		if value, err := compile(m.Value); err == nil {
			e.value = value
			names := value.Names
			e.personal = slices.ContainsFunc(personal, names)
			s.customer = s.customer || e.personal
			s.granted = s.granted || names("grant.granted_at")
		}
		s.entries = append(s.entries, e)
	}
	for _, m := range tenant {
		m.In = slices.DeleteFunc(slices.Clone(m.In), func(t Target) bool {
			return slices.ContainsFunc(application, func(own Mapping) bool { return own.Name == m.Name && slices.Contains(own.In, t) })
		})
		if len(m.In) > 0 {
			add(m)
		}
	}
	for _, m := range application {
		add(m)
	}
	return s
}

// Empty tells whether there is nothing to do.
func (s *Set) Empty() bool { return s == nil || len(s.entries) == 0 }

// NeedsCustomer tells whether what is stored of the customer is named.
func (s *Set) NeedsCustomer() bool { return s != nil && s.customer }

// NeedsGrant tells whether it matters when, and for a third party what, the
// customer has allowed.
func (s *Set) NeedsGrant(firstParty bool) bool {
	return s != nil && (s.granted || (s.customer && !firstParty))
}

// Consents returns what a third party must be allowed for the claims that say
// something of the customer, among those that scopes let out. It names the claim
// and the expression: what a claim of another meaning is asked for again.
func (s *Set) Consents(scopes []string) []string {
	if s == nil {
		return nil
	}
	var names []string
	for _, e := range s.entries {
		if e.personal && e.lets(scopes) && !slices.Contains(names, e.consent) {
			names = append(names, e.consent)
		}
	}
	return names
}

func (e *entry) lets(scopes []string) bool { return e.Scope == "" || slices.Contains(scopes, e.Scope) }

// Facts are what mappings may know.
type Facts struct {
	Customer    string
	CreatedAt   time.Time
	Profile     map[string]any
	Identifiers map[string]any
	Scopes      []string
	GrantedAt   time.Time
	Application string
	Name        string // of the application
	FirstParty  bool
	// Organization is that which the token is for, where its scope lets it out.
	Organization, Slug string
	Roles              []string
	// Allowed is what the customer has allowed a third party, as Consents names it;
	// it is not looked at for a first party.
	Allowed []string
	Now     time.Time
}

// Given is a claim for one customer.
type Given struct {
	*Mapping
	Personal bool
	Value    any // nil for none
	JSON     []byte
	Err      error // why it is dropped; it says nothing of the customer
}

// ErrLarge says that a claim, or all of a token's, would be too large.
var ErrLarge = errors.New("the claim is too large")

// errCompile says that a stored mapping is not understood.
var errCompile = errors.New("the mapping is not understood by this release")

// Evaluate gives the claims that the scopes let out. Those with an error are
// dropped by whoever writes a token.
func (s *Set) Evaluate(ctx context.Context, f Facts) []Given {
	if s.Empty() {
		return nil
	}
	given := make([]Given, 0, len(s.entries))
	values := f.variables()
	var cost uint64
	for i := range s.entries {
		e := &s.entries[i]
		if !e.lets(f.Scopes) || (e.personal && !f.FirstParty && !slices.Contains(f.Allowed, e.consent)) {
			continue
		}
		g := Given{Mapping: &e.Mapping, Personal: e.personal}
		switch {
		case e.value == nil:
			g.Err = errCompile
		case cost > MaxCost: // one tenant's mappings slow no other's tokens
			g.Err = expr.ErrCost
		default:
			var own uint64
			g.Value, own, g.Err = e.value.EvalCost(ctx, values)
			cost += own
		}
		if g.Err == nil && g.Value != nil {
			if g.JSON, g.Err = json.Marshal(g.Value); g.Err == nil && len(g.JSON) > MaxClaim {
				g.Err = fmt.Errorf("%w: %d bytes of JSON, and %d are taken", ErrLarge, len(g.JSON), MaxClaim)
			}
		}
		if g.Err != nil {
			g.Value, g.JSON = nil, nil
		}
		given = append(given, g)
	}
	return given
}

func (f Facts) variables() map[string]any {
	orEmpty := func(m map[string]any) map[string]any {
		if m == nil {
			return map[string]any{}
		}
		return m
	}
	list := func(l []string) []string {
		if l == nil {
			return []string{}
		}
		return l
	}
	return map[string]any{
		"profile": orEmpty(f.Profile), "identifiers": orEmpty(f.Identifiers), "customer.id": f.Customer, "customer.created_at": f.CreatedAt,
		"grant.scopes": list(f.Scopes), "grant.granted_at": f.GrantedAt, "application.id": f.Application, "application.name": f.Name,
		"application.first_party": f.FirstParty, "now": f.Now,
		"organization.id": f.Organization, "organization.slug": f.Slug, "organization.roles": list(f.Roles),
	}
}

// For picks the claims of a target, for an access token those of its audience,
// up to the size that a token has room for. What is too much is dropped, and
// said by its error.
func For(given []Given, target Target, audience ...string) []Given {
	var picked []Given
	size := 0
	for _, g := range given {
		if !slices.Contains(g.In, target) || (g.Value == nil && g.Err == nil) {
			continue
		}
		if target == AccessToken && len(g.Audience) > 0 && !slices.ContainsFunc(g.Audience, func(a string) bool { return slices.Contains(audience, a) }) {
			continue
		}
		if g.Err == nil {
			if size += len(g.Name) + len(g.JSON) + 4; size > MaxClaims {
				size -= len(g.Name) + len(g.JSON) + 4
				g.Value, g.JSON, g.Err = nil, nil, fmt.Errorf("%w: the mapped claims of one token have %d bytes at most", ErrLarge, MaxClaims)
			}
		}
		picked = append(picked, g)
	}
	return picked
}

// Sets keeps what was compiled: each content once, found by the revisions of who
// it belongs to. It is safe for concurrent use.
type Sets struct {
	mu        sync.RWMutex
	byOwner   map[Owner]*Set
	byContent map[[32]byte]*Set
}

// mostSets is how many a node keeps of each; beyond it they are made again.
const mostSets = 4096

// Owner names an application of a tenant, as they are at present.
type Owner struct {
	Tenant         string
	TenantRevision int64
	Application    string
	Revision       int64
}

// Of returns the set of mappings of an owner.
func (s *Sets) Of(owner Owner, tenant, application []Mapping) *Set {
	if len(tenant) == 0 && len(application) == 0 {
		return nil
	}
	s.mu.RLock()
	set := s.byOwner[owner]
	s.mu.RUnlock()
	if set != nil {
		return set
	}
	text, err := json.Marshal([2][]Mapping{tenant, application})
	if err != nil { // of texts and lists: it cannot fail
		return Compile(tenant, application)
	}
	content := sha256.Sum256(text)
	s.mu.RLock()
	set = s.byContent[content]
	s.mu.RUnlock()
	if set == nil {
		set = Compile(tenant, application)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byOwner == nil || len(s.byOwner) >= mostSets {
		s.byOwner = map[Owner]*Set{}
	}
	if s.byContent == nil || len(s.byContent) >= mostSets {
		s.byContent = map[[32]byte]*Set{}
	}
	if made := s.byContent[content]; made != nil {
		set = made
	}
	s.byOwner[owner], s.byContent[content] = set, set
	return set
}
