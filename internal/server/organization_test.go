package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const newcomer = "newcomer@example.com"

// company is a house with organizations.
type company struct{ *house }

func newCompany(t *testing.T, i *servertest.Installation, change func(*tenant.Settings)) *company {
	t.Helper()
	return &company{newHouse(t, i, "shop", change)}
}

func (c *company) organization(slug string) *organization.Organization {
	c.t.Helper()
	made, err := c.Organizations.Create(c.t.Context(), organization.NewOrganization{Tenant: c.tenant.ID, Slug: slug, Name: strings.ToUpper(slug) + " Ltd", Actor: "test"})
	if err != nil {
		c.t.Fatal(err)
	}
	return made
}

func (c *company) join(in *organization.Organization, who id.Customer, roles ...string) {
	c.t.Helper()
	c.write(func(tx *sqldb.Tx) error { return c.Organizations.SetMember(tx, c.tenant.ID, in.ID, who, roles, "test") })
}

func (c *company) leave(in *organization.Organization, who id.Customer) {
	c.t.Helper()
	c.write(func(tx *sqldb.Tx) error {
		_, err := c.Organizations.Remove(tx, c.tenant.ID, in.ID, who, "test")
		return err
	})
}

func (c *company) status(in *organization.Organization, status organization.Status) {
	c.t.Helper()
	if _, err := c.Organizations.SetStatus(c.t.Context(), c.tenant.ID, in.ID, status, "test"); err != nil {
		c.t.Fatal(err)
	}
}

var joinLink = regexp.MustCompile(`https?://\S+/join\?link=\S+`)

