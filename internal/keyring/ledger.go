package keyring

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/cardea-id/cardea/internal/id"
)

// LedgerLacks counts who is in one exported ledger and not in a newer one that is
// to take its place. Ledgers of two key stores are ErrStore. Of an older one that
// is cut short, what can be read counts.
func LedgerLacks(older, newer io.Reader) (lacking int, err error) {
	known := make(map[id.Customer]bool)
	store, err := readCustomers(newer, func(c id.Customer) { known[c] = true })
	if err != nil {
		return 0, err
	}
	former, err := readCustomers(older, func(c id.Customer) {
		if !known[c] {
			lacking++
		}
	})
	if err != nil {
		return 0, err
	}
	if former != store {
		return 0, fmt.Errorf("%w: the ledger there is of the key store %s, this one of %s", ErrStore, former, store)
	}
	return lacking, nil
}

// readCustomers gives whoever is in an exported ledger to each, and returns the key
// store that the ledger is of.
func readCustomers(r io.Reader, each func(id.Customer)) (store string, err error) {
	decoder := json.NewDecoder(bufio.NewReader(r))
	var head ledgerHead
	if err := decoder.Decode(&head); err != nil || head.Ledger != ledgerKind || head.Version != 1 {
		return "", errors.New("keyring: this is not an erasure ledger that this release reads")
	}
	for {
		var line ledgerLine
		if err := decoder.Decode(&line); err != nil {
			return head.Store, nil
		}
		if line.Customer != "" {
			each(line.Customer)
		}
	}
}
