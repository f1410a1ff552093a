package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks is the unit of processor time in /proc, which is 10 ms on every Linux
// that Go runs on.
const ticks = 10 * time.Millisecond

// processorTime is what processes have used of it so far; 0 where it cannot be
// known.
func processorTime(pids []int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended
		}
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) < 13 {
			continue
		}
		for _, field := range fields[11:13] { // utime, stime
			n, err := strconv.ParseInt(string(field), 10, 64)
			if err == nil {
				sum += time.Duration(n) * ticks
			}
		}
	}
	return sum
}

// processorBusy is how long a processor has not been idle, whoever used it; 0
// where it cannot be known. Time that the machine's host took away counts too.
func processorBusy(number int) time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 9 || fields[0] != fmt.Sprintf("cpu%d", number) {
			continue
		}
		var busy time.Duration
		for _, i := range []int{1, 2, 3, 6, 7, 8} { // user, nice, system, irq, softirq, steal
			if n, err := strconv.ParseInt(fields[i], 10, 64); err == nil {
				busy += time.Duration(n) * ticks
			}
		}
		return busy
	}
	return 0
}

func ownTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// family is a process and all that descend from it.
func family(parent int) []int {
	all := []int{parent}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return all
	}
	children := map[int][]int{}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		pid, errPID := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if errPID != nil || len(fields) < 2 {
			continue
		}
		if ppid, err := strconv.Atoi(string(fields[1])); err == nil {
			children[ppid] = append(children[ppid], pid)
		}
	}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// memory reads a process's resident memory in bytes: now, and the most so far.
func memory(pid int) (now, most int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			now = kilobytes << 10
		case "VmHWM":
			most = kilobytes << 10
		}
	}
	if now == 0 {
		return 0, 0, errors.New("the system does not tell how much memory a process has")
	}
	return now, most, nil
}

// postmaster reads the process of a PostgreSQL server from its pid file.
func postmaster(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(line)
}
