// Command bench measures every path of the program under test beside its
// floor, on SQLite and on PostgreSQL, and writes docs/benchmarks.md.
//
//	make bench
//
// The program, and PostgreSQL where it is used, run on one processor, the
// generator on another. Where the system does not let processes be put on
// processors, or has one only, figures are taken all the same and said to be
// so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	serverProcessor    = 0
	generatorProcessor = 1

	sqlite   = "SQLite"
	postgres = "PostgreSQL"
)

type options struct {
	binary, out, engines, floor, commit string
	keep                                string
	populate                            string
	from, to                            int
	customers                           int
	quick                               bool
	warm, measured                      time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/cardea", "the program under test; with its symbols, profiles have names")
	flag.StringVar(&o.out, "out", "", "where the page is written; \"\" for standard output")
	flag.StringVar(&o.engines, "engines", "sqlite,postgres", "what is measured")
	flag.StringVar(&o.keep, "keep", "", "keep perf's record of the path whose name begins so, with its call graph, as bench.perf")
	flag.BoolVar(&o.quick, "quick", false, "measure each path for one second, to see that all works")
	flag.StringVar(&o.floor, "floor", "", "serve the floor at this address (used by bench itself)")
	flag.StringVar(&o.commit, "commits", "", "print how many commits a second there are: sqlite or a PostgreSQL URL (used by bench itself)")
	flag.IntVar(&o.customers, "customers", 1_000_000, "how many customers the larger of two installations has; 0 leaves both out")
	flag.StringVar(&o.populate, "populate", "", "make customers in the stores of this configuration (used by bench itself)")
	flag.IntVar(&o.from, "from", 0, "the first of them (used by bench itself)")
	flag.IntVar(&o.to, "to", 0, "the one after the last of them (used by bench itself)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	o.warm, o.measured = time.Second, 6*time.Second
	if o.quick {
		o.warm, o.measured = 300*time.Millisecond, time.Second
		o.customers = min(o.customers, 20_000)
	}
	switch {
	case o.floor != "":
		return serveFloor(o.floor)
	case o.populate != "":
		return populate(ctx, o.populate, o.from, o.to)
	case o.commit != "":
		n, err := commits(ctx, strings.TrimPrefix(o.commit, "sqlite"), o.measured/2)
		fmt.Println(n)
		return err
	}
	if err := pinSelf(generatorProcessor); err != nil {
		return fmt.Errorf("use one processor: %w", err)
	}
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	o.binary = binary
	r := &report{options: o, machine: describe(ctx)}
	fmt.Fprintln(os.Stderr, "bench: the floor")
	if err := r.measureFloor(ctx); err != nil {
		return fmt.Errorf("the floor: %w", err)
	}
	for _, engine := range []string{sqlite, postgres} {
		if !strings.Contains(strings.ToLower(o.engines), strings.ToLower(engine)[:6]) {
			continue
		}
		if err := r.measure(ctx, engine); err != nil {
			return fmt.Errorf("%s: %w", engine, err)
		}
		if o.customers == 0 {
			continue
		}
		if err := r.measureScale(ctx, engine); err != nil {
			return fmt.Errorf("%s with %d customers: %w", engine, o.customers, err)
		}
	}
	if o.out == "" {
		_, err := os.Stdout.WriteString(r.page())
		return err
	}
	return os.WriteFile(o.out, []byte(r.page()), 0o644)
}

// floor is what the parts cost, in operations a second.
type floor struct {
	empty, sign, sign2, verify, hash result
	commits                          map[string]float64 // by engine
}

func (r *report) measureFloor(ctx context.Context) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	server := exec.CommandContext(ctx, self, "-floor", address)
	server.Stderr = os.Stderr
	server.Env = append(os.Environ(), "GOMAXPROCS=1")
	if err := startOn(serverProcessor)(server); err != nil {
		return err
	}
	defer func() {
		_ = server.Process.Kill() // it has nothing to lose
		_ = server.Wait()
	}()
	busy := func() time.Duration { return processorTime([]int{server.Process.Pid}) }
	var l *load
	for until := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if l, err = newLoad(ctx, address, connections, busy); err == nil {
			break
		}
		if time.Now().After(until) {
			return err
		}
	}
	for name, into := range map[string]*result{"empty": &r.floor.empty, "sign": &r.floor.sign, "sign2": &r.floor.sign2, "verify": &r.floor.verify, "hash": &r.floor.hash} {
		warm := r.warm
		if into == &r.floor.hash {
			warm *= 3
		}
		*into, err = l.run(constant(fmt.Appendf(nil, "GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n", name), 200), warm, r.measured)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", name, err), l.close())
		}
		tell(name, *into)
	}
	r.floor.commits = map[string]float64{}
	if r.floor.commits[sqlite], err = r.commits(ctx, "sqlite"); err != nil {
		return errors.Join(err, l.close())
	}
	return l.close()
}

// tell says on the terminal how far it is.
func tell(name string, r result) {
	fmt.Fprintf(os.Stderr, "  %-28s %9.0f/s  p50 %-8s p95 %-8s p99 %-8s %6d µs each; busy: program %3.0f %%, others there %3.0f %%, generator %3.0f %%\n", name, r.rate(),
		short(r.p50), short(r.p95), short(r.p99), r.cost().Microseconds(), r.serverBusy*100, r.otherBusy*100, r.selfBusy*100)
}

