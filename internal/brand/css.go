package brand

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A brand's own CSS is read by a parser that knows little: style rules and
// @media, simple selectors of documented parts of a page, properties that dress
// and cannot hide, move or cover, and values without functions but those that
// are listed. What it writes is written anew from what it understood, so that
// no browser can read it otherwise; what it does not understand is refused.
// docs/brands.md lists what there is.

// maxCSS is how long a brand's own CSS is at most, in bytes.
const maxCSS = 16 << 10

// Stylesheet reads a brand's own CSS and writes it anew; address gives where
// an asset of the brand's is served, "" for none. The errors say all that is
// refused, with the line.
func Stylesheet(text string, address func(Role) string) (string, error) {
	if len(text) > maxCSS {
		return "", fmt.Errorf("css: it has %d bytes; it has at most %d", len(text), maxCSS)
	}
	if i := strings.IndexFunc(text, func(r rune) bool {
		return r == '\\' || r == '<' || r < 0x20 && !strings.ContainsRune("\n\t\r", r) || r == 0x7f || r == 0xfffd
	}); i >= 0 {
		return "", fmt.Errorf("css, line %d: %q is not taken here", lineOf(text, i), text[i:i+1])
	}
	p := &cssParser{text: text, address: address}
	var out strings.Builder
	p.rules(&out, false)
	if len(p.faults) > 0 {
		return "", errors.Join(p.faults...)
	}
	return out.String(), nil
}

type cssParser struct {
	text    string
	at      int
	address func(Role) string
	faults  []error
}

const mostFaults = 20

func (p *cssParser) fault(at int, format string, args ...any) {
	if len(p.faults) < mostFaults {
		p.faults = append(p.faults, fmt.Errorf("css, line %d: "+format, append([]any{lineOf(p.text, at)}, args...)...))
	}
}

func lineOf(text string, at int) int { return 1 + strings.Count(text[:min(at, len(text))], "\n") }

// space skips white space and comments.
func (p *cssParser) space() {
	for p.at < len(p.text) {
		switch {
		case strings.ContainsRune(" \t\r\n", rune(p.text[p.at])):
			p.at++
		case strings.HasPrefix(p.text[p.at:], "/*"):
			end := strings.Index(p.text[p.at+2:], "*/")
			if end < 0 {
				p.fault(p.at, "a comment has no end")
				p.at = len(p.text)
				return
			}
			p.at += end + 4
		default:
			return
		}
	}
}

// until returns what comes before the first of some characters that stands in
// no string, and stops before it.
func (p *cssParser) until(stops string) string {
	var out strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch {
		case strings.IndexByte(stops, c) >= 0:
			return out.String()
		case c == '"' || c == '\'':
			end := strings.IndexAny(p.text[p.at+1:], string(c)+"\n")
			if end < 0 || p.text[p.at+1+end] == '\n' {
				p.fault(p.at, "a string has no end")
				p.at = len(p.text)
				return ""
			}
			out.WriteString(p.text[p.at : p.at+end+2])
			p.at += end + 2
		case strings.HasPrefix(p.text[p.at:], "/*"):
			p.space()
			out.WriteByte(' ')
		default:
			out.WriteByte(c)
			p.at++
		}
	}
	return out.String()
}

// rules reads rules up to the end of the text, or of a block.
func (p *cssParser) rules(out *strings.Builder, inside bool) {
	for p.space(); p.at < len(p.text); p.space() {
		began := p.at
		if p.text[p.at] == '}' {
			if inside {
				p.at++
				return
			}
			p.fault(p.at, "a } without its {")
			p.at++
			continue
		}
		prelude := strings.TrimSpace(p.until("{};"))
		if p.at >= len(p.text) || p.text[p.at] != '{' {
			p.fault(began, "%q is not a rule", short(prelude))
			p.at++
			continue
		}
		p.at++
		if strings.HasPrefix(prelude, "@") {
			p.media(out, began, prelude, inside)
			continue
		}
		selector, err := selectors(prelude)
		if err != nil {
			p.fault(began, "%w", err)
		}
		declarations := p.declarations()
		if len(declarations) > 0 {
			out.WriteString(selector + "{" + strings.Join(declarations, ";") + "}\n")
		}
	}
	if inside {
		p.fault(p.at, "an @media has no end")
	}
}

var mediaQuery = regexp.MustCompile(`^\((min-width|max-width):([0-9]{1,4}(\.[0-9]{1,2})?(px|rem|em))\)$|^\(prefers-color-scheme:(dark|light)\)$|^\(prefers-reduced-motion:(reduce|no-preference)\)$`)

