package session_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/session/sessiontest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

func live(t *testing.T, w *sessiontest.World, cookie string) *session.Session {
	t.Helper()
	x, err := w.Sessions.Read(t.Context(), w.Tenant, cookie)
	if err != nil {
		t.Fatalf("the session is not live: %v", err)
	}
	return x
}

func dead(t *testing.T, w *sessiontest.World, cookie, why string) {
	t.Helper()
	if _, err := w.Sessions.Read(t.Context(), w.Tenant, cookie); !errors.Is(err, session.ErrNone) {
		t.Errorf("%s: Read returned %v, not ErrNone", why, err)
	}
}

func TestBeginAndRead(t *testing.T) {
	sessiontest.Each(t, nil, func(t *testing.T, w *sessiontest.World) {
		who, _ := w.NewCustomer(t)
		begun, cookie := w.SignIn(t, who, false)
		x := live(t, w, cookie)
		if x.ID != begun.ID || x.Customer != who || x.Device != begun.Device || x.ACR != "1" || len(x.Methods) != 1 || x.Methods[0] != "pwd" ||
			!x.AuthenticatedAt.Equal(w.Clock.Now()) || !x.IdleUntil.Equal(w.Clock.Now().Add(time.Hour)) || !x.AbsoluteUntil.Equal(w.Clock.Now().Add(24*time.Hour)) {
			t.Errorf("read %+v", x)
		}
		if _, err := w.Sessions.Read(t.Context(), w.Other, cookie); !errors.Is(err, session.ErrNone) {
			t.Errorf("the cookie is something at another tenant: %v", err)
		}
		suspended := *w.Tenant
		suspended.Suspended = true
		if _, err := w.Sessions.Read(t.Context(), &suspended, cookie); !errors.Is(err, session.ErrNone) {
			t.Errorf("a suspended tenant's session is live: %v", err)
		}
		if n := w.Events(t, "session.started"); n != 1 {
			t.Errorf("%d events of the start", n)
		}
	})
}

