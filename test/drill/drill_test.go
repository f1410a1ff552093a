// Package drill rehearses what an operator does to a running installation: two
// nodes on PostgreSQL behind a proxy are replaced one by one by a build with
// one more migration, and back, and a backup is taken, all under load; then the
// backup is restored.
//
//	make drill
//
// No request may fail and nobody may be signed out until the backup is
// restored; after it, whatever was good before is dead, and what was revoked
// or erased since the backup stays so.
package drill

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
	"github.com/cardea-id/cardea/test/client"
	"github.com/cardea-id/cardea/test/program"
)

var (
	binary  = flag.String("binary", "", "the program under test")
	next    = flag.String("next", "", "the same with one more migration")
	signIns = flag.Int("signins", 20, "sign-ins a second")
	renewed = flag.Int("refreshes", 100, "refreshes a second")
	between = flag.Duration("between", 10*time.Second, "how long the load runs between two steps")
)

const (
	tenant    = "drill"
	customers = 60  // each with a browser that stays signed in
	lineages  = 240 // of refresh tokens, that many more than are refreshed at once
	// drain is how long a node that stops still answers; the proxy asks every
	// tenth of a second whether it may send it more.
	drain = time.Second
)

// installation is two nodes on one database behind a proxy.
type installation struct {
	root  string // key file
	build string // which program nodes are made with
	proxy *proxy
	nodes [2]*program.Program
	mail  *client.Mailbox
	site  *client.Site
	app   client.Application
	who   []*resident
	pool  chan *lineage
	began time.Time // the load
}

// resident is a customer with the browser that he has been signed in with
// since before the drill.
type resident struct {
	client.Customer
	id      string
	browser *client.Browser
}

// lineage is one chain of refresh tokens. It is in one hand at a time.
type lineage struct {
	owner  *resident
	tokens client.Tokens
}

