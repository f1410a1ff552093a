package journey_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/geoip"
	"github.com/cardea-id/cardea/internal/geoip/geoiptest"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	ana     = "v@example.com"
	fresh   = "fresh@example.com"
	other   = "other@example.com"
	another = "velvet ladder beside the lighthouse"
)

// signedIn is a browser in which a customer has just signed in.
func signedIn(t *testing.T, w *journeytest.World, address, with string) *journeytest.Browser {
	t.Helper()
	b := w.Browser()
	b.Application = nil
	at(t, b.Begin(t, "sign-in").Send(t, "identifier", address).Send(t, "password", with), "authenticated", "")
	w.Fake.Advance(time.Millisecond) // what is sent next is the last
	return b
}

func person(t *testing.T, w *journeytest.World, who id.Customer) *customer.Customer {
	t.Helper()
	found, err := w.Directory.Get(t.Context(), w.Tenant.ID, who)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// addresses are those that a customer has proved, in order.
func addresses(t *testing.T, w *journeytest.World, who id.Customer) string {
	t.Helper()
	var proved []string
	for _, it := range person(t, w, who).Identifiers {
		if it.Verified {
			proved = append(proved, it.Display)
		}
	}
	return strings.Join(proved, " ")
}

func named(t *testing.T, w *journeytest.World, who id.Customer, address string) id.Identifier {
	t.Helper()
	for _, it := range person(t, w, who).Identifiers {
		if it.Display == address {
			return it.ID
		}
	}
	t.Fatalf("%s is not his", address)
	return ""
}

func alive(t *testing.T, b *journeytest.Browser) bool {
	t.Helper()
	return b.Client(t).Session != nil
}

// SECURITY 7, 37, 40, G4: the present password is asked for however lately its
// owner signed in, and everything else that was under way is dead.
func TestChangingThePassword(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		who := w.NewCustomer(t, ana, password)
		b, kept := signedIn(t, w, ana, password), signedIn(t, w, ana, password)
		pending := signedIn(t, w, ana, password)
		at(t, pending.Begin(t, "change-address").Send(t, "identifier", fresh), "prove-address", "")
		codeOf := w.Code(t, fresh)
		waiting := w.Browser().Begin(t, "sign-in").Send(t, "identifier", ana).Send(t, "choose", "code")
		signInCode := w.Code(t, ana)

		at(t, b.Begin(t, "change-password"), "password", "")
		if prompt := b.View.Prompt.(step.PasswordPrompt); !prompt.Account || prompt.OfferStay || prompt.Identifier != ana {
			t.Errorf("the prompt is %+v", prompt)
		}
		at(t, b.Send(t, "new_password", another), "password", "password_empty")
		at(t, b.Send(t, "password", wrong), "password", "password_wrong")
		at(t, b.Send(t, "password", password), "new-password", "")
		at(t, b.Send(t, "new_password", "short"), "new-password", "password_too_short")
		at(t, b.Send(t, "choose", "skip"), "new-password", "")
		before, epoch := b.Session, person(t, w, who).Epoch
		letters := len(w.Letters(t, ana))
		at(t, b.Send(t, "new_password", another), "password-changed", "") // the others stay
		if b.Finished.EndedOthers || b.Session == before || person(t, w, who).Epoch != epoch+1 {
			t.Errorf("finished %+v, the epoch is %d after %d", b.Finished, person(t, w, who).Epoch, epoch)
		}
		old := *b
		old.Session = before
		if !alive(t, b) || alive(t, &old) || !alive(t, kept) {
			t.Error("the wrong cookies are alive")
		}
		if told := w.Letters(t, ana)[letters:]; len(told) != 1 || !strings.Contains(told[0].Data.Link, "/not-me?link=") {
			t.Errorf("told was %+v", told)
		}
		// What was under way is dead.
		if at(t, pending.Submit(t, pending.View.State, journeytest.Values("code", codeOf)), "deny", ""); addresses(t, w, who) != ana {
			t.Errorf("a pending address was made his: %s", addresses(t, w, who))
		}
		at(t, waiting.Send(t, "code", signInCode), "code", "code_expired")
		at(t, w.Browser().Begin(t, "sign-in").Send(t, "identifier", ana).Send(t, "password", password), "password", "password_wrong")

		// Once more, and the others are signed out.
		at(t, b.Begin(t, "change-password").Send(t, "password", another), "new-password", "")
		at(t, b.Send(t, "new_password", password, "end_others", "true"), "password-changed", "")
		if !b.Finished.EndedOthers || alive(t, kept) || alive(t, pending) || !alive(t, b) {
			t.Error("the wrong sessions are alive")
		}
	})
}

