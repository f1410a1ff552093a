package journey_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	benOther = "+447400123457"
	evil     = "+447400123499"
)

// manySends are limits that the rounds of a test do not meet.
func manySends(s *tenant.Settings) {
	s.Limits.PasswordPerHour, s.Limits.CodePerHour, s.Limits.SendPerHour, s.Phone.NumberPerHour, s.Phone.NetworkPerHour = 100, 100, 100, 20, 100
}

// byNumber opens an account that has a number and no e-mail address, and returns
// the browser that it was opened in.
func byNumber(t *testing.T, w *world, raw string) (*browser, id.Customer) {
	t.Helper()
	b := w.Browser()
	b.Application = nil
	b.Begin(t, "sign-up").Send(t, "identifier", raw)
	b.Submit(t, b.View.State, journeytest.Values("code", w.Code(t, number(t, raw).Key)))
	at(t, b.Send(t, "new_password", password), "authenticated")
	w.Fake.Advance(time.Millisecond)
	return b, b.Finished.Customer
}

// keysOf are the identifiers that a customer has proved, in the form that they
// are found by.
func keysOf(t *testing.T, w *world, who id.Customer) string {
	t.Helper()
	var keys []string
	for _, it := range person(t, w, who).Identifiers {
		if it.Verified {
			keys = append(keys, it.Key)
		}
	}
	return strings.Join(keys, " ")
}

func targetOf(t *testing.T, w *world, who id.Customer, key string) id.Identifier {
	t.Helper()
	for _, it := range person(t, w, who).Identifiers {
		if it.Key == key {
			return it.ID
		}
	}
	t.Fatalf("%s is not his", key)
	return ""
}

// mark counts the letters that there are. What is sent next is later than they.
func mark(t *testing.T, w *world) int {
	t.Helper()
	w.Fake.Advance(time.Millisecond)
	return len(w.Letters(t, ""))
}

// since are the letters after the first n, of one channel, by whom they go to.
func since(t *testing.T, w *world, n int) map[string]journeytest.Letter {
	t.Helper()
	sent := map[string]journeytest.Letter{}
	for _, l := range w.Letters(t, "")[n:] {
		sent[l.To+" "+l.By] = l
	}
	return sent
}

