package brand

import (
	"regexp"
	"strings"
	"testing"
)

func pictures(role Role) string {
	if role == Background || role == Font {
		return "/assets/brand/0123.png"
	}
	return ""
}

func TestStylesheetIsWrittenAnew(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"only a comment", "/* a { } */", ""},
		{"a rule", "h1 { font-size: 2rem; letter-spacing : -.02em }", "h1{font-size:2rem;letter-spacing:-.02em}\n"},
		{"several selectors", ".primary:hover , main > form .field label{color:var(--accent);}", ".primary:hover,main > form .field label{color:var(--accent)}\n"},
		{"comments between", "h1/**/{/* x */color/**/:/* } */#123456}", "h1{color:#123456}\n"},
		{"a media query", "@media (min-width: 40rem) and (prefers-color-scheme: dark) { .brand{ padding: 0 8px } }",
			"@media (min-width:40rem) and (prefers-color-scheme:dark){\n.brand{padding:0 8px}\n}\n"},
		{"a picture", "body{background: url(asset:background) center / cover no-repeat}", "body{background:url(\"/assets/brand/0123.png\") center / cover no-repeat}\n"},
		{"a gradient", "main{background-image:linear-gradient(to right, var(--surface), color-mix(in srgb, var(--accent) 10%, white))}",
			"main{background-image:linear-gradient(to right, var(--surface), color-mix(in srgb, var(--accent) 10%, white))}\n"},
		{"fonts", `h1{font-family:"Iowan Old Style", Georgia, serif}`, "h1{font-family:\"Iowan Old Style\", Georgia, serif}\n"},
		{"a language", "h1:lang(ar){line-height:1.6}", "h1:lang(ar){line-height:1.6}\n"},
		{"a shadow", "main{box-shadow:0 2px 8px -1px rgb(0 0 0 / 20%)}", "main{box-shadow:0 2px 8px -1px rgb(0 0 0 / 20%)}\n"},
		{"an empty rule", "h1{}", ""},
	} {
		got, err := Stylesheet(tt.text, pictures)
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}

