package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const (
	evilPassword = "the-attackers-own-words"
	victimMail   = "victim@shop.example"
)

// squatter makes an account that holds an address of somebody else, which it
// has not proved, beside one of its own.
func (h *house) squatter(address string) id.Customer {
	h.t.Helper()
	who := h.Customer(h.tenant, "evil@evil.example", evilPassword)
	ctx := h.t.Context()
	keys, err := h.Ring.Tenant(ctx, h.tenant.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	key, err := h.Directory.Key(ctx, h.tenant.ID, who)
	if err != nil {
		h.t.Fatal(err)
	}
	other, err := identifier.Normalise(identifier.Email, address, identifier.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	h.write(func(tx *sqldb.Tx) error {
		_, err := h.Directory.AddIdentifier(tx, keys, key, h.tenant.ID, who, customer.NewIdentifier{Normalised: other}, "test")
		return err
	})
	return who
}

// SECURITY F1, F6, item 28: who holds an address that he has not proved is not
// found by it, blocks nobody, and gets nothing of who then proves it.
func TestSquattersGetNothing(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		evil := h.squatter(victimMail)
		// The address finds nobody, whatever is tried.
		b := i.Browser()
		if p := b.Answer(h.passwordPage(b, victimMail), url.Values{"password": {evilPassword}}); signedIn(p) {
			t.Fatal("an unproved address was signed in with")
		}
		// The victim signs up with it, by either way.
		victim := i.Browser()
		p, mailed := h.codePage(victim, victimMail, true)
		if p = victim.Answer(p, url.Values{"code": {mailed}}); !p.Has("new_password") {
			t.Fatalf("the victim has no account: %s", servertest.Text(p.Body))
		}
		if p = victim.Answer(p, url.Values{"choose": {"skip"}}); p.Location == nil {
			t.Fatalf("the victim cannot sign up: %s", servertest.Text(p.Body))
		}
		r, code := h.code(victim, h.shop, nil)
		tokens := h.shop.Token(i, redemption(r, code))
		sub := claims(t, tokens.Access)["sub"]
		if sub == string(evil) {
			t.Fatal("the victim was let into the attacker's account")
		}
		// F6: the attacker's password is no password of the victim's.
		for range 2 {
			b = i.Browser()
			if p := b.Answer(h.passwordPage(b, victimMail), url.Values{"password": {evilPassword}}); signedIn(p) {
				t.Error("the attacker's password opens the victim's account")
			}
		}
		// And the attacker's own account tells no application of the address as
		// proved.
		attacker := i.Browser()
		theirs := h.shop.SignIn(i, attacker, "evil@evil.example", evilPassword, nil)
		if _, claims := h.shop.UserInfo(i, theirs.Access); claims["email"] == victimMail || claims["sub"] != string(evil) {
			t.Errorf("the attacker is told to be %v", claims)
		}
		if !h.shop.Active(i, tokens.Access) {
			t.Error("the victim's tokens are not good")
		}
	})
}

// SECURITY F9, item 44: what a form was not asked for it cannot set.
func TestNobodyVouchesForHimself(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", collectsNickname)
		b := i.Browser()
		r := h.shop.Authorize(nil)
		p := b.Answer(b.Get(h.shop.URL(i, r)), url.Values{"identifier": {anaMail}})
		more := url.Values{
			"email": {victimMail}, "email_verified": {"true"}, "phone_number": {"+441632960961"}, "phone_number_verified": {"true"}, "sub": {"cus_00000000000000000000000000"},
			"status": {"active"}, "name": {"Somebody Else"}, "birthdate": {"1970-01-01"}, "customer": {"x"}, "proofs": {"[]"}, "acr": {"urn:cardea:acr:2fa"}, "stay": {"yes"},
		}
		answer := func(values url.Values) {
			for name, all := range more {
				values[name] = all
			}
			p = b.Answer(p, values)
		}
		answer(url.Values{"password": {anaPassword}})
		answer(url.Values{"nickname": {"Annie"}})
		tokens := h.shop.Redeem(i, r, p)
		_, got := h.shop.UserInfo(i, tokens.Access)
		if got["nickname"] != "Annie" || got["email"] != anaMail || got["name"] == "Somebody Else" || got["phone_number"] != nil || got["birthdate"] != nil || got["sub"] != string(h.ana) {
			t.Errorf("a form set more than it was asked for: %v", got)
		}
		if acr := claims(t, tokens.ID)["acr"]; acr == "urn:cardea:acr:2fa" {
			t.Errorf("a form set the acr: %v", acr)
		}
	})
}

