package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// StoreID is the name that the key store bears for ever, in its backups too.
func StoreID(ctx context.Context, store *sqldb.DB) (string, error) {
	var name string
	if err := store.QueryRow(ctx, sqlStore).Scan(&name); err != nil {
		return "", fmt.Errorf("keyring: read the key store's name: %w", err)
	}
	return name, nil
}

// LedgerStore is the name of the key store that an exported ledger is of.
func LedgerStore(r io.Reader) (string, error) {
	var head ledgerHead
	if err := json.NewDecoder(io.LimitReader(r, 4096)).Decode(&head); err != nil || head.Ledger != ledgerKind || head.Version != 1 {
		return "", errors.New("keyring: this is not an erasure ledger that this release reads")
	}
	return head.Store, nil
}
