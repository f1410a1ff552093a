package grant_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func TestRedeemOnce(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		code, token := w.begin(t, online, false)
		if !w.active(t, code.Ref) {
			t.Fatal("the lineage is not alive")
		}
		if got := w.redeem(t, code); got.Outcome != grant.Replayed || got.Refresh != "" {
			t.Fatalf("redeemed twice: %+v", got)
		}
		if w.active(t, code.Ref) {
			t.Error("the lineage survives that its code was replayed") // SECURITY B3
		}
		w.want(t, token, grant.Refused, "the refresh token of a replayed code")
		if got := w.redeem(t, code); got.Outcome != grant.Replayed {
			t.Errorf("redeemed a third time: %+v", got)
		}
		if a, b := w.Events(t, "lineage.started"), w.Events(t, "lineage.revoked"); a != 1 || b != 1 {
			t.Errorf("%d and %d events", a, b)
		}
	})
}

func TestRedeemRefused(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who, _ := w.NewCustomer(t)
		x, _ := w.SignIn(t, who, false)
		other, _ := w.NewCustomer(t)
		refused := func(code grant.Redemption, why string) {
			t.Helper()
			if got := w.redeem(t, code); got.Outcome != grant.Refused || got.Refresh != "" {
				t.Errorf("%s: %+v", why, got)
			}
			if w.active(t, code.Ref) {
				t.Errorf("%s: a lineage has begun", why)
			}
		}
		refused(w.code(other, x.ID, online), "another customer's session")
		refused(w.code(who, id.New[id.Session](w.Clock.Now(), rand.Reader), online), "no such session")
		third := w.code(who, x.ID, online)
		third.FirstParty = false
		refused(third, "a third party without a grant")
		w.Write(t, func(tx *sqldb.Tx) error {
			_, err := w.Allow(tx, grant.Allowance{Tenant: w.Tenant.ID, Customer: who, Application: app, Scopes: []string{"openid"}})
			return err
		})
		refused(third, "a third party with a narrower grant")
		w.Write(t, func(tx *sqldb.Tx) error {
			_, err := w.Allow(tx, grant.Allowance{Tenant: w.Tenant.ID, Customer: who, Application: app, Scopes: []string{"email"}})
			return err
		})
		if got := w.redeem(t, third); got.Outcome != grant.Began {
			t.Errorf("a third party with its grant: %+v", got)
		}
		locked := w.code(who, x.ID, online)
		w.setStatus(t, who, customer.Locked)
		refused(locked, "a locked customer")
		ended, _ := w.SignIn(t, other, false)
		w.Write(t, func(tx *sqldb.Tx) error {
			_, err := w.Sessions.End(tx, w.Tenant.ID, other, ended.ID, session.SignedOut, "system")
			return err
		})
		refused(w.code(other, ended.ID, offline), "a session that was ended")
	})
}

func TestRotation(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		code, first := w.begin(t, online, true)
		second := w.want(t, first, grant.Rotated, "first")
		w.Clock.Advance(grant.Grace)
		lost := w.want(t, first, grant.Repeated, "the one before, within the grace") // DESIGN rule 5
		if g := w.generation(t, code.Ref); g != 2 {
			t.Errorf("repeating advanced to generation %d", g)
		}
		third := w.want(t, lost, grant.Rotated, "the successor, as it was given the second time")
		w.want(t, second, grant.Repeated, "the successor, as it was given the first time")
		w.Clock.Advance(time.Hour)
		w.want(t, third, grant.Rotated, "third")
		w.want(t, first, grant.Reused, "two generations old") // SECURITY D1
		w.want(t, third, grant.Refused, "after the reuse")
		if w.active(t, code.Ref) {
			t.Error("the lineage survives reuse")
		}
		if n := w.Events(t, "lineage.revoked"); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

func TestReuseAfterGrace(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		code, first := w.begin(t, online, true)
		second := w.want(t, first, grant.Rotated, "first")
		w.Clock.Advance(grant.Grace + time.Microsecond)
		w.want(t, first, grant.Reused, "the one before, after the grace")
		w.want(t, second, grant.Refused, "the present one, after the reuse")
		if w.active(t, code.Ref) {
			t.Error("the lineage survives reuse")
		}
	})
}

