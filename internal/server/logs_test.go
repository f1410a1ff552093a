package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// journal is a log that is kept, every level of it, a JSON record a line.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// SECURITY Q1–Q3, items 81–84: after a whole life of a customer, with all that
// can go wrong in it, the log and the database hold no password, code, token,
// cookie, state, secret, address or name that can be read; and what happened
// is on record.
func TestNothingSecretIsLoggedOrStored(t *testing.T) {
	t.Parallel()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			log := &journal{}
			i := servertest.New(t, engine, func(e *server.Environment) {
				e.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			h := newHouse(t, i, "thyme", func(s *tenant.Settings) {
				collectsNickname(s)
				s.Limits.PasswordPerHour = 3
			})
			const (
				newMail, newPassword, wrongPassword = "canary-new@shop.example", "canary-password-of-mine", "canary-wrong-password"
				nickname, wrongCode, agent          = "Canary-Nick", "837465", "CanaryAgent/1.0"
			)
			secrets := map[string]string{
				"an address": newMail, "another address": anaMail, "a password": newPassword, "a wrong password": wrongPassword, "ana's password": anaPassword,
				"a name": nickname, "an application's secret": h.shop.Secret, "a user agent": agent,
			}
			keep := func(name, value string) {
				if len(value) < 6 {
					t.Fatalf("%s is %q", name, value)
				}
				secrets[name] = value
			}
			tokens := func(name string, got servertest.Tokens) servertest.Tokens {
				if got.Status != http.StatusOK {
					t.Fatalf("%s: %+v", name, got)
				}
				keep(name+" access token", strings.Split(got.Access, ".")[2])
				keep(name+" ID token", strings.Split(got.ID, ".")[2])
				keep(name+" refresh token", got.Refresh)
				return got
			}
			state := func(name string, p *servertest.Page) *servertest.Page {
				if len(p.Forms) > 0 && p.Forms[0].Hidden.Get("state") != "" {
					_, sealed, _ := strings.Cut(p.Forms[0].Hidden.Get("state"), ".")
					keep("the state of "+name, sealed[:min(len(sealed), 60)])
				}
				return p
			}
			b := i.Browser()
			b.Header.Set("User-Agent", agent)
			r := h.shop.Authorize(url.Values{"login_hint": {newMail}})
			p := state("sign-up", b.Answer(b.Get(h.shop.URL(i, r)), url.Values{"choose": {"create"}}))
			p = state("code", b.Answer(p, url.Values{"identifier": {newMail}}))
			code := i.Code(newMail)
			keep("a mailed code", code)
			b.Answer(p, url.Values{"code": {wrongCode}})
			p = state("password", b.Answer(p, url.Values{"code": {code}}))
			b.Answer(p, url.Values{"new_password": {"short-canary"}})
			p = state("collect", b.Answer(p, url.Values{"new_password": {newPassword}}))
			p = b.Answer(p, url.Values{"nickname": {nickname}})
			keep("an authorization code", p.Location.Query().Get("code"))
			keep("a verifier", r.Verifier)
			first := tokens("the first", h.shop.Redeem(i, r, p))
			for _, kind := range []string{"session", "journey", "device"} {
				keep("a "+kind+" cookie", cookie(b, kind, h.tenant))
			}
			h.shop.UserInfo(i, first.Access)
			h.shop.Active(i, first.Refresh)
			second := tokens("the second", h.shop.Token(i, refreshing(first.Refresh)))
			p = state("consent", b.Get(h.recipes.URL(i, h.recipes.Authorize(nil))))
			b.Answer(p, url.Values{"decision": {"deny"}})
			// What goes wrong.
			stranger := i.Browser()
			wrong := h.passwordPage(stranger, newMail)
			for range 5 {
				stranger.Answer(wrong, url.Values{"password": {wrongPassword}})
			}
			i.Browser().Answer(wrong, url.Values{"password": {newPassword}})
			i.Clock.Advance(11 * time.Second)
			h.shop.Token(i, redemption(r, secrets["an authorization code"]))
			h.shop.Token(i, refreshing(first.Refresh))
			h.recipes.Token(i, refreshing(second.Refresh))
			h.shop.UserInfo(i, second.Access+"x")
			_, _, _, err := h.shop.Post(i, "/revoke", url.Values{"token": {second.Refresh}})
			if err != nil {
				t.Fatal(err)
			}
			send(t, http.MethodPost, i.Base+h.tenant.Path+"/token", "grant_type=password&username="+newMail+"&password="+newPassword+"&client_secret="+h.shop.Secret+"&client_id=x", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
			send(t, http.MethodGet, i.Base+h.tenant.Path+"/userinfo?access_token="+second.Access, "", nil)
			b.Get(i.Base + h.tenant.Path + "/authorize?client_id=" + newMail + "&redirect_uri=https://evil.example/" + newPassword)
			b.Get(i.Base + h.tenant.Path + "/end_session?id_token_hint=" + first.ID + "&post_logout_redirect_uri=https://evil.example")
			// Faults of ours, with everything at hand.
			fail, repair := breakWrites(engine, []string{"session", "challenge", "lineage", "budget"})
			h.write(func(tx *sqldb.Tx) error { return each(tx, fail) })
			broken := i.Browser()
			page := h.passwordPage(broken, anaMail)
			broken.Answer(page, url.Values{"password": {anaPassword}})
			broken.Answer(page, url.Values{"choose": {"code"}})
			h.shop.Token(i, refreshing(second.Refresh))
			h.write(func(tx *sqldb.Tx) error { return each(tx, repair) })
			// Q1: a line of the log is one record, whatever is in it.
			send(t, http.MethodGet, i.Base+h.tenant.Path+"/x%0d%0alevel=ERROR%20forged%1b[31m%e2%80%a8", "", http.Header{"User-Agent": {"a\u2028b \"level\":\"ERROR\""}})
			b.Answer(b.Get(i.Base+h.tenant.Path+"/end_session"), url.Values{"decision": {"sign_out"}})

			text := log.String()
			for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
				var record map[string]any
				if err := json.Unmarshal([]byte(line), &record); err != nil || record["level"] == nil || record["time"] == nil {
					t.Errorf("a line of the log is no record: %q", line)
				}
			}
			if !strings.Contains(text, `"request"`) || !strings.Contains(text, `"level":"ERROR"`) {
				t.Errorf("the log does not tell of requests and faults:\n%s", text)
			}
			for name, secret := range secrets {
				for _, spelled := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
					if at := strings.Index(text, spelled); at >= 0 {
						t.Errorf("the log has %s: %s", name, text[max(0, at-200):min(len(text), at+100)])
						break
					}
				}
			}
			// Codes are six digits, and so found in any number: what is stored of
			// them is looked for in their own tables by internal/challenge.
			delete(secrets, "a mailed code")
			for name, where := range h.stored(secrets) {
				t.Errorf("the database has %s, readable, in %s", name, where)
			}
			records, err := i.Log.Read(t.Context(), h.tenant.ID, event.Filter{}, event.Page{})
			if err != nil {
				t.Fatal(err)
			}
			var types []string
			for _, record := range records {
				types = append(types, record.Type)
				if strings.HasPrefix(record.Type, "session.started") && (!bytes.Contains(record.Data, []byte(`"otp"`)) || record.Personal == nil || record.Actor == "") {
					t.Errorf("a session was started by %s, which says %s", record.Actor, record.Data)
				}
			}
			for _, want := range []string{"customer.created", "session.started", "lineage.started", "lineage.revoked", "signin.limited", "session.ended"} {
				if !slices.Contains(types, want) {
					t.Errorf("%s is not on record: %v", want, slices.Compact(slices.Sorted(slices.Values(types))))
				}
			}
		})
	}
}

