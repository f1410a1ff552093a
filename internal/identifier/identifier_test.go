package identifier

import (
	"errors"
	"strings"
	"testing"
)

func TestEmail(t *testing.T) {
	for _, test := range []struct{ raw, key, display, delivery string }{
		{"ana@example.com", "ana@example.com", "ana@example.com", "ana@example.com"},
		{" \tAna.Pérez@Example.COM\n", "ana.pérez@example.com", "Ana.Pérez@Example.COM", "Ana.Pérez@example.com"},
		{"ANA+shop@EXAMPLE.com", "ana+shop@example.com", "ANA+shop@EXAMPLE.com", "ANA+shop@example.com"},
		{"o'hara@example.com", "o'hara@example.com", "o'hara@example.com", "o'hara@example.com"},
		{"ana@Bücher.example", "ana@xn--bcher-kva.example", "ana@Bücher.example", "ana@xn--bcher-kva.example"},
		{"ana@XN--BCHER-KVA.example", "ana@xn--bcher-kva.example", "ana@XN--BCHER-KVA.example", "ana@xn--bcher-kva.example"},
		{"ana@straße.example", "ana@xn--strae-oqa.example", "ana@straße.example", "ana@xn--strae-oqa.example"},
		{"ana@ｅｘａｍｐｌｅ。com", "ana@example.com", "ana@ｅｘａｍｐｌｅ。com", "ana@example.com"}, // a resolver reads it so
		{"用户@例子.example", "用户@xn--fsqu00a.example", "用户@例子.example", "用户@xn--fsqu00a.example"},
		{"مثال@example.com", "مثال@example.com", "مثال@example.com", "مثال@example.com"},
		{"a@b.co", "a@b.co", "a@b.co", "a@b.co"},
	} {
		got, err := Normalise(Email, test.raw, Options{})
		want := Normalised{Email, test.key, test.display, test.delivery}
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", test.raw, got, err, want)
		}
	}
}

// SECURITY F12 among others.
func TestEmailRefused(t *testing.T) {
	for raw, reason := range map[string]Reason{
		"": Empty, "  \u00a0": Empty,
		"ana": BadForm, "@example.com": BadForm, "ana@": BadForm, "@": BadForm,
		"a@evil@corp.com": BadForm, "a@@corp.com": BadForm, "a@corp.com@": BadForm,
		"a@evil,v@corp.com": BadForm, "a,b@corp.com": BadCharacter, "a;b@corp.com": BadCharacter, "a b@corp.com": BadCharacter,
		"a@corp.com,": BadDomain, "a@corp.com b": BadDomain, "a@corp.com;b": BadDomain,
		`"a b"@corp.com`: BadCharacter, `"a@b"@corp.com`: BadForm, `a\@corp.com`: BadCharacter,
		"Ana <ana@corp.com>": BadCharacter, "<ana@corp.com>": BadCharacter, "ana@corp.com (Ana)": BadDomain, "a(x)@corp.com": BadCharacter,
		"mailto:ana@corp.com": BadCharacter,
		"a\x00@corp.com":      BadCharacter, "a@corp.com\r\nBcc: v@corp.com": BadCharacter, "a@co\x7frp.com": BadCharacter,
		"a\u200b@corp.com": BadCharacter, "a\u202e@corp.com": BadCharacter, "a\u2028@corp.com": BadCharacter, "a\ufeff@corp.com": BadCharacter, "a\xff@corp.com": BadCharacter,
		".a@corp.com": BadForm, "a.@corp.com": BadForm, "a..b@corp.com": BadForm,
		"a＠corp.com": BadForm,
		"a@corp":     BadDomain, "a@localhost": BadDomain, "a@.corp.com": BadDomain, "a@corp..com": BadDomain, "a@corp.com.": BadDomain,
		"a@-corp.com": BadDomain, "a@corp-.com": BadDomain, "a@co_rp.com": BadDomain, "a@192.0.2.1": BadDomain, "a@[192.0.2.1]": BadDomain,
		"a@xn--a.com": BadDomain, "a@xn--zzzzzz99999999.com": BadDomain, "a@corp.com/x": BadDomain, "a@corp.com:25": BadDomain,
		strings.Repeat("a", 65) + "@corp.com":          TooLong,
		"a@" + strings.Repeat("a", 64) + ".com":        BadDomain,
		"a@" + strings.Repeat("abcdefgh.", 30) + "com": TooLong,
		strings.Repeat("a", 100_000) + "@corp.com":     TooLong,
		"😀@corp.com": BadCharacter,
	} {
		refused(t, Email, raw, Options{}, reason)
	}
}