// A number is added, changed and removed as an address is: it counts once its
// code has come back, and every address and number that he had is told.
func TestChangingANumber(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who := w.NewCustomer(t, ana, password)
		b := signedIn(t, w, ana, password)
		at(t, b.Begin(t, "change-number"), "new-address", "")
		if prompt := b.View.Prompt.(step.NewAddressPrompt); prompt.Of != "phone" {
			t.Errorf("the prompt is %+v", prompt)
		}
		for typed, fault := range map[string]string{"": "identifier_empty", "v": "phone_invalid", ana: "phone_invalid", "+351912345678": "number_no_texts", "+44 20 7946 0018": "number_no_texts", "+1900555012345678": "phone_invalid"} {
			at(t, b.Send(t, "identifier", typed), "new-address", fault)
		}
		before := mark(t, w)
		at(t, b.Send(t, "identifier", "07400 123 456"), "prove-address", "")
		if prompt := b.View.Prompt.(step.ProveAddressPrompt); prompt.Of != "phone" || !prompt.Sent || prompt.Address != "+44 7400 123456" {
			t.Errorf("the prompt is %+v", prompt)
		}
		if sent := w.Letters(t, "")[before:]; len(sent) != 1 || sent[0].To != benPhone || sent[0].By != "sms" || sent[0].Data.Code == "" {
			t.Errorf("sent was %+v", sent)
		}
		if holder(t, w, benPhone) != "" || keysOf(t, w, who) != ana {
			t.Error("the number counts before it is proved")
		}
		code := w.Code(t, benPhone)
		at(t, b.Send(t, "code", notCode(code)), "prove-address", "code_wrong")
		old, epoch := b.Session, person(t, w, who).Epoch
		before = mark(t, w)
		at(t, b.Send(t, "code", code), "address-added", "")
		if keysOf(t, w, who) != ana+" "+benPhone || holder(t, w, benPhone) != who || b.Finished.Of != "phone" || b.Session == old || person(t, w, who).Epoch <= epoch {
			t.Errorf("he has %s, finished %+v", keysOf(t, w, who), b.Finished)
		}
		told := since(t, w, before)
		if len(told) != 2 || told[ana+" "].Data.Link == "" || told[benPhone+" sms"].Data.Link != "" || told[ana+" "].Data.Address != "+44 7400 123456" {
			t.Errorf("told was %+v", told)
		}
		at(t, b.Begin(t, "change-number").Send(t, "identifier", benPhone), "new-address", "number_same")

		// It lets him in.
		in := w.Browser().Begin(t, "sign-in").Send(t, "identifier", "07400123456").Send(t, "choose", "code")
		at(t, in.Send(t, "code", w.Code(t, benPhone)), "authenticated", "")

		// Another in its place: mail is told, and the number that goes.
		b.Target = targetOf(t, w, who, benPhone)
		at(t, b.Begin(t, "change-number").Send(t, "identifier", benOther), "prove-address", "")
		before = mark(t, w)
		at(t, b.Send(t, "code", w.Code(t, benOther)), "address-added", "")
		if keysOf(t, w, who) != ana+" "+benOther || holder(t, w, benPhone) != "" || !b.Finished.Replaced {
			t.Errorf("he has %s", keysOf(t, w, who))
		}
		told = since(t, w, before)
		if len(told) != 3 || told[ana+" "].Data.Link == "" || told[benPhone+" sms"].Data.Link == "" || told[benOther+" sms"].Data.Link != "" {
			t.Errorf("told was %+v", told)
		}

		// Removed; and the e-mail address is not, though a number is left.
		b.Target = targetOf(t, w, who, ana)
		at(t, b.Begin(t, "remove-address"), "remove-address", "")
		if !b.View.Prompt.(step.RemoveAddressPrompt).Last {
			t.Error("the only e-mail address is offered to be removed")
		}
		at(t, b.Send(t, "decision", "remove"), "remove-address", "")
		b.Target = targetOf(t, w, who, benOther)
		before = mark(t, w)
		at(t, b.Begin(t, "remove-address").Send(t, "decision", "remove"), "address-removed", "")
		if keysOf(t, w, who) != ana || holder(t, w, benOther) != "" || b.Finished.Of != "phone" {
			t.Errorf("he has %s", keysOf(t, w, who))
		}
		if told := since(t, w, before); len(told) != 2 || told[ana+" "].Data.Link == "" || told[benOther+" sms"].Data.Link == "" {
			t.Errorf("told was %+v", told)
		}
		for _, kind := range []string{"customer.identifier.added", "customer.identifier.removed"} {
			if !slices.Contains(events(t, w, who), kind) {
				t.Errorf("no event %s", kind)
			}
		}
	}, withPhones, manySends)
}

