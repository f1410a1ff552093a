package journey_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

type (
	world   = journeytest.World
	browser = journeytest.Browser
)

const (
	password = "copper kettle on the veranda"
	wrong    = "a bicycle that nobody rides"
	v        = "v@example.com"
	none     = "000000" // a code that nobody was sent: Code below makes sure
)

// at fails the test unless the browser is where it should be.
func at(t *testing.T, b *browser, want string, fault ...string) {
	t.Helper()
	if got := b.At(); got != want {
		t.Fatalf("the browser is at %q with %v, not at %q", got, b.View, want)
	}
	if len(fault) > 0 && b.Fault() != fault[0] {
		t.Fatalf("at %s the mistake is %q, not %q", want, b.Fault(), fault[0])
	}
}

// notCode is a code that is not the given one.
func notCode(code string) string {
	if code == none {
		return "111111"
	}
	return none
}

// events are the types of a customer's events in order.
func events(t *testing.T, w *world, who id.Customer) []string {
	t.Helper()
	rows, err := w.DB.Query(t.Context(), `SELECT type FROM event WHERE tenant = $1 AND customer = $2 ORDER BY version, seq`, w.Tenant.ID, who)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		types = append(types, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return types
}

// live fails the test unless the browser has a session of who.
func live(t *testing.T, b *browser, who id.Customer, methods ...string) {
	t.Helper()
	got, err := b.World.Sessions.Read(t.Context(), b.World.Tenant, b.Session)
	if err != nil {
		t.Fatalf("the session cookie: %v", err)
	}
	if got.Customer != who || !slices.Equal(got.Methods, methods) || got.ACR != step.ACR {
		t.Errorf("the session is %+v", got)
	}
}

func TestSignUp(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		b := w.Browser().Begin(t, "sign-up")
		at(t, b, "create-account", "")
		at(t, b.Send(t, "identifier", "New@Example.com"), "code", "")
		if letters := w.Letters(t, ""); len(letters) != 1 || letters[0].To != "new@example.com" || letters[0].Data.Application != "Shop" || letters[0].Data.Browser != "Firefox" {
			t.Fatalf("letters %+v", letters)
		}
		code := w.Code(t, "new@example.com")
		at(t, b.Send(t, "code", notCode(code)), "code", "code_wrong")
		at(t, b.Send(t, "code", code), "new-password", "")
		at(t, b.Send(t, "new_password", "short"), "new-password", "password_too_short")
		at(t, b.Send(t, "new_password", "new@example.com"), "new-password", "password_contains_personal")
		if n := w.Count(t, `SELECT COUNT(*) FROM customer`); n != 0 {
			t.Errorf("%d accounts before the finish", n)
		}
		at(t, b.Send(t, "new_password", password), "authenticated")
		if !b.Finished.Created || b.Finished.Application != w.Shop.ID || b.Finished.Return != b.Return {
			t.Errorf("finished %+v", b.Finished)
		}
		who := w.Find(t, "new@example.com")
		if who == "" || who != b.Finished.Customer {
			t.Fatalf("the address finds %q", who)
		}
		live(t, b, who, "otp")
		if got := events(t, w, who); !slices.Equal(got, []string{"customer.created", "password.set", "session.started"}) {
			t.Errorf("events %v", got)
		}
		// The password is the one that was chosen, from a browser that knows nothing.
		b = w.Browser().Begin(t, "sign-in").Send(t, "identifier", "new@example.com").Send(t, "password", password)
		at(t, b, "authenticated")
		live(t, b, who, "pwd")
	})
}

func TestSignUpWithoutAPassword(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		b := w.Browser().Begin(t, "sign-up").Send(t, "identifier", v)
		at(t, b.Send(t, "code", w.Code(t, v)), "new-password", "")
		if prompt := b.View.Prompt.(step.NewPasswordPrompt); !prompt.MaySkip {
			t.Error("skipping is not offered")
		}
		at(t, b.Send(t, "choose", "skip"), "authenticated")
		if n := w.Count(t, `SELECT COUNT(*) FROM credential_password`); n != 0 {
			t.Error("there is a password")
		}
		w.Apply(t, func(s *tenant.Settings) { s.SignUp.PasswordRequired = true })
		b = w.Browser().Begin(t, "sign-up").Send(t, "identifier", "w@example.com")
		at(t, b.Send(t, "code", w.Code(t, "w@example.com")), "new-password", "")
		at(t, b.Send(t, "choose", "skip"), "new-password")
		at(t, b.Send(t, "choose", "skip", "new_password", ""), "new-password")
		if w.Find(t, "w@example.com") != "" {
			t.Error("there is an account without the password that it needs")
		}
	})
}

