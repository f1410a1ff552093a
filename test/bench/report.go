package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// report is all that was measured.
type report struct {
	options
	machine machine
	floor   floor
	engines []*figures
	scales  []*scale
}

// figures are those of one engine.
type figures struct {
	engine        string
	rows          []row
	fresh         time.Duration   // ready after the first start, tables made
	ready         []time.Duration // and after later ones, sorted
	idle, busiest int64           // bytes of resident memory
}

// aim says what an aim is measured in.
type aim int

const (
	none     aim = iota // only reported
	ofFloor             // a share of the floor
	ofSecond            // operations a second
)

type row struct {
	name string
	result
	floor   float64
	least   time.Duration // the floor's processor time, 0 where the path also waits for a disk
	aim     float64
	aimIs   aim
	profile string
}

// ratio is the share of the floor that is reached. It compares processor time
// where that is all that a path takes, so that other load on the machine, and
// a generator that is slower than the server, do not count.
func (r row) ratio() float64 {
	if r.least > 0 && r.cost() > 0 {
		return float64(r.least) / float64(r.cost())
	}
	return r.rate() / r.floor
}

func (r row) missed() bool {
	return (r.aimIs == ofFloor && r.ratio() < r.aim) || (r.aimIs == ofSecond && r.rate() < r.aim)
}

func (r row) aimText() string {
	switch r.aimIs {
	case ofFloor:
		return fmt.Sprintf("≥ %.2f of it", r.aim)
	case ofSecond:
		return fmt.Sprintf("≥ %s/s", number(r.aim))
	default:
		return "–"
	}
}

func verdict(has, missed bool) string {
	switch {
	case !has:
		return "–"
	case missed:
		return "**missed**"
	default:
		return "met"
	}
}

// machine is what the figures depend on; no names.
type machine struct {
	cores             int
	model, goVersion  string
	system, databases string
	apart             bool // server and generator on processors of their own
}

func describe(ctx context.Context) machine {
	m := machine{cores: runtime.NumCPU(), goVersion: runtime.Version(), system: runtime.GOOS + "/" + runtime.GOARCH, model: "unknown"}
	if text, err := os.ReadFile("/sys/devices/system/cpu/online"); err == nil { // this process sees one only
		var first, last int
		if n, _ := fmt.Sscanf(strings.TrimSpace(string(text)), "%d-%d", &first, &last); n == 2 {
			m.cores = last - first + 1
		}
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				m.model = strings.TrimSpace(value)
				break
			}
		}
	}
	m.apart = m.cores > 1 && os.Getenv("BENCH_PINNED") != ""
	for _, command := range []string{"postgres", "psql"} {
		if out, err := exec.CommandContext(ctx, command, "--version").Output(); err == nil {
			m.databases = strings.TrimSpace(string(out))
			break
		}
	}
	return m
}

func number(n float64) string {
	text := fmt.Sprintf("%.0f", n)
	if n < 100 {
		return fmt.Sprintf("%.1f", n)
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
}

// micro is a processor time, "–" where it is not known.
func micro(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return number(float64(d.Nanoseconds())/1000) + " µs"
}

func (r *report) page() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("# Benchmarks\n")
	say("Written by `make bench`, which takes about five minutes; `go run ./test/bench -quick` looks at each path for a second.\n")
	say("Every path is measured beside its floor: what it cannot do without (net/http, a signature, a hash, a commit), measured in the")
	say("same run, on the same processor, over the same connections. The share of the floor that is reached says more than")
	say("operations a second, which are this machine's. *Processor* is the processor time that one operation takes the program, its share")
	say("of the kernel and of PostgreSQL included. The share of the floor compares processor times, which other load on the machine does")
	say("not falsify; for paths that also wait for a disk, operations a second.\n")
	say("| | |\n| --- | --- |")
	say("| processor | %s, %d of them |", r.machine.model, r.machine.cores)
	say("| built with | %s, %s, no cgo |", r.machine.goVersion, r.machine.system)
	if r.machine.databases != "" {
		say("| database | SQLite (modernc), %s |", r.machine.databases)
	}
	apart := "the program on one processor (`GOMAXPROCS=1`), PostgreSQL on the same one, the generator on another"
	if !r.machine.apart {
		apart = "the program, PostgreSQL and the generator **share processors**: this machine does not let them be kept apart"
	}
	say("| arrangement | %s |", apart)
	say("| load | %d connections, each sending its next request when the last is answered; %s a path after %s of warming up |", connections, r.measured, r.warm)
	say("| durability | SQLite `synchronous=FULL`; PostgreSQL `fsync` and `synchronous_commit` on |\n")
	r.writeFloor(say)
	for _, f := range r.engines {
		r.writeEngine(say, f)
	}
	r.writeScale(say)
	say(elsewhere)
	r.writeProfiles(say)
	return b.String()
}

func (r *report) writeFloor(say func(string, ...any)) {
	say("## The floor\n")
	say("| part | a second | p50 | p99 | processor |\n| --- | --: | --: | --: | --: |")
	for _, part := range []struct {
		name string
		result
	}{
		{"empty net/http handler", r.floor.empty}, {"handler with one ES256 signature", r.floor.sign}, {"handler with two", r.floor.sign2},
		{"handler with one ES256 verification", r.floor.verify},
		{fmt.Sprintf("handler with one Argon2id hash (%d MiB, %d passes)", argonMemory/1024, argonTime), r.floor.hash},
	} {
		say("| %s | %s | %s | %s | %s |", part.name, number(part.rate()), short(part.p50), short(part.p99), micro(part.cost()))
	}
	if n := r.floor.commits[sqlite]; n > 0 {
		say("| SQLite: one changed row, %d to a commit | %s | | | |", commitBatch, number(n))
	}
	if n := r.floor.commits[postgres]; n > 0 {
		say("| PostgreSQL: one changed row a commit, 16 connections | %s | | | |", number(n))
	}
	say("\nThe floor of a refresh is two signatures, the handler and its share of a commit; that of a code redemption is the same.\n")
}