// Who has a number alone is told by text message, keeps his last one, and proves
// himself by a code to it.
func TestChangingNumbersWithoutAnEMailAddress(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		b, who := byNumber(t, w, benPhone)
		b.Target = targetOf(t, w, who, benPhone)
		at(t, b.Begin(t, "remove-address"), "remove-address", "")
		if !b.View.Prompt.(step.RemoveAddressPrompt).Last {
			t.Error("the last number is offered to be removed")
		}
		at(t, b.Send(t, "decision", "remove"), "remove-address", "")
		b.Target = ""
		w.Fake.Advance(6 * time.Minute)
		at(t, b.Begin(t, "change-number"), "password", "")
		at(t, b.Send(t, "choose", "code"), "code", "")
		if prompt := b.View.Prompt.(step.CodePrompt); !prompt.Phone || prompt.MayMail {
			t.Errorf("the prompt is %+v", prompt)
		}
		at(t, b.Send(t, "code", w.Code(t, benPhone)), "new-address", "")
		at(t, b.Send(t, "identifier", benOther), "prove-address", "")
		before := mark(t, w)
		at(t, b.Send(t, "code", w.Code(t, benOther)), "address-added", "")
		if told := since(t, w, before); len(told) != 2 || told[benPhone+" sms"].Data.Link == "" || told[benOther+" sms"].Data.Link != "" {
			t.Errorf("told was %+v", told)
		}
		b.Target = targetOf(t, w, who, benPhone)
		at(t, b.Begin(t, "remove-address").Send(t, "decision", "remove"), "address-removed", "")
		if keysOf(t, w, who) != benOther {
			t.Errorf("he has %s", keysOf(t, w, who))
		}

		// A sign-in on a new device, and a changed address, are told by text message.
		w.Fake.Advance(2 * time.Hour)
		before = mark(t, w)
		at(t, w.Browser().Begin(t, "sign-in").Send(t, "identifier", benOther).Send(t, "password", password), "authenticated", "")
		if told := since(t, w, before); !strings.Contains(told[benOther+" sms"].Data.Link, "/not-me?link=") || len(told) != 1 {
			t.Errorf("told was %+v", told)
		}
		b.Target = ""
		b = w.Browser()
		b.Application = nil
		at(t, b.Begin(t, "sign-in").Send(t, "identifier", benOther).Send(t, "password", password), "authenticated", "")
		at(t, b.Begin(t, "change-address").Send(t, "identifier", fresh), "prove-address", "")
		before = mark(t, w)
		at(t, b.Send(t, "code", w.Code(t, fresh)), "address-added", "")
		if told := since(t, w, before); len(told) != 2 || told[benOther+" sms"].Data.Link == "" || told[fresh+" "].Data.Link != "" {
			t.Errorf("told was %+v", told)
		}
	}, withPhones)
}

// SECURITY J: adding a number that another account has is answered as any other,
// until the code has come back; and it stays the other's (F11).
func TestATakenNumberIsToldToItsReaderAlone(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who, has := w.NewCustomer(t, ana, password), w.NewCustomer(t, other, another, number(t, benPhone))
		b := signedIn(t, w, ana, password)
		var shown []string
		var rows []map[string]int
		for _, raw := range []string{benPhone, benOther} {
			before := w.Rows(t)
			b.Begin(t, "change-number").Send(t, "identifier", raw)
			text := fmt.Sprintf("%+v %v %d", b.View.Prompt, b.View.Limited, len(b.View.State))
			at(t, b.Send(t, "code", "none"), "prove-address", "code_wrong")
			shown = append(shown, strings.ReplaceAll(text+fmt.Sprintf("%+v %v %d", b.View.Prompt, b.View.Errors, len(b.View.State)), "123457", "123456"))
			grown := map[string]int{}
			for table, n := range w.Rows(t) {
				if n != before[table] && table != "budget" {
					grown[table] = n - before[table]
				}
			}
			rows = append(rows, grown)
		}
		if shown[0] != shown[1] || fmt.Sprint(rows[0]) != fmt.Sprint(rows[1]) {
			t.Errorf("they differ:\n%s %v\n%s %v", shown[0], rows[0], shown[1], rows[1])
		}
		w.Fake.Advance(time.Millisecond)
		b.Begin(t, "change-number").Send(t, "identifier", benPhone)
		if at(t, b.Send(t, "code", w.Code(t, benPhone)), "notice", ""); b.View.Prompt.(step.NoticePrompt).Text != "number_taken" {
			t.Errorf("it says %+v", b.View.Prompt)
		}
		if at(t, b.Send(t), "new-address", ""); holder(t, w, benPhone) != has || keysOf(t, w, who) != ana {
			t.Error("the number has changed hands")
		}
		// One that is taken while its code is under way, and one that he has unproved.
		at(t, b.Send(t, "identifier", evil), "prove-address", "")
		code := w.Code(t, evil)
		w.NewCustomer(t, "x@example.com", another, number(t, evil))
		if at(t, b.Send(t, "code", code), "notice", ""); keysOf(t, w, who) != ana {
			t.Error("the number has changed hands")
		}
		keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
		if err != nil {
			t.Fatal(err)
		}
		key, err := w.Directory.Key(t.Context(), w.Tenant.ID, who)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := w.Directory.AddIdentifier(tx, keys, key, w.Tenant.ID, who, customer.NewIdentifier{Normalised: number(t, benPhone)}, "test")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		w.Fake.Advance(time.Millisecond)
		b.Begin(t, "change-number").Send(t, "identifier", benPhone)
		if at(t, b.Send(t, "code", w.Code(t, benPhone)), "notice", ""); holder(t, w, benPhone) != has || keysOf(t, w, who) != ana {
			t.Error("the number has changed hands by being added again")
		}
	}, withPhones, manySends)
}

