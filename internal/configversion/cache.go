package configversion

import (
	"context"
	"sync"

	"github.com/maypok86/otter/v2"
)

// Cache keeps what was read of configuration, up to a number of entries. It
// holds nothing that Watch has reported as changed.
type Cache[K comparable, V any] struct {
	watch   *Watch
	mu      sync.RWMutex // held to store, so that a value read before a change is not stored after it
	changes int64        // how many invalidations there have been
	entries *otter.Cache[K, V]
}

// NewCache returns an empty cache of up to size entries. forget is called for
// each change and removes what the change makes stale, through remove, or
// everything, through clear.
func NewCache[K comparable, V any](w *Watch, size int, forget func(c Change, remove func(K), clear func())) *Cache[K, V] {
	cache := &Cache[K, V]{watch: w, entries: otter.Must(&otter.Options[K, V]{MaximumSize: size})}
	w.OnChange(func(c Change) {
		cache.mu.Lock()
		defer cache.mu.Unlock()
		cache.changes++
		if c.Kind == "" {
			cache.entries.InvalidateAll()
			return
		}
		forget(c, func(k K) { cache.entries.Invalidate(k) }, cache.entries.InvalidateAll)
	})
	return cache
}

// Get returns the value under key, reading it through load when it is not
// there. What load answers with an error is not kept.
func (c *Cache[K, V]) Get(ctx context.Context, key K, load func(context.Context) (V, error)) (V, error) {
	var none V
	if err := c.watch.Current(ctx); err != nil {
		return none, err
	}
	if value, found := c.entries.GetIfPresent(key); found {
		return value, nil
	}
	c.mu.RLock()
	before := c.changes
	c.mu.RUnlock()
	value, err := load(ctx)
	if err != nil {
		return none, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == before {
		c.entries.Set(key, value)
	}
	return value, nil
}
