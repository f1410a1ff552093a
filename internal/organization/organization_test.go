package organization_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey/journeytest"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	ana  = "ana@example.com"
	bea  = "bea@example.com"
	none = "nobody@example.com"
)

// world is a node with the organization acme.
type world struct {
	*journeytest.World
	t    *testing.T
	acme *organization.Organization
	keys *keyring.Tenant
}

func each(t *testing.T, test func(t *testing.T, w *world), change ...func(*tenant.Settings)) {
	t.Helper()
	journeytest.Each(t, func(t *testing.T, w *journeytest.World) {
		keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
		if err != nil {
			t.Fatal(err)
		}
		x := &world{World: w, t: t, keys: keys}
		x.acme = x.create("acme", "Acme Ltd")
		test(t, x)
	}, change...)
}

func (w *world) create(slug, name string) *organization.Organization {
	w.t.Helper()
	made, err := w.Organizations.Create(w.t.Context(), organization.NewOrganization{Tenant: w.Tenant.ID, Slug: slug, Name: name, Actor: "operator"})
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) set(in *organization.Organization, who id.Customer, roles ...string) {
	w.t.Helper()
	w.must(w.DB.Write(w.t.Context(), func(tx *sqldb.Tx) error {
		return w.Organizations.SetMember(tx, w.Tenant.ID, in.ID, who, roles, "operator")
	}))
}

func (w *world) invite(address string, roles ...string) string {
	w.t.Helper()
	_, err := w.Organizations.Invite(w.t.Context(), organization.Invite{Tenant: w.Tenant, Organization: w.acme.ID,
		Address: journeytest.Address(w.t, address), Roles: roles, Actor: "operator"})
	w.must(err)
	w.Fake.Advance(time.Second)
	return w.Link(w.t, address)
}

func (w *world) read(link string) *organization.Offer {
	w.t.Helper()
	offer, err := w.Organizations.ReadLink(w.t.Context(), w.keys, w.Tenant.ID, link)
	w.must(err)
	return offer
}

// accept spends an offer for a customer.
func (w *world) accept(offer *organization.Offer, who id.Customer) error {
	return w.DB.Write(w.t.Context(), func(tx *sqldb.Tx) error { return w.Organizations.Accept(tx, w.Tenant, offer.Invitation, who) })
}

func (w *world) roles(in *organization.Organization, who id.Customer) []string {
	w.t.Helper()
	m, err := w.Organizations.Membership(w.t.Context(), w.Tenant.ID, who, in.ID)
	w.must(err)
	if m == nil {
		return nil
	}
	return m.Roles
}

func (w *world) events(kind string) int {
	return w.Count(w.t, `SELECT COUNT(*) FROM event WHERE tenant = $1 AND type = $2`, w.Tenant.ID, kind)
}

func TestOrganizations(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx, o := t.Context(), w.Organizations
		for slug, name := range map[string]string{"": "x", "Acme": "x", "a_b": "x", "-a": "x", string(w.acme.ID): "x", "ok": "", "ok2": " x", "ok3": "a\nb", "ok4": strings.Repeat("x", 101), "ok5": "\u202egro"} {
			if _, err := o.Create(ctx, organization.NewOrganization{Tenant: w.Tenant.ID, Slug: slug, Name: name, Actor: "operator"}); !errors.Is(err, organization.ErrInvalid) {
				t.Errorf("%q, %q: %v", slug, name, err)
			}
		}
		if _, err := o.Create(ctx, organization.NewOrganization{Tenant: w.Tenant.ID, Slug: "acme", Name: "Other", Actor: "operator"}); !errors.Is(err, organization.ErrTaken) {
			t.Errorf("a slug is taken twice: %v", err)
		}
		changed, err := o.Update(ctx, organization.Change{Tenant: w.Tenant.ID, Organization: w.acme.ID, Revision: 1, Slug: "acme-gmbh", Name: "Acme GmbH", Actor: "operator"})
		if err != nil || changed.Revision != 2 || changed.Name != "Acme GmbH" {
			t.Errorf("%+v, %v", changed, err)
		}
		if _, err := o.Update(ctx, organization.Change{Tenant: w.Tenant.ID, Organization: w.acme.ID, Revision: 1, Name: "Late", Actor: "operator"}); !errors.Is(err, organization.ErrChanged) {
			t.Errorf("an old revision: %v", err)
		}
		if _, err := o.Resolve(ctx, w.Tenant.ID, "acme"); !errors.Is(err, organization.ErrNotFound) {
			t.Errorf("the former slug: %v", err)
		}
		if found, err := o.Resolve(ctx, w.Tenant.ID, "acme-gmbh"); err != nil || found != w.acme.ID {
			t.Errorf("%s, %v", found, err)
		}
		w.create("acme", "Another")
		other := w.NewTenant(t, "other")
		if _, err := o.Get(ctx, other.ID, w.acme.ID); !errors.Is(err, organization.ErrNotFound) {
			t.Errorf("another tenant's: %v", err)
		}
		if list, err := o.List(ctx, w.Tenant.ID, "", 1); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		} else if rest, err := o.List(ctx, w.Tenant.ID, list[0].ID, 10); err != nil || len(rest) != 1 {
			t.Errorf("%v, %v", rest, err)
		}
	})
}