// SECURITY 27: no number is added, changed or removed without a proof of the last
// minutes; none that is the business's; none where the tenant has no phones.
func TestNumbersAreHisToChangeWhereTheTenantHasPhones(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who := w.NewCustomer(t, ana, password, number(t, benPhone), journeytest.Address(t, other))
		b := signedIn(t, w, ana, password)
		opened := b.Begin(t, "change-number").View.State
		b.Target = targetOf(t, w, who, benPhone)
		removing := b.Begin(t, "remove-address").View.State
		w.Fake.Advance(6 * time.Minute)
		for what, state := range map[string]string{"adding": opened, "removing": removing} {
			if err := b.Submit(t, state, journeytest.Values("identifier", evil, "decision", "remove")).Err; !errors.Is(err, journey.ErrExpired) {
				t.Errorf("%s goes on after six minutes: %v", what, err)
			}
		}
		at(t, b.Begin(t, "change-number"), "password", "")
		for _, answer := range [][]string{{"identifier", evil}, {"decision", "remove"}, {"code", "123456"}, {"choose", "resend"}} {
			at(t, b.Send(t, answer...), "password", b.Fault())
		}
		at(t, b.Send(t, "password", password), "new-address", "")

		// A number takes no address's place, nor the other way round.
		b.Target = targetOf(t, w, who, other)
		if _, err := w.Engine.Begin(t.Context(), w.Tenant, journey.Start{Journey: "change-number", Target: b.Target, Client: signedIn(t, w, ana, password).Client(t)}); !errors.Is(err, journey.ErrExpired) {
			t.Errorf("a number is to take the place of an address: %v", err)
		}
		w.Apply(t, func(s *tenant.Settings) { s.Phone.Enabled = false })
		if err := b.Submit(t, b.View.State, journeytest.Values("identifier", evil)).Err; !errors.Is(err, journey.ErrExpired) {
			t.Errorf("a number is added where there are no phones: %v", err)
		}
		for name, target := range map[string]id.Identifier{"change-number": "", "remove-address": targetOf(t, w, who, benPhone)} {
			if _, err := w.Engine.Begin(t.Context(), w.Tenant, journey.Start{Journey: name, Target: target, Client: signedIn(t, w, ana, password).Client(t)}); !errors.Is(err, journey.ErrExpired) {
				t.Errorf("%s begins where there are no phones: %v", name, err)
			}
		}
	}, withPhones, manySends)
}