func TestSignInByPassword(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who := w.NewCustomer(t, v, password)
		b := w.Browser()
		b.Hint = "v@EXAMPLE.com"
		at(t, b.Begin(t, "sign-in"), "identify", "")
		if prompt := b.View.Prompt.(step.IdentifyPrompt); prompt.Value != "v@EXAMPLE.com" || !prompt.MayOpen {
			t.Errorf("prompt %+v", prompt)
		}
		at(t, b.Send(t, "identifier", ""), "identify", "identifier_empty")
		at(t, b.Send(t, "identifier", "a@evil@example.com"), "identify", "email_invalid")
		at(t, b.Send(t, "identifier", "a@evil.example,v@example.com"), "identify", "email_invalid")
		at(t, b.Send(t, "identifier", "V@example.com"), "password", "")
		at(t, b.Send(t, "password", ""), "password", "password_empty")
		at(t, b.Send(t, "password", wrong), "password", "password_wrong")
		at(t, b.Send(t, "password", password+" "), "password", "password_wrong")
		at(t, b.Send(t, "password", password, "stay", "true"), "authenticated")
		if b.Finished.Created || !b.Finished.Stay || !b.Finished.Session.Stay {
			t.Errorf("finished %+v", b.Finished)
		}
		live(t, b, who, "pwd")
		if letters := w.Letters(t, ""); len(letters) != 1 || letters[0].To != "v@example.com" || letters[0].Data.Code != "" || w.Count(t, `SELECT COUNT(*) FROM challenge`) != 0 {
			t.Errorf("sent was %v, not that there is a new device", letters)
		}
	})
}

func TestSignInByCode(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		username, err := identifier.Normalise(identifier.Username, "vera", identifier.Options{})
		if err != nil {
			t.Fatal(err)
		}
		who := w.NewCustomer(t, v, "", username)
		for _, named := range []string{v, "vera"} {
			b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", named)
			at(t, b.Send(t, "choose", "code"), "code", "")
			first := w.Code(t, v)
			at(t, b.Send(t, "choose", "resend"), "code", "")
			second := w.Code(t, v)
			if first != second {
				at(t, b.Send(t, "code", first), "code", "code_wrong") // a code is for its challenge
			}
			at(t, b.Send(t, "code", second[:3]+" "+second[3:]), "authenticated")
			live(t, b, who, "otp")
		}
		// A user name that nobody has is answered alike, and has no right code.
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", "nobody").Send(t, "choose", "code")
		at(t, b, "code", "")
		at(t, b.Send(t, "code", none), "code", "code_wrong")
	})
}

// TestCodesOfKnownAndUnknownNamesCostTheSameRows (DESIGN.md, rule 2), whether
// or not a name leads to an address.
func TestCodesOfKnownAndUnknownNamesCostTheSameRows(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		name := func(text string) identifier.Normalised {
			n, err := identifier.Normalise(identifier.Username, text, identifier.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		w.NewCustomer(t, "kim@example.com", password, name("kim"))
		w.NewCustomer(t, "lea@example.com", password)
		tables, err := w.DB.Tables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rows := func() map[string]int {
			counts := map[string]int{}
			for _, table := range tables {
				counts[table.Name] = w.Count(t, `SELECT COUNT(*) FROM `+table.Name)
			}
			return counts
		}
		costs := map[string]string{}
		for _, named := range []string{"kim", "who", "lea@example.com", "new@example.com"} {
			b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", named)
			for _, act := range []string{"code", "resend"} {
				before := rows()
				at(t, b.Send(t, "choose", act), "code", "")
				added := map[string]int{}
				for table, n := range rows() {
					if n != before[table] {
						added[table] = n - before[table]
					}
				}
				if added["notify_outbox"] != 1 || added["challenge"] != 1 {
					t.Errorf("%s, %s: the rows are %v", named, act, added)
				}
				if cost := fmt.Sprint(added); costs[act] == "" {
					costs[act] = cost
				} else if costs[act] != cost {
					t.Errorf("%s, %s costs %s, another one %s", named, act, cost, costs[act])
				}
			}
		}
	})
}

