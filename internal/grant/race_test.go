package grant_test

import (
	"flag"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const parallel = 64

// race runs fn at once for each of 64, spread over the nodes.
func race[R any](t *testing.T, nodes []world, fn func(w world) (R, error)) []R {
	t.Helper()
	results, faults := make([]R, parallel), make([]error, parallel)
	start := make(chan struct{})
	var wait sync.WaitGroup
	for i := range parallel {
		wait.Go(func() {
			<-start
			results[i], faults[i] = fn(nodes[i%len(nodes)])
		})
	}
	close(start)
	wait.Wait()
	for _, err := range faults {
		if err != nil {
			t.Fatal(err)
		}
	}
	return results
}

// nodes are two of them where the engine takes two.
func nodes(t *testing.T, w world) []world {
	if w.DB.Engine() == sqldb.SQLite {
		return []world{w}
	}
	return []world{w, w.second(t)}
}

func TestRaceForACode(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		all := nodes(t, w)
		for range 5 {
			who, _ := w.NewCustomer(t)
			x, _ := w.SignIn(t, who, false)
			code := w.code(who, x.ID, online)
			began := 0
			for _, got := range race(t, all, func(w world) (grant.Redeemed, error) { return w.Redeem(t.Context(), w.Tenant, code) }) {
				switch got.Outcome {
				case grant.Began:
					began++
				case grant.Replayed:
				default:
					t.Errorf("%+v", got)
				}
			}
			if began != 1 {
				t.Errorf("redeemed %d times", began)
			}
			if w.active(t, code.Ref) {
				t.Error("the replays have not ended the lineage")
			}
		}
		if n := w.Events(t, "lineage.revoked"); n != 5 {
			t.Errorf("%d events for 5 lineages", n)
		}
	})
}

// Many codes of one customer at once, and of one application: each is redeemed,
// under one grant.
func TestRaceForAGrant(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		all := nodes(t, w)
		who, _ := w.NewCustomer(t)
		x, _ := w.SignIn(t, who, false)
		grants := map[string]bool{}
		for _, got := range race(t, all, func(w world) (grant.Redeemed, error) {
			return w.Redeem(t.Context(), w.Tenant, w.code(who, x.ID, online))
		}) {
			if got.Outcome != grant.Began {
				t.Errorf("%+v", got)
			}
			grants[string(got.Grant)] = true
		}
		if n := w.Events(t, "grant.allowed"); len(grants) != 1 || n != 1 {
			t.Errorf("%d grants, %d events", len(grants), n)
		}
	})
}

func TestRaceForARefresh(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		all := nodes(t, w)
		code, token := w.begin(t, online, false)
		first := token
		for round := range 5 {
			rotated, presented := 0, token
			for _, got := range race(t, all, func(w world) (grant.Refreshed, error) { return w.Rotate(t.Context(), w.Tenant, present(presented)) }) {
				switch got.Outcome {
				case grant.Rotated:
					rotated++
				case grant.Repeated:
				default:
					t.Errorf("%+v", got)
				}
				if got.Generation != int64(round)+2 {
					t.Errorf("answered with generation %d", got.Generation)
				}
				token = got.Refresh
			}
			if g := w.generation(t, code.Ref); rotated != 1 || g != int64(round)+2 {
				t.Errorf("advanced %d times, to generation %d", rotated, g)
			}
		}
		reused := 0
		for _, got := range race(t, all, func(w world) (grant.Refreshed, error) { return w.Rotate(t.Context(), w.Tenant, present(first)) }) {
			if got.Outcome == grant.Reused {
				reused++
			}
		}
		if w.active(t, code.Ref) || reused == 0 {
			t.Errorf("the lineage survives reuse, found %d times", reused)
		}
		if n := w.Events(t, "lineage.revoked"); n != 1 {
			t.Errorf("%d events", n)
		}
		w.want(t, token, grant.Refused, "the present token, after the reuse")
	})
}

