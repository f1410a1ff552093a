package session_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/session/sessiontest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func TestDeviceCookie(t *testing.T) {
	w := sessiontest.New(t, sqldb.SQLite, nil)
	var people []id.Customer
	for range 6 {
		people = append(people, id.New[id.Customer](w.Clock.Now(), rand.Reader))
	}
	device := id.New[id.Device](w.Clock.Now(), rand.Reader)
	cookie := ""
	remember := func(who id.Customer, epoch int64) {
		t.Helper()
		var err error
		if cookie, err = w.Sessions.Remember(t.Context(), w.Tenant.ID, cookie, who, epoch, device); err != nil {
			t.Fatal(err)
		}
	}
	known := func(tenant id.Tenant, cookie string, who id.Customer, epoch int64) bool {
		t.Helper()
		got, ok, err := w.Sessions.Known(t.Context(), tenant, cookie, who, epoch)
		if err != nil {
			t.Fatal(err)
		}
		if ok != (got == device) {
			t.Errorf("known as %q", got)
		}
		return ok
	}
	for _, who := range people {
		remember(who, 3)
		w.Clock.Advance(time.Hour)
	}
	for i, who := range people {
		if got, want := known(w.Tenant.ID, cookie, who, 3), i > 0; got != want { // five at the most, the oldest goes
			t.Errorf("customer %d: known %v", i, got)
		}
		if known(w.Tenant.ID, cookie, who, 4) || known(w.Tenant.ID, cookie, who, 2) {
			t.Errorf("customer %d is known under another epoch", i)
		}
	}
	if len(cookie) > 1000 {
		t.Errorf("the cookie has %d bytes", len(cookie))
	}
	remember(people[3], 4)
	if !known(w.Tenant.ID, cookie, people[3], 4) || known(w.Tenant.ID, cookie, people[3], 3) || !known(w.Tenant.ID, cookie, people[1], 3) {
		t.Error("remembering one again displaces others or keeps the old epoch")
	}
	if known(w.Other.ID, cookie, people[3], 4) {
		t.Error("known at another tenant")
	}
	for _, forged := range []string{"", "AAAA", cookie[1:], cookie + "A"} {
		if known(w.Tenant.ID, forged, people[3], 4) {
			t.Errorf("known by %q", forged)
		}
	}
	w.Clock.Advance(session.DeviceLife)
	if known(w.Tenant.ID, cookie, people[3], 4) {
		t.Error("known for ever")
	}
	remember(people[0], 1)
	if !known(w.Tenant.ID, cookie, people[0], 1) {
		t.Error("an old cookie is not begun anew")
	}
}