func TestCodeForAnUnknownAddressGoesOnAsSignUp(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "choose", "code")
		at(t, b, "code", "")
		at(t, b.Send(t, "code", w.Code(t, v)), "new-password", "")
		at(t, b.Send(t, "choose", "skip"), "authenticated")
		if !b.Finished.Created || w.Find(t, v) != b.Finished.Customer {
			t.Errorf("finished %+v", b.Finished)
		}
		w.Apply(t, func(s *tenant.Settings) { s.SignUp.Enabled = false })
		b = w.Browser().Begin(t, "sign-in").Send(t, "identifier", "w@example.com").Send(t, "choose", "code")
		at(t, b, "code", "")
		at(t, b.Send(t, "code", w.Code(t, "w@example.com")), "deny")
		if got := b.View.Prompt.(step.DenyPrompt).Reason; got != "sign_up_closed" {
			t.Errorf("denied for %q", got)
		}
		at(t, w.Browser().Begin(t, "sign-up"), "deny")
		if n := w.Count(t, `SELECT COUNT(*) FROM customer`); n != 1 {
			t.Errorf("%d accounts", n)
		}
	})
}

func TestSignUpForAnExistingAddressSignsIn(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who := w.NewCustomer(t, v, password)
		b := w.Browser().Begin(t, "sign-up").Send(t, "identifier", v)
		at(t, b, "code", "")
		at(t, b.Send(t, "code", w.Code(t, v)), "authenticated")
		if b.Finished.Created || b.Finished.Customer != who {
			t.Errorf("finished %+v", b.Finished)
		}
		live(t, b, who, "otp")
	})
}

// doors are accounts that a stranger must not tell apart (SECURITY.md, row J1).
func doors(t *testing.T, w *world) map[string]string {
	t.Helper()
	w.NewCustomer(t, "known@example.com", password)
	w.NewCustomer(t, "noone@example.com", "")
	for name, status := range map[string]customer.Status{"lockd@example.com": customer.Locked, "closd@example.com": customer.Suspended} {
		if err := w.Directory.SetStatus(t.Context(), w.Tenant.ID, w.NewCustomer(t, name, password), status, "", "system"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Directory.Erase(t.Context(), w.Tenant.ID, w.NewCustomer(t, "erasd@example.com", password), "system"); err != nil {
		t.Fatal(err)
	}
	halfErased := w.NewCustomer(t, "halfs@example.com", password)
	if err := w.Ring.Erase(t.Context(), w.Tenant.ID, halfErased); err != nil { // and then the node crashed
		t.Fatal(err)
	}
	return map[string]string{
		"known": "known@example.com", "without a password": "noone@example.com", "locked": "lockd@example.com", "suspended": "closd@example.com",
		"erased": "erasd@example.com", "half erased": "halfs@example.com", "unknown": "nobdy@example.com",
	}
}

// seen is all that a stranger sees of a page, and what it has cost.
func seen(w *world, t *testing.T, b *browser, address string, before map[string]int) string {
	t.Helper()
	prompt := fmt.Sprintf("%#v", b.View.Prompt)
	prompt = fmt.Sprint(len(prompt), prompt[:20])
	limited := "free"
	if b.View.Limited != nil {
		limited = b.View.Limited.What
	}
	cost := ""
	for _, table := range []string{"budget", "challenge", "notify_outbox", "event", "session"} {
		cost += fmt.Sprintf(" %s+%d", table, w.Rows(t)[table]-before[table])
	}
	return fmt.Sprintf("%s/%s %s %s %v %t %d%s", b.View.Journey, b.View.Step, prompt, limited, b.View.Errors, b.View.Busy, len(b.View.State), cost)
}

func TestUnknownAddressesAreAnsweredAlike(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		for _, journey := range []string{"sign-in", "sign-up"} {
			walks := map[string][]string{}
			for name, address := range doors(t, w) {
				before := w.Rows(t)
				b := w.Browser().Begin(t, journey)
				look := func() { walks[name] = append(walks[name], seen(w, t, b, address, before)) }
				look()
				b.Send(t, "identifier", address)
				look()
				if journey == "sign-in" {
					b.Send(t, "password", wrong)
					look()
					b.Send(t, "choose", "code")
					look()
				}
				b.Send(t, "code", notCode(w.Code(t, address)))
				look()
				b.Send(t, "choose", "resend")
				look()
				for range 4 {
					b.Send(t, "choose", "password")
					look()
					b.Send(t, "password", wrong)
					look()
				}
			}
			for name, walk := range walks {
				if !slices.Equal(walk, walks["known"]) {
					for i := range walk {
						if walk[i] != walks["known"][i] {
							t.Errorf("%s, page %d of an account that is %s:\n%s\nelse\n%s", journey, i, name, walk[i], walks["known"][i])
							break
						}
					}
				}
			}
			// Erase what the walk left, so that the next one begins anew.
			for _, table := range []string{"budget", "customer", "customer_identifier", "identifier_holder", "credential_password", "notify_outbox"} {
				if err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := tx.Exec(`DELETE FROM ` + table); return err }); err != nil {
					t.Fatal(err)
				}
			}
		}
	}, func(s *tenant.Settings) { s.Limits.PasswordPerHour, s.Limits.SendPerHour = 3, 2 })
}