// SECURITY F12, G5: one address is one address; lookalikes are others, and a
// code for one is never sent to another.
func TestAddressesThatAreNotOne(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		for _, bad := range []string{
			"a@evil@corp.example", "a@evil.example,ana@shop.example", "a@evil.example;ana@shop.example", "a@evil.example ana@shop.example", "ana@shop.example\r\nBcc: a@evil.example",
			"ana@shop.example%0aBcc:a@evil.example", "<ana@shop.example>", "Ana <ana@shop.example>", "\"ana@shop.example\"@evil.example", "ana@", "@shop.example", "ana@shop..example",
			"ana@[127.0.0.1]", "ana@shop.example\x00@evil.example", "ana@shop.example\u202e", "ana\u200b@shop.example", strings.Repeat("a", 600) + "@shop.example",
		} {
			for _, open := range []url.Values{nil, {"choose": {"create"}}} {
				b := i.Browser()
				p := b.Get(h.shop.URL(i, h.shop.Authorize(nil)))
				if open != nil {
					p = b.Answer(p, open)
				}
				p = b.Answer(p, url.Values{"identifier": {bad}})
				if p.Status >= 500 || (open != nil && p.Has("code")) {
					t.Errorf("%q was taken to sign up: %d", bad, p.Status)
				}
				if p.Has("password") {
					if p = b.Answer(p, url.Values{"choose": {"code"}}); p.Status >= 500 {
						t.Errorf("%q: %d", bad, p.Status)
					}
				}
			}
		}
		time.Sleep(300 * time.Millisecond)
		if letters, err := i.Inbox.List(t.Context(), "", "", 100); err != nil || len(letters) != 0 {
			t.Errorf("%d letters were sent to what is no address (%v): %+v", len(letters), err, letters)
		}
		for _, lookalike := range []string{
			"ana@shop.examp\u217ce", "\u0430na@shop.example", "\u00e1na@shop.example", "an\u00e4@shop.example", "\uff41\uff4e\uff41@shop.example", "ana@\uff53hop.example",
			"ana@shop\u3002example", "\u1d00na@shop.example", "ana+x@shop.example", "ana.@shop.example", "a.na@shop.example", "ana@xn--shop-.example", "ANA@shop.example", "ana@SHOP.example", " ana@shop.example ",
			"ana@sh\u014dp.example", "ana@shop.example.", "\u212bna@shop.example",
		} {
			b := i.Browser()
			newest := id.Message("")
			if letters, err := i.Inbox.List(t.Context(), "", "", 1); err == nil && len(letters) > 0 {
				newest = letters[0].ID
			}
			p := b.Answer(b.Get(h.shop.URL(i, h.shop.Authorize(nil))), url.Values{"identifier": {lookalike}})
			if !p.Has("password") {
				continue // not taken for an address
			}
			p = b.Answer(p, url.Values{"choose": {"code"}})
			for range 100 {
				letters, err := i.Inbox.List(t.Context(), "", "", 1)
				if err != nil {
					t.Fatal(err)
				}
				if len(letters) == 0 || letters[0].ID <= newest {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				if to := letters[0].To; to != anaMail {
					before := h.count(`SELECT COUNT(*) FROM session WHERE tenant = $1 AND customer = $2`, h.tenant.ID, h.ana)
					b.Answer(p, url.Values{"code": {letters[0].Code}})
					if h.count(`SELECT COUNT(*) FROM session WHERE tenant = $1 AND customer = $2`, h.tenant.ID, h.ana) != before {
						t.Errorf("%q: the code was sent to %q and opened ana's account", lookalike, to)
					}
				}
				break
			}
		}
	})
}

// A password that was set anew ends what the old one opened elsewhere.
func TestANewPasswordEndsOtherSessions(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		browser, tokens := h.signIn()
		ctx := t.Context()
		key, err := h.Directory.Key(ctx, h.tenant.ID, h.ana)
		if err != nil {
			t.Fatal(err)
		}
		p := h.tenant.Settings.Password
		hash, err := i.Hasher.Hash(ctx, credential.Asker{Tenant: h.tenant.ID}, credential.Params{MemoryKiB: p.MemoryKiB, Time: p.Time, Parallelism: p.Parallelism}, credential.NewPassword("another-one-altogether"))
		if err != nil {
			t.Fatal(err)
		}
		h.write(func(tx *sqldb.Tx) error {
			if _, err := i.Passwords.SetPassword(tx, key, credential.Change{Tenant: h.tenant.ID, Customer: h.ana, Actor: "test"}, hash); err != nil {
				return err
			}
			_, err := i.Directory.RaiseEpoch(tx, h.tenant.ID, h.ana)
			return err
		})
		if onAccount(browser.Get(i.Base+h.tenant.Path+"/account")) || h.shop.Active(i, tokens.Access) || h.shop.Token(i, refreshing(tokens.Refresh)).Status == http.StatusOK {
			t.Error("sessions and tokens outlive the password")
		}
		b := i.Browser()
		if p := b.Answer(h.passwordPage(b, anaMail), url.Values{"password": {anaPassword}}); signedIn(p) {
			t.Error("the old password is good")
		}
	})
}
