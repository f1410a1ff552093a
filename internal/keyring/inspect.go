package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// Inspection is what Inspect finds.
type Inspection struct {
	Roots []RootUse
	Epoch int64 // Unix seconds
}

// Inspect tells which root keys an installation needs, as Ring.Roots does, and
// whether what is configured opens it: ErrStore or ErrRoot where it does not. It
// changes nothing, so that it can be asked before a new configuration is
// served. It finds nothing in a database that was never served.
func Inspect(ctx context.Context, o Options) (found Inspection, err error) {
	r, err := newRing(o)
	if err != nil {
		return found, err
	}
	var configured, store, root string
	if err := o.Store.QueryRow(ctx, sqlStore).Scan(&configured); err != nil && !errors.Is(err, sqldb.ErrNoRows) {
		return found, fmt.Errorf("keyring: inspect the key store: %w", err)
	}
	err = o.DB.QueryRow(ctx, sqlState).Scan(&root, &store)
	if errors.Is(err, sqldb.ErrNoRows) {
		return found, nil
	}
	if err != nil {
		return found, fmt.Errorf("keyring: inspect: %w", err)
	}
	if store != configured {
		return found, fmt.Errorf("%w: the database was used with another one", ErrStore)
	}
	if found.Epoch, err = r.Epoch(ctx); err != nil {
		return found, err
	}
	if found.Roots, err = r.Roots(ctx); err != nil {
		return found, err
	}
	for _, use := range found.Roots {
		if use.Keys > 0 && !use.Configured {
			return found, fmt.Errorf("%w: %s wraps %d keys and is not configured", ErrRoot, use.ID, use.Keys)
		}
	}
	return found, nil
}
