package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// What an application was answered is explained by the command, also when the
// server has stopped since.
func TestExplain(t *testing.T) {
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		m := newMachine(t, engine)
		m.here("tenant", "create", "--slug", "shop", "--name", "Shop")
		stop, address := m.serveAt()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/t/shop/token",
			strings.NewReader(url.Values{"grant_type": {"refresh_token"}, "client_id": {"app_canary"}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "localhost:9999"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		fault := parse[map[string]string](t, string(body))["error_id"]
		for range 2 {
			got := m.here("explain", fault)
			for _, want := range []string{fault, "401 invalid_client", "The tenant has no application of that client_id.", "the application proves itself", "POST /token", "shop (ten_", "req_", "What to do"} {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in\n%s", want, got)
				}
			}
			if strings.Contains(got, "canary") {
				t.Errorf("it says what was sent:\n%s", got)
			}
			stop()
		}
		m.fails(exitFailed, "No such error is known", m.at("explain", fault[:len(fault)-3]+"zzz")...)
	})
}
