// Package keyring keeps the keys that everything else is sealed with.
//
// A root key (file, environment or key management service) wraps a key for
// each tenant; the tenant's key wraps a data key for each customer. Customers'
// data keys lie in the key store, a database of its own that is backed up
// apart, so that destroying a key makes what it sealed unreadable in every
// backup of the main database; the key store's ledger remembers who was erased.
// From the tenant's keys come sealed tokens, sealed fields, keyed look-up
// hashes and message authentication codes.
//
// The package knows keys, tenants' and customers' ids, and nothing of what is
// sealed. It owns the tables keyring_state, tenant_key and lookup_key of the
// main database (Migrations), and key_store, customer_key and erasure_ledger of
// the key store (StoreMigrations).
//
// Nodes learn from each other by Poll, which the server calls once a second.
// A node whose last good poll is more than MaxStale old polls before it hands
// out a Tenant or a Customer and fails when it cannot, so MaxStale bounds how
// long a node may hand out the key of a customer whom another node erased, or
// take tokens from before an epoch that another node raised. A Tenant or a
// Customer is asked for once a request, and not kept.
package keyring

import (
	"context"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

var (
	// ErrNoKey says that the tenant or customer has no key: it was never made,
	// or never will be.
	ErrNoKey = errors.New("keyring: there is no such key")
	// ErrErased says that the customer was erased: the key is gone for good, and
	// there will never be another one for this customer.
	ErrErased = errors.New("keyring: the customer was erased")
	// ErrSealed says that a token or field cannot be opened, for whatever reason.
	ErrSealed = errors.New("keyring: not sealed here, for this, or damaged")
	// ErrEpoch says that a genuine token is from before the epoch was last
	// raised. It is an ErrSealed too.
	ErrEpoch = fmt.Errorf("%w: issued before the present epoch", ErrSealed)
	// ErrRoot says that keys are wrapped by a root key that is not configured.
	ErrRoot = errors.New("keyring: wrong root key")
	// ErrStore says that the key store is not the one that the database was
	// used with.
	ErrStore = errors.New("keyring: wrong key store")
)

// MaxStale is how old a node's knowledge of other nodes' changes may be.
const MaxStale = 3 * time.Second

// announce is how long a new generation of a tenant's key, or a new look-up
// key, is known before it is used: twice the 5 seconds by which a ready node's
// clock may be off the database's, and MaxStale, and some more.
const announce = 15 * time.Second

const (
	defaultCustomers = 10_000 // about 1 KB each
	defaultTenants   = 2_000  // about 2.5 KB each, and 1 KB a purpose in use
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed storemigrations/*.sql
var storeMigrations embed.FS

// Migrations are those of the main database.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "keyring", FS: migrations}
}

// StoreMigrations are those of the key store.
func StoreMigrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "keystore", FS: storeMigrations}
}

// Options say what a Ring works with. DB, Store, Root and Random are required.
type Options struct {
	// DB is the main database, with tenants' keys and the epoch.
	DB *sqldb.DB
	// Store is the key store, with customers' keys and the erasure ledger.
	Store *sqldb.DB
	// AdoptStore takes a key store other than the one that DB was used with.
	// What was sealed for customers whose keys are not in it is lost.
	AdoptStore bool
	// Adopted, where it is set, is part of the transaction that takes another
	// key store: it tells of it.
	Adopted func(*sqldb.Tx) error
	// Root wraps new keys.
	Root Root
	// OldRoots unwrap as well. To replace the root key of several nodes, first
	// give all of them the new one here, then exchange the two, then Rewrap,
	// and take the old one away when Rewrap is done.
	OldRoots []Root
	// Clock gives the time; nil means DB's.
	Clock clock.Clock
	// Random is the source of keys, salts and nonces, safe for concurrent use:
	// crypto/rand.Reader.
	Random io.Reader
	// Format is what new tokens and fields are written in; 0 means the newest.
	Format Format
	// CacheSize is the number of customers whose keys are held unwrapped; 0
	// means 10,000, of about 1 KB each.
	CacheSize int
	// TenantCacheSize is the number of tenants whose keys are held; 0 means
	// 2,000.
	TenantCacheSize int
}

// Ring is all keys. It is safe for concurrent use.
type Ring struct {
	db, store *sqldb.DB
	root      Root
	roots     map[string]Root // by ID, with root
	clock     clock.Clock
	random    io.Reader

	format   atomic.Uint32
	epoch    atomic.Int64
	version  atomic.Int64 // of the tenants' keys, as last polled
	sequence atomic.Int64 // of the ledger, as last polled
	sweeps   atomic.Int64 // of orphaned customers' keys, as last polled

	tenants   *otter.Cache[id.Tenant, *Tenant]
	customers *otter.Cache[customerName, *Customer]

	mainFresh, storeFresh freshness
	lookedAhead           throttle // reads that unproven tokens caused
	rewrapping            rewrapPosition
}

// Open makes a Ring over migrated databases. On their first use it notes the
// epoch, the root key's ID and which key store belongs to which database, and
// on every later use it refuses others: ErrRoot, ErrStore.
func Open(ctx context.Context, o Options) (*Ring, error) {
	r, err := newRing(o)
	if err != nil {
		return nil, err
	}
	storeID, err := r.openStore(ctx)
	if err != nil {
		return nil, fmt.Errorf("keyring: open key store: %w", err)
	}
	if err := r.openMain(ctx, storeID, o); err != nil {
		return nil, err
	}
	if err := r.Poll(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func newRing(o Options) (*Ring, error) {
	if o.DB == nil || o.Store == nil || o.Root == nil || o.Random == nil {
		return nil, errors.New("keyring: DB, Store, Root and Random are required")
	}
	r := &Ring{db: o.DB, store: o.Store, root: o.Root, clock: o.Clock, random: o.Random,
		roots: map[string]Root{o.Root.ID(): o.Root}}
	for _, old := range o.OldRoots {
		if old.ID() == o.Root.ID() {
			return nil, fmt.Errorf("keyring: the root key %s is configured as an old root key too: configure another one, or leave it out there", old.ID())
		}
		r.roots[old.ID()] = old
	}
	if r.clock == nil {
		r.clock = o.DB.Clock()
	}
	if o.Format == 0 {
		o.Format = NewestFormat
	}
	if err := r.SetFormat(o.Format); err != nil {
		return nil, err
	}
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCustomers
	}
	if o.TenantCacheSize <= 0 {
		o.TenantCacheSize = defaultTenants
	}
	var err error
	if r.tenants, err = otter.New(&otter.Options[id.Tenant, *Tenant]{MaximumSize: o.TenantCacheSize}); err != nil {
		return nil, fmt.Errorf("keyring: cache of tenants: %w", err)
	}
	if r.customers, err = otter.New(&otter.Options[customerName, *Customer]{MaximumSize: o.CacheSize}); err != nil {
		return nil, fmt.Errorf("keyring: cache of customers: %w", err)
	}
	return r, nil
}

// SetFormat chooses the format of new tokens and fields, as when an upgrade is
// finalised.
func (r *Ring) SetFormat(f Format) error {
	if f < Format1 || f > NewestFormat {
		return fmt.Errorf("keyring: format %d is unknown: this release writes %d to %d", f, Format1, NewestFormat)
	}
	r.format.Store(uint32(f))
	return nil
}

// WriteFormat is the format that new tokens and fields are written in.
func (r *Ring) WriteFormat() Format { return Format(r.format.Load()) }

const (
	sqlAddStore  = `INSERT INTO key_store (name, store, sequence, sweeps, swept_until, swept_epoch) VALUES ('store', $1, 0, 0, 0, 0) ON CONFLICT (name) DO NOTHING`
	sqlStore     = `SELECT store FROM key_store WHERE name = 'store'`
	sqlAddState  = `INSERT INTO keyring_state (name, epoch, version, root, store) VALUES ('ring', $1, 1, $2, $3) ON CONFLICT (name) DO NOTHING`
	sqlState     = `SELECT root, store FROM keyring_state WHERE name = 'ring'`
	sqlSetState  = `UPDATE keyring_state SET root = $1, store = $2 WHERE name = 'ring' AND root = $3 AND store = $4`
	sqlRootsUsed = `SELECT root FROM tenant_key UNION SELECT root FROM lookup_key ORDER BY root`
)

// openStore returns the key store's id, which it makes on first use.
func (r *Ring) openStore(ctx context.Context) (string, error) {
	var store string
	err := r.store.QueryRow(ctx, sqlStore).Scan(&store)
	if !errors.Is(err, sqldb.ErrNoRows) {
		return store, err
	}
	var name [16]byte
	if _, err := io.ReadFull(r.random, name[:]); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	err = r.store.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(sqlAddStore, hex.EncodeToString(name[:])); err != nil {
			return err
		}
		return tx.QueryRow(sqlStore).Scan(&store)
	})
	return store, err
}

// openMain compares what the database was last used with to what is
// configured, and notes it.
func (r *Ring) openMain(ctx context.Context, storeID string, o Options) error {
	var root, store string
	err := r.db.QueryRow(ctx, sqlState).Scan(&root, &store)
	if errors.Is(err, sqldb.ErrNoRows) {
		err = r.db.Write(ctx, func(tx *sqldb.Tx) error {
			if _, err := tx.Exec(sqlAddState, r.clock.Now().Unix(), r.root.ID(), storeID); err != nil {
				return err
			}
			return tx.QueryRow(sqlState).Scan(&root, &store)
		})
	}
	if err != nil {
		return fmt.Errorf("keyring: open: %w", err)
	}
	if store != storeID && !o.AdoptStore {
		return fmt.Errorf("%w: this database was used with the key store %s, but the configured one is %s. "+
			"Customers' keys lie in the former, and without them their data cannot be read. Nothing was changed. "+
			"Configure or restore that key store; if it is lost for good, adopt the new one explicitly ('cardea keys adopt')", ErrStore, store, storeID)
	}
	used, err := r.rootsUsed(ctx)
	if err != nil {
		return fmt.Errorf("keyring: open: %w", err)
	}
	if len(used) == 0 {
		used = []string{root}
	}
	for _, name := range used {
		if r.roots[name] == nil {
			return r.wrongRoot(name)
		}
	}
	if root == r.root.ID() && store == storeID {
		return nil
	}
	err = r.db.Write(ctx, func(tx *sqldb.Tx) error {
		changed, err := tx.Exec(sqlSetState, r.root.ID(), storeID, root, store)
		if err != nil || changed == 0 || store == storeID || o.Adopted == nil {
			return err
		}
		return o.Adopted(tx)
	})
	if err != nil {
		return fmt.Errorf("keyring: open: %w", err)
	}
	return nil
}

func (r *Ring) rootsUsed(ctx context.Context) ([]string, error) {
	rows, err := r.db.Query(ctx, sqlRootsUsed)
	if err != nil {
		return nil, err
	}
	var used []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		used = append(used, name)
	}
	return used, rows.Err()
}

func (r *Ring) wrongRoot(needed string) error {
	configured := make([]string, 0, len(r.roots))
	for name := range r.roots {
		configured = append(configured, name)
	}
	slices.Sort(configured)
	return fmt.Errorf("%w: this database's keys are wrapped by the root key with the ID %s, but what is configured is %s. "+
		"Without the former nothing that is sealed can be opened. Nothing was changed. "+
		"Configure the root key that belongs to this database; to replace it, configure the new one as the root key and the former as an old one, then rewrap",
		ErrRoot, needed, strings.Join(configured, ", "))
}