// Who has no password proves himself by a code, and chooses his first one.
func TestChoosingTheFirstPassword(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		w.NewCustomer(t, ana, "")
		b := w.Browser()
		b.Application = nil
		at(t, b.Begin(t, "sign-in").Send(t, "identifier", ana).Send(t, "choose", "code").Submit(t, b.View.State, journeytest.Values("code", w.Code(t, ana))), "authenticated", "")
		at(t, b.Begin(t, "change-password"), "new-password", "") // he has just proved himself
		w.Fake.Advance(6 * time.Minute)
		at(t, b.Begin(t, "change-password"), "notice", "")
		at(t, b.Send(t), "code", "")
		if prompt := b.View.Prompt.(step.CodePrompt); !prompt.Account || !prompt.Sent {
			t.Errorf("the prompt is %+v", prompt)
		}
		at(t, b.Send(t, "code", w.Code(t, ana)), "new-password", "")
		at(t, b.Send(t, "new_password", password), "password-changed", "")
		at(t, w.Browser().Begin(t, "sign-in").Send(t, "identifier", ana).Send(t, "password", password), "authenticated", "")
	})
}

// SECURITY 27, G2: nothing of how one signs in is reached without a proof of the
// last minutes, by whatever answers; and none of it by another session.
func TestChangesNeedAFreshProof(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		who := w.NewCustomer(t, ana, password, journeytest.Address(t, other))
		b := signedIn(t, w, ana, password)
		b.Target = named(t, w, who, other)
		want := map[string]string{"change-address": "new-address", "remove-address": "remove-address"}
		for name, then := range want {
			at(t, b.Begin(t, name), then, "")
		}
		open := map[string]string{}
		for name := range want {
			open[name] = b.Begin(t, name).View.State
		}
		changing := b.Begin(t, "change-password").Send(t, "password", password).View.State
		w.Fake.Advance(6 * time.Minute)
		for name, state := range open {
			if err := b.Submit(t, state, journeytest.Values("identifier", fresh, "decision", "remove")).Err; !errors.Is(err, journey.ErrExpired) {
				t.Errorf("%s goes on after six minutes: %v, at %s", name, err, b.At())
			}
		}
		if err := b.Submit(t, changing, journeytest.Values("new_password", another)).Err; !errors.Is(err, journey.ErrExpired) {
			t.Errorf("a password is chosen six minutes after the proof: %v", err)
		}
		for name := range want {
			at(t, b.Begin(t, name), "password", "")
			for _, answer := range [][]string{{"identifier", fresh}, {"decision", "remove"}, {"new_password", another}, {"choose", "skip"}, {"choose", "again"}, {"choose", "resend"}, {"code", "123456"}} {
				at(t, b.Send(t, answer...), "password", b.Fault())
			}
			at(t, b.Send(t, "choose", "code"), "code", "")
			for _, answer := range [][]string{{"identifier", fresh}, {"decision", "remove"}, {"choose", "skip"}, {"code", "000000"}} {
				at(t, b.Send(t, answer...), "code", b.Fault())
			}
			at(t, b.Send(t, "choose", "back"), "denied", "")
		}
		// A code that lets one in, or is for a new address, is no proof of this.
		mixed := w.Browser().Begin(t, "sign-in").Send(t, "identifier", ana).Send(t, "choose", "code")
		signIn := w.Code(t, ana)
		b.Begin(t, "change-address").Send(t, "choose", "code")
		account := w.Code(t, b.View.Prompt.(step.CodePrompt).Address)
		at(t, b.Send(t, "code", signIn), "code", "code_wrong")
		at(t, mixed.Send(t, "code", account), "code", "code_wrong")

		// Another browser's session, another customer's, none.
		w.NewCustomer(t, "thief@example.com", another)
		thief := signedIn(t, w, "thief@example.com", another)
		state := signedIn(t, w, ana, password)
		page := state.Begin(t, "change-address").View.State
		for what, taker := range map[string]*journeytest.Browser{
			"another customer's session": {World: w, Binding: state.Binding, Session: thief.Session},
			"another session of his":     {World: w, Binding: state.Binding, Session: b.Session},
			"no session":                 {World: w, Binding: state.Binding},
			"another browser":            thief,
		} {
			if err := taker.Submit(t, page, journeytest.Values("identifier", fresh)).Err; !errors.Is(err, journey.ErrCrossed) {
				t.Errorf("%s goes on: %v", what, err)
			}
		}
		// What is not his is no target.
		thief.Target = b.Target
		if _, err := w.Engine.Begin(t.Context(), w.Tenant, journey.Start{Journey: "remove-address", Target: b.Target, Client: thief.Client(t)}); !errors.Is(err, journey.ErrExpired) {
			t.Errorf("another's address is asked about: %v", err)
		}
	}, func(s *tenant.Settings) {
		s.Limits.PasswordPerHour, s.Limits.CodePerHour, s.Limits.SendPerHour = 100, 100, 100
	})
}