// TestClosedAccounts: the right password of a closed account is a wrong one; who
// proves the address is told that it is closed.
func TestClosedAccounts(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password)
		for _, status := range []customer.Status{customer.Locked, customer.Suspended} {
			if err := w.Directory.SetStatus(t.Context(), w.Tenant.ID, w.Find(t, v), status, "", "system"); err != nil {
				t.Fatal(err)
			}
			b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v)
			right, mistaken := *b, *b
			right.Send(t, "password", password)
			mistaken.Send(t, "password", wrong)
			at(t, &right, "password", "password_wrong")
			if len(right.View.State) != len(mistaken.View.State) || fmt.Sprint(right.View.Prompt, right.View.Errors) != fmt.Sprint(mistaken.View.Prompt, mistaken.View.Errors) {
				t.Errorf("%s: the right password is answered by %+v, a wrong one by %+v", status, right.View, mistaken.View)
			}
			b.Send(t, "choose", "code")
			at(t, b.Send(t, "code", w.Code(t, v)), "deny")
			if got := b.View.Prompt.(step.DenyPrompt).Reason; got != "account_closed" {
				t.Errorf("denied for %q", got)
			}
			at(t, b.Send(t, "code", none, "decision", "allow", "choose", ""), "deny")
			if n := w.Count(t, `SELECT COUNT(*) FROM session`); n != 0 {
				t.Errorf("%d sessions", n)
			}
		}
		half := w.NewCustomer(t, "half@example.com", password)
		w.Apply(t, func(s *tenant.Settings) { s.SignUp.Collect = []string{"given_name"} })
		if err := w.Ring.Erase(t.Context(), w.Tenant.ID, half); err != nil {
			t.Fatal(err)
		}
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", "half@example.com").Send(t, "choose", "code")
		at(t, b.Send(t, "code", w.Code(t, "half@example.com")), "deny")
	})
}

