package step_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/sqldb"
)

type (
	world   = journeytest.World
	browser = journeytest.Browser
)

const (
	password = "copper kettle on the veranda"
	another  = "velvet ladder beside the lighthouse"
	wrong    = "a bicycle that nobody rides"
	v        = "v@example.com"
	fresh    = "fresh@example.com"
	guest    = "guest@example.com"
)

// values are the fields of a form, where "code of x" is the code that was last
// sent to x, and "organization of x" the id of the organization with that slug.
func values(t *testing.T, w *world, pairs ...string) url.Values {
	t.Helper()
	filled := slices.Clone(pairs)
	for i := range filled {
		if of, asked := strings.CutPrefix(filled[i], "code of "); asked {
			filled[i] = w.Code(t, of)
		}
		if of, asked := strings.CutPrefix(filled[i], "organization of "); asked {
			filled[i] = string(company(t, w, of))
		}
	}
	return journeytest.Values(filled...)
}

// held is how one kind of step is held to what every kind must do. A kind that
// is not here fails TestEveryKindIsHeld.
type held struct {
	// reach brings a browser to the step. nil: no browser stays at it.
	reach func(t *testing.T, w *world) *browser
	// right is an answer that the step takes, and what it leads to.
	right   []string
	outcome string
	// rest are the answers from there to the end of the journey, nil where it
	// ends by itself; none where it cannot be finished from here.
	rest  [][]string
	ends  bool
	wrong [][]string // answers that show the step again
	// proofs says that the step must not be answered without a proof.
	proofs bool
	// shows says that an empty form is all that the step asks for.
	shows bool
}

func signIn(t *testing.T, w *world, address string) *browser {
	t.Helper()
	return w.Browser().Begin(t, "sign-in").Send(t, "identifier", address)
}

// inAccount is a browser in which v has just signed in.
func inAccount(t *testing.T, w *world) *browser {
	t.Helper()
	b := signIn(t, w, v).Send(t, "password", password)
	for _, typed := range [][]string{{"decision", "allow"}, {"given_name", "Ana"}} {
		if b.Finished == nil {
			b.Send(t, typed...)
		}
	}
	if b.Finished == nil {
		t.Fatalf("not signed in but at %s", b.At())
	}
	b.Application = nil
	return b
}

func proved(t *testing.T, w *world, address string) *browser {
	t.Helper()
	b := signIn(t, w, address).Send(t, "choose", "code")
	return b.Submit(t, b.View.State, values(t, w, "code", "code of "+address))
}