// What strangers send is nobody's session and no fault (SECURITY E5, C5).
func TestForgedCookies(t *testing.T) {
	w := sessiontest.New(t, sqldb.SQLite, nil)
	who, _ := w.NewCustomer(t)
	_, cookie := w.SignIn(t, who, false)
	keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := keys.Open("session", cookie)
	if err != nil {
		t.Fatal(err)
	}
	seal := func(purpose string, plain []byte) string {
		sealed, err := keys.Seal(purpose, plain)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	wrongSecret := append([]byte{}, plain...)
	wrongSecret[len(wrongSecret)-1] ^= 1
	otherCustomer := append([]byte{}, plain...)
	copy(otherCustomer, id.New[id.Customer](w.Clock.Now(), rand.Reader))
	for name, forged := range map[string]string{
		"empty": "", "not base64": "%%%", "16 KB": strings.Repeat("A", 16<<10), "NUL": "a\x00b", "cut": cookie[:len(cookie)-1], "longer": cookie + "A",
		"padded": cookie + "=", "another purpose": seal("device", plain), "wrong secret": seal("session", wrongSecret),
		"another customer's session": seal("session", otherCustomer), "short": seal("session", plain[:91]), "long": seal("session", append(plain, 0)),
		"no ids": seal("session", make([]byte, 92)), "random": base64.RawURLEncoding.EncodeToString(make([]byte, 200)),
	} {
		dead(t, w, forged, name)
	}
	live(t, w, cookie)
}

func TestRunsOut(t *testing.T) {
	sessiontest.Each(t, nil, func(t *testing.T, w *sessiontest.World) {
		who, _ := w.NewCustomer(t)
		_, cookie := w.SignIn(t, who, false)
		_, staying := w.SignIn(t, who, true)
		w.Clock.Advance(time.Hour - time.Second)
		live(t, w, cookie)
		w.Clock.Advance(time.Second)
		dead(t, w, cookie, "idle")
		live(t, w, staying)

		_, cookie = w.SignIn(t, who, false)
		for range 47 {
			w.Clock.Advance(30 * time.Minute)
			if err := w.Sessions.Touch(t.Context(), w.Tenant, live(t, w, cookie)); err != nil {
				t.Fatal(err)
			}
		}
		w.Clock.Advance(30*time.Minute - time.Second)
		live(t, w, cookie)
		w.Clock.Advance(time.Second)
		dead(t, w, cookie, "in all")

		live(t, w, staying)
		w.Clock.Advance(30 * 24 * time.Hour)
		dead(t, w, staying, "idle, staying")
	})
}

// A setting that is taken away holds for what was begun under it (SECURITY D5).
func TestShortenedSettings(t *testing.T) {
	w := sessiontest.New(t, sqldb.SQLite, nil)
	who, _ := w.NewCustomer(t)
	_, staying := w.SignIn(t, who, true)
	_, cookie := w.SignIn(t, who, false)
	w.Clock.Advance(10 * time.Minute)
	changed := *w.Tenant
	read := func(cookie string) error {
		_, err := w.Sessions.Read(t.Context(), &changed, cookie)
		return err
	}
	changed.Settings.Session.Idle = tenant.Duration(9 * time.Minute)
	if err := read(cookie); !errors.Is(err, session.ErrNone) {
		t.Errorf("a shorter idle time does not hold: %v", err)
	}
	if err := read(staying); err != nil {
		t.Errorf("one that stays is not idle for 10 minutes: %v", err)
	}
	changed.Settings.Session.OfferStay = false
	if err := read(staying); !errors.Is(err, session.ErrNone) {
		t.Errorf("one still stays although the tenant offers it no more: %v", err)
	}
	changed.Settings = w.Tenant.Settings
	changed.Settings.Session.Absolute = tenant.Duration(5 * time.Minute)
	if err := read(cookie); !errors.Is(err, session.ErrNone) {
		t.Errorf("a shorter time in all does not hold: %v", err)
	}
	begun, _ := w.SignIn(t, who, true)
	if !begun.Stay {
		t.Error("the session does not stay")
	}
}

func TestTouch(t *testing.T) {
	sessiontest.Each(t, nil, func(t *testing.T, w *sessiontest.World) {
		who, _ := w.NewCustomer(t)
		_, cookie := w.SignIn(t, who, false)
		begun := w.Clock.Now()
		w.Clock.Advance(5*time.Minute - time.Second)
		if err := w.Sessions.Touch(t.Context(), w.Tenant, live(t, w, cookie)); err != nil {
			t.Fatal(err)
		}
		if x := live(t, w, cookie); !x.LastSeenAt.Equal(begun) {
			t.Errorf("recorded after %s", x.LastSeenAt.Sub(begun))
		}
		w.Clock.Advance(time.Second)
		for range 2 {
			if err := w.Sessions.Touch(t.Context(), w.Tenant, live(t, w, cookie)); err != nil {
				t.Fatal(err)
			}
		}
		if x := live(t, w, cookie); !x.LastSeenAt.Equal(w.Clock.Now()) || !x.IdleUntil.Equal(w.Clock.Now().Add(time.Hour)) {
			t.Errorf("seen at %s, idle until %s", x.LastSeenAt, x.IdleUntil)
		}
		stale := live(t, w, cookie)
		w.Clock.Advance(2 * time.Hour)
		if err := w.Sessions.Touch(t.Context(), w.Tenant, stale); err != nil {
			t.Fatal(err)
		}
		dead(t, w, cookie, "touched after it ran out")
		if n := w.Events(t, "session.touched"); n != 0 {
			t.Errorf("%d events", n)
		}
	})
}

func TestRenew(t *testing.T) {
	sessiontest.Each(t, nil, func(t *testing.T, w *sessiontest.World) {
		who, _ := w.NewCustomer(t)
		begun, cookie := w.SignIn(t, who, false)
		_, elsewhere := w.SignIn(t, who, false)
		w.Clock.Advance(30 * time.Minute)
		old := live(t, w, cookie)
		var renewed *session.Session
		var secret session.Secret
		w.Write(t, func(tx *sqldb.Tx) error { // a new password, in this session
			epoch, err := w.Directory.RaiseEpoch(tx, w.Tenant.ID, who)
			if err != nil {
				return err
			}
			renewed, secret, err = w.Sessions.Renew(tx, w.Tenant, old, session.Renewal{Epoch: epoch, Reauthenticated: true, Methods: []string{"pwd", "otp"}, ACR: "2"})
			return err
		})
		fresh, err := w.Sessions.Handle(t.Context(), renewed, secret)
		if err != nil {
			t.Fatal(err)
		}
		dead(t, w, cookie, "the old cookie") // SECURITY E1, item 37
		dead(t, w, elsewhere, "a session from before the new password")
		x := live(t, w, fresh)
		if x.ID != begun.ID || x.ACR != "2" || len(x.Methods) != 2 || !x.AuthenticatedAt.Equal(w.Clock.Now()) || !x.CreatedAt.Equal(begun.CreatedAt) {
			t.Errorf("renewed to %+v", x)
		}
		err = w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, _, err := w.Sessions.Renew(tx, w.Tenant, old, session.Renewal{Epoch: 99})
			return err
		})
		if !errors.Is(err, session.ErrNone) {
			t.Errorf("renewed twice from one cookie: %v", err)
		}
		w.Write(t, func(tx *sqldb.Tx) (err error) {
			renewed, secret, err = w.Sessions.Renew(tx, w.Tenant, x, session.Renewal{})
			return err
		})
		again, err := w.Sessions.Handle(t.Context(), renewed, secret)
		if err != nil {
			t.Fatal(err)
		}
		dead(t, w, fresh, "the cookie before")
		if x := live(t, w, again); x.ACR != "2" || x.Epoch != renewed.Epoch {
			t.Errorf("a plain renewal changed %+v", x)
		}
		if a, b := w.Events(t, "session.reauthenticated"), w.Events(t, "session.renewed"); a != 1 || b != 1 {
			t.Errorf("%d and %d events", a, b)
		}
	})
}

