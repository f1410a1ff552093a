package claim_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/expr"
)

func one(name, value string) claim.Mapping {
	return claim.Mapping{Name: name, Value: value, In: []claim.Target{claim.IDToken}}
}

var ana = claim.Facts{
	Customer: "cus_ana", CreatedAt: time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC), Profile: map[string]any{"given_name": "Ana", "points": 1250.0, "tags": []any{"a", "b"}},
	Identifiers: map[string]any{"email": "ana@example.com"}, Scopes: []string{"openid", "profile"}, GrantedAt: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC),
	Application: "app_shop", Name: "Shop", FirstParty: true, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
}

func TestCheck(t *testing.T) {
	good := []claim.Mapping{one("https://shop.example/tier", `profile.points > 1000.0 ? "gold" : "green"`),
		{Name: "mail", Value: `identifiers.email`, In: claim.Targets, Scope: "email", Audience: []string{"https://api.example"}, Label: map[string]string{"en": "Your e-mail"}}}
	if err := claim.Check(good); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		mapping claim.Mapping
		says    string
	}{
		"reserved":            {one("sub", `"x"`), "meaning of its own"},
		"verified":            {one("email_verified", `true`), "meaning of its own"},
		"confirmation":        {one("cnf", `{"jkt": "x"}`), "meaning of its own"},
		"no name":             {one("", `"x"`), "a name has"},
		"a name with quotes":  {one(`a","sub":"b`, `"x"`), "a name has"},
		"nowhere":             {claim.Mapping{Name: "a", Value: `"x"`}, "in is empty"},
		"elsewhere":           {claim.Mapping{Name: "a", Value: `"x"`, In: []claim.Target{"cookie"}}, "in names"},
		"a typing error":      {one("a", "profile.x ==\n  profil.y"), "line 2, column 3"},
		"what is known":       {one("a", "profil.y"), "known are profile, identifiers, customer.id"},
		"a field not there":   {one("a", "customer.email"), "known are"},
		"a wrong type":        {one("a", `customer.id + 1`), "line 1, column 13"},
		"nothing":             {one("a", ""), "it is empty"},
		"what JSON lacks":     {one("a", `b"x"`), "JSON cannot say"},
		"much too long":       {one("a", strings.Repeat("1+", 3000)+"1"), "longer than"},
		"an audience nowhere": {claim.Mapping{Name: "a", Value: `"x"`, In: []claim.Target{claim.UserInfo}, Audience: []string{"x"}}, "audience is for access tokens"},
		"two scopes":          {claim.Mapping{Name: "a", Value: `"x"`, In: claim.Targets, Scope: "a b"}, "scope is one scope"},
	} {
		if err := claim.Check([]claim.Mapping{c.mapping}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := claim.Check([]claim.Mapping{one("a", "1"), one("a", "2")}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Error(err)
	}
	if err := claim.Check(make([]claim.Mapping, claim.MaxMappings+1)); err == nil {
		t.Error("any number is taken")
	}
	for _, name := range []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "nonce", "auth_time", "acr", "amr", "azp", "at_hash", "sid", "client_id", "scope", "cnf", "act", "lin"} {
		if !claim.Reserved(name) {
			t.Errorf("%s is not reserved", name)
		}
	}
}

