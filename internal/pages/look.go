package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/tenant"
)

// mostLooks is how many brands' looks a node keeps ready. Beyond it they are
// made again, which takes a fraction of a millisecond.
const mostLooks = 1024

// looks makes brands' themes ready and keeps them.
type looks struct {
	views *view.Views
	mu    sync.Mutex
	ready map[string]*view.Look // by all that makes a look
}

func newLooks(views *view.Views) *looks { return &looks{views: views, ready: map[string]*view.Look{}} }

// of returns the look of a tenant's brand. A theme that cannot be used is told
// to the log, once as long as it is kept, and the default one shown: a mistake
// in colours keeps nobody out.
func (l *looks) of(ctx context.Context, logger *slog.Logger, t *tenant.Tenant) (*view.Look, error) {
	if t.Brand.Revision == tenant.Draft { // which must not be taken for what is stored
		return l.make(t)
	}
	key, err := keyOf(t)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if look, ok := l.ready[key]; ok {
		return look, nil
	}
	look, err := l.make(t)
	if err != nil {
		logger.LogAttrs(ctx, slog.LevelWarn, "a brand's look cannot be used; the default one is shown",
			slog.String("tenant", string(t.ID)), slog.String("brand", string(t.Brand.ID)), slog.Any("error", err))
		plain := *t
		plain.Brand = tenant.Brand{Name: t.Brand.Name}
		if look, err = l.make(&plain); err != nil {
			return nil, err
		}
	}
	if len(l.ready) >= mostLooks {
		clear(l.ready)
	}
	l.ready[key] = look
	return look, nil
}

// keyOf is all that makes a look. A tenant by path and one with a host of its
// own may be the same but for the path.
func keyOf(t *tenant.Tenant) (string, error) {
	if t.Brand.ID != "" && t.Brand.Revision != 0 {
		return strings.Join([]string{t.Path, string(t.Brand.ID), strconv.FormatInt(t.Brand.Revision, 10)}, "\x00"), nil
	}
	rest, err := json.Marshal([]any{t.Brand.Document, t.Brand.Assets})
	return strings.Join([]string{t.Path, t.Brand.Name, string(t.Brand.Theme), string(rest)}, "\x00"), err
}

// make makes a tenant's brand ready: the theme, then what the brand has beside.
func (l *looks) make(t *tenant.Tenant) (*view.Look, error) {
	theme, err := l.theme(t.Brand)
	if err != nil {
		return nil, err
	}
	if theme.Name == "" {
		theme.Name = t.Name
	}
	if t.Path != "" { // the assets of a tenant by path are below that path
		for _, address := range []*string{&theme.Logo.URL, &theme.Logo.DarkURL, &theme.Art.URL, &theme.Art.DarkURL} {
			if strings.HasPrefix(*address, view.AssetPath) {
				*address = t.Path + *address
			}
		}
	}
	dress, err := l.dress(t, &theme)
	if err != nil {
		return nil, err
	}
	look, err := l.views.Dressed(theme, dress)
	if err != nil {
		return nil, err
	}
	look.Stylesheet = t.Path + look.Stylesheet
	if look.OwnSheet != "" {
		look.OwnSheet = t.Path + look.OwnSheet
	}
	return look, nil
}

// theme reads a brand's theme: nothing for the default one, a text for the name
// of one that is built in, or an object for the brand's own, in which what is
// left out is as in the default one.
func (l *looks) theme(b tenant.Brand) (view.Theme, error) {
	theme := l.views.Cardea()
	theme.Name = b.Name
	text := bytes.TrimSpace(b.Theme)
	switch {
	case len(text) == 0 || string(text) == "null":
	case text[0] == '"':
		var name string
		if err := json.Unmarshal(text, &name); err != nil {
			return theme, fmt.Errorf("read the theme's name: %w", err)
		}
		switch name {
		case "cardea":
		case "olive-and-thyme":
			theme = l.views.OliveAndThyme()
			theme.Name = b.Name
		default:
			return theme, fmt.Errorf("there is no built-in theme %q; there is cardea and olive-and-thyme", name)
		}
	default:
		text, err := joinedKeys(text)
		if err != nil {
			return theme, fmt.Errorf("read the theme: %w", err)
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&theme); err != nil {
			return theme, fmt.Errorf("read the theme: %w", err)
		}
	}
	return theme, nil
}

