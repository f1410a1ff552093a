package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/text/secure/precis"
)

func TestPasswordIsReadAsOpaqueString(t *testing.T) {
	for _, typed := range []string{
		"correct horse battery staple", "Correct", "\u00a0no\u3000break ", "Å", "A\u030a", "ｆｕｌｌ", "ﬁ", "пароль", "كلمة السر", "😀😀",
	} {
		want, err := precis.OpaqueString.String(typed)
		if err != nil {
			t.Fatalf("%q: %v", typed, err)
		}
		if got := NewPassword(typed); got.text != want || got.Fault() != nil {
			t.Errorf("%q was read as %q (%v), the profile says %q", typed, got.text, got.Fault(), want)
		}
	}
	if !NewPassword("A\u030angstro\u0308m").Equal(NewPassword("Ångström")) {
		t.Error("two spellings of one password differ")
	}
	if NewPassword("secret").Equal(NewPassword("Secret")) || NewPassword(" secret").Equal(NewPassword("secret")) {
		t.Error("case or outer spaces are ignored")
	}
	if got := NewPassword("A\u030a😀").Length(); got != 2 {
		t.Errorf("length is %d, want 2 code points", got)
	}
}

func TestPasswordFaults(t *testing.T) {
	for name, c := range map[string]struct {
		typed string
		want  error
	}{
		"longest":         {strings.Repeat("é", MaxLength), nil},
		"one too many":    {strings.Repeat("é", MaxLength+1), ErrTooLong},
		"a megabyte":      {strings.Repeat("a", 1<<20), ErrTooLong},
		"empty":           {"", ErrMalformed},
		"not UTF-8":       {"abc\xff", ErrMalformed},
		"a control":       {"abc\x00\tdef", nil},
		"a lone combiner": {"\u0301", nil},
	} {
		if got := NewPassword(c.typed); !errors.Is(got.Fault(), c.want) {
			t.Errorf("%s: fault is %v, want %v", name, got.Fault(), c.want)
		}
	}
	if NewPassword("").Equal(NewPassword("")) {
		t.Error("two faulty passwords are equal")
	}
}

func TestSecretsAreNotWrittenOut(t *testing.T) {
	const typed = "canary-in-a-coal-mine"
	holder := struct {
		P Password
		H Hash
	}{NewPassword(typed), Hash("$argon2id$" + typed)}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "p", holder.P, "h", holder.H, "both", holder)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "p", holder.P, "h", holder.H, "both", holder)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&log, verb+verb+verb+verb, holder.P, &holder.P, holder.H, holder)
	}
	if _, err := json.Marshal(holder); err == nil {
		t.Error("a password was encoded")
	}
	if strings.Contains(log.String(), "canary") {
		t.Errorf("the secret is in %s", log.String())
	}
}

func FuzzPassword(f *testing.F) {
	for _, seed := range []string{"", "correct horse", "\xff", "A\u030a", "كلمة السر", "\u3000"} {
		f.Add(seed)
	}
	checker := NewChecker(nil)
	f.Fuzz(func(t *testing.T, typed string) {
		p := NewPassword(typed)
		if p.Fault() == nil && !p.Equal(NewPassword(p.text)) {
			t.Errorf("reading %q twice changes it", typed)
		}
		if _, err := checker.Check(DefaultPolicy(), p, []string{typed}); err != nil {
			t.Error(err)
		}
	})
}
