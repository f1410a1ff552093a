package server_test

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/png"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

const brandOfAna = `
name: "Ana's <b>Garden</b>"
theme: {radius: 3}
links:
  en: {privacy: "https://garden.example/privacy"}
  de: {imprint: "https://garden.example/impressum", privacy: "https://garden.example/datenschutz"}
css: "h1{font-size:2rem} main{background:url(asset:background) center no-repeat}"
texts:
  de:
    identify.title: 'Guten Tag <img src=x onerror=alert(1)> & mehr'
    common.to_app: "weiter zu {App}, los"
mail:
  from_name: Gärtnerei
  from_address: hallo@garden.example
  texts: {de: {code: {subject: "{Code} öffnet das Tor", intro: "Willkommen <i>im</i> Garten."}}}
`

// woff2 is the header and directory of a variable font; glyphs are the
// browser's to read.
func woff2() []byte {
	font := append([]byte("wOF2"), bytes.Repeat([]byte{0}, 44)...)
	binary.BigEndian.PutUint32(font[4:], 0x00010000)
	binary.BigEndian.PutUint16(font[12:], 1)
	font = append(font, 47, 9, 1, 2, 3)
	binary.BigEndian.PutUint32(font[8:], uint32(len(font)))
	return font
}

// dress gives a tenant the brand of the test.
func dress(t *testing.T, i *servertest.Installation, of *tenant.Tenant) *tenant.Tenant {
	t.Helper()
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 200, 50))); err != nil {
		t.Fatal(err)
	}
	const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 40"><path d="M0 0h120v40z"/></svg>`
	for role, body := range map[brand.Role][]byte{brand.Logo: []byte(logo), brand.Favicon: picture.Bytes(), brand.Background: picture.Bytes(), brand.Font: woff2()} {
		if _, err := i.Tenants.SetBrandAsset(t.Context(), of.ID, 0, role, body, "test"); err != nil {
			t.Fatal(err)
		}
	}
	change, err := brand.ParseChange([]byte(brandOfAna))
	if err != nil {
		t.Fatal(err)
	}
	dressed, err := i.Tenants.ApplyBrand(t.Context(), of.ID, 0, change, "test")
	if err != nil {
		t.Fatal(err)
	}
	return dressed
}

var addresses = regexp.MustCompile(`(?:href|src|srcset)="([^"]*/assets/[^"]+)"|url\("([^"]+)"\)`)

func TestABrandIsShown(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		garden := dress(t, i, i.Tenant("garden", nil))
		other := i.Tenant("other", nil)
		b := i.Browser()
		page := b.Get(garden.Issuer + "/sign-in?ui_locales=de")
		for _, part := range []string{
			`<html lang="de"`, "Ana&#39;s &lt;b&gt;Garden&lt;/b&gt;", "Guten Tag &lt;img src=x onerror=alert(1)&gt; &amp; mehr",
			`href="https://garden.example/impressum"`, `href="https://garden.example/datenschutz"`, "Impressum", `width="120" height="40"`,
			`as="font" type="font/woff2" crossorigin`, `/t/garden/assets/brand.`,
		} {
			if !strings.Contains(page.Body, part) {
				t.Errorf("the page lacks %q:\n%s", part, page.Body)
			}
		}
		if page.Status != 200 || strings.Contains(page.Body, "<img src=x") || strings.Contains(page.Body, "<b>Garden") {
			t.Errorf("%d:\n%s", page.Status, page.Body)
		}
		english := b.Get(garden.Issuer + "/sign-in?ui_locales=en").Body
		if strings.Contains(english, "Guten Tag") || !strings.Contains(english, `href="https://garden.example/privacy"`) || !strings.Contains(english, `href="https://garden.example/impressum"`) {
			t.Errorf("in English:\n%s", english)
		}

		// Everything that the page and its stylesheets load is there, and inert.
		seen, types := map[string]bool{}, map[string]int{}
		var follow func(text string)
		follow = func(text string) {
			for _, found := range addresses.FindAllStringSubmatch(text, -1) {
				address := found[1] + found[2]
				if seen[address] {
					continue
				}
				seen[address] = true
				if !strings.HasPrefix(address, "/t/garden/assets/") {
					t.Errorf("%s is not the tenant's", address)
					continue
				}
				asset := b.Get(i.Base + address)
				h := asset.Header
				types[h.Get("Content-Type")]++
				if asset.Status != 200 || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "public, max-age=31536000, immutable" ||
					!strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") ||
					h.Get("Cross-Origin-Resource-Policy") != "same-origin" || h.Get("Etag") == "" {
					t.Errorf("%s: %d %v", address, asset.Status, h)
				}
				if strings.HasPrefix(h.Get("Content-Type"), "text/css") {
					follow(asset.Body)
				}
				// At another tenant the brand's files are nothing.
				if strings.Contains(address, "/brand/") {
					if there := b.Get(other.Issuer + strings.TrimPrefix(address, "/t/garden")); there.Status != http.StatusNotFound {
						t.Errorf("%s at another tenant: %d", address, there.Status)
					}
				}
			}
		}
		follow(page.Body)
		for _, kind := range []string{"text/css; charset=utf-8", "image/svg+xml", "image/png", "font/woff2", "text/javascript; charset=utf-8"} {
			if types[kind] == 0 {
				t.Errorf("nothing of the type %s was loaded: %v", kind, types)
			}
		}
		for _, name := range []string{"0123456789abcdef0123456789abcdef.png", "..%2f..%2fcardea.db", "x"} {
			if got := b.Get(garden.Issuer + "/assets/brand/" + name); got.Status != http.StatusNotFound {
				t.Errorf("%s: %d", name, got.Status)
			}
		}
		if csp := page.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "style-src 'self';") || !strings.Contains(csp, "img-src 'self' data:;") || !strings.Contains(csp, "font-src 'self';") {
			t.Errorf("the page's policy is %s", csp)
		}
	})
}

