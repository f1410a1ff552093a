package adminapi_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// found are the values that a search is answered with, over pages of a size.
func (o *operator) found(tenant, in, prefix string, size int) (values []string) {
	o.t.Helper()
	query := url.Values{"prefix": {prefix}, "limit": {fmt.Sprint(size)}}
	if in != "" {
		query.Set("in", in)
	}
	for {
		page := o.json(o.must(200, get, "/admin/v1/tenants/"+tenant+"/customers/by-prefix?"+query.Encode(), nil))
		for _, item := range page["items"].([]any) {
			values = append(values, item.(object)["value"].(string))
		}
		next, more := page["next"].(string)
		if !more {
			slices.Sort(values)
			return values
		}
		query.Set("after", next)
	}
}

// settle has customers follow the settings.
func settle(t testing.TB, i *servertest.Installation, of *tenant.Tenant) {
	t.Helper()
	i.Clock.Advance(time.Minute)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := i.Directory.AdvanceSearch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if on, err := i.Directory.Searching(t.Context(), of.ID); err != nil || on && time.Now().After(end) {
			t.Fatalf("the customers do not follow: %v", err)
		} else if !on {
			return // this call has done it, or the server's own task
		}
	}
}

// TestSearch: a tenant turns searching on in its settings, and off; what there
// is to do stands in every refusal.
func TestSearch(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		i.Tenant("club", nil)
		const all, settings = "/admin/v1/tenants/shop/customers", "/admin/v1/tenants/shop/settings"
		create := func(tenant, address, given, family string) string {
			t.Helper()
			made := o.json(o.must(201, post, "/admin/v1/tenants/"+tenant+"/customers", object{
				"identifiers": []object{{"value": address, "verified": true}}, "profile": object{"given_name": given, "family_name": family}}))
			return made["id"].(string)
		}
		ana := create("shop", "ana@example.com", "Ana", "Müller")
		create("club", "ana@example.com", "Ana", "Müller")

		refused := func(status int, query, says string) {
			t.Helper()
			if a := o.must(status, get, all+"/by-prefix?"+query, nil); !strings.Contains(a.Text, says) {
				t.Errorf("%s is refused with %s, which does not say %q", query, a.Text, says)
			}
		}
		refused(409, "prefix=ana", "Name identifiers or attributes under search in its settings first")
		for _, bad := range []string{`{"search": {"identifiers": ["loyalty"]}}`, `{"search": {"attributes": ["shoe_size"]}}`, `{"search": {"attributes": ["address"]}}`,
			`{"search": {"attributes": ["given_name", "given_name"]}}`} {
			if a := o.send(put, settings, "application/json", bad); a.Status != 422 || !strings.Contains(a.Text, "search") {
				t.Errorf("%s: %d %s", bad, a.Status, a.Text)
			}
		}
		search := `{"search": {"identifiers": ["email"], "attributes": ["family_name"]}}`
		if a := o.send(put, settings, "application/json", search); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Text)
		}
		if page := o.json(o.must(200, get, all+"/by-prefix?prefix=ana", nil)); page["partial"] != true {
			t.Errorf("before the customers follow, a page says %v", page)
		}
		settle(t, i, shop)
		page := o.json(o.must(200, get, all+"/by-prefix?prefix="+url.QueryEscape("MÜL"), nil))
		item := page["items"].([]any)[0].(object)
		if page["partial"] != nil || item["id"] != ana || item["value"] != "Müller" || item["in"] != "profile.family_name" || item["name"] != "Ana Müller" || item["identifier"] != "ana@example.com" {
			t.Errorf("%v", page)
		}
		var want []string
		for n := range 7 {
			create("shop", fmt.Sprintf("someone-%d@example.com", n), "Some", "One")
			want = append(want, fmt.Sprintf("someone-%d@example.com", n))
		}
		for _, size := range []int{1, 3, 50} {
			if got := o.found("shop", "email", "SomeOne", size); !slices.Equal(got, want) {
				t.Errorf("pages of %d: %v", size, got)
			}
		}
		refused(400, "prefix=an", "less than 3")
		refused(400, "prefix=", "prefix")
		refused(400, "prefix=--+--", "less than 3")
		refused(400, "prefix=ana&after=x", "Begin the search again")
		refused(400, "prefix=ana&limit=51", "limit")
		refused(400, "in=email", "prefix")
		refused(409, "prefix=ana&in=profile.given_name", "email, profile.family_name")
		if a := o.do(get, "/admin/v1/tenants/club/customers/by-prefix?prefix=ana", nil); a.Status != 409 {
			t.Errorf("at a tenant that does not have it: %d %s", a.Status, a.Text)
		}
		o.must(200, post, all+"/"+ana+"/erase", nil)
		if got := o.found("shop", "", "ana", 5); len(got) != 0 {
			t.Errorf("who was erased is found: %v", got)
		}

		// Off: at once nothing is found, and then nothing is left.
		if a := o.send(put, settings, "application/json", `{"search": {"identifiers": [], "attributes": []}}`); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Text)
		}
		refused(409, "prefix=some", "under search in its settings")
		settle(t, i, shop)
		if n := rows(t, i); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

func rows(t testing.TB, i *servertest.Installation) (n int) {
	t.Helper()
	if err := i.DB.QueryRow(t.Context(), `SELECT COUNT(*) FROM customer_prefix`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSearchAfterARestore: whoever was erased since the backup is not found, and
// leaves nothing; the others are.
func TestSearchAfterARestore(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		if a := o.send(put, "/admin/v1/tenants/shop/settings", "application/json", `{"search": {"identifiers": ["email"]}}`); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Text)
		}
		settle(t, i, shop)
		made := map[string]string{}
		for _, name := range []string{"kept", "gone"} {
			made[name] = o.json(o.must(201, post, "/admin/v1/tenants/shop/customers", object{"identifiers": []object{{"value": name + "@example.com", "verified": true}}}))["id"].(string)
		}
		folder := i.BackUp()
		o.must(200, post, "/admin/v1/tenants/shop/customers/"+made["gone"]+"/erase", nil)
		i.Restore(folder)
		o = operate(t, i)
		if got := o.found("shop", "", "kept", 5); len(got) != 1 {
			t.Errorf("%v", got)
		}
		if got := o.found("shop", "", "gone", 5); len(got) != 0 {
			t.Errorf("who was erased is found: %v", got)
		}
		if n := rows(t, i); n != 1 {
			t.Errorf("%d rows are left", n)
		}
	})
}
