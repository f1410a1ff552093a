// Package dev is `cardea dev`: the whole product on one machine with nothing
// to set up. It invents a root key, keeps its data in a folder, makes the demo
// tenant "Olive & Thyme" with three applications and a customer, runs those
// applications, and shows the messages that would be sent in an inbox.
//
// Nothing of it is reachable from `cardea serve`.
package dev

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cardea-id/cardea/demo"
	"github.com/cardea-id/cardea/demo/club"
	"github.com/cardea-id/cardea/demo/recipes"
	"github.com/cardea-id/cardea/demo/shop"
	"github.com/cardea-id/cardea/demo/signin"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/config"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/server"
)

// Options say how `cardea dev` runs.
type Options struct {
	DataDir       string // where the data is kept
	Fresh         bool   // whether to start over
	PortBase      int    // the first of the ports; those that follow are the applications'
	AddressesFile string // where to write the addresses for scripts, "" for nowhere
	Verbose       bool   // whether to log every request
	Admin         func(*server.Server) http.Handler
	Out           io.Writer
}

// Addresses is where everything is, for people and scripts.
type Addresses struct {
	Issuer       string       `json:"issuer"`
	Shop         string       `json:"shop"`
	Club         string       `json:"club"`
	Recipes      string       `json:"recipes"`
	Account      string       `json:"account"`
	Inbox        string       `json:"inbox"`
	InboxJSON    string       `json:"inboxJson"`
	System       string       `json:"system"`
	AdminAPI     string       `json:"adminApi"`
	AdminToken   string       `json:"adminToken"`
	DemoCustomer DemoCustomer `json:"demoCustomer"`
}

// DemoCustomer is how the demo customer signs in.
type DemoCustomer struct {
	Identifier string `json:"identifier"`
	Password   string `json:"password"`
}

// The ports, counted from Options.PortBase.
const (
	portCardea = iota
	portShop
	portClub
	portRecipes
	portSystem
)

// marker is a file that tells a data folder of ours from any other.
const marker = "root.key"

// Run runs until ctx ends.
func Run(ctx context.Context, o Options) error {
	began := time.Now()
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return fmt.Errorf("find the data folder: %w", err)
	}
	c, err := configure(dir, o)
	if err != nil {
		return err
	}
	level := slog.LevelWarn
	if o.Verbose {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	robot := &tokens{at: c.SystemURL}
	s, err := server.Assemble(ctx, server.Environment{
		Config: c, Clock: clock.System(), Random: rand.Reader, Logger: logger, Development: true,
		Front: func(s *server.Server, next http.Handler) http.Handler { return front(s, robot, next) },
	})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // the data is safe: what was acknowledged is written

	made, err := seed(ctx, s, dir, o)
	if err != nil {
		return fmt.Errorf("make the demo: %w", err)
	}
	own := made.Applications[robotKey]
	robot.robot.Store(&own)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, app := range made.apps() {
		listener, err := net.Listen("tcp", loopback(app.port))
		if err != nil {
			return fmt.Errorf("%s: %w", app.name, err)
		}
		go func() {
			if err := demo.ServeOn(ctx, listener, app.handler); err != nil {
				cancel(fmt.Errorf("%s: %w", app.name, err))
			}
		}()
	}
	// The system tenant has an origin of its own: here, a port.
	system, err := net.Listen("tcp", loopback(o.PortBase+portSystem))
	if err != nil {
		return fmt.Errorf("the system tenant: %w", err)
	}
	go func() {
		if err := demo.ServeOn(ctx, system, s.Handler()); err != nil {
			cancel(fmt.Errorf("the system tenant: %w", err))
		}
	}()
	var admin http.Handler
	if o.Admin != nil {
		admin = o.Admin(s)
	}
	err = s.Run(ctx, admin, func(net.Addr) {
		if o.AddressesFile != "" {
			if err := writeAddresses(o.AddressesFile, made.addresses); err != nil {
				cancel(err)
				return
			}
		}
		greet(o.Out, made.addresses, time.Since(began))
	})
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// configure makes the data folder and what is needed to run on it.
func configure(dir string, o Options) (*config.Config, error) {
	if o.Fresh {
		if err := startOver(dir); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	key := filepath.Join(dir, marker)
	if err := keyring.GenerateRoot(key, rand.Reader); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the root key: %w", err)
	}
	c := config.Default()
	c.DataDir = dir
	c.AdminSocket = filepath.Join(dir, "cardea.sock")
	c.RootKey.File = key
	c.Listen = loopback(o.PortBase + portCardea)
	c.BaseURL = origin(o.PortBase + portCardea)
	c.SystemURL = origin(o.PortBase + portSystem)
	c.Mail.HookSecret = config.NewSecret(os.Getenv("CARDEA_MAIL_HOOK_SECRET")) // none, and no bounces are taken
	c.ShutdownGrace, c.DrainDelay = 3*time.Second, 0
	c.Rate.FormsPerSecond, c.Rate.FailuresPerSecond, c.Rate.AdminPerSecond = 0, 0, 0 // everybody is the same address here
	return c, nil
}

// startOver deletes a data folder of ours, and nothing else.
func startOver(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, marker)); errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) || (err == nil && len(entries) == 0) {
			return nil
		}
		return fmt.Errorf("%s is not a data folder of cardea dev (it has no %s), so that --fresh does not delete it", dir, marker)
	}
	if conn, err := net.DialTimeout("unix", filepath.Join(dir, "cardea.sock"), time.Second); err == nil {
		_ = conn.Close()
		return fmt.Errorf("a server is using %s; stop it before starting over", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("start over: %w", err)
	}
	return nil
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

func origin(port int) string { return "http://localhost:" + strconv.Itoa(port) }

func writeAddresses(path string, a Addresses) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("write the addresses: %w", err)
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the addresses: %w", err)
	}
	return os.Rename(temporary, path)
}

// greet prints one short screen.
func greet(out io.Writer, a Addresses, took time.Duration) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  Cardea is open (%d ms). Stop it with Ctrl-C; the data stays.\n\n", took.Milliseconds())
	for _, line := range [][2]string{
		{"Shop", a.Shop}, {"Loyalty club", a.Club}, {"Recipes by Ana", a.Recipes}, {"Your account", a.Account}, {"Inbox", a.Inbox},
	} {
		fmt.Fprintf(&b, "  %-16s %s\n", line[0], line[1])
	}
	fmt.Fprintf(&b, "\n  Sign in as       %s\n  with             %s\n", a.DemoCustomer.Identifier, a.DemoCustomer.Password)
	fmt.Fprint(&b, "\n  Or create an account with any e-mail address or British mobile number: the code\n  arrives in the inbox.\n")
	fmt.Fprintf(&b, "\n  Admin API        %s\n  a token for it   curl %s\n\n", a.AdminAPI, a.AdminToken)
	_, _ = io.WriteString(out, b.String())
}

// app is one of the demo applications.
type app struct {
	name    string
	port    int
	handler http.Handler
}

func (d *demonstration) apps() []app {
	configure := func(name string, port int) signin.Config {
		c := d.Applications[name]
		return signin.Config{
			Issuer: d.addresses.Issuer, ClientID: string(c.ID), ClientSecret: c.Secret,
			BaseURL: origin(port), RedirectURL: origin(port) + "/callback",
		}
	}
	return []app{
		{"the shop", d.base + portShop, shop.New(configure("shop", d.base+portShop))},
		{"the loyalty club", d.base + portClub, club.New(configure("club", d.base+portClub))},
		{"the recipes", d.base + portRecipes, recipes.New(configure("recipes", d.base+portRecipes))},
	}
}
