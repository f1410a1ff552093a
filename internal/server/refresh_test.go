package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// SECURITY D1, D2, item 59: what was replaced, revoked or used up stays so,
// over a restart and on every node; a replay ends the whole lineage.
func TestWhatWasRevokedStaysRevokedOverARestart(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		machine := h.machine()
		browser, replayed := h.signIn()
		_, revoked := h.signIn()
		_, kept := h.signIn()
		ended, endedTokens := h.signIn()
		r, code := h.code(browser, h.shop, nil)
		h.shop.Token(i, redemption(r, code))
		next := h.shop.Token(i, refreshing(replayed.Refresh))
		if next.Status != http.StatusOK || next.Refresh == replayed.Refresh {
			t.Fatalf("%+v", next)
		}
		for _, token := range []string{revoked.Refresh} {
			if status, _, body, err := h.shop.Post(i, "/revoke", url.Values{"token": {token}}); err != nil || status != http.StatusOK {
				t.Fatalf("revoking answered %d %s %v", status, body, err)
			}
		}
		service := machine.Token(i, url.Values{"grant_type": {"client_credentials"}})
		if status, _, _, err := machine.Post(i, "/revoke", url.Values{"token": {service.Access}}); err != nil || status != http.StatusOK {
			t.Fatalf("revoking answered %d %v", status, err)
		}
		session := cookie(ended, "session", h.tenant)
		ended.Answer(ended.Get(i.Base+h.tenant.Path+"/end_session"), url.Values{"decision": {"sign_out"}})
		i.Clock.Advance(11 * time.Second)
		i.Restart()
		if got := h.shop.Token(i, redemption(r, code)); got.Error != "invalid_grant" {
			t.Errorf("a used code: %+v", got)
		}
		if got := h.shop.Token(i, refreshing(revoked.Refresh)); got.Error != "invalid_grant" {
			t.Errorf("a revoked refresh token: %+v", got)
		}
		if h.shop.Active(i, revoked.Access) || machine.Active(i, service.Access) || h.shop.Active(i, endedTokens.Access) || h.shop.Active(i, endedTokens.Refresh) {
			t.Error("revoked tokens are active")
		}
		thief := i.Browser()
		setCookie(thief, "session", h.tenant, session)
		if onAccount(thief.Get(i.Base + h.tenant.Path + "/account")) {
			t.Error("a session that was ended is there again")
		}
		if !h.shop.Active(i, next.Access) || !h.shop.Active(i, next.Refresh) {
			t.Error("a lineage that is under way is not there any more")
		}
		if got := h.shop.Token(i, refreshing(replayed.Refresh)); got.Error != "invalid_grant" {
			t.Errorf("a replaced refresh token: %+v", got)
		}
		for _, token := range []string{next.Access, next.Refresh, replayed.Access, replayed.Refresh} {
			if h.shop.Active(i, token) {
				t.Error("the lineage outlives the replay")
			}
		}
		if got := h.shop.Token(i, refreshing(next.Refresh)); got.Error != "invalid_grant" {
			t.Errorf("the successor outlives the replay: %+v", got)
		}
		if got := h.shop.Token(i, refreshing(kept.Refresh)); got.Status != http.StatusOK {
			t.Errorf("another lineage: %+v", got)
		}
	})
}

// Item 59: lifetimes end lineages, used or not; a narrower scope stays narrow
// for that token alone; a wider one is refused.
func TestRefreshLifetimesAndScopes(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		app := i.Application(h.tenant, func(s *application.Settings) {
			s.Scopes = []string{"openid", "email", "profile", "offline_access"}
		})
		tokens := app.SignIn(i, i.Browser(), anaMail, anaPassword, url.Values{"scope": {"openid email offline_access"}})
		more := refreshing(tokens.Refresh)
		more.Set("scope", "openid email profile")
		if got := app.Token(i, more); got.Error != "invalid_scope" {
			t.Errorf("a wider scope: %+v", got)
		}
		more.Set("scope", "openid")
		narrow := app.Token(i, more)
		if narrow.Scope != "openid" {
			t.Fatalf("a narrower scope: %+v", narrow)
		}
		if _, claims := app.UserInfo(i, narrow.Access); claims["email"] != nil {
			t.Errorf("a narrower token releases %v", claims)
		}
		refresh := narrow.Refresh
		for day := 0; day < 365; day += 29 { // used all the time
			i.Clock.Advance(29 * 24 * time.Hour)
			got := app.Token(i, refreshing(refresh))
			if got.Status != http.StatusOK {
				if day < 330 {
					t.Fatalf("after %d days: %+v", day, got)
				}
				return
			}
			refresh = got.Refresh
		}
		i.Clock.Advance(29 * 24 * time.Hour)
		if got := app.Token(i, refreshing(refresh)); got.Error != "invalid_grant" {
			t.Errorf("beyond the absolute lifetime: %+v", got)
		}
	})
}

