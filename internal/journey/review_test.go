package journey_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/tenant"
)

// recovers brings a browser through a recovery by an address up to the new
// password.
func recovers(t *testing.T, w *journeytest.World, address string) *journeytest.Browser {
	t.Helper()
	b := w.Browser()
	b.Application = nil
	b.Begin(t, "recovery").Send(t, "identifier", address)
	return b.Submit(t, b.View.State, journeytest.Values("code", w.Code(t, address))).Send(t, "new_password", another)
}

// intruded is an account in which somebody else has put an address of his own. He
// has been sent a notice there, with a link.
func intruded(t *testing.T, w *journeytest.World) (hers, evil string) {
	t.Helper()
	evil = "a@evil.example"
	w.NewCustomer(t, ana, password)
	w.Fake.Advance(time.Hour)
	thief := signedIn(t, w, ana, password)
	thief.Begin(t, "change-address").Send(t, "identifier", evil)
	at(t, thief.Send(t, "code", w.Code(t, evil)), "address-added", "")
	w.Fake.Advance(time.Second)
	thief.Begin(t, "change-password").Send(t, "password", password)
	at(t, thief.Send(t, "new_password", another), "password-changed", "")
	w.Fake.Advance(time.Hour)
	return ana, evil
}

// SECURITY G: who recovers an account takes out what an intruder has added to it.
// Afterwards neither that address nor a link that was sent there is good for
// anything, and it is told without another link.
func TestRecoveryTakesOutWhatWasAdded(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		hers, evil := intruded(t, w)
		who := w.Find(t, hers)
		link := w.Link(t, evil)
		b := recovers(t, w, hers)
		at(t, b, "review-addresses", "")
		added := b.View.Prompt.(step.ReviewAddressesPrompt).Added
		if len(added) != 1 || added[0].Display != evil {
			t.Fatalf("asked about are %+v", added)
		}
		at(t, b.Send(t, "decision", "continue", "remove_"+string(added[0].ID), "true", "remove_"+string(named(t, w, who, hers)), "true"), "authenticated", "")
		if has := addresses(t, w, who); has != hers {
			t.Errorf("the addresses are %v", has)
		}
		letters := w.Letters(t, evil)
		if last := letters[len(letters)-1]; last.Template != "address_removed" || last.Data.Link != "" || last.Data.Address != evil {
			t.Errorf("it is told %+v", last)
		}
		told := w.Letters(t, hers)
		if !slices.ContainsFunc(told, func(l journeytest.Letter) bool { return l.Template == "address_removed" && l.Data.Address == evil }) ||
			!slices.ContainsFunc(told, func(l journeytest.Letter) bool { return l.Template == "password_changed" && l.Data.Link != "" }) {
			t.Errorf("she is told %+v", told)
		}
		thief := w.Browser()
		thief.Link = link
		if prompt := thief.Begin(t, "not-me").View.Prompt.(step.DisownPrompt); !prompt.Dead {
			t.Error("a link that was sent to the address is good")
		}
		at(t, thief.Send(t, "decision", "secure"), "disown", "")
		if !alive(t, b) {
			t.Error("the intruder signs her out")
		}
	})
}

// What is not ticked stays, and what was added long ago is not asked about.
func TestRecoveryLeavesWhatIsHers(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		hers, second := intruded(t, w)
		who := w.Find(t, hers)
		b := recovers(t, w, hers)
		at(t, b, "review-addresses", "")
		at(t, b.Send(t, "decision", "continue"), "authenticated", "")
		if has := addresses(t, w, who); !strings.Contains(has, second) {
			t.Errorf("the addresses are %v", has)
		}
		w.Fake.Advance(31 * 24 * time.Hour)
		at(t, recovers(t, w, hers), "authenticated", "")
	})
}

