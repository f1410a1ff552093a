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

// What a form's answer shows can be gone back to: it is kept by the browser and
// by nobody else. Pages that set a cookie or show what is stored are not.
func TestThePagesOfAJourneyCanBeGoneBackTo(t *testing.T) {
	w := newWorld(t)
	w.customer(t, "ana@example.com", "", nil)
	v := w.browser(t)
	first := v.get("/sign-in")
	if got := first.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("the first page, which sets a cookie, has Cache-Control %q", got)
	}
	next := v.submit(first, "identifier", "ana@example.com")
	if got := next.Header.Get("Cache-Control"); got != "private, no-cache" {
		t.Errorf("the page that answers a form has Cache-Control %q", got)
	}
}