func TestEvaluate(t *testing.T) {
	for value, want := range map[string]string{
		`"x"`: `"x"`, `1 + 1`: `2`, `profile.points > 1000.0`: `true`, `profile.points`: `1250`, `profile.tags`: `["a","b"]`,
		`{"a": [1, 2.5], "b": null}`: `{"a":[1,2.5],"b":null}`, `customer.created_at`: `"2024-03-01T00:00:00Z"`, `now - customer.created_at > duration("24h")`: `true`,
		`identifiers.email.split("@")`: "missing function", `has(profile.nickname) ? profile.nickname : profile.given_name`: `"Ana"`,
		`null`: "", `grant.scopes.filter(s, s != "openid")`: `["profile"]`, `application.name + " " + application.id`: `"Shop app_shop"`,
		`profile.nickname`: "missing", `profile.tags[7]`: "missing", `1 / 0`: "evaluate", `profile.points + "x"`: "evaluate", `{1: 2}`: "shape",
		`0.0 / 0.0`: "shape", `string(profile.points) + "` + strings.Repeat("y", 1100) + `"`: "large",
	} {
		if claim.Check([]claim.Mapping{one("a", value)}) != nil {
			if want != "missing function" {
				t.Errorf("%s is refused", value)
			}
			continue
		}
		given := claim.For(claim.Compile([]claim.Mapping{one("a", value)}, nil).Evaluate(t.Context(), ana), claim.IDToken)
		switch {
		case want == "" && len(given) == 0:
		case len(given) != 1:
			t.Errorf("%s gives %d claims", value, len(given))
		case given[0].Err != nil:
			kind := map[string]error{"missing": expr.ErrMissing, "evaluate": expr.ErrEvaluate, "shape": expr.ErrShape, "large": claim.ErrLarge}[want]
			if kind == nil || !errors.Is(given[0].Err, kind) {
				t.Errorf("%s: %v in place of %s", value, given[0].Err, want)
			}
			if strings.Contains(given[0].Err.Error(), "1250") || strings.Contains(given[0].Err.Error(), "Ana") {
				t.Errorf("%s: the error tells of the customer: %v", value, given[0].Err)
			}
		case string(given[0].JSON) != want:
			t.Errorf("%s gives %s in place of %s", value, given[0].JSON, want)
		}
	}
	// An expression of large cost is stopped.
	costly := `[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, [1,2,3,4,5,6,7,8,9].all(e, a + b + c + d + e > int(profile.points) - 5000)))))`
	if given := claim.Compile(nil, []claim.Mapping{one("a", costly)}).Evaluate(t.Context(), ana); len(given) != 1 || !errors.Is(given[0].Err, expr.ErrCost) {
		t.Errorf("%+v", given)
	}
}

func TestWhatLeaves(t *testing.T) {
	mappings := []claim.Mapping{
		{Name: "tier", Value: `profile.points > 1000.0 ? "gold" : "green"`, In: claim.Targets, Scope: "profile"},
		{Name: "mail", Value: `identifiers.email`, In: claim.Targets, Scope: "email"},
		{Name: "shop", Value: `application.name`, In: []claim.Target{claim.AccessToken}, Audience: []string{"https://api.example"}},
		{Name: "plan", Value: `"free"`, In: []claim.Target{claim.IDToken}},
	}
	set := claim.Compile(mappings, []claim.Mapping{{Name: "plan", Value: `"paid"`, In: []claim.Target{claim.IDToken}}})
	names := func(given []claim.Given) string {
		var all []string
		for _, g := range given {
			all = append(all, g.Name)
		}
		return strings.Join(all, " ")
	}
	given := set.Evaluate(t.Context(), ana)
	for target, want := range map[claim.Target]string{claim.IDToken: "tier plan", claim.AccessToken: "tier", claim.UserInfo: "tier"} {
		if got := names(claim.For(given, target, "https://id.example")); got != want {
			t.Errorf("%s: %s in place of %s", target, got, want)
		}
	}
	if got := names(claim.For(given, claim.AccessToken, "https://api.example")); got != "tier shop" {
		t.Errorf("for the API: %s", got)
	}
	if id := claim.For(given, claim.IDToken); string(id[1].JSON) != `"paid"` {
		t.Errorf("the application's own does not go before: %s", id[1].JSON)
	}
	// A third party gets what its customer has allowed, as long as it means that.
	third := ana
	third.FirstParty, third.Scopes = false, []string{"openid", "profile", "email"}
	if got := names(claim.For(set.Evaluate(t.Context(), third), claim.IDToken)); got != "plan" {
		t.Errorf("without consent: %s", got)
	}
	third.Allowed = set.Consents(third.Scopes)
	if got := names(claim.For(set.Evaluate(t.Context(), third), claim.IDToken)); got != "tier mail plan" || len(third.Allowed) != 2 {
		t.Errorf("with consent: %s of %v", got, third.Allowed)
	}
	mappings[0].Value = `profile.given_name`
	if got := names(claim.For(claim.Compile(mappings, nil).Evaluate(t.Context(), third), claim.IDToken)); got != "mail plan" {
		t.Errorf("with consent to another meaning: %s", got)
	}
	// A token has room for so much.
	var many []claim.Mapping
	for _, c := range "abcdefgh" {
		many = append(many, one(string(c), `"`+strings.Repeat("x", 900)+`"`))
	}
	size, dropped := 0, 0
	for _, g := range claim.For(claim.Compile(many, nil).Evaluate(t.Context(), ana), claim.IDToken) {
		if size += len(g.JSON); g.Err != nil {
			dropped++
		}
	}
	if size > claim.MaxClaims || dropped != 4 {
		t.Errorf("%d bytes, %d dropped", size, dropped)
	}
}