// Every way to shut a customer out kills the session (SECURITY D3, E4).
func TestCustomerShutOut(t *testing.T) {
	sessiontest.Each(t, nil, func(t *testing.T, w *sessiontest.World) {
		for _, c := range []struct {
			name  string
			shut  func(id.Customer) error
			again func(id.Customer) error // the way back, which does not wake the session
		}{
			{"locked", func(who id.Customer) error {
				return w.Directory.SetStatus(t.Context(), w.Tenant.ID, who, customer.Locked, "test", "system")
			}, func(who id.Customer) error {
				return w.Directory.SetStatus(t.Context(), w.Tenant.ID, who, customer.Active, "test", "system")
			}},
			{"suspended", func(who id.Customer) error {
				return w.Directory.SetStatus(t.Context(), w.Tenant.ID, who, customer.Suspended, "test", "system")
			}, nil},
			{"erased", func(who id.Customer) error { return w.Directory.Erase(t.Context(), w.Tenant.ID, who, "system") }, nil},
			{"epoch raised", func(who id.Customer) error { w.RaiseEpoch(t, who); return nil }, nil},
		} {
			who, _ := w.NewCustomer(t)
			_, cookie := w.SignIn(t, who, true)
			live(t, w, cookie)
			if err := c.shut(who); err != nil {
				t.Fatal(err)
			}
			dead(t, w, cookie, c.name)
			if list, _, err := w.Sessions.List(t.Context(), w.Tenant, who, "", 10); err != nil || len(list) != 0 {
				t.Errorf("%s: %d sessions are listed, %v", c.name, len(list), err)
			}
			if c.again != nil {
				if err := c.again(who); err != nil {
					t.Fatal(err)
				}
				dead(t, w, cookie, c.name+" and opened again")
			}
		}
	})
}

