package view

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/cardea-id/cardea/internal/i18n"
)

// Theme is a brand's look. Everything in it is checked by Views.Look: what a
// tenant writes never reaches a stylesheet or an address as it is.
type Theme struct {
	Name    string // the brand's, as customers know it
	Logo    Image  // without one the name stands as text
	Art     Image  // a quiet drawing behind wide pages; may be empty
	Text    Font   // of everything
	Heading Font   // of headings and the name
	Radius  int    // of fields and buttons, 0 to 24 px
	Light   Colours
	Dark    *Colours // nil: the brand has only a light look
	Links   []Link   // in the footer: help, privacy, imprint
}

// Image is a picture of the brand's. URLs are paths of this host
// ("/assets/…") or data:image/… of PNG, WebP or SVG in base64.
type Image struct {
	URL, DarkURL  string // DarkURL empty: the same in the dark
	Width, Height int    // CSS pixels
	Alone         bool   // the picture spells the name, which is not written beside it
}

// Link is an address in the footer. Key is one of i18n's or Label the tenant's
// own words.
type Link struct {
	Label Text
	URL   string // https, http, mailto or tel, or a path of this host
}

// Colours are named for their role; each is "#rrggbb".
type Colours struct {
	Ground    string // behind everything
	Surface   string // behind the form
	Text      string
	TextQuiet string
	Accent    string // the primary action and links
	OnAccent  string // text on it
	Line      string // edges of fields
	Danger    string
	OK        string
	Focus     string // the ring around what has the focus
}

// Font names a list of fonts that devices have; nothing is downloaded.
type Font string

const (
	Sans  Font = "sans"  // the device's own
	Serif Font = "serif" // an old-style book face
	Round Font = "round" // softer
	Slab  Font = "slab"
)

var fonts = map[Font]string{
	Sans:  `-apple-system,BlinkMacSystemFont,"Segoe UI",Roboto,"Noto Sans",Ubuntu,Cantarell,"Helvetica Neue",Arial,sans-serif`,
	Serif: `"Iowan Old Style","Palatino Linotype","Palatino","URW Palladio L",P052,"Book Antiqua",Georgia,"Noto Naskh Arabic","Liberation Serif",serif`,
	Round: `ui-rounded,"SF Pro Rounded","Hiragino Maru Gothic ProN",Quicksand,Comfortaa,"Arial Rounded MT Bold",Nunito,sans-serif`,
	Slab:  `Rockwell,"Rockwell Nova","Roboto Slab","DejaVu Serif","Sitka Small",serif`,
}

// ErrTheme says that a theme cannot be used; the errors that wrap it say why.
var ErrTheme = errors.New("the theme cannot be used")

// Look is a theme made ready: checked, and with its stylesheet.
type Look struct {
	Theme      Theme
	Stylesheet string // its address
	OwnSheet   string // the address of the brand's own CSS; "" for none
	dress      Dress
	words      map[string]*i18n.Localizer // of the languages in which the brand has words of its own
	assets     map[string]Asset           // the stylesheets, by name
}

// Look checks a theme and makes its stylesheet: the tokens and the shared
// rules in one file, so that a page waits for one request. Callers keep the
// result for as long as they keep the theme.
func (v *Views) Look(t Theme) (*Look, error) { return v.Dressed(t, Dress{}) }

// Dressed is Look for a brand that has more than a theme.
func (v *Views) Dressed(t Theme, d Dress) (*Look, error) {
	tokens, err := t.css(d)
	if err != nil {
		return nil, err
	}
	l := &Look{Theme: t, dress: d, words: map[string]*i18n.Localizer{}, assets: map[string]Asset{}}
	sheet := append([]byte(tokens), v.assets.style...)
	if d.Backdrop.URL != "" {
		sheet = append(sheet, v.assets.backdrop...)
	}
	l.Stylesheet = l.keep("cardea.css", sheet)
	if d.CSS != "" {
		l.OwnSheet = l.keep("brand.css", []byte(d.CSS))
	}
	for lang, texts := range d.Texts {
		l.words[lang] = v.words.Localizer(lang).With(texts)
	}
	return l, nil
}

func (l *Look) keep(name string, body []byte) (address string) {
	name, asset := hashed(name, body)
	l.assets[name] = asset
	return AssetPath + name
}

// Asset returns one of the look's stylesheets, if it is what is served at
// AssetPath + name.
func (l *Look) Asset(name string) (Asset, bool) {
	asset, ok := l.assets[name]
	return asset, ok
}

// Localizer is the language's own, with the brand's words where it has some.
func (v *Views) Localizer(l *Look, lang string) *i18n.Localizer {
	if own, ok := l.words[lang]; ok {
		return own
	}
	return v.words.Localizer(lang)
}

// CSS writes the theme's tokens as custom properties, or says everything that
// is wrong with the theme. The same theme always gives the same text.
func (t Theme) CSS() (string, error) { return t.css(Dress{}) }