// invite invites an address and returns the link of the letter.
func (c *company) invite(in *organization.Organization, address string, roles ...string) string {
	c.t.Helper()
	before := c.Newest(address)
	to, err := identifier.Normalise(identifier.Email, address, identifier.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.Organizations.Invite(c.t.Context(), organization.Invite{Tenant: c.tenant, Organization: in.ID, Address: to, Roles: roles, Actor: "test"}); err != nil {
		c.t.Fatal(err)
	}
	for range 500 {
		letters, err := c.Inbox.List(c.t.Context(), address, "", 5)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, letter := range letters {
			if link := joinLink.FindString(letter.Text); letter.ID > before && link != "" {
				return link
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Fatalf("no invitation came for %s", address)
	return ""
}

func (c *company) roles(in *organization.Organization, who id.Customer) []string {
	c.t.Helper()
	m, err := c.Organizations.Membership(c.t.Context(), c.tenant.ID, who, in.ID)
	if err != nil {
		c.t.Fatal(err)
	}
	if m == nil {
		return nil
	}
	return m.Roles
}

func (c *company) find(address string) id.Customer {
	c.t.Helper()
	keys, err := c.Ring.Tenant(c.t.Context(), c.tenant.ID)
	if err != nil {
		c.t.Fatal(err)
	}
	n, err := identifier.Normalise(identifier.Email, address, identifier.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	who, _, err := c.Directory.Find(c.t.Context(), c.tenant.ID, keys, n)
	if err != nil {
		c.t.Fatal(err)
	}
	return who
}

// asks tells whether a page asks for a decision that may be the given one.
func asks(p *servertest.Page, decision string) bool {
	return len(p.Forms) > 0 && slices.Contains(p.Forms[0].Buttons["decision"], decision)
}

// A newcomer proves the invited address by a code, opens an account and joins.
// Opening the link writes nothing, and the link is good once.
func TestInvitedNewcomer(t *testing.T) {
	for name, change := range map[string]func(*tenant.Settings){
		"sign-up is open":   nil,
		"sign-up is closed": func(s *tenant.Settings) { s.SignUp.Enabled = false },
	} {
		t.Run(name, func(t *testing.T) {
			servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
				c := newCompany(t, i, change)
				acme := c.organization("acme")
				link := c.invite(acme, newcomer, "admin")
				browser := i.Browser()
				before := i.Count()
				var p *servertest.Page
				for range 3 {
					p = browser.Get(link)
				}
				for table, n := range i.Count() {
					if n != before[table] && table != "event_position" && table != "event_pending" {
						t.Errorf("opening the link makes %d rows of %s", n-before[table], table)
					}
				}
				for _, words := range []string{"ACME Ltd", "Administrator", newcomer} {
					if !strings.Contains(servertest.Text(p.Body), words) {
						t.Errorf("the page does not say %q: %s", words, servertest.Text(p.Body))
					}
				}
				if p.Status != http.StatusOK || asks(p, "accept") || !asks(p, "continue") {
					t.Fatalf("%d: %s", p.Status, servertest.Text(p.Body))
				}
				last := i.Newest(newcomer)
				p = browser.Answer(p, url.Values{"decision": {"continue"}})
				p = browser.Answer(p, url.Values{"code": {i.CodeAfter(newcomer, last)}})
				if !p.Has("new_password") {
					t.Fatalf("no password is chosen: %s", servertest.Text(p.Body))
				}
				p = browser.Answer(p, url.Values{"choose": {"skip"}})
				if !asks(p, "accept") || !asks(p, "decline") {
					t.Fatalf("nothing is to be decided: %s", servertest.Text(p.Body))
				}
				who := c.find(newcomer)
				if who == "" || c.roles(acme, who) != nil {
					t.Fatal("he is a member before he has said so, or has no account")
				}
				p = browser.Answer(p, url.Values{"decision": {"accept"}})
				if !strings.Contains(servertest.Text(p.Body), "joined ACME Ltd") || !strings.HasSuffix(p.URL.Path, "/account/organizations") {
					t.Errorf("%s: %s", p.URL, servertest.Text(p.Body))
				}
				if got := c.roles(acme, who); !slices.Equal(got, []string{"admin"}) {
					t.Errorf("roles %v", got)
				}
				if p := browser.Get(link); p.Status != http.StatusOK || asks(p, "accept") || !strings.Contains(servertest.Text(p.Body), "a member of ACME Ltd") {
					t.Errorf("to the member himself: %d: %s", p.Status, servertest.Text(p.Body))
				}
				if p := i.Browser().Get(link); p.Status != http.StatusGone || strings.Contains(p.Body, "ACME") || strings.Contains(p.Body, newcomer) {
					t.Errorf("to a stranger: %d: %s", p.Status, servertest.Text(p.Body))
				}
			})
		})
	}
}

// Where the tenant does not open accounts for who is invited either, none is
// opened.
func TestInvitedWhereSignUpIsClosed(t *testing.T) {
	i := servertest.New(t, sqldb.SQLite)
	c := newCompany(t, i, func(s *tenant.Settings) { s.SignUp.Enabled, s.Organizations.SignUpByInvitation = false, false })
	acme := c.organization("acme")
	browser := i.Browser()
	p := browser.Get(c.invite(acme, newcomer, "member"))
	last := i.Newest(newcomer)
	p = browser.Answer(p, url.Values{"decision": {"continue"}})
	p = browser.Answer(p, url.Values{"code": {i.CodeAfter(newcomer, last)}})
	if p.Has("new_password") || c.find(newcomer) != "" {
		t.Errorf("an account may be opened: %s", servertest.Text(p.Body))
	}
}

// A known customer signs in by password, and decides; who is signed in as
// somebody else decides nothing.
func TestInvitedCustomer(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		acme := c.organization("acme")
		i.Customer(c.tenant, "bea@example.com", anaPassword)
		other := i.Browser()
		c.shop.SignIn(i, other, "bea@example.com", anaPassword, nil)
		link := c.invite(acme, anaMail, "member")
		p := other.Get(link)
		if asks(p, "accept") || !asks(p, "continue") {
			t.Errorf("somebody else may decide: %s", servertest.Text(p.Body))
		}
		if p = other.Answer(p, url.Values{"decision": {"accept"}}); asks(p, "accept") || c.count(`SELECT COUNT(*) FROM organization_membership`) != 0 {
			t.Error("somebody else joins")
		}

		browser := i.Browser()
		p = browser.Answer(browser.Get(link), url.Values{"decision": {"continue"}})
		p = browser.Answer(p, url.Values{"choose": {"password"}})
		p = browser.Answer(p, url.Values{"password": {anaPassword}})
		if !asks(p, "decline") {
			t.Fatalf("nothing is to be decided: %s", servertest.Text(p.Body))
		}
		// The page as it is, in the other's browser, is worth nothing.
		if stolen := other.Post(i.Base+c.tenant.Path+"/journey", url.Values{"state": {p.Forms[0].Hidden.Get("state")}, "decision": {"accept"}}, ""); stolen.Status < 400 && asks(stolen, "accept") {
			t.Errorf("the page goes on in another browser: %d", stolen.Status)
		}
		if c.roles(acme, c.ana) != nil {
			t.Error("somebody else decided")
		}
		p = browser.Answer(p, url.Values{"decision": {"decline"}})
		if !strings.Contains(servertest.Text(p.Body), "declined the invitation to ACME Ltd") || c.roles(acme, c.ana) != nil {
			t.Errorf("%s", servertest.Text(p.Body))
		}
		if p := browser.Get(link); p.Status != http.StatusGone {
			t.Errorf("a declined link: %d", p.Status)
		}

		// Signed in with the invited address nothing more is to be proved.
		p = browser.Get(c.invite(acme, anaMail, "owner"))
		if !asks(p, "accept") {
			t.Fatalf("%s", servertest.Text(p.Body))
		}
		if p = browser.Answer(p, url.Values{"decision": {"accept"}}); !slices.Equal(c.roles(acme, c.ana), []string{"owner"}) {
			t.Errorf("%v: %s", c.roles(acme, c.ana), servertest.Text(p.Body))
		}

		// And leaves it, once he has said so twice.
		p = browser.Get(i.Base + c.tenant.Path + "/account/organizations")
		if !strings.Contains(p.Body, "ACME Ltd") {
			t.Fatalf("%s", servertest.Text(p.Body))
		}
		p = browser.Get(i.Base + c.tenant.Path + "/account/organizations/" + string(acme.ID))
		if p = browser.Answer(p, url.Values{"decision": {"leave"}}); c.roles(acme, c.ana) != nil || !strings.Contains(servertest.Text(p.Body), "left ACME Ltd") {
			t.Errorf("%v: %s", c.roles(acme, c.ana), servertest.Text(p.Body))
		}
		if p = browser.Get(i.Base + c.tenant.Path + "/account/organizations/" + string(acme.ID)); p.Status != http.StatusNotFound {
			t.Errorf("to leave what he is not in: %d", p.Status)
		}
	})
}

// TestDeadInvitations: whatever is wrong with a link, the page is a kind one and
// the same.
func TestDeadInvitations(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		acme := c.organization("acme")
		other := i.Tenant("other", nil)
		link := c.invite(acme, newcomer, "member")
		newer := c.invite(acme, newcomer, "member")
		suspended := c.organization("sleepy")
		asleep := c.invite(suspended, newcomer, "member")
		c.status(suspended, organization.Suspended)
		deleted := c.organization("gone")
		gone := c.invite(deleted, newcomer, "member")
		if err := c.Organizations.Delete(t.Context(), c.tenant.ID, deleted.ID, "test"); err != nil {
			t.Fatal(err)
		}
		_, sealed, _ := strings.Cut(newer, "?link=")
		for name, address := range map[string]string{
			"replaced": link, "of a suspended organization": asleep, "of a deleted organization": gone,
			"of another tenant": i.Base + other.Path + "/join?link=" + sealed, "cut": newer[:len(newer)-3],
			"none": i.Base + c.tenant.Path + "/join", "long": newer + strings.Repeat("A", 4000), "NUL": i.Base + c.tenant.Path + "/join?link=%00",
		} {
			p := i.Browser().Get(address)
			if p.Status != http.StatusGone || asks(p, "continue") || !strings.Contains(servertest.Text(p.Body), "no longer good") {
				t.Errorf("%s: %d: %s", name, p.Status, servertest.Text(p.Body))
			}
		}
		if p := i.Browser().Get(newer); p.Status != http.StatusOK {
			t.Errorf("the good one: %d", p.Status)
		}
		i.Clock.Advance(7*24*time.Hour + time.Minute)
		if p := i.Browser().Get(newer); p.Status != http.StatusGone {
			t.Errorf("expired: %d", p.Status)
		}
	})
}

