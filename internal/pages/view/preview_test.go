package view

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestPreview writes every page in every state to the folder named by
// CARDEA_PREVIEW, for looking at them: <folder>/<brand>/<lang>/<page>.html and
// <folder>/assets.
func TestPreview(t *testing.T) {
	folder := os.Getenv("CARDEA_PREVIEW")
	if folder == "" {
		t.Skip("CARDEA_PREVIEW names no folder")
	}
	write := func(body []byte, parts ...string) {
		path := filepath.Join(append([]string{folder}, parts...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v := newViews(t)
	for name, asset := range v.assets.byName {
		write(asset.Body, "assets", name)
	}
	for brand, theme := range map[string]Theme{"olive": v.OliveAndThyme(), "cardea": v.Cardea()} {
		look := newLook(t, v, theme)
		for name, asset := range look.assets {
			write(asset.Body, "assets", name)
		}
		for _, lang := range v.Words().Languages() {
			for name, page := range samples(plain) {
				page.Lang, page.Look = lang, look
				var out bytes.Buffer
				if err := v.Render(&out, page); err != nil {
					t.Fatal(err)
				}
				write(out.Bytes(), brand, lang, name+".html")
			}
		}
	}
}
