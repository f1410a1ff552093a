package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"

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
	key := strings.Join([]string{t.Path, t.Brand.Name, string(t.Brand.Theme)}, "\x00")
	l.mu.Lock()
	defer l.mu.Unlock()
	if look, ok := l.ready[key]; ok {
		return look, nil
	}
	look, err := l.make(t, t.Brand.Theme)
	if err != nil {
		logger.LogAttrs(ctx, slog.LevelWarn, "a brand's theme cannot be used; the default one is shown",
			slog.String("tenant", string(t.ID)), slog.String("brand", string(t.Brand.ID)), slog.Any("error", err))
		if look, err = l.make(t, nil); err != nil {
			return nil, err
		}
	}
	if len(l.ready) >= mostLooks {
		clear(l.ready)
	}
	l.ready[key] = look
	return look, nil
}

// CheckTheme says what is wrong with a theme that a brand is to have.
func (p *Pages) CheckTheme(theme json.RawMessage) error {
	_, err := p.looks.make(&tenant.Tenant{Brand: tenant.Brand{Name: "Brand"}}, theme)
	return err
}

// make reads a theme: nothing for the default one, a text for the name of one
// that is built in, or an object for the brand's own, in which what is left
// out is as in the default one.
func (l *looks) make(t *tenant.Tenant, text json.RawMessage) (*view.Look, error) {
	theme := l.views.Cardea()
	theme.Name = t.Brand.Name
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0 || string(text) == "null":
	case text[0] == '"':
		var name string
		if err := json.Unmarshal(text, &name); err != nil {
			return nil, fmt.Errorf("read the theme's name: %w", err)
		}
		switch name {
		case "cardea":
		case "olive-and-thyme":
			theme = l.views.OliveAndThyme()
			theme.Name = t.Brand.Name
		default:
			return nil, fmt.Errorf("there is no built-in theme %q; there is cardea and olive-and-thyme", name)
		}
	default:
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&theme); err != nil {
			return nil, fmt.Errorf("read the theme: %w", err)
		}
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
	look, err := l.views.Look(theme)
	if err != nil {
		return nil, err
	}
	look.Stylesheet = t.Path + look.Stylesheet
	return look, nil
}