// SECURITY G4, E4, F11: a change of number that is under way dies with a recovery,
// an erasure, a sign-out everywhere and another change, on both nodes.
func TestAPendingNumberDies(t *testing.T) {
	for name, ends := range map[string]struct {
		how func(t *testing.T, w, second *world, owner *browser, who id.Customer)
		err error // nil: the journey says that something has changed
	}{
		"recovery": {func(t *testing.T, _, second *world, _ *browser, _ id.Customer) {
			b := second.Browser().Begin(t, "recovery").Send(t, "identifier", ana)
			b.Submit(t, b.View.State, journeytest.Values("code", second.Code(t, ana)))
			at(t, b.Send(t, "new_password", another), "authenticated", "")
		}, journey.ErrCrossed},
		"erasure": {func(t *testing.T, _, second *world, _ *browser, who id.Customer) {
			if err := second.Directory.Erase(t.Context(), second.Tenant.ID, who, "test"); err != nil {
				t.Fatal(err)
			}
		}, journey.ErrCrossed},
		"sign-out everywhere": {func(t *testing.T, _, second *world, owner *browser, who id.Customer) {
			if err := second.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
				_, err := second.Sessions.EndAll(tx, second.Tenant.ID, who, owner.Client(t).Session.ID, "revoked", string(who))
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}, journey.ErrCrossed},
		"another change": {func(t *testing.T, _, _ *world, owner *browser, _ id.Customer) {
			at(t, owner.Begin(t, "change-number").Send(t, "identifier", benOther), "prove-address", "")
			at(t, owner.Send(t, "code", owner.World.Code(t, benOther)), "address-added", "")
		}, nil},
		"a new password": {func(t *testing.T, _, _ *world, owner *browser, _ id.Customer) {
			at(t, owner.Begin(t, "change-password").Send(t, "password", password).Send(t, "new_password", another), "password-changed", "")
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			journeytest.Each(t, func(t *testing.T, w *world) {
				second := w.Second(t)
				who := w.NewCustomer(t, ana, password)
				owner, thief := signedIn(t, second, ana, password), signedIn(t, w, ana, password)
				at(t, thief.Begin(t, "change-number").Send(t, "identifier", evil), "prove-address", "")
				state, code := thief.View.State, w.Code(t, evil)
				ends.how(t, w, second, owner, who)
				for _, node := range []*world{w, second} {
					thief.World = node
					err := thief.Submit(t, state, journeytest.Values("code", code)).Err
					if ends.err != nil && !errors.Is(err, ends.err) || ends.err == nil && (err != nil || thief.At() != "deny") {
						t.Errorf("it goes on: %v, at %s", err, thief.At())
					}
				}
				if holder(t, w, evil) != "" {
					t.Error("the number is somebody's")
				}
			}, withPhones, manySends)
		})
	}
}

// The link of a text message undoes what an intruder has done to the numbers of
// who has no e-mail address.
func TestDisowningBringsTheNumberBack(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		_, who := byNumber(t, w, benPhone)
		w.Fake.Advance(2 * time.Hour)
		thief := w.Browser()
		thief.Application = nil
		at(t, thief.Begin(t, "sign-in").Send(t, "identifier", benPhone).Send(t, "password", password), "authenticated", "")
		w.Fake.Advance(time.Millisecond)
		thief.Target = targetOf(t, w, who, benPhone)
		at(t, thief.Begin(t, "change-number").Send(t, "identifier", evil), "prove-address", "")
		at(t, thief.Send(t, "code", w.Code(t, evil)), "address-added", "")
		if keysOf(t, w, who) != evil {
			t.Fatalf("he has %s", keysOf(t, w, who))
		}
		b := w.Browser()
		b.Link = w.Link(t, benPhone)
		at(t, b.Begin(t, "not-me").Send(t, "decision", "secure"), "disowned", "")
		if keysOf(t, w, who) != benPhone || holder(t, w, benPhone) != who || alive(t, thief) || b.Finished.Hint != benPhone {
			t.Errorf("he has %s, finished %+v", keysOf(t, w, who), b.Finished)
		}
		b.Begin(t, "recovery").Send(t, "identifier", benPhone)
		at(t, b.Submit(t, b.View.State, journeytest.Values("code", w.Code(t, benPhone))), "new-password", "")
	}, withPhones, manySends)
}

