package pages

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Accent is the colour of a brand's buttons and of the text on them, in the
// light.
func (p *Pages) Accent(ctx context.Context, t *tenant.Tenant) (accent, onAccent string, err error) {
	look, err := p.looks.of(ctx, p.Logger, t)
	if err != nil {
		return "", "", err
	}
	return look.Theme.Light.Accent, look.Theme.Light.OnAccent, nil
}

// previews are the pages that Preview shows, with made-up customers.
func previews(t *tenant.Tenant, now time.Time) map[string]view.Page {
	const ana, shop = "ana@example.com", "Example Shop"
	state := view.Page{State: "preview", Action: "#", Values: map[string]string{}, Application: shop}
	with := func(data view.Data) view.Page {
		page := state
		page.Data = data
		return page
	}
	wrong := with(view.Password{Identifier: ana, Stay: true, Code: true})
	wrong.Errors = map[string]view.Text{"password": view.T("error.password_wrong")}
	consent := with(view.Consent{As: ana, ThirdParty: true, Shares: []view.Share{{Name: "email", Value: ana}, {Name: "name", Value: "Ana Lopes"}, {Name: "offline_access"}}})
	account := with(view.Account{Name: "Ana Lopes", Identifier: ana, Services: []view.Service{{Name: shop, URL: "https://shop.example/"}},
		Devices: 2, Connected: 1, Language: "en"})
	devices := with(view.Devices{Sessions: []view.Session{
		{ID: "1", Browser: "Firefox", System: "Windows", This: true, Seen: now}, {ID: "2", Browser: "Safari", System: "iPhone", Phone: true, Seen: now.Add(-26 * time.Hour)}}})
	for _, page := range []*view.Page{&account, &devices} {
		page.Application, page.Portal = "", &view.Portal{HomeURL: "#"}
		for _, door := range doors {
			page.Portal.Links = append(page.Portal.Links, view.PortalLink{Name: door.name, URL: "#", Here: page == &devices && door.path == devicesPath})
		}
	}
	return map[string]view.Page{
		"sign-in":        with(view.Identify{Kinds: []string{"email"}, Create: true}),
		"password":       with(view.Password{Identifier: ana, Stay: true, Code: true}),
		"password-wrong": wrong,
		"sign-up":        with(view.CreateAccount{SignIn: true}),
		"code":           with(view.Code{Address: ana, Length: 6, Resend: true, Back: true, Password: true}),
		"new-password":   with(view.NewPassword{Identifier: ana, MinLength: t.Settings.Password.MinLength, Skip: true}),
		"consent":        consent,
		"account":        account,
		"devices":        devices,
		"fault":          {Data: view.Fault{}},
	}
}

// Previews lists the pages that Preview shows.
func Previews() []string {
	var names []string
	for name := range previews(&tenant.Tenant{}, time.Time{}) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var (
	stylesheetLink = regexp.MustCompile(`<link rel="stylesheet" href="([^"]+)">`)
	scriptOrFont   = regexp.MustCompile(`<script [^>]*></script>\n?|<link rel="preload"[^>]*>\n?`)
	assetAddress   = regexp.MustCompile(`(?:/t/[a-z0-9-]+)?/assets/[A-Za-z0-9./-]+\.(?:png|jpg|webp|svg|woff2)`)
)

// Preview shows a page as the tenant's customers would see it, with made-up
// customers, in one file that needs nothing else: it is opened from a folder.
func (p *Pages) Preview(ctx context.Context, t *tenant.Tenant, name, lang string) ([]byte, error) {
	now := p.Clock.Now()
	page, ok := previews(t, now)[name]
	if !ok {
		return nil, fmt.Errorf("there is no page %q; there are %s", name, strings.Join(Previews(), ", "))
	}
	look, err := p.looks.make(t)
	if err != nil {
		return nil, err
	}
	offered := p.offered(t)
	page.Look, page.Now, page.Languages, page.Lang = look, now, offered, lang
	if !slices.Contains(p.Views.Words().Languages(), lang) {
		page.Lang = offered[0]
	}
	var out bytes.Buffer
	if err := p.Views.Render(&out, page); err != nil {
		return nil, err
	}
	body := scriptOrFont.ReplaceAll(out.Bytes(), nil)
	body = stylesheetLink.ReplaceAllFunc(body, func(link []byte) []byte {
		address := string(stylesheetLink.FindSubmatch(link)[1])
		asset, _ := look.Asset(address[strings.LastIndex(address, "/")+1:])
		return []byte("<style>\n" + string(asset.Body) + "</style>") // no stylesheet of ours or of brand's has a "<"
	})
	var failed error
	body = assetAddress.ReplaceAllFunc(body, func(address []byte) []byte {
		inline, err := p.inline(ctx, t, look, string(address))
		if err != nil {
			failed = err
		}
		return []byte(inline)
	})
	return body, failed
}

// inline is an asset as a data: address.
func (p *Pages) inline(ctx context.Context, t *tenant.Tenant, look *view.Look, address string) (string, error) {
	name := address[strings.LastIndex(address, "/")+1:]
	asset, ok := p.Views.Asset(name)
	if !ok {
		asset, ok = look.Asset(name)
	}
	if !ok {
		found, body, err := p.BrandAsset(ctx, t, name)
		if err != nil {
			return "", err
		}
		asset.Body, asset.ContentType = body, found.Type
	}
	return "data:" + asset.ContentType + ";base64," + base64.StdEncoding.EncodeToString(asset.Body), nil
}
