package keyring

import (
	"context"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb"
)

const sqlRaiseEpoch = `
UPDATE keyring_state SET epoch = CASE WHEN epoch >= $1 THEN epoch + 1 ELSE $1 END
WHERE name = 'ring' RETURNING epoch`

// RaiseEpoch makes every sealed token and handle from before now dead, as after
// the restore of a backup: the epoch becomes the present Unix second, or one
// more than it was if that is greater. It needs no root key.
func RaiseEpoch(ctx context.Context, db *sqldb.DB, now time.Time) (int64, error) {
	var epoch int64
	err := db.Write(ctx, func(tx *sqldb.Tx) error {
		return tx.QueryRow(sqlRaiseEpoch, now.Unix()).Scan(&epoch)
	})
	if err != nil {
		return 0, fmt.Errorf("keyring: raise epoch: %w", err)
	}
	return epoch, nil
}

// RaiseEpoch raises the epoch, here at once and on other nodes by MaxStale at
// the latest.
func (r *Ring) RaiseEpoch(ctx context.Context, now time.Time) (int64, error) {
	epoch, err := RaiseEpoch(ctx, r.db, now)
	if err != nil {
		return 0, err
	}
	raise(&r.epoch, epoch)
	return epoch, nil
}

// Epoch is the present epoch: what is issued now carries it, and tokens with an
// older one are dead.
func (r *Ring) Epoch(ctx context.Context) (int64, error) {
	if err := r.mainFresh.ensure(ctx, r.clock, r.pollMain); err != nil {
		return 0, fmt.Errorf("keyring: epoch: %w", err)
	}
	return r.epoch.Load(), nil
}

// checkEpoch compares a genuine token's epoch to the present one. A later one
// is another node's, which this one then reads, or from before a restore, on a
// machine whose clock had run ahead: such a token stays dead.
func (r *Ring) checkEpoch(epoch int64) error {
	present := r.epoch.Load()
	if epoch > present {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := r.mainFresh.renew(ctx, r.clock, r.pollMain); err != nil {
			return ErrSealed
		}
		present = r.epoch.Load()
	}
	switch {
	case epoch < present:
		return ErrEpoch
	case epoch > present:
		return ErrSealed
	}
	return nil
}
