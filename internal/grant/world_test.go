package grant_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/session/sessiontest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// world is a node with grants, wired to sessions as internal/server does.
type world struct {
	*sessiontest.World
	*grant.Grants
}

var sets = []sqldb.MigrationSet{grant.Migrations()}

func newWorld(t testing.TB, engine sqldb.Engine) world {
	return wire(sessiontest.New(t, engine, sets))
}

func each(t *testing.T, test func(t *testing.T, w world)) {
	t.Helper()
	sessiontest.Each(t, sets, func(t *testing.T, w *sessiontest.World) { test(t, wire(w)) })
}

func (w world) second(t testing.TB) world { return wire(w.World.Second(t)) }

func wire(w *sessiontest.World) world {
	g := grant.New(grant.Options{DB: w.DB, Ring: w.Ring, Log: w.Log, Clock: w.Clock, Random: rand.Reader, Persists: w.Sessions.Persists,
		Presence: func(b *sqldb.Batch, t *tenant.Tenant, c id.Customer, s id.Session) func() grant.Presence {
			alive := w.Sessions.QueueAlive(b, t, c, s)
			return func() grant.Presence {
				holder := alive.Holder()
				p := grant.Presence{Allowed: holder.Allowed, Epoch: holder.Epoch, Live: alive.Live(), Touch: alive.Touch}
				if alive.Session != nil {
					p.Found, p.Session, p.Until = true, alive.Session.Epoch, alive.Session.AbsoluteUntil
				}
				return p
			}
		}})
	w.Sessions.Ended = func(tx *sqldb.Tx, e session.Ended) error {
		return g.EndWithSessions(tx, grant.Ending{Tenant: e.Tenant, Customer: e.Customer, Sessions: e.Sessions,
			KeepOffline: e.Reason == session.SignedOut || e.Reason == session.Replaced, Everywhere: e.Everywhere, Except: e.Except, Actor: e.Actor})
	}
	return world{w, g}
}

var app, otherApp = id.New[id.Application](time.UnixMilli(1), rand.Reader), id.New[id.Application](time.UnixMilli(2), rand.Reader)

var online, offline = []string{"openid", "email"}, []string{"openid", "email", grant.OfflineAccess}

const (
	refreshIdle     = 2 * time.Hour
	refreshAbsolute = 300 * 24 * time.Hour
)

// code is what an authorization code would hold.
func (w world) code(who id.Customer, in id.Session, scopes []string) grant.Redemption {
	return grant.Redemption{
		Ref:        grant.Ref{Customer: who, Application: app, Session: in, Lineage: id.New[id.Lineage](w.Clock.Now(), rand.Reader)},
		FirstParty: true, Scopes: scopes, Expires: w.Clock.Now().Add(time.Minute), Context: `{"auth_time":1}`, Refresh: true, Idle: refreshIdle, Absolute: refreshAbsolute,
	}
}

func (w world) redeem(t testing.TB, code grant.Redemption) grant.Redeemed {
	t.Helper()
	got, err := w.Redeem(t.Context(), w.Tenant, code)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// begin signs a customer in and redeems a code.
func (w world) begin(t testing.TB, scopes []string, stay bool) (grant.Redemption, string) {
	t.Helper()
	who, _ := w.NewCustomer(t)
	x, _ := w.SignIn(t, who, stay)
	code := w.code(who, x.ID, scopes)
	got := w.redeem(t, code)
	if got.Outcome != grant.Began || got.Refresh == "" || got.Grant == "" {
		t.Fatalf("redeemed %+v", got)
	}
	return code, got.Refresh
}

func present(token string) grant.Presented {
	return grant.Presented{Application: app, FirstParty: true, Token: token, Allowed: offline, Idle: refreshIdle, Absolute: refreshAbsolute}
}

func (w world) rotate(t testing.TB, token string) grant.Refreshed {
	t.Helper()
	got, err := w.Rotate(t.Context(), w.Tenant, present(token))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// want rotates a token, checks the outcome and returns the successor.
func (w world) want(t testing.TB, token string, outcome grant.Outcome, why string) string {
	t.Helper()
	got := w.rotate(t, token)
	if got.Outcome != outcome {
		t.Fatalf("%s: %s, not %s", why, got.Outcome, outcome)
	}
	return got.Refresh
}

func (w world) active(t testing.TB, r grant.Ref) bool {
	t.Helper()
	got, err := w.Alive(t.Context(), w.Tenant, r)
	if err != nil {
		t.Fatal(err)
	}
	return got.Active
}

func (w world) generation(t testing.TB, r grant.Ref) (n int64) {
	t.Helper()
	if err := w.DB.QueryRow(t.Context(), `SELECT generation FROM lineage WHERE lineage = $1`, r.Lineage).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (w world) setStatus(t testing.TB, who id.Customer, status customer.Status) {
	t.Helper()
	if err := w.Directory.SetStatus(context.Background(), w.Tenant.ID, who, status, "test", "system"); err != nil {
		t.Fatal(err)
	}
}
