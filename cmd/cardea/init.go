package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// initCommand leads from nothing to an application that can sign customers in.
// What no flag says it asks for, on standard error and standard input, so that
// standard output is the .env and nothing else.
type initCommand struct {
	place
	output
	Brand       string `placeholder:"NAME" help:"The brand that customers see. It is a tenant of its own; an existing one is taken by its name or slug."`
	Slug        string `placeholder:"SLUG" help:"Name of a new tenant in addresses; without, it is made from the brand."`
	Issuer      string `placeholder:"ORIGIN" help:"Origin of a new tenant, such as https://id.example.com. Needed unless the configuration has a base_url, under which a tenant without one is served by path."`
	Kind        string `placeholder:"KIND" help:"Where the application runs: web (on a server), spa (in the browser), native (on a device), machine (for itself)."`
	RedirectURI string `name:"redirect-uri" placeholder:"URI" help:"Where customers are sent back to."`
	Name        string `placeholder:"NAME" help:"The application's name; without, the brand's."`
	FirstParty  bool   `default:"true" negatable:"" help:"It is the brand's own: customers are not asked for consent."`
}

// initView is what was made, for scripts.
type initView struct {
	Tenant        string   `json:"tenant"`
	Slug          string   `json:"slug"`
	Issuer        string   `json:"issuer"`
	NewTenant     bool     `json:"new_tenant"`
	ClientID      string   `json:"client_id"`
	Secret        string   `json:"client_secret,omitempty"`
	Kind          string   `json:"kind"`
	RedirectURIs  []string `json:"redirect_uris"`
	PostLogoutURI string   `json:"post_logout_redirect_uri,omitempty"`
}

