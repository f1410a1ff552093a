package pages_test

import (
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/cardea-id/cardea/internal/tenant"
)

const profileSchema = `{"type": "object", "additionalProperties": false, "required": ["given_name"], "properties": {
	"given_name": {"type": "string", "minLength": 1, "maxLength": 20},
	"birthdate": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
	"loyalty_tier": {"type": "string", "title": "Your tier", "readOnly": true},
	"shoe_size": {"type": "number", "title": "Shoe size", "description": "So that boots fit.", "minimum": 15, "maximum": 60},
	"newsletter": {"type": "boolean", "title": "Send me the newsletter"},
	"cuisine": {"type": "string", "title": "Favourite kitchen", "enum": ["Greek", "Thai"]},
	"homepage": {"type": "string", "title": "Home page", "format": "uri"},
	"tags": {"type": "array", "items": {"type": "string"}},
	"locale": {"type": "string"},
	"address": {"type": "object", "additionalProperties": false, "required": ["locality"], "properties": {
		"formatted": {"type": "string"}, "street_address": {"type": "string"}, "locality": {"type": "string"}}}}}`

func profileWorld(t *testing.T) (*world, *visitor) {
	t.Helper()
	w := newWorld(t, func(t *tenant.Tenant) { t.Settings.Profile = []byte(profileSchema) })
	w.customer(t, "ana@example.com", password, map[string]any{"given_name": "Ana", "loyalty_tier": "Gold", "tags": []any{"vip"},
		"address": map[string]any{"formatted": "Old Street 1, Porto", "locality": "Porto"}})
	v := w.browser(t)
	v.signIn("/sign-in", "ana@example.com")
	return w, v
}

func (w *world) profile(t *testing.T, v *visitor) map[string]any {
	t.Helper()
	live := must(w.Sessions.Read(t.Context(), w.Tenant, v.cookie("session")))(t)
	return must(w.Directory.Get(t.Context(), w.Tenant.ID, live.Customer))(t).Profile
}

// typed are the fields of the profile's form as a browser sends them.
func typed(pairs ...string) []string {
	all := map[string]string{"given_name": "Ana", "address.locality": "Porto"}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	var fields []string
	for name, value := range all {
		fields = append(fields, name, value)
	}
	return fields
}

func TestTheProfileAsksForWhatTheSchemaDeclares(t *testing.T) {
	w, v := profileWorld(t)
	page := v.get("/account/profile").is(t, 200, "profile").
		says(t, "First name", `value="Ana"`, "Date of birth", "Your tier", "Gold", "Shoe size", "So that boots fit.", `<option value="Greek">`, "Send me the newsletter",
			`name="address.locality"`, `value="Porto"`, "Set by <bdi>Olive & Thyme</bdi>").
		saysNot(t, `name="loyalty_tier"`, `name="tags"`, `name="locale"`, "vip", "Old Street")
	saved := w.server.URL + "/account/profile?done="
	next := v.submit(page, typed("birthdate", "1990-02-28", "shoe_size", "38,5", "newsletter", "true", "cuisine", "Thai", "homepage", "https://ana.example/",
		"address.street_address", " New Street 2 ")...).goesTo(t, saved)
	v.get(next.Header.Get("Location")).says(t, "Your profile is saved.", `value="38.5"`, `name="newsletter" autocomplete="off" checked`, `<option value="Thai" selected>`)
	got := w.profile(t, v)
	address, _ := got["address"].(map[string]any)
	if got["shoe_size"] != 38.5 || got["newsletter"] != true || got["loyalty_tier"] != "Gold" || len(got["tags"].([]any)) != 1 ||
		address["street_address"] != "New Street 2" || address["locality"] != "Porto" || address["formatted"] != nil {
		t.Errorf("stored is %v", got)
	}
	// What is emptied is taken out.
	v.submit(v.get("/account/profile"), "given_name", "Ana", "address.locality", "", "address.street_address", "").goesTo(t, saved)
	if got := w.profile(t, v); got["shoe_size"] != nil || got["address"] != nil || got["newsletter"] != false || got["loyalty_tier"] != "Gold" {
		t.Errorf("stored is %v", got)
	}
	// Who saves what is there already changes nothing.
	before := w.revision(t, v)
	v.submit(v.get("/account/profile"), "given_name", "Ana").goesTo(t, saved)
	if w.revision(t, v) != before {
		t.Error("nothing was changed, and written")
	}
}