// Sign-out against refreshes: whoever comes last, the lineage ends dead.
func TestRaceOfSignOutAndRefresh(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		all := nodes(t, w)
		code, token := w.begin(t, online, false)
		w.Clock.Advance(10 * time.Minute) // so that refreshes touch the session as well
		var once sync.Once
		race(t, all, func(n world) (string, error) {
			var err error
			once.Do(func() {
				err = n.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
					_, err := n.Sessions.EndAll(tx, n.Tenant.ID, code.Customer, "", session.SignedOut, "system")
					return err
				})
			})
			if err != nil {
				return "", err
			}
			_, err = n.Rotate(t.Context(), n.Tenant, present(token))
			return "", err
		})
		if w.active(t, code.Ref) {
			t.Error("alive after the sign-out")
		}
		w.want(t, token, grant.Refused, "after the sign-out")
	})
}

// Rotation against a model, over random interleavings of refreshes with any
// token ever given, time passing, and the ways to end a lineage.
func TestRotationModel(t *testing.T) {
	if err := flag.Set("rapid.nofailfile", "true"); err != nil { // it shows how to repeat itself; tokens stay out of the tree
		t.Fatal(err)
	}
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			w := newWorld(t, engine)
			all := nodes(t, w)
			rapid.Check(t, func(r *rapid.T) {
				code, token := w.begin(t, online, true)
				tokens := map[int64][]string{1: {token}} // spellings by generation
				generation, rotated, used, dead := int64(1), w.Clock.Now(), w.Clock.Now(), false
				rotate := func(r *rapid.T) {
					presented := rapid.Int64Range(max(1, generation-3), generation).Draw(r, "generation")
					spelling := rapid.SampledFrom(tokens[presented]).Draw(r, "spelling")
					node := all[rapid.IntRange(0, len(all)-1).Draw(r, "node")]
					now := w.Clock.Now()
					idle := now.Sub(used) >= refreshIdle
					want := grant.Rotated
					switch {
					case dead:
						want = grant.Refused
					case presented == generation && idle:
						want = grant.Refused
					case presented == generation:
					case presented == generation-1 && now.Sub(rotated) <= grant.Grace && !idle:
						want = grant.Repeated
					default:
						want = grant.Reused
					}
					got, err := node.Rotate(t.Context(), node.Tenant, present(spelling))
					if err != nil || got.Outcome != want {
						r.Fatalf("generation %d of %d, %s after: %s, not %s (%v)", presented, generation, now.Sub(rotated), got.Outcome, want, err)
					}
					switch want {
					case grant.Rotated:
						generation, rotated, used = generation+1, now, now
						fallthrough
					case grant.Repeated:
						if got.Generation != presented+1 {
							r.Fatalf("answered with generation %d", got.Generation)
						}
						tokens[got.Generation] = append(tokens[got.Generation], got.Refresh)
					case grant.Reused:
						dead = true
					}
				}
				r.Repeat(map[string]func(*rapid.T){
					"rotate":       rotate,
					"rotate again": rotate,
					"wait": func(r *rapid.T) {
						w.Clock.Advance(time.Duration(rapid.SampledFrom([]int{1, 9, 10, 11, 600, 7200}).Draw(r, "seconds")) * time.Second)
					},
					"replay the code": func(r *rapid.T) {
						if rapid.IntRange(0, 9).Draw(r, "rarely") > 0 {
							return
						}
						if got := w.redeem(t, code); got.Outcome != grant.Replayed {
							r.Fatalf("the code: %+v", got)
						}
						dead = true
					},
					"": func(r *rapid.T) {
						if got := w.active(t, code.Ref); got == dead {
							r.Fatalf("alive: %v", got)
						}
						if g := w.generation(t, code.Ref); g != generation {
							r.Fatalf("generation %d, not %d", g, generation)
						}
					},
				})
			})
		})
	}
}

// between has fn happen after a use case has read, and before it writes.
func (w world) between(fn func()) world {
	options := w.Grants.Options
	read := options.Presence
	once := sync.OnceFunc(fn)
	options.Presence = func(b *sqldb.Batch, t *tenant.Tenant, c id.Customer, s id.Session) func() grant.Presence {
		presence := read(b, t, c, s)
		return func() grant.Presence {
			p := presence()
			once()
			return p
		}
	}
	return world{w.World, grant.New(options)}
}

