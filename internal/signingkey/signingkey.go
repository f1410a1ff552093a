// Package signingkey owns the keys that tenants sign tokens with: their making,
// publishing, changing and passing away.
//
// A key is published, then active, then retired, then gone. All but the gone
// ones are in the tenant's JWK Set. The first key of an algorithm is active
// from the start: nobody can hold an older set that has one, but another node
// may serve a set without it for as long as configversion.Staleness allows, so
// that on PostgreSQL a node signs with it only FirstWait after it first saw it.
// A replacement waits until every copy of the set that was cached before it was
// published has run out. The one that it replaces loses its private part at
// once and stays published for as long as a token that it signed may live.
// Gone, its public part is read for some time yet: an ID token that has long
// expired is a good hint at who is signed in.
//
// Keys are configuration (DESIGN.md, rule 7): a node reads a tenant's when it
// first needs them, and keeps them until configversion tells of a change. An
// RSA key is made only when somebody asks for the algorithm, and never within a
// transaction. The package does not know what is signed.
package signingkey

import (
	"context"
	"crypto"
	"embed"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "signingkey", FS: migrations}
}

// Kind is what changes of keys are called in configversion; the reference is
// the tenant.
const Kind = "signingkey"

const (
	// CacheFor is for how long others may keep a copy of a JWK Set: the max-age
	// of its response.
	CacheFor = 5 * time.Minute
	// FirstWait is how long a node on PostgreSQL waits, after it first saw the
	// first key of an algorithm, until it signs with it: other nodes serve it
	// after configversion.Staleness.
	FirstWait = 2 * configversion.Staleness
	// publishedFor is how long a replacement is published before it signs: what
	// others may cache, and what nodes may be behind, in time and in clocks.
	publishedFor = CacheFor + 10*time.Second
	// RetiredFor is how long a retired key is published: the longest life of a
	// token that tenant.Settings take, and an hour.
	RetiredFor = 25 * time.Hour
	// HintsFor is how long after it was retired what a key has signed is read as a
	// hint: the longest session that tenant.Settings take.
	HintsFor = 400 * 24 * time.Hour
	// mostHints is how many gone keys a node reads, the latest first.
	mostHints = 100
	// settled is the age at which a key is seen by every node for certain, clocks
	// up to five seconds apart (DESIGN.md, rule 9) included.
	settled = 10 * time.Second
)

// State is where a key is in its life.
type State string

const (
	Published State = "published" // in the JWK Set, and not signing yet
	Active    State = "active"    // signing
	Retired   State = "retired"   // in the JWK Set, for what it has signed; its private part is destroyed
	Gone      State = "gone"      // not in the JWK Set; what it has signed is a hint at most
)

// Options are what Keys work with. All are required.
type Options struct {
	DB     *sqldb.DB
	Ring   *keyring.Ring
	Watch  *configversion.Watch
	Log    *event.Log
	Clock  clock.Clock
	Random io.Reader // for keys and signatures: crypto/rand.Reader
}

// Keys makes, publishes and changes signing keys. It is safe for concurrent
// use.
type Keys struct {
	Options
	cache *configversion.Cache[id.Tenant, *set]

	making sync.Mutex // one key is made at a time

	mu   sync.Mutex
	seen map[string]time.Time // when this node first saw a key that is not settled, by kid
}

// set is what a node holds of a tenant's keys. It is not changed.
type set struct {
	signers map[jose.Alg]signer
	jwks    []byte
	verify  *jose.KeySet
	hints   *jose.KeySet // those of verify, and what is gone but not for long
}

type signer struct {
	*jose.Signer
	ready time.Time // zero for a key that may sign at once
}

// cacheSize is how many tenants' keys a node holds.
const cacheSize = 2048

// New returns the keys over a database that holds Migrations. It is called
// before the watch first polls.
func New(o Options) *Keys {
	k := &Keys{Options: o, seen: map[string]time.Time{}}
	k.cache = configversion.NewCache[id.Tenant, *set](o.Watch, cacheSize, func(c configversion.Change, remove func(id.Tenant), _ func()) {
		if c.Kind == Kind {
			remove(c.Tenant)
		}
	})
	return k
}

func (k *Keys) set(ctx context.Context, tenant id.Tenant) (*set, error) {
	return k.cache.Get(ctx, tenant, func(ctx context.Context) (*set, error) { return k.load(ctx, tenant) })
}