func TestForeignTokens(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	code, token := w.begin(t, offline, false)
	for name, forged := range map[string]string{"empty": "", "cut": token[:len(token)-1], "longer": token + "A", "noise": "AAAA"} {
		w.want(t, forged, grant.Refused, name)
	}
	p := present(token)
	p.Application = otherApp
	if got, err := w.Rotate(t.Context(), w.Tenant, p); err != nil || got.Outcome != grant.Refused { // SECURITY B1
		t.Errorf("another application's: %+v, %v", got, err)
	}
	if got, err := w.Rotate(t.Context(), w.Other, present(token)); err != nil || got.Outcome != grant.Refused {
		t.Errorf("at another tenant: %+v, %v", got, err)
	}
	if ended, err := w.RevokeRefresh(t.Context(), w.Tenant.ID, otherApp, token); err != nil || ended {
		t.Errorf("revoked by another application: %v, %v", ended, err)
	}
	p = present(token)
	p.Requested = []string{"openid", "phone"}
	if got, err := w.Rotate(t.Context(), w.Tenant, p); err != nil || got.Outcome != grant.Exceeded {
		t.Errorf("more scopes than it has: %+v, %v", got, err)
	}
	if !w.active(t, code.Ref) {
		t.Fatal("what is refused has ended the lineage")
	}
	suspended := *w.Tenant
	suspended.Suspended = true
	if got, err := w.Rotate(t.Context(), &suspended, present(token)); err != nil || got.Outcome != grant.Refused {
		t.Errorf("at a suspended tenant: %+v, %v", got, err)
	}
	if got, err := w.Alive(t.Context(), &suspended, code.Ref); err != nil || got.Active {
		t.Errorf("alive at a suspended tenant: %+v, %v", got, err)
	}
	for _, wrong := range []func(*grant.Ref){
		func(r *grant.Ref) { r.Application = otherApp },
		func(r *grant.Ref) { r.Session = id.New[id.Session](w.Clock.Now(), rand.Reader) },
		func(r *grant.Ref) { r.Customer = id.New[id.Customer](w.Clock.Now(), rand.Reader) },
		func(r *grant.Ref) { r.Lineage = id.New[id.Lineage](w.Clock.Now(), rand.Reader) },
	} {
		ref := code.Ref
		if wrong(&ref); w.active(t, ref) {
			t.Errorf("alive: %+v", ref)
		}
	}
	next := w.want(t, token, grant.Rotated, "after all that")
	if ended, err := w.RevokeRefresh(t.Context(), w.Tenant.ID, app, token); err != nil || !ended {
		t.Errorf("revoked by the old token: %v, %v", ended, err)
	}
	w.want(t, next, grant.Refused, "after the revocation")
}

func TestScopes(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	_, token := w.begin(t, offline, false)
	got := w.rotate(t, token)
	if len(got.Scopes) != 3 || !got.Offline || got.Context != `{"auth_time":1}` || got.Generation != 2 {
		t.Errorf("refreshed %+v", got)
	}
	p := present(got.Refresh)
	p.Allowed = []string{"openid", grant.OfflineAccess}
	narrow, err := w.Rotate(t.Context(), w.Tenant, p)
	if err != nil || narrow.Outcome != grant.Rotated || len(narrow.Scopes) != 2 {
		t.Errorf("after the application lost a scope: %+v, %v", narrow, err)
	}
	p = present(narrow.Refresh)
	p.Allowed = online
	if got, err := w.Rotate(t.Context(), w.Tenant, p); err != nil || got.Outcome != grant.Refused { // SECURITY D5
		t.Errorf("after the application lost offline_access: %+v, %v", got, err)
	}
	p = present(narrow.Refresh)
	w.Clock.Advance(time.Hour)
	p.Idle = time.Hour
	if got, err := w.Rotate(t.Context(), w.Tenant, p); err != nil || got.Outcome != grant.Refused {
		t.Errorf("after the idle time was shortened: %+v, %v", got, err)
	}
	w.Clock.Advance(time.Hour)
	w.want(t, narrow.Refresh, grant.Refused, "idle for too long")
}