func (r *report) writeEngine(say func(string, ...any), f *figures) {
	say("## On %s\n", f.engine)
	say("| path | a second | p50 | p99 | processor | floor | of it | aim | |\n| --- | --: | --: | --: | --: | --: | --: | --- | --- |")
	for _, row := range f.rows {
		say("| %s | %s | %s | %s | %s | %s | %.2f | %s | %s |", row.name, number(row.rate()), short(row.p50), short(row.p99), micro(row.cost()),
			number(row.floor), row.ratio(), row.aimText(), verdict(row.aimIs != none, row.missed()))
	}
	say("\n| | | aim | |\n| --- | --: | --- | --- |")
	if len(f.ready) > 0 {
		median := f.ready[len(f.ready)/2]
		say("| ready after start, median of %d | %s | < 300 ms | %s |", len(f.ready), short(median), verdict(true, median >= 300*time.Millisecond))
	}
	say("| ready after the first start, which makes the tables | %s | – | – |", short(f.fresh))
	if f.idle > 0 {
		say("| resident memory, idle | %d MB | < 60 MB | %s |", f.idle/1e6, verdict(true, f.idle >= 60e6))
		say("| resident memory after all of the above, with %d sign-ins at once | %d MB | < 250 MB | %s |", connections, f.busiest/1e6, verdict(true, f.busiest >= 250e6))
	}
	say("")
	var disturbed, outrun []string
	for _, row := range f.rows {
		if row.otherBusy > 0.1 {
			disturbed = append(disturbed, fmt.Sprintf("%s (%.0f %%)", row.name, row.otherBusy*100))
		}
		if row.selfBusy > 0.95 {
			outrun = append(outrun, row.name)
		}
	}
	if len(disturbed) > 0 {
		say("Other programs took part of the processor, so that operations a second are too low, and times too long: %s.\n", strings.Join(disturbed, ", "))
	}
	if len(outrun) > 0 {
		say("The generator was as busy as could be, so that the program may be faster: %s.\n", strings.Join(outrun, ", "))
	}
}

// mostFlat is how much longer a sign-in may take among many customers, and
// lookupLimit what the slowest but one in twenty of an operator's questions may
// take.
const (
	mostFlat    = 1.2
	lookupLimit = 50 * time.Millisecond
)

func (r *report) writeScale(say func(string, ...any)) {
	if len(r.scales) == 0 {
		return
	}
	say("## With many customers\n")
	say("Two installations are filled as the program fills them (customers with keys, addresses, profiles, passwords and their events, found by the beginnings of addresses and names). Customers from all over")
	say("each sign in to both by turns, one after the other, so that whatever else the machine does concerns both alike. Pages and lists are asked of the")
	say("larger one over %d connections, each asking again when it is answered.\n", operators)
	for _, s := range r.scales {
		say("### %s, %s customers\n", s.engine, number(float64(s.many)))
		say("| | p50 | p95 | p99 | a second | aim | |\n| --- | --: | --: | --: | --: | --- | --- |")
		for _, row := range s.rows {
			say("| %s | %s | %s | %s | %s | p95 < %s | %s |", row.name, short(row.p50), short(row.p95), short(row.p99), number(row.rate()),
				lookupLimit, verdict(true, row.p95 >= lookupLimit))
		}
		say("\n| whole sign-in, median of %d | among %s | among %s | ratio | aim | |\n| --- | --: | --: | --: | --- | --- |", len(s.atFew),
			number(float64(min(few, s.many/2))), number(float64(s.many)))
		say("| with a password | %s | %s | %.2f | ≤ %.1f | %s |\n", short(median(s.atFew)), short(median(s.atAll)), s.flat(), mostFlat, verdict(true, s.flat() > mostFlat))
	}
}

func (r *report) writeProfiles(say func(string, ...any)) {
	said := false
	for _, f := range r.engines {
		for _, row := range f.rows {
			if !row.missed() {
				continue
			}
			if !said {
				say("## Where aims were missed\n")
				said = true
			}
			say("### %s on %s\n", strings.ToUpper(row.name[:1])+row.name[1:], f.engine)
			say("%s/s, %.2f of the floor; the aim is %s.", number(row.rate()), row.ratio(), row.aimText())
			if row.profile == "" {
				say("No profile: it takes `perf`.\n")
				continue
			}
			say("Where the processor was, by `perf`, each part without what it called:\n\n```\n%s\n```\n", row.profile)
		}
	}
}

const elsewhere = `## For comparison

Measured on one core of another machine, in operations a second; not measured here, and so only for the order of magnitude.

| | client credentials | refresh | introspection | JWKS | sign-in |
| --- | --: | --: | --: | --: | --: |
| Ory Hydra | 209 | 75 | 1,900 | 690 | |
| node oidc-provider, in memory | 7,700 (opaque) | 1,260 | 7,300 | 20,500 | |
| dex | | | | | 17 |
| Ory Kratos | | | | | 4 |

Ory Kratos checks 1,400 sessions a second.
`
