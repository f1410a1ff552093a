package pages_test

import (
	"strings"
	"testing"
)

// The length of a page does not tell whether an address is known, whatever the
// address's own length.
func TestPagesAreOfOneLength(t *testing.T) {
	w := newWorld(t)
	v := w.browser(t)
	for n := 1; n < 60; n++ {
		known, unknown := strings.Repeat("k", n)+"@example.com", strings.Repeat("u", n)+"@example.com"
		w.customer(t, known, "", nil)
		a, b := v.submit(v.get("/sign-in"), "identifier", known), v.submit(v.get("/sign-in"), "identifier", unknown)
		if len(a.body) != len(b.body) {
			t.Errorf("an address of %d letters: %d bytes where it is known, %d where not", n, len(a.body), len(b.body))
		}
	}
}
