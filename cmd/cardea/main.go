// Command cardea is the whole program. It holds flags and calls; what they do
// stands in internal/.
//
// dev and serve run a server. The commands that change or show something call
// the same handlers as the admin API: over the socket of a server that runs on
// this machine, or in this process when none does.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	p := &program{out: os.Stdout, err: os.Stderr, in: os.Stdin, environ: os.Environ()}
	os.Exit(p.run(ctx, os.Args[1:]))
}