// stored looks for values in every column of every table but the inbox of
// development, and tells where each is found.
func (h *house) stored(values map[string]string) map[string]string {
	h.t.Helper()
	ctx := h.t.Context()
	tables, err := h.DB.Tables(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	found, columns := map[string]string{}, 0
	for _, table := range tables {
		if strings.HasPrefix(table.Name, "dev_inbox") || table.Name == "schema_migration" {
			continue
		}
		names := `SELECT name FROM pragma_table_info($1)`
		if h.Engine == sqldb.Postgres {
			names = `SELECT column_name::TEXT FROM information_schema.columns WHERE table_name = $1 AND table_schema = current_schema()`
		}
		rows, err := h.DB.Query(ctx, names, table.Name)
		if err != nil {
			h.t.Fatal(err)
		}
		var all []string
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				h.t.Fatal(err)
			}
			all = append(all, name)
		}
		if err := rows.Err(); err != nil {
			h.t.Fatal(err)
		}
		rows.Close()
		for _, column := range all {
			columns++
			for name, value := range values {
				query, arg := `SELECT COUNT(*) FROM `+table.Name+` WHERE instr(CAST("`+column+`" AS BLOB), $1) > 0`, any([]byte(value))
				if h.Engine == sqldb.Postgres {
					query = `SELECT COUNT(*) FROM ` + table.Name + ` WHERE position('` + hex.EncodeToString([]byte(value)) + `' in "` + column + `"::TEXT) > 0 OR position($1 in "` + column + `"::TEXT) > 0`
					arg = value
				}
				var n int
				if err := h.DB.QueryRow(ctx, query, arg).Scan(&n); err != nil {
					h.t.Fatalf("%s.%s: %v", table.Name, column, err)
				}
				if n > 0 {
					found[name] = fmt.Sprintf("%s.%s", table.Name, column)
				}
			}
		}
	}
	if columns < 50 {
		h.t.Errorf("only %d columns were looked at", columns)
	}
	return found
}

