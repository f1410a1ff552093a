package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
	"github.com/cardea-id/cardea/test/client"
	"github.com/cardea-id/cardea/test/program"
)

// world is one installation with a tenant, two applications and a customer for
// each connection.
type world struct {
	engine    string
	program   *program.Program
	site      *client.Site
	mail      *client.Mailbox
	web       client.Application
	machine   client.Application
	customers []*customer
	database  []int // processes of the database, none for SQLite
	server    string
	stop      func() error
}

type customer struct {
	client.Customer
	browser *client.Browser
}

const tenantSlug = "bench"

// newWorld makes an installation, started and empty.
func newWorld(ctx context.Context, binary, folder, engine string, operators bool) (_ *world, fresh time.Duration, err error) {
	w := &world{engine: engine, stop: func() error { return nil }}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.mail, err = client.NewMailbox(); err != nil {
		return nil, 0, err
	}
	options := program.Options{Binary: binary, Folder: folder, MailPort: w.mail.Port(), Operators: operators, Begin: startOn(serverProcessor), Env: []string{"GOMAXPROCS=1"}}
	if engine == postgres {
		if options.Database, options.KeyStore, err = w.startPostgres(ctx); err != nil {
			return nil, 0, err
		}
	}
	if w.program, err = program.New(ctx, options); err != nil {
		return nil, 0, err
	}
	fresh, err = w.program.Start(ctx)
	return w, fresh, err
}

// startPostgres starts a server that shares the program's processor.
func (w *world) startPostgres(ctx context.Context) (main, keys string, err error) {
	err = on(func() (err error) {
		w.server, w.stop, err = dbtest.StartPostgres("", dbtest.PostgresOptions{Durable: true})
		return err
	}, serverProcessor)
	if err != nil {
		return "", "", err
	}
	conn, err := pgx.Connect(ctx, w.server)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	address, err := url.Parse(w.server)
	if err != nil {
		return "", "", err
	}
	for name, into := range map[string]*string{"cardea": &main, "cardea_keys": &keys} {
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
			return "", "", err
		}
		address.Path = "/" + name
		*into = address.String()
	}
	var folder string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&folder); err != nil {
		return "", "", err
	}
	pid, err := postmaster(filepath.Join(folder, "postmaster.pid"))
	w.database = []int{pid}
	return main, keys, err
}

// busy is the processor time of the program and its database.
func (w *world) busy() time.Duration {
	pids := []int{w.program.PID()}
	for _, pid := range w.database {
		pids = append(pids, family(pid)...)
	}
	return processorTime(pids)
}

func (w *world) close() error {
	var errs []error
	if w.program != nil && w.program.Running() {
		errs = append(errs, w.program.Stop())
	}
	if w.mail != nil {
		errs = append(errs, w.mail.Close())
	}
	return errors.Join(append(errs, w.stop())...)
}

// register makes the tenant, with settings on top of the defaults, and its
// applications.
func (w *world) register(ctx context.Context, settings map[string]any) error {
	err := w.program.CreateTenant(ctx, tenantSlug, settings)
	if err != nil {
		return err
	}
	w.web, err = w.program.CreateApplication(ctx, tenantSlug, "Shop", "web", "--first-party", "--id-token-alg", "ES256", "--redirect-uri", program.RedirectURI)
	if err != nil {
		return err
	}
	if w.machine, err = w.program.CreateApplication(ctx, tenantSlug, "Machine", "machine"); err != nil {
		return err
	}
	w.site = client.New(w.program.Origin + "/t/" + tenantSlug)
	return nil
}

// furnish makes the tenant, the applications and the customers, who sign up by
// the hosted pages.
func (w *world) furnish(ctx context.Context) error {
	// Codes are collected before they are redeemed, hence their long life.
	if err := w.register(ctx, map[string]any{"tokens": map[string]any{"code": "10m"}}); err != nil {
		return err
	}
	var group sync.WaitGroup
	errs := make([]error, connections)
	w.customers = make([]*customer, connections)
	for i := range connections {
		group.Go(func() {
			c := &customer{browser: w.site.Browser(), Customer: client.Customer{
				Address: fmt.Sprintf("customer-%d@example.com", i), Password: fmt.Sprintf("walnut-%d-lantern-quiet-harbour", i), SignUp: true, Mail: w.mail,
			}}
			w.customers[i] = c
			visit, err := c.browser.Begin(ctx, w.web, client.Ask{})
			if err == nil {
				err = visit.Walk(ctx, c.Customer)
			}
			if err == nil {
				_, err = visit.Redeem(ctx)
			}
			errs[i] = err
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// address is where the generator connects.
func (w *world) address() string { return strings.TrimPrefix(w.program.Origin, "http://") }