// SECURITY H5, H8, R2: codes to a new number draw on what every door draws on:
// the customer's, the number's, and what strangers share, in a browser that the
// customer is known in too; guesses at them on the customer's.
func TestNewNumbersDrawOnTheSameBudgets(t *testing.T) {
	limited := func(b *browser) bool { return b.View != nil && b.View.Limited != nil }
	add := func(t *testing.T, w *world, address, raw string) *browser {
		t.Helper()
		b := signedIn(t, w, address, password)
		return b.Begin(t, "change-number").Send(t, "identifier", raw)
	}
	for name, test := range map[string]struct {
		set func(*tenant.Settings)
		to  func(n int) string
	}{
		"number":   {func(s *tenant.Settings) { s.Phone.NumberPerHour = 3 }, func(int) string { return benPhone }},
		"address":  {func(s *tenant.Settings) { s.Limits.SendPerHour = 3 }, func(int) string { return benPhone }},
		"network":  {func(s *tenant.Settings) { s.Phone.NetworkPerHour = 3 }, func(n int) string { return fmt.Sprintf("+44740012346%d", n) }},
		"country":  {func(s *tenant.Settings) { s.Phone.CountryPerHour = 3 }, func(n int) string { return fmt.Sprintf("+44740012346%d", n) }},
		"tenant":   {func(s *tenant.Settings) { s.Phone.TenantPerHour = 3 }, func(n int) string { return fmt.Sprintf("+44740012346%d", n) }},
		"customer": {func(s *tenant.Settings) { s.Limits.SendPerHour = 3 }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			journeytest.Each(t, func(t *testing.T, w *world) {
				for n := range 4 {
					address := fmt.Sprintf("p%d@example.com", n)
					if test.to == nil {
						address = "p@example.com"
					}
					if n == 0 || test.to != nil {
						w.NewCustomer(t, address, password)
					}
					var b *browser
					if test.to != nil {
						b = add(t, w, address, test.to(n))
					} else {
						b = signedIn(t, w, address, password)
						b.Device = "" // a browser that he is not known in
						b.Begin(t, "change-number").Send(t, "identifier", fmt.Sprintf("+44740012346%d", n))
					}
					if limited(b) != (n == 3) {
						t.Errorf("send %d is limited: %v", n+1, limited(b))
					}
				}
				// The number's is the sign-in's door's too; the new addresses' is theirs alone.
				if b := w.Browser().Begin(t, "sign-up").Send(t, "identifier", benPhone); name == "number" != limited(b) && name != "tenant" && name != "country" && name != "network" {
					t.Errorf("a sign-up with the number is limited: %v", limited(b))
				}
			}, withPhones, manySends, test.set)
		})
	}
	t.Run("guesses", func(t *testing.T) {
		journeytest.Each(t, func(t *testing.T, w *world) {
			w.NewCustomer(t, ana, password)
			b := signedIn(t, w, ana, password)
			b.Begin(t, "change-number").Send(t, "identifier", benPhone)
			for n := range 6 {
				b.Send(t, "code", "none")
				if limited(b) != (n >= 4) {
					t.Fatalf("guess %d is limited: %v", n+1, limited(b))
				}
			}
			if at(t, b.Send(t, "code", w.Code(t, benPhone)), "prove-address", ""); !limited(b) { // H4: the right one is refused
				t.Error("a right code is taken beyond the budget")
			}
			again := b.Begin(t, "change-number").Send(t, "identifier", benOther).Send(t, "code", w.Code(t, benOther))
			if at(t, again, "prove-address", ""); !limited(again) {
				t.Error("another number begins the guesses anew")
			}
		}, withPhones, manySends, func(s *tenant.Settings) { s.Limits.CodePerHour = 4; s.Limits.AttemptsPerCode = 10 })
	})
}

// SECURITY A: whether an address may still be sent codes as a new one tells nothing
// of whether somebody has it, whatever strangers have had sent to it before.
func TestLimitsOfNewAddressesTellNothing(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, ana, password)
		w.NewCustomer(t, other, password)
		said := map[string]string{}
		for _, address := range []string{ana, fresh} {
			for range 4 { // more than there may be
				w.Browser().Begin(t, "sign-in").Send(t, "identifier", address).Send(t, "choose", "code")
			}
			b := signedIn(t, w, other, password)
			for range 5 {
				b.Begin(t, "change-address").Send(t, "identifier", address)
				b.Device = ""
				said[address] += fmt.Sprint(b.At(), b.View.Limited != nil, " ")
			}
			w.Fake.Advance(2 * time.Hour) // the customer's own budget is new
		}
		if said[ana] != said[fresh] || !strings.Contains(said[ana], "true") {
			t.Errorf("one who has an account: %s\none that nobody has: %s", said[ana], said[fresh])
		}
	}, func(s *tenant.Settings) { s.Limits.SendPerHour = 3 })
}