// introspected is what introspection says of a token.
func introspected(t *testing.T, i *servertest.Installation, app *servertest.App, token string) map[string]any {
	t.Helper()
	_, _, body, err := app.Post(i, "/introspect", url.Values{"token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]any{}
	if err := json.Unmarshal([]byte(body), &told); err != nil {
		t.Fatal(err)
	}
	return told
}

func withOrganization(s *application.Settings) {
	s.Scopes = []string{"openid", "email", "profile", "offline_access", "organization"}
}

var forOrganization = url.Values{"scope": {"openid offline_access organization"}}

// The claim stands in ID token, access token, userinfo and introspection, and
// goes with the membership: at once, and back where the organization comes back.
func TestOrganizationInTokens(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		acme := c.organization("acme")
		c.join(acme, c.ana, "admin", "member")
		app := i.Application(c.tenant, withOrganization)
		browser := i.Browser()
		tokens := app.SignIn(i, browser, anaMail, anaPassword, forOrganization)
		says := func(what string, claims map[string]any) {
			t.Helper()
			roles, _ := claims["org_roles"].([]any)
			if claims["org_id"] != string(acme.ID) || claims["org_name"] != "ACME Ltd" || len(roles) != 2 || roles[0] != "admin" || roles[1] != "member" {
				t.Errorf("%s says %v", what, claims)
			}
		}
		says("the ID token", claims(t, tokens.ID))
		says("the access token", claims(t, tokens.Access))
		says("introspection", introspected(t, i, app, tokens.Access))
		says("introspection of the refresh token", introspected(t, i, app, tokens.Refresh))
		_, info := app.UserInfo(i, tokens.Access)
		says("userinfo", info)
		next := app.Token(i, refreshing(tokens.Refresh))
		says("the refreshed access token", claims(t, next.Access))
		if plain := app.SignIn(i, browser, anaMail, anaPassword, nil); claims(t, plain.ID)["org_id"] != nil || claims(t, plain.Access)["org_id"] != nil {
			t.Error("who does not ask gets it")
		}
		if told := app.Token(i, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {next.Refresh}, "scope": {"openid organization:acme"}}); told.Status != http.StatusOK {
			t.Errorf("the same organization named at refresh: %+v", told)
		} else if next = told; claims(t, told.Access)["org_id"] != string(acme.ID) {
			t.Errorf("%v", claims(t, told.Access))
		}
		c.organization("sage")
		if told := app.Token(i, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {next.Refresh}, "scope": {"openid organization:sage"}}); told.Error != "invalid_grant" {
			t.Errorf("another organization named at refresh: %+v", told)
		}

		dead := func(why string) {
			t.Helper()
			if app.Active(i, next.Access) || app.Active(i, next.Refresh) {
				t.Errorf("%s: introspection says active", why)
			}
			if status, _ := app.UserInfo(i, next.Access); status != http.StatusUnauthorized {
				t.Errorf("%s: userinfo answers %d", why, status)
			}
			if told := app.Token(i, refreshing(next.Refresh)); told.Error != "invalid_grant" {
				t.Errorf("%s: refresh answers %+v", why, told)
			}
		}
		c.status(acme, organization.Suspended)
		dead("suspended")
		c.status(acme, organization.Active)
		if next = app.Token(i, refreshing(next.Refresh)); next.Status != http.StatusOK {
			t.Fatalf("opened again: %+v", next)
		}
		c.leave(acme, c.ana)
		dead("no member")
		c.join(acme, c.ana, "member")
		if _, info := app.UserInfo(i, next.Access); len(info["org_roles"].([]any)) != 1 {
			t.Errorf("other roles: %v", info)
		}
		// A code that was made before the membership ended buys nothing after it.
		r, code := c.code(browser, app, forOrganization)
		if err := c.Organizations.Delete(t.Context(), c.tenant.ID, acme.ID, "test"); err != nil {
			t.Fatal(err)
		}
		if told := app.Token(i, redemption(r, code)); told.Error != "invalid_grant" {
			t.Errorf("a code of a deleted organization: %+v", told)
		}
		dead("deleted")
	})
}