// SECURITY: what a brand's CSS may not do.
var attacks = map[string]string{
	"imports":                          `@import "https://evil.example/x.css";`,
	"imports by url":                   `@import url(//evil.example/x.css);`,
	"a font from elsewhere":            `@font-face{font-family:x;src:url(https://evil.example/x)}`,
	"a character set":                  `@charset "utf-7";`,
	"a namespace":                      `@namespace url(x);`,
	"an animation":                     `@keyframes x{from{color:red}}`,
	"support queries":                  `@supports (display:grid){h1{color:red}}`,
	"media in media":                   `@media (min-width:1px){@media (min-width:1px){h1{color:#000000}}}`,
	"a strange media query":            `@media print{h1{color:#000000}}`,
	"a picture from elsewhere":         `body{background:url(https://evil.example/x.png)}`,
	"a picture in quotes":              `body{background:url("//evil.example/x")}`,
	"a picture of data":                `body{background:url(data:image/png;base64,AAAA)}`,
	"a picture by path":                `body{background:url(/account)}`,
	"a picture that is not there":      `body{background:url(asset:logo)}`,
	"a font as a picture":              `body{background:url(asset:font)}`,
	"a picture by image-set":           `body{background:image-set("//evil.example/x" 1x)}`,
	"a picture in a variable":          `body{background:var(--x, url(//evil.example))}`,
	"its own variable":                 `body{--x:url(//evil.example)}`,
	"an escape":                        `body{background:\75rl(//evil.example)}`,
	"an escaped selector":              `\68 1{color:#000000}`,
	"reading what is typed":            `input[value^="a"]{background:url(asset:background)}`,
	"an id":                            `#form{color:#000000}`,
	"everything":                       `*{color:#000000}`,
	"a sibling":                        `h1 + form{color:#000000}`,
	"a selector with has":              `main:has(input){color:#000000}`,
	"a pseudo-element":                 `h1::after{color:#000000}`,
	"an old pseudo-element":            `h1:before{color:#000000}`,
	"words in the page":                `h1{content:"Call 0900 123"}`,
	"hiding":                           `main{display:none}`,
	"hiding by visibility":             `main{visibility:hidden}`,
	"hiding by opacity":                `main{opacity:0}`,
	"hiding by size":                   `main{font-size:0}`,
	"hiding by a small size":           `p{font-size:1px}`,
	"hiding by ink":                    `h1{color:transparent}`,
	"hiding by thin ink":               `h1{color:rgb(0 0 0 / 0)}`,
	"hiding by indenting":              `h1{text-indent:-9999px}`,
	"hiding by clipping":               `main{clip-path:inset(50%)}`,
	"hiding by height":                 `main{max-height:0;overflow:hidden}`,
	"hiding by width":                  `main{max-width:0}`,
	"hiding by a width in percent":     `main{max-width:1%}`,
	"hiding the notice":                `.notice{font-size:12px}`,
	"hiding an error":                  `.error{font-size:12px}`,
	"hiding what is shared":            `.shares{font-size:12px}`,
	"hiding the consent page":          `.p-consent h1{font-size:12px}`,
	"covering":                         `main{position:fixed;inset:0}`,
	"stacking":                         `footer{z-index:99}`,
	"moving":                           `footer{transform:translateY(-100vh)}`,
	"moving by margins":                `footer{margin-top:-400px}`,
	"moving by large margins":          `main{margin-top:9000px}`,
	"moving by calculation":            `main{margin-top:calc(0px - 900px)}`,
	"moving by the viewport":           `main{margin-top:100vh}`,
	"changing the order":               `form{order:9}`,
	"catching clicks":                  `main{pointer-events:none}`,
	"taking the focus ring away":       `a{outline:none}`,
	"the cursor":                       `body{cursor:url(//evil.example),auto}`,
	"behaviour":                        `body{behavior:url(x)}`,
	"an expression":                    `body{padding:expression(alert(1))}`,
	"leaving its element":              `h1{color:#000000}</style><script>alert(1)</script>`,
	"a comment that hides":             `h1{color:#000000} /* `,
	"a rule without an end":            `h1{color:#000000`,
	"an end without a rule":            `} body{color:#000000}`,
	"a string without an end":          `h1{font-family:"x}`,
	"a string over lines":              "h1{font-family:\"x\n\"}",
	"rules in rules":                   `main{h1{color:#000000}}`,
	"important, which beats the focus": `a{color:#000000 !important}`,
	"a control character":              "h1{color:#000000\x00}",
	"only a selector":                  `h1`,
	"no value":                         `h1{color:}`,
	"no property":                      `h1{#000000}`,
	"an unknown colour":                `h1{color:#12345}`,
	"too long":                         strings.Repeat("h1{color:#000000}", 1000),
}

func TestStylesheetRefuses(t *testing.T) {
	for name, text := range attacks {
		got, err := Stylesheet(text, pictures)
		if err == nil || !strings.Contains(err.Error(), "css") {
			t.Errorf("%s: taken as %q", name, got)
		}
		if got != "" {
			t.Errorf("%s: refused and written all the same: %q", name, got)
		}
	}
}

func TestFaultsNameTheirLine(t *testing.T) {
	_, err := Stylesheet("h1{\n  color:#000000;\n  display:none;\n}\n\nb{color:#000000}", pictures)
	if err == nil || !strings.Contains(err.Error(), `line 3: the property "display"`) || !strings.Contains(err.Error(), `line 6: the selector "b"`) {
		t.Error(err)
	}
}

// FuzzStylesheet: whatever is taken is made of what is known, and is taken
// again as it was written.
func FuzzStylesheet(f *testing.F) {
	for _, text := range attacks {
		f.Add(text)
	}
	f.Add("@media (min-width:40rem){.brand{padding:0 8px}} h1{color:var(--accent)}")
	danger := regexp.MustCompile(`(?i)@import|@font-face|url\("?[^"/]|url\("//|position|display|expression|javascript|[\\<]|\[|content:|opacity|outline|calc`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Stylesheet(text, pictures)
		if err != nil {
			return
		}
		if danger.MatchString(fontLists.ReplaceAllString(got, "")) {
			t.Errorf("%q became %q", text, got)
		}
		if strings.Count(got, "{") != strings.Count(got, "}") {
			t.Errorf("%q became %q", text, got)
		}
		again, err := Stylesheet(strings.ReplaceAll(got, `url("/assets/brand/0123.png")`, "url(asset:background)"), pictures)
		if err != nil || again != got {
			t.Errorf("%q became %q, and that %q, %v", text, got, again, err)
		}
	})
}

var fontLists = regexp.MustCompile(`font-family:[^;}]*`)