// Every way to lose what a token stands on, on every door (SECURITY D3, E4).
func TestMatrix(t *testing.T) {
	type fate struct{ online, offline bool }
	dead, spared, untouched := fate{}, fate{offline: true}, fate{true, true}
	end := func(reason session.Reason) func(testing.TB, world, grant.Ref) {
		return func(t testing.TB, w world, r grant.Ref) {
			w.Write(t, func(tx *sqldb.Tx) error {
				_, err := w.Sessions.End(tx, w.Tenant.ID, r.Customer, r.Session, reason, "system")
				return err
			})
		}
	}
	endAll := func(except func(grant.Ref) id.Session) func(testing.TB, world, grant.Ref) {
		return func(t testing.TB, w world, r grant.Ref) {
			w.Write(t, func(tx *sqldb.Tx) error {
				_, err := w.Sessions.EndAll(tx, w.Tenant.ID, r.Customer, except(r), session.SignedOut, "system")
				return err
			})
		}
	}
	cases := []struct {
		name string
		do   func(testing.TB, world, grant.Ref)
		want fate
	}{
		{"nothing", func(testing.TB, world, grant.Ref) {}, untouched},
		{"locked", func(t testing.TB, w world, r grant.Ref) { w.setStatus(t, r.Customer, customer.Locked) }, dead},
		{"suspended", func(t testing.TB, w world, r grant.Ref) { w.setStatus(t, r.Customer, customer.Suspended) }, dead},
		{"locked and opened again", func(t testing.TB, w world, r grant.Ref) {
			w.setStatus(t, r.Customer, customer.Locked)
			w.setStatus(t, r.Customer, customer.Active)
		}, dead},
		{"erased", func(t testing.TB, w world, r grant.Ref) {
			w.Directory.Erasers = append(w.Directory.Erasers, w.EraseCustomer, w.Sessions.EraseCustomer)
			if err := w.Directory.Erase(t.Context(), w.Tenant.ID, r.Customer, "system"); err != nil {
				t.Fatal(err)
			}
			var rows int
			if err := w.DB.QueryRow(t.Context(), `SELECT COUNT(*) FROM lineage WHERE customer = $1`, r.Customer).Scan(&rows); err != nil || rows != 0 {
				t.Errorf("%d lineages are left, %v", rows, err)
			}
		}, dead},
		{"epoch raised", func(t testing.TB, w world, r grant.Ref) { w.RaiseEpoch(t, r.Customer) }, dead},
		{"epoch raised after the session was swept", func(t testing.TB, w world, r grant.Ref) {
			w.Clock.Advance(24 * time.Hour)
			if _, err := w.Sessions.Sweep(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
			w.RaiseEpoch(t, r.Customer)
		}, dead},
		{"signed out in the browser", end(session.SignedOut), spared},
		{"session revoked from elsewhere", end(session.Revoked), dead},
		{"session ended by a lock", end(session.Secured), dead},
		{"signed out everywhere", endAll(func(grant.Ref) id.Session { return "" }), dead},
		{"signed out everywhere else", endAll(func(r grant.Ref) id.Session { return r.Session }), untouched},
		{"signed out everywhere after the session was swept", func(t testing.TB, w world, r grant.Ref) {
			w.Clock.Advance(24 * time.Hour)
			if _, err := w.Sessions.Sweep(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
			endAll(func(grant.Ref) id.Session { return "" })(t, w, r)
		}, dead},
		{"session ran out", func(_ testing.TB, w world, _ grant.Ref) { w.Clock.Advance(time.Hour) }, spared},
		{"session swept", func(t testing.TB, w world, _ grant.Ref) {
			w.Clock.Advance(24 * time.Hour)
			if _, err := w.Sessions.Sweep(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}, spared},
		{"grant revoked", func(t testing.TB, w world, r grant.Ref) {
			w.Write(t, func(tx *sqldb.Tx) error {
				_, err := w.Revoke(tx, w.Tenant.ID, r.Customer, app, grant.Revoked, "system")
				return err
			})
		}, dead},
		{"grant revoked and allowed again", func(t testing.TB, w world, r grant.Ref) {
			w.Write(t, func(tx *sqldb.Tx) error {
				if _, err := w.Revoke(tx, w.Tenant.ID, r.Customer, app, grant.Revoked, "system"); err != nil {
					return err
				}
				_, err := w.Allow(tx, grant.Allowance{Tenant: w.Tenant.ID, Customer: r.Customer, Application: app, FirstParty: true, Scopes: offline})
				return err
			})
		}, dead},
		{"lineage ended", func(t testing.TB, w world, r grant.Ref) {
			w.Write(t, func(tx *sqldb.Tx) error {
				_, err := w.End(tx, w.Tenant.ID, r.Customer, r.Lineage, grant.Revoked, "system")
				return err
			})
		}, dead},
	}
	each(t, func(t *testing.T, w world) {
		for _, c := range cases {
			for _, scopes := range [][]string{online, offline} {
				name, want := "online", c.want.online
				if len(scopes) == len(offline) {
					name, want = "offline", c.want.offline
				}
				t.Run(c.name+"/"+name, func(t *testing.T) {
					who, _ := w.NewCustomer(t)
					x, _ := w.SignIn(t, who, false)
					code := w.code(who, x.ID, scopes)
					code.Idle = refreshAbsolute
					token := w.redeem(t, code).Refresh
					c.do(t, w, code.Ref)
					if got := w.active(t, code.Ref); got != want {
						t.Errorf("alive: %v", got)
					}
					p := present(token)
					p.Idle = refreshAbsolute
					got, err := w.Rotate(t.Context(), w.Tenant, p)
					if err != nil || (got.Outcome == grant.Rotated) != want {
						t.Errorf("refresh: %s, %v", got.Outcome, err)
					}
				})
			}
		}
	})
}

// A new password in this session carries its lineages over; what was refreshed
// since then outlives the session too.
func TestRenewedSessionKeepsItsLineages(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who, _ := w.NewCustomer(t)
		x, cookie := w.SignIn(t, who, false)
		refreshed, idle := w.code(who, x.ID, offline), w.code(who, x.ID, offline)
		refreshed.Idle, idle.Idle = refreshAbsolute, refreshAbsolute
		token, left := w.redeem(t, refreshed).Refresh, w.redeem(t, idle).Refresh
		read, err := w.Sessions.Read(t.Context(), w.Tenant, cookie)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(t, func(tx *sqldb.Tx) error {
			epoch, err := w.Directory.RaiseEpoch(tx, w.Tenant.ID, who)
			if err != nil {
				return err
			}
			_, _, err = w.Sessions.Renew(tx, w.Tenant, read, session.Renewal{Epoch: epoch, Reauthenticated: true, Methods: []string{"pwd"}})
			return err
		})
		p := present(token)
		p.Idle = refreshAbsolute
		got, err := w.Rotate(t.Context(), w.Tenant, p)
		if err != nil || got.Outcome != grant.Rotated {
			t.Fatalf("after the renewal: %s, %v", got.Outcome, err)
		}
		w.Clock.Advance(24 * time.Hour)
		if !w.active(t, idle.Ref) {
			t.Error("dead while the renewed session's row is there")
		}
		if _, err := w.Sessions.Sweep(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		p.Token = got.Refresh
		if got, err = w.Rotate(t.Context(), w.Tenant, p); err != nil || got.Outcome != grant.Rotated {
			t.Errorf("after the session was swept: %s, %v", got.Outcome, err)
		}
		p.Token = left
		if got, err = w.Rotate(t.Context(), w.Tenant, p); err != nil || got.Outcome != grant.Refused {
			t.Errorf("one that was not refreshed since the new password: %s, %v", got.Outcome, err)
		}
	})
}

// Refreshing without offline_access counts as presence; with it, it does not.
func TestRefreshTouchesTheSession(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		for _, c := range []struct {
			scopes []string
			want   bool
		}{{online, true}, {offline, false}} {
			code, token := w.begin(t, c.scopes, false)
			for range 4 {
				w.Clock.Advance(25 * time.Minute)
				token = w.want(t, token, grant.Rotated, "every 25 minutes")
			}
			batch := w.DB.Batch()
			alive := w.Sessions.QueueAlive(batch, w.Tenant, code.Customer, code.Session)
			if err := batch.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := alive.Live(); got != c.want {
				t.Errorf("%v: the session is live: %v", c.scopes, got)
			}
		}
	})
}