// Who is in several chooses on a page, once a session and application.
func TestOrganizationIsChosen(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		acme, sage := c.organization("acme"), c.organization("sage")
		asleep := c.organization("asleep")
		for _, in := range []*organization.Organization{acme, sage, asleep} {
			c.join(in, c.ana, "member")
		}
		c.status(asleep, organization.Suspended)
		app := i.Application(c.tenant, withOrganization)
		browser, _ := c.signIn()
		authorize := func(change url.Values) (servertest.Request, *servertest.Page) {
			r := app.Authorize(change)
			return r, browser.Get(app.URL(i, r))
		}
		denied := func(what string, change url.Values, want string) {
			t.Helper()
			if _, p := authorize(change); p.Location == nil || p.Location.Query().Get("error") != want {
				t.Errorf("%s: %d, %v: %s", what, p.Status, p.Location, servertest.Text(p.Body))
			}
		}
		denied("silently", url.Values{"scope": {"openid organization"}, "prompt": {"none"}}, "interaction_required")
		r, p := authorize(url.Values{"scope": {"openid organization"}})
		offered := p.Forms[0].Buttons["organization"]
		if len(offered) != 2 || !slices.Contains(offered, string(acme.ID)) || !slices.Contains(offered, string(sage.ID)) {
			t.Fatalf("offered are %v", offered)
		}
		for _, wrong := range []string{string(asleep.ID), "acme", "", "org_00000000000000000000000000"} {
			if again := browser.Answer(p, url.Values{"organization": {wrong}}); again.Location != nil || !again.Has("organization") {
				t.Errorf("%q is taken", wrong)
			}
		}
		tokens := app.Redeem(i, r, browser.Answer(p, url.Values{"organization": {string(sage.ID)}}))
		if claims(t, tokens.ID)["org_id"] != string(sage.ID) {
			t.Errorf("%v", claims(t, tokens.ID))
		}
		before := i.Count()
		r, p = authorize(url.Values{"scope": {"openid organization"}})
		for table, n := range i.Count() {
			if n != before[table] && !strings.HasPrefix(table, "event") {
				t.Errorf("authorizing with what was chosen makes %d rows of %s", n-before[table], table)
			}
		}
		if tokens = app.Redeem(i, r, p); claims(t, tokens.ID)["org_id"] != string(sage.ID) {
			t.Errorf("it was not remembered: %v", claims(t, tokens.ID))
		}
		if r, p = authorize(url.Values{"scope": {"openid organization"}, "prompt": {"none"}}); app.Redeem(i, r, p).Status != http.StatusOK {
			t.Error("silently, once it is remembered")
		}
		r, p = authorize(url.Values{"scope": {"openid organization"}, "prompt": {"select_organization"}})
		tokens = app.Redeem(i, r, browser.Answer(p, url.Values{"organization": {string(acme.ID)}}))
		if claims(t, tokens.ID)["org_id"] != string(acme.ID) {
			t.Errorf("%v", claims(t, tokens.ID))
		}
		_, p = authorize(url.Values{"scope": {"openid organization"}, "prompt": {"select_organization"}})
		if p = browser.Answer(p, url.Values{"decision": {"deny"}}); p.Location == nil || p.Location.Query().Get("error") != "access_denied" {
			t.Errorf("cancelled: %v", p.Location)
		}

		for _, named := range []string{"sage", string(sage.ID)} {
			r, p = authorize(url.Values{"scope": {"openid organization:" + named}})
			if tokens = app.Redeem(i, r, p); claims(t, tokens.ID)["org_id"] != string(sage.ID) || tokens.Scope != "openid organization" {
				t.Errorf("%s: %v, %q", named, claims(t, tokens.ID), tokens.Scope)
			}
		}
		stranger := c.organization("stranger")
		for what, named := range map[string]string{"another's": "stranger", "another's id": string(stranger.ID), "none": "nobody", "suspended": "asleep", "nonsense": "A'B"} {
			denied(what, url.Values{"scope": {"openid organization:" + named}}, "access_denied")
		}
		denied("two", url.Values{"scope": {"openid organization:acme organization:sage"}}, "invalid_scope")
		denied("empty", url.Values{"scope": {"openid organization:"}}, "invalid_scope")
		refused := i.Application(c.tenant, nil)
		if p := browser.Get(refused.URL(i, refused.Authorize(url.Values{"scope": {"openid organization:acme"}}))); p.Location.Query().Get("error") != "invalid_scope" {
			t.Errorf("an application that may not ask: %v", p.Location)
		}

		// Taken out of what he has chosen, he is asked no more: one is left.
		c.leave(acme, c.ana)
		r, p = authorize(url.Values{"scope": {"openid organization"}})
		if tokens = app.Redeem(i, r, p); claims(t, tokens.ID)["org_id"] != string(sage.ID) {
			t.Errorf("%v", claims(t, tokens.ID))
		}
		c.leave(sage, c.ana)
		r, p = authorize(url.Values{"scope": {"openid organization"}})
		if tokens = app.Redeem(i, r, p); tokens.Status != http.StatusOK || claims(t, tokens.ID)["org_id"] != nil {
			t.Errorf("a member of none: %+v", tokens)
		}
		members := i.Application(c.tenant, func(s *application.Settings) { s.Organization = "required" })
		if p := browser.Get(members.URL(i, members.Authorize(nil))); p.Location == nil || p.Location.Query().Get("error") != "access_denied" {
			t.Errorf("an application for members: %v", p.Location)
		}
		c.join(sage, c.ana, "member")
		r = members.Authorize(nil) // it gets the organization without asking
		if tokens = members.Redeem(i, r, browser.Get(members.URL(i, r))); claims(t, tokens.ID)["org_id"] != string(sage.ID) {
			t.Errorf("%v", claims(t, tokens.ID))
		}
	})
}