// A customer's number is told only so often within an hour, whatever is done with
// his account; and strangers who have codes sent to it keep him from nothing.
func TestNoticesByTextAreBoundedByThemselves(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		b, _ := byNumber(t, w, benPhone)
		_ = b
		for range 3 { // strangers use up the number's codes
			w.Browser().Begin(t, "sign-in").Send(t, "identifier", benPhone).Send(t, "choose", "code")
		}
		told := func() int {
			return len(slices.DeleteFunc(w.Letters(t, benPhone), func(l journeytest.Letter) bool { return l.Data.Link == "" }))
		}
		for n := range 5 {
			at(t, w.Browser().Begin(t, "sign-in").Send(t, "identifier", benPhone).Send(t, "password", password), "authenticated", "")
			if want := min(n+1, 3); told() != want {
				t.Errorf("after %d sign-ins %d are told", n+1, told())
			}
		}
		if links := w.Count(t, `SELECT COUNT(*) FROM challenge_link`); links != 3 {
			t.Errorf("%d links are kept", links)
		}
		w.Fake.Advance(time.Hour)
		at(t, w.Browser().Begin(t, "sign-in").Send(t, "identifier", benPhone).Send(t, "password", password), "authenticated", "")
		if told() != 4 {
			t.Errorf("an hour later %d are told", told())
		}
	}, withPhones, func(s *tenant.Settings) { s.Phone.NumberPerHour = 3 })
}

// Two numbers removed at once leave one to who has no e-mail address.
func TestParallelRemovalsLeaveANumber(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		second := w.Second(t)
		for n := range 5 {
			first, last := fmt.Sprintf("+44740012350%d", n), fmt.Sprintf("+44740012360%d", n)
			one, who := byNumber(t, w, first)
			one.Begin(t, "change-number").Send(t, "identifier", last)
			at(t, one.Send(t, "code", w.Code(t, last)), "address-added", "")
			two := second.Browser()
			two.Application = nil
			at(t, two.Begin(t, "sign-in").Send(t, "identifier", first).Send(t, "password", password), "authenticated", "")
			one.Target, two.Target = targetOf(t, w, who, first), targetOf(t, w, who, last)
			var wait sync.WaitGroup
			for _, b := range []*browser{one.Begin(t, "remove-address"), two.Begin(t, "remove-address")} {
				wait.Go(func() { b.Submit(t, b.View.State, journeytest.Values("decision", "remove")) })
			}
			wait.Wait()
			if got := keysOf(t, w, who); strings.Count(got, "+") != 1 {
				t.Fatalf("the numbers are %q", got)
			}
		}
	}, withPhones, manySends)
}

