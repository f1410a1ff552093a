package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
)

const (
	// erasureGrace is how long whoever began an erasure has to end it before
	// others do.
	erasureGrace = time.Minute
	// maxErasureFaults is how many customers whose erasure fails one pass tells
	// of.
	maxErasureFaults = 10
)

// erasureFinisher returns what completes, whenever it is called, the erasures
// that ended after the key had been destroyed and before the rows were. When
// it is first called it goes through the whole ledger: the database may be one
// that was put back from before them. After that it asks for those that are
// marked as unfinished, which costs one read of an index when there are none.
func (s *Server) erasureFinisher() func(context.Context) error {
	whole := false
	return func(ctx context.Context) error {
		if !whole {
			through, err := s.eachErasure(ctx, s.Ring.Erased)
			whole = through
			return err
		}
		before := s.Clock.Now().Add(-erasureGrace)
		_, err := s.eachErasure(ctx, func(ctx context.Context, after int64, limit int) ([]keyring.Erasure, error) {
			return s.Ring.Unfinished(ctx, after, before, limit)
		})
		return err
	}
}

// FinishErasures removes what is left of every customer on the ledger.
func (s *Server) FinishErasures(ctx context.Context) error {
	_, err := s.eachErasure(ctx, s.Ring.Erased)
	return err
}

// eachErasure finishes what list lists, page by page, and marks on the ledger
// what came of it. A customer whose erasure fails keeps nobody else's from
// being finished. It says whether it went through all of them.
func (s *Server) eachErasure(ctx context.Context, list func(context.Context, int64, int) ([]keyring.Erasure, error)) (through bool, err error) {
	var faults []error
	failed := 0
	after := int64(0)
	for {
		entries, err := list(ctx, after, sweepBatch)
		if err != nil {
			return false, errors.Join(append(faults, err)...)
		}
		if len(entries) == 0 {
			if failed > len(faults) {
				faults = append(faults, fmt.Errorf("and those of %d others", failed-len(faults)))
			}
			return true, errors.Join(faults...)
		}
		after = entries[len(entries)-1].Sequence
		left, err := s.leftOf(ctx, entries)
		if err != nil {
			return false, errors.Join(append(faults, err)...)
		}
		var finished, unfinished []keyring.Erasure
		for i, e := range entries {
			if left[i] {
				if err := s.Directory.FinishErasure(ctx, e.Tenant, e.Customer); err != nil && !errors.Is(err, customer.ErrNotFound) {
					unfinished = append(unfinished, e)
					if failed++; failed <= maxErasureFaults {
						faults = append(faults, fmt.Errorf("finish the erasure of %s: %w", e.Customer, err))
					}
					continue
				}
			}
			finished = append(finished, e)
		}
		if err := errors.Join(s.Ring.MarkErasures(ctx, true, finished), s.Ring.MarkErasures(ctx, false, unfinished)); err != nil {
			return false, errors.Join(append(faults, err)...)
		}
	}
}

// leftOf says of which of the customers there is something left.
func (s *Server) leftOf(ctx context.Context, entries []keyring.Erasure) ([]bool, error) {
	batch := s.DB.Batch()
	states := make([]*customer.State, len(entries))
	for i, e := range entries {
		states[i] = s.Directory.QueueState(batch, e.Tenant, e.Customer)
	}
	if err := batch.Run(ctx); err != nil {
		return nil, fmt.Errorf("look for what is left of erased customers: %w", err)
	}
	left := make([]bool, len(entries))
	for i, state := range states {
		left[i] = state.Found && state.Status != customer.Erased
	}
	return left, nil
}

func (s *Server) sweepOrphans(ctx context.Context) error {
	_, err := s.Ring.SweepOrphans(ctx, func(ctx context.Context, t id.Tenant, c id.Customer) (bool, error) {
		state, err := s.Directory.State(ctx, t, c)
		return state.Found, err
	})
	return err
}
