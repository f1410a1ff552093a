package tenant_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

func TestCreate(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		n := shop()
		n.Issuer, n.Settings.Identifiers = "https://ID.Shop.example/", []tenant.DeclaredIdentifier{{Name: "card", Label: "Card", Pattern: "[0-9]{6}"}}
		made := w.create(t, n)
		if made.Slug != "shop" || made.Issuer != "https://id.shop.example" || made.Host != "id.shop.example" || made.Path != "" || made.Revision != 1 {
			t.Errorf("got %+v", made)
		}
		if made.Brand.Name != "Shop" || made.Brand.ID == "" || string(made.Brand.Theme) != "{}" {
			t.Errorf("the brand is %+v", made.Brand)
		}
		if made.URL("/account") != "https://id.shop.example/account" {
			t.Errorf("URL: %s", made.URL("/account"))
		}
		if made.Rules[identifier.Declared("card")] == nil || !slices.Contains(made.Schema.Names(), "given_name") {
			t.Error("what the settings declare is not compiled")
		}
		for name, get := range map[string]func() (*tenant.Tenant, error){
			"id":   func() (*tenant.Tenant, error) { return w.ByID(t.Context(), made.ID) },
			"slug": func() (*tenant.Tenant, error) { return w.BySlug(t.Context(), "shop") },
			"host": func() (*tenant.Tenant, error) { return w.ByHost(t.Context(), "ID.shop.example") },
		} {
			if got, err := get(); err != nil || got.ID != made.ID {
				t.Errorf("by %s: %v, %v", name, got, err)
			}
		}
		if _, err := w.ring.Tenant(t.Context(), made.ID); err != nil {
			t.Errorf("it has no keys: %v", err)
		}
		if got := w.events(t, made.ID); !slices.Equal(got, []string{"tenant.created"}) {
			t.Errorf("events %v", got)
		}
	})
}

func TestCreateByPath(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for _, slug := range []string{"a", "b"} {
			n := shop()
			n.Slug, n.ByPath, n.Issuer = slug, true, "http://localhost:8080"
			made := w.create(t, n)
			if made.Issuer != "http://localhost:8080/t/"+slug || made.Host != "" || made.Path != "/t/"+slug {
				t.Errorf("got %+v", made)
			}
		}
		if _, err := w.ByHost(t.Context(), "localhost:8080"); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("a tenant that is served by path is found by host: %v", err)
		}
		if _, err := w.ByHost(t.Context(), ""); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("no host finds: %v", err)
		}
	})
}