func (w *world) revision(t *testing.T, v *visitor) int64 {
	t.Helper()
	live := must(w.Sessions.Read(t.Context(), w.Tenant, v.cookie("session")))(t)
	return must(w.Directory.Get(t.Context(), w.Tenant.ID, live.Customer))(t).Revision
}

func TestMistakesInTheProfileAreToldBesideTheField(t *testing.T) {
	w, v := profileWorld(t)
	page := v.get("/account/profile")
	for _, c := range []struct{ field, value, says string }{
		{"given_name", "", "Please fill this in."},
		{"given_name", "  ", "Please fill this in."},
		{"given_name", strings.Repeat("a", 21), "Please check what you typed here."},
		{"birthdate", "yesterday", "That isn't a date we know."},
		{"shoe_size", "1e999", "Please check"},
		{"shoe_size", "61", "Please check"},
		{"shoe_size", "big", "Please check"},
		{"cuisine", "Norse", "Please check"},
		{"homepage", "javascript:alert(1)", "That doesn't look like a web address."},
	} {
		got := v.submit(page, typed(c.field, c.value, "address.street_address", "Kept 1")...).is(t, 200, "profile")
		if !strings.Contains(got.body, `id="e-f-`+c.field+`"`) || strings.Count(got.body, `class="error"`) != 1 {
			t.Errorf("%s: %q: the mistake is not beside the field", c.field, c.value)
		}
		got.says(t, c.says, ">Kept 1</textarea>")
	}
	got := v.submit(page, typed("address.locality", "", "address.street_address", "Kept 1")...).is(t, 200, "profile").says(t, `id="e-f-address-locality"`)
	if strings.Contains(got.body, `id="e-f-given_name"`) {
		t.Error("a mistake is told beside another field")
	}
	if got := w.profile(t, v); got["given_name"] != "Ana" || got["shoe_size"] != nil {
		t.Errorf("something was stored: %v", got)
	}
}

// SECURITY F9, L4: what a form adds changes nothing but what the schema lets a
// customer set.
func TestAFormSetsNothingElse(t *testing.T) {
	w, v := profileWorld(t)
	before := must(w.Sessions.Read(t.Context(), w.Tenant, v.cookie("session")))(t)
	form := typed("loyalty_tier", "Platinum", "email", "v@example.com", "email_verified", "true", "phone_number_verified", "true", "tags", "admin",
		"status", "closed", "customer", "cus_01kdvdna00f48vq867hh9wkbbq", "revision", "1", "address", "x", "address.country", "X", "address.locality.x", "y", "locale", "xx")
	v.submit(v.get("/account/profile"), append(form, "given_name", "Anna")...).goesTo(t, w.server.URL)
	who := must(w.Directory.Get(t.Context(), w.Tenant.ID, before.Customer))(t)
	if who.Profile["given_name"] != "Anna" || who.Profile["loyalty_tier"] != "Gold" || who.Profile["email_verified"] != nil || who.Profile["email"] != nil ||
		len(who.Profile) != 5 || len(who.Identifiers) != 1 || who.Identifiers[0].Display != "ana@example.com" || who.Status != "active" {
		t.Errorf("the customer is %+v", who)
	}
}

// An edit in another tab is told, and nothing of either is lost.
func TestEditsInTwoTabsMeet(t *testing.T) {
	w, v := profileWorld(t)
	first, second := v.get("/account/profile"), v.get("/account/profile")
	v.submit(first, typed("given_name", "Anna", "birthdate", "1990-02-28")...).goesTo(t, w.server.URL)
	// Both have changed the name; the second one also the size, and not the date.
	met := v.submit(second, typed("given_name", "Annika", "shoe_size", "38")...).is(t, 200, "profile").
		says(t, "Your profile was changed in another window.", `value="Annika"`, "Elsewhere this is now “<bdi>Anna</bdi>”", `value="38"`, `value="1990-02-28"`)
	if got := w.profile(t, v); got["given_name"] != "Anna" || got["shoe_size"] != nil {
		t.Errorf("stored before it was looked at: %v", got)
	}
	if strings.Count(met.body, `class="error"`) != 1 {
		t.Error("a field that only one has changed is told as a conflict")
	}
	v.submit(met, typed("given_name", "Annika", "shoe_size", "38", "birthdate", "1990-02-28")...).goesTo(t, w.server.URL)
	if got := w.profile(t, v); got["given_name"] != "Annika" || got["shoe_size"] != 38.0 || got["birthdate"] != "1990-02-28" {
		t.Errorf("stored is %v", got)
	}
	// What was removed elsewhere is told too.
	second = v.get("/account/profile")
	v.submit(v.get("/account/profile"), typed("given_name", "Annika", "birthdate", "1990-02-28")...).goesTo(t, w.server.URL)
	v.submit(second, typed("given_name", "Annika", "shoe_size", "39", "birthdate", "1990-02-28")...).says(t, "Elsewhere this was removed.", `value="39"`)
}