// Whoever recovers by a later address is asked about none that was there before,
// and takes none of them out, whatever he sends; nor what was not there when he
// was asked.
func TestALaterAddressTakesNothingFromAnEarlier(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		hers, evil := intruded(t, w)
		who := w.Find(t, hers)
		at(t, recovers(t, w, evil), "authenticated", "")
		w.Fake.Advance(time.Minute)
		thief := signedIn(t, w, evil, another)
		thief.Begin(t, "change-address").Send(t, "identifier", "b@evil.example")
		at(t, thief.Send(t, "code", w.Code(t, "b@evil.example")), "address-added", "")
		b := recovers(t, w, evil)
		at(t, b, "review-addresses", "")
		typed := []string{"decision", "continue"}
		for _, it := range person(t, w, who).Identifiers {
			typed = append(typed, "remove_"+string(it.ID), "true")
		}
		at(t, b.Send(t, typed...), "authenticated", "")
		if has := addresses(t, w, who); !strings.Contains(has, hers) || !strings.Contains(has, evil) || strings.Contains(has, "b@evil") {
			t.Errorf("the addresses are %v", has)
		}
	})
}

// A number that was added is taken out where the tenant texts it no more, too, and
// is sent nothing.
func TestRecoveryTakesOutANumberThatIsTextedNoMore(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		w.NewCustomer(t, ana, password)
		who := w.Find(t, ana)
		w.Fake.Advance(time.Hour)
		thief := signedIn(t, w, ana, password)
		thief.Begin(t, "change-number").Send(t, "identifier", evil)
		at(t, thief.Submit(t, thief.View.State, journeytest.Values("code", w.Code(t, evil))), "address-added", "")
		w.Fake.Advance(time.Hour)
		w.Apply(t, func(s *tenant.Settings) { s.Phone.Countries = []string{"PT"} })
		texts := len(w.Letters(t, evil))
		b := recovers(t, w, ana)
		at(t, b, "review-addresses", "")
		it := b.View.Prompt.(step.ReviewAddressesPrompt).Added[0]
		at(t, b.Send(t, "decision", "continue", "remove_"+string(it.ID), "true"), "authenticated", "")
		if has := addresses(t, w, who); has != ana {
			t.Errorf("the addresses are %v", has)
		}
		if now := len(w.Letters(t, evil)); now != texts {
			t.Errorf("it is sent %+v", w.Letters(t, evil)[texts:])
		}
	}, withPhones)
}

// SECURITY G: an address that its owner has brought back by "This wasn't me" is no
// younger than before. The intruder, who had put his own beside it and taken it out,
// is not asked about it when he recovers the account, and cannot take it out again
// with every link that its owner was sent; she is asked about his.
func TestAnAddressThatIsBroughtBackIsAsOldAsItWas(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		w.NewCustomer(t, ana, password)
		who := w.Find(t, ana)
		w.Fake.Advance(time.Hour)
		const evil = "a@evil.example"
		thief := signedIn(t, w, ana, password)
		thief.Begin(t, "change-address").Send(t, "identifier", evil)
		at(t, thief.Send(t, "code", w.Code(t, evil)), "address-added", "")
		w.Fake.Advance(time.Minute)
		thief.Target = named(t, w, who, ana)
		at(t, thief.Begin(t, "remove-address").Send(t, "decision", "remove"), "address-removed", "")
		if has := addresses(t, w, who); has != evil {
			t.Fatalf("the addresses are %v", has)
		}
		w.Fake.Advance(time.Hour)
		hers := w.Browser()
		hers.Link = w.Link(t, ana) // of the last letter, on the removal
		at(t, hers.Begin(t, "not-me").Send(t, "decision", "secure"), "disowned", "")
		w.Fake.Advance(time.Minute)

		at(t, recovers(t, w, evil), "authenticated", "") // he is asked about nothing
		if has := addresses(t, w, who); !strings.Contains(has, ana) {
			t.Fatalf("the addresses are %v", has)
		}
		w.Fake.Advance(time.Minute)
		b := recovers(t, w, ana)
		at(t, b, "review-addresses", "")
		added := b.View.Prompt.(step.ReviewAddressesPrompt).Added
		if len(added) != 1 || added[0].Display != evil {
			t.Errorf("asked about are %+v", added)
		}
	})
}
