package application_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/tenant"
)

func TestCreateAndGet(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		settings := shop()
		settings.FirstParty, settings.AccessTTL, settings.PostLogoutURIs = true, tenant.Duration(5*time.Minute), []string{"https://shop.example/"}
		made, _ := w.create(t, settings)
		if made.Tenant != acme || made.Revision != 1 || made.Name != "Shop" || !made.FirstParty || made.AccessTTL.D() != 5*time.Minute {
			t.Errorf("got %+v", made)
		}
		got, err := w.second(t).Get(t.Context(), acme, made.ID)
		if err != nil || fmt.Sprint(got.Settings) != fmt.Sprint(made.Settings) {
			t.Errorf("another node reads %+v, %v", got, err)
		}
		if n := w.count(t, `SELECT COUNT(*) FROM event WHERE tenant = $1 AND type = 'application.created'`, acme); n != 1 {
			t.Errorf("%d events", n)
		}
		const chosen id.Application = "app_01kqspr900e0080g0000000000"
		if _, err := id.Parse[id.Application](string(chosen)); err != nil {
			t.Fatal(err)
		}
		if made, _, err := w.Create(t.Context(), acme, chosen, shop(), ""); err != nil || made.ID != chosen {
			t.Errorf("with an id: %+v, %v", made, err)
		}
		if _, _, err := w.Create(t.Context(), acme, chosen, shop(), ""); !errors.Is(err, application.ErrTaken) {
			t.Errorf("twice: %v", err)
		}
		if _, _, err := w.Create(t.Context(), acme, "my-shop", shop(), ""); !errors.Is(err, application.ErrInvalid) {
			t.Errorf("with an id that is none: %v", err)
		}
	})
}

func TestNothingIsMadeWithoutItsKey(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.keyless = errors.New("no key store")
		if _, _, err := w.Create(t.Context(), acme, "", shop(), ""); !errors.Is(err, w.keyless) {
			t.Errorf("got %v", err)
		}
		if n := w.count(t, `SELECT COUNT(*) FROM application`); n != 0 {
			t.Errorf("%d applications", n)
		}
	})
}

func TestSecrets(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		made, secret := w.create(t, shop())
		if raw, err := base64.RawURLEncoding.DecodeString(secret); err != nil || len(raw) != 32 {
			t.Errorf("a secret is 256 bits: %d, %v", len(raw), err)
		}
		read := func(app *application.Application, presented string) bool { return app.CheckSecret(presented) }
		if !read(made, secret) {
			t.Error("the secret is not taken")
		}
		// C5: no other spelling, nothing cut off, nothing added.
		wrong := []string{"", secret[:len(secret)-1], secret + "A", secret + "=", " " + secret, strings.ToUpper(secret), strings.ToLower(secret), secret + "\x00"}
		raw, _ := base64.RawURLEncoding.DecodeString(secret)
		wrong = append(wrong, string(raw), base64.StdEncoding.EncodeToString(raw)+"x")
		for _, presented := range wrong {
			if presented != secret && read(made, presented) {
				t.Errorf("%q is taken", presented)
			}
		}
		if n := w.count(t, `SELECT COUNT(*) FROM application WHERE tenant = $1 AND settings <> ''`, acme); n != 1 {
			t.Fatal("nothing is stored")
		}
		var stored string
		if err := w.db.QueryRow(t.Context(), `SELECT settings FROM application WHERE tenant = $1`, acme).Scan(&stored); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(stored, secret) {
			t.Error("the secret is stored as it is")
		}
		if strings.Contains(fmt.Sprintf("%+v", made.Settings), secret) {
			t.Error("the secret is printed")
		}
		// A hash that is stolen is no secret.
		if _, hash, found := strings.Cut(stored, `"secret_hashes":["`); !found || read(made, hash[:44]) {
			t.Error("the stored hash is taken as a secret")
		}
		public, none := w.create(t, application.Settings{Name: "S", Kind: application.SPA, RedirectURIs: []string{"https://s.example/"}})
		if none != "" || public.CheckSecret("") || public.CheckSecret("x") {
			t.Error("an application that keeps no secret takes one")
		}
	})
}

func TestRotateSecret(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		elsewhere := w.second(t)
		made, first := w.create(t, shop())
		good := func(of *world, secrets ...string) (taken []bool) {
			t.Helper()
			app, err := of.Get(t.Context(), acme, made.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range secrets {
				taken = append(taken, app.CheckSecret(secret))
			}
			return taken
		}
		good(elsewhere)
		second, err := w.RotateSecret(t.Context(), acme, made.ID, true, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := good(w, first, second); !slices.Equal(got, []bool{true, true}) {
			t.Errorf("while both are good: %v", got)
		}
		// At once, from a node that has cached the application.
		third, err := elsewhere.RotateSecret(t.Context(), acme, made.ID, true, "")
		if err != nil {
			t.Fatal(err)
		}
		w.stale()
		if got := good(w, first, second, third); !slices.Equal(got, []bool{false, true, true}) {
			t.Errorf("the last two are good: %v", got)
		}
		fourth, err := w.RotateSecret(t.Context(), acme, made.ID, false, "")
		if err != nil {
			t.Fatal(err)
		}
		w.stale()
		if got := good(elsewhere, first, second, third, fourth); !slices.Equal(got, []bool{false, false, false, true}) {
			t.Errorf("only the last is good: %v", got)
		}
		public, _ := w.create(t, application.Settings{Name: "S", Kind: application.SPA, RedirectURIs: []string{"https://s.example/"}})
		if _, err := w.RotateSecret(t.Context(), acme, public.ID, false, ""); !errors.Is(err, application.ErrInvalid) {
			t.Errorf("one that keeps no secret: %v", err)
		}
		if n := w.count(t, `SELECT COUNT(*) FROM event WHERE tenant = $1 AND type = 'application.secret.rotated'`, acme); n != 3 {
			t.Errorf("%d events", n)
		}
	})
}