func TestTerms(t *testing.T) {
	document := func(version string) tenant.Terms {
		return tenant.Terms{Version: version, Documents: []tenant.Document{{Title: map[string]string{"en": "Terms " + version}, URL: "https://shop.example/terms/" + version}}}
	}
	journeytest.Each(t, func(t *testing.T, w *world) {
		stored := func(who id.Customer) []string {
			t.Helper()
			accepted, err := w.Consents.List(t.Context(), w.Tenant.ID, who, time.Time{}, 10)
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, a := range accepted {
				all = append(all, fmt.Sprint(a.Version, a.Documents, a.Language))
			}
			slices.Sort(all)
			return all
		}
		b := w.Browser().Begin(t, "sign-up").Send(t, "identifier", v)
		b.Send(t, "code", w.Code(t, v))
		at(t, b.Send(t, "choose", "skip"), "terms", "")
		if prompt := b.View.Prompt.(step.TermsPrompt); prompt.Version != "1" || len(prompt.Documents) != 1 {
			t.Errorf("prompt %+v", prompt)
		}
		at(t, b.Send(t, "decision", "maybe"), "terms")
		declined := *b
		at(t, declined.Send(t, "choose", "decline"), "denied") // the application is told
		own := w.Browser()
		own.Application = nil
		own.Begin(t, "sign-up").Send(t, "identifier", v)
		own.Send(t, "code", w.Code(t, v)).Send(t, "choose", "skip")
		at(t, own.Send(t, "choose", "decline"), "deny")
		if w.Find(t, v) != "" {
			t.Error("who declined has an account")
		}
		// What is agreed to is what was shown.
		w.Apply(t, func(s *tenant.Settings) { s.Terms = document("2") })
		at(t, b.Send(t, "decision", "allow"), "terms")
		if prompt := b.View.Prompt.(step.TermsPrompt); prompt.Version != "2" {
			t.Errorf("prompt %+v", prompt)
		}
		at(t, b.Send(t, "decision", "allow"), "authenticated")
		who := b.Finished.Customer
		if got := stored(who); !slices.Equal(got, []string{"2[{Terms 2 https://shop.example/terms/2}]en"}) {
			t.Errorf("stored %v", got)
		}
		// He is asked once a version.
		signIn := func() *browser {
			b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "choose", "code")
			return b.Send(t, "code", w.Code(t, v))
		}
		at(t, signIn(), "authenticated")
		w.Apply(t, func(s *tenant.Settings) { s.Terms = document("3") })
		at(t, signIn().Send(t, "choose", "decline"), "denied")
		at(t, signIn().Send(t, "decision", "allow"), "authenticated")
		if got := stored(who); len(got) != 2 {
			t.Errorf("stored %v", got)
		}
		at(t, signIn(), "authenticated")
	}, func(s *tenant.Settings) { s.Terms = document("1") })
}

// TestTermsThatChangeBeforeTheFinish: nothing is recorded as agreed to that was
// not shown.
func TestTermsThatChangeBeforeTheFinish(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password)
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "password", password)
		at(t, b, "terms")
		at(t, b.Send(t, "decision", "allow"), "collect")
		w.Apply(t, func(s *tenant.Settings) {
			s.Terms.Version, s.Terms.Documents = "2", []tenant.Document{{URL: "https://shop.example/2"}}
		})
		b.Submit(t, b.View.State, journeytest.Values("given_name", "Ana"))
		if !errors.Is(b.Err, journey.ErrExpired) {
			t.Errorf("the journey ends at %s: %v", b.At(), b.Err)
		}
		if n := w.Count(t, `SELECT COUNT(*) FROM terms_acceptance`); n != 0 {
			t.Error("something was recorded")
		}
	}, func(s *tenant.Settings) {
		s.SignUp.Collect = []string{"given_name"}
		s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{URL: "https://shop.example/1"}}}
	})
}

func TestCollect(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		b := w.Browser().Begin(t, "sign-up").Send(t, "identifier", v)
		b.Send(t, "code", w.Code(t, v))
		at(t, b.Send(t, "choose", "skip"), "collect", "")
		if prompt := b.View.Prompt.(step.CollectPrompt); !slices.Equal(names(prompt.Fields), []string{"given_name", "birthdate"}) {
			t.Errorf("prompt %+v", prompt)
		}
		at(t, b.Send(t), "collect", "field_empty")
		at(t, b.Send(t, "given_name", "Ana", "birthdate", "yesterday"), "collect", "field_invalid")
		at(t, b.Send(t, "given_name", "   ", "birthdate", "1990-02-28"), "collect", "field_empty")
		// What is not asked for is not taken.
		at(t, b.Send(t, "given_name", " Ana ", "birthdate", "1990-02-28", "nickname", "Queen", "email_verified", "true"), "authenticated")
		got, err := w.Directory.Get(t.Context(), w.Tenant.ID, b.Finished.Customer)
		if err != nil || fmt.Sprint(got.Profile) != "map[birthdate:1990-02-28 given_name:Ana]" {
			t.Errorf("profile %v, %v", got.Profile, err)
		}
		// Who has an account is asked for what is missing of it.
		w.NewCustomer(t, "w@example.com", password)
		w.Apply(t, func(s *tenant.Settings) { s.SignUp.Collect = []string{"given_name", "birthdate", "nickname"} })
		b = w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "choose", "code")
		at(t, b.Send(t, "code", w.Code(t, v)), "collect", "")
		if prompt := b.View.Prompt.(step.CollectPrompt); !slices.Equal(names(prompt.Fields), []string{"nickname"}) {
			t.Errorf("prompt %+v", prompt)
		}
		at(t, b.Send(t, "nickname", "Queen", "given_name", "Bea"), "authenticated")
		got, err = w.Directory.Get(t.Context(), w.Tenant.ID, b.Finished.Customer)
		if err != nil || fmt.Sprint(got.Profile) != "map[birthdate:1990-02-28 given_name:Ana nickname:Queen]" {
			t.Errorf("profile %v, %v", got.Profile, err)
		}
		b = w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "choose", "code")
		at(t, b.Send(t, "code", w.Code(t, v)), "authenticated")
	}, func(s *tenant.Settings) { s.SignUp.Collect = []string{"given_name", "birthdate"} })
}

