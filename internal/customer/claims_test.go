package customer_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestClaims freezes what each scope releases.
func TestClaims(t *testing.T) {
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	full := &customer.Customer{
		ID: "cus_1", UpdatedAt: at,
		Profile: map[string]any{
			"given_name": "Ana", "family_name": "Lima", "nickname": "", "locale": "pt-PT", "birthdate": "1990-02-28", "preferred_username": "told",
			"address": map[string]any{"country": "PT"}, "shoe_size": "38",
			// Second doors to what is proved: these are no part of a profile.
			"email": "evil@evil.example", "email_verified": true, "phone_number": "+351999", "phone_number_verified": true, "sub": "cus_2", "updated_at": 1,
		},
		Identifiers: []customer.Identifier{
			{Kind: identifier.Email, Key: "old@example.com", Display: "old@example.com"},
			{Kind: identifier.Email, Key: "ana@example.com", Display: "Ana@example.com", Verified: true},
			{Kind: identifier.Phone, Key: "+351912345678", Display: "+351 912 345 678"},
			{Kind: identifier.Username, Key: "ana", Display: "Ana", Verified: true},
		},
	}
	bare := &customer.Customer{ID: "cus_2", UpdatedAt: at, Profile: map[string]any{"given_name": "Bea"}}
	got := map[string]map[string]map[string]any{"full": {}, "bare": {}}
	for name, of := range map[string]*customer.Customer{"full": full, "bare": bare} {
		for _, scope := range append(customer.Scopes(), "openid", "offline_access", "orders:read", "") {
			got[name][scope] = of.Claims([]string{scope})
		}
		all := of.Claims([]string{"openid", "profile", "email", "phone", "address", "email"})
		got[name]["all"] = all
	}
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/claims.golden"
	if *update {
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(text)+"\n" {
		t.Errorf("claims are\n%s", text)
	}
}

func TestPrimary(t *testing.T) {
	email := func(name string, verified bool) customer.Identifier {
		return customer.Identifier{Kind: identifier.Email, Key: name, Verified: verified}
	}
	for name, c := range map[string]struct {
		have []customer.Identifier
		want string
	}{
		"none":                          {nil, ""},
		"of another kind":               {[]customer.Identifier{{Kind: identifier.Phone, Key: "+1"}}, ""},
		"the oldest":                    {[]customer.Identifier{email("a", false), email("b", false)}, "a"},
		"the verified one":              {[]customer.Identifier{email("a", false), email("b", true)}, "b"},
		"the oldest of verified":        {[]customer.Identifier{email("a", true), email("b", true)}, "a"},
		"not one of another kind first": {[]customer.Identifier{{Kind: identifier.Phone, Key: "+1", Verified: true}, email("a", false)}, "a"},
	} {
		got, found := (&customer.Customer{Identifiers: c.have}).Primary(identifier.Email)
		if got.Key != c.want || found != (c.want != "") {
			t.Errorf("%s: %q, %t", name, got.Key, found)
		}
	}
}