func TestMemberships(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx, o := t.Context(), w.Organizations
		who := w.NewCustomer(t, ana, "")
		sage := w.create("sage", "Aardvark & Sage")
		w.set(w.acme, who, "member")
		w.set(sage, who, "owner")
		w.set(w.acme, who, "admin", "member")
		w.set(w.acme, who, "admin", "member") // again changes nothing
		if got := w.roles(w.acme, who); !slices.Equal(got, []string{"admin", "member"}) {
			t.Errorf("roles %v", got)
		}
		for kind, want := range map[string]int{"organization.member.added": 2, "organization.member.changed": 1} {
			if n := w.events(kind); n != want {
				t.Errorf("%d events %s, want %d", n, kind, want)
			}
		}
		list, err := o.Memberships(ctx, w.Tenant.ID, who)
		if err != nil || len(list) != 2 || list[0].Organization.ID != sage.ID {
			t.Errorf("%v, %v", list, err)
		}
		members, err := o.Members(ctx, w.Tenant.ID, w.acme.ID, "", 10)
		if err != nil || len(members) != 1 || members[0].Customer != who || !slices.Equal(members[0].Roles, []string{"admin", "member"}) {
			t.Errorf("%v, %v", members, err)
		}
		if x, _ := o.Get(ctx, w.Tenant.ID, w.acme.ID); x.Members != 1 {
			t.Errorf("%d members are counted", x.Members)
		}
		for _, roles := range [][]string{nil, {"chief"}, {"member", "chief"}} {
			if _, err := organization.CheckRoles(w.Tenant, roles); !errors.Is(err, organization.ErrInvalid) {
				t.Errorf("%v: %v", roles, err)
			}
		}

		// Suspended: nothing of it shows, and nobody joins.
		_, err = o.SetStatus(ctx, w.Tenant.ID, w.acme.ID, organization.Suspended, "operator")
		w.must(err)
		if got := w.roles(w.acme, who); got != nil {
			t.Errorf("a suspended organization gives %v", got)
		}
		if list, err := o.Memberships(ctx, w.Tenant.ID, who); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
		if list, err := o.AllMemberships(ctx, w.Tenant.ID, who); err != nil || len(list) != 2 {
			t.Errorf("%v, %v", list, err)
		}
		other := w.NewCustomer(t, bea, "")
		err = w.DB.Write(ctx, func(tx *sqldb.Tx) error {
			return o.SetMember(tx, w.Tenant.ID, w.acme.ID, other, []string{"member"}, "operator")
		})
		if !errors.Is(err, organization.ErrSuspended) {
			t.Errorf("somebody joins a suspended organization: %v", err)
		}
		_, err = o.SetStatus(ctx, w.Tenant.ID, w.acme.ID, organization.Active, "operator")
		w.must(err)
		if got := w.roles(w.acme, who); len(got) != 2 {
			t.Errorf("opened again it gives %v", got)
		}

		removed := false
		w.must(w.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
			removed, err = o.Remove(tx, w.Tenant.ID, w.acme.ID, who, "operator")
			return err
		}))
		if !removed || w.roles(w.acme, who) != nil || w.events("organization.member.removed") != 1 {
			t.Error("the membership is there still")
		}
		if members, _ := o.Members(ctx, w.Tenant.ID, w.acme.ID, "", 10); len(members) != 0 {
			t.Errorf("members %v", members)
		}
		if x, _ := o.Get(ctx, w.Tenant.ID, w.acme.ID); x.Members != 0 {
			t.Errorf("%d members are counted", x.Members)
		}
	})
}

