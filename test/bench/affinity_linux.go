package main

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// pinned marks a process that has been put on its processor.
const pinned = "BENCH_PINNED"

// pinSelf puts this process, threads that exist already included, on a
// processor, which only a new start of it can.
func pinSelf(processor int) error {
	if os.Getenv(pinned) != "" || runtime.NumCPU() <= processor {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := setAffinity(processor); err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), pinned+"=1", "GOMAXPROCS=1"))
}

func setAffinity(processors ...int) error {
	var set unix.CPUSet
	for _, processor := range processors {
		set.Set(processor)
	}
	return unix.SchedSetaffinity(0, &set)
}

// on runs do, and what processes it starts, on processors. A machine of one
// has no choice.
func on(do func() error, processors ...int) error {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil || os.Getenv(pinned) == "" {
		return do()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := setAffinity(processors...); err != nil {
		return err
	}
	err := do()
	if back := unix.SchedSetaffinity(0, &before); err == nil {
		err = back
	}
	return err
}

func startOn(processor int) func(*exec.Cmd) error {
	return func(c *exec.Cmd) error { return on(c.Start, processor) }
}