func TestCreateRefuses(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	for _, c := range []struct {
		name   string
		change func(*tenant.New)
		names  string // what the error names
	}{
		{"no slug", func(n *tenant.New) { n.Slug = "" }, "slug"},
		{"a slug in capitals", func(n *tenant.New) { n.Slug = "Shop" }, "slug"},
		{"a slug that begins with a digit", func(n *tenant.New) { n.Slug = "1shop" }, "slug"},
		{"a slug with a slash", func(n *tenant.New) { n.Slug = "a/b" }, "slug"},
		{"a slug with two dashes", func(n *tenant.New) { n.Slug = "a--b" }, "slug"},
		{"a slug that ends with a dash", func(n *tenant.New) { n.Slug = "a-" }, "slug"},
		{"a slug with a line break", func(n *tenant.New) { n.Slug = "shop\n" }, "slug"},
		{"a slug of other letters", func(n *tenant.New) { n.Slug = "shоp" }, "slug"}, // a Cyrillic о
		{"a long slug", func(n *tenant.New) { n.Slug = strings.Repeat("a", 41) }, "slug"},
		{"no name", func(n *tenant.New) { n.Name = " " }, "name"},
		{"a long name", func(n *tenant.New) { n.Name = strings.Repeat("a", 101) }, "name"},
		{"no issuer", func(n *tenant.New) { n.Issuer = "" }, "origin"},
		{"an issuer without a scheme", func(n *tenant.New) { n.Issuer = "id.shop.example" }, "origin"},
		{"an issuer without a host", func(n *tenant.New) { n.Issuer = "https://:8443" }, "origin"},
		{"an issuer with a path", func(n *tenant.New) { n.Issuer += "/a" }, "origin"},
		{"an issuer with a query", func(n *tenant.New) { n.Issuer += "?a" }, "origin"},
		{"an issuer with a fragment", func(n *tenant.New) { n.Issuer += "#a" }, "origin"},
		{"an issuer with a user", func(n *tenant.New) { n.Issuer = "https://a@id.shop.example" }, "origin"},
		{"an issuer for any host", func(n *tenant.New) { n.Issuer = "https://*.shop.example" }, "origin"},
		{"an issuer with a dot at the end", func(n *tenant.New) { n.Issuer = "https://id.shop.example." }, "origin"},
		{"an issuer in other letters", func(n *tenant.New) { n.Issuer = "https://ıd.shop.example" }, "origin"},
		{"an issuer over http", func(n *tenant.New) { n.Issuer = "http://id.shop.example" }, "https"},
		{"an issuer over http on a host like loopback", func(n *tenant.New) { n.Issuer = "http://localhost.evil.example" }, "https"},
		{"an issuer of a script", func(n *tenant.New) { n.Issuer = "JaVaScript://id.shop.example" }, "not https"},
		{"wrong settings", func(n *tenant.New) { n.Settings.Password.MinLength = 3 }, "password.min_length"},
		{"no settings", func(n *tenant.New) { n.Settings = tenant.Settings{} }, "languages"},
	} {
		n := shop()
		c.change(&n)
		if _, err := w.Create(t.Context(), n); err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if all, err := w.List(t.Context(), "", 10); err != nil || len(all) != 0 {
		t.Errorf("%d tenants were made, %v", len(all), err)
	}
}

// TestDefaultPort: browsers leave a scheme's own port out of the Host header,
// so that a tenant that keeps it would never be found.
func TestDefaultPort(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	n := shop()
	n.Issuer = "https://id.shop.example:443"
	made := w.create(t, n)
	if made.Issuer != "https://id.shop.example" || made.Host != "id.shop.example" {
		t.Errorf("issuer %s, host %s", made.Issuer, made.Host)
	}
	n = shop()
	n.Slug, n.Issuer = "other", "https://id.shop.example:8443"
	if made := w.create(t, n); made.Host != "id.shop.example:8443" {
		t.Errorf("host %s", made.Host)
	}
}

func TestCreateTaken(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		first := w.create(t, shop())
		for name, change := range map[string]func(*tenant.New){
			"the slug":   func(n *tenant.New) { n.Issuer = "https://other.example" },
			"the issuer": func(n *tenant.New) { n.Slug = "other" },
			"the id":     func(n *tenant.New) { n.Slug, n.Issuer, n.ID = "other", "https://other.example", first.ID },
			"the host over another scheme": func(n *tenant.New) {
				local := shop()
				local.Slug, local.Issuer = "local", "http://localhost"
				w.create(t, local)
				n.Slug, n.Issuer = "other", "https://localhost"
			},
		} {
			n := shop()
			change(&n)
			if _, err := w.Create(t.Context(), n); !errors.Is(err, tenant.ErrTaken) {
				t.Errorf("%s: %v", name, err)
			}
		}
		var keys, tenants int
		for query, into := range map[string]*int{`SELECT COUNT(DISTINCT tenant) FROM tenant_key`: &keys, `SELECT COUNT(*) FROM tenant`: &tenants} {
			if err := w.db.QueryRow(t.Context(), query).Scan(into); err != nil {
				t.Fatal(err)
			}
		}
		if keys != tenants {
			t.Errorf("%d tenants have keys, but %d are there: keys are left of those that could not be made", keys, tenants)
		}
		if got, err := w.ByID(t.Context(), first.ID); err != nil || got.Issuer != first.Issuer {
			t.Errorf("the first is %v, %v", got, err)
		}
	})
}

func TestTwoNodesCreateOneTenant(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		nodes := []*world{w, w.second(t)}
		var made, taken int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				_, err := nodes[i%2].Create(t.Context(), shop())
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					made++
				case errors.Is(err, tenant.ErrTaken):
					taken++
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if made != 1 || taken != 15 {
			t.Errorf("%d made, %d refused", made, taken)
		}
	})
}