// What deleting leaves is nothing, and what an interruption leaves is finished.
func TestDeletion(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx, o := t.Context(), w.Organizations
		var customers []id.Customer
		for _, address := range []string{ana, bea} {
			who := w.NewCustomer(t, address, "")
			customers = append(customers, who)
			w.set(w.acme, who, "member")
		}
		link := w.invite(none, "member")
		w.must(o.Delete(ctx, w.Tenant.ID, w.acme.ID, "operator"))
		if _, err := o.Get(ctx, w.Tenant.ID, w.acme.ID); !errors.Is(err, organization.ErrNotFound) {
			t.Errorf("it is there still: %v", err)
		}
		for _, table := range []string{"organization", "organization_slug", "organization_member", "organization_membership", "organization_invitation"} {
			if n := w.Count(t, `SELECT COUNT(*) FROM `+table); n != 0 {
				t.Errorf("%d rows of %s are left", n, table)
			}
		}
		if w.read(link) != nil || w.events("organization.member.removed") != 2 {
			t.Error("something is left of it")
		}

		again := w.create("acme", "Acme Ltd")
		w.set(again, customers[0], "member")
		if err := w.DB.Write(ctx, func(tx *sqldb.Tx) error { // the node died after this
			_, err := tx.Exec(`UPDATE organization SET status = 'deleted' WHERE tenant = $1 AND organization = $2`, w.Tenant.ID, again.ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if got := w.roles(again, customers[0]); got != nil {
			t.Errorf("a deleted organization gives %v", got)
		}
		if n, err := o.FinishDeletions(ctx, 10); err != nil || n != 1 {
			t.Errorf("%d, %v", n, err)
		}
		if n := w.Count(t, `SELECT COUNT(*) FROM organization_membership`); n != 0 {
			t.Errorf("%d memberships are left", n)
		}
	})
}

func TestErasure(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		who := w.NewCustomer(t, ana, "")
		w.set(w.acme, who, "owner")
		other := w.create("other", "Other Ltd")
		_, err := w.Organizations.Invite(ctx, organization.Invite{Tenant: w.Tenant, Organization: other.ID, Address: journeytest.Address(t, ana), Roles: []string{"member"}, Actor: "operator"})
		w.must(err)
		_, err = w.Organizations.Invite(ctx, organization.Invite{Tenant: w.Tenant, Organization: w.acme.ID, Address: journeytest.Address(t, bea), Roles: []string{"member"}, By: who, Actor: string(who)})
		w.must(err)
		w.must(w.Directory.Erase(ctx, w.Tenant.ID, who, "operator"))
		for _, table := range []string{"organization_membership", "organization_member", "organization_choice"} {
			if n := w.Count(t, `SELECT COUNT(*) FROM `+table); n != 0 {
				t.Errorf("%d rows of %s are left", n, table)
			}
		}
		left, err := w.Organizations.Invitations(ctx, w.Tenant.ID, other.ID, "", 10)
		if err != nil || len(left) != 0 {
			t.Errorf("the invitation to the erased address is left: %v, %v", left, err)
		}
		sent, err := w.Organizations.Invitations(ctx, w.Tenant.ID, w.acme.ID, "", 10)
		if err != nil || len(sent) != 1 || sent[0].Address != bea {
			t.Errorf("the invitation that he sent: %v, %v", sent, err)
		}
		if x, _ := w.Organizations.Get(ctx, w.Tenant.ID, w.acme.ID); x.Members != 0 {
			t.Errorf("%d members are counted", x.Members)
		}
		err = w.DB.Write(ctx, func(tx *sqldb.Tx) error {
			return w.Organizations.SetMember(tx, w.Tenant.ID, w.acme.ID, who, []string{"member"}, "operator")
		})
		if !errors.Is(err, organization.ErrGone) {
			t.Errorf("an erased customer joins: %v", err)
		}
	})
}