// The pages that ask what an application may have, or that stop something,
// have none of a brand's own CSS.
func TestABrandsCSSDoesNotReachDecisions(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		garden := dress(t, i, i.Tenant("garden", nil))
		b := i.Browser()
		const own = "/assets/brand."
		if page := b.Get(garden.Issuer + "/sign-in"); !strings.Contains(page.Body, own) {
			t.Error("the sign-in page lacks it")
		}
		page := b.Get(garden.Issuer + "/authorize?client_id=app_01kdvdna00f48vq867hh9wkbbq")
		if page.Status != http.StatusBadRequest || strings.Contains(page.Body, own) || !strings.Contains(page.Body, "/assets/cardea.") {
			t.Errorf("%d: %s", page.Status, page.Body)
		}
		preview, err := i.PreviewPage(t.Context(), garden, "consent", "en")
		if err != nil || bytes.Contains(preview, []byte("h1{font-size:2rem}")) {
			t.Errorf("the consent page has it: %v", err)
		}
	})
}

func TestABrandsMail(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		garden := dress(t, i, i.Tenant("garden", nil))
		b := i.Browser()
		page := b.Get(garden.Issuer + "/sign-up?ui_locales=de")
		b.Answer(page, url.Values{"identifier": {"new@example.com"}})
		code := i.Code("new@example.com")
		letters, err := i.Inbox.List(t.Context(), "new@example.com", "", 1)
		if err != nil || len(letters) != 1 {
			t.Fatal(letters, err)
		}
		m := letters[0]
		if !strings.HasSuffix(m.Subject, "öffnet das Tor") || !strings.HasPrefix(strings.ReplaceAll(m.Subject, " ", ""), code) {
			t.Errorf("subject %q", m.Subject)
		}
		if !strings.Contains(m.Text, "Willkommen <i>im</i> Garten.") || !strings.Contains(m.Text, "Wenn Sie das nicht waren") {
			t.Errorf("text %q", m.Text)
		}
		if m.From != "hallo@garden.example" || m.Name != "Gärtnerei" {
			t.Errorf("from %q <%s>", m.Name, m.From)
		}
	})
}

// A look that was stored and cannot be drawn any more keeps nobody out.
func TestABrokenBrandKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, "sqlite")
	garden := dress(t, i, i.Tenant("garden", nil))
	stale := *garden
	stale.Brand.Assets, stale.Brand.Revision = nil, 999 // its CSS names a picture that is gone
	if _, _, err := i.Pages.Accent(t.Context(), &stale); err != nil {
		t.Error(err)
	}
}