// SECURITY D4, item 76: a revocation that could not be stored is no success,
// and the token is as good as it was.
func TestARevocationThatFailsIsNoSuccess(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		machine := h.machine()
		browser, tokens := h.signIn()
		service := machine.Token(i, url.Values{"grant_type": {"client_credentials"}})
		account := browser.Get(i.Base + h.tenant.Path + "/account")
		leaving := browser.Get(i.Base + h.tenant.Path + "/end_session")
		fail, repair := breakWrites(i.Engine, []string{"lineage", "token_marker", "session"})
		h.write(func(tx *sqldb.Tx) error { return each(tx, fail) })
		for name, post := range map[string]func() (int, http.Header, string, error){
			"a refresh token": func() (int, http.Header, string, error) {
				return h.shop.Post(i, "/revoke", url.Values{"token": {tokens.Refresh}})
			},
			"an access token": func() (int, http.Header, string, error) {
				return h.shop.Post(i, "/revoke", url.Values{"token": {tokens.Access}})
			},
			"an application's own": func() (int, http.Header, string, error) {
				return machine.Post(i, "/revoke", url.Values{"token": {service.Access}})
			},
		} {
			status, header, body, err := post()
			if err != nil || status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
				t.Errorf("revoking %s answered %d %s %v", name, status, body, err)
			}
		}
		for name, p := range map[string]*servertest.Page{
			"sign-out":         browser.Answer(leaving, url.Values{"decision": {"sign_out"}}),
			"account sign-out": browser.Answer(account, url.Values{"choose": {"sign_out"}}),
			"account others":   browser.Answer(account, url.Values{"choose": {"end_others"}}),
		} {
			if p.Status < 500 && name != "account others" {
				t.Errorf("%s that could not be stored was answered %d: %s", name, p.Status, servertest.Text(p.Body))
			}
		}
		h.write(func(tx *sqldb.Tx) error { return each(tx, repair) })
		if !h.shop.Active(i, tokens.Access) || !h.shop.Active(i, tokens.Refresh) || !machine.Active(i, service.Access) {
			t.Error("what was not revoked is not active")
		}
		if status, _, _, err := h.shop.Post(i, "/revoke", url.Values{"token": {tokens.Access}}); err != nil || status != http.StatusOK || h.shop.Active(i, tokens.Refresh) {
			t.Errorf("revoking again answered %d %v", status, err)
		}
	})
}

func each(tx *sqldb.Tx, statements []string) error {
	for _, statement := range statements {
		if _, err := tx.Exec(statement); err != nil {
			return err
		}
	}
	return nil
}

// breakWrites returns what makes every write to some tables fail, as a disk
// does that is full, and what mends it.
func breakWrites(engine sqldb.Engine, tables []string) (fail, repair []string) {
	if engine == sqldb.Postgres {
		fail = append(fail, `CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space left on device'; END $$`)
	}
	for _, table := range tables {
		for _, event := range []string{"INSERT", "UPDATE", "DELETE"} {
			name := "broken_" + table + "_" + event
			if engine == sqldb.Postgres {
				fail = append(fail, `CREATE TRIGGER `+name+` BEFORE `+event+` ON `+table+` FOR EACH ROW EXECUTE FUNCTION broken()`)
				repair = append(repair, `DROP TRIGGER `+name+` ON `+table)
			} else {
				fail = append(fail, `CREATE TRIGGER `+name+` BEFORE `+event+` ON `+table+` BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END`)
				repair = append(repair, `DROP TRIGGER `+name)
			}
		}
	}
	return fail, repair
}