func TestInvitations(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx, o := t.Context(), w.Organizations
		who := w.NewCustomer(t, ana, "")
		first := w.invite(ana, "member")
		second := w.invite(ana, "admin")
		if w.read(first) != nil {
			t.Error("the link before the newest is good")
		}
		offer := w.read(second)
		if offer == nil || !offer.Good || offer.Address != ana || !slices.Equal(offer.Roles, []string{"admin"}) || offer.To.ID != w.acme.ID {
			t.Fatalf("%+v", offer)
		}
		if list, err := o.Invitations(ctx, w.Tenant.ID, w.acme.ID, "", 10); err != nil || len(list) != 1 {
			t.Errorf("%d invitations, %v", len(list), err)
		}
		// Nothing of the address or the secret is stored to be read.
		rows, err := w.DB.Query(ctx, `SELECT address, lookup, secret_hash FROM organization_invitation`)
		w.must(err)
		for rows.Next() {
			var address, lookup, hash []byte
			w.must(rows.Scan(&address, &lookup, &hash))
			if bytes.Contains(address, []byte("ana")) || len(lookup) != 32 || len(hash) != 32 {
				t.Errorf("stored are %q, %q, %q", address, lookup, hash)
			}
		}
		w.must(rows.Err())

		w.set(w.acme, who, "member") // who is a member already loses nothing
		w.must(w.accept(offer, who))
		if got := w.roles(w.acme, who); !slices.Equal(got, []string{"admin", "member"}) {
			t.Errorf("roles %v", got)
		}
		if err := w.accept(offer, who); !errors.Is(err, organization.ErrNoInvitation) {
			t.Errorf("accepted twice: %v", err)
		}
		after := w.read(second)
		if after.Good || after.Status != organization.Accepted || after.Address != "" || after.Customer != who {
			t.Errorf("%+v", after)
		}

		// Expired, taken back, declined, of a suspended organization.
		expired := w.invite(bea, "member")
		w.Fake.Advance(7 * 24 * time.Hour)
		other := w.NewCustomer(t, bea, "")
		if offer := w.read(expired); offer == nil || offer.Good {
			t.Errorf("expired: %+v", offer)
		} else if err := w.accept(offer, other); !errors.Is(err, organization.ErrNoInvitation) {
			t.Errorf("an expired invitation is accepted: %v", err)
		}
		again, err := o.Resend(ctx, w.Tenant, w.acme.ID, w.read(expired).ID, "operator")
		w.must(err)
		w.Fake.Advance(time.Second)
		link := w.Link(t, bea)
		if offer := w.read(link); offer == nil || !offer.Good || w.read(expired) != nil {
			t.Errorf("sent once more: %+v", offer)
		}
		pending := w.read(link)
		_, err = o.SetStatus(ctx, w.Tenant.ID, w.acme.ID, organization.Suspended, "operator")
		w.must(err)
		if w.read(link).Good {
			t.Error("an invitation to a suspended organization is good")
		}
		if err := w.accept(pending, other); !errors.Is(err, organization.ErrSuspended) {
			t.Errorf("accepted into a suspended organization: %v", err)
		}
		_, err = o.SetStatus(ctx, w.Tenant.ID, w.acme.ID, organization.Active, "operator")
		w.must(err)
		w.must(o.Revoke(ctx, w.Tenant.ID, w.acme.ID, again.ID, "operator"))
		if err := w.accept(pending, other); !errors.Is(err, organization.ErrNoInvitation) || w.read(link).Good {
			t.Errorf("what was taken back is accepted: %v", err)
		}
		if _, err := o.Resend(ctx, w.Tenant, w.acme.ID, again.ID, "operator"); !errors.Is(err, organization.ErrNoInvitation) {
			t.Errorf("what was taken back is sent: %v", err)
		}
		declined := w.read(w.invite(bea, "member"))
		w.must(w.DB.Write(ctx, func(tx *sqldb.Tx) error { return o.Decline(tx, declined.Invitation, other) }))
		if err := w.accept(declined, other); !errors.Is(err, organization.ErrNoInvitation) || w.roles(w.acme, other) != nil {
			t.Errorf("what was declined is accepted: %v", err)
		}
		w.Fake.Advance(40 * 24 * time.Hour)
		if _, err := o.Sweep(ctx, 100); err != nil || w.Count(t, `SELECT COUNT(*) FROM organization_invitation`) != 0 {
			t.Errorf("old invitations are kept: %v", err)
		}
	})
}

// Whether an address has an account shows neither in what is answered nor in
// what is stored or sent.
func TestInvitingTellsNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.NewCustomer(t, ana, "")
		before := w.Rows(t)
		invite := func(address string) (*organization.Invitation, map[string]int) {
			i, err := w.Organizations.Invite(t.Context(), organization.Invite{Tenant: w.Tenant, Organization: w.acme.ID, Address: journeytest.Address(t, address), Roles: []string{"member"}, Actor: "operator"})
			w.must(err)
			now := w.Rows(t)
			more := map[string]int{}
			for table, n := range now {
				if n != before[table] {
					more[table] = n - before[table]
				}
			}
			before = now
			return i, more
		}
		_, known := invite(ana)
		_, unknown := invite(none)
		if len(known) == 0 || len(known) != len(unknown) {
			t.Fatalf("%v, %v", known, unknown)
		}
		for table, n := range known {
			if unknown[table] != n {
				t.Errorf("%s: %d rows for an address with an account, %d for one without", table, n, unknown[table])
			}
		}
	})
}