// Of many who save the same page at once one is stored, and the others are told.
func TestParallelEditsLoseNothing(t *testing.T) {
	w, v := profileWorld(t)
	page := v.get("/account/profile")
	form := url.Values{"state": {page.state()}, "given_name": {"Ana"}, "address.locality": {"Porto"}}
	var wait sync.WaitGroup
	results := make([]shownPage, 12)
	for i := range results {
		wait.Go(func() {
			mine := url.Values{"shoe_size": {[]string{"36", "37", "38"}[i%3]}}
			for name, values := range form {
				mine[name] = values
			}
			results[i] = v.do("POST", "/account/profile", mine)
		})
	}
	wait.Wait()
	stored, told := 0, 0
	for _, r := range results {
		if r.StatusCode == 303 {
			stored++
		} else if strings.Contains(r.body, "changed in another window") {
			told++
		}
	}
	if stored < 1 || stored+told != len(results) || w.revision(t, v) != 2 {
		t.Errorf("%d were stored and %d told; the revision is %d", stored, told, w.revision(t, v))
	}
}

func TestPreferencesHoldInThisBrowserAndForTheCustomer(t *testing.T) {
	w := newWorld(t)
	who := w.customer(t, "ana@example.com", password, map[string]any{"given_name": "Ana"})
	v, other := w.browser(t), w.browser(t)
	v.signIn("/sign-in", "ana@example.com")
	page := v.get("/account/preferences").is(t, 200, "preferences").says(t, `name="language" value="en" checked`, `name="appearance" value="system" checked`, "for messages from")
	v.submit(page, "language", "xx", "appearance", "dark").goesTo(t, w.server.URL+"/account/preferences")
	v.submit(page, "language", "de", "appearance", "neon").goesTo(t, w.server.URL+"/account/preferences")
	if set := v.cookie("look"); set != "" {
		t.Fatalf("the cookie is %q", set)
	}
	next := v.submit(page, "language", "de", "appearance", "dark").goesTo(t, w.server.URL+"/account/preferences?done=")
	v.get(next.Header.Get("Location")).says(t, `<html lang="de" dir="ltr" data-scheme="dark">`, "Gespeichert.", `name="language" value="de" checked`, `name="appearance" value="dark" checked`)
	if got := must(w.Directory.Get(t.Context(), w.Tenant.ID, who))(t).Profile; got["locale"] != "de" || got["given_name"] != "Ana" {
		t.Errorf("the profile is %v", got)
	}
	v.get("/account").says(t, `lang="de"`)
	w.browser(t).get("/sign-in").says(t, `<html lang="en" dir="ltr">`)
	v.submit(v.get("/account"), "choose", "sign_out")
	v.get("/sign-in").says(t, `<html lang="de" dir="ltr" data-scheme="dark">`) // before anybody has signed in
	v.get("/sign-in?ui_locales=ar").says(t, `<html lang="ar" dir="rtl" data-scheme="dark">`)

	// Another browser shows the account in his language, and looks as it did.
	next = other.signIn("/sign-in", "ana@example.com").goesTo(t, w.server.URL+"/account")
	other.get(next.Header.Get("Location")).says(t, `<html lang="de" dir="ltr">`)
	other.get("/account?ui_locales=ar").says(t, `<html lang="ar" dir="rtl">`, "/account/profile?ui_locales=ar")

	for _, bad := range []string{"dark", "neon-de", "dark-xx", "dark-de-de", "-", "system-"} {
		b := w.browser(t)
		b.header.Set("Cookie", "__Host-cardea_look_shop="+bad)
		b.get("/sign-in").is(t, 200, "identify").says(t, `<html lang="en" dir="ltr"`)
	}
}