func TestUpdate(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		elsewhere := w.second(t)
		made, secret := w.create(t, shop())
		if _, err := elsewhere.Get(t.Context(), acme, made.ID); err != nil {
			t.Fatal(err)
		}
		settings := shop()
		settings.Name, settings.Disabled = "Store", true
		updated, err := w.Update(t.Context(), acme, made.ID, made.Revision, settings, "")
		if err != nil || updated.Name != "Store" || updated.Revision != 2 || !updated.Disabled {
			t.Fatalf("got %+v, %v", updated, err)
		}
		if made.Name != "Shop" || made.Disabled {
			t.Error("the value handed out before has changed")
		}
		if !updated.CheckSecret(secret) {
			t.Error("the secret was lost")
		}
		if _, err := w.Update(t.Context(), acme, made.ID, made.Revision, settings, ""); !errors.Is(err, application.ErrChanged) {
			t.Errorf("an old revision: %v", err)
		}
		// From a node that has cached what was: whatever there is, is replaced.
		settings.Name = "Boutique"
		if updated, err := elsewhere.Update(t.Context(), acme, made.ID, 0, settings, ""); err != nil || updated.Revision != 3 {
			t.Errorf("whatever there is: %+v, %v", updated, err)
		}
		w.stale()
		if seen, err := w.Get(t.Context(), acme, made.ID); err != nil || seen.Name != "Boutique" {
			t.Errorf("another node sees %+v, %v", seen, err)
		}
		settings.RedirectURIs = nil
		if _, err := w.Update(t.Context(), acme, made.ID, 0, settings, ""); !errors.Is(err, application.ErrInvalid) {
			t.Errorf("wrong settings: %v", err)
		}
	})
}

// TestSecretsGoWithTheMethod: an application that stops keeping a secret has
// none when it starts again.
func TestSecretsGoWithTheMethod(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		made, secret := w.create(t, shop())
		public := shop()
		public.AuthMethod = application.AuthNone
		if now, err := w.Update(t.Context(), acme, made.ID, 0, public, ""); err != nil || now.CheckSecret(secret) {
			t.Fatalf("the secret is still good: %v", err)
		}
		if _, err := w.Update(t.Context(), acme, made.ID, 0, shop(), ""); !errors.Is(err, application.ErrInvalid) {
			t.Errorf("it keeps a secret that it does not have: %v", err)
		}
	})
}

func TestTwoNodesUpdateOneRevision(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		nodes := []*world{w, w.second(t)}
		made, _ := w.create(t, shop())
		var updated, refused int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				_, err := nodes[i%2].Update(t.Context(), acme, made.ID, 1, shop(), "")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					updated++
				case errors.Is(err, application.ErrChanged):
					refused++
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if updated != 1 || refused != 15 {
			t.Errorf("%d updated, %d refused", updated, refused)
		}
	})
}

func TestAnotherTenantsApplicationIsNone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		made, _ := w.create(t, shop())
		if _, err := w.Get(t.Context(), other, made.ID); !errors.Is(err, application.ErrNotFound) {
			t.Errorf("get: %v", err)
		}
		if _, err := w.Update(t.Context(), other, made.ID, 0, shop(), ""); !errors.Is(err, application.ErrNotFound) {
			t.Errorf("update: %v", err)
		}
		if _, err := w.RotateSecret(t.Context(), other, made.ID, false, ""); !errors.Is(err, application.ErrNotFound) {
			t.Errorf("rotate: %v", err)
		}
		if all, err := w.List(t.Context(), other, "", 10); err != nil || len(all) != 0 {
			t.Errorf("list: %v, %v", all, err)
		}
		for _, unknown := range []id.Application{"", "app", "app_' OR ''='", id.Application(strings.Repeat("a", 5000)), "app_01kqspr900e0080g0000000000"} {
			if _, err := w.Get(t.Context(), acme, unknown); !errors.Is(err, application.ErrNotFound) {
				t.Errorf("%.20s: %v", unknown, err)
			}
		}
	})
}

// TestUnknownIDsAreRemembered, and one made since is found.
func TestUnknownIDsAreRemembered(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const chosen id.Application = "app_01kqspr900e0080g0000000000"
		if _, err := w.Get(t.Context(), acme, chosen); !errors.Is(err, application.ErrNotFound) {
			t.Fatal(err)
		}
		elsewhere := w.second(t)
		if _, _, err := elsewhere.Create(t.Context(), acme, chosen, shop(), ""); err != nil {
			t.Fatal(err)
		}
		w.stale()
		if _, err := w.Get(t.Context(), acme, chosen); err != nil {
			t.Error(err)
		}
	})
}

func TestList(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var made []id.Application
		for range 5 {
			app, _ := w.create(t, shop())
			made = append(made, app.ID)
			w.clock.Advance(time.Second)
		}
		var listed []id.Application
		for after := id.Application(""); ; {
			page, err := w.List(t.Context(), acme, after, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, app := range page {
				listed = append(listed, app.ID)
				after = app.ID
			}
		}
		if !slices.Equal(listed, made) {
			t.Errorf("listed %v of %v", listed, made)
		}
	})
}
