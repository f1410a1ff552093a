package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/idempotency"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

// TestIdempotencyKeys sends requests again, in every way that matters.
func TestIdempotencyKeys(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		i.Tenant("shop", nil)
		token := robotToken(i, i.Robot(system, operator.Everything()))
		other := robotToken(i, i.Robot(system, operator.Everything()))
		const path = "/admin/v1/tenants/shop/applications"
		const body = `{"name":"App","kind":"machine","scopes":["stock:read"]}`
		count := func() int {
			var found struct{ Items []any }
			_, _, text := i.Admin(token, "GET", path, "")
			if err := json.Unmarshal([]byte(text), &found); err != nil {
				t.Fatal(err)
			}
			return len(found.Items)
		}

		// 64 at once: one has the effect, and all learn the same secret in the end.
		var all sync.WaitGroup
		var mu sync.Mutex
		answers := map[string]int{}
		for range 64 {
			all.Go(func() {
				status, _, text := i.Admin(token, "POST", path, body, "Idempotency-Key", "one")
				mu.Lock()
				defer mu.Unlock()
				switch status {
				case 201:
					answers[text]++
				case 409:
					if !strings.Contains(text, "request-in-progress") {
						t.Errorf("%s", text)
					}
				default:
					t.Errorf("%d %s", status, text)
				}
			})
		}
		all.Wait()
		if len(answers) != 1 || count() != 1 {
			t.Fatalf("%d different answers, %d applications", len(answers), count())
		}
		status, header, text := i.Admin(token, "POST", path, body, "Idempotency-Key", "one")
		if status != 201 || answers[text] == 0 || header.Get("Idempotent-Replayed") != "true" || header.Get("Content-Type") != "application/json" || !strings.Contains(text, "client_secret") {
			t.Errorf("%d %v %s", status, header, text)
		}
		if status, _, text := i.Admin(token, "POST", path, strings.Replace(body, "App", "Else", 1), "Idempotency-Key", "one"); status != 422 || !strings.Contains(text, "idempotency-key-reused") {
			t.Errorf("another body: %d %s", status, text)
		}
		if status, _, text := i.Admin(token, "POST", "/admin/v1/tenants/shop/suspend", "", "Idempotency-Key", "one"); status != 422 {
			t.Errorf("another path: %d %s", status, text)
		}
		if status, header, _ := i.Admin(other, "POST", path, body, "Idempotency-Key", "one"); status != 201 || header.Get("Idempotent-Replayed") != "" {
			t.Errorf("another operator's key: %d %v", status, header)
		}
		// What changed nothing may be sent anew under its key.
		if status, _, _ := i.Admin(token, "POST", path, `{"name":"App","kind":"machine","redirect_uris":["javascript:x"]}`, "Idempotency-Key", "two"); status != 422 {
			t.Errorf("%d", status)
		}
		if status, _, text := i.Admin(token, "POST", path, body, "Idempotency-Key", "two"); status != 201 {
			t.Errorf("%d %s", status, text)
		}
		// Nobody finds the secret where the answer is kept.
		var made struct {
			Secret string `json:"client_secret"`
		}
		if err := json.Unmarshal([]byte(text), &made); err != nil || len(made.Secret) < 40 {
			t.Fatal(err, text)
		}
		rows, err := i.DB.Query(t.Context(), `SELECT answer FROM idempotency_key WHERE tenant = $1`, system.ID)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var kept []byte
			if err := rows.Scan(&kept); err != nil || strings.Contains(string(kept), made.Secret) || strings.Contains(string(kept), "client_secret") {
				t.Errorf("%v: %q", err, kept)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{strings.Repeat("x", 256)} {
			if status, _, _ := i.Admin(token, "POST", path, body, "Idempotency-Key", key); status != 400 {
				t.Errorf("a long key: %d", status)
			}
		}
		before := count()
		i.Clock.Advance(idempotency.Life + time.Minute)
		if n, err := i.Once.Sweep(t.Context(), 500); err != nil || n == 0 {
			t.Errorf("swept %d, %v", n, err)
		}
		token = robotToken(i, i.Robot(system, operator.Everything()))
		if count() != before {
			t.Error("the sweep took more than keys")
		}
	})
}