// joinedKeys takes the underscores out of an object's keys: on_accent is
// onAccent.
func joinedKeys(text []byte) ([]byte, error) {
	var document any
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	var walk func(value any) any
	walk = func(value any) any {
		switch value := value.(type) {
		case map[string]any:
			joined := make(map[string]any, len(value))
			for key, inner := range value {
				joined[strings.ReplaceAll(key, "_", "")] = walk(inner)
			}
			return joined
		case []any:
			for i := range value {
				value[i] = walk(value[i])
			}
		}
		return value
	}
	return json.Marshal(walk(document))
}

// The logo's height unless the brand says another, and how wide it gets at
// most.
const logoHeight, logoWidth = 40, 280

// dress is what a brand has beside its theme. Its logo stands in the place of
// the theme's.
func (l *looks) dress(t *tenant.Tenant, theme *view.Theme) (view.Dress, error) {
	b := t.Brand
	address := func(role brand.Role) string {
		if found, ok := brand.Find(b.Assets, role); ok {
			return t.Path + brand.AssetPath + found.Name
		}
		return ""
	}
	if logo, ok := brand.Find(b.Assets, brand.Logo); ok {
		theme.Logo = view.Image{URL: address(brand.Logo), DarkURL: address(brand.LogoDark), Alone: b.Document.Logo.Alone}
		theme.Logo.Width, theme.Logo.Height = fitted(logo.Width, logo.Height, b.Document.Logo.Height)
	}
	if _, ok := brand.Find(b.Assets, brand.Background); ok {
		theme.Art = view.Image{} // one thing behind the page
	}
	face := func(role brand.Role) view.Face {
		found, _ := brand.Find(b.Assets, role)
		return view.Face{URL: address(role), Variable: found.Variable}
	}
	css, err := b.Document.Stylesheet(b.Assets, t.Path)
	if err != nil {
		return view.Dress{}, err
	}
	footer := map[string][]view.Link{}
	for _, lang := range l.views.Words().Languages() {
		for _, kind := range brand.LinkKinds() {
			if link := b.Document.Link(lang, kind); link != "" {
				footer[lang] = append(footer[lang], view.Link{Label: view.T("footer." + kind), URL: link})
			}
		}
	}
	return view.Dress{
		Favicon: address(brand.Favicon), Backdrop: view.Image{URL: address(brand.Background), DarkURL: address(brand.BackgroundDark)},
		Text: face(brand.Font), Heading: face(brand.FontHeading), CSS: css, Texts: b.Document.Texts, Footer: footer,
	}, nil
}

// fitted scales a picture to a height, and to the width that there is.
func fitted(width, height, wanted int) (int, int) {
	if wanted == 0 {
		wanted = logoHeight
	}
	scaled := max(1, (width*wanted+height/2)/height)
	if scaled > logoWidth {
		return logoWidth, max(1, wanted*logoWidth/scaled)
	}
	return scaled, wanted
}

// CheckBrand tells what is wrong with the look and the words that a tenant's
// brand would have.
func CheckBrand(views *view.Views, t *tenant.Tenant) error {
	err := t.Brand.Document.Check(views.Words(), t.Brand.Assets)
	if _, drawn := newLooks(views).make(t); drawn != nil && err == nil {
		err = drawn
	} else if drawn != nil && !strings.Contains(err.Error(), drawn.Error()) {
		err = errors.Join(err, drawn)
	}
	return err
}