func (c *initCommand) Run(ctx context.Context, p *program) error {
	if c.Kind != "" {
		if err := knownKind(c.Kind); err != nil {
			return err
		}
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	tenants, err := list[tenantView](ctx, cl, pathTo("tenants"), nil, 0)
	if err != nil {
		return err
	}
	tenants = slices.DeleteFunc(tenants, func(t tenantView) bool { return t.Slug == systemSlug })
	if err := c.ask(p, tenants); err != nil {
		return err
	}
	made := initView{Kind: c.Kind, RedirectURIs: []string{}}
	at, found := existing(tenants, c.Brand)
	switch {
	case found && (c.Slug != "" || c.Issuer != ""):
		return usage("the brand %q is there already, with the slug %s and the issuer %s: leave --slug and --issuer out to add an application to it", c.Brand, at.Slug, at.Issuer)
	case found:
		fmt.Fprintf(p.err, "The application goes to the tenant %s, which is there already.\n", at.Slug)
	default:
		if at, err = c.makeTenant(ctx, p, cl); err != nil {
			return err
		}
		made.NewTenant = true
	}
	made.Tenant, made.Slug, made.Issuer = at.ID, at.Slug, at.Issuer

	body := map[string]any{"name": c.name(), "kind": c.Kind, "first_party": c.FirstParty}
	var postLogout []string
	if c.Kind != kindMachine {
		made.RedirectURIs = []string{c.RedirectURI}
		body["redirect_uris"] = made.RedirectURIs
		if home := homeOf(c.RedirectURI); home != "" {
			made.PostLogoutURI, postLogout = home, []string{home}
			body["post_logout_redirect_uris"], body["client_uri"] = postLogout, home
		}
	} else {
		body["first_party"] = false // there is nobody to be asked
	}
	var secret secretView
	if err := cl.call(ctx, http.MethodPost, pathTo("tenants", at.Slug, "applications"), nil, body, &secret); err != nil {
		if made.NewTenant {
			return fmt.Errorf("the tenant %s is made, its application is not: %w", at.Slug, err)
		}
		return err
	}
	made.ClientID, made.Secret = secret.ClientID, secret.Secret
	return c.show(p, made, func() error {
		return p.printEnv(registered{
			Issuer: at.Issuer, ClientID: made.ClientID, Secret: made.Secret, Kind: c.Kind, RedirectURI: c.RedirectURI, PostLogoutURI: made.PostLogoutURI,
		})
	})
}

// ask asks for what no flag says.
func (c *initCommand) ask(p *program, tenants []tenantView) error {
	in := &questions{p: p, in: bufio.NewReader(io.LimitReader(p.in, 64<<10))}
	if c.Brand == "" {
		question := "Brand, as customers know it"
		if len(tenants) > 0 {
			var there []string
			for _, t := range tenants[:min(len(tenants), 10)] {
				there = append(there, t.Slug)
			}
			question += " (a new one, or one that is there: " + strings.Join(there, ", ") + ")"
		}
		if err := in.put("--brand", question, "", &c.Brand, func(text string) error {
			if _, found := existing(tenants, text); !found && c.Slug == "" && slugOf(text) == "" {
				return errors.New("no address can be made of that name; give one in --slug")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if c.Kind == "" {
		if err := in.put("--kind", "Kind of application: web (on a server), spa (in the browser), native (on a device), machine (for itself)", kindWeb, &c.Kind, knownKind); err != nil {
			return err
		}
	}
	if c.Kind == kindMachine {
		if c.RedirectURI != "" {
			return usage("a machine signs nobody in: it has no --redirect-uri")
		}
		return nil
	}
	if c.RedirectURI == "" {
		return in.put("--redirect-uri", "Redirect URI, where customers come back to", "http://localhost:3000/callback", &c.RedirectURI, func(text string) error {
			if u, err := url.Parse(text); err != nil || u.Scheme == "" {
				return errors.New("that is not a whole address, such as https://app.example.com/callback")
			}
			return nil
		})
	}
	return nil
}

// systemSlug is the operators' own tenant, to which no brand belongs.
const systemSlug = "system"

func knownKind(kind string) error {
	switch kind {
	case kindWeb, "spa", "native", kindMachine:
		return nil
	case kindDevice:
		return usage("%s", noDevices)
	}
	return usage("there is no kind %q: it is web, spa, native or machine", kind)
}

func (c *initCommand) name() string {
	if c.Name != "" {
		return c.Name
	}
	return c.Brand
}

func (c *initCommand) makeTenant(ctx context.Context, p *program, cl *client) (tenantView, error) {
	if c.Slug == "" {
		c.Slug = slugOf(c.Brand)
	}
	if c.Slug == systemSlug {
		return tenantView{}, usage("the tenant %s is the operators' own: choose another name, or give another in --slug", systemSlug)
	}
	if c.Slug == "" {
		return tenantView{}, usage("no address can be made of the brand %q: give one in --slug", c.Brand)
	}
	var made tenantView
	err := cl.call(ctx, http.MethodPost, pathTo("tenants"), nil, map[string]any{"slug": c.Slug, "name": c.Brand, "issuer": c.Issuer}, &made)
	if err != nil && c.Issuer == "" && strings.Contains(err.Error(), "base_url") {
		return tenantView{}, fmt.Errorf("%w\nGive the brand's own origin with --issuer", err)
	}
	if err != nil {
		return tenantView{}, err
	}
	p.warn(made.Warnings)
	fmt.Fprintln(p.err, printable(fmt.Sprintf("Made the tenant %s, %q.", made.Slug, made.Name)))
	return made, nil
}

// existing finds a tenant by slug or name.
func existing(tenants []tenantView, brand string) (tenantView, bool) {
	for _, t := range tenants {
		if t.Slug == brand || strings.EqualFold(t.Name, brand) {
			return t, true
		}
	}
	return tenantView{}, false
}

// slugOf makes a name for addresses: "Olive & Thyme" is olive-thyme.
func slugOf(brand string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(brand) { // é is e and an accent, which is passed over
		switch {
		case r >= 'A' && r <= 'Z':
			b.WriteRune(r - 'A' + 'a')
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9' && b.Len() > 0: // it begins with a letter
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r) || r == '\'' || r == '’':
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	const most = 40
	return strings.TrimRight(b.String()[:min(b.Len(), most)], "-")
}

// homeOf is the origin of a redirect URI with a slash, where customers are sent
// after signing out; "" for an app's own scheme.
func homeOf(redirect string) string {
	u, err := url.Parse(redirect)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/"
}

// questions asks on standard error and reads answers from standard input.
type questions struct {
	p  *program
	in *bufio.Reader
}

// put asks one question until the answer will do. Nothing means otherwise.
func (q *questions) put(flag, question, otherwise string, into *string, check func(string) error) error {
	for {
		fmt.Fprint(q.p.err, printable(question))
		if otherwise != "" {
			fmt.Fprintf(q.p.err, " [%s]", otherwise)
		}
		fmt.Fprint(q.p.err, ": ")
		line, err := q.in.ReadString('\n')
		answer := strings.TrimSpace(line)
		if err != nil && answer == "" {
			fmt.Fprintln(q.p.err)
			return usage("nobody answers: give %s", flag)
		}
		if answer == "" {
			answer = otherwise
		}
		if answer == "" {
			continue
		}
		if wrong := check(answer); wrong != nil {
			fmt.Fprintln(q.p.err, printable(wrong.Error()))
			if err != nil {
				return usage("nobody answers any more: give %s", flag)
			}
			continue
		}
		*into = answer
		return nil
	}
}