func TestEnd(t *testing.T) {
	sessiontest.Each(t, nil, func(t *testing.T, w *sessiontest.World) {
		var told []session.Ended
		w.Sessions.Ended = func(_ *sqldb.Tx, e session.Ended) error { told = append(told, e); return nil }
		who, _ := w.NewCustomer(t)
		a, cookieA := w.SignIn(t, who, false)
		b, cookieB := w.SignIn(t, who, false)
		_, cookieC := w.SignIn(t, who, false)
		stranger, _ := w.NewCustomer(t)
		_, theirs := w.SignIn(t, stranger, false)
		for i, want := range []bool{true, false} {
			var ended bool
			w.Write(t, func(tx *sqldb.Tx) (err error) {
				told = nil
				ended, err = w.Sessions.End(tx, w.Tenant.ID, who, a.ID, session.SignedOut, string(who))
				return err
			})
			if ended != want {
				t.Errorf("end number %d: %v", i+1, ended)
			}
			if len(told) != map[bool]int{true: 1}[want] {
				t.Errorf("end number %d told %d", i+1, len(told))
			}
		}
		dead(t, w, cookieA, "ended")
		live(t, w, cookieB)
		for _, nonsense := range []id.Session{"", "x", "\x00", id.Session(strings.Repeat("a", 1<<20))} {
			w.Write(t, func(tx *sqldb.Tx) error {
				ended, err := w.Sessions.End(tx, w.Tenant.ID, who, nonsense, session.Revoked, string(who))
				if ended {
					t.Errorf("%.10q was ended", nonsense)
				}
				return err
			})
		}
		var n int
		w.Write(t, func(tx *sqldb.Tx) (err error) {
			told = nil
			n, err = w.Sessions.EndAll(tx, w.Tenant.ID, who, b.ID, session.Revoked, string(who))
			return err
		})
		if n != 1 || len(told) != 1 || !told[0].Everywhere || told[0].Except != b.ID || len(told[0].Sessions) != 1 {
			t.Errorf("ended %d, told %+v", n, told)
		}
		dead(t, w, cookieC, "ended with all others")
		live(t, w, cookieB)
		live(t, w, theirs)
		w.Write(t, func(tx *sqldb.Tx) (err error) {
			n, err = w.Sessions.EndAll(tx, w.Tenant.ID, who, "", session.Secured, "system")
			return err
		})
		dead(t, w, cookieB, "ended with all")
		if got := w.Events(t, "session.ended"); n != 1 || got != 3 {
			t.Errorf("ended %d, %d events", n, got)
		}
	})
}

func TestListPages(t *testing.T) {
	sessiontest.Each(t, nil, func(t *testing.T, w *sessiontest.World) {
		who, _ := w.NewCustomer(t)
		var begun []id.Session
		for range 5 {
			x, _ := w.SignIn(t, who, false)
			begun = append([]id.Session{x.ID}, begun...)
			w.Clock.Advance(20 * time.Minute) // the first two run out
		}
		var listed []id.Session
		for before, rounds := id.Session(""), 0; ; rounds++ {
			page, next, err := w.Sessions.List(t.Context(), w.Tenant, who, before, 2)
			if err != nil || rounds > 5 {
				t.Fatal(err, rounds)
			}
			for _, x := range page {
				if x.Agent.Browser != "Firefox" || x.Agent.IP != "192.0.2.7" {
					t.Errorf("the agent is %+v", x.Agent)
				}
				listed = append(listed, x.ID)
			}
			if before = next; next == "" {
				break
			}
		}
		if fmt.Sprint(listed) != fmt.Sprint(begun[:2]) {
			t.Errorf("listed %v of %v", listed, begun)
		}
	})
}

func TestSweepAndErase(t *testing.T) {
	sessiontest.Each(t, nil, func(t *testing.T, w *sessiontest.World) {
		who, _ := w.NewCustomer(t)
		for range 3 {
			w.SignIn(t, who, false)
		}
		_, staying := w.SignIn(t, who, true)
		w.Clock.Advance(24 * time.Hour)
		for i, want := range []int{2, 1, 0} {
			if n, err := w.Sessions.Sweep(t.Context(), 2); err != nil || n != want {
				t.Errorf("sweep %d: %d, %v", i, n, err)
			}
		}
		live(t, w, staying)
		w.Write(t, func(tx *sqldb.Tx) error { return w.Sessions.EraseCustomer(tx, w.Tenant.ID, who) })
		dead(t, w, staying, "erased")
	})
}

func TestFresh(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	x := &session.Session{AuthenticatedAt: now.Add(-time.Hour), LastSeenAt: now.Add(-10 * time.Minute)}
	for _, c := range []struct {
		idle, maxAge time.Duration
		want         bool
	}{{0, 0, true}, {10 * time.Minute, time.Hour, true}, {9 * time.Minute, 0, false}, {0, 59 * time.Minute, false}} {
		if got := x.Fresh(now, c.idle, c.maxAge); got != c.want {
			t.Errorf("idle %s, max age %s: %v", c.idle, c.maxAge, got)
		}
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	if text := fmt.Sprintf("%v %+v %#v %s %x", session.Secret{}, session.Secret{}, session.Secret{}, session.Secret{}, session.Secret{}); strings.Contains(text, "00") {
		t.Error(text)
	}
	if _, err := (session.Secret{}).MarshalText(); err == nil {
		t.Error("a secret is written")
	}
}
