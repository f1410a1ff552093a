package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	profileFor       = 3 * time.Second
	profileFunctions = 8
)

// parts sorts functions by what they are for; the first that fits counts.
var parts = []struct {
	name  string
	match *regexp.Regexp
}{
	{"PostgreSQL", regexp.MustCompile(`^postgres `)},
	{"kernel: network, disk, scheduling", regexp.MustCompile(`\[k\]`)},
	{"signatures and hashes", regexp.MustCompile(`crypto/|argon2|\bp256|nistec|math/big`)},
	{"collecting garbage", regexp.MustCompile(`runtime\.(\(\*gc|gc|scan|tryDefer|greyobject|wbBuf|findObject|markroot|drain|bulkBarrier|typePointers|sweep|\(\*(sweep|mspan\)\.(mark|sweep|typePointers|heapBits|nextFree|refill|init))|bgsweep|shade|spanOf|extractHeapBits|\(\*spanInlineMarkBits)`)},
	{"allocating memory", regexp.MustCompile(`runtime\.(malloc|newobject|memclr|makeslice|growslice|\(\*mspan|\(\*mcache|\(\*mcentral|\(\*mheap|nextFree|\(\*fixalloc|rawstring|rawbyte|slicebytetostring|stringtoslicebyte|concatstring|\(\*pageAlloc)`)},
	{"SQLite", regexp.MustCompile(`modernc\.org`)},
	{"net/http and what it is made of", regexp.MustCompile(`net/http|net/textproto|net/url|bufio|mime|internal/poll|\bnet\.|syscall|net/netip`)},
	{"talking to PostgreSQL", regexp.MustCompile(`jackc/pgx`)},
	{"JSON", regexp.MustCompile(`encoding/json`)},
	{"metrics", regexp.MustCompile(`prometheus`)},
	{"Cardea itself", regexp.MustCompile(`cardea-id/cardea`)},
	{"the rest of Go's runtime and library", regexp.MustCompile(``)},
}

// profile runs a path again under perf and returns where the program spent its
// time. It needs perf, and a program with symbols.
func (r *report) profile(ctx context.Context, w *world, l *load, p path) (string, error) {
	folder, err := os.MkdirTemp("", "cardea-profile-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(folder) }() // the system clears it too
	data := filepath.Join(folder, "data")
	if err := r.record(ctx, w, l, p, data); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "perf", "report", "-q", "-i", data, "--stdio", "--no-children", "--sort", "comm,symbol").Output()
	if err != nil {
		return "", fmt.Errorf("perf report: %w", err)
	}
	return summary(string(out)), nil
}

// record has perf watch the program and its database while a path is walked.
func (r *report) record(ctx context.Context, w *world, l *load, p path, into string, options ...string) error {
	if _, err := exec.LookPath("perf"); err != nil {
		return errors.New("perf is not installed: apt-get install linux-perf")
	}
	pids := []string{strconv.Itoa(w.program.PID())}
	for _, pid := range w.database {
		for _, member := range family(pid) {
			pids = append(pids, strconv.Itoa(member))
		}
	}
	record := exec.CommandContext(ctx, "perf", slices.Concat([]string{"record", "-q", "-e", "cpu-clock", "-F", "997", "-o", into, "-p", strings.Join(pids, ",")},
		options, []string{"--", "sleep", strconv.Itoa(int(profileFor.Seconds()))})...)
	if err := record.Start(); err != nil {
		return err
	}
	_, errLoad := l.run(p, 0, profileFor)
	return errors.Join(errLoad, record.Wait())
}

// summary says what perf reports: the share of each part, and the functions
// that stand out.
func summary(report string) string {
	shares := make([]float64, len(parts))
	var functions []string
	for line := range strings.Lines(report) {
		percent, rest, found := strings.Cut(strings.TrimSpace(line), "%")
		share, err := strconv.ParseFloat(percent, 64)
		if !found || err != nil {
			continue
		}
		name := strings.TrimSuffix(strings.Join(strings.Fields(rest), " "), " - -")
		for i, part := range parts {
			if part.match.MatchString(name) {
				shares[i] += share
				break
			}
		}
		if len(functions) < profileFunctions {
			functions = append(functions, fmt.Sprintf("%5.1f %%  %s", share, name))
		}
	}
	order := make([]int, len(parts))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(shares[b], shares[a]) })
	var b strings.Builder
	for _, i := range order {
		if shares[i] >= 1 {
			fmt.Fprintf(&b, "%5.1f %%  %s\n", shares[i], parts[i].name)
		}
	}
	return b.String() + "\nof which the single functions that take most:\n\n" + strings.Join(functions, "\n")
}
