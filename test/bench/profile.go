package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	profileFor   = 3 * time.Second
	profileLines = 14
)

// profile runs a path again under perf and returns where the program spent its
// time. It needs perf, and a program with symbols.
func (r *report) profile(ctx context.Context, w *world, l *load, p path) (string, error) {
	perf, err := exec.LookPath("perf")
	if err != nil {
		return "", errors.New("perf is not installed: apt-get install linux-perf")
	}
	folder, err := os.MkdirTemp("", "cardea-profile-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	data := filepath.Join(folder, "data")
	pids := []string{strconv.Itoa(w.program.PID())}
	for _, pid := range w.database {
		for _, member := range family(pid) {
			pids = append(pids, strconv.Itoa(member))
		}
	}
	record := exec.CommandContext(ctx, perf, "record", "-q", "-e", "cpu-clock", "-F", "997", "-o", data, "-p", strings.Join(pids, ","),
		"--", "sleep", strconv.Itoa(int(profileFor.Seconds())))
	if err := record.Start(); err != nil {
		return "", err
	}
	_, errLoad := l.run(p, 0, profileFor)
	if err := errors.Join(errLoad, record.Wait()); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, perf, "report", "-q", "-i", data, "--stdio", "--no-children", "--sort", "comm,symbol").Output()
	if err != nil {
		return "", fmt.Errorf("perf report: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		lines = append(lines, strings.Join(strings.Fields(line), " "))
		if len(lines) == profileLines {
			break
		}
	}
	return strings.Join(lines, "\n"), nil
}