// TestSignInAgain: a customer who is to prove himself again is not asked who he
// is, keeps his session and gets a new cookie.
func TestSignInAgain(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who := w.NewCustomer(t, v, password)
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "password", password)
		at(t, b, "authenticated")
		first, old := b.Finished.Session.ID, b.Session
		w.Fake.Advance(time.Minute)
		b.Again = true
		at(t, b.Begin(t, "sign-in"), "password", "")
		if prompt := b.View.Prompt.(step.PasswordPrompt); prompt.Identifier != v {
			t.Errorf("prompt %+v", prompt)
		}
		at(t, b.Send(t, "password", wrong), "password", "password_wrong")
		at(t, b.Send(t, "password", password), "authenticated")
		if b.Finished.Session.ID != first || b.Session == old || !b.Finished.Session.AuthenticatedAt.Equal(w.Fake.Now()) {
			t.Errorf("session %+v", b.Finished.Session)
		}
		if _, err := w.Sessions.Read(t.Context(), w.Tenant, old); err == nil {
			t.Error("the cookie from before is still good")
		}
		live(t, b, who, "pwd")
		if n := w.Count(t, `SELECT COUNT(*) FROM session`); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

// TestAnotherCustomerInTheSameBrowser ends the session of the one before.
func TestAnotherCustomerInTheSameBrowser(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password)
		second := w.NewCustomer(t, "w@example.com", password)
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "password", password)
		before := b.Session
		b.Begin(t, "sign-in").Send(t, "identifier", "w@example.com").Send(t, "password", password)
		at(t, b, "authenticated")
		live(t, b, second, "pwd")
		if _, err := w.Sessions.Read(t.Context(), w.Tenant, before); err == nil {
			t.Error("the first customer's session lives on")
		}
		// Both are known by this browser now.
		for _, address := range []string{v, "w@example.com"} {
			device, err := w.Capabilities.Device(t.Context(), w.Tenant.ID, w.Find(t, address), b.Device)
			if err != nil || device == "" {
				t.Errorf("%s is not known: %v", address, err)
			}
		}
	})
}

