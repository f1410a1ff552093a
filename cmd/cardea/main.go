// Command cardea is the whole program. It holds flags and calls; what they do
// stands in internal/.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/cardea-id/cardea/internal/dev"
)

type commands struct {
	Dev devCommand `cmd:"" help:"Run everything on this machine: a demo tenant with three applications, and an inbox for messages."`
}

type devCommand struct {
	Data          string `default:".cardea" help:"Folder for the data."`
	Fresh         bool   `help:"Start over: delete the data first."`
	PortBase      int    `default:"7070" help:"First of the ports."`
	AddressesFile string `help:"File to write the addresses to, as JSON, once everything answers."`
	Verbose       bool   `help:"Log every request."`
}

func (c *devCommand) Run(ctx context.Context) error {
	return dev.Run(ctx, dev.Options{DataDir: c.Data, Fresh: c.Fresh, PortBase: c.PortBase, AddressesFile: c.AddressesFile, Verbose: c.Verbose, Out: os.Stdout})
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c commands
	parsed := kong.Parse(&c, kong.Name("cardea"), kong.Description("Customer identity and access management."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	parsed.FatalIfErrorf(parsed.Run())
}
