package drill

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/cardea-id/cardea/test/client"
	"github.com/cardea-id/cardea/test/program"
)

// restore takes a backup under load, revokes and erases after it, and puts it
// back into empty databases.
func (in *installation) restore(t *testing.T, server string) {
	ctx := context.WithoutCancel(t.Context())
	folder := folderOf(t)
	backup, keys, ledger := filepath.Join(folder, "backup"), filepath.Join(folder, "keys"), filepath.Join(folder, "ledger.jsonl")
	node := in.nodes[0]
	end := in.begun(t)
	time.Sleep(*between / 2)
	began := time.Now()
	if _, err := node.Command(ctx, "backup", "--out", backup, "--keys-out", keys); err != nil {
		t.Fatal(err)
	}
	t.Logf("the backup took %s under load", time.Since(began).Round(time.Millisecond))
	time.Sleep(*between / 2)
	end()

	// After the backup, and so unknown to it: one lineage given up, one
	// customer signed out everywhere, one erased.
	revoked := in.pick(func(*lineage) bool { return true })
	if err := in.site.Revoke(ctx, in.app, revoked.tokens.Refresh); err != nil {
		t.Fatal(err)
	}
	out := in.pick(func(l *lineage) bool { return l.owner != revoked.owner })
	if _, err := node.Command(ctx, "session", "revoke", "--tenant", tenant, out.owner.Address, "--all"); err != nil {
		t.Fatal(err)
	}
	erased := in.pick(func(l *lineage) bool { return l.owner != revoked.owner && l.owner != out.owner })
	if _, err := node.Command(ctx, "customer", "erase", "--yes", "--tenant", tenant, erased.owner.Address); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Command(ctx, "keys", "ledger", "--out", ledger); err != nil {
		t.Fatal(err)
	}
	for i := range in.nodes {
		if err := in.nodes[i].Stop(); err != nil {
			t.Fatal(err)
		}
	}

	// Its tables are the later build's, which therefore is the one to restore it.
	in.build = *next
	in.startOnNew(t, server, func(fresh *program.Program) {
		began := time.Now()
		if _, err := fresh.Command(ctx, "restore", "--from", backup, "--keys", keys, "--ledger", ledger); err != nil {
			t.Fatal(err)
		}
		t.Logf("the restore took %s", time.Since(began).Round(time.Millisecond))
	})
	// Whatever was good before is dead, at both nodes.
	in.each(func(l *lineage) { in.expectDead(t, l) })
	for _, who := range in.who {
		visit, err := who.browser.Begin(ctx, in.app, client.Ask{Prompt: "none"})
		if err != nil || visit.Answer.Get("error") != "login_required" {
			t.Errorf("%s is still signed in after the restore: %v, %v", who.id, visit, err)
		}
	}
	// The customers are who they were, but for the one who was erased.
	for _, who := range in.who {
		err := in.signIn(ctx, who)
		if who == erased.owner && !errors.Is(err, client.ErrWrongPassword) {
			t.Errorf("who was erased after the backup is back: %v", err)
		}
		if who != erased.owner && err != nil {
			t.Errorf("%s cannot sign in after the restore: %v", who.id, err)
		}
	}
	in.expectQuiet(t)
}

// startOnNew makes new nodes on empty databases, has them filled, and starts
// them.
func (in *installation) startOnNew(t *testing.T, server string, fill func(*program.Program)) {
	t.Helper()
	in.makeNodes(t, server, "second")
	fill(in.nodes[0])
	for i := range in.nodes {
		in.start(t, i)
	}
}

// pick finds a lineage, and leaves it where it is.
func (in *installation) pick(fits func(*lineage) bool) *lineage {
	for {
		l := <-in.pool
		in.pool <- l
		if fits(l) {
			return l
		}
	}
}

// expectDead holds, twice so that both nodes are asked, that neither token of a
// lineage is good.
func (in *installation) expectDead(t *testing.T, l *lineage) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	for range in.nodes {
		var refusal *client.Refusal
		if _, err := in.site.Refresh(ctx, in.app, l.tokens.Refresh); !errors.As(err, &refusal) || refusal.Code != "invalid_grant" {
			t.Errorf("a refresh token of %s from before the restore: %v", l.owner.id, err)
		}
		if active, err := in.site.Introspect(ctx, in.app, l.tokens.Access); err != nil || active {
			t.Errorf("an access token of %s from before the restore is active=%t: %v", l.owner.id, active, err)
		}
	}
}
