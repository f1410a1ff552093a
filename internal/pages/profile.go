package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// formatted is the address in one piece, which says the same as its parts.
const formatted = "address.formatted"

// editable are the attributes that a customer changes on his profile's page, and
// the others that it shows. The language has a page of its own, and an address
// that has parts is told by these. What the schema hides is shown once it is
// known.
func editable(t *tenant.Tenant, who *customer.Customer) (fields, fixed []tenant.Attribute) {
	all := t.Schema.Attributes()
	parts := slices.ContainsFunc(all, func(a tenant.Attribute) bool { return a.Top() == "address" && a.Name != formatted })
	for _, a := range all {
		switch {
		case a.Name == "locale", a.Name == formatted && parts, a.Hidden && a.Typed(who.Profile) == "":
		case a.ReadOnly:
			fixed = append(fixed, a)
		default:
			fields = append(fields, a)
		}
	}
	return fields, fixed
}

// showProfile asks for what the tenant's schema declares.
func (p *Pages) showProfile(v *visit) (view.Page, error) {
	fields, fixed := editable(v.t, v.who)
	v.state.Revision, v.state.Shown = v.who.Revision, shownOf(fields, v.who.Profile)
	values := map[string]string{}
	for _, a := range fields {
		values[a.Name] = a.Typed(v.who.Profile)
	}
	data := view.Profile{Groups: groupsOf(fields)}
	for i, field := range fieldsOf(fixed) {
		if value := fixed[i].Typed(v.who.Profile); value != "" {
			data.Facts = append(data.Facts, view.Fact{Field: field, Value: value})
		}
	}
	return view.Page{Data: data, Values: values}, nil
}

// groupsOf puts the parts of an object together, under its name.
func groupsOf(fields []tenant.Attribute) []view.Group {
	var groups []view.Group
	top := ""
	drawn := fieldsOf(fields)
	for i, a := range fields {
		within := ""
		if a.Top() != a.Name {
			within = a.Top()
		}
		if len(groups) == 0 || within != top {
			group := view.Group{}
			if within != "" {
				group.Title = view.Literal(within)
				if standard(within) {
					group.Title = view.T("field." + within)
				}
			}
			groups, top = append(groups, group), within
		}
		last := &groups[len(groups)-1]
		last.Fields = append(last.Fields, drawn[i])
	}
	return groups
}

// shownOf notes what a page's fields have in them, short: enough to tell whether
// a field was changed, and by whom.
func shownOf(fields []tenant.Attribute, profile map[string]any) map[string]string {
	shown := map[string]string{}
	for _, a := range fields {
		if text := a.Typed(profile); text != "" {
			shown[a.Name] = short(text)
		}
	}
	return shown
}

func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// changeProfile stores what was typed. Where the profile was changed since the
// page was shown, nothing is stored: the page is shown again with what was
// typed, what came from elsewhere in the fields that were left alone, and both
// where they meet.
func (p *Pages) changeProfile(v *visit, form url.Values) (next, error) {
	fields, _ := editable(v.t, v.who)
	profile, faults := v.t.Schema.ReadForm(v.who.Profile, fields, form.Get)
	if v.state.Revision != v.who.Revision {
		return p.profileMet(v, fields, form)
	}
	page, err := p.showProfile(v)
	if err != nil {
		return next{}, err
	}
	for _, a := range fields {
		page.Values[a.Name] = form.Get(a.Name)
	}
	if len(faults) > 0 {
		page.Errors = map[string]view.Text{}
		for _, fault := range faults {
			page.Errors[fault.Name] = wordsOfAttribute(fields, fault)
		}
		return next{again: &page}, nil
	}
	if address, told := profile["address"].(map[string]any); told && !slices.ContainsFunc(fields, func(a tenant.Attribute) bool { return a.Name == formatted }) {
		if before, _ := v.who.Profile["address"].(map[string]any); !maps.Equal(before, address) {
			address = maps.Clone(address)
			delete(address, "formatted") // it says what was before
			profile["address"] = address
		}
	}
	if same(fields, v.who.Profile, profile) {
		return next{done: accountState{Done: "profile_saved"}}, nil
	}
	keys, err := p.Ring.Tenant(v.ctx(), v.t.ID)
	if err != nil {
		return next{}, err
	}
	key, err := p.Directory.Key(v.ctx(), v.t.ID, v.who.ID)
	if err != nil {
		return next{}, err
	}
	err = p.DB.Write(v.ctx(), func(tx *sqldb.Tx) error {
		return p.Directory.SetProfile(tx, keys, key, v.t.ID, v.who.ID, v.who.Revision, profile, string(v.who.ID))
	})
	if errors.Is(err, customer.ErrChanged) { // between reading and writing
		if v.who, err = p.Directory.Get(v.ctx(), v.t.ID, v.who.ID); err != nil {
			return next{}, fmt.Errorf("read the customer: %w", err)
		}
		return p.profileMet(v, fields, form)
	}
	return next{done: accountState{Done: "profile_saved"}}, err
}

// profileMet is the page of a profile that was changed elsewhere meanwhile.
func (p *Pages) profileMet(v *visit, fields []tenant.Attribute, form url.Values) (next, error) {
	before := v.state.Shown
	page, err := p.showProfile(v)
	if err != nil {
		return next{}, err
	}
	page.Errors = map[string]view.Text{}
	for _, a := range fields {
		typed, stored, was := a.Trimmed(form.Get(a.Name)), a.Typed(v.who.Profile), before[a.Name]
		if typed == stored || (typed == "" && was == "") || (typed != "" && was == short(typed)) {
			continue // he left it alone: what is stored is shown
		}
		page.Values[a.Name] = typed
		switch {
		case (stored == "" && was == "") || (stored != "" && was == short(stored)): // nobody else touched it
		case stored == "":
			page.Errors[a.Name] = view.T("error.removed_elsewhere")
		default:
			page.Errors[a.Name] = view.T("error.changed_elsewhere", "Value", stored)
		}
	}
	page.Notice = &view.Notice{Tone: view.Info, Text: view.T("notice.profile_changed")}
	return next{again: &page}, nil
}

// same tells whether two profiles have the same in these attributes.
func same(fields []tenant.Attribute, a, b map[string]any) bool {
	for _, field := range fields {
		if field.Typed(a) != field.Typed(b) {
			return false
		}
	}
	return true
}
