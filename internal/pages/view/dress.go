package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/i18n"
)

// Dress is what a brand has beyond its theme. It comes from package brand,
// which has checked it; addresses are paths of this host.
type Dress struct {
	Favicon  string
	Backdrop Image // beside the form, where there is room
	Text     Face  // of everything; empty: the theme's
	Heading  Face  // of headings and the name; empty: Text
	CSS      string
	Texts    map[string]map[string]i18n.Custom // by language and key
	Footer   map[string][]Link                 // by language
}

// Face is a font that is downloaded.
type Face struct {
	URL      string
	Variable bool // it has all weights
}

// faces writes the fonts' rules, and returns the lists of names that text and
// headings are set in. A font that is not there in time is used from the next
// page on: nothing moves after the first paint.
func (d Dress) faces(b *strings.Builder, text, heading string) (string, string) {
	write := func(name string, face Face) {
		weights := ""
		if face.Variable {
			weights = ";font-weight:100 900"
		}
		fmt.Fprintf(b, "@font-face{font-family:%q;src:url(%q) format(\"woff2\")%s;font-display:optional}\n", name, face.URL, weights)
	}
	if d.Text.URL != "" {
		write("brand", d.Text)
		text = `"brand",` + text
		if d.Heading.URL == "" {
			heading = `"brand",` + heading
		}
	}
	if d.Heading.URL != "" {
		write("brand heading", d.Heading)
		heading = `"brand heading",` + heading
	}
	return text, heading
}

// Fonts are the files that a page needs soon.
func (f *frame) Fonts() []string {
	var urls []string
	for _, face := range []Face{f.Look.dress.Text, f.Look.dress.Heading} {
		if face.URL != "" && !slices.Contains(urls, face.URL) {
			urls = append(urls, face.URL)
		}
	}
	return urls
}

// Icon is the picture in the browser's tab.
func (f *frame) Icon() string {
	if f.Look.dress.Favicon != "" {
		return f.Look.dress.Favicon
	}
	return f.Look.Theme.Logo.URL
}

// plainPages decide for the customer who gets what, or stop something: a
// brand's own CSS does not reach them.
var plainPages = []string{"access", "closeaccount", "consent", "deny", "disown", "fault", "joinorganization", "limited", "newaddress", "removeaddress", "reviewaddresses", "revoke"}

// OwnSheet is the address of the brand's own CSS, where the page has it.
func (f *frame) OwnSheet() string {
	if slices.Contains(plainPages, f.name) {
		return ""
	}
	return f.Look.OwnSheet
}

// FooterLinks are the theme's and those of the brand in the page's language.
func (f *frame) FooterLinks() []Link {
	return slices.Concat(f.Look.Theme.Links, f.Look.dress.Footer[f.l.Lang()])
}
