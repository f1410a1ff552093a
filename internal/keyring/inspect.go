package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// Inspect tells which root keys an installation needs, as Ring.Roots does, and
// whether what is configured opens it: ErrStore or ErrRoot where it does not. It
// changes nothing, so that it can be asked before a new configuration is
// served. It returns nothing for a database that was never served.
func Inspect(ctx context.Context, o Options) ([]RootUse, error) {
	r, err := newRing(o)
	if err != nil {
		return nil, err
	}
	var configured, store, root string
	if err := o.Store.QueryRow(ctx, sqlStore).Scan(&configured); err != nil && !errors.Is(err, sqldb.ErrNoRows) {
		return nil, fmt.Errorf("keyring: inspect the key store: %w", err)
	}
	err = o.DB.QueryRow(ctx, sqlState).Scan(&root, &store)
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keyring: inspect: %w", err)
	}
	if store != configured {
		return nil, fmt.Errorf("%w: the database was used with another one", ErrStore)
	}
	roots, err := r.Roots(ctx)
	if err != nil {
		return nil, err
	}
	for _, use := range roots {
		if use.Keys > 0 && !use.Configured {
			return roots, fmt.Errorf("%w: %s wraps %d keys and is not configured", ErrRoot, use.ID, use.Keys)
		}
	}
	return roots, nil
}