func TestChangingAnAddress(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		who := w.NewCustomer(t, ana, password)
		b, elsewhere := signedIn(t, w, ana, password), signedIn(t, w, ana, password)
		at(t, b.Begin(t, "change-address").Send(t, "identifier", " V@Example.com"), "new-address", "address_same")
		for _, bad := range []string{"", "a@evil@corp.example", "a@evil.example,v@corp.example", "v", "+351912345678", "a@b.example\r\nBcc: c@d.example"} { // SECURITY F12
			if at(t, b.Send(t, "identifier", bad), "new-address", b.Fault()); b.Fault() == "" {
				t.Errorf("%q is taken", bad)
			}
		}
		before := len(w.Letters(t, ""))
		at(t, b.Send(t, "identifier", fresh), "prove-address", "")
		if sent := w.Letters(t, "")[before:]; len(sent) != 1 || sent[0].To != fresh || sent[0].Data.Code == "" {
			t.Errorf("sent was %+v", sent)
		}
		if w.Find(t, fresh) != "" || addresses(t, w, who) != ana {
			t.Error("the address counts before it is proved")
		}
		at(t, b.Send(t, "code", "000000"), "prove-address", "code_wrong")
		at(t, b.Send(t, "code", w.Code(t, fresh)), "address-added", "")
		if addresses(t, w, who) != ana+" "+fresh || w.Find(t, fresh) != who || !alive(t, b) || !alive(t, elsewhere) {
			t.Error("the address is not his, or somebody is signed out")
		}
		told := w.Letters(t, "")[before+1:]
		slices.SortFunc(told, func(a, b journeytest.Letter) int { return strings.Compare(b.To, a.To) })
		if len(told) != 2 || told[0].To != ana || told[0].Data.Link == "" || told[1].To != fresh || told[1].Data.Link != "" || told[1].Data.Address != fresh {
			t.Errorf("told was %+v", told)
		}

		// In the place of the first.
		b.Target = named(t, w, who, ana)
		at(t, b.Begin(t, "change-address").Send(t, "identifier", other, "end_others", "true"), "prove-address", "")
		replaced := b.View.State
		at(t, b.Send(t, "code", w.Code(t, other)), "address-added", "")
		if addresses(t, w, who) != fresh+" "+other || w.Find(t, ana) != "" || alive(t, elsewhere) || !b.Finished.Replaced {
			t.Errorf("the addresses are %s", addresses(t, w, who))
		}
		told = w.Letters(t, ana)
		if last := told[len(told)-1]; last.Data.Link == "" || last.Data.Address != other {
			t.Errorf("the old address was told %+v", last)
		}
		if err := b.Submit(t, replaced, journeytest.Values("code", "123456")).Err; !errors.Is(err, journey.ErrCrossed) { // the cookie has changed
			t.Errorf("a page from before goes on: %v", err)
		}

		// Removed, but never the last.
		b.Target = named(t, w, who, fresh)
		at(t, b.Begin(t, "remove-address").Send(t, "choose", "back"), "denied", "")
		at(t, b.Begin(t, "remove-address").Send(t, "decision", "remove"), "address-removed", "")
		if addresses(t, w, who) != other {
			t.Errorf("the addresses are %s", addresses(t, w, who))
		}
		b.Target = person(t, w, who).Identifiers[0].ID
		at(t, b.Begin(t, "remove-address"), "remove-address", "")
		if !b.View.Prompt.(step.RemoveAddressPrompt).Last {
			t.Error("the last address is offered to be removed")
		}
		if at(t, b.Send(t, "decision", "remove"), "remove-address", ""); addresses(t, w, who) != other {
			t.Error("the last address is gone")
		}
	})
}

