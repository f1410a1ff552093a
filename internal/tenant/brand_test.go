package tenant_test

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/tenant"
)

func picture(t testing.TB, side int) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewGray(image.Rect(0, 0, side, side))); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func change(t testing.TB, text string) brand.Change {
	t.Helper()
	c, err := brand.ParseChange([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBrandIsApplied(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		other := w.second(t)
		made := w.create(t, shop())
		if made.Brand.Revision != 1 || len(made.Brand.Assets) != 0 {
			t.Errorf("a new brand is %+v", made.Brand)
		}
		if _, err := other.ByID(t.Context(), made.ID); err != nil {
			t.Fatal(err)
		}
		applied, err := w.ApplyBrand(t.Context(), made.ID, 1, change(t, `{name: Olive, theme: {radius: 4}, links: {de: {imprint: "https://olive.example/i"}}}`), "ops_1")
		if err != nil || applied.Brand.Name != "Olive" || applied.Brand.Revision != 2 || string(applied.Brand.Theme) != `{"radius":4}` {
			t.Fatalf("%+v, %v", applied, err)
		}
		if made.Brand.Name != "Shop" || made.Brand.Document.Links != nil {
			t.Error("the value handed out before has changed")
		}
		w.stale()
		if seen, err := other.ByID(t.Context(), made.ID); err != nil || seen.Brand.Document.Link("de", "imprint") != "https://olive.example/i" {
			t.Errorf("another node sees %+v, %v", seen.Brand, err)
		}
		if _, err := w.ApplyBrand(t.Context(), made.ID, 1, change(t, `css: "h1{color:#000000}"`), ""); !errors.Is(err, tenant.ErrChanged) {
			t.Errorf("an old revision: %v", err)
		}
		// Without a revision, whatever there is; what is not named stays.
		applied, err = other.ApplyBrand(t.Context(), made.ID, 0, change(t, `css: "h1{color:#000000}"`), "")
		if err != nil || applied.Brand.Revision != 3 || applied.Brand.Name != "Olive" || applied.Brand.Document.CSS == "" {
			t.Errorf("%+v, %v", applied, err)
		}
		for name, text := range map[string]string{"no name": `name: " "`, "a long name": `name: "` + strings.Repeat("x", 101) + `"`} {
			if _, err := w.ApplyBrand(t.Context(), made.ID, 0, change(t, text), ""); !errors.Is(err, tenant.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.ApplyBrand(t.Context(), "ten_nobody", 0, brand.Change{}, ""); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("nobody's brand: %v", err)
		}
		if got := w.events(t, made.ID); !slices.Equal(got, []string{"brand.applied", "brand.applied", "tenant.created"}) {
			t.Errorf("events %v", got)
		}
	})
}

// What those who draw pages refuse is not stored.
func TestBrandIsCheckedByWhoUsesIt(t *testing.T) {
	w := newWorld(t, "sqlite")
	made := w.create(t, shop())
	w.CheckBrand = func(t *tenant.Tenant) error {
		if t.Brand.Document.CSS != "" {
			return errors.New("no css today")
		}
		return nil
	}
	if _, err := w.ApplyBrand(t.Context(), made.ID, 0, change(t, `css: x`), ""); !errors.Is(err, tenant.ErrInvalid) || !strings.Contains(err.Error(), "no css today") {
		t.Error(err)
	}
	if _, err := w.WithBrand(made, change(t, `css: x`)); !errors.Is(err, tenant.ErrInvalid) {
		t.Error(err)
	}
	shown, err := w.WithBrand(made, change(t, `name: Shown`))
	if err != nil || shown.Brand.Name != "Shown" || made.Brand.Name != "Shop" {
		t.Errorf("%+v, %v", shown, err)
	}
	if got, err := w.ByID(t.Context(), made.ID); err != nil || got.Brand.Revision != 1 {
		t.Errorf("stored: %+v, %v", got.Brand, err)
	}
}

func TestBrandAssets(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		other := w.second(t)
		made := w.create(t, shop())
		small, large := picture(t, 8), picture(t, 16)
		got, err := w.SetBrandAsset(t.Context(), made.ID, 0, brand.Logo, small, "ops_1")
		if err != nil {
			t.Fatal(err)
		}
		first := got.Brand.Assets[0]
		if first.Type != "image/png" || first.Width != 8 || got.Brand.Revision != 2 {
			t.Errorf("%+v", got.Brand)
		}
		w.stale()
		seen, err := other.ByID(t.Context(), made.ID)
		if err != nil {
			t.Fatal(err)
		}
		if asset, body, err := other.BrandAsset(t.Context(), seen, first.Name); err != nil || !bytes.Equal(body, small) || asset.Type != "image/png" {
			t.Errorf("another node reads %+v, %v", asset, err)
		}
		// One in its place has another name; the one before is gone.
		got, err = other.SetBrandAsset(t.Context(), made.ID, got.Brand.Revision, brand.Logo, large, "")
		if err != nil || len(got.Brand.Assets) != 1 || got.Brand.Assets[0].Name == first.Name {
			t.Fatalf("%+v, %v", got, err)
		}
		if _, _, err := other.BrandAsset(t.Context(), got, first.Name); !errors.Is(err, tenant.ErrNoAsset) {
			t.Errorf("the one before: %v", err)
		}
		// The same file may have two roles.
		if got, err = w.SetBrandAsset(t.Context(), made.ID, 0, brand.Favicon, large, ""); err != nil || len(got.Brand.Assets) != 2 {
			t.Fatalf("%+v, %v", got, err)
		}
		if _, err := w.SetBrandAsset(t.Context(), made.ID, 1, brand.Logo, small, ""); !errors.Is(err, tenant.ErrChanged) {
			t.Errorf("an old revision: %v", err)
		}
		if _, err := w.SetBrandAsset(t.Context(), made.ID, 0, brand.Logo, []byte("<script>"), ""); !errors.Is(err, tenant.ErrInvalid) || !errors.Is(err, brand.ErrAsset) {
			t.Errorf("no picture: %v", err)
		}
		if got, err = w.RemoveBrandAsset(t.Context(), made.ID, 0, brand.Logo, ""); err != nil || len(got.Brand.Assets) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := w.RemoveBrandAsset(t.Context(), made.ID, 0, brand.Logo, ""); !errors.Is(err, tenant.ErrNoAsset) {
			t.Errorf("twice: %v", err)
		}
		if _, body, err := w.BrandAsset(t.Context(), got, got.Brand.Assets[0].Name); err != nil || !bytes.Equal(body, large) {
			t.Errorf("the other role's: %v", err)
		}
		// Another tenant's names are nothing here.
		n := shop()
		n.Slug, n.Issuer = "other", "https://other.example"
		stranger := w.create(t, n)
		if _, _, err := w.BrandAsset(t.Context(), stranger, got.Brand.Assets[0].Name); !errors.Is(err, tenant.ErrNoAsset) {
			t.Errorf("of another tenant: %v", err)
		}
		want := []string{"brand.asset.removed", "brand.asset.set", "brand.asset.set", "brand.asset.set", "tenant.created"}
		if got := w.events(t, made.ID); !slices.Equal(got, want) {
			t.Errorf("events %v", got)
		}
	})
}

func TestTwoNodesChangeOneBrand(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		nodes := []*world{w, w.second(t)}
		made := w.create(t, shop())
		var applied, refused int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				_, err := nodes[i%2].ApplyBrand(t.Context(), made.ID, 1, brand.Change{}, "")
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
		if applied != 1 || refused != 11 {
			t.Errorf("%d applied, %d refused", applied, refused)
		}
	})
}
