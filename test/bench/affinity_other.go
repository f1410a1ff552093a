//go:build !linux

package main

import "os/exec"

// Only Linux lets a process be put on a processor; elsewhere GOMAXPROCS alone
// keeps server and generator to one each.

func pinSelf(int) error { return nil }

func on(do func() error, _ ...int) error { return do() }

func startOn(int) func(*exec.Cmd) error { return (*exec.Cmd).Start }
