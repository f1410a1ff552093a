package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/dev"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/sqldb"
)

type devCommand struct {
	Data          string `default:".cardea" placeholder:"DIR" help:"Folder for the data."`
	Fresh         bool   `help:"Start over: delete the data first."`
	PortBase      int    `default:"7070" placeholder:"N" help:"First of the ports."`
	AddressesFile string `placeholder:"FILE" help:"File to write the addresses to, as JSON, once everything answers."`
	Verbose       bool   `help:"Log every request."`
}

func (c *devCommand) Run(ctx context.Context, p *program) error {
	if !c.Fresh {
		if found, err := (place{Data: c.Data}).find(p); err == nil {
			if err := found.usable(ctx, quiet(p.err)); err != nil {
				return err
			}
		}
	}
	var failed error
	err := dev.Run(ctx, dev.Options{
		DataDir: c.Data, Fresh: c.Fresh, PortBase: c.PortBase, AddressesFile: c.AddressesFile, Verbose: c.Verbose, Out: p.out,
		Admin: func(s *server.Server) http.Handler {
			handler, err := adminHandler(s)
			failed = err
			return handler
		},
	})
	return errors.Join(err, failed)
}

type serveCommand struct {
	Config string `help:"Configuration file. Without one, everything is taken from the environment." env:"CARDEA_CONFIG" placeholder:"FILE"`
}

func (c *serveCommand) Run(ctx context.Context, p *program) error {
	began := time.Now()
	found, err := (place{Config: c.Config}).configured(p)
	if err != nil {
		return err
	}
	logger := found.logger(p.err)
	for _, warning := range found.config.Warnings() {
		logger.WarnContext(ctx, warning)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, closeParts, err := found.open(ctx, logger, func(err error) { cancel(err) })
	if err != nil {
		return err
	}
	admin, err := adminHandler(s)
	if err != nil {
		return errors.Join(err, closeParts())
	}
	err = s.Run(ctx, admin, func(at net.Addr) {
		logger.InfoContext(ctx, "ready", "address", at.String(), "socket", s.SocketPath(), "release", release(), "took", time.Since(began).Round(time.Millisecond).String())
		p.firstOperator(ctx, s, logger)
	})
	if err = errors.Join(err, closeParts()); err != nil {
		return err
	}
	if cause := context.Cause(ctx); errors.Is(cause, backup.ErrUnfinished) {
		return fmt.Errorf("stopped: %w", cause)
	}
	logger.InfoContext(ctx, "stopped")
	return nil
}

// firstOperator prints the one-time link that makes the first operator, while
// there is none.
func (p *program) firstOperator(ctx context.Context, s *server.Server, logger *slog.Logger) {
	link, err := s.FirstOperator(ctx)
	if err != nil {
		logger.ErrorContext(ctx, "the link for the first operator could not be made; start again, or run cardea operator break-glass", "error", err)
		return
	}
	if link != "" {
		fmt.Fprintf(p.out, "There is no operator yet. Whoever opens this link first and chooses a password is one. It is good for a day:\n%s\n", link)
	}
}

type migrateCommand struct {
	place
}

func (c *migrateCommand) Run(ctx context.Context, p *program) error {
	found, err := c.find(p)
	if err != nil {
		return err
	}
	if err := found.makeFolder(); err != nil {
		return err
	}
	database, keys := found.urls()
	sets := server.Migrations()
	if found.development {
		sets = append(sets, server.DevelopmentMigrations()...)
	}
	for _, store := range []struct {
		name, url string
		sets      []sqldb.MigrationSet
	}{{"database", database, sets}, {"key store", keys, server.KeyStoreMigrations()}} {
		if err := migrate(ctx, p, store.url, store.sets); err != nil {
			return fmt.Errorf("the %s: %w", store.name, err)
		}
		if err := p.line("The %s is up to date.", store.name); err != nil {
			return err
		}
	}
	return nil
}

func migrate(ctx context.Context, p *program, url string, sets []sqldb.MigrationSet) (err error) {
	options := sqldb.Options{URL: url, MaxConns: 2, Logger: quiet(p.err)}
	if path, sqlite := strings.CutPrefix(url, "sqlite:"); sqlite {
		if options.Lock, err = sqldb.LockExclusive(path); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, options.Lock.Release()) }()
	}
	db, err := sqldb.Open(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := backup.Usable(ctx, db); err != nil {
		return err
	}
	return db.Migrate(ctx, sets...)
}