// flag has messages to a customer's address come back.
func flag(t *testing.T, w *world, who id.Customer, address, reason string) {
	t.Helper()
	keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.Fake.Advance(time.Second)
	if err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		marked, err := w.Directory.MarkUndeliverable(tx, keys, w.Tenant.ID, who, journeytest.Address(t, address), reason, tx.Now(), "test")
		if err == nil && !marked {
			err = errors.New("it is not flagged")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.Fake.Advance(time.Second)
}

// flagged is why messages to a customer's address come back, "" where none do.
func flagged(t *testing.T, w *world, who id.Customer, address string) string {
	t.Helper()
	for _, it := range person(t, w, who).Identifiers {
		if it.Key == address {
			return it.Undeliverable
		}
	}
	t.Fatalf("%s is not his", address)
	return ""
}

// An address that messages come back from is confirmed by a code to it, which
// changes nothing else; no other address is, and no other session does it.
func TestConfirmingAReturnedAddress(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who := w.NewCustomer(t, ana, password, journeytest.Address(t, other))
		b := signedIn(t, w, ana, password)
		b.Target = targetOf(t, w, who, ana)
		begin := func(target id.Identifier) error {
			_, err := w.Engine.Begin(t.Context(), w.Tenant, journey.Start{Journey: "confirm-address", Target: target, Client: b.Client(t)})
			return err
		}
		for what, target := range map[string]id.Identifier{"an address that mail reaches": b.Target, "no address": ""} {
			if err := begin(target); !errors.Is(err, journey.ErrExpired) {
				t.Errorf("%s is confirmed: %v", what, err)
			}
		}
		flag(t, w, who, ana, customer.Bounced)
		before := w.Rows(t)
		at(t, b.Begin(t, "confirm-address"), "confirm-address", "")
		at(t, b.Send(t, "decision", "perhaps"), "confirm-address", "")
		if after := w.Rows(t); fmt.Sprint(after) != fmt.Sprint(before) || b.View.Prompt.(step.ConfirmAddressPrompt).Address != ana {
			t.Errorf("looking wrote %v, before %v; the prompt is %+v", after, before, b.View.Prompt)
		}
		at(t, b.Send(t, "choose", "back"), "denied", "")
		w.Fake.Advance(10 * time.Minute) // no other proof is asked for
		letters := mark(t, w)
		at(t, b.Begin(t, "confirm-address").Send(t, "decision", "send"), "prove-address", "")
		sent := w.Letters(t, "")[letters:]
		if len(sent) != 1 || sent[0].To != ana || sent[0].Data.Code == "" {
			t.Fatalf("sent was %+v", sent)
		}
		at(t, b.Send(t, "code", notCode(sent[0].Data.Code)), "prove-address", "code_wrong")
		state, session, epoch := b.View.State, b.Session, person(t, w, who).Epoch
		thief := signedIn(t, w, ana, password)
		if err := thief.Submit(t, state, journeytest.Values("code", sent[0].Data.Code)).Err; !errors.Is(err, journey.ErrCrossed) {
			t.Errorf("another session goes on: %v", err)
		}
		at(t, b.Send(t, "code", sent[0].Data.Code), "address-confirmed", "")
		if flagged(t, w, who, ana) != "" || b.Session != session || person(t, w, who).Epoch != epoch || !alive(t, b) {
			t.Errorf("flagged %q, the epoch is %d after %d", flagged(t, w, who, ana), person(t, w, who).Epoch, epoch)
		}
		if !slices.Contains(events(t, w, who), "customer.identifier.delivered") {
			t.Error("no event tells of it")
		}
		// Once only, and not beyond a change of what lets him in.
		if err := b.Submit(t, state, journeytest.Values("code", sent[0].Data.Code)).Err; err == nil && b.Finished != nil {
			t.Error("the code is good twice")
		}
		flag(t, w, who, ana, customer.Complained)
		at(t, b.Begin(t, "confirm-address").Send(t, "decision", "send"), "prove-address", "")
		code := w.Code(t, ana)
		changer := signedIn(t, w, ana, password)
		at(t, changer.Begin(t, "change-password").Send(t, "password", password).Send(t, "new_password", another), "password-changed", "")
		at(t, b.Send(t, "code", code), "prove-address", "code_expired")
		if flagged(t, w, who, ana) != customer.Complained {
			t.Error("it is confirmed by what was under way before")
		}
	}, manySends)
}

// Where mail comes back, numbers are told too; where it does not, mail alone.
func TestNoticesGoWhereTheyArrive(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who := w.NewCustomer(t, ana, password, number(t, benPhone))
		sign := func() map[string]journeytest.Letter {
			w.Fake.Advance(2 * time.Hour)
			before := mark(t, w)
			at(t, w.Browser().Begin(t, "sign-in").Send(t, "identifier", ana).Send(t, "password", password), "authenticated", "")
			return since(t, w, before)
		}
		if told := sign(); len(told) != 1 || told[ana+" "].To == "" {
			t.Errorf("told was %+v", told)
		}
		flag(t, w, who, ana, customer.Bounced)
		if told := sign(); len(told) != 2 || told[benPhone+" sms"].Data.Link == "" || told[ana+" "].To == "" {
			t.Errorf("told was %+v", told)
		}
	}, withPhones)
}