func (p *cssParser) media(out *strings.Builder, began int, prelude string, inside bool) {
	name, rest, _ := strings.Cut(prelude, " ")
	if name != "@media" || inside {
		p.fault(began, "%q is not taken: there is @media, not within another, and nothing else that begins with @", short(prelude))
		p.skipBlock()
		return
	}
	var queries []string
	for query := range strings.SplitSeq(rest, " and ") {
		query = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(query)), " ", "")
		if !mediaQuery.MatchString(query) {
			p.fault(began, "@media %s is not taken: there is min-width, max-width, prefers-color-scheme and prefers-reduced-motion, joined by and", short(query))
		}
		queries = append(queries, query)
	}
	out.WriteString("@media " + strings.Join(queries, " and ") + "{\n")
	p.rules(out, true)
	out.WriteString("}\n")
}

func (p *cssParser) skipBlock() {
	for depth := 1; p.at < len(p.text) && depth > 0; p.at++ {
		switch p.text[p.at] {
		case '{':
			depth++
		case '}':
			depth--
		}
	}
}

// declarations reads what stands between { and }.
func (p *cssParser) declarations() []string {
	var all []string
	for p.space(); p.at < len(p.text); p.space() {
		began := p.at
		text := strings.TrimSpace(p.until(";{}"))
		if p.at >= len(p.text) {
			break
		}
		stop := p.text[p.at]
		p.at++
		if stop == '{' {
			p.fault(began, "%q: rules do not stand within rules", short(text))
			p.skipBlock()
			continue
		}
		if text != "" {
			declared, err := p.declaration(text)
			if err != nil {
				p.fault(began, "%w", err)
			}
			all = append(all, declared)
		}
		if stop == '}' {
			return all
		}
	}
	p.fault(p.at, "a rule has no end")
	return all
}

// parts are the elements and classes that a brand's CSS may name. What tells a
// customer about risks (notices, errors, what is shared) is not among them.
var (
	elementParts = []string{"body", "main", "footer", "h1", "h2", "form", "label", "input", "select", "textarea", "button", "a", "img"}
	classParts   = []string{"page", "brand", "to", "lead", "field", "optional", "hint", "primary", "second", "quiet", "small-button",
		"alternatives", "rows", "item", "name", "detail", "tiles", "initial", "badge", "meter", "reveal", "top", "about", "glyph",
		"p-identify", "p-password", "p-signup", "p-code", "p-newpassword", "p-collect", "p-terms", "p-account", "p-signout", "p-signedout"}
	pseudoParts = []string{"hover", "active", "disabled", "checked", "first-child", "last-child", "first-of-type", "last-of-type"}
)

var (
	compound = regexp.MustCompile(`^([a-z][a-z0-9]*)?((?:\.[a-z][a-z0-9-]*)*)((?::[a-z-]+(?:\([a-z-]*\))?)*)$`)
	language = regexp.MustCompile(`^lang\([a-z]{2,3}\)$`)
)

// selectors reads a list of selectors and writes it anew.
func selectors(text string) (string, error) {
	var list []string
	for selector := range strings.SplitSeq(text, ",") {
		var out []string
		words := strings.Fields(strings.ReplaceAll(selector, ">", " > "))
		if len(words) == 0 || words[0] == ">" || words[len(words)-1] == ">" {
			return "", fmt.Errorf("%q is not a selector", short(text))
		}
		for i, word := range words {
			if word == ">" {
				if words[i-1] == ">" {
					return "", fmt.Errorf("%q is not a selector", short(text))
				}
				out = append(out, word)
				continue
			}
			if err := checkCompound(word); err != nil {
				return "", err
			}
			out = append(out, word)
		}
		list = append(list, strings.Join(out, " "))
	}
	return strings.Join(list, ","), nil
}

func checkCompound(word string) error {
	found := compound.FindStringSubmatch(word)
	if found == nil || word == "" {
		return fmt.Errorf("the selector %q is not taken: there are names of elements and classes, :hover and the like, descendants and >", short(word))
	}
	if found[1] != "" && !slices.Contains(elementParts, found[1]) {
		return fmt.Errorf("the selector %q names an element that brands do not dress; there are %s", short(word), strings.Join(elementParts, ", "))
	}
	for class := range strings.SplitSeq(strings.TrimPrefix(found[2], "."), ".") {
		if class != "" && !slices.Contains(classParts, class) {
			return fmt.Errorf("the selector %q names a class that brands do not dress; there are %s", short(word), strings.Join(classParts, ", "))
		}
	}
	for pseudo := range strings.SplitSeq(strings.TrimPrefix(found[3], ":"), ":") {
		if pseudo != "" && !slices.Contains(pseudoParts, pseudo) && !language.MatchString(pseudo) {
			return fmt.Errorf("the selector %q has :%s, which is not taken; there are %s and lang(…)", short(word), short(pseudo), strings.Join(pseudoParts, ", "))
		}
	}
	return nil
}

