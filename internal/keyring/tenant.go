package keyring

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Tenant is the keys of one tenant. It is asked for once a request, and not
// kept; its methods use no database but to look for a generation that another
// node has just made.
type Tenant struct {
	id    id.Tenant
	ring  *Ring
	state atomic.Pointer[tenantState]

	mu          sync.Mutex // held while the keys are read
	lookedAhead throttle
}

// tenantState is a tenant's keys as last read. It is not changed.
type tenantState struct {
	version     int64         // of the ring's keys when it was read
	generations []*generation // oldest first
	lookups     []*lookupKey  // oldest first
}

// generation is one generation of a tenant's key.
type generation struct {
	number   uint32
	activeAt int64       // µs; from then on it is used for new things
	key      *secret     // what all others are derived from
	field    cipher.AEAD // seals the tenant's own fields
	customer cipher.AEAD // wraps customers' keys; its nonces are random

	mu       sync.Mutex
	purposes atomic.Pointer[map[string]*purpose]
	macs     atomic.Pointer[map[string]*prf]
}

// maxPurposes bounds what a generation keeps ready, should a purpose's name
// ever be made of what a stranger sends.
const maxPurposes = 256

// maxAhead is how many generations a token may be ahead of those known for it
// to be worth a look.
const maxAhead = 16

func newGeneration(number uint32, activeAt int64, key *secret) *generation {
	return &generation{
		number:   number,
		activeAt: activeAt,
		key:      key,
		field:    newAEAD(derive(key, useField)),
		customer: newAEAD(derive(key, useCustomer)),
	}
}

func (g *generation) purpose(tenant id.Tenant, name string) *purpose {
	if ready := g.purposes.Load(); ready != nil {
		if p := (*ready)[name]; p != nil {
			return p
		}
	}
	return keep(&g.mu, &g.purposes, name, newPurpose(g.key, string(tenant), name))
}

func (g *generation) mac(name string) *prf {
	if ready := g.macs.Load(); ready != nil {
		if p := (*ready)[name]; p != nil {
			return p
		}
	}
	return keep(&g.mu, &g.macs, name, newPRF(derive(g.key, useMAC, name)))
}

// keep adds made to the map, unless it is full or another one was faster.
func keep[T any](mu *sync.Mutex, ready *atomic.Pointer[map[string]*T], name string, made *T) *T {
	mu.Lock()
	defer mu.Unlock()
	next := map[string]*T{}
	if old := ready.Load(); old != nil {
		if was := (*old)[name]; was != nil {
			return was
		}
		if len(*old) >= maxPurposes {
			return made
		}
		next = maps.Clone(*old)
	}
	next[name] = made
	ready.Store(&next)
	return made
}

// current is the generation for new things: the newest that was announced long
// enough ago.
func (t *Tenant) current() *generation {
	g := t.state.Load().generations
	newest := len(g) - 1
	if newest > 0 {
		for now := t.ring.clock.Now().UnixMicro(); newest > 0 && g[newest].activeAt > now; {
			newest--
		}
	}
	return g[newest]
}

func (s *tenantState) generation(number uint32) *generation {
	for i := len(s.generations) - 1; i >= 0; i-- {
		if s.generations[i].number == number {
			return s.generations[i]
		}
	}
	return nil
}

func (s *tenantState) newest() *generation { return s.generations[len(s.generations)-1] }