func TestConsent(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who := w.NewCustomer(t, v, password)
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v).Send(t, "password", password)
		at(t, b, "authenticated")
		b.Application, b.Scopes = w.Ana, []string{"openid", "email", "offline_access", "recipes:write"}
		at(t, b.Begin(t, "consent"), "consent")
		prompt := b.View.Prompt.(step.ConsentPrompt)
		if prompt.As != v || len(prompt.Claims) != 1 || prompt.Claims[0].Value != v || !prompt.Offline || !slices.Equal(prompt.Other, []string{"recipes:write"}) {
			t.Errorf("prompt %+v", prompt)
		}
		page := *b
		at(t, b.Send(t), "consent")
		at(t, b.Send(t, "decision", "allow", "choose", "x"), "consent")
		at(t, b.Send(t, "decision", "deny"), "denied")
		if n := w.Count(t, `SELECT COUNT(*) FROM customer_grant`); n != 0 {
			t.Error("what was denied is granted")
		}
		at(t, page.Send(t, "decision", "allow"), "consented")
		granted, found, err := w.Grants.Find(t.Context(), w.Tenant.ID, who, w.Ana.ID)
		if err != nil || !found || !granted.Covers([]string{"email", "recipes:write"}, []string{"email"}) || granted.Covers([]string{"phone"}, nil) {
			t.Errorf("granted %+v, %v", granted, err)
		}
		if got := events(t, w, who); got[len(got)-1] != "grant.allowed" {
			t.Errorf("events %v", got)
		}
		// In a browser whose session has ended, or is another's, it is worth nothing.
		for name, session := range map[string]func() string{
			"ended": func() string { return "" },
			"another's": func() string {
				w.NewCustomer(t, "w@example.com", password)
				return w.Browser().Begin(t, "sign-in").Send(t, "identifier", "w@example.com").Send(t, "password", password).Session
			},
		} {
			late := *b
			late.Begin(t, "consent")
			late.Session = session()
			if late.Submit(t, late.View.State, journeytest.Values("decision", "allow")); !errors.Is(late.Err, journey.ErrCrossed) {
				t.Errorf("%s: at %s, %v", name, late.At(), late.Err)
			}
		}
		// Nor is it once the account is closed.
		b.Begin(t, "consent")
		if err := w.Directory.SetStatus(t.Context(), w.Tenant.ID, who, customer.Locked, "", "system"); err != nil {
			t.Fatal(err)
		}
		if b.Submit(t, b.View.State, journeytest.Values("decision", "allow")); !errors.Is(b.Err, journey.ErrCrossed) {
			t.Errorf("closed: at %s, %v", b.At(), b.Err)
		}
	})
}

// TestLookingWritesNothing is DESIGN.md, rule 2: opening pages, naming
// addresses and going to and fro leaves no row in either store.
func TestLookingWritesNothing(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password)
		before := fmt.Sprint(w.Rows(t))
		for range 20 {
			for _, name := range []string{"sign-in", "sign-up"} {
				b := w.Browser().Begin(t, name)
				b.Send(t, "identifier", "no address").Send(t)
				b.Submit(t, "x"+b.View.State, nil)
			}
			for _, address := range []string{v, "nobody@example.com"} {
				b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", address)
				b.Send(t, "password", "").Send(t, "choose", "again").Send(t, "choose", "back").Send(t, "choose", "create").Send(t, "choose", "sign-in")
				at(t, b, "identify")
			}
		}
		if after := fmt.Sprint(w.Rows(t)); after != before {
			t.Errorf("rows before: %s\nand after: %s", before, after)
		}
	})
}

func TestSuspendedTenant(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, v, password)
		b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", v)
		suspended, err := w.Tenants.SetSuspended(t.Context(), w.Tenant.ID, true, "")
		if err != nil {
			t.Fatal(err)
		}
		w.Tenant = suspended
		if b.Submit(t, b.View.State, journeytest.Values("password", password)); !errors.Is(b.Err, journey.ErrClosed) {
			t.Errorf("under way: at %s, %v", b.At(), b.Err)
		}
		if _, err := w.Engine.Begin(t.Context(), w.Tenant, journey.Start{Journey: "sign-in", Client: b.Client(t)}); !errors.Is(err, journey.ErrClosed) {
			t.Errorf("begun: %v", err)
		}
	})
}

func TestEventsOfAFailedSignIn(t *testing.T) {
	journeytest.Each(t, func(t *testing.T, w *world) {
		who := w.NewCustomer(t, v, password)
		for _, address := range []string{v, "nobody@example.com"} {
			b := w.Browser().Begin(t, "sign-in").Send(t, "identifier", address)
			for range 5 {
				b.Send(t, "password", wrong)
			}
		}
		records, err := w.Log.Read(t.Context(), w.Tenant.ID, event.Filter{}, event.Page{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		limited := map[id.Customer]int{}
		for _, r := range records {
			if r.Type == "signin.limited" {
				limited[r.Customer]++
			}
		}
		if limited[who] != 1 || limited[""] != 1 || len(limited) != 2 {
			t.Errorf("told of: %v", limited)
		}
	}, func(s *tenant.Settings) { s.Limits.PasswordPerHour = 3 })
}

func names(attributes []tenant.Attribute) []string {
	var names []string
	for _, a := range attributes {
		names = append(names, a.Name)
	}
	return names
}