// kind is what a property's value is made of.
type kind struct {
	words    []string // that stand for themselves
	lengths  bool     // lengths and percentages, none negative
	negative bool     // these too
	numbers  bool
	colours  bool
	images   bool // gradients and the brand's own pictures
	fonts    bool
	least    float64 // of a length, in px; 0: none
	most     float64 // of a length, in px
}

var (
	lineStyles  = []string{"none", "solid", "dashed", "dotted", "double", "thin", "medium", "thick"}
	positions   = []string{"left", "right", "top", "bottom", "center"}
	backgrounds = slices.Concat(positions, []string{"none", "repeat", "no-repeat", "repeat-x", "repeat-y", "cover", "contain", "auto", "fixed", "scroll", "border-box", "padding-box", "content-box"})
	border      = kind{words: lineStyles, lengths: true, colours: true, most: 16}
	space       = kind{words: []string{"auto", "0"}, lengths: true, most: 160}
	radius      = kind{lengths: true, most: 64}
)

var properties = map[string]kind{
	"color":                     {colours: true},
	"accent-color":              {colours: true, words: []string{"auto"}},
	"background-color":          {colours: true},
	"background-image":          {images: true, words: []string{"none"}},
	"background":                {colours: true, images: true, lengths: true, negative: true, words: backgrounds, most: 2000},
	"background-position":       {lengths: true, negative: true, words: positions, most: 2000},
	"background-size":           {lengths: true, words: []string{"cover", "contain", "auto"}, most: 2000},
	"background-repeat":         {words: backgrounds},
	"border":                    border,
	"border-top":                border,
	"border-bottom":             border,
	"border-left":               border,
	"border-right":              border,
	"border-block":              border,
	"border-inline":             border,
	"border-block-start":        border,
	"border-block-end":          border,
	"border-inline-start":       border,
	"border-inline-end":         border,
	"border-color":              {colours: true},
	"border-style":              {words: lineStyles},
	"border-width":              {lengths: true, most: 16},
	"border-radius":             radius,
	"border-start-start-radius": radius,
	"border-start-end-radius":   radius,
	"border-end-start-radius":   radius,
	"border-end-end-radius":     radius,
	"box-shadow":                {colours: true, lengths: true, negative: true, words: []string{"none", "inset"}, most: 80},
	"text-shadow":               {colours: true, lengths: true, negative: true, words: []string{"none"}, most: 8},
	"font-family":               {fonts: true},
	"font-size":                 {lengths: true, least: 12, most: 64},
	"font-weight":               {numbers: true, words: []string{"normal", "bold", "bolder", "lighter"}},
	"font-style":                {words: []string{"normal", "italic", "oblique"}},
	"font-variant":              {words: []string{"normal", "small-caps", "tabular-nums", "lining-nums", "oldstyle-nums"}},
	"letter-spacing":            {lengths: true, negative: true, words: []string{"normal"}, most: 8},
	"line-height":               {numbers: true, words: []string{"normal"}},
	"text-align":                {words: []string{"start", "end", "left", "right", "center", "justify"}},
	"text-transform":            {words: []string{"none", "uppercase", "lowercase", "capitalize"}},
	"text-decoration":           {colours: true, words: []string{"none", "underline", "solid", "dotted", "wavy"}},
	"text-decoration-color":     {colours: true},
	"text-decoration-thickness": {lengths: true, words: []string{"auto", "from-font"}, most: 8},
	"text-underline-offset":     {lengths: true, words: []string{"auto"}, most: 16},
	"text-wrap":                 {words: []string{"wrap", "balance", "pretty"}},
	"padding":                   space,
	"padding-block":             space,
	"padding-inline":            space,
	"padding-top":               space,
	"padding-bottom":            space,
	"padding-block-start":       space,
	"padding-block-end":         space,
	"padding-inline-start":      space,
	"padding-inline-end":        space,
	"margin":                    space,
	"margin-block":              space,
	"margin-inline":             space,
	"margin-top":                space,
	"margin-bottom":             space,
	"margin-block-start":        space,
	"margin-block-end":          space,
	"margin-inline-start":       space,
	"margin-inline-end":         space,
	"gap":                       space,
	"row-gap":                   space,
	"column-gap":                space,
	"max-width":                 {lengths: true, words: []string{"none"}, least: 240, most: 1600},
	"max-inline-size":           {lengths: true, words: []string{"none"}, least: 240, most: 1600},
	"align-items":               {words: []string{"start", "end", "center", "stretch", "flex-start", "flex-end", "baseline"}},
	"justify-content":           {words: []string{"start", "end", "center", "flex-start", "flex-end", "space-between"}},
}

