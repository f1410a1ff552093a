package credential

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeLists makes a list of n passwords in both forms.
func writeLists(t *testing.T, n int, newline string) (text, binary string) {
	t.Helper()
	sums := make([]string, 0, n)
	for i := range n {
		sums = append(sums, fmt.Sprintf("%X:%d", sha1.Sum(fmt.Appendf(nil, "leaked password %d", i)), 1+i%1000))
	}
	slices.Sort(sums)
	text, binary = filepath.Join(t.TempDir(), "hibp.txt"), filepath.Join(t.TempDir(), "hibp.bin")
	content := strings.Join(sums, newline) + newline
	if err := os.WriteFile(text, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := BuildBreachedList(binary, strings.NewReader(content)); err != nil || got != uint64(n) {
		t.Fatalf("built %d of %d: %v", got, n, err)
	}
	return text, binary
}

func TestBreachedList(t *testing.T) {
	for _, n := range []int{1, 2, 300, 200_000} {
		text, binary := writeLists(t, n, map[bool]string{true: "\r\n", false: "\n"}[n == 300])
		for _, path := range []string{text, binary} {
			for _, filtered := range []bool{true, false} {
				l, err := OpenBreachedList(path)
				if err != nil {
					t.Fatal(err)
				}
				if !filtered {
					clear(l.filters[:])
				}
				step := max(1, n/500)
				for i := 0; i < n; i += step {
					if found, err := l.Contains(NewPassword(fmt.Sprintf("leaked password %d", i))); err != nil || !found {
						t.Fatalf("%s of %d: password %d is not found: %v", path, n, i, err)
					}
				}
				for i := range 500 {
					if found, err := l.Contains(NewPassword(fmt.Sprintf("other password %d", i))); err != nil || found {
						t.Fatalf("%s of %d: other password %d is found: %v", path, n, i, err)
					}
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestCheckFindsBreached(t *testing.T) {
	_, binary := writeLists(t, 300, "\n")
	l, err := OpenBreachedList(binary)
	if err != nil {
		t.Fatal(err)
	}
	checker := NewChecker(l)
	a, err := checker.Check(DefaultPolicy(), NewPassword("leaked password 42"), nil)
	if err != nil || !a.Has(Breached) {
		t.Errorf("%+v, %v", a, err)
	}
	clear(l.filters[:])
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := checker.Check(DefaultPolicy(), NewPassword("leaked password 42"), nil); err == nil {
		t.Error("a list that cannot be read lets passwords through")
	}
}

// A list that is not spread evenly is still searched quickly and rightly.
func TestUnevenBreachedList(t *testing.T) {
	var content bytes.Buffer
	for i := range 50_000 {
		fmt.Fprintf(&content, "00000000%032X:1\n", i)
	}
	sum := sha1.Sum([]byte("leaked"))
	fmt.Fprintf(&content, "%X:1\n", sum)
	path := filepath.Join(t.TempDir(), "list")
	if _, err := BuildBreachedList(path, &content); err != nil {
		t.Fatal(err)
	}
	l, err := OpenBreachedList(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if found, err := l.Contains(NewPassword("leaked")); !found || err != nil {
		t.Errorf("%t, %v", found, err)
	}
}

func TestBadBreachedLists(t *testing.T) {
	_, binary := writeLists(t, 300, "\n")
	good, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	crooked := slices.Clone(good)
	crooked[len(breachedMagic)+9] = 0xff
	path := filepath.Join(t.TempDir(), "list")
	for name, content := range map[string][]byte{
		"cut": good[:len(good)-1], "header only": good[:headerSize], "half a header": good[:100], "crooked": crooked,
		"longer": append(slices.Clone(good), 0), "words": []byte("password\n123456\n"), "NTLM": []byte("0123456789ABCDEF0123456789ABCDEF:1\n"),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenBreachedList(path); !errors.Is(err, ErrBreachedList) {
			t.Errorf("%s: %v", name, err)
		}
	}
	line := strings.Repeat("A", 40) + ":1\n"
	for name, content := range map[string]string{"words": "password\n", "not in order": strings.Repeat("B", 40) + ":1\n" + line} {
		if _, err := BuildBreachedList(path, strings.NewReader(content)); err == nil {
			t.Errorf("%s was built", name)
		}
	}
	if got, err := os.ReadFile(path); err != nil || len(got) == 0 {
		t.Errorf("a build that failed touched the list: %v", err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("a build that failed left %v", left)
	}
}