// generation finds a generation that something sealed names. One that is not
// known but could be another node's newest is looked for in the database. As
// anybody can name one, that is done once a second at most for a tenant, and
// twenty times for all; who comes later than that waits for the next Poll.
func (t *Tenant) generation(number uint32) *generation {
	if g := t.state.Load().generation(number); g != nil {
		return g
	}
	if newest := t.state.Load().newest().number; number <= newest || number-newest > maxAhead {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if g := t.state.Load().generation(number); g != nil {
		return g // found by who held the lock
	}
	now := t.ring.clock.Now()
	if !t.lookedAhead.allow(now, 1) || !t.ring.lookedAhead.allow(now, 20) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := t.read(ctx); err != nil {
		return nil
	}
	return t.state.Load().generation(number)
}

// NewTenantKeys makes the keys of a tenant. They are its keys once the function
// that it returns has stored them, as part of the transaction that makes the
// tenant; a tenant that has keys keeps those.
func (r *Ring) NewTenantKeys(ctx context.Context, tenant id.Tenant) (store func(*sqldb.Tx), err error) {
	key, err := r.wrapNew(ctx, tenantKeyAAD(tenant, 1))
	if err != nil {
		return nil, fmt.Errorf("keyring: create tenant %s: %w", tenant, err)
	}
	lookup, err := r.wrapNew(ctx, lookupKeyAAD(tenant, 1))
	if err != nil {
		return nil, fmt.Errorf("keyring: create tenant %s: %w", tenant, err)
	}
	return func(tx *sqldb.Tx) {
		tx.Queue(sqlAddTenantKey, tenant, 1, r.root.ID(), key, tx.Now())
		tx.Queue(sqlAddLookupKey, tenant, 1, r.root.ID(), lookup, tx.Now())
	}, nil
}

// CreateTenant is NewTenantKeys in a transaction of its own.
func (r *Ring) CreateTenant(ctx context.Context, tenant id.Tenant) error {
	store, err := r.NewTenantKeys(ctx, tenant)
	if err != nil {
		return err
	}
	err = r.db.Write(ctx, func(tx *sqldb.Tx) error { store(tx); return nil })
	if err != nil {
		return fmt.Errorf("keyring: create tenant %s: %w", tenant, err)
	}
	return nil
}

// Tenant returns the keys of a tenant, or ErrNoKey.
func (r *Ring) Tenant(ctx context.Context, tenant id.Tenant) (*Tenant, error) {
	if err := r.mainFresh.ensure(ctx, r.clock, r.pollMain); err != nil {
		return nil, fmt.Errorf("keyring: tenant %s: %w", tenant, err)
	}
	t, ok := r.tenants.GetIfPresent(tenant)
	if !ok {
		var err error
		t, err = r.tenants.Get(ctx, tenant, otter.LoaderFunc[id.Tenant, *Tenant](r.loadTenant))
		if err != nil {
			return nil, fmt.Errorf("keyring: tenant %s: %w", tenant, err)
		}
	}
	if t.state.Load().version < r.version.Load() {
		if err := t.refresh(ctx, r.version.Load()); err != nil {
			return nil, fmt.Errorf("keyring: tenant %s: %w", tenant, err)
		}
	}
	return t, nil
}

// loadTimeout bounds a load that several requests wait for, so that it does
// not depend on the patience of the first.
const loadTimeout = 10 * time.Second

func (r *Ring) loadTenant(ctx context.Context, tenant id.Tenant) (*Tenant, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
	defer cancel()
	t := &Tenant{id: tenant, ring: r}
	if err := t.read(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// refresh reads the keys again unless they are as new as version.
func (t *Tenant) refresh(ctx context.Context, version int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.state.Load(); s != nil && s.version >= version {
		return nil
	}
	return t.read(ctx)
}

const (
	sqlAddTenantKey = `INSERT INTO tenant_key (tenant, generation, root, wrapped, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, generation) DO NOTHING`
	sqlAddLookupKey = `INSERT INTO lookup_key (tenant, generation, root, wrapped, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, generation) DO NOTHING`
	sqlTenantKeys   = `SELECT generation, root, wrapped, created_at FROM tenant_key WHERE tenant = $1 ORDER BY generation`
	sqlLookupKeys   = `SELECT generation, root, wrapped, created_at FROM lookup_key WHERE tenant = $1 ORDER BY generation`
)

// wrappedKey is a row of tenant_key or lookup_key.
type wrappedKey struct {
	generation uint32
	root       string
	wrapped    []byte
	createdAt  time.Time
}

// read reads the keys. A key that is known is not unwrapped again: the key of
// a generation never changes, whichever root key wraps it. The caller holds
// t.mu, or is the only one who has t.
func (t *Tenant) read(ctx context.Context) error {
	next := &tenantState{version: t.ring.version.Load()} // before the rows are read
	tenantKeys, lookupKeys, err := t.ring.wrappedKeys(ctx, t.id)
	if err != nil {
		return err
	}
	if len(tenantKeys) == 0 || len(lookupKeys) == 0 {
		return ErrNoKey
	}
	known := t.state.Load()
	if known == nil {
		known = &tenantState{}
	}
	for i, w := range tenantKeys {
		g := known.generation(w.generation)
		if g == nil {
			key, err := t.ring.unwrap(ctx, w, tenantKeyAAD(t.id, w.generation))
			if err != nil {
				return err
			}
			g = newGeneration(w.generation, activeAt(i, w), key)
		}
		next.generations = append(next.generations, g)
	}
	for i, w := range lookupKeys {
		l := known.lookup(w.generation)
		if l == nil {
			key, err := t.ring.unwrap(ctx, w, lookupKeyAAD(t.id, w.generation))
			if err != nil {
				return err
			}
			l = &lookupKey{number: w.generation, activeAt: activeAt(i, w), prf: newPRF(key)}
		}
		next.lookups = append(next.lookups, l)
	}
	t.state.Store(next)
	return nil
}

// activeAt is when the i-th oldest of a tenant's keys is first used.
func activeAt(i int, w wrappedKey) int64 {
	if i == 0 {
		return 0 // there is nothing else to use
	}
	return w.createdAt.Add(announce).UnixMicro()
}

func (r *Ring) wrappedKeys(ctx context.Context, tenant id.Tenant) (tenantKeys, lookupKeys []wrappedKey, err error) {
	batch := r.db.Batch()
	batch.Queue(sqlTenantKeys, []any{tenant}, appendKey(&tenantKeys))
	batch.Queue(sqlLookupKeys, []any{tenant}, appendKey(&lookupKeys))
	err = batch.Run(ctx)
	return tenantKeys, lookupKeys, err
}

func appendKey(to *[]wrappedKey) func(sqldb.Scanner) error {
	return func(row sqldb.Scanner) error {
		var w wrappedKey
		err := row.Scan(&w.generation, &w.root, &w.wrapped, &w.createdAt)
		*to = append(*to, w)
		return err
	}
}

// wrapNew makes a key and wraps it by the root key.
func (r *Ring) wrapNew(ctx context.Context, aad []byte) ([]byte, error) {
	key, err := newSecret(r.random)
	if err != nil {
		return nil, err
	}
	wrapped, err := r.root.Wrap(ctx, key[:], aad)
	if err != nil {
		return nil, fmt.Errorf("wrap by root key %s: %w", r.root.ID(), err)
	}
	return wrapped, nil
}

func (r *Ring) unwrap(ctx context.Context, w wrappedKey, aad []byte) (*secret, error) {
	root := r.roots[w.root]
	if root == nil {
		return nil, r.wrongRoot(w.root)
	}
	plain, err := root.Unwrap(ctx, w.wrapped, aad)
	if err != nil {
		return nil, fmt.Errorf("unwrap by root key %s: %w", w.root, err)
	}
	return secretFrom(plain)
}

// What a key is wrapped for. Both kinds have AADs of their own, so that one
// cannot be passed off as the other.

func tenantKeyAAD(tenant id.Tenant, generation uint32) []byte {
	return keyAAD("cardea/tenant-key", string(tenant), generation)
}

func lookupKeyAAD(tenant id.Tenant, generation uint32) []byte {
	return keyAAD("cardea/lookup-key", string(tenant), generation)
}

func keyAAD(kind, owner string, generation uint32) []byte {
	return appendPart(appendPart(appendPart(nil, kind), owner), strconv.FormatUint(uint64(generation), 10))
}

const macHead = 4 // bytes of the generation before a code's HMAC

// MAC is a code of 36 bytes over the parts: the generation of the key, and
// HMAC-SHA256 under the tenant's key for the purpose. Where ("a", "bc") and
// ("ab", "c") must differ, they do. It is checked with CheckMAC; for a hash to
// find things by, which no rotation of the tenant's key changes, see Lookup.
func (t *Tenant) MAC(purpose string, parts ...[]byte) []byte {
	return t.current().code(purpose, parts)
}

// CheckMAC says, in constant time, whether code is the MAC of the parts.
func (t *Tenant) CheckMAC(purpose string, code []byte, parts ...[]byte) bool {
	if len(code) != macHead+keySize {
		return false
	}
	g := t.generation(binary.BigEndian.Uint32(code))
	return g != nil && hmac.Equal(code, g.code(purpose, parts))
}

func (g *generation) code(purpose string, parts [][]byte) []byte {
	p := g.mac(purpose)
	state := p.get()
	defer p.put(state)
	state.room = state.room[:0]
	for _, part := range parts {
		state.room = appendPart(state.room, part)
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 0, macHead+keySize), g.number)
	return append(out, state.hash(state.room)[:]...)
}