// SECURITY, items 81, 82: the log tells of each sign-in that failed, with what,
// why, at which tenant, in which request, and under a keyed hash that is the
// same for all tries at one address; of no address and of nobody.
func TestFailedSignInsAreLogged(t *testing.T) {
	t.Parallel()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			log := &journal{}
			i := servertest.New(t, engine, func(e *server.Environment) {
				e.Logger = slog.New(slog.NewJSONHandler(log, nil))
			})
			h := newHouse(t, i, "thyme", func(s *tenant.Settings) { s.Limits.PasswordPerHour, s.Limits.PasswordTotal = 3, 5 })
			type failure struct {
				Msg, Level, Request, Tenant, With, Outcome string
				Hash                                       string `json:"address_hash"`
			}
			failures := func() (all []failure) {
				for _, line := range strings.Split(strings.TrimSpace(log.String()), "\n") {
					var f failure
					if err := json.Unmarshal([]byte(line), &f); err == nil && f.Msg == "a sign-in failed" {
						all = append(all, f)
					}
				}
				return all
			}
			hashes := map[string]string{}
			// fails sends an answer, and expects one line of it.
			fails := func(b *servertest.Browser, p *servertest.Page, address, with, outcome string, values url.Values) {
				t.Helper()
				before := len(failures())
				answered := b.Answer(p, values)
				now := failures()[before:]
				if len(now) != 1 {
					t.Errorf("%s, %s: %d lines: %+v", address, values, len(now), now)
					return
				}
				if hashes[address] == "" {
					hashes[address] = now[0].Hash
				}
				want := failure{"a sign-in failed", "INFO", answered.Header.Get("X-Request-Id"), string(h.tenant.ID), with, outcome, hashes[address]}
				if now[0] != want || want.Hash == "" || want.Request == "" {
					t.Errorf("%s, %s: the log says %+v, want %+v", address, values, now[0], want)
				}
			}
			for _, address := range []string{anaMail, "who@shop.example"} {
				b := i.Browser()
				p := h.passwordPage(b, address)
				if len(failures()) > 0 && hashes[address] == "" && address == anaMail {
					t.Error("naming an address is told as a failure")
				}
				for range 3 {
					fails(b, p, address, "password", "password_wrong", url.Values{"password": {"wrong-password-of-mine"}})
					p = h.passwordPage(b, strings.ToUpper(address)) // another spelling is the same address
				}
				fails(b, p, address, "password", "limited", url.Values{"password": {anaPassword}})
				p = b.Answer(p, url.Values{"choose": {"code"}})
				fails(b, p, address, "code", "code_wrong", url.Values{"code": {"x"}})
			}
			i.Clock.Advance(61 * time.Minute)
			b := i.Browser()
			fails(b, h.passwordPage(b, anaMail), anaMail, "password", "paused", url.Values{"password": {anaPassword}})
			// What is right, for an account that is closed; sent before that, it is
			// worth nothing any more.
			p, mailed := h.codePage(b, anaMail, true)
			if err := i.Directory.SetStatus(t.Context(), h.tenant.ID, h.ana, "locked", "test", "test"); err != nil {
				t.Fatal(err)
			}
			fails(b, p, anaMail, "code", "code_expired", url.Values{"code": {mailed}})
			p, mailed = h.codePage(b, anaMail, true)
			fails(b, p, anaMail, "code", "refused", url.Values{"code": {mailed}})
			if hashes[anaMail] == hashes["who@shop.example"] {
				t.Error("two addresses have one hash")
			}
			if text := strings.ToLower(log.String()); strings.Contains(text, "shop.example") || strings.Contains(text, "cus_") {
				t.Errorf("the log names somebody:\n%s", log)
			}
		})
	}
}

// Overload is a warning a second that counts, not a line of error a request.
func TestOverloadDoesNotFillTheLog(t *testing.T) {
	log := &journal{}
	i := servertest.New(t, sqldb.SQLite, func(e *server.Environment) {
		e.Logger = slog.New(slog.NewJSONHandler(log, nil))
		e.Config.Hashing.MaxConcurrent, e.Config.Hashing.QueueLength = 1, 1
	})
	h := newHouse(t, i, "thyme", func(s *tenant.Settings) { s.Limits.PasswordPerHour = 100 })
	b := i.Browser()
	page := h.passwordPage(b, anaMail)
	var busy atomic.Int64
	began := time.Now()
	round := func() {
		atOnce(24, func(int) {
			if p, err := b.TryAnswer(page, url.Values{"password": {"not-the-password-of-any"}}); err != nil {
				t.Error(err)
			} else if p.Status == http.StatusServiceUnavailable {
				busy.Add(1)
			}
		})
	}
	round()
	i.Clock.Advance(2 * time.Second)
	round()
	lines, told := 0, 0
	for _, line := range strings.Split(strings.TrimSpace(log.String()), "\n") {
		var record struct {
			Level  string
			Status int
			Away   int `json:"turned_away"`
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Status != http.StatusServiceUnavailable {
			continue
		}
		lines++
		told += record.Away
		if record.Level != "WARN" {
			t.Errorf("the log says %s", line)
		}
	}
	if most := 3 + int(time.Since(began)/time.Second); busy.Load() < 10 || lines < 2 || lines > most || told < 2 || told > int(busy.Load()) {
		t.Errorf("%d were turned away; %d lines tell of %d", busy.Load(), lines, told)
	}
}