// An address that another account has is answered as any other, until the code
// has come back; and it stays the other's.
func TestATakenAddressIsToldToItsReaderAlone(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		who, holder := w.NewCustomer(t, ana, password), w.NewCustomer(t, other, another)
		b := signedIn(t, w, ana, password)
		free := b.Begin(t, "change-address").Send(t, "identifier", fresh).View
		taken := b.Begin(t, "change-address").Send(t, "identifier", other).View
		at(t, b, "prove-address", "")
		if len(free.State) != len(taken.State) || free.Prompt.(step.ProveAddressPrompt).Sent != taken.Prompt.(step.ProveAddressPrompt).Sent ||
			len(w.Letters(t, fresh)) != 1 || len(w.Letters(t, other)) != 1 {
			t.Errorf("they differ: %+v, %+v", free, taken)
		}
		at(t, b.Send(t, "code", "000000"), "prove-address", "code_wrong")
		if at(t, b.Send(t, "code", w.Code(t, other)), "notice", ""); b.View.Prompt.(step.NoticePrompt).Text != "address_taken" {
			t.Errorf("it says %+v", b.View.Prompt)
		}
		if at(t, b.Send(t), "new-address", ""); w.Find(t, other) != holder || addresses(t, w, who) != ana {
			t.Error("the address has changed hands")
		}
		// And one that is taken while its code is under way.
		at(t, b.Send(t, "identifier", fresh), "prove-address", "")
		code := w.Code(t, fresh)
		w.NewCustomer(t, fresh, another)
		if at(t, b.Send(t, "code", code), "notice", ""); addresses(t, w, who) != ana {
			t.Error("the address has changed hands")
		}
		// However many accounts ask, an address is written to no more often than
		// by a stranger.
		for _, name := range []string{"x@example.com", "y@example.com", "z@example.com"} {
			w.NewCustomer(t, name, another)
			b := signedIn(t, w, name, another)
			for range 4 {
				at(t, b.Begin(t, "change-address").Send(t, "identifier", "neighbour@example.com"), "prove-address", "")
			}
			if name == "z@example.com" && (b.View.Limited == nil || b.View.Prompt.(step.ProveAddressPrompt).Sent) {
				t.Error("the third account's codes are sent too")
			}
		}
		if n := len(w.Letters(t, "neighbour@example.com")); n != 8 {
			t.Errorf("%d codes were sent to one address", n)
		}
	}, func(s *tenant.Settings) { s.Limits.SendPerHour = 8 })
}

// SECURITY F11, G4 on two nodes: of two changes at once at most one is made, by
// the code of its own address; a recovery ends those that are under way.
func TestParallelChangesOfAddress(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		second := w.Second(t)
		for round := range 50 {
			first := "a" + strings.Repeat("x", round) + "@example.com"
			victim, evil := "v"+strings.Repeat("x", round)+"@example.com", "e"+strings.Repeat("x", round)+"@example.com"
			who := w.NewCustomer(t, first, "")
			mail := func(b *journeytest.Browser) *journeytest.Browser {
				b.Application = nil
				b.Begin(t, "sign-in").Send(t, "identifier", first).Send(t, "choose", "code")
				return b.Submit(t, b.View.State, journeytest.Values("code", w.Code(t, first)))
			}
			one, two := mail(w.Browser()), mail(second.Browser())
			one.Begin(t, "change-address").Send(t, "identifier", evil)
			two.Begin(t, "change-address").Send(t, "identifier", victim)
			code := w.Code(t, evil)
			var wait sync.WaitGroup
			for _, b := range []*journeytest.Browser{one, two} { // the code of evil, in both
				wait.Go(func() { b.Submit(t, b.View.State, journeytest.Values("code", code)) })
			}
			wait.Wait()
			if w.Find(t, victim) != "" || w.Find(t, evil) != who || addresses(t, w, who) != first+" "+evil {
				t.Fatalf("round %d: the addresses are %s", round, addresses(t, w, who))
			}
			// The change in the other browser is dead, though its code is right now.
			if at(t, two.Submit(t, two.View.State, journeytest.Values("code", w.Code(t, victim))), "deny", ""); w.Find(t, victim) != "" {
				t.Fatalf("round %d: a change from before the other was made", round)
			}
		}
	}, func(s *tenant.Settings) { s.Limits.SendPerHour, s.Limits.CodePerHour = 100, 100 })
}

