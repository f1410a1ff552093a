package server_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func TestEventsNameTheirRequest(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		h.signIn()
		started, err := i.Log.Read(t.Context(), h.tenant.ID, event.Filter{Customer: h.ana, Type: "session.started"}, event.Page{})
		if err != nil || len(started) != 1 {
			t.Fatalf("%v, %v", started, err)
		}
		if _, err := id.Parse[id.Request](string(started[0].Request)); err != nil {
			t.Errorf("the request is %q", started[0].Request)
		}
	})
}

// Whoever is shown a fault's id or a request's finds both lines by either.
func TestLogTiesFaultAndRequest(t *testing.T) {
	log := &journal{}
	i := servertest.New(t, sqldb.SQLite, func(e *server.Environment) {
		e.Logger = slog.New(slog.NewJSONHandler(log, nil))
	})
	h := newHouse(t, i, "thyme", nil)
	browser, tokens := h.signIn()
	h.write(func(tx *sqldb.Tx) error { _, err := tx.Exec(`ALTER TABLE session RENAME TO lost`); return err })
	page := browser.Get(i.Base + h.tenant.Path + "/account")
	status, header, _ := send(t, http.MethodGet, i.Base+h.tenant.Path+"/userinfo", "", http.Header{"Authorization": {"Bearer " + tokens.Access}})
	for _, answer := range []struct {
		path, line string
		status     int
		header     http.Header
	}{{"/account", "a page failed", page.Status, page.Header}, {"/userinfo", "", status, header}} {
		request := answer.header.Get("X-Request-Id")
		if answer.status < 500 || request == "" {
			t.Errorf("%s: %d, request %q", answer.path, answer.status, request)
			continue
		}
		faults := map[string]string{}
		for line := range strings.Lines(log.String()) {
			var record struct{ Msg, Request, Fault string }
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Fatal(err)
			}
			if record.Request == request {
				faults[record.Msg] = record.Fault
			}
		}
		if len(faults) != 2 || faults["request"] == "" {
			t.Errorf("%s: the log has of the request %v", answer.path, faults)
		}
		for _, fault := range faults {
			if fault != faults["request"] {
				t.Errorf("%s: the log has of the request %v", answer.path, faults)
			}
		}
	}
}
