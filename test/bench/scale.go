package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/cardea-id/cardea/test/client"
)

const (
	// few is how many customers the smaller installation has.
	few = 10_000
	// operators is how many ask at once where it is people who look something
	// up, not applications.
	operators = 4
)

// scale is what is measured where there are many customers.
type scale struct {
	engine       string
	many         int
	atFew, atAll []time.Duration // whole sign-ins one after the other, sorted
	rows         []row
}

// flat is how much longer a sign-in takes among many customers than among few.
func (s *scale) flat() float64 {
	return float64(median(s.atAll)) / float64(median(s.atFew))
}

func median(sorted []time.Duration) time.Duration { return sorted[len(sorted)/2] }

// measureScale fills two installations, one with few customers and one with
// many, and uses both.
func (r *report) measureScale(ctx context.Context, engine string) (err error) {
	s := &scale{engine: engine, many: r.customers}
	var worlds []*world
	defer func() {
		for _, w := range worlds {
			err = errors.Join(err, w.close())
		}
	}()
	for _, size := range []int{min(few, r.customers/2), r.customers} {
		fmt.Fprintf(os.Stderr, "bench: %s with %d customers\n", engine, size)
		folder, err := os.MkdirTemp("", "cardea-bench-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(folder) }() // the system clears it too
		w, _, err := newWorld(ctx, r.binary, folder, engine, true)
		if err != nil {
			return err
		}
		worlds = append(worlds, w)
		if err := w.register(ctx, map[string]any{"search": searched}); err != nil {
			return err
		}
		if err := w.program.Stop(); err != nil {
			return err
		}
		if err := w.fill(ctx, size); err != nil {
			return err
		}
		if _, err := w.program.Start(ctx); err != nil {
			return err
		}
	}
	if err := r.compareSignIns(ctx, s, worlds[0], worlds[1]); err != nil {
		return err
	}
	if err := r.measureLookups(ctx, s, worlds[1]); err != nil {
		return fmt.Errorf("%w\n%s", err, worlds[1].program.LogTail())
	}
	r.scales = append(r.scales, s)
	return nil
}

// fill has a process of its own make customers, on all processors, and without
// waiting for the disk, which is not what is measured.
func (w *world) fill(ctx context.Context, customers int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	began := time.Now()
	command := exec.CommandContext(ctx, self, "-populate", w.program.Configuration(), "-to", strconv.Itoa(customers))
	command.Stderr = os.Stderr
	for _, variable := range os.Environ() {
		if variable != pinned+"=1" && variable != "GOMAXPROCS=1" {
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env, "PGOPTIONS=-c synchronous_commit=off")
	if err := on(command.Start, serverProcessor, generatorProcessor); err != nil {
		return err
	}
	if err := command.Wait(); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "  %d customers were made in %s\n", customers, time.Since(began).Round(time.Second))
	return nil
}

// compareSignIns has customers sign in to both installations by turns, so that
// what else the machine does concerns both alike.
func (r *report) compareSignIns(ctx context.Context, s *scale, small, large *world) error {
	turn := 0
	rounds := 300
	if r.quick {
		rounds = 20
	}
	signIn := func(w *world, customers int) (time.Duration, error) {
		turn++ // a prime stride: near ones do not follow each other
		who := client.Customer{Address: populatedAddress(turn * 7919 % customers), Password: populatePassword}
		began := time.Now()
		visit, err := w.site.Browser().Begin(ctx, w.web, client.Ask{})
		if err == nil {
			err = visit.Walk(ctx, who)
		}
		return time.Since(began), err
	}
	for i := range rounds + rounds/10 {
		first, err := signIn(small, min(few, s.many/2))
		if err != nil {
			return err
		}
		second, err := signIn(large, s.many)
		if err != nil {
			return err
		}
		if i >= rounds/10 { // warm
			s.atFew, s.atAll = append(s.atFew, first), append(s.atAll, second)
		}
	}
	slices.Sort(s.atFew)
	slices.Sort(s.atAll)
	fmt.Fprintf(os.Stderr, "  sign-in: %s among few, %s among many, ratio %.2f\n", short(median(s.atFew)), short(median(s.atAll)), s.flat())
	return nil
}

// measureLookups has people look at pages and lists of the large installation.
func (r *report) measureLookups(ctx context.Context, s *scale, w *world) error {
	l, err := newLoad(ctx, w.address(), operators, w.busy)
	if err != nil {
		return err
	}
	take := func(name string, p path) error {
		got, err := l.run(p, r.warm, r.measured)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		tell(name, got)
		s.rows = append(s.rows, row{name: name, result: got})
		return nil
	}
	portal, err := w.portal(ctx, s.many)
	if err == nil {
		err = take("account portal, first page", portal)
	}
	if err == nil {
		err = w.measureOperator(ctx, s.many, take)
	}
	return errors.Join(err, l.close())
}

// portal is the first page of the account portal, for customers who are signed
// in.
func (w *world) portal(ctx context.Context, many int) (path, error) {
	requests := make([][]byte, operators)
	for i := range requests {
		browser := w.site.Browser()
		visit, err := browser.Begin(ctx, w.web, client.Ask{})
		if err == nil {
			err = visit.Walk(ctx, client.Customer{Address: populatedAddress(many / 2 * i / operators), Password: populatePassword})
		}
		if err != nil {
			return path{}, err
		}
		requests[i] = w.get(w.path("/account"), "Cookie: "+browser.Cookies())
	}
	return each(requests, 200), nil
}