func TestRecoveryEndsPendingChanges(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		second := w.Second(t)
		who := w.NewCustomer(t, ana, password)
		thief := signedIn(t, w, ana, password)
		at(t, thief.Begin(t, "change-address").Send(t, "identifier", "evil@example.com"), "prove-address", "")
		address, code := thief.View.State, w.Code(t, "evil@example.com")
		choosing := thief.Begin(t, "change-password").Send(t, "password", password).View.State
		b := second.Browser()
		b.Begin(t, "recovery").Send(t, "identifier", ana)
		at(t, b.Submit(t, b.View.State, journeytest.Values("code", w.Code(t, ana))), "new-password", "")
		at(t, b.Send(t, "new_password", another), "authenticated", "")
		for _, node := range []*journeytest.World{w, second} {
			thief.World = node
			for what, err := range map[string]error{
				"an address":         thief.Submit(t, address, journeytest.Values("code", code)).Err,
				"a password":         thief.Submit(t, choosing, journeytest.Values("new_password", password)).Err,
				"an address, resent": thief.Submit(t, address, journeytest.Values("choose", "resend")).Err,
			} {
				if !errors.Is(err, journey.ErrCrossed) {
					t.Errorf("%s goes on after the recovery: %v, at %s", what, err, thief.At())
				}
			}
		}
		if addresses(t, w, who) != ana || w.Find(t, "evil@example.com") != "" {
			t.Errorf("the addresses are %s", addresses(t, w, who))
		}
		at(t, w.Browser().Begin(t, "sign-in").Send(t, "identifier", ana).Send(t, "password", another), "authenticated", "")
	})
}

// Two removals at once leave one address.
func TestParallelRemovalsLeaveAnAddress(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		second := w.Second(t)
		for range 10 {
			name := strings.ToLower(string(id.New[id.Run](w.Fake.Now(), w.Random)))
			first, last := name+"a@example.com", name+"b@example.com"
			who := w.NewCustomer(t, first, password, journeytest.Address(t, last))
			one, two := signedIn(t, w, first, password), signedIn(t, second, first, password)
			for i, b := range []*journeytest.Browser{one, two} {
				b.Target = person(t, w, who).Identifiers[i].ID
				b.Begin(t, "remove-address")
			}
			var wait sync.WaitGroup
			for _, b := range []*journeytest.Browser{one, two} {
				wait.Go(func() { b.Submit(t, b.View.State, journeytest.Values("decision", "remove")) })
			}
			wait.Wait()
			if got := addresses(t, w, who); strings.Count(got, "@") != 1 {
				t.Fatalf("the addresses are %q", got)
			}
		}
	})
}

// Who says that it wasn't him gets the address back that an intruder has put his
// own in the place of, and the intruder's is gone.
func TestDisowningBringsTheAddressBack(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		who := w.NewCustomer(t, ana, password, journeytest.Address(t, other))
		w.Fake.Advance(time.Hour)
		thief := signedIn(t, w, ana, password)
		for i, hers := range []string{ana, other} { // every address of hers
			thief.Target = named(t, w, who, hers)
			evil := string(rune('a'+i)) + "@evil.example"
			thief.Begin(t, "change-address").Send(t, "identifier", evil)
			at(t, thief.Send(t, "code", w.Code(t, evil)), "address-added", "")
		}
		if addresses(t, w, who) != "a@evil.example b@evil.example" {
			t.Fatalf("the addresses are %s", addresses(t, w, who))
		}
		b := w.Browser()
		b.Link = w.Link(t, ana)
		at(t, b.Begin(t, "not-me").Send(t, "decision", "secure"), "disowned", "")
		if b.Finished.Hint != ana || addresses(t, w, who) != ana || w.Find(t, "a@evil.example") != "" || alive(t, thief) {
			t.Errorf("goes on with %q; the addresses are %s", b.Finished.Hint, addresses(t, w, who))
		}
		b.Begin(t, "recovery").Send(t, "identifier", ana)
		at(t, b.Submit(t, b.View.State, journeytest.Values("code", w.Code(t, ana))), "new-password", "")
		at(t, b.Send(t, "new_password", another), "authenticated", "")
		if b.Finished.Customer != who {
			t.Error("another account was recovered")
		}
		at(t, w.Browser().Begin(t, "recovery").Send(t, "identifier", "a@evil.example"), "code", "")
		if letters := w.Letters(t, "a@evil.example"); letters[len(letters)-1].Data.Holder != "nobody" {
			t.Error("the intruder's address still finds the account")
		}
	})
}

