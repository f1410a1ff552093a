package pages

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// lookLife is how long a browser remembers how its pages are to look: the
// longest that browsers keep a cookie.
const lookLife = 400 * 24 * time.Hour

// chosen is what was chosen in a browser, for all who use it: the appearance,
// which may differ from device to device, and the language, so that pages from
// before a sign-in speak it too. Neither says anything of a person.
func (p *Pages) chosen(r *http.Request, t *tenant.Tenant) (appearance, lang string) {
	appearance, lang, _ = strings.Cut(p.Jar.Get(r, t, browser.Look), "-")
	if !slices.Contains(view.Appearances(), appearance) {
		return view.Appearances()[0], ""
	}
	if !slices.Contains(p.offered(t), lang) {
		lang = ""
	}
	return appearance, lang
}

// keepsLanguage tells whether the tenant's profiles have a language, any that
// its pages are in.
func (p *Pages) keepsLanguage(t *tenant.Tenant) bool {
	return slices.Contains(t.Schema.Names(), "locale") && !slices.ContainsFunc(p.offered(t), func(lang string) bool {
		return slices.ContainsFunc(t.Schema.Validate(map[string]any{"locale": lang}), func(f tenant.FieldFault) bool { return f.Name == "locale" })
	})
}

// showPreferences asks for the language and the look of pages.
func (p *Pages) showPreferences(v *visit) (view.Page, error) {
	appearance, _ := p.chosen(v.r, v.t)
	return view.Page{
		Data:   view.Preferences{Languages: p.offered(v.t), Mail: p.keepsLanguage(v.t)},
		Values: map[string]string{"language": v.client.Language, "appearance": appearance},
	}, nil
}

func (p *Pages) changePreferences(v *visit, form url.Values) (next, error) {
	appearance, lang := form.Get("appearance"), form.Get("language")
	if !slices.Contains(view.Appearances(), appearance) || !slices.Contains(p.offered(v.t), lang) {
		return next{}, nil // no page of ours offers it
	}
	if err := p.keepLanguage(v, lang); err != nil {
		return next{}, err
	}
	p.Jar.Set(v.w, v.t, browser.Look, appearance+"-"+lang, lookLife)
	v.client.Language, v.asked = lang, false
	return next{done: accountState{Done: "saved"}}, nil
}

// keepLanguage stores the language with the customer, where the tenant's
// profiles have one: later pages in other browsers and messages are in it.
func (p *Pages) keepLanguage(v *visit, lang string) error {
	for {
		if p.spoken(v.t, v.who) == lang || !p.keepsLanguage(v.t) {
			return nil
		}
		key, err := p.Directory.Key(v.ctx(), v.t.ID, v.who.ID)
		if err != nil {
			return err
		}
		keys, err := p.Ring.Tenant(v.ctx(), v.t.ID)
		if err != nil {
			return err
		}
		profile := maps.Clone(v.who.Profile)
		profile["locale"] = lang
		err = p.DB.Write(v.ctx(), func(tx *sqldb.Tx) error {
			return p.Directory.SetProfile(tx, keys, key, v.t.ID, v.who.ID, v.who.Revision, profile, string(v.who.ID))
		})
		if !errors.Is(err, customer.ErrChanged) {
			return err
		}
		if v.who, err = p.Directory.Get(v.ctx(), v.t.ID, v.who.ID); err != nil {
			return err
		}
	}
}