// TestVersions changes what somebody else has changed.
func TestVersions(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		i.Tenant("shop", nil)
		token := robotToken(i, i.Robot(system, operator.Everything()))
		_, _, text := i.Admin(token, "POST", "/admin/v1/tenants/shop/applications", `{"name":"App","kind":"web","redirect_uris":["https://a.example/cb"]}`)
		var made struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
		}
		if err := json.Unmarshal([]byte(text), &made); err != nil {
			t.Fatal(err)
		}
		one := "/admin/v1/tenants/shop/applications/" + made.ID
		status, header, text := i.Admin(token, "GET", one, "")
		if status != 200 || header.Get("ETag") != `"1"` || strings.Contains(text, made.Secret) {
			t.Fatalf("%d %v %s", status, header, text)
		}
		for list, want := range map[string]int{`"1"`: 304, `W/"1"`: 304, `"7", "1"`: 304, `*`: 304, `"2"`: 200, ``: 200} {
			if status, header, text := i.Admin(token, "GET", one, "", "If-None-Match", list); status != want || header.Get("ETag") != `"1"` || (want == 304) != (text == "") {
				t.Errorf("If-None-Match %s: %d %s", list, status, text)
			}
		}
		if status, header, text := i.Admin(token, "PUT", one, `{"redirect_uris":["https://b.example/cb"]}`, "If-Match", `"1"`); status != 200 || header.Get("ETag") != `"2"` || !strings.Contains(text, "b.example") || strings.Contains(text, "a.example") || !strings.Contains(text, `"App"`) {
			t.Errorf("%d %s", status, text)
		}
		for method, body := range map[string]string{"PUT": `{"name":"Late"}`, "DELETE": ""} {
			if status, _, text := i.Admin(token, method, one, body, "If-Match", `"1"`); status != 412 {
				t.Errorf("%s over a newer one: %d %s", method, status, text)
			}
			if status, _, _ := i.Admin(token, method, one, body, "If-Match", "1"); status != 400 {
				t.Errorf("%s with no ETag: %d", method, status)
			}
		}
		for body, want := range map[string]int{`{"nme":"x"}`: 422, `{"name":""}`: 422, `[]`: 422, `{"redirect_uris":["javascript:alert(1)"]}`: 422, `{"name":"x"}{}`: 400} {
			if status, _, text := i.Admin(token, "PUT", one, body); status != want {
				t.Errorf("%s: %d %s", body, status, text)
			}
		}
		// Many at once, each of another setting: none is lost.
		var many sync.WaitGroup
		for _, body := range []string{`{"first_party":true}`, `{"client_uri":"https://home.example/"}`, `{"access_token_ttl":"5m"}`} {
			many.Go(func() {
				if status, _, text := i.Admin(token, "PUT", one, body); status != 200 {
					t.Errorf("%s: %d %s", body, status, text)
				}
			})
		}
		many.Wait()
		if _, _, text := i.Admin(token, "GET", one, ""); !strings.Contains(text, `"first_party":true`) || !strings.Contains(text, "home.example") || !strings.Contains(text, `"5m0s"`) {
			t.Errorf("a change was lost: %s", text)
		}
		if status, _, text := i.Admin(token, "DELETE", one, ""); status != 204 {
			t.Errorf("%d %s", status, text)
		}
		for _, method := range []string{"GET", "DELETE"} {
			if status, _, _ := i.Admin(token, method, one, ""); status != 404 {
				t.Errorf("%s of what is deleted: %d", method, status)
			}
		}
	})
}

// TestDeletedApplication: its tokens are good for nothing at once.
func TestDeletedApplication(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		token := robotToken(i, i.Robot(i.System(), operator.Everything()))
		shop := i.Tenant("shop", nil)
		app := i.Application(shop, nil)
		i.Customer(shop, "ana@example.com", adminPassword)
		tokens := app.SignIn(i, i.Browser(), "ana@example.com", adminPassword, nil)
		if status, _, text := i.Admin(token, "DELETE", "/admin/v1/tenants/shop/applications/"+string(app.ID), ""); status != 204 {
			t.Fatalf("%d %s", status, text)
		}
		if again := app.Token(i, map[string][]string{"grant_type": {"refresh_token"}, "refresh_token": {tokens.Refresh}}); again.Status != 401 {
			t.Errorf("refreshed: %+v", again)
		}
		if status, _ := app.UserInfo(i, tokens.Access); status != 401 {
			t.Errorf("userinfo: %d", status)
		}
		if p := i.Browser().Get(app.URL(i, app.Authorize(nil))); p.Status != 400 || p.Location != nil {
			t.Errorf("authorize: %d", p.Status)
		}
	})
}

// TestListOfCustomers pages through a tenant, which names nobody.
func TestListOfCustomers(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		token := robotToken(i, i.Robot(i.System(), operator.Everything()))
		shop, other := i.Tenant("shop", nil), i.Tenant("other", nil)
		want := map[string]bool{}
		for n := range 7 {
			want[string(i.Customer(shop, fmt.Sprintf("c%d@example.com", n), ""))] = true
		}
		i.Customer(other, "c0@example.com", "")
		for next := ""; ; {
			_, _, text := i.Admin(token, "GET", "/admin/v1/tenants/shop/customers?limit=3"+next, "")
			var page struct {
				Items []struct{ ID string }
				Next  string
			}
			if err := json.Unmarshal([]byte(text), &page); err != nil || len(page.Items) > 3 || strings.Contains(text, "example.com") {
				t.Fatalf("%v %s", err, text)
			}
			for _, item := range page.Items {
				if !want[item.ID] {
					t.Errorf("%s is there twice or is not the tenant's", item.ID)
				}
				delete(want, item.ID)
			}
			if page.Next == "" {
				break
			}
			next = "&after=" + page.Next
		}
		if len(want) > 0 {
			t.Errorf("missing: %v", want)
		}
	})
}

// TestRateOfTheAdminAPI: one operator's haste is not another's wait.
func TestRateOfTheAdminAPI(t *testing.T) {
	i := servertest.New(t, "sqlite", func(e *server.Environment) { e.Config.Rate.AdminPerSecond, e.Config.Rate.AdminBurst = 1, 5 })
	system := i.System()
	hasty, calm := robotToken(i, i.Robot(system, operator.Everything())), robotToken(i, i.Robot(system, operator.Everything()))
	refused := 0
	for range 12 {
		status, header, _ := i.Admin(hasty, "GET", "/admin/v1/tenants", "")
		if status == 429 {
			refused++
			if header.Get("Retry-After") == "" || header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%v", header)
			}
		}
	}
	if refused < 5 {
		t.Errorf("%d of 12 were refused", refused)
	}
	if status, _, _ := i.Admin(calm, "GET", "/admin/v1/tenants", ""); status != 200 {
		t.Errorf("another operator: %d", status)
	}
}