// What happens between reading and writing is not overlooked.
func TestChangedBetweenReadAndWrite(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		endAll := func(who id.Customer) func() {
			return func() {
				w.Write(t, func(tx *sqldb.Tx) error {
					_, err := w.Sessions.EndAll(tx, w.Tenant.ID, who, "", session.SignedOut, "system")
					return err
				})
			}
		}
		for _, scopes := range [][]string{online, offline} {
			code, token := w.begin(t, scopes, false)
			got, err := w.between(endAll(code.Customer)).Rotate(t.Context(), w.Tenant, present(token))
			if err != nil || got.Outcome != grant.Refused || w.active(t, code.Ref) {
				t.Errorf("%v: refreshed while signing out: %s, %v", scopes, got.Outcome, err)
			}

			who, _ := w.NewCustomer(t)
			x, _ := w.SignIn(t, who, false)
			code = w.code(who, x.ID, scopes)
			if _, err := w.between(endAll(who)).Redeem(t.Context(), w.Tenant, code); err != nil || w.active(t, code.Ref) {
				t.Errorf("%v: redeemed while signing out, and alive: %v", scopes, err)
			}

			who, _ = w.NewCustomer(t)
			x, _ = w.SignIn(t, who, false)
			w.redeem(t, w.code(who, x.ID, scopes))
			code = w.code(who, x.ID, scopes)
			again := func() {
				w.Write(t, func(tx *sqldb.Tx) error {
					if _, err := w.Revoke(tx, w.Tenant.ID, who, app, grant.Revoked, "system"); err != nil {
						return err
					}
					_, err := w.Allow(tx, grant.Allowance{Tenant: w.Tenant.ID, Customer: who, Application: app, FirstParty: true, Scopes: scopes})
					return err
				})
			}
			if _, err := w.between(again).Redeem(t.Context(), w.Tenant, code); err != nil || w.active(t, code.Ref) {
				t.Errorf("%v: redeemed while the grant was revoked and allowed again, and alive: %v", scopes, err)
			}
		}
		who, _ := w.NewCustomer(t)
		x, _ := w.SignIn(t, who, false)
		code := w.code(who, x.ID, online)
		if got, err := w.between(func() { w.redeem(t, code) }).Redeem(t.Context(), w.Tenant, code); err != nil || got.Outcome != grant.Replayed || w.active(t, code.Ref) {
			t.Errorf("redeemed in between: %+v, %v", got, err)
		}
		code, token := w.begin(t, online, false)
		if got, err := w.between(func() { w.want(t, token, grant.Rotated, "in between") }).Rotate(t.Context(), w.Tenant, present(token)); err != nil || got.Outcome != grant.Repeated || w.generation(t, code.Ref) != 2 {
			t.Errorf("refreshed in between: %+v, %v", got, err)
		}
	})
}

// A code that is replayed ends its lineage also when it could not be redeemed
// any more, as after a sign-out that spared the lineage.
func TestReplayAfterSignOut(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		code, _ := w.begin(t, offline, false)
		w.Write(t, func(tx *sqldb.Tx) error {
			_, err := w.Sessions.End(tx, w.Tenant.ID, code.Customer, code.Session, session.SignedOut, "system")
			return err
		})
		if !w.active(t, code.Ref) {
			t.Fatal("the sign-out has ended the lineage")
		}
		if got := w.redeem(t, code); got.Outcome != grant.Replayed || w.active(t, code.Ref) {
			t.Errorf("replayed: %+v", got)
		}
	})
}

// Where two clocks disagree on whether a token is within its grace, nothing is
// answered that was not looked at.
func TestClocksDisagree(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	code, first := w.begin(t, online, false)
	second := w.want(t, first, grant.Rotated, "first")
	options := w.Grants.Options
	options.Clock = clock.NewFake(w.Clock.Now().Add(grant.Grace + time.Second))
	if got, err := grant.New(options).Rotate(t.Context(), w.Tenant, present(first)); err != nil || got.Outcome != grant.Refused {
		t.Errorf("%+v, %v", got, err)
	}
	if !w.active(t, code.Ref) {
		t.Error("the lineage is ended")
	}
	w.want(t, second, grant.Rotated, "second")
}