func (t Theme) css(d Dress) (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	var b strings.Builder
	text, heading := d.faces(&b, fonts[t.Text], fonts[t.Heading])
	scheme := "light"
	if t.Dark != nil {
		scheme = "light dark"
	}
	fmt.Fprintf(&b, ":root{color-scheme:%s;--font:%s;--font-heading:%s;--radius:%dpx;%s", scheme, text, heading, t.Radius, t.Light.properties())
	if t.Art.URL != "" {
		fmt.Fprintf(&b, ";--art:url(%q)", t.Art.URL)
	}
	if d.Backdrop.URL != "" {
		fmt.Fprintf(&b, ";--backdrop:url(%q)", d.Backdrop.URL)
	}
	b.WriteString("}\n")
	if t.Dark == nil {
		return b.String(), nil
	}
	var dark strings.Builder
	dark.WriteString(t.Dark.properties())
	if d.Backdrop.DarkURL != "" {
		fmt.Fprintf(&dark, ";--backdrop:url(%q)", d.Backdrop.DarkURL)
	} else if d.Backdrop.URL != "" {
		dark.WriteString(";--backdrop-filter:brightness(.7)") // a bright picture beside a dark page blinds
	}
	if t.Art.DarkURL != "" {
		fmt.Fprintf(&dark, ";--art:url(%q)", t.Art.DarkURL)
	}
	// What the customer has chosen for this browser goes before what the device
	// has. :where keeps the rules as weak as :root, so that a brand's own are
	// stronger.
	fmt.Fprintf(&b, "@media (prefers-color-scheme:dark){:root:where(:not([data-scheme=light])){%s}}\n", dark.String())
	fmt.Fprintf(&b, ":root:where([data-scheme=dark]){color-scheme:dark;%s}\n:root:where([data-scheme=light]){color-scheme:light}\n", dark.String())
	return b.String(), nil
}

func (c Colours) each() [][2]string {
	return [][2]string{
		{"ground", c.Ground}, {"surface", c.Surface}, {"text", c.Text}, {"text-quiet", c.TextQuiet}, {"accent", c.Accent},
		{"on-accent", c.OnAccent}, {"line", c.Line}, {"danger", c.Danger}, {"ok", c.OK}, {"focus", c.Focus},
	}
}

func (c Colours) properties() string {
	var parts []string
	for _, pair := range c.each() {
		parts = append(parts, "--"+pair[0]+":"+strings.ToLower(pair[1]))
	}
	return strings.Join(parts, ";")
}

var (
	colour    = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)
	ownPath   = regexp.MustCompile(`^/[A-Za-z0-9._-][A-Za-z0-9._/-]*$`)
	dataImage = regexp.MustCompile(`^data:image/(png|webp|svg\+xml);base64,[A-Za-z0-9+/]+={0,2}$`)
	linkURL   = regexp.MustCompile(`^(https?://|mailto:|tel:|/[^/\\])[^\s"'<>\\]*$`)
)

const longestImage = 32 << 10 // of a data: image, bytes; it travels with every page

func (t Theme) check() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrTheme}, args...)...))
	}
	if strings.TrimSpace(t.Name) == "" || len(t.Name) > 100 {
		fault("the name must have 1 to 100 bytes")
	}
	for role, font := range map[string]Font{"text": t.Text, "heading": t.Heading} {
		if fonts[font] == "" {
			fault("%s font %q is not one of sans, serif, round, slab", role, string(font))
		}
	}
	if t.Radius < 0 || t.Radius > 24 {
		fault("radius %d is not between 0 and 24", t.Radius)
	}
	for role, image := range map[string]Image{"logo": t.Logo, "art": t.Art} {
		for _, url := range []string{image.URL, image.DarkURL} {
			if url != "" && (len(url) > longestImage || !ownPath.MatchString(url) && !dataImage.MatchString(url)) {
				fault("%s must be a path of this host or a small data:image in base64", role)
			}
		}
		if image.Width < 0 || image.Width > 2000 || image.Height < 0 || image.Height > 2000 {
			fault("%s is %d by %d pixels", role, image.Width, image.Height)
		}
	}
	for _, link := range t.Links {
		if !linkURL.MatchString(link.URL) || link.Label.empty() {
			fault("footer link %q needs a label and an https, mailto or tel address", link.URL)
		}
	}
	faults = append(faults, t.Light.check("light")...)
	if t.Dark != nil {
		faults = append(faults, t.Dark.check("dark")...)
	}
	return errors.Join(faults...)
}

// check holds the colours to their form and to the contrast that WCAG 2.2 asks
// for: 4.5 for text (1.4.3), 3 for the edges of fields and focus (1.4.11).
func (c Colours) check(scheme string) []error {
	var faults []error
	for _, pair := range c.each() {
		if !colour.MatchString(pair[1]) {
			faults = append(faults, fmt.Errorf("%w: %s %s %q is not of the form #rrggbb", ErrTheme, scheme, pair[0], pair[1]))
		}
	}
	if len(faults) > 0 {
		return faults
	}
	for _, pair := range []struct {
		what         string
		above, below string
		least        float64
	}{
		{"text on surface", c.Text, c.Surface, 4.5},
		{"text on ground", c.Text, c.Ground, 4.5},
		{"quiet text on surface", c.TextQuiet, c.Surface, 4.5},
		{"quiet text on ground", c.TextQuiet, c.Ground, 4.5},
		{"accent on surface", c.Accent, c.Surface, 4.5},
		{"accent on ground", c.Accent, c.Ground, 4.5},
		{"text on accent", c.OnAccent, c.Accent, 4.5},
		{"danger on surface", c.Danger, c.Surface, 4.5},
		{"ok on surface", c.OK, c.Surface, 4.5},
		{"line on surface", c.Line, c.Surface, 3},
		{"focus on surface", c.Focus, c.Surface, 3},
		{"focus on ground", c.Focus, c.Ground, 3},
	} {
		if got := Contrast(pair.above, pair.below); got < pair.least {
			faults = append(faults, fmt.Errorf("%w: %s, %s: contrast %.2f is below %.1f", ErrTheme, scheme, pair.what, got, pair.least))
		}
	}
	return faults
}

// Contrast is the contrast ratio of two colours "#rrggbb", 1 to 21 (WCAG 2.2,
// contrast ratio).
func Contrast(a, b string) float64 {
	la, lb := luminance(a), luminance(b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

func luminance(hex string) float64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(hex, "#"), 16, 32)
	if err != nil {
		return 0
	}
	linear := func(shift uint) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(16) + 0.7152*linear(8) + 0.0722*linear(0)
}
