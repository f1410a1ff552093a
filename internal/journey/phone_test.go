package journey_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const benPhone = "+447400123456"

func withPhones(s *tenant.Settings) { s.Phone.Enabled = true }

func number(t *testing.T, raw string) identifier.Normalised {
	t.Helper()
	n, err := identifier.Normalise(identifier.Phone, raw, identifier.Options{Region: "GB"})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// holder is who has a number, "" for nobody.
func holder(t *testing.T, w *world, raw string) id.Customer {
	t.Helper()
	keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	who, _, err := w.Directory.Find(t.Context(), w.Tenant.ID, keys, number(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	return who
}

// An account opened with a number is found by every spelling of it, signed in to
// by a code, and recovered by one; its owner, who has no e-mail address, is told
// by text message.
func TestAPhoneNumberIsAnIdentifierLikeAnother(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		b := w.Browser().Begin(t, "sign-up")
		if prompt, _ := b.View.Prompt.(step.CreateAccountPrompt); !prompt.Phone {
			t.Error("no number is asked for")
		}
		at(t, b.Send(t, "identifier", "07400 12345"), "create-account", "phone_invalid")
		at(t, b.Send(t, "identifier", "07400 123456"), "code", "")
		if prompt, _ := b.View.Prompt.(step.CodePrompt); !prompt.Phone || !prompt.Sent || prompt.MayMail || prompt.Address != "+44 7400 123456" {
			t.Errorf("asked %+v", prompt)
		}
		code := w.Code(t, benPhone)
		at(t, b.Send(t, "code", notCode(code)), "code", "code_wrong")
		at(t, b.Send(t, "code", code), "new-password", "")
		at(t, b.Send(t, "new_password", password), "authenticated")
		who := holder(t, w, "+44 (0) 7400-123456")
		if who == "" || who != b.Finished.Customer {
			t.Fatalf("the number finds %q", who)
		}
		live(t, b, who, "sms")

		b = w.Browser().Begin(t, "sign-in").Send(t, "identifier", "+447400123456").Send(t, "password", password)
		live(t, b, who, "pwd")
		b = w.Browser().Begin(t, "sign-in").Send(t, "identifier", "0044 7400 123456").Send(t, "choose", "code")
		at(t, b.Send(t, "code", w.Code(t, benPhone)), "authenticated")
		live(t, b, who, "sms")
		old := b

		b = w.Browser().Begin(t, "recovery").Send(t, "identifier", "07400123456")
		at(t, b.Send(t, "code", w.Code(t, benPhone)), "new-password", "")
		at(t, b.Send(t, "new_password", "a different bicycle shed"), "authenticated")
		if !b.Finished.Recovered {
			t.Error("it is no recovery")
		}
		if _, err := w.Sessions.Read(t.Context(), w.Tenant, old.Session); err == nil {
			t.Error("an older session lives")
		}
		letters := w.Letters(t, benPhone)
		if last := letters[len(letters)-1]; !strings.Contains(last.Data.Link, "/not-me?link=") || last.By != "sms" {
			t.Errorf("told by %+v", last)
		}
		if got := events(t, w, who); !slices.Contains(got, "customer.password.recovered") {
			t.Errorf("events %v", got)
		}
	}, withPhones)
}

// A right code for a number that finds nobody opens an account, and one for a
// number that has an account signs in: which it is is told by the code alone.
func TestUnknownNumbersBehaveAsUnknownAddresses(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password, number(t, benPhone))
		for _, begin := range []string{"sign-in", "sign-up", "recovery"} {
			var shown []string
			var rows []map[string]int
			for _, raw := range []string{benPhone, "+447400123457"} {
				before := w.Rows(t)
				b := w.Browser().Begin(t, begin).Send(t, "identifier", raw)
				if begin == "sign-in" {
					b.Send(t, "choose", "code")
				}
				text := fmt.Sprintf("%+v %v %d", b.View.Prompt, b.View.Errors, len(b.View.State))
				if begin != "sign-up" {
					b.Send(t, "choose", "by_mail")
					text += fmt.Sprintf("%+v %v %d", b.View.Prompt, b.View.Errors, len(b.View.State))
					at(t, b.Send(t, "code", none), "code", "code_wrong")
				}
				shown = append(shown, strings.ReplaceAll(text, "123457", "123456"))
				grown := map[string]int{}
				for table, n := range w.Rows(t) {
					if n != before[table] && table != "budget" {
						grown[table] = n - before[table]
					}
				}
				rows = append(rows, grown)
			}
			if shown[0] != shown[1] {
				t.Errorf("%s tells apart\n%s\n%s", begin, shown[0], shown[1])
			}
			if fmt.Sprint(rows[0]) != fmt.Sprint(rows[1]) {
				t.Errorf("%s writes %v and %v", begin, rows[0], rows[1])
			}
		}
		w.Fake.Advance(time.Millisecond) // so that the next letter is the last
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", "+447400123457").Send(t, "choose", "code")
		at(t, b.Send(t, "code", w.Code(t, "+447400123457")), "new-password", "")
	}, withPhones, func(s *tenant.Settings) { s.Phone.NumberPerHour = 20 })
}