// Signer returns the tenant's signer for an algorithm, and makes its first key
// where there is none. Where that key is new it waits until it may sign.
func (k *Keys) Signer(ctx context.Context, tenant id.Tenant, alg jose.Alg) (*jose.Signer, error) {
	for {
		held, err := k.set(ctx, tenant)
		if err != nil {
			return nil, err
		}
		s, found := held.signers[alg]
		if !found {
			if err := k.Ensure(ctx, tenant, alg); err != nil {
				return nil, err
			}
			continue
		}
		if s.ready.IsZero() || !k.Clock.Now().Before(s.ready) {
			return s.Signer, nil
		}
		select { // it is seconds once in a key's life, and the clock may be a test's
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Public returns the tenant's JWK Set. It is shared and not changed.
func (k *Keys) Public(ctx context.Context, tenant id.Tenant) ([]byte, error) {
	held, err := k.set(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return held.jwks, nil
}

// Verifier returns the keys that the tenant's own tokens are verified with.
func (k *Keys) Verifier(ctx context.Context, tenant id.Tenant) (*jose.KeySet, error) {
	held, err := k.set(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return held.verify, nil
}

// HintVerifier returns the keys that an ID token is verified with which is
// presented as a hint, however old: of it nothing is granted.
func (k *Keys) HintVerifier(ctx context.Context, tenant id.Tenant) (*jose.KeySet, error) {
	held, err := k.set(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return held.hints, nil
}

// load reads a tenant's keys.
func (k *Keys) load(ctx context.Context, tenant id.Tenant) (*set, error) {
	keys, err := k.Ring.Tenant(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("the tenant's keys: %w", err)
	}
	rows, err := k.DB.Query(ctx, `SELECT kid, alg, slot, state, public, private, created_at FROM signing_key
		WHERE tenant = $1 AND state <> $2 ORDER BY alg, slot`, tenant, Gone)
	if err != nil {
		return nil, fmt.Errorf("read the signing keys: %w", err)
	}
	loaded := &set{signers: map[jose.Alg]signer{}}
	var public []jose.PublicKey
	for rows.Next() {
		var kid, text string
		var alg jose.Alg
		var slot int64
		var state State
		var private []byte
		var created time.Time
		if err := rows.Scan(&kid, &alg, &slot, &state, &text, &private, &created); err != nil {
			return nil, fmt.Errorf("read a signing key: %w", err)
		}
		jwk, err := jose.ParseJWK([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("the public part of the signing key %s: %w", kid, err)
		}
		public = append(public, jwk)
		if state != Active {
			continue
		}
		der, err := keys.OpenField("signing_key", "private", kid, private)
		if err != nil {
			return nil, fmt.Errorf("open the signing key %s: %w", kid, err)
		}
		key, err := jose.ParsePrivateKey(alg, der)
		if err != nil {
			return nil, fmt.Errorf("the signing key %s: %w", kid, err)
		}
		made, err := jose.NewSigner(alg, kid, key, k.Random)
		if err != nil {
			return nil, fmt.Errorf("the signing key %s: %w", kid, err)
		}
		loaded.signers[alg] = signer{made, k.readyAt(kid, slot, created)}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the signing keys: %w", err)
	}
	if loaded.jwks, err = jose.JWKS(public); err != nil {
		return nil, fmt.Errorf("write the JWK Set: %w", err)
	}
	if loaded.verify, err = jose.NewKeySet(public...); err != nil {
		return nil, fmt.Errorf("the tenant's public keys: %w", err)
	}
	gone, err := k.gone(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if loaded.hints, err = jose.NewKeySet(slices.Concat(public, gone)...); err != nil {
		return nil, fmt.Errorf("the tenant's former public keys: %w", err)
	}
	return loaded, nil
}

// gone reads the public parts of keys that are gone but may have signed a hint.
func (k *Keys) gone(ctx context.Context, tenant id.Tenant) ([]jose.PublicKey, error) {
	rows, err := k.DB.Query(ctx, `SELECT kid, public FROM signing_key WHERE tenant = $1 AND state = $2 AND retired_at > $3
		ORDER BY retired_at DESC, kid LIMIT $4`, tenant, Gone, k.Clock.Now().Add(-HintsFor), mostHints)
	if err != nil {
		return nil, fmt.Errorf("read the former signing keys: %w", err)
	}
	var gone []jose.PublicKey
	for rows.Next() {
		var kid, text string
		if err := rows.Scan(&kid, &text); err != nil {
			return nil, fmt.Errorf("read a former signing key: %w", err)
		}
		jwk, err := jose.ParseJWK([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("the public part of the former signing key %s: %w", kid, err)
		}
		gone = append(gone, jwk)
	}
	return gone, rows.Err()
}

// readyAt tells from when on this node may sign with an active key.
func (k *Keys) readyAt(kid string, slot int64, created time.Time) time.Time {
	if slot > 1 || k.DB.Engine() == sqldb.SQLite { // published long before; one node only
		return time.Time{}
	}
	now := k.Clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for old, at := range k.seen {
		if now.Sub(at) > time.Minute {
			delete(k.seen, old)
		}
	}
	if now.Sub(created) > settled {
		return time.Time{}
	}
	if _, found := k.seen[kid]; !found {
		k.seen[kid] = now
	}
	return k.seen[kid].Add(FirstWait)
}

// fresh is a key that was made and not yet stored.
type fresh struct {
	kid     string
	public  []byte
	private []byte
}

// make makes a key. It is slow where alg is RSA.
func (k *Keys) make(ctx context.Context, tenant id.Tenant, alg jose.Alg) (fresh, error) {
	keys, err := k.Ring.Tenant(ctx, tenant)
	if err != nil {
		return fresh{}, fmt.Errorf("the tenant's keys: %w", err)
	}
	var key crypto.Signer
	if key, err = jose.GenerateKey(alg, k.Random); err != nil {
		return fresh{}, fmt.Errorf("make a key for %s: %w", alg, err)
	}
	made := fresh{}
	if made.kid, err = jose.Thumbprint(key.Public()); err != nil {
		return fresh{}, fmt.Errorf("name the key: %w", err)
	}
	if made.public, err = (jose.PublicKey{ID: made.kid, Alg: alg, Key: key.Public()}).JWK(); err != nil {
		return fresh{}, fmt.Errorf("write the public key: %w", err)
	}
	der, err := jose.MarshalPrivateKey(key)
	if err != nil {
		return fresh{}, fmt.Errorf("write the private key: %w", err)
	}
	if made.private, err = keys.SealField("signing_key", "private", made.kid, der); err != nil {
		return fresh{}, fmt.Errorf("seal the private key: %w", err)
	}
	return made, nil
}