// The consent to a third party names the organization, and what is allowed for
// one is not asked again.
func TestConsentNamesTheOrganization(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		acme, sage := c.organization("acme"), c.organization("sage")
		c.join(acme, c.ana, "member")
		c.join(sage, c.ana, "admin")
		app := i.Application(c.tenant, func(s *application.Settings) {
			withOrganization(s)
			s.Name, s.FirstParty, s.RedirectURIs = "Ledger by Bea", false, []string{"https://ledger.example/cb"}
		})
		browser, _ := c.signIn()
		r := app.Authorize(url.Values{"scope": {"openid organization"}})
		p := browser.Answer(browser.Get(app.URL(i, r)), url.Values{"organization": {string(sage.ID)}})
		if text := servertest.Text(p.Body); !asks(p, "allow") || !strings.Contains(text, "SAGE Ltd (admin)") || strings.Contains(text, "ACME") {
			t.Fatalf("%s", text)
		}
		tokens := app.Redeem(i, r, browser.Answer(p, url.Values{"decision": {"allow"}}))
		if claims(t, tokens.ID)["org_id"] != string(sage.ID) {
			t.Errorf("%v", claims(t, tokens.ID))
		}
	})
}

func TestDiscoveryTellsOfOrganizations(t *testing.T) {
	i := servertest.New(t, sqldb.SQLite)
	c := newCompany(t, i, nil)
	_, _, body := send(t, http.MethodGet, i.Base+c.tenant.Path+"/.well-known/openid-configuration", "", nil)
	for _, told := range []string{`"organization"`, `"org_id"`, `"org_name"`, `"org_roles"`} {
		if !strings.Contains(body, told) {
			t.Errorf("discovery lacks %s", told)
		}
	}
	if strings.Contains(body, "select_organization") { // libraries refuse a document with a prompt that they do not know
		t.Error("discovery names a prompt that is no standard's")
	}
	if got := c.machine().Token(i, url.Values{"grant_type": {"client_credentials"}, "scope": {"organization"}}); got.Error != "invalid_scope" {
		t.Errorf("an application for itself: %+v", got)
	}
}

