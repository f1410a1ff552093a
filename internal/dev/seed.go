package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cardea-id/cardea/demo/club"
	"github.com/cardea-id/cardea/demo/recipes"
	"github.com/cardea-id/cardea/demo/shop"
	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Slug is the demo tenant's name in addresses.
const Slug = "olive-thyme"

// ana is the demo customer.
var ana = DemoCustomer{Identifier: "ana@olive-thyme.example", Password: "lemon-orchard-at-dusk"}

// demonstration is what the demo needs to know of itself from run to run. The
// applications' secrets are told once only, and so are kept in the data folder.
type demonstration struct {
	PortBase     int                        `json:"port_base"`
	Applications map[string]demoApplication `json:"applications"`

	addresses Addresses
	base      int
}

type demoApplication struct {
	ID     id.Application `json:"client_id"`
	Secret string         `json:"client_secret"`
}

// seed makes what is not there yet: the system tenant, the demo tenant, its
// applications and its customer. A second run finds everything.
func seed(ctx context.Context, s *server.Server, dir string, o Options) (*demonstration, error) {
	d := &demonstration{PortBase: o.PortBase, Applications: map[string]demoApplication{}, base: o.PortBase}
	file := filepath.Join(dir, "demo.json")
	text, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := json.Unmarshal(text, d); err != nil {
			return nil, fmt.Errorf("%s is not what was written to it; start over with --fresh: %w", file, err)
		}
		if d.PortBase != o.PortBase {
			return nil, fmt.Errorf("this data was made with --port-base %d, which is part of the issuer's address: use that, or start over with --fresh", d.PortBase)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read the demo's secrets: %w", err)
	}
	t, err := seedTenant(ctx, s, o)
	if err != nil {
		return nil, err
	}
	if err := d.seedApplications(ctx, s, t, file); err != nil {
		return nil, err
	}
	if err := seedCustomer(ctx, s, t); err != nil {
		return nil, err
	}
	inbox := origin(o.PortBase+portCardea) + "/dev/inbox"
	d.addresses = Addresses{
		Issuer: t.Issuer, Account: t.URL("/account"), Inbox: inbox, InboxJSON: inbox + ".json", DemoCustomer: ana,
		Shop: origin(o.PortBase + portShop), Club: origin(o.PortBase + portClub), Recipes: origin(o.PortBase + portRecipes),
		System: origin(o.PortBase + portSystem), AdminAPI: origin(o.PortBase+portSystem) + "/admin/v1/docs", AdminToken: origin(o.PortBase+portCardea) + "/dev/token",
	}
	return d, nil
}

func seedTenant(ctx context.Context, s *server.Server, o Options) (*tenant.Tenant, error) {
	t, err := s.Tenants.BySlug(ctx, Slug)
	if !errors.Is(err, tenant.ErrNotFound) {
		return t, err
	}
	theme := json.RawMessage(`"olive-and-thyme"`)
	settings := tenant.Defaults()
	settings.Mail = tenant.Mail{FromName: "Olive & Thyme", FromAddress: "hello@olive-thyme.example"}
	settings.Phone.Enabled = true
	settings.Phone.NumberPerHour, settings.Phone.NetworkPerHour = 20, 1000 // everybody is the same network here
	return s.Tenants.Create(ctx, tenant.New{
		Slug: Slug, Name: "Olive & Thyme", Issuer: origin(o.PortBase + portCardea), ByPath: true, Settings: settings, Theme: theme, Actor: "system",
	})
}

// memberSince is what somebody else's application gets beside the standard claims:
// the consent page and the account show it.
var memberSince = []claim.Mapping{{
	Name: "member_since", Value: "customer.created_at", In: []claim.Target{claim.IDToken, claim.UserInfo},
	Label: map[string]string{"en": "Since when you are a customer", "de": "Seit wann Sie Kunde sind", "ar": "منذ متى أنت عميل"},
}}

func (d *demonstration) seedApplications(ctx context.Context, s *server.Server, t *tenant.Tenant, file string) error {
	for _, wanted := range []struct {
		key, name  string
		port       int
		firstParty bool
		scopes     []string
	}{
		{"shop", shop.Name, portShop, true, shop.Scopes()},
		{"club", club.Name, portClub, true, club.Scopes()},
		{"recipes", recipes.Name, portRecipes, false, recipes.Scopes()},
	} {
		if known, has := d.Applications[wanted.key]; has {
			if _, err := s.Applications.Get(ctx, t.ID, known.ID); err == nil {
				continue
			}
		}
		home := origin(d.base + wanted.port)
		var claims []claim.Mapping
		if !wanted.firstParty {
			claims = memberSince
		}
		created, secret, err := s.Applications.Create(ctx, t.ID, "", application.Settings{
			Name: wanted.name, Kind: application.Web, FirstParty: wanted.firstParty, Scopes: wanted.scopes, HomeURL: home, Claims: claims,
			RedirectURIs: []string{home + "/callback"}, PostLogoutURIs: []string{home + "/signed-out"},
		}, "system")
		if err != nil {
			return err
		}
		d.Applications[wanted.key] = demoApplication{created.ID, secret}
	}
	if err := d.seedRobot(ctx, s); err != nil {
		return err
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("write the demo's secrets: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

func seedCustomer(ctx context.Context, s *server.Server, t *tenant.Tenant) error {
	keys, err := s.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return err
	}
	address, err := identifier.Normalise(identifier.Email, ana.Identifier, identifier.Options{})
	if err != nil {
		return err
	}
	if _, found, err := s.Directory.Find(ctx, t.ID, keys, address); found || err != nil {
		return err
	}
	params := credential.Params{MemoryKiB: t.Settings.Password.MemoryKiB, Time: t.Settings.Password.Time, Parallelism: t.Settings.Password.Parallelism}
	hash, err := s.Hasher.Hash(ctx, credential.Asker{Tenant: t.ID}, params, credential.NewPassword(ana.Password))
	if err != nil {
		return err
	}
	who := id.New[id.Customer](s.Clock.Now(), s.Random)
	key, err := s.Ring.CreateCustomer(ctx, t.ID, who)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		err := s.Directory.Create(tx, keys, key, customer.NewCustomer{
			Tenant: t.ID, Customer: who, Actor: "system",
			Identifiers: []customer.NewIdentifier{{Normalised: address, Verified: true}},
			Profile:     map[string]any{"given_name": "Ana", "family_name": "Lopes"},
		})
		if err != nil {
			return err
		}
		_, err = s.Passwords.SetPassword(tx, key, credential.Change{Tenant: t.ID, Customer: who, Actor: "system"}, hash)
		return err
	})
}
