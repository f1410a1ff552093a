package identifier

import (
	"strings"
	"testing"
)

// TestBeginnings: what somebody types of an identifier begins what it is
// searched by.
func TestBeginnings(t *testing.T) {
	loyalty, err := NewRule(`[A-Z]{2}[0-9]{4,}`, CaseUpper)
	if err != nil {
		t.Fatal(err)
	}
	options := Options{Region: "DE", Rule: loyalty}
	for _, c := range []struct {
		kind  Kind
		whole string
		typed []string
		not   []string
	}{
		{Email, "Ana.Lopes@Example.com", []string{"ana", " ANA.L", "ana.lopes@ex", "ANA.LOPES@EXAMPLE.COM"}, []string{"lopes", "ana lopes", "ana.lopes@exb", "@example.com", ""}},
		{Email, "ana@MÜNCHEN.example", []string{"ana@mün", "ana@MÜN"}, []string{"ana@xn--"}},
		{Phone, "+49 30 1234567", []string{"+49 30", "0049 301", "030 12", "(030) 123-45"}, []string{"+4940", "040", "phone", "٣"}},
		{Username, "Märta.S", []string{"mär", "MÄRTA"}, []string{"marta"}},
		{Declared("loyalty"), "ab12345", []string{"ab12", "AB1"}, []string{"b12"}},
	} {
		n, err := Normalise(c.kind, c.whole, options)
		if err != nil {
			t.Fatal(err)
		}
		begins := func(typed string) bool {
			beginning := Beginning(c.kind, typed, options)
			return beginning != "" && strings.HasPrefix(Searchable(c.kind, n.Key), beginning)
		}
		for _, typed := range c.typed {
			if !begins(typed) {
				t.Errorf("%q does not begin %s %q: it is read as %q of %q", typed, c.kind, c.whole, Beginning(c.kind, typed, options), Searchable(c.kind, n.Key))
			}
		}
		for _, typed := range c.not {
			if begins(typed) {
				t.Errorf("%q begins %s %q", typed, c.kind, c.whole)
			}
		}
	}
	if got := Beginning(Phone, "030 12", Options{}); got != "" {
		t.Errorf("a number without a country is read as %q", got)
	}
	if got := Beginning(Email, strings.Repeat("a", MaxBytes+1), Options{}); got != "" {
		t.Errorf("what is longer than any identifier is read as %q", got)
	}
}

// FuzzBeginning: every beginning of what is searched is found by itself.
func FuzzBeginning(f *testing.F) {
	for _, seed := range []string{"ana@example.com", "Märta", "+49301234567", "a@münchen.example", "ǰ@b.example"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, kind := range []Kind{Email, Phone, Username} {
			Beginning(kind, raw, Options{Region: "GB"}) // does not panic
			n, err := Normalise(kind, raw, Options{Region: "GB"})
			if err != nil {
				continue
			}
			whole := Searchable(kind, n.Key)
			if got := Beginning(kind, whole, Options{Region: "GB"}); got != whole {
				t.Errorf("%s %q is read as %q", kind, whole, got)
			}
		}
	})
}
