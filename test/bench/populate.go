package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/config"
	"github.com/cardea-id/cardea/internal/credential"
	directory "github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	// populatePassword is every populated customer's: to hash a million would
	// take hours, and what is measured hashes what is typed.
	populatePassword = "walnut-lantern-quiet-harbour"
	// populateBatch is how many customers one transaction makes.
	populateBatch = 200
	// populateWriters is how many keys, or transactions, are on their way at once.
	populateWriters = 64
)

// populatedAddress is the e-mail address of a populated customer.
func populatedAddress(n int) string { return fmt.Sprintf("someone-%d@example.com", n) }

// Names are made of these, so that some are common and most are rare.
var (
	givenNames = []string{"Ana", "Ben", "Chloé", "Dmitri", "Elif", "Farid", "Grace", "Hana", "Igor", "Jonas", "Kenji", "Leila", "Marta", "Noor", "Oskar", "Priya"}
	syllables  = []string{"an", "ber", "cos", "da", "el", "fer", "gon", "ha", "is", "jan", "ko", "lo", "mar", "ne", "ol", "pe"}
)

func populatedFamily(n int) string {
	return "F" + syllables[n%16] + syllables[n/16%16] + syllables[n/256%16] + syllables[n/4096%16]
}

// populate makes the customers from and below to of the benchmark's tenant, as
// the program makes them, in its stores and while it does not run. The
// configuration is the program's.
func populate(ctx context.Context, configuration string, from, to int) error {
	c, err := config.Load(config.Options{File: configuration, Environ: os.Environ()})
	if err != nil {
		return err
	}
	s, err := server.Assemble(ctx, server.Environment{Config: c, Clock: clock.System(), Random: rand.Reader, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	err = populateWith(ctx, s, from, to)
	return errors.Join(err, s.Close())
}

func populateWith(ctx context.Context, s *server.Server, from, to int) error {
	stop := s.StartTasks(ctx) // events are ordered as they come
	defer stop()
	t, err := s.Tenants.BySlug(ctx, tenantSlug)
	if err != nil {
		return err
	}
	keys, err := s.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return err
	}
	p := t.Settings.Password
	hash, err := s.Hasher.Hash(ctx, credential.Asker{Tenant: t.ID}, credential.Params{MemoryKiB: p.MemoryKiB, Time: p.Time, Parallelism: p.Parallelism},
		credential.NewPassword(populatePassword))
	if err != nil {
		return err
	}
	began, done := time.Now(), atomic.Int64{}
	batches := make(chan int)
	var group sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		group.Go(func() {
			for first := range batches {
				if errs[i] != nil {
					continue // the rest is let go
				}
				last := min(first+populateBatch, to)
				errs[i] = populateSome(ctx, s, t, keys, hash, first, last)
				if n := done.Add(int64(last - first)); n%100_000 < populateBatch {
					fmt.Fprintf(os.Stderr, "bench: %d customers after %s\n", int64(from)+n, time.Since(began).Round(time.Second))
				}
			}
		})
	}
	for first := from; first < to; first += populateBatch {
		batches <- first
	}
	close(batches)
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return ordered(ctx, s)
}

// populateSome makes customers in one transaction, their keys before it.
func populateSome(ctx context.Context, s *server.Server, t *tenant.Tenant, keys *keyring.Tenant, hash credential.Hash, first, last int) error {
	type made struct {
		directory.NewCustomer
		key *keyring.Customer
	}
	all := make([]made, last-first)
	errs := make([]error, len(all))
	var group sync.WaitGroup
	free := make(chan struct{}, populateWriters)
	for i := range all {
		n := first + i
		address, err := identifier.Normalise(identifier.Email, populatedAddress(n), identifier.Options{})
		if err != nil {
			return err
		}
		all[i].NewCustomer = directory.NewCustomer{Tenant: t.ID, Customer: id.New[id.Customer](s.Clock.Now(), rand.Reader), Actor: "bench",
			Identifiers: []directory.NewIdentifier{{Normalised: address, Verified: true}},
			Profile:     map[string]any{"given_name": givenNames[n%len(givenNames)], "family_name": populatedFamily(n), "locale": "en", "nickname": strconv.Itoa(n)}}
		free <- struct{}{}
		group.Go(func() {
			all[i].key, errs[i] = s.Ring.CreateCustomer(ctx, t.ID, all[i].Customer)
			<-free
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for _, m := range all {
			if err := s.Directory.Create(tx, keys, m.key, m.NewCustomer); err != nil {
				return err
			}
			if _, err := s.Passwords.SetPassword(tx, m.key, credential.Change{Tenant: t.ID, Customer: m.Customer, Actor: "bench"}, hash); err != nil {
				return err
			}
		}
		return nil
	})
}

// ordered waits until all events have their positions.
func ordered(ctx context.Context, s *server.Server) error {
	for {
		waiting, err := s.DB.Query(ctx, `SELECT event FROM event_pending LIMIT 1`)
		if err != nil {
			return err
		}
		if !waiting.Next() {
			return waiting.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
