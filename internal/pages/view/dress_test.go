package view

import (
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/i18n"
)

func dressed(t testing.TB, v *Views, d Dress) *Look {
	t.Helper()
	look, err := v.Dressed(v.OliveAndThyme(), d)
	if err != nil {
		t.Fatal(err)
	}
	return look
}

func (l *Look) sheet(t testing.TB, address string) string {
	t.Helper()
	asset, ok := l.Asset(strings.TrimPrefix(address, AssetPath))
	if !ok || asset.ContentType != "text/css; charset=utf-8" {
		t.Fatalf("%s is not a stylesheet", address)
	}
	return string(asset.Body)
}

func TestDressIsWorn(t *testing.T) {
	v := newViews(t)
	look := dressed(t, v, Dress{
		Favicon: "/assets/brand/1.png", Backdrop: Image{URL: "/assets/brand/2.png"}, Text: Face{URL: "/assets/brand/3.woff2", Variable: true},
		CSS: "h1{color:#000000}\n", Footer: map[string][]Link{"de": {{T("footer.accessibility"), "https://a.example/"}}},
		Texts: map[string]map[string]i18n.Custom{"de": {"identify.title": {"": "<b>Guten Tag</b> & willkommen"}, "common.to_app": {"": "zu {App}!"}}},
	})
	page := samples(plain)["identify"]
	page.Look, page.Lang = look, "de"
	html := render(t, v, page)
	for _, part := range []string{`<link rel="icon" href="/assets/brand/1.png">`, `<link rel="preload" href="/assets/brand/3.woff2" as="font" type="font/woff2" crossorigin>`,
		`<link rel="stylesheet" href="` + look.OwnSheet + `">`, `<a href="https://a.example/">Barrierefreiheit</a>`,
		"<h1>&lt;b&gt;Guten Tag&lt;/b&gt; &amp; willkommen</h1>", "zu <bdi>Olive &amp; Thyme Shop</bdi>!"} {
		if !strings.Contains(html, part) {
			t.Errorf("the page lacks %s:\n%s", part, html)
		}
	}
	if got := look.sheet(t, look.OwnSheet); got != "h1{color:#000000}\n" {
		t.Errorf("the brand's own stylesheet is %q", got)
	}
	sheet := look.sheet(t, look.Stylesheet)
	for _, part := range []string{`@font-face{font-family:"brand";src:url("/assets/brand/3.woff2") format("woff2");font-weight:100 900;font-display:optional}`,
		`--font:"brand",`, `--font-heading:"brand",`, `--backdrop:url("/assets/brand/2.png")`, "--backdrop-filter:", "inline-size:38rem"} {
		if !strings.Contains(sheet, part) {
			t.Errorf("the stylesheet lacks %s", part)
		}
	}
	page.Lang = "en"
	if html := render(t, v, page); strings.Contains(html, "Guten Tag") || strings.Contains(html, "a.example") {
		t.Errorf("in English:\n%s", html)
	}
	for _, name := range []string{"consent", "disown", "fault-redirect", "limited", "reviewaddresses"} {
		page := samples(plain)[name]
		page.Look = look
		if html := render(t, v, page); strings.Contains(html, look.OwnSheet) || !strings.Contains(html, look.Stylesheet) {
			t.Errorf("%s has the brand's own CSS", name)
		}
	}
}

// What only some brands have costs the others nothing.
func TestPlainBrandsCarryNothingMore(t *testing.T) {
	v := newViews(t)
	look := dressed(t, v, Dress{})
	sheet := look.sheet(t, look.Stylesheet)
	page := samples(plain)["identify"]
	page.Look = look
	html := render(t, v, page)
	if strings.Contains(sheet, "backdrop") || strings.Contains(sheet, "@font-face") || strings.Contains(html, "preload") || strings.Count(html, `rel="stylesheet"`) != 1 {
		t.Errorf("%s\n%s", html, sheet)
	}
}

func TestHeadingsMayHaveTheirOwnFace(t *testing.T) {
	var b strings.Builder
	text, heading := Dress{Heading: Face{URL: "/assets/brand/4.woff2"}}.faces(&b, "sans", "serif")
	if text != "sans" || heading != `"brand heading",serif` || strings.Contains(b.String(), "font-weight") {
		t.Errorf("%s, %s, %s", text, heading, b.String())
	}
}