// TestUnknownNamesAreRemembered: strangers who ask for made-up hosts do not
// reach the database each time, and a tenant made since is found at once.
func TestUnknownNamesAreRemembered(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		unknown := func() {
			t.Helper()
			if _, err := w.ByHost(t.Context(), "id.shop.example"); !errors.Is(err, tenant.ErrNotFound) {
				t.Errorf("by host: %v", err)
			}
			if _, err := w.BySlug(t.Context(), "shop"); !errors.Is(err, tenant.ErrNotFound) {
				t.Errorf("by slug: %v", err)
			}
		}
		unknown()
		// Rows made behind the store's back are not seen: nobody asked again.
		err := w.db.Write(t.Context(), func(tx *sqldb.Tx) error {
			tx.Queue(`INSERT INTO tenant (tenant, slug, name, issuer, host, suspended, settings, revision, created_at, updated_at)
				VALUES ('ten_x', 'shop', 'x', 'https://id.shop.example', 'id.shop.example', $1, '{}', 1, 0, 0)`, false)
			tx.Queue(`INSERT INTO brand (tenant, brand, name, theme, revision, created_at) VALUES ('ten_x', 'brd_x', 'x', '{}', 1, 0)`)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		unknown()
		err = w.db.Write(t.Context(), func(tx *sqldb.Tx) error {
			tx.Queue(`DELETE FROM tenant WHERE tenant = 'ten_x'`)
			tx.Queue(`DELETE FROM brand WHERE tenant = 'ten_x'`)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		other := w.second(t)
		w.create(t, shop())
		if _, err := w.ByHost(t.Context(), "id.shop.example"); err != nil {
			t.Errorf("the node that made it: %v", err)
		}
		if _, err := other.ByHost(t.Context(), "id.shop.example"); err != nil {
			t.Errorf("another node: %v", err)
		}
		for _, name := range []string{"shop' OR ''='", "SHOP", "shop ", strings.Repeat("a", 300)} {
			if _, err := w.BySlug(t.Context(), name); !errors.Is(err, tenant.ErrNotFound) {
				t.Errorf("%q: %v", name, err)
			}
			if _, err := w.ByHost(t.Context(), name); !errors.Is(err, tenant.ErrNotFound) {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}

func TestApply(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		other := w.second(t)
		made := w.create(t, shop())
		if _, err := other.ByID(t.Context(), made.ID); err != nil {
			t.Fatal(err)
		}
		settings := tenant.Defaults()
		settings.Region = "DE"
		applied, err := w.Apply(t.Context(), made.ID, made.Revision, settings, "ops_1")
		if err != nil || applied.Settings.Region != "DE" || applied.Revision != 2 {
			t.Fatalf("got %+v, %v", applied, err)
		}
		if made.Settings.Region != "GB" {
			t.Error("the value handed out before has changed")
		}
		w.stale()
		if seen, err := other.ByID(t.Context(), made.ID); err != nil || seen.Settings.Region != "DE" {
			t.Errorf("another node sees %+v, %v", seen, err)
		}
		if _, err := w.Apply(t.Context(), made.ID, made.Revision, settings, ""); !errors.Is(err, tenant.ErrChanged) {
			t.Errorf("an old revision: %v", err)
		}
		settings.Region = "FR"
		if applied, err := other.Apply(t.Context(), made.ID, 0, settings, ""); err != nil || applied.Revision != 3 {
			t.Errorf("whatever there is: %+v, %v", applied, err)
		}
		settings.Region = "nowhere"
		if _, err := w.Apply(t.Context(), made.ID, 0, settings, ""); err == nil || !strings.Contains(err.Error(), "region") {
			t.Errorf("wrong settings: %v", err)
		}
		if _, err := w.Apply(t.Context(), "ten_nobody", 0, tenant.Defaults(), ""); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("nobody's settings: %v", err)
		}
		if got := w.events(t, made.ID); !slices.Equal(got, []string{"tenant.created", "tenant.settings.applied", "tenant.settings.applied"}) {
			t.Errorf("events %v", got)
		}
	})
}

func TestTwoNodesApplyToOneRevision(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		nodes := []*world{w, w.second(t)}
		made := w.create(t, shop())
		var applied, refused int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				_, err := nodes[i%2].Apply(t.Context(), made.ID, 1, tenant.Defaults(), "")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					applied++
				case errors.Is(err, tenant.ErrChanged):
					refused++
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if applied != 1 || refused != 15 {
			t.Errorf("%d applied, %d refused", applied, refused)
		}
	})
}

func TestSuspend(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		other := w.second(t)
		made := w.create(t, shop())
		if _, err := other.BySlug(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
		if got, err := w.SetSuspended(t.Context(), made.ID, true, ""); err != nil || !got.Suspended {
			t.Errorf("got %+v, %v", got, err)
		}
		w.stale()
		if seen, err := other.BySlug(t.Context(), "shop"); err != nil || !seen.Suspended {
			t.Errorf("another node sees %+v, %v", seen, err)
		}
		if got, err := w.SetSuspended(t.Context(), made.ID, false, ""); err != nil || got.Suspended {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestList(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var made []id.Tenant
		for _, slug := range []string{"a", "b", "c"} {
			n := shop()
			n.Slug, n.Issuer = slug, "https://"+slug+".example"
			made = append(made, w.create(t, n).ID)
		}
		slices.Sort(made)
		var listed []id.Tenant
		for after := id.Tenant(""); ; {
			page, err := w.List(t.Context(), after, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, one := range page {
				listed = append(listed, one.ID)
				after = one.ID
			}
		}
		if !slices.Equal(listed, made) {
			t.Errorf("listed %v of %v", listed, made)
		}
	})
}