func TestInvitationsAreLimited(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for range 3 {
			w.invite(none, "member")
		}
		_, err := w.Organizations.Invite(t.Context(), organization.Invite{Tenant: w.Tenant, Organization: w.acme.ID, Address: journeytest.Address(t, none), Roles: []string{"member"}, Actor: "operator"})
		var limited *organization.LimitedError
		if !errors.As(err, &limited) || !limited.Until.After(w.Fake.Now()) {
			t.Errorf("%v", err)
		}
		if n := len(w.Letters(t, none)); n != 3 {
			t.Errorf("%d letters", n)
		}
	}, func(s *tenant.Settings) { s.Limits.SendPerHour = 3 })
}

// TestParallelAccept: of 64 on two nodes who bring the link, whoever they are,
// one becomes a member.
func TestParallelAccept(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		second := *w
		second.World = w.Second(t)
		who := []id.Customer{w.NewCustomer(t, ana, ""), w.NewCustomer(t, bea, "")}
		offer := w.read(w.invite(ana, "member"))
		results := make([]error, 64)
		var all sync.WaitGroup
		for k := range results {
			node := []*world{w, &second}[k%2]
			all.Go(func() { results[k] = node.accept(offer, who[(k/2)%2]) })
		}
		all.Wait()
		accepted := 0
		for _, err := range results {
			switch {
			case err == nil:
				accepted++
			case !errors.Is(err, organization.ErrNoInvitation):
				t.Error(err)
			}
		}
		if n := w.Count(t, `SELECT COUNT(*) FROM organization_membership`); accepted != 1 || n != 1 {
			t.Errorf("%d accepted, %d memberships", accepted, n)
		}
		if x, _ := w.Organizations.Get(t.Context(), w.Tenant.ID, w.acme.ID); x.Members != 1 {
			t.Errorf("%d members are counted", x.Members)
		}
	})
}

// TestParallelDeletion: who joins while the organization is deleted is not left
// as a member of nothing.
func TestParallelDeletion(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var customers []id.Customer
		for n := range 8 {
			customers = append(customers, w.NewCustomer(t, string(rune('a'+n))+ana, ""))
		}
		var all sync.WaitGroup
		for _, who := range customers {
			all.Go(func() {
				err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
					return w.Organizations.SetMember(tx, w.Tenant.ID, w.acme.ID, who, []string{"member"}, "operator")
				})
				if err != nil && !errors.Is(err, organization.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		all.Go(func() {
			if err := w.Organizations.Delete(t.Context(), w.Tenant.ID, w.acme.ID, "operator"); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		for _, table := range []string{"organization", "organization_member", "organization_membership"} {
			if n := w.Count(t, `SELECT COUNT(*) FROM `+table); n != 0 {
				t.Errorf("%d rows of %s are left", n, table)
			}
		}
	})
}

// FuzzLink: whatever is brought in place of a link offers nothing and breaks
// nothing.
func FuzzLink(f *testing.F) {
	w := journeytest.New(f, sqldb.SQLite)
	keys, err := w.Ring.Tenant(f.Context(), w.Tenant.ID)
	if err != nil {
		f.Fatal(err)
	}
	x, err := w.Organizations.Create(f.Context(), organization.NewOrganization{Tenant: w.Tenant.ID, Slug: "acme", Name: "Acme", Actor: "operator"})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := w.Organizations.Invite(f.Context(), organization.Invite{Tenant: w.Tenant, Organization: x.ID, Address: journeytest.Address(f, ana), Roles: []string{"member"}, Actor: "operator"}); err != nil {
		f.Fatal(err)
	}
	genuine := w.Link(f, ana)
	short, err := keys.Seal("organization-invitation", []byte("short"))
	if err != nil {
		f.Fatal(err)
	}
	odd, err := keys.Seal("organization-invitation", bytes.Repeat([]byte{'\''}, 92))
	if err != nil {
		f.Fatal(err)
	}
	other, err := keys.Seal("link", bytes.Repeat([]byte{1}, 92))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", genuine[:len(genuine)-1], genuine + "A", strings.ToLower(genuine), short, odd, other, "\x00", strings.Repeat("A", 5000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, link string) {
		if link == genuine {
			return
		}
		offer, err := w.Organizations.ReadLink(t.Context(), keys, w.Tenant.ID, link)
		if err != nil || offer != nil {
			t.Errorf("%q offers %+v, %v", link, offer, err)
		}
	})
}