// TestParallelInvitations: of 64 finishes of one invitation on two nodes, in
// browsers that are all the invited customer's, one makes the membership.
func TestParallelInvitations(t *testing.T) {
	i := servertest.New(t, sqldb.Postgres)
	second := i.SecondNode()
	c := newCompany(t, i, nil)
	acme := c.organization("acme")
	browser, _ := c.signIn()
	link := c.invite(acme, anaMail, "member")
	_, query, _ := strings.Cut(link, "?")
	var pages []*servertest.Page
	var browsers []*servertest.Browser
	for k := range 64 {
		node := []*servertest.Installation{i, second}[k%2]
		other := node.Browser()
		other.SetCookies(browser.Cookies())
		pages, browsers = append(pages, other.Get(node.Base+c.tenant.Path+"/join?"+query)), append(browsers, other)
		if !asks(pages[k], "accept") {
			t.Fatalf("%s", servertest.Text(pages[k].Body))
		}
	}
	joined := make([]bool, len(pages))
	atOnce(len(pages), func(k int) {
		p, err := browsers[k].TryAnswer(pages[k], url.Values{"decision": {"accept"}})
		joined[k] = err == nil && p.Status == http.StatusSeeOther && strings.Contains(p.Header.Get("Location"), "/account/organizations")
		if err != nil || p.Status >= 500 {
			t.Errorf("%v, %+v", err, p)
		}
	})
	n := 0
	for _, x := range joined {
		if x {
			n++
		}
	}
	if n != 1 || c.count(`SELECT COUNT(*) FROM organization_membership`) != 1 || c.count(`SELECT COUNT(*) FROM event WHERE type = 'organization.member.added'`) != 1 {
		t.Errorf("%d joined, %d memberships", n, c.count(`SELECT COUNT(*) FROM organization_membership`))
	}
}