func TestSetsAreCompiledOnce(t *testing.T) {
	var sets claim.Sets
	mappings := []claim.Mapping{one("a", "1")}
	first := sets.Of(claim.Owner{Tenant: "t", Application: "a"}, mappings, nil)
	if sets.Of(claim.Owner{Tenant: "t", Application: "a"}, mappings, nil) != first || sets.Of(claim.Owner{Tenant: "t", Application: "b", Revision: 7}, mappings, nil) != first {
		t.Error("the same content is compiled again")
	}
	if sets.Of(claim.Owner{Tenant: "t", Application: "c"}, []claim.Mapping{one("a", "2")}, nil) == first || sets.Of(claim.Owner{}, nil, nil) != nil {
		t.Error("other content is the same set")
	}
}

// Whatever is written as a mapping is refused in words or gives JSON within the
// limits, and never takes a reserved name.
func FuzzMapping(f *testing.F) {
	for _, seed := range []string{`profile.points > 1000.0 ? "gold" : "green"`, `identifiers.email`, `[1,2].map(x, x * 2)`, `{"a": profile}`, `has(profile.x)`, `"`, `now`, `profile[""]`, `(((((1)))))`, "1\n+\n", `"\u0000"`, `profile.all(k, k != "")`} {
		f.Add("tier", seed)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		m := claim.Mapping{Name: name, Value: value, In: claim.Targets}
		if err := claim.Check([]claim.Mapping{m}); err != nil {
			return
		}
		if claim.Reserved(name) {
			t.Fatalf("%q is written", name)
		}
		for _, g := range claim.For(claim.Compile(nil, []claim.Mapping{m}).Evaluate(t.Context(), ana), claim.IDToken) {
			if g.Err == nil && (!json.Valid(g.JSON) || len(g.JSON) > claim.MaxClaim) {
				t.Fatalf("%q gives %q", value, g.JSON)
			}
		}
	})
}

// What mapped claims cost beside the signature of the token that they are in:
// see docs/claims.md.
func BenchmarkEvaluate(b *testing.B) {
	set := claim.Compile([]claim.Mapping{
		one("tier", `profile.points > 1000.0 ? "gold" : "green"`), one("mail", `identifiers.email`), one("since", `customer.created_at`),
		one("plan", `"profile" in grant.scopes ? "full" : "small"`), one("first", `has(profile.nickname) ? profile.nickname : profile.given_name`),
	}, nil)
	b.ReportAllocs()
	for b.Loop() {
		if given := claim.For(set.Evaluate(b.Context(), ana), claim.IDToken); len(given) != 5 || slices.ContainsFunc(given, func(g claim.Given) bool { return g.Err != nil }) {
			b.Fatal(given)
		}
	}
}