// SECURITY, item 20: a text message is never the only choice. The account's mail
// gets the code where it is asked for; a code by mail does not prove the number.
func TestACodeForANumberGoesByMailWhereAsked(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who := w.NewCustomer(t, v, password, number(t, benPhone))
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", benPhone).Send(t, "choose", "code")
		texted := w.Code(t, benPhone)
		at(t, b.Send(t, "choose", "by_mail"), "code", "")
		if prompt, _ := b.View.Prompt.(step.CodePrompt); prompt.Phone || !prompt.Mailed || !prompt.MayText || !prompt.Sent {
			t.Errorf("asked %+v", prompt)
		}
		mailed := w.Code(t, v)
		if mailed != texted { // each is good for the page that asks for it
			at(t, b.Send(t, "code", texted), "code", "code_wrong")
		}
		at(t, b.Send(t, "code", mailed), "authenticated")
		live(t, b, who, "otp")
		// Nobody has the other number, and no mail goes anywhere.
		b = w.Browser().Begin(t, "sign-in").Send(t, "identifier", "+447400123457").Send(t, "choose", "code")
		w.Fake.Advance(time.Millisecond)
		b.Send(t, "choose", "by_mail")
		w.Fake.Advance(time.Millisecond)
		letters := w.Letters(t, "")
		if last := letters[len(letters)-1]; last.To != "" || last.Data.Code == "" {
			t.Errorf("the last letter goes to %q", last.To)
		}
		at(t, b.Send(t, "code", letters[len(letters)-1].Data.Code), "code", "code_wrong")
		at(t, b.Send(t, "choose", "by_text"), "code", "")
		at(t, b.Send(t, "code", w.Code(t, "+447400123457")), "new-password", "")
	}, withPhones)
}

// SECURITY R2: text messages go to mobile numbers of the countries that the
// tenant names, and to no others.
func TestTextMessagesGoToTheTenantsCountries(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		// Abroad, a land line, a premium number and a pager.
		for _, raw := range []string{"+351912345678", "+442079460018", "+449098790000", "+447640123456"} {
			before := w.Rows(t)
			b := w.Browser().Begin(t, "sign-up")
			at(t, b.Send(t, "identifier", raw), "create-account", "phone_no_texts")
			for _, begin := range []string{"sign-in", "recovery"} {
				b := w.Browser().Begin(t, begin).Send(t, "identifier", raw)
				if begin == "sign-in" {
					b.Send(t, "choose", "code")
				}
				b.Send(t, "choose", "resend")
				if prompt, _ := b.View.Prompt.(step.CodePrompt); !prompt.NoTexts || prompt.Sent || !prompt.MayMail {
					t.Errorf("%s is asked %+v", raw, prompt)
				}
			}
			if after := w.Rows(t); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("%s wrote %v, before %v", raw, after, before)
			}
		}
		w.Apply(t, func(s *tenant.Settings) { s.Phone.Countries = []string{"PT"} })
		at(t, w.Browser().Begin(t, "sign-up").Send(t, "identifier", "+351912345678"), "code", "")
		at(t, w.Browser().Begin(t, "sign-up").Send(t, "identifier", benPhone), "create-account", "phone_no_texts")
	}, withPhones)
}

// Without the setting a number finds its customer, opens no account and is sent
// nothing.
func TestWithoutPhonesNothingIsTexted(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password, number(t, benPhone))
		at(t, w.Browser().Begin(t, "sign-up").Send(t, "identifier", benPhone), "create-account", "email_invalid")
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", benPhone).Send(t, "choose", "code").Send(t, "choose", "by_text")
		if letters := w.Letters(t, benPhone); len(letters) != 0 {
			t.Errorf("texted %+v", letters)
		}
		at(t, b.Send(t, "code", w.Code(t, v)), "authenticated")
	})
}