// commits has a process on the server's processor measure them.
func (r *report) commits(ctx context.Context, database string) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	args := []string{"-commits", database}
	if r.quick {
		args = append(args, "-quick")
	}
	command := exec.CommandContext(ctx, self, args...)
	command.Env = append(os.Environ(), "GOMAXPROCS=1")
	var out strings.Builder
	command.Stdout, command.Stderr = &out, os.Stderr
	if err := startOn(serverProcessor)(command); err != nil {
		return 0, err
	}
	if err := command.Wait(); err != nil {
		return 0, err
	}
	var n float64
	_, err = fmt.Sscan(out.String(), &n)
	fmt.Fprintf(os.Stderr, "  %-28s %9.0f/s\n", "commits", n)
	return n, err
}

// measure takes all figures of one engine.
func (r *report) measure(ctx context.Context, engine string) error {
	fmt.Fprintln(os.Stderr, "bench:", engine)
	folder, err := os.MkdirTemp("", "cardea-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }() // the system clears it too
	w, fresh, err := newWorld(ctx, r.binary, folder, engine, false)
	if err != nil {
		return err
	}
	f := &figures{engine: engine, fresh: fresh}
	r.engines = append(r.engines, f)
	return errors.Join(r.measureWorld(ctx, w, f), w.close())
}

func (r *report) measureWorld(ctx context.Context, w *world, f *figures) error {
	if w.server != "" {
		var err error
		if r.floor.commits[postgres], err = r.commits(ctx, w.server); err != nil {
			return err
		}
	}
	time.Sleep(3 * time.Second) // what a start leaves behind has been given back
	var err error
	if f.idle, _, err = memory(w.program.PID()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err) // the figure is left out
	}
	if err := w.furnish(ctx); err != nil {
		return fmt.Errorf("make the customers: %w\n%s", err, w.program.LogTail())
	}
	if err := r.measurePaths(ctx, w, f); err != nil {
		return fmt.Errorf("%w\n%s", err, w.program.LogTail())
	}
	for range 5 {
		if err := w.program.Stop(); err != nil {
			return err
		}
		took, err := w.program.Start(ctx)
		if err != nil {
			return err
		}
		f.ready = append(f.ready, took)
	}
	slices.Sort(f.ready)
	return nil
}

func (r *report) measurePaths(ctx context.Context, w *world, f *figures) error {
	l, err := newLoad(ctx, w.address(), connections, w.busy)
	if err != nil {
		return err
	}
	take := func(name string, p path, floor result, aim float64, aimIs aim) error {
		warm := r.warm
		if floor == r.floor.hash {
			warm *= 3 // an operation takes as long as 64 hashes
		}
		got, err := l.run(p, warm, r.measured)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		row := row{name: name, result: got, floor: floor.rate(), least: floor.cost(), aim: aim, aimIs: aimIs}
		tell(name, got)
		if r.keep != "" && strings.HasPrefix(name, r.keep) {
			if err := r.record(ctx, w, l, p, "bench.perf", "-g"); err != nil {
				return err
			}
		}
		if row.missed() && !r.quick {
			if row.profile, err = r.profile(ctx, w, l, p); err != nil {
				fmt.Fprintf(os.Stderr, "bench: no profile of %s: %v\n", name, err)
			}
		}
		f.rows = append(f.rows, row)
		return nil
	}
	// The most that is gathered is a bound on the generator's memory.
	tokens, codes, access := &harvest{most: 800}, &harvest{most: 400}, &harvest{most: 200}
	var refresh [connections]string
	refreshAim := map[string]float64{sqlite: 5000, postgres: 1500}[w.engine]
	// Two signatures, the handler and a share of a commit, one after the other.
	refreshFloor := atRate(1 / (1/r.floor.sign2.rate() + 1/r.floor.commits[w.engine]))
	signIns := func() error {
		stop := f.watchMemory(w.program.PID())
		defer stop()
		return take("password sign-in, whole", w.signIn(), r.floor.hash, 0.87, ofFloor)
	}
	err = inOrder(
		func() error { return take("discovery", w.discovery(), r.floor.empty, 0.7, ofFloor) },
		func() error { return take("JWKS", w.jwks(), r.floor.empty, 0.7, ofFloor) },
		func() error {
			return take("client credentials, ES256", w.clientCredentials(tokens), r.floor.sign, 0.6, ofFloor)
		},
		func() error {
			return take("introspection", w.introspection(w.machine, tokens), r.floor.verify, 0.6, ofFloor)
		},
		func() error { return take("session check", w.sessionCheck(codes), r.floor.empty, 0, none) },
		func() error {
			return take("code redemption", w.redemption(codes, access, &refresh), refreshFloor, 0, none)
		},
		func() error {
			return take("introspection, customer's", w.introspection(w.web, access), r.floor.verify, 0, none)
		},
		func() error { return take("userinfo", w.userInfo(access), r.floor.verify, 0, none) },
		func() error { return take("refresh, durable", w.refresh(&refresh), refreshFloor, refreshAim, ofSecond) },
		signIns,
	)
	return errors.Join(err, l.close())
}

// atRate is a floor of which no more is known than how many there are a second.
func atRate(rate float64) result { return result{operations: int(rate), took: time.Second} }

func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// watchMemory notes the most memory that the program has until it is stopped.
func (f *figures) watchMemory(pid int) (stop func()) {
	var group sync.WaitGroup
	end := make(chan struct{})
	group.Go(func() {
		for {
			if now, _, err := memory(pid); err == nil {
				f.busiest = max(f.busiest, now)
			}
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() { close(end); group.Wait() }
}
