package journey_test

import (
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/journey/journeytest"
)

// SECURITY 24, G4: an intruder who has put his own address in the place of the
// customer's gets links too, later ones. None of them takes from the customer the
// link that she was sent when it began.
func TestALaterLinkDoesNotTakeAnEarlierOne(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		who := w.NewCustomer(t, ana, password)
		w.Fake.Advance(time.Hour)
		thief := signedIn(t, w, ana, password)
		thief.Target = named(t, w, who, ana)
		thief.Begin(t, "change-address").Send(t, "identifier", "a@evil.example")
		at(t, thief.Send(t, "code", w.Code(t, "a@evil.example")), "address-added", "")
		hers := w.Link(t, ana)
		thief.Target = ""
		w.Fake.Advance(time.Second)
		thief.Begin(t, "change-password").Send(t, "password", password)
		at(t, thief.Send(t, "new_password", another), "password-changed", "")
		b := w.Browser()
		b.Link = w.Link(t, "a@evil.example")
		at(t, b.Begin(t, "not-me").Send(t, "decision", "secure"), "disowned", "")
		b = w.Browser()
		b.Begin(t, "recovery").Send(t, "identifier", "a@evil.example")
		at(t, b.Submit(t, b.View.State, journeytest.Values("code", w.Code(t, "a@evil.example"))), "new-password", "")
		at(t, b.Send(t, "new_password", "thief's brand new secret words"), "authenticated", "")

		v := w.Browser()
		v.Link = hers
		at(t, v.Begin(t, "not-me").Send(t, "decision", "secure"), "disowned", "")
		if has := addresses(t, w, who); has != ana {
			t.Errorf("the addresses are %v", has)
		}
		if alive(t, b) {
			t.Error("the intruder is signed in")
		}
	})
}