func TestAllowFindListRevoke(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who, _ := w.NewCustomer(t)
		allow := func(application id.Application, firstParty bool, scopes, claims []string) (made id.Grant) {
			w.Write(t, func(tx *sqldb.Tx) (err error) {
				made, err = w.Allow(tx, grant.Allowance{Tenant: w.Tenant.ID, Customer: who, Application: application, FirstParty: firstParty, Scopes: scopes, Claims: claims})
				return err
			})
			return made
		}
		first := allow(app, false, []string{"openid"}, []string{"email"})
		if again := allow(app, false, []string{"openid"}, nil); again != first {
			t.Error("allowing the same again makes another grant")
		}
		if n := w.Events(t, "grant.allowed"); n != 1 {
			t.Errorf("%d events for one change", n)
		}
		allow(app, false, []string{"phone"}, []string{"phone_number"})
		found, ok, err := w.Find(t.Context(), w.Tenant.ID, who, app)
		if err != nil || !ok || found.ID != first || !found.Covers([]string{"openid", "phone"}, []string{"email", "phone_number"}) || found.Covers([]string{"address"}, nil) || found.Covers(nil, []string{"name"}) {
			t.Errorf("found %+v, %v, %v", found, ok, err)
		}
		allow(otherApp, true, []string{"openid", "email"}, nil)
		if own, _, _ := w.Find(t.Context(), w.Tenant.ID, who, otherApp); own.Covers([]string{"openid"}, nil) {
			t.Error("what was never asked covers a third party")
		}
		allow(otherApp, false, []string{"openid"}, nil)
		if own, _, _ := w.Find(t.Context(), w.Tenant.ID, who, otherApp); own.Covers([]string{"email"}, nil) || !own.Covers([]string{"openid"}, nil) {
			t.Error("asking does not begin anew")
		}
		x, _ := w.SignIn(t, who, false)
		w.Clock.Advance(time.Minute)
		w.redeem(t, w.code(who, x.ID, []string{"openid"}))
		list, err := w.List(t.Context(), w.Tenant.ID, who, "", 10)
		if err != nil || len(list) != 2 || list[0].Application != app || !list[0].UsedAt.Equal(w.Clock.Now()) || list[1].UsedAt.Equal(w.Clock.Now()) {
			t.Errorf("listed %+v, %v", list, err)
		}
		if page, err := w.List(t.Context(), w.Tenant.ID, who, app, 10); err != nil || len(page) != 1 || page[0].Application != otherApp {
			t.Errorf("the second page is %+v, %v", page, err)
		}
		for i, want := range []bool{true, false} {
			var revoked bool
			w.Write(t, func(tx *sqldb.Tx) (err error) {
				revoked, err = w.Revoke(tx, w.Tenant.ID, who, app, grant.Revoked, string(who))
				return err
			})
			if revoked != want {
				t.Errorf("revocation %d: %v", i, revoked)
			}
		}
		if _, ok, _ := w.Find(t.Context(), w.Tenant.ID, who, app); ok {
			t.Error("the grant is still there")
		}
		w.Write(t, func(tx *sqldb.Tx) error {
			revoked, err := w.Revoke(tx, w.Tenant.ID, who, "\x00", grant.Revoked, string(who))
			if revoked {
				t.Error("nonsense was revoked")
			}
			return err
		})
	})
}

