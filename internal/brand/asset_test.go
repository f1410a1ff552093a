package brand

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
)

func drawn(t testing.TB, format string, width, height int) []byte {
	t.Helper()
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	picture.Set(0, 0, color.RGBA{200, 100, 0, 255})
	var out bytes.Buffer
	var err error
	if format == "png" {
		err = png.Encode(&out, picture)
	} else {
		err = jpeg.Encode(&out, picture, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// font is the header and directory of a WOFF2 font with the given flags of
// tables.
func font(flags ...byte) []byte {
	body := append([]byte("wOF2"), bytes.Repeat([]byte{0}, 44)...)
	binary.BigEndian.PutUint32(body[4:], 0x00010000)
	binary.BigEndian.PutUint16(body[12:], uint16(len(flags)))
	for _, flag := range flags {
		body = append(body, flag)
		if flag&0x3f == named {
			body = append(body, "ABCD"...)
		}
		body = append(body, 0x81, 0x00)
		if table, version := flag&0x3f, flag>>6; (table == 10 || table == 11) && version != 3 || table != 10 && table != 11 && version != 0 {
			body = append(body, 0x00)
		}
	}
	body = append(body, 1, 2, 3)
	binary.BigEndian.PutUint32(body[8:], uint32(len(body)))
	return body
}

// webp is a picture of one pixel, lossy and lossless.
var webpLossy, _ = base64.StdEncoding.DecodeString("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
var webpLossless, _ = base64.StdEncoding.DecodeString("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")

const plainSVG = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 20">%</svg>`

func svg(inner string) []byte { return []byte(strings.Replace(plainSVG, "%", inner, 1)) }

func TestAssetsAreWhatTheirBytesSay(t *testing.T) {
	for _, tt := range []struct {
		name, kind string
		role       Role
		body       []byte
		width      int
		height     int
		variable   bool
	}{
		{"PNG", "image/png", Logo, drawn(t, "png", 30, 20), 30, 20, false},
		{"JPEG", "image/jpeg", Background, drawn(t, "jpeg", 31, 21), 31, 21, false},
		{"WebP", "image/webp", Logo, webpLossy, 1, 1, false},
		{"WebP, lossless", "image/webp", Logo, webpLossless, 1, 1, false},
		{"SVG", "image/svg+xml", Favicon, svg(`<path d="M0 0h9"/>`), 80, 20, false},
		{"SVG with a size", "image/svg+xml", Logo, []byte(`<?xml version="1.0"?><!-- x --><svg xmlns="http://www.w3.org/2000/svg" width="40px" height="24.4"/>`), 40, 24, false},
		{"SVG with style and parts", "image/svg+xml", Logo, svg(`<defs><linearGradient id="a"/></defs><style>.b{fill:url(#a)}</style><g fill="url(#a)"><use href="#a"/></g><title>Olive &amp; Thyme</title>`), 80, 20, false},
		{"font", "font/woff2", Font, font(1, 2, 10, 0xc0|11), 0, 0, false},
		{"variable font", "font/woff2", FontHeading, font(1, 47, named), 0, 0, true},
	} {
		a, err := ReadAsset(tt.role, tt.body)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if a.Type != tt.kind || a.Width != tt.width || a.Height != tt.height || a.Variable != tt.variable || a.Bytes != len(tt.body) || len(a.Name) < 36 {
			t.Errorf("%s: %+v", tt.name, a)
		}
	}
}

func TestAssetsAreRefused(t *testing.T) {
	truncated := drawn(t, "png", 9, 9)[:20]
	for name, tt := range map[string]struct {
		role Role
		body []byte
	}{
		"nothing":                         {Logo, nil},
		"text":                            {Logo, []byte("hello")},
		"a page":                          {Logo, []byte("<!doctype html><script>alert(1)</script>")},
		"another page":                    {Logo, []byte("<html><body>")},
		"a GIF":                           {Logo, []byte("GIF89a\x01\x00\x01\x00")},
		"a PNG that is cut off":           {Logo, truncated},
		"a PNG that is huge":              {Logo, drawn(t, "png", 6001, 1)},
		"a JPEG that is none":             {Logo, []byte("\xff\xd8\xff<script>")},
		"a WebP that is none":             {Logo, []byte("RIFF\x04\x00\x00\x00WEBPxxxxxxxxxxxxxxxxxxxxxxxxx")},
		"a picture as a font":             {Font, drawn(t, "png", 9, 9)},
		"a font as a picture":             {Logo, font(1)},
		"a font that is cut off":          {Font, font(1, 2)[:50]},
		"a font of another length":        {Font, append(font(1), 0)},
		"a font without tables":           {Font, font()},
		"an old font":                     {Font, []byte("wOFF" + strings.Repeat("\x00", 60))},
		"too much":                        {Logo, bytes.Repeat([]byte("x"), MaxAsset+1)},
		"an unknown role":                 {"banner", drawn(t, "png", 9, 9)},
		"an SVG with a script":            {Logo, svg(`<script>alert(1)</script>`)},
		"an SVG with an HTML script":      {Logo, svg(`<x:script xmlns:x="http://www.w3.org/1999/xhtml">alert(1)</x:script>`)},
		"an SVG that runs when loaded":    {Logo, []byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`)},
		"an SVG that runs when clicked":   {Logo, svg(`<path onclick="alert(1)"/>`)},
		"an SVG with a link":              {Logo, svg(`<a href="javascript:alert(1)"><path/></a>`)},
		"an SVG with HTML in it":          {Logo, svg(`<foreignObject><p/></foreignObject>`)},
		"an SVG that loads a picture":     {Logo, svg(`<image href="https://evil.example/x.png"/>`)},
		"an SVG that uses another":        {Logo, svg(`<use href="https://evil.example/x.svg#a"/>`)},
		"an SVG that uses another, old":   {Logo, svg(`<use xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="//evil.example/x.svg#a"/>`)},
		"an SVG that is animated to run":  {Logo, svg(`<use href="#a"><set attributeName="href" to="javascript:alert(1)"/></use>`)},
		"an SVG that imports":             {Logo, svg(`<style>@import "//evil.example";</style>`)},
		"an SVG that imports in pieces":   {Logo, svg(`<style>@im<!-- -->port "//evil.example";</style>`)},
		"an SVG that imports in CDATA":    {Logo, svg(`<style>@im<![CDATA[port "//evil.example";]]></style>`)},
		"an SVG that fills from outside":  {Logo, svg(`<path fill="url(//evil.example/x#a)"/>`)},
		"an SVG that styles from outside": {Logo, svg(`<path style="background:url( 'https://evil.example' )"/>`)},
		"an SVG with an escaped url":      {Logo, svg(`<path style="fill:u\72l(//evil.example)"/>`)},
		"an SVG with entities":            {Logo, []byte(`<!DOCTYPE svg [<!ENTITY x "y">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>`)},
		"an SVG with a stylesheet":        {Logo, []byte(`<?xml-stylesheet href="//evil.example"?><svg xmlns="http://www.w3.org/2000/svg"/>`)},
		"an SVG without its namespace":    {Logo, []byte(`<svg viewBox="0 0 1 1"/>`)},
		"two SVGs":                        {Logo, append(svg(""), svg("")...)},
		"an SVG that is cut off":          {Logo, svg("")[:40]},
		"an SVG that is nested too deep":  {Logo, svg(strings.Repeat("<g>", 200) + strings.Repeat("</g>", 200))},
	} {
		if a, err := ReadAsset(tt.role, tt.body); !errors.Is(err, ErrAsset) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func FuzzReadAsset(f *testing.F) {
	for _, body := range [][]byte{drawn(f, "png", 3, 3), drawn(f, "jpeg", 3, 3), webpLossy, webpLossless, svg(`<path d="M0 0"/>`), font(1, 47, named)} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, role := range []Role{Logo, Font} {
			a, err := ReadAsset(role, body)
			if err == nil && (a.Name == "" || a.Type == "" || role == Logo && (a.Width < 1 || a.Height < 1)) {
				t.Errorf("%+v", a)
			}
		}
	})
}