func TestDrill(t *testing.T) {
	if *binary == "" || *next == "" {
		t.Skip("make drill builds the programs and runs this")
	}
	server, stop, err := dbtest.StartPostgres("", dbtest.PostgresOptions{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	in := begin(t, server)
	t.Run("rolling restart", in.rollingRestart)
	if !t.Failed() {
		t.Run("restore", func(t *testing.T) { in.restore(t, server) })
	}
}

func folderOf(t *testing.T) string {
	// Not the test's own folder, whose path may be too long for a socket.
	folder, err := os.MkdirTemp("", "cardea-drill-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the data is kept in %s", folder)
		} else if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// begin starts both nodes and signs the residents up.
func begin(t *testing.T, server string) *installation {
	ctx := t.Context()
	in := &installation{build: *binary, pool: make(chan *lineage, lineages)}
	var err error
	if in.proxy, err = newProxy(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.proxy.close)
	if in.mail, err = client.NewMailbox(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.mail.Close() })
	in.makeNodes(t, server, "first")
	for i := range in.nodes {
		in.start(t, i)
	}
	// The least that is allowed of a hash: this is not about hashing.
	err = in.nodes[0].CreateTenant(ctx, tenant, map[string]any{
		"password": map[string]any{"memory_kib": 7168, "time": 5},
		"limits":   map[string]any{"password_per_hour": 100, "code_per_hour": 100, "send_per_hour": 100},
	})
	if err != nil {
		t.Fatal(err)
	}
	if in.app, err = in.nodes[0].CreateApplication(ctx, tenant, "Shop", "web", "--first-party", "--id-token-alg", "ES256", "--redirect-uri", program.RedirectURI); err != nil {
		t.Fatal(err)
	}
	in.site = client.New(in.proxy.origin + "/t/" + tenant)
	in.who = make([]*resident, customers)
	var group sync.WaitGroup
	for i := range in.who {
		in.who[i] = &resident{browser: in.site.Browser(), Customer: client.Customer{
			Address: fmt.Sprintf("customer-%d@example.com", i), Password: fmt.Sprintf("walnut-%d-lantern-quiet-harbour", i), Mail: in.mail,
		}}
		group.Go(func() {
			if err := in.signUp(ctx, in.who[i]); err != nil {
				t.Errorf("sign up: %v", err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return in
}

// makeNodes makes both nodes, on databases of their own on server.
func (in *installation) makeNodes(t *testing.T, server, name string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	main, keys := createDatabases(t, server, name)
	folder := folderOf(t)
	for i := range in.nodes {
		node, err := program.New(ctx, program.Options{Binary: in.build, Folder: filepath.Join(folder, fmt.Sprint(i)), Database: main, KeyStore: keys,
			RootKey: in.root, MailPort: in.mail.Port(),
			Settings: map[string]any{"base_url": in.proxy.origin, "drain_delay": drain.String(), "trusted_proxies": []string{"127.0.0.0/8"}}})
		if err != nil {
			t.Fatal(err)
		}
		in.root, in.nodes[i] = node.RootKey, node
		t.Cleanup(func() {
			if node.Running() {
				_ = node.Kill() // after a failure: nothing is left running
			}
		})
	}
}

// start starts a node and waits until the proxy sends to it.
func (in *installation) start(t *testing.T, i int) {
	t.Helper()
	if _, err := in.nodes[i].Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	in.proxy.use(i, in.nodes[i].Origin)
	if !in.proxy.await(i) {
		t.Fatalf("the proxy finds node %d not ready", i)
	}
}

func createDatabases(t *testing.T, server, name string) (main, keys string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	address, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	for database, into := range map[string]*string{"cardea_" + name: &main, "cardea_keys_" + name: &keys} {
		if _, err := conn.Exec(t.Context(), "CREATE DATABASE "+database); err != nil {
			t.Fatal(err)
		}
		address.Path = "/" + database
		*into = address.String()
	}
	return main, keys
}

// signUp opens a resident's account and begins his lineages.
func (in *installation) signUp(ctx context.Context, who *resident) error {
	asking := who.Customer
	asking.SignUp = true
	visit, err := who.browser.Begin(ctx, in.app, client.Ask{})
	if err == nil {
		err = visit.Walk(ctx, asking)
	}
	for range lineages / customers {
		if err != nil {
			return err
		}
		l := &lineage{owner: who}
		if l.tokens, err = visit.Redeem(ctx); err != nil {
			return err
		}
		if who.id, err = l.tokens.Subject(); err != nil {
			return err
		}
		in.pool <- l
		visit, err = who.browser.Begin(ctx, in.app, client.Ask{Prompt: "none"})
	}
	return err
}

// signIn signs a resident in with a browser that was never here.
func (in *installation) signIn(ctx context.Context, who *resident) error {
	visit, err := in.site.Browser().Begin(ctx, in.app, client.Ask{})
	if err != nil {
		return err
	}
	if err := visit.Walk(ctx, who.Customer); err != nil {
		return err
	}
	tokens, err := visit.Redeem(ctx)
	if err != nil {
		return err
	}
	if subject, err := tokens.Subject(); err != nil || subject != who.id {
		return errors.Join(fmt.Errorf("%s signed in and became %s", who.id, subject), err)
	}
	return nil
}

// refresh refreshes one of the lineages.
func (in *installation) refresh(ctx context.Context) error {
	l := <-in.pool
	defer func() { in.pool <- l }()
	tokens, err := in.site.Refresh(ctx, in.app, l.tokens.Refresh)
	if err == nil {
		l.tokens = tokens
	}
	return err
}

// stillIn tells whether the browser of a resident is signed in.
func (in *installation) stillIn(ctx context.Context, who *resident) error {
	visit, err := who.browser.Begin(ctx, in.app, client.Ask{Prompt: "none"})
	if err == nil && visit.Answer.Get("code") == "" {
		err = visit.Unexpected()
	}
	return err
}

// begun has customers sign in and applications refresh until end is called,
// which says how it went.
func (in *installation) begun(t *testing.T) (end func()) {
	ctx := context.WithoutCancel(t.Context())
	turn := 0
	in.began = time.Now()
	loads := []*load{
		newLoad("sign-ins", *signIns, func() func() error {
			turn++
			who := in.who[turn%len(in.who)]
			return func() error { return in.signIn(ctx, who) }
		}),
		newLoad("refreshes", *renewed, func() func() error { return func() error { return in.refresh(ctx) } }),
		newLoad("session checks", 10, func() func() error {
			who := in.who[time.Now().UnixNano()%int64(len(in.who))]
			cookies := *who.browser // each check with the cookies as they were
			return func() error { return in.stillIn(ctx, &resident{browser: &cookies}) }
		}),
	}
	return func() {
		for _, l := range loads {
			l.end()
			t.Log(l.summary())
			for _, failure := range l.failures[:min(len(l.failures), 5)] {
				t.Errorf("%s: %s", l.name, failure)
			}
			if l.late > 0 || l.done == 0 {
				t.Errorf("%s: %d were done, %d not begun in time: the machine is too slow for this load, or the program hangs", l.name, l.done, l.late)
			}
		}
		if refused := in.proxy.refused.Load(); refused > 0 {
			t.Errorf("the proxy could not pass %d requests on", refused)
		}
		for _, line := range in.proxy.told.all() {
			t.Logf("the proxy: %s", line)
		}
	}
}

// replace stops a node in order and starts another build in its place.
func (in *installation) replace(t *testing.T, i int, build string) {
	t.Helper()
	if err := in.nodes[i].Stop(); err != nil {
		t.Fatalf("stop node %d: %v\n%s", i, err, in.nodes[i].LogTail())
	}
	in.nodes[i].Binary = build
	began := time.Now()
	in.start(t, i)
	t.Logf("node %d runs %s, ready and used after %s, %s after the beginning", i, filepath.Base(build),
		time.Since(began).Round(time.Millisecond), time.Since(in.began).Round(100*time.Millisecond))
}

func (in *installation) rollingRestart(t *testing.T) {
	ctx := t.Context()
	end := in.begun(t)
	time.Sleep(*between)
	for _, build := range []string{*next, *binary} {
		for i := range in.nodes {
			in.replace(t, i, build)
			time.Sleep(*between) // both builds run side by side
		}
	}
	end()
	for _, who := range in.who {
		if err := in.stillIn(ctx, who); err != nil {
			t.Errorf("%s was signed out: %v", who.id, err)
		}
	}
	in.each(func(l *lineage) {
		tokens, err := in.site.Refresh(ctx, in.app, l.tokens.Refresh)
		if err != nil {
			t.Errorf("a lineage of %s has ended: %v", l.owner.id, err)
			return
		}
		l.tokens = tokens
	})
	in.expectQuiet(t)
}

// each takes every lineage in hand once.
func (in *installation) each(do func(*lineage)) {
	for range lineages {
		l := <-in.pool
		do(l)
		in.pool <- l
	}
}

// expectQuiet holds that no node logged an error.
func (in *installation) expectQuiet(t *testing.T) {
	t.Helper()
	for i, node := range in.nodes {
		lines, err := node.Errors()
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines[:min(len(lines), 5)] {
			t.Errorf("node %d logged: %s", i, line)
		}
	}
}