func TestCodes(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		expires := w.Clock.Now().Add(time.Minute)
		rows := func() (n int) {
			if err := w.DB.QueryRow(t.Context(), `SELECT COUNT(*) FROM oauth_code`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for size, wantRows := range map[int]int{10: 0, 600: 0, 900: 1, 20000: 1} {
			plain := make([]byte, size)
			_, _ = rand.Read(plain)
			before := rows()
			code, err := w.SealCode(t.Context(), w.Tenant.ID, plain, expires)
			if err != nil {
				t.Fatal(err)
			}
			if got := rows() - before; got != wantRows || len(code) > 1024 {
				t.Errorf("%d bytes: %d rows, a code of %d", size, got, len(code))
			}
			got, ok, err := w.OpenCode(t.Context(), w.Tenant.ID, code)
			if err != nil || !ok || string(got) != string(plain) {
				t.Errorf("%d bytes: opened %v, %v", size, ok, err)
			}
			for _, wrong := range []string{code + "A", code[:len(code)-1], code[1:], "r." + code, ""} {
				if _, ok, err := w.OpenCode(t.Context(), w.Tenant.ID, wrong); ok || err != nil {
					t.Errorf("%d bytes: %q opens: %v", size, wrong, err)
				}
			}
			if _, ok, _ := w.OpenCode(t.Context(), w.Other.ID, code); ok {
				t.Errorf("%d bytes: opens at another tenant", size)
			}
		}
		_, token := w.begin(t, online, false)
		if _, ok, _ := w.OpenCode(t.Context(), w.Tenant.ID, token); ok { // SECURITY B5
			t.Error("a refresh token opens as a code")
		}
		w.Clock.Advance(2*time.Hour + time.Minute)
		if n, err := w.Sweep(t.Context(), 1); err != nil || n != 1 {
			t.Errorf("swept %d, %v", n, err)
		}
		if n, err := w.Sweep(t.Context(), 100); err != nil || n != 1 || rows() != 0 {
			t.Errorf("swept %d, %v, %d left", n, err, rows())
		}
	})
}

