package view

import (
	"errors"
	"strings"
	"testing"
)

// Look refuses a theme whose contrast is too low; here each pair of the built-
// in brands is held to it, light and dark.
func TestBuiltInThemesHaveContrast(t *testing.T) {
	v := newViews(t)
	for _, theme := range []Theme{v.OliveAndThyme(), v.Cardea()} {
		if theme.Dark == nil {
			t.Fatalf("%s has no dark look", theme.Name)
		}
		for scheme, colours := range map[string]Colours{"light": theme.Light, "dark": *theme.Dark} {
			for _, fault := range colours.check(scheme) {
				t.Errorf("%s: %v", theme.Name, fault)
			}
		}
	}
}

func TestContrast(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want float64
	}{{"#000000", "#ffffff", 21}, {"#777777", "#ffffff", 4.48}, {"#FFFFFF", "#ffffff", 1}} {
		if got := Contrast(tt.a, tt.b); got < tt.want-0.01 || got > tt.want+0.01 {
			t.Errorf("%s on %s: %.3f, want %.2f", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestLookRefuses(t *testing.T) {
	v := newViews(t)
	for name, spoil := range map[string]func(*Theme){
		"colour that ends the rule":  func(t *Theme) { t.Light.Accent = "#000;}body{display:none" },
		"colour by name":             func(t *Theme) { t.Light.Text = "black" },
		"colour with a url":          func(t *Theme) { t.Dark.Ground = "url(//evil)" },
		"colour with a newline":      func(t *Theme) { t.Light.Line = "#000000\n" },
		"font of one's own":          func(t *Theme) { t.Text = `x;}@import "//evil` },
		"radius":                     func(t *Theme) { t.Radius = 900 },
		"logo elsewhere":             func(t *Theme) { t.Logo.URL = "https://evil.example/x.svg" },
		"logo elsewhere, no scheme":  func(t *Theme) { t.Logo.URL = "//evil.example/x.svg" },
		"logo elsewhere, backslash":  func(t *Theme) { t.Logo.URL = `/\evil.example/x.svg` },
		"logo that runs":             func(t *Theme) { t.Logo.URL = "javascript:alert(1)" },
		"logo of a page":             func(t *Theme) { t.Logo.DarkURL = "data:text/html;base64,AAAA" },
		"art that leaves its string": func(t *Theme) { t.Art.URL = `/a");}body{background:url("//evil` },
		"footer that runs":           func(t *Theme) { t.Links = []Link{{Literal("x"), "javascript:alert(1)"}} },
		"footer elsewhere":           func(t *Theme) { t.Links = []Link{{Literal("x"), "//evil.example"}} },
		"no name":                    func(t *Theme) { t.Name = " " },
		"grey on white":              func(t *Theme) { t.Light.TextQuiet = "#aaaaaa" },
		"dark button on dark":        func(t *Theme) { t.Dark.OnAccent = "#999999" },
		"edge that can't be seen":    func(t *Theme) { t.Light.Line = "#dddddd" },
	} {
		t.Run(name, func(t *testing.T) {
			theme := v.OliveAndThyme()
			spoil(&theme)
			if _, err := v.Look(theme); !errors.Is(err, ErrTheme) {
				t.Errorf("taken: %v", err)
			}
		})
	}
}

func TestLookSaysEverythingThatIsWrong(t *testing.T) {
	v := newViews(t)
	theme := v.OliveAndThyme()
	theme.Radius, theme.Text, theme.Light.Accent = -1, "comic", "red"
	_, err := v.Look(theme)
	for _, part := range []string{"radius", "comic", "accent"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
}

func TestLookIsServedByHash(t *testing.T) {
	v := newViews(t)
	olive, again, other := newLook(t, v, v.OliveAndThyme()), newLook(t, v, v.OliveAndThyme()), newLook(t, v, v.Cardea())
	if olive.Stylesheet != again.Stylesheet || olive.Stylesheet == other.Stylesheet {
		t.Errorf("%s, %s, %s", olive.Stylesheet, again.Stylesheet, other.Stylesheet)
	}
	asset, ok := olive.Asset(strings.TrimPrefix(olive.Stylesheet, AssetPath))
	if !ok || asset.ContentType != "text/css; charset=utf-8" || !strings.Contains(string(asset.Body), "--accent:#4f5d1d") || !strings.Contains(olive.Stylesheet, asset.Hash) {
		t.Errorf("%v %+v", ok, asset.ContentType)
	}
	if !strings.Contains(string(asset.Body), "prefers-color-scheme:dark") {
		t.Error("no dark look")
	}
	if _, ok := other.Asset(strings.TrimPrefix(olive.Stylesheet, AssetPath)); ok {
		t.Error("one brand's stylesheet is served as another's")
	}
	for name, want := range map[string]string{"cardea.js": "text/javascript; charset=utf-8", "olive.svg": "image/svg+xml"} {
		asset, ok := v.Asset(strings.TrimPrefix(v.assets.url(name), AssetPath))
		if !ok || asset.ContentType != want || len(asset.Body) == 0 {
			t.Errorf("%s: %v %s", name, ok, asset.ContentType)
		}
	}
	for _, name := range []string{"cardea.js", "", "../view.go", "cardea.css"} {
		if _, ok := v.Asset(name); ok {
			t.Errorf("%q is served", name)
		}
	}
}

func TestCSP(t *testing.T) {
	const rest = "; frame-ancestors 'none'; base-uri 'none'"
	const most = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; form-action 'self'"
	for target, want := range map[string]string{
		"":                                   "",
		"https://shop.example/cb?x=1;y":      " https:", // and wherever the shop sends on to
		"http://127.0.0.1:8123/cb":           " https: http://localhost:* http://127.0.0.1:* http://127.0.0.1:8123",
		"http://[::1]:99/cb":                 " https: http://localhost:* http://127.0.0.1:* http://[::1]:99",
		"http://shop.test/cb":                " https: http://shop.test",
		"com.example.app:/cb":                " https: com.example.app:",
		"javascript:alert(1)":                "",
		"data:text/html,x":                   "",
		"blob:x":                             "",
		"http://a;script-src *":              "",
		"http://a b/":                        "",
		"http://*/":                          "",
		"http://a,b/":                        "",
		"not a uri":                          "",
		"//x":                                "",
		"http://localhost.evil.example:1/cb": " https: http://localhost.evil.example:1",
	} {
		if got := CSP(target); got != most+want+rest {
			t.Errorf("%s: %s", target, got)
		}
	}
}

func FuzzCSP(f *testing.F) {
	for _, seed := range []string{"https://shop.example/cb", "com.example:/x", "https://a;b", "http://[::1%25x]:1/", "https://user:pw@h/", "x-y+z.1://h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		got := strings.NewReplacer("http://localhost:*", "", "http://127.0.0.1:*", "").Replace(sources(uri))
		if strings.ContainsAny(got, ";,\t\r\n'\"*") || len(strings.Fields(got)) > 2 {
			t.Errorf("%q becomes %q", uri, got)
		}
	})
}