// SECURITY H and R2: text messages are bounded by number, network, country and
// tenant, whatever strangers vary; a browser that the customer is known in draws
// on the number's part alone.
func TestTextMessagesAreBounded(t *testing.T) {
	limited := func(b *browser) bool {
		return b.View != nil && b.View.Limited != nil && b.View.Limited.What == budget.Send && !b.View.Limited.Until.IsZero()
	}
	for name, test := range map[string]struct {
		set    func(*tenant.Settings)
		number func(n int) string
		from   func(n int) string
	}{
		"number":  {func(s *tenant.Settings) { s.Phone.NumberPerHour = 3 }, func(n int) string { return []string{"07400 123 456", "+44 7400 123456"}[n%2] }, nil},
		"network": {func(s *tenant.Settings) { s.Phone.NetworkPerHour = 3 }, nil, func(n int) string { return fmt.Sprintf("2001:db8:1:2:%x::%x", n, n*7) }},
		"country": {func(s *tenant.Settings) { s.Phone.CountryPerHour = 3 }, nil, func(n int) string { return fmt.Sprintf("192.0.2.%d", n+1) }},
		"tenant":  {func(s *tenant.Settings) { s.Phone.TenantPerHour = 3 }, nil, func(n int) string { return fmt.Sprintf("192.0.2.%d", n+1) }},
	} {
		t.Run(name, func(t *testing.T) {
			journeytest.Each(t, func(t *testing.T, w *world) {
				w.NewCustomer(t, v, password, number(t, benPhone))
				known := w.Browser().Begin(t, "sign-in").Send(t, "identifier", benPhone).Send(t, "password", password)
				at(t, known, "authenticated")
				for n := range 4 {
					b := w.Browser()
					to := fmt.Sprintf("+4474001234%02d", 60+n)
					if test.number != nil {
						to = test.number(n)
					}
					b.Address = fmt.Sprintf("192.0.2.%d", n+1)
					if test.from != nil {
						b.Address = test.from(n)
					}
					b.Begin(t, "sign-up").Send(t, "identifier", to)
					if got := limited(b); got != (n == 3) {
						t.Errorf("the send %d is limited: %v", n+1, got)
					}
				}
				codes := slices.DeleteFunc(w.Letters(t, ""), func(l journeytest.Letter) bool { return l.Data.Code == "" })
				if n := len(codes); n != 3 {
					t.Errorf("%d were sent", n)
				}
				if n := w.Count(t, `SELECT COUNT(*) FROM event WHERE type = 'signin.limited'`); n != 1 {
					t.Errorf("%d events of the limit", n)
				}
				owner := w.Browser()
				owner.Device, owner.Address = known.Device, "2001:db8:1:2::9"
				owner.Begin(t, "sign-in").Send(t, "identifier", benPhone).Send(t, "choose", "code")
				if got := limited(owner); got != (name == "number") {
					t.Errorf("the owner in a known browser is limited: %v", got)
				}
				if name == "number" { // and there is another way
					at(t, owner.Send(t, "choose", "by_mail"), "code", "")
					at(t, owner.Send(t, "code", w.Code(t, v)), "authenticated")
				}
				w.Fake.Advance(time.Hour)
				b := w.Browser()
				if b.Begin(t, "sign-up").Send(t, "identifier", benPhone); limited(b) {
					t.Error("it is limited an hour later")
				}
			}, withPhones, test.set)
		})
	}
}

// What is refused for a text message is given back to what all messages share.
func TestARefusedTextMessageIsNotCountedAsSent(t *testing.T) {
	w := journeytest.New(t, sqldb.SQLite, withPhones, func(s *tenant.Settings) { s.Phone.NumberPerHour, s.Limits.SendPerHour = 1, 3 })
	w.NewCustomer(t, v, password, number(t, benPhone))
	b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", benPhone).Send(t, "choose", "code")
	for range 5 {
		b.Send(t, "choose", "resend")
	}
	if b.View.Limited == nil || len(w.Letters(t, benPhone)) != 1 {
		t.Fatalf("%+v", b.View)
	}
	at(t, b.Send(t, "choose", "by_mail"), "code", "")
	if b.View.Limited != nil || len(w.Letters(t, v)) != 1 {
		t.Errorf("mail is limited too: %+v", b.View.Limited)
	}
}

// However many ask at once, on two nodes, no more are sent than the limit says.
func TestTwoNodesTextNoMoreThanTheLimit(t *testing.T) {
	w := journeytest.New(t, sqldb.Postgres, withPhones, func(s *tenant.Settings) { s.Phone.TenantPerHour, s.Phone.NetworkPerHour = 5, 1000 })
	nodes := []*world{w, w.Second(t)}
	done := make(chan *journey.View)
	for n := range 24 {
		b := nodes[n%2].Browser().Begin(t, "sign-up")
		go func() {
			view, _, err := b.World.Engine.Answer(t.Context(), w.Tenant, b.View.State, journeytest.Values("identifier", fmt.Sprintf("+4474001234%02d", n+10)), b.Client(t))
			if err != nil {
				t.Error(err)
			}
			done <- view
		}()
	}
	sent := 0
	for range 24 {
		if view := <-done; view != nil && view.Limited == nil {
			sent++
		}
	}
	if got := len(w.Letters(t, "")); sent != 5 || got != 5 {
		t.Errorf("%d were told that it was sent, %d were sent", sent, got)
	}
}