// SECURITY G5: whoever registers the one must never be found by the other.
func TestLookalikes(t *testing.T) {
	for _, pair := range []struct {
		kind      Kind
		one, two  string
		onlyApart bool // both are valid and differ; otherwise the second may be refused
	}{
		{Email, "mike@example.com", "mıke@example.com", true},
		{Email, "mike@example.com", "mİke@example.com", true},
		{Email, "mike@example.com", "MİKE@example.com", true},
		{Email, "mike@example.com", "mi\u212Ae@example.com", false},
		{Email, "victim@example.com", "vïctim@example.com", true},
		{Email, "victim@example.com", "vi\u0301ctim@example.com", false},
		{Email, "victim@example.com", "victim\u00ad@example.com", false},
		{Email, "victim@example.com", "ｖictim@example.com", false},
		{Email, "victim@example.com", "ⅴictim@example.com", false},
		{Email, "victim@example.com", "vіctim@example.com", true}, // Cyrillic і
		{Email, "strasse@example.com", "straße@example.com", true},
		{Email, "strasse@example.com", "stra\u017Fse@example.com", false},
		{Email, "strasse@example.com", "STRAẞE@example.com", true},
		{Email, "office@example.com", "oﬃce@example.com", false},
		{Email, "mike1@example.com", "mike¹@example.com", false},
		{Email, "mike1@example.com", "mike١@example.com", true},
		{Email, "éva@example.com", "eva@example.com", true},
		{Email, "σας@example.com", "σασ@example.com", true},
		{Email, "mike@github.com", "mike@gıthub.com", true},
		{Email, "mike@github.com", "mike@gïthub.com", true},
		{Email, "mike@github.com", "mike@gіthub.com", true},
		{Email, "mike@github.com", "mike@xn--gthub-n4a.com", true},
		{Email, "mike@faß.example", "mike@fass.example", true},
		{Email, "mike@example.com", "mike@example.com.evil.example", true},
		{Email, "mike@example.com", "mi.ke@example.com", true},
		{Email, "mike@example.com", "mike+x@example.com", true},
		{Username, "mike", "mıke", true},
		{Username, "mike", "mİke", false},
		{Username, "mike", "mi\u212Ae", false},
		{Username, "mike", "mіke", false}, // Cyrillic і
		{Username, "mike", "mike\u200d", false},
		{Username, "strasse", "straße", true},
		{Username, "angstrom", "Ångstrom", true},
		{Username, "ångstrom", "\u212Bngstrom", false},
		{Username, "mike1", "mike¹", false},
		{Username, "office", "oﬃce", false},
		{Username, "paypal", "раураl", false},
		{Phone, "+4930123456", "+4930123457", true},
		{Phone, "+390612345678", "+39612345678", false}, // Italy keeps the leading zero
	} {
		one, err := Normalise(pair.kind, pair.one, Options{})
		if err != nil {
			t.Errorf("%q: %v", pair.one, err)
			continue
		}
		two, err := Normalise(pair.kind, pair.two, Options{})
		if err != nil && pair.onlyApart {
			t.Errorf("%q: %v", pair.two, err)
		}
		if err == nil && one.Key == two.Key {
			t.Errorf("%q and %q are both %q", pair.one, pair.two, one.Key)
		}
	}
}

