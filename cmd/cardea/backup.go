package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/server"
)

type backupCommand struct {
	place
	output
	Out     string `required:"" placeholder:"DIR" help:"New folder to write to, on the server's machine."`
	KeysOut string `placeholder:"DIR" help:"New folder for customers' keys, which are kept apart and for 30 days at most. Without it, the folder keys within --out."`
}

func (c *backupCommand) Run(ctx context.Context, p *program) error {
	folder, err := filepath.Abs(c.Out)
	if err != nil {
		return err
	}
	keys := ""
	if c.KeysOut != "" {
		if keys, err = filepath.Abs(c.KeysOut); err != nil {
			return err
		}
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var report backup.Report
	if err := cl.call(ctx, http.MethodPost, pathTo("backup"), nil, map[string]any{"folder": folder, "keys": keys}, &report); err != nil {
		return err
	}
	return c.show(p, report, func() error {
		if err := p.fields("backup", report.Backup, "everything but keys", filepath.Join(report.Folder, "database"), "customers' keys", report.Keys,
			"erasure ledger", report.Ledger, "rows", fmt.Sprint(report.Rows), "bytes", fmt.Sprint(report.Bytes)); err != nil {
			return err
		}
		return p.line("Keep the keys apart from the rest and for 30 days at most, and the newest ledger for as long as any backup.")
	})
}

type restoreCommand struct {
	place
	output
	From   string `required:"" placeholder:"DIR" help:"Folder of the backup."`
	Keys   string `placeholder:"DIR" help:"Folder of the backup's keys, if they are elsewhere."`
	Ledger string `placeholder:"FILE" help:"A newer erasure ledger: ledger.jsonl of a later backup, or of 'cardea keys ledger'. That of the key store to be replaced is taken in any case."`
	Force  bool   `help:"Replace the data that is there, and go on without a ledger if there is none."`
}

func (c *restoreCommand) Run(ctx context.Context, p *program) error {
	found, err := c.find(p)
	if err != nil {
		return err
	}
	if err := found.makeFolder(); err != nil {
		return err
	}
	root, err := server.RootKey(found.config)
	if err != nil {
		return fmt.Errorf("read the root key: %w", err)
	}
	old, err := server.OldRootKeys(found.config)
	if err != nil {
		return err
	}
	logger := quiet(p.err)
	database, keys := found.urls()
	sets := server.Migrations()
	if found.development {
		sets = append(sets, server.DevelopmentMigrations()...)
	}
	done, err := backup.Restore(ctx, backup.Restoration{
		Folder: c.From, Keys: c.Keys, DatabaseURL: database, KeyStoreURL: keys,
		Migrations: sets, StoreMigrations: server.KeyStoreMigrations(), Known: server.DevelopmentMigrations(), Root: root, OldRoots: old,
		Ledger: c.Ledger, Force: c.Force, Clock: clock.System(), Random: rand.Reader, Logger: logger,
		Finish: func(ctx context.Context) error {
			s, err := found.parts(ctx, logger)
			if err != nil {
				return err
			}
			return errors.Join(s.FinishErasures(ctx), s.NoteRestore(ctx), s.Close())
		},
	})
	if err != nil {
		return err
	}
	if done.NoLedger {
		p.warn([]string{"there was no erasure ledger: customers who were erased after " + when(done.CreatedAt) + " are back. Erase them again."})
	}
	return c.show(p, done, func() error {
		if err := p.fields("backup", done.Backup, "made", when(done.CreatedAt), "rows", fmt.Sprint(done.Rows), "erased again", fmt.Sprint(done.Erased)); err != nil {
			return err
		}
		return p.line("The backup is restored. Tokens, codes and cookies from before are dead: everybody signs in again.")
	})
}