// tokens are the custom properties of the theme, which values may name.
var tokens = []string{"--ground", "--surface", "--text", "--text-quiet", "--accent", "--on-accent", "--line", "--danger", "--ok", "--focus",
	"--font", "--font-heading", "--radius", "--radius-large", "--hair", "--tint"}

func (p *cssParser) declaration(text string) (string, error) {
	name, value, found := strings.Cut(text, ":")
	name = strings.ToLower(strings.TrimSpace(name))
	value = strings.TrimSpace(value)
	if !found || value == "" {
		return "", fmt.Errorf("%q is not a property with its value", short(text))
	}
	k, known := properties[name]
	if !known {
		return "", fmt.Errorf("the property %q is not taken: it is unknown, or could hide, move or cover what a customer must see", short(name))
	}
	words, err := valueWords(value)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	for i, word := range words {
		if word == "," || word == "/" {
			continue
		}
		if words[i], err = p.value(name, k, word); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return name + ":" + strings.ReplaceAll(strings.Join(words, " "), " ,", ","), nil
}

// valueWords splits a value at white space, commas and slashes, functions and
// strings kept whole.
func valueWords(value string) ([]string, error) {
	var words []string
	for i := 0; i < len(value); {
		switch c := value[i]; {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
		case c == ',' || c == '/':
			words = append(words, string(c))
			i++
		default:
			end, err := wordEnd(value, i)
			if err != nil {
				return nil, err
			}
			words = append(words, value[i:end])
			i = end
		}
	}
	if len(words) > 40 {
		return nil, errors.New("the value is too long")
	}
	return words, nil
}

func wordEnd(value string, from int) (int, error) {
	depth := 0
	for i := from; i < len(value); i++ {
		switch c := value[i]; c {
		case '"', '\'':
			end := strings.IndexByte(value[i+1:], c)
			if end < 0 {
				return 0, errors.New("a string has no end")
			}
			i += end + 1
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return 0, errors.New("a ) without its (")
			}
			if depth == 0 {
				return i + 1, nil
			}
		case ' ', '\t', '\r', '\n', ',', '/':
			if depth == 0 {
				return i, nil
			}
		}
	}
	if depth > 0 {
		return 0, errors.New("a ( without its )")
	}
	return len(value), nil
}

var (
	identifier = regexp.MustCompile(`^[a-z][a-z-]*$`)
	length     = regexp.MustCompile(`^(-?[0-9]{0,4}(?:\.[0-9]{1,4})?)(px|rem|em|ch|%)$`)
	number     = regexp.MustCompile(`^[0-9]{1,4}(\.[0-9]{1,4})?$`)
	hexColour  = regexp.MustCompile(`^#[0-9a-f]{3}([0-9a-f]{3})?$`)
	function   = regexp.MustCompile(`^([a-z-]+)\((.*)\)$`)
	fontName   = regexp.MustCompile(`^("[A-Za-z0-9 -]{1,60}"|'[A-Za-z0-9 -]{1,60}'|[A-Za-z][A-Za-z0-9-]{0,60})$`)
)

var everywhere = []string{"inherit", "initial", "unset"}

// value reads one word of a value and writes it anew.
func (p *cssParser) value(property string, k kind, word string) (string, error) {
	if k.fonts && fontName.MatchString(word) {
		return word, nil
	}
	word = strings.ToLower(word)
	if identifier.MatchString(word) {
		switch {
		case slices.Contains(k.words, word), slices.Contains(everywhere, word):
			return word, nil
		case k.colours && (word == "currentcolor" || word == "transparent" && property != "color" || word == "white" || word == "black"):
			return word, nil
		}
		return "", fmt.Errorf("%q is not one of its words", short(word))
	}
	if k.colours && hexColour.MatchString(word) {
		return word, nil
	}
	if found := function.FindStringSubmatch(strings.ReplaceAll(word, "\n", " ")); found != nil {
		return p.function(property, k, found[1], strings.TrimSpace(found[2]))
	}
	if word == "0" && k.lengths && k.least == 0 {
		return word, nil
	}
	if number.MatchString(word) && k.numbers {
		return word, checkNumber(property, word)
	}
	if found := length.FindStringSubmatch(word); found != nil && k.lengths {
		return word, checkLength(k, found[1], found[2])
	}
	return "", fmt.Errorf("%q is not a value that it takes", short(word))
}