// SECURITY 24 (ASVS 6.3.5).
func TestANewDeviceIsTold(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		told := func() int {
			n := 0
			for _, letter := range w.Letters(t, fresh) {
				if letter.Data.Code == "" {
					n++
				}
			}
			return n
		}
		b := w.Browser()
		b.Begin(t, "sign-up").Send(t, "identifier", fresh)
		b.Submit(t, b.View.State, journeytest.Values("code", w.Code(t, fresh)))
		at(t, b.Send(t, "new_password", password), "authenticated", "")
		if told() != 0 {
			t.Error("who opens an account is told of it")
		}
		b.Session = ""
		at(t, b.Begin(t, "sign-in").Send(t, "identifier", fresh).Send(t, "password", password), "authenticated", "")
		if told() != 0 {
			t.Error("a known device is told")
		}
		elsewhere := signedIn(t, w, fresh, password)
		if told() != 1 {
			t.Fatalf("a new device was told %d times", told())
		}
		elsewhere.Again = true
		at(t, elsewhere.Begin(t, "sign-in").Send(t, "password", password), "authenticated", "")
		if told() != 1 {
			t.Error("who proves himself again is told")
		}
		asks := w.Browser()
		asks.Link = w.Link(t, fresh)
		if at(t, asks.Begin(t, "not-me"), "disown", ""); asks.View.Prompt.(step.DisownPrompt).Dead {
			t.Error("the link of the notice is dead")
		}
		w.Apply(t, func(s *tenant.Settings) { s.Notices.NewSignIn = false })
		signedIn(t, w, fresh, password)
		if told() != 1 {
			t.Error("it is told although the tenant does not want it")
		}
	})
}

// Closing asks for a proof, signs everybody out, and is taken back by signing in.
func TestClosingTheAccount(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		who := w.NewCustomer(t, ana, password)
		b, elsewhere := signedIn(t, w, ana, password), signedIn(t, w, ana, password)
		w.Fake.Advance(6 * time.Minute)
		at(t, b.Begin(t, "close-account"), "password", "")
		at(t, b.Send(t, "decision", "close"), "password", "password_empty")
		at(t, b.Send(t, "password", password), "close-account", "")
		until := b.View.Prompt.(step.CloseAccountPrompt).Until
		if window := w.Tenant.Settings.Lifecycle.CloseWindow.D(); window == 0 || !until.Equal(w.Fake.Now().Add(window)) {
			t.Errorf("it can be kept until %v", until)
		}
		asked := b.View.State
		at(t, b.Send(t, "choose", "back"), "denied", "")
		at(t, b.Submit(t, asked, journeytest.Values("decision", "close")), "account-closed", "")
		if person(t, w, who).Status != customer.Closed || alive(t, b) || alive(t, elsewhere) || !b.Finished.KeptUntil.Equal(until) {
			t.Errorf("the account is %s", person(t, w, who).Status)
		}
		if err := b.Submit(t, asked, journeytest.Values("decision", "close")).Err; !errors.Is(err, journey.ErrCrossed) {
			t.Errorf("it is closed twice: %v", err)
		}
		back := w.Browser()
		at(t, back.Begin(t, "sign-in").Send(t, "identifier", ana).Send(t, "password", password), "keep", "")
		at(t, back.Send(t, "decision", "keep"), "authenticated", "")
		if person(t, w, who).Status != customer.Active {
			t.Error("the account is not kept")
		}
	})
}

// Where a session was begun is kept with it, sealed, in the language of then.
func TestASessionKnowsItsPlace(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		places, err := geoip.Open(geoiptest.Write(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = places.Close() })
		who := w.NewCustomer(t, ana, password)
		signedIn(t, w, ana, password)
		w.Places = places
		w.Kinds = step.Kinds(w.Capabilities)
		if w.Engine, err = journey.New(w.Options()); err != nil {
			t.Fatal(err)
		}
		signedIn(t, w, ana, password) // from 192.0.2.7
		sessions, _, err := w.Sessions.List(t.Context(), w.Tenant, who, "", 10)
		if err != nil || len(sessions) != 2 || sessions[0].Agent.Place != "Lisbon, Portugal" || sessions[1].Agent.Place != "" {
			t.Errorf("%d sessions, %v", len(sessions), err)
		}
	})
}