func TestSameIdentifierDifferentlyTyped(t *testing.T) {
	for _, same := range []struct {
		kind  Kind
		texts []string
	}{
		{Email, []string{"Ana@Example.com", "ana@example.com", " ANA@EXAMPLE.COM "}},
		{Phone, []string{"+49 30 123456", "030 123456", "030/123-456", "0049 30 123456", "+49 (0)30 123456", "٠٣٠ ١٢٣٤٥٦", "＋４９30123456"}},
		{Username, []string{"Ana", "ana", "ANA", "ａｎａ", " ana "}},
		{Username, []string{"Zoë", "zoë", "ZOE\u0308"}},
	} {
		for _, text := range same.texts {
			first, err := Normalise(same.kind, same.texts[0], Options{Region: "DE"})
			got, errGot := Normalise(same.kind, text, Options{Region: "DE"})
			if err != nil || errGot != nil || got.Key != first.Key {
				t.Errorf("%q: %q (%v), want as %q: %q (%v)", text, got.Key, errGot, same.texts[0], first.Key, err)
			}
		}
	}
}

func TestPhone(t *testing.T) {
	got, err := Normalise(Phone, " (415) 555-2671 ", Options{Region: "us"})
	if want := (Normalised{Phone, "+14155552671", "+1 415-555-2671", "+14155552671"}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for raw, reason := range map[string]Reason{
		"": Empty, "030 123456": CountryNeeded, "+49": NoSuchNumber, "+999 123456789": NoSuchNumber, "+1 415 555": NoSuchNumber,
		"+1 415 555 2671 ext. 5": Extension, "+1 415 555 2671x5": Extension, "+14155552671;ext=5": Extension, "+1 800 FLOWERS": BadCharacter,
		"+1 415 555 2671\n+1 415 555 2672": BadCharacter, "tel:+14155552671": BadCharacter, "+1_415": BadCharacter,
		strings.Repeat("1", 41): TooLong, "()": BadForm, "+": BadForm,
	} {
		refused(t, Phone, raw, Options{}, reason)
	}
}

func TestUsername(t *testing.T) {
	for raw, key := range map[string]string{
		"Ana.Perez_1-x+y": "ana.perez_1-x+y", "محمد": "محمد", "田中": "田中", "Ζωή": "ζωή", "user12345": "user12345", "12345": "12345", "x": "x",
	} {
		if got, err := Normalise(Username, raw, Options{}); err != nil || got.Key != key || got.Display != raw || got.Delivery != "" {
			t.Errorf("%q: %+v, %v; want %q", raw, got, err, key)
		}
	}
	for raw, reason := range map[string]Reason{
		"": Empty, "ana@example.com": OtherKind, "ana＠example.com": OtherKind, "+49 30 123456": OtherKind, "4930123456": OtherKind, "٤٩٣٠١٢٣٤٥٦": OtherKind,
		"ana perez": BadCharacter, "ana/perez": BadCharacter, "ana<b>": BadCharacter, "ana\u0000": BadCharacter, "ana\u202eb": BadCharacter, "a😀": BadCharacter,
		"...": BadForm, "-": BadForm, "аnna": MixedScripts, strings.Repeat("a", 65): TooLong, "a'b": BadCharacter,
	} {
		refused(t, Username, raw, Options{}, reason)
	}
}

func TestDeclared(t *testing.T) {
	upper, err := NewRule("[A-Z]{2}[0-9]{6}|VIP", CaseUpper)
	if err != nil {
		t.Fatal(err)
	}
	exact, err := NewRule("[a-zA-Z]+", CaseExact)
	if err != nil {
		t.Fatal(err)
	}
	kind := Declared("loyalty")
	if name, ok := kind.DeclaredName(); !ok || name != "loyalty" {
		t.Errorf("%q is named %q", kind, name)
	}
	got, err := Normalise(kind, " ot123456 ", Options{Rule: upper})
	if want := (Normalised{kind, "OT123456", "ot123456", ""}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if a, _ := Normalise(kind, "aB", Options{Rule: exact}); a.Key != "aB" {
		t.Errorf("the case was changed: %q", a.Key)
	}
	for raw, reason := range map[string]Reason{
		"": Empty, "OT12345": BadPattern, "OT1234567": BadPattern, "VIPx": BadPattern, "ОТ123456": BadCharacter, "ot123456\nx": BadCharacter, "ſt123456": BadCharacter,
		strings.Repeat("A", 129): TooLong,
	} {
		refused(t, kind, raw, Options{Rule: upper}, reason)
	}
	for _, bad := range []struct {
		pattern string
		letters Case
	}{{"", CaseExact}, {"(", CaseExact}, {"a)|(?:b", CaseExact}, {"a", "both"}, {strings.Repeat("a", 513), CaseLower}, {"(?=a)", CaseExact}} {
		if _, err := NewRule(bad.pattern, bad.letters); err == nil {
			t.Errorf("the rule %q, %q was accepted", bad.pattern, bad.letters)
		}
	}
}

func TestUnknownKinds(t *testing.T) {
	for _, kind := range []Kind{"", "mail", "declared:", Declared("x")} {
		_, err := Normalise(kind, "x", Options{})
		if _, typed := errors.AsType[*Error](err); err == nil || typed {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

func TestGuess(t *testing.T) {
	for raw, kind := range map[string]Kind{
		"ana@example.com": Email, "@": Email, "ana＠example.com": Email,
		"+49 30 123456": Phone, "(415) 555-2671": Phone, "٠٣٠ ١٢٣٤٥٦٧": Phone, "+1": Phone,
		"ana": Username, "12345": Username, "user1234567": Username, "": Username, "+": Username,
	} {
		if got := Guess(raw); got != kind {
			t.Errorf("%q is guessed to be a %s", raw, got)
		}
	}
}

func refused(t *testing.T, kind Kind, raw string, options Options, reason Reason) {
	t.Helper()
	got, err := Normalise(kind, raw, options)
	typed, ok := errors.AsType[*Error](err)
	if !ok || typed.Reason != reason || typed.Kind != kind {
		t.Errorf("%.60q: %+v, %v; want it refused as %s", raw, got, err, reason)
	}
	if err != nil && len(raw) > 3 && strings.Contains(err.Error(), raw) {
		t.Errorf("the error repeats what was typed: %v", err)
	}
}

func FuzzNormalise(f *testing.F) {
	for _, raw := range []string{
		"ana@example.com", " Ana.Pérez@Bücher.Example ", "mıke@gıthub.com", "mi\u212Ae@example.com", "J\u030C@example.com", "a@evil@corp", "a@xn--a.com",
		"+49 30 123456", "030/123-456", "＋４９30123456", "+390612345678", "ZOE\u0308", "İstanbul", "ǅ", "ﬁ", "user.name", "OT123456", "\xff", "a\u200db", "１２３", "Σας",
	} {
		f.Add(raw)
	}
	lower, err := NewRule("[a-z0-9 -]+", CaseLower)
	if err != nil {
		f.Fatal(err)
	}
	options := Options{Region: "DE", Rule: lower}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, kind := range []Kind{Email, Phone, Username, Declared("loyalty")} {
			n, err := Normalise(kind, raw, options)
			if err != nil {
				if _, ok := errors.AsType[*Error](err); !ok {
					t.Fatalf("%s %q: %v", kind, raw, err)
				}
				continue
			}
			for _, text := range []string{n.Key, n.Display, n.Delivery} {
				if text == "" && n.Delivery == "" {
					continue
				}
				again, err := Normalise(kind, text, options)
				if err != nil || again.Key != n.Key {
					t.Errorf("%s %q has the key %q, but %q has %q (%v)", kind, raw, n.Key, text, again.Key, err)
				}
			}
			if kind == Username && Guess(raw) != Username {
				t.Errorf("the user name %q is guessed to be a %s", raw, Guess(raw))
			}
			if kind == Email {
				if strings.Count(n.Delivery, "@") != 1 || strings.ContainsAny(n.Delivery, " ,;<>\"\r\n\t") {
					t.Errorf("mail for %q would go to %q", raw, n.Delivery)
				}
				local, _, _ := strings.Cut(strings.TrimSpace(raw), "@")
				keyLocal, _, _ := strings.Cut(n.Key, "@")
				if !isASCII(local) == isASCII(keyLocal) {
					t.Errorf("%q was folded to %q", local, keyLocal)
				}
			}
			if kind == Phone && (n.Key[0] != '+' || !isASCII(n.Key)) {
				t.Errorf("%q is no E.164", n.Key)
			}
		}
	})
}