func checkNumber(property, word string) error {
	n, err := strconv.ParseFloat(word, 64)
	switch {
	case err != nil:
		return err
	case property == "line-height" && (n < 1 || n > 2.5):
		return fmt.Errorf("%s is not between 1 and 2.5", word)
	case property == "font-weight" && (n < 100 || n > 900):
		return fmt.Errorf("%s is not between 100 and 900", word)
	}
	return nil
}

// perUnit is about how many pixels a unit has.
var perUnit = map[string]float64{"px": 1, "rem": 16, "em": 16, "ch": 8}

func checkLength(k kind, amount, unit string) error {
	n, err := strconv.ParseFloat(amount, 64)
	if err != nil {
		return fmt.Errorf("%q is not a length", amount+unit)
	}
	if n < 0 && !k.negative {
		return fmt.Errorf("%s%s is negative", amount, unit)
	}
	if unit == "%" {
		if n > 100 || n < -100 || k.least > 0 && n < 75 {
			return fmt.Errorf("%s%% is out of bounds", amount)
		}
		return nil
	}
	pixels := n * perUnit[unit]
	if pixels > k.most || pixels < -k.most || pixels < k.least && k.least > 0 {
		return fmt.Errorf("%s%s is not between %g and %g px", amount, unit, k.least, k.most)
	}
	return nil
}

var gradients = []string{"linear-gradient", "radial-gradient"}

// function reads a function's call.
func (p *cssParser) function(property string, k kind, name, arguments string) (string, error) {
	switch {
	case name == "var":
		if !slices.Contains(tokens, arguments) {
			return "", fmt.Errorf("var(%s) is not a token of the theme; there are %s", short(arguments), strings.Join(tokens, ", "))
		}
		return "var(" + arguments + ")", nil
	case name == "url" && k.images:
		role, isAsset := strings.CutPrefix(strings.Trim(arguments, `"'`), "asset:")
		if !isAsset {
			return "", errors.New("url() takes the brand's own assets only, as in url(asset:background)")
		}
		address := p.address(Role(role))
		if address == "" || Role(role).font() {
			return "", fmt.Errorf("url(asset:%s): the brand has no such picture", short(role))
		}
		return `url("` + address + `")`, nil
	case (name == "rgb" || name == "rgba" || name == "hsl" || name == "hsla") && k.colours && property != "color",
		slices.Contains(gradients, name) && k.images, name == "color-mix" && k.colours:
		inner, err := p.arguments(name, arguments)
		return name + "(" + inner + ")", err
	}
	return "", fmt.Errorf("%s() is not taken here", short(name))
}

var (
	percentage = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,4})?%?$`)
	angle      = regexp.MustCompile(`^-?[0-9]{1,3}(\.[0-9]{1,2})?(deg|turn)$`)
)

// arguments reads what stands in a function that makes a colour or a gradient.
func (p *cssParser) arguments(name, text string) (string, error) {
	words, err := valueWords(text)
	if err != nil {
		return "", err
	}
	for i, word := range words {
		inner := function.FindStringSubmatch(word)
		switch {
		case word == ",", word == "/" && !strings.Contains(name, "gradient"), percentage.MatchString(word), angle.MatchString(word):
		case hexColour.MatchString(word), word == "transparent", word == "white", word == "black", word == "currentcolor":
		case slices.Contains([]string{"to", "top", "bottom", "left", "right", "center", "circle", "ellipse", "at", "in", "srgb", "oklab", "oklch"}, word):
		case length.MatchString(word) && strings.Contains(name, "gradient"):
		case inner != nil && inner[1] == "var" && slices.Contains(tokens, inner[2]):
		case inner != nil && slices.Contains([]string{"rgb", "rgba", "hsl", "hsla", "color-mix"}, inner[1]) && !strings.HasPrefix(name, "rgb") && !strings.HasPrefix(name, "hsl"):
			nested, err := p.arguments(inner[1], inner[2])
			if err != nil {
				return "", err
			}
			words[i] = inner[1] + "(" + nested + ")"
		default:
			return "", fmt.Errorf("%q is not taken in %s()", short(word), name)
		}
	}
	return strings.ReplaceAll(strings.Join(words, " "), " ,", ","), nil
}

// short is a text as an error quotes it.
func short(text string) string {
	if runes := []rune(text); len(runes) > 60 {
		return string(runes[:60]) + "…"
	}
	return text
}
