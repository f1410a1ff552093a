package event

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// errFenced says that a lease was lost: another node holds it under a later
// epoch, and what was to be written under the old one was not.
var errFenced = errors.New("the lease was taken over by another node")

// leases is one holder's part of a role's slots. Every role is shared out
// evenly over the nodes that want it: a node takes what is free, and when it
// has less than its share takes over from the one that has most, which the
// fencing epoch makes safe. It is used by one goroutine at a time.
type leases struct {
	log    *Log
	role   string
	holder string
	held   map[int]int64 // slot → epoch
	taken  bool          // the first renewal is done
}

func (l *Log) newLeases(role string) (*leases, error) {
	var name [16]byte
	if _, err := io.ReadFull(l.random, name[:]); err != nil {
		return nil, err
	}
	return &leases{log: l, role: role, holder: hex.EncodeToString(name[:])}, nil
}

// slot is a lease as it is stored.
type slot struct {
	number  int
	holder  string
	epoch   int64
	expires time.Time
}

// renew prolongs what is held and takes what is due; held is right afterwards,
// and empty when it fails. A node without a lease that cannot have one writes
// nothing.
func (ls *leases) renew(ctx context.Context) error {
	ls.held = nil
	slots, err := ls.read(ctx)
	if err != nil {
		return err
	}
	now := ls.log.clock.Now()
	// On SQLite whoever held a lease before this process is gone.
	takeAll := !ls.taken && ls.log.db.Engine() == sqldb.SQLite
	mine, want := ls.plan(slots, now, takeAll)
	held := map[int]int64{}
	if mine > 0 || len(want) > 0 {
		expires := now.Add(ls.log.lease)
		err := ls.log.db.Write(ctx, func(tx *sqldb.Tx) error {
			clear(held)
			rows, err := tx.Query(`UPDATE event_lease SET expires = $1 WHERE role = $2 AND holder = $3 RETURNING slot, epoch`, expires, ls.role, ls.holder)
			if err != nil {
				return err
			}
			for rows.Next() {
				var number int
				var epoch int64
				if err := rows.Scan(&number, &epoch); err != nil {
					return err
				}
				held[number] = epoch
			}
			if err := rows.Err(); err != nil {
				return err
			}
			for _, s := range want {
				// Only as it was seen: not if it was renewed or taken since.
				n, err := tx.Exec(`UPDATE event_lease SET holder = $1, epoch = epoch + 1, expires = $2
					WHERE role = $3 AND slot = $4 AND holder = $5 AND epoch = $6 AND expires = $7`,
					ls.holder, expires, ls.role, s.number, s.holder, s.epoch, s.expires)
				if err != nil {
					return err
				}
				if n == 1 {
					held[s.number] = s.epoch + 1
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("renew leases of %s: %w", ls.role, err)
		}
	}
	ls.held, ls.taken = held, true
	return nil
}

func (ls *leases) read(ctx context.Context) ([]slot, error) {
	rows, err := ls.log.db.Query(ctx, `SELECT slot, holder, epoch, expires FROM event_lease WHERE role = $1 ORDER BY slot`, ls.role)
	if err != nil {
		return nil, fmt.Errorf("read leases of %s: %w", ls.role, err)
	}
	var slots []slot
	for rows.Next() {
		var s slot
		if err := rows.Scan(&s.number, &s.holder, &s.epoch, &s.expires); err != nil {
			return nil, err
		}
		slots = append(slots, s)
	}
	return slots, rows.Err()
}

// plan says how many slots this holder has and which it should take.
func (ls *leases) plan(slots []slot, now time.Time, takeAll bool) (mine int, want []slot) {
	others := map[string][]slot{}
	for _, s := range slots {
		switch {
		case s.holder == ls.holder:
			mine++
		case takeAll || s.holder == "" || !s.expires.After(now):
			want = append(want, s)
		default:
			others[s.holder] = append(others[s.holder], s)
		}
	}
	share := len(slots) / (len(others) + 1)
	for mine+len(want) < share {
		richest := ""
		for name, has := range others {
			if most := len(others[richest]); len(has) > most || (len(has) == most && name < richest) {
				richest = name
			}
		}
		has := others[richest]
		if len(has) <= share {
			break
		}
		want = append(want, has[len(has)-1])
		others[richest] = has[:len(has)-1]
	}
	slices.SortFunc(want, func(a, b slot) int { return a.number - b.number })
	return mine, want
}

// release gives up what is held, so that others need not wait for it to
// expire. It is done with a context of its own, as it follows the end of one.
func (ls *leases) release(ctx context.Context) {
	if len(ls.held) == 0 {
		return
	}
	ls.held = nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := ls.log.db.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`UPDATE event_lease SET holder = '', expires = 0 WHERE role = $1 AND holder = $2`, ls.role, ls.holder)
		return err
	})
	if err != nil {
		ls.log.logger.WarnContext(ctx, "event leases were not released; they expire by themselves", "role", ls.role, "error", err)
	}
}