func TestTokenMarkers(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		revoked := func(tenant id.Tenant, jti string) bool {
			got, err := w.Revoked(t.Context(), tenant, jti)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		for range 2 {
			if err := w.RevokeToken(t.Context(), w.Tenant.ID, app, "jti-1", w.Clock.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if !revoked(w.Tenant.ID, "jti-1") || revoked(w.Tenant.ID, "jti-2") || revoked(w.Other.ID, "jti-1") {
			t.Error("the marker marks something else")
		}
		if n := w.Events(t, "token.revoked"); n != 1 {
			t.Errorf("%d events", n)
		}
		w.Clock.Advance(3*time.Hour - time.Microsecond)
		if n, err := w.Sweep(t.Context(), 10); err != nil || n != 0 {
			t.Errorf("swept %d, %v", n, err)
		}
		w.Clock.Advance(time.Microsecond)
		if n, err := w.Sweep(t.Context(), 10); err != nil || n != 1 {
			t.Errorf("swept %d, %v", n, err)
		}
	})
}

// The mark that a code was redeemed outlives every code.
func TestLineageOutlivesItsCode(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who, _ := w.NewCustomer(t)
		x, _ := w.SignIn(t, who, false)
		code := w.code(who, x.ID, online)
		code.Refresh, code.Absolute = false, time.Minute
		if got := w.redeem(t, code); got.Outcome != grant.Began || got.Refresh != "" {
			t.Fatalf("%+v", got)
		}
		w.Clock.Advance(10 * time.Minute) // the longest life of a code
		if _, err := w.Sweep(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		if got := w.redeem(t, code); got.Outcome != grant.Replayed {
			t.Errorf("redeemed again: %+v", got)
		}
	})
}