var kinds = map[string]held{
	"identify": {
		reach: func(t *testing.T, w *world) *browser { return w.Browser().Begin(t, "sign-in") },
		right: []string{"identifier", v}, outcome: "identified", ends: true,
		rest:  [][]string{{"password", password}, {"decision", "allow"}, {"given_name", "Ana"}},
		wrong: [][]string{{"identifier", "@"}, {"identifier", strings.Repeat("a", 600) + "@example.com"}, {"identifier", "\x00"}, {"password", password}},
	},
	"create-account": {
		reach: func(t *testing.T, w *world) *browser { return w.Browser().Begin(t, "sign-up") },
		right: []string{"identifier", fresh}, outcome: "identified", ends: true,
		rest:  [][]string{{"code", "code of " + fresh}, {"choose", "skip"}, {"given_name", "Ana"}, {"decision", "allow"}},
		wrong: [][]string{{"identifier", "a name"}, {"identifier", "+351912345678"}, {"new_password", password}},
	},
	"recover": {
		reach: func(t *testing.T, w *world) *browser { return w.Browser().Begin(t, "recovery") },
		right: []string{"identifier", v}, outcome: "identified", ends: true,
		rest:  [][]string{{"code", "code of " + v}, {"new_password", another}, {"decision", "allow"}, {"given_name", "Ana"}},
		wrong: [][]string{{"identifier", "@"}, {"identifier", strings.Repeat("a", 600) + "@example.com"}, {"identifier", "\x00"}, {"new_password", password}},
	},
	"password": {
		reach: func(t *testing.T, w *world) *browser { return signIn(t, w, v) },
		right: []string{"password", password}, outcome: "correct", ends: true, rest: [][]string{{"decision", "allow"}, {"given_name", "Ana"}},
		wrong: [][]string{{"password", wrong}, {"password", strings.Repeat("a", 5000)}, {"password", "\xff"}, {"new_password", password}, {"code", "123456"}},
	},
	"code": {
		reach: func(t *testing.T, w *world) *browser { return signIn(t, w, v).Send(t, "choose", "code") },
		right: []string{"code", "code of " + v}, outcome: "known", ends: true, rest: [][]string{{"decision", "allow"}, {"given_name", "Ana"}},
		wrong: [][]string{{"code", "12345"}, {"code", strings.Repeat("1", 5000)}, {"code", "\x00"}, {"password", password}},
	},
	"new-password": {
		reach: func(t *testing.T, w *world) *browser { return proved(t, w, fresh) },
		right: []string{"new_password", password}, outcome: "chosen", ends: true, rest: [][]string{{"given_name", "Ana"}, {"decision", "allow"}},
		wrong: [][]string{{"new_password", "short"}, {"new_password", "passwordpassword"}, {"new_password", "\xff"}, {"password", password}}, proofs: true,
	},
	"collect": {
		reach: func(t *testing.T, w *world) *browser { return proved(t, w, fresh).Send(t, "choose", "skip") },
		right: []string{"given_name", "Ana"}, outcome: "collected", ends: true, rest: [][]string{{"decision", "allow"}},
		wrong: [][]string{{"given_name", " "}, {"given_name", strings.Repeat("a", 5000)}, {"family_name", "Lima"}}, proofs: true,
	},
	"terms": {
		reach: func(t *testing.T, w *world) *browser { return proved(t, w, v) },
		right: []string{"decision", "allow"}, outcome: "accepted", ends: true, rest: [][]string{{"given_name", "Ana"}},
		wrong: [][]string{{"decision", "perhaps"}, {"decision", ""}}, proofs: true,
	},
	"review-addresses": {
		reach: func(t *testing.T, w *world) *browser {
			w.Fake.Advance(time.Hour)
			b := inAccount(t, w).Begin(t, "change-address").Send(t, "identifier", fresh)
			b.Submit(t, b.View.State, values(t, w, "code", "code of "+fresh))
			b = w.Browser().Begin(t, "recovery").Send(t, "identifier", v)
			return b.Submit(t, b.View.State, values(t, w, "code", "code of "+v)).Send(t, "new_password", another)
		},
		right: []string{"decision", "continue"}, outcome: "reviewed", ends: true, rest: [][]string{{"decision", "allow"}, {"given_name", "Ana"}},
		wrong: [][]string{{"decision", "perhaps"}, {"decision", ""}, {"new_password", another}}, proofs: true,
	},
	"consent": {
		reach: func(t *testing.T, w *world) *browser {
			b := proved(t, w, v).Send(t, "decision", "allow").Send(t, "given_name", "Ana")
			b.Application, b.Scopes = w.Ana, []string{"openid", "email"}
			return b.Begin(t, "consent")
		},
		right: []string{"decision", "allow"}, outcome: "allowed", ends: true,
		wrong: [][]string{{"decision", "perhaps"}, {"decision", ""}}, proofs: true,
	},
	"new-address": {
		reach: func(t *testing.T, w *world) *browser { return inAccount(t, w).Begin(t, "change-address") },
		right: []string{"identifier", fresh}, outcome: "named",
		wrong: [][]string{{"identifier", "@"}, {"identifier", strings.Repeat("a", 600) + "@example.com"}, {"identifier", "a@evil.example,v@example.com"}, {"identifier", "+351912345678"}, {"identifier", v}},
	},
	"prove-address": {
		reach: func(t *testing.T, w *world) *browser {
			return inAccount(t, w).Begin(t, "change-address").Send(t, "identifier", fresh)
		},
		right: []string{"code", "code of " + fresh}, outcome: "proved", ends: true,
		wrong: [][]string{{"code", "12345"}, {"code", strings.Repeat("1", 5000)}, {"code", "\x00"}, {"password", password}},
	},
	"confirm-address": {
		reach: func(t *testing.T, w *world) *browser {
			b := inAccount(t, w)
			keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
			if err != nil {
				t.Fatal(err)
			}
			w.Fake.Advance(time.Second)
			if err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
				_, err := w.Directory.MarkUndeliverable(tx, keys, w.Tenant.ID, b.Finished.Customer, journeytest.Address(t, v), customer.Bounced, tx.Now(), "test")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			who, err := w.Directory.Get(t.Context(), w.Tenant.ID, b.Finished.Customer)
			if err != nil {
				t.Fatal(err)
			}
			b.Target = who.Identifiers[0].ID
			return b.Begin(t, "confirm-address")
		},
		right: []string{"decision", "send"}, outcome: "confirmed",
		wrong: [][]string{{"decision", "perhaps"}, {"decision", ""}, {"password", password}},
	},
	"close-account": {
		reach: func(t *testing.T, w *world) *browser { return inAccount(t, w).Begin(t, "close-account") },
		right: []string{"decision", "close"}, outcome: "confirmed", ends: true,
		wrong: [][]string{{"decision", "perhaps"}, {"decision", ""}, {"password", password}},
	},
	"remove-address": {
		reach: func(t *testing.T, w *world) *browser {
			b := inAccount(t, w).Begin(t, "change-address").Send(t, "identifier", fresh)
			b.Submit(t, b.View.State, values(t, w, "code", "code of "+fresh))
			who, err := w.Directory.Get(t.Context(), w.Tenant.ID, b.Finished.Customer)
			if err != nil {
				t.Fatal(err)
			}
			b.Target = who.Identifiers[1].ID
			return b.Begin(t, "remove-address")
		},
		right: []string{"decision", "remove"}, outcome: "confirmed", ends: true,
		wrong: [][]string{{"decision", "perhaps"}, {"decision", ""}, {"password", password}},
	},
	"membership": {
		reach: func(t *testing.T, w *world) *browser { return invited(t, w, w.Browser(), v).Begin(t, "join") },
		right: []string{"decision", "continue"}, outcome: "identified", ends: true,
		rest:  [][]string{{"code", "code of " + v}, {"decision", "allow"}, {"given_name", "Ana"}},
		wrong: [][]string{{"decision", "accept"}, {"decision", ""}, {"identifier", fresh}},
	},
	"join": {
		reach: func(t *testing.T, w *world) *browser {
			return invited(t, w, proved(t, w, v).Send(t, "decision", "allow").Send(t, "given_name", "Ana"), v).Begin(t, "join")
		},
		right: []string{"decision", "accept"}, outcome: "accepted",
		wrong: [][]string{{"decision", "perhaps"}, {"decision", ""}, {"organization", "organization of acme"}}, proofs: true,
	},
	"organization": {
		reach: func(t *testing.T, w *world) *browser {
			b := proved(t, w, v).Send(t, "decision", "allow").Send(t, "given_name", "Ana")
			for _, slug := range []string{"acme", "sage"} {
				at := company(t, w, slug)
				err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
					return w.Organizations.SetMember(tx, w.Tenant.ID, at, w.Find(t, v), []string{"member"}, "operator")
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			return b.Begin(t, "organization")
		},
		right: []string{"organization", "organization of acme"}, outcome: "chosen", ends: true,
		wrong: [][]string{{"organization", "acme"}, {"organization", "org_00000000000000000000000000"}, {"decision", "allow"}}, proofs: true,
	},
	"disown": {
		reach: func(t *testing.T, w *world) *browser {
			b := w.Browser().Begin(t, "recovery").Send(t, "identifier", v)
			b.Submit(t, b.View.State, values(t, w, "code", "code of "+v)).Send(t, "new_password", another)
			for _, typed := range [][]string{{"decision", "allow"}, {"given_name", "Ana"}} {
				if b.Finished == nil {
					b.Send(t, typed...)
				}
			}
			b = w.Browser()
			b.Link = w.Link(t, v)
			return b.Begin(t, "not-me")
		},
		right: []string{"decision", "secure"}, outcome: "disowned",
		wrong: [][]string{{"decision", "perhaps"}, {"decision", ""}, {"password", password}},
	},
	"keep": {
		reach: func(t *testing.T, w *world) *browser {
			if err := w.Directory.SetStatus(t.Context(), w.Tenant.ID, w.Find(t, v), customer.Closed, "", "v"); err != nil {
				t.Fatal(err)
			}
			return signIn(t, w, v).Send(t, "password", password)
		},
		right: []string{"decision", "keep"}, outcome: "kept", ends: true, rest: [][]string{{"decision", "allow"}, {"given_name", "Ana"}},
		wrong: [][]string{{"decision", "perhaps"}, {"decision", ""}, {"password", password}}, proofs: true,
	},
	"invitation": {
		reach: func(t *testing.T, w *world) *browser {
			b := w.Browser()
			b.Link = w.Invite(t, guest)
			return b.Begin(t, "invitation")
		},
		right: []string{"decision", "accept"}, outcome: "accepted", ends: true,
		rest:  [][]string{{"choose", "skip"}, {"given_name", "Ana"}, {"decision", "allow"}},
		wrong: [][]string{{"decision", "perhaps"}, {"decision", ""}, {"new_password", password}},
	},
	"notice": {
		reach: func(t *testing.T, w *world) *browser { return w.Browser().Begin(t, "notice") },
		right: nil, outcome: "continued", shows: true,
	},
	"deny": {
		reach: func(t *testing.T, w *world) *browser { return w.Browser().Begin(t, "notice").Send(t) },
		wrong: [][]string{{"decision", "allow"}, {"identifier", v, "password", password}},
	},
	"finish": {proofs: true},
}

// company is an organization, made when it is first asked for.
func company(t *testing.T, w *world, slug string) id.Organization {
	t.Helper()
	found, err := w.Organizations.Resolve(t.Context(), w.Tenant.ID, slug)
	if err == nil {
		return found
	}
	made, err := w.Organizations.Create(t.Context(), organization.NewOrganization{Tenant: w.Tenant.ID, Slug: slug, Name: "Company " + slug, Actor: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// invited gives a browser the link of an invitation to an address.
func invited(t *testing.T, w *world, b *browser, address string) *browser {
	t.Helper()
	_, err := w.Organizations.Invite(t.Context(), organization.Invite{Tenant: w.Tenant, Organization: company(t, w, "acme"),
		Address: journeytest.Address(t, address), Roles: []string{"member"}, Actor: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	w.Fake.Advance(time.Millisecond)
	b.Link = w.Link(t, address)
	return b
}
