package credential

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	checker := NewChecker(nil)
	short := Policy{MinLength: 8, MinScore: 3}
	words := ContextWords("ana.lopez@example.com", "Ana López", "Olive & Thyme")
	for _, c := range []struct {
		typed  string
		policy Policy
		want   string
	}{
		{"correct horse battery staple", DefaultPolicy(), "[]"},
		{"short but 15 ok", DefaultPolicy(), "[]"},
		{"short but 14 o", DefaultPolicy(), "[too_short]"},
		{"короткий пароль мой", DefaultPolicy(), "[]"},
		{"😀🎈🐙🦜🍋🚲🧭", short, "[too_short]"},
		{"7#kQ!v2z", short, "[]"},
		{"password", short, "[common too_guessable]"},
		{"P@ssw0rd", short, "[common too_guessable]"},
		{"PASSWORD", short, "[common too_guessable]"},
		{"passwordpassword", DefaultPolicy(), "[too_guessable]"},
		{"aaaaaaaaaaaaaaaaaaaa", DefaultPolicy(), "[too_guessable]"},
		{"123456789012345678", DefaultPolicy(), "[too_guessable]"},
		{"qwertyuiopasdfgh", DefaultPolicy(), "[too_guessable]"},
		{"thequickbrownfox", DefaultPolicy(), "[too_guessable]"},
		{"яяяяяяяяяяяяяяяяяяяя", DefaultPolicy(), "[too_guessable]"},
		{"Ana.Lopez@Example", DefaultPolicy(), "[contains_personal]"},
		{"olive&thyme2026!", DefaultPolicy(), "[contains_personal]"},
		{"0l1ve&thym32026!", DefaultPolicy(), "[contains_personal]"},
		{"olives grow on a hill of Ana", DefaultPolicy(), "[]"},
		{strings.Repeat("x", 1025), DefaultPolicy(), "[too_long]"},
		{"", DefaultPolicy(), "[malformed]"},
	} {
		a, err := checker.Check(c.policy, NewPassword(c.typed), words)
		if err != nil {
			t.Fatal(err)
		}
		codes := []Code{}
		for _, f := range a.Findings {
			codes = append(codes, f.Code)
		}
		// Guessability is told only where nothing plainer is wrong.
		want := c.want
		if len(codes) > 0 && codes[0] != TooGuessable {
			want = strings.Replace(want, " too_guessable", "", 1)
		}
		if got := fmt.Sprint(codes); got != want {
			t.Errorf("%.30q: %s (score %d), want %s", c.typed, got, a.Score, c.want)
		}
		if a.OK() != (len(codes) == 0) {
			t.Errorf("%.30q: OK is %t", c.typed, a.OK())
		}
	}
	a, _ := checker.Check(Policy{MinLength: 12}, NewPassword("abc"), nil)
	if len(a.Findings) == 0 || a.Findings[0] != (Finding{Code: TooShort, Min: 12}) {
		t.Errorf("the length is not told: %+v", a)
	}
	if n := len(checker.common); n < 3000 {
		t.Errorf("the list of common passwords has %d, want 3,000 at least", n)
	}
}

func TestPolicyCheck(t *testing.T) {
	for _, c := range []struct {
		p    Policy
		want bool
	}{
		{DefaultPolicy(), true}, {Policy{8, 0}, true}, {Policy{7, 3}, false}, {Policy{65, 3}, false}, {Policy{15, 5}, false}, {Policy{15, -1}, false},
	} {
		if got := c.p.Check() == nil; got != c.want {
			t.Errorf("%+v: %t, want %t", c.p, got, c.want)
		}
	}
	if DefaultPolicy().Lowered() || !(Policy{MinLength: 14}).Lowered() {
		t.Error("Lowered does not tell 14 from 15")
	}
}

func TestContextWords(t *testing.T) {
	got := ContextWords("Ana.Lopez@Example.co.uk", "Olive & Thyme", "Al")
	slices.Sort(got)
	if want := []string{"ana", "ana.lopez", "example", "lopez", "olive", "thyme"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Crafted input must not cost much more than a hash does: some 10 ms, where
// without the caps it is seconds. The bound leaves room for a busy machine.
func TestCheckIsQuick(t *testing.T) {
	checker := NewChecker(nil)
	words := make([]string, 1000)
	for i := range words {
		words[i] = strings.Repeat("a", 3+i%60) + fmt.Sprint(i)
	}
	for _, typed := range []string{
		strings.Repeat("4@8({[<369!1|i7l0$5+%2", 46), strings.Repeat("a1!", 341), strings.Repeat("1", 1024), strings.Repeat("qwerty", 170),
		strings.Repeat("12.12.2012", 100), strings.Repeat("é", 1024), strings.Repeat("password", 128),
	} {
		p := NewPassword(typed)
		quickest := time.Hour
		for range 3 {
			started := time.Now()
			if _, err := checker.Check(DefaultPolicy(), p, words); err != nil {
				t.Fatal(err)
			}
			quickest = min(quickest, time.Since(started))
		}
		if quickest > 500*time.Millisecond {
			t.Errorf("%.20q takes %v", typed, quickest)
		}
		t.Logf("%.20q %v", typed, quickest)
	}
}
