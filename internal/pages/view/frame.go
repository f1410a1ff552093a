package view

import (
	"html/template"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/cardea-id/cardea/internal/i18n"
)

// frame is what the templates see: the page, and the language to say it in.
type frame struct {
	Page
	name   string
	l      *i18n.Localizer
	assets assets
}

func (f *frame) PageName() string              { return f.name }
func (f *frame) Dir() string                   { return f.l.Dir() }
func (f *frame) LangTag() string               { return f.l.Lang() }
func (f *frame) LangName(lang string) string   { return i18n.Name(lang) }
func (f *frame) LangDir(lang string) string    { return i18n.Dir(lang) }
func (f *frame) Brand() string                 { return f.Look.Theme.Name }
func (f *frame) Asset(name string) string      { return f.assets.url(name) }
func (f *frame) Date(t time.Time) string       { return f.l.Date(t) }
func (f *frame) ISO(t time.Time) string        { return t.UTC().Format(time.RFC3339) }
func (f *frame) Wait(until time.Time) string   { return f.l.Wait(f.Now, until) }
func (f *frame) Seen(at time.Time) string      { return f.l.Seen(f.Now, at) }
func (f *frame) Value(field string) string     { return f.Values[field] }
func (f *frame) HasError(field string) bool    { _, ok := f.Errors[field]; return ok }
func (f *frame) Trusted(u string) template.URL { return template.URL(u) } // of a theme that Look has checked

// FirstError names the field that gets the focus: of those given, in the order
// they stand on the page, the first with an error, else the first of all.
func (f *frame) FirstError(fields ...string) string {
	for _, field := range fields {
		if f.HasError(field) {
			return field
		}
	}
	if len(fields) > 0 {
		return fields[0]
	}
	return ""
}

// Marks for where an argument begins and ends in a text, until it is escaped.
// They are private-use characters, and taken out of arguments.
const (
	begin = "\ue000"
	end   = "\ue001"
	// mayBreak is where a long word may go on in the next line.
	mayBreak = "\ue002"
)

// T is the text of a key as HTML: everything escaped, each argument in an
// element of its own so that its direction stays its own.
func (f *frame) T(key string, pairs ...any) template.HTML { return f.html(key, arguments(pairs)) }

// S is the text of a key as plain text, for titles and attributes.
func (f *frame) S(key string, pairs ...any) string {
	args := arguments(pairs)
	for name, value := range args {
		if s, ok := value.(string); ok {
			args[name] = clean(s)
		}
	}
	return f.l.Text(key, args)
}

// Say is a Text as HTML.
func (f *frame) Say(t Text) template.HTML {
	if t.Literal != "" {
		return template.HTML(`<span dir="auto">` + template.HTMLEscapeString(clean(t.Literal)) + "</span>")
	}
	key := t.Key
	if !f.l.Has(key) {
		key = "error.general"
	}
	return f.html(key, t.Args)
}

// Plain is a Text as plain text.
func (f *frame) Plain(t Text) string {
	if t.Literal != "" {
		return clean(t.Literal)
	}
	return f.l.Text(t.Key, t.Args)
}

func (f *frame) html(key string, args i18n.Args) template.HTML {
	marked := make(i18n.Args, len(args))
	for name, value := range args {
		if s, ok := value.(string); ok {
			value = begin + breakable(clean(s)) + end
		}
		marked[name] = value
	}
	escaped := template.HTMLEscapeString(f.l.Text(key, marked))
	return template.HTML(marks.Replace(escaped))
}

// marks are the marks as HTML.
var marks = strings.NewReplacer(begin, "<bdi>", end, "</bdi>", mayBreak, "<wbr>")

// breakable marks where an e-mail address that is too long for a line is broken:
// before its @ and its dots, and not in the middle of a word. A mark of HTML's
// adds no character to what is copied.
func breakable(s string) string {
	if at := strings.IndexByte(s, '@'); at < 1 || strings.ContainsFunc(s, unicode.IsSpace) {
		return s
	}
	first, rest := s[:1], s[1:]
	return first + strings.NewReplacer("@", mayBreak+"@", ".", mayBreak+".").Replace(rest)
}

// Has tells whether there is a text of that key.
func (f *frame) Has(key string) bool { return f.l.Has(key) }

// Clean is for names and addresses that stand alone, outside a sentence.
func (f *frame) Clean(s string) template.HTML {
	return template.HTML(marks.Replace(template.HTMLEscapeString(breakable(clean(s)))))
}

// clean takes out what could make a name look like something else: control
// characters, and marks that turn the direction of what follows.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0xfeff, r >= 0xe000 && r <= 0xe002:
			return -1
		}
		return r
	}, s)
}

func arguments(pairs []any) i18n.Args {
	args := i18n.Args{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if name, ok := pairs[i].(string); ok {
			args[name] = pairs[i+1]
		}
	}
	return args
}

// Input is one field as the templates draw it.
type Input struct {
	*frame
	Field
	Focus bool
}

// Input readies a field for drawing; focus names the field that gets it.
func (f *frame) Input(field Field, focus string) Input {
	return Input{frame: f, Field: field.whole(), Focus: field.Name == focus}
}

// In is the shorthand of Input for a page's own fields.
func (f *frame) In(name, label, kind, autocomplete, focus string) Input {
	return f.Input(Field{Name: name, Label: T(label), Type: kind, Autocomplete: autocomplete, Required: true}, focus)
}

// HasWhy tells whether a line says why the field is asked for.
func (i Input) HasWhy() bool { return !i.Why.empty() }

// Described lists the elements that explain the field, for aria-describedby.
func (i Input) Described() string {
	var ids []string
	if i.HasError(i.Field.Name) {
		ids = append(ids, "e-"+i.ID())
	}
	if i.HasWhy() {
		ids = append(ids, "w-"+i.ID())
	}
	return strings.Join(ids, " ")
}

// Initial is the letter that stands for a name.
func (f *frame) Initial(name string) string {
	for _, r := range clean(name) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "•"
}

// Kept lists the values that a page carries on unseen: never a secret.
func (f *frame) Kept() map[string]string {
	kept := map[string]string{}
	for name, value := range f.Values {
		if name != "password" && name != "new_password" && name != "state" {
			kept[name] = value
		}
	}
	return kept
}

// ShareLabel says what is shared: "Your e-mail".
func (f *frame) ShareLabel(s Share) template.HTML {
	if s.Label.empty() && f.l.Has("share."+s.Name) {
		return f.html("share."+s.Name, nil)
	}
	if s.Label.empty() {
		s.Label = Literal(s.Name)
	}
	return f.Say(s.Label)
}

// Later are the shares that the customer has not given yet.
func (f *frame) Later(shares []Share) []Share {
	return slices.DeleteFunc(slices.Clone(shares), func(s Share) bool { return !s.Asked })
}

// Device names where a session is: "Firefox on Windows".
func (f *frame) Device(s Session) string {
	switch {
	case s.Browser != "" && s.System != "":
		return f.S("account.device", "Browser", s.Browser, "System", s.System)
	case s.Browser != "" || s.System != "":
		return clean(s.Browser + s.System)
	}
	return f.S("account.unknown_device")
}
