package id

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"
)

func TestNewParsesSortsAndTellsItsTime(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123e6, time.UTC)
	a := New[Customer](at, rand.Reader)
	b := New[Customer](at.Add(time.Millisecond), rand.Reader)
	if a >= b {
		t.Errorf("%s, made earlier, does not sort before %s", a, b)
	}
	got, err := Parse[Customer](string(a))
	if err != nil || got != a {
		t.Errorf("Parse(%s) = %s, %v", a, got, err)
	}
	if !Time(a).Equal(at) {
		t.Errorf("Time(%s) = %v, want %v", a, Time(a), at)
	}
	if _, err := Parse[Customer](string(SystemTenant)); !errors.Is(err, ErrInvalid) {
		t.Errorf("a tenant's identifier was taken for a customer's: %v", err)
	}
	if _, err := Parse[Tenant](string(SystemTenant)); err != nil {
		t.Errorf("the system tenant's identifier is refused: %v", err)
	}
}

func TestParseRefusesOtherSpellings(t *testing.T) {
	good := string(New[Customer](time.Now(), rand.Reader))
	for _, bad := range []string{
		"", "cus_", good[:len(good)-1], good + "0", "CUS" + good[3:], " " + good, good + "\n",
		"cus-" + good[4:], "cus_" + "8" + good[5:], "cus_" + "u" + good[5:], good[:10] + "L" + good[11:], "ten_" + good[4:],
	} {
		if got, err := Parse[Customer](bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("Parse(%q) = %q, %v; want ErrInvalid", bad, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("cus_06c1x5m8kz7v9b2n4q6r8t0w1y")
	f.Add("cus_zzzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse[Customer](text)
		if err == nil && string(got) != text {
			t.Errorf("Parse(%q) changed the spelling to %q", text, got)
		}
	})
}

// What was read out on the phone is found as well.
func TestReadForgivesHowItIsSpelled(t *testing.T) {
	const want = Fault("err_01jd8x0m1kz7v9b2n4q6r8t0w1")
	for _, text := range []string{string(want), "ERR_01JD8X0M1KZ7V9B2N4Q6R8T0W1", "01jd 8x0m-1kz7 v9b2 n4q6 r8t0 w1", "err-oljd8xOmIkz7v9b2n4q6r8tow1"} {
		if got, err := Read[Fault](text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "err_", "cus_01jd8x0m1kz7v9b2n4q6r8t0w1", string(want) + "0", "err_u1jd8x0m1kz7v9b2n4q6r8t0w1"} {
		if got, err := Read[Fault](text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}
