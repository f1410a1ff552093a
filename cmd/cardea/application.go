package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

type applicationView struct {
	ClientID     string   `json:"client_id"`
	Name         string   `json:"name"`
	Kind         string   `json:"kind"`
	FirstParty   bool     `json:"first_party"`
	RedirectURIs []string `json:"redirect_uris"`
	Disabled     bool     `json:"disabled"`
	Revision     int64    `json:"revision"`
	Secret       string   `json:"client_secret,omitempty"`
}

// secretView is what is told once.
type secretView struct {
	ClientID string `json:"client_id"`
	Secret   string `json:"client_secret,omitempty"`
}

type createApplicationCommand struct {
	ofTenant
	output
	Name          string   `required:"" help:"Its name, which customers see when they are asked to allow it something."`
	Env           bool     `help:"Print a .env for the application, and nothing else."`
	Kind          string   `required:"" enum:"web,spa,native,machine,device" help:"Where it runs: web (on a server), spa (in the browser), native (on a device), machine (for itself), device (a television or the like)."`
	RedirectURI   []string `name:"redirect-uri" sep:"none" placeholder:"URI" help:"Where customers are sent back to. May be repeated."`
	PostLogoutURI []string `name:"post-logout-redirect-uri" sep:"none" placeholder:"URI" help:"Where customers may be sent after signing out. May be repeated."`
	Scope         []string `placeholder:"SCOPE" help:"A scope that it may ask for; without any, the standard ones. May be repeated."`
	Resource      []string `sep:"none" placeholder:"URI" help:"An API that it may ask for tokens for (RFC 8707). May be repeated."`
	Server        string   `name:"resource-server" placeholder:"URI" help:"The API that it is itself: it may introspect tokens that are for it."`
	FirstParty    bool     `help:"It is the tenant's own: customers are not asked for consent."`
	AuthMethod    string   `placeholder:"METHOD" help:"client_secret_basic, client_secret_post or none; without, what the kind needs."`
	Organization  string   `enum:",optional,required" default:"" placeholder:"WHETHER" help:"optional: it may ask for the customer's organization; required: it is for members of an organization only."`
	PKCEOptional  bool     `name:"pkce-optional" help:"Its library is older than PKCE: let it do without. Only for applications with a secret."`
	IDTokenAlg    string   `name:"id-token-alg" placeholder:"ALG" help:"RS256 (the default), ES256 or EdDSA."`
	HomeURL       string   `name:"home-url" placeholder:"URL" help:"Its home page."`
	PolicyURL     string   `name:"policy-url" placeholder:"URL" help:"Its privacy policy."`
	TermsURL      string   `name:"terms-url" placeholder:"URL" help:"Its terms of service."`
}

func (c *createApplicationCommand) Run(ctx context.Context, p *program) error {
	if c.Kind == kindDevice {
		return usage("%s", noDevices)
	}
	if c.Env && c.JSON {
		return usage("--env and --json exclude each other")
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	body := map[string]any{
		"name": c.Name, "kind": c.Kind, "redirect_uris": c.RedirectURI, "post_logout_redirect_uris": c.PostLogoutURI, "scopes": c.Scope,
		"first_party": c.FirstParty, "token_endpoint_auth_method": c.AuthMethod, "id_token_signed_response_alg": c.IDTokenAlg, "pkce_optional": c.PKCEOptional, "organization": c.Organization,
		"client_uri": c.HomeURL, "policy_uri": c.PolicyURL, "tos_uri": c.TermsURL, "resources": c.Resource, "resource_server": c.Server,
	}
	var made secretView
	if err := cl.call(ctx, http.MethodPost, pathTo("tenants", c.Tenant, "applications"), nil, body, &made); err != nil {
		return err
	}
	if !c.Env {
		return made.print(p, c.output)
	}
	scopes := c.Scope
	if c.Organization != "" && !slices.Contains(scopes, "organization") {
		if len(scopes) == 0 {
			scopes = slices.Clone(usualScopes)
		}
		scopes = append(slices.Clone(scopes), "organization")
	}
	application, err := environment(ctx, cl, c.Tenant, made, c.Kind, c.RedirectURI, c.PostLogoutURI, scopes)
	if err != nil {
		return err
	}
	return p.printEnv(application)
}

func (s secretView) print(p *program, o output) error {
	return o.show(p, s, func() error {
		if err := p.fields("client_id", s.ClientID, "client_secret", s.Secret); err != nil || s.Secret == "" {
			return err
		}
		return p.line("Keep the secret now: it is not shown again.")
	})
}

type listApplicationsCommand struct {
	ofTenant
	output
}

func (c *listApplicationsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := list[applicationView](ctx, cl, pathTo("tenants", c.Tenant, "applications"), nil, 0)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, x := range found {
			lines = append(lines, []string{x.ClientID, x.Name, x.Kind, yes(x.FirstParty), yes(x.Disabled), strings.Join(x.RedirectURIs, " ")})
		}
		return p.table("The tenant has no applications.", []string{"CLIENT ID", "NAME", "KIND", "FIRST PARTY", "DISABLED", "REDIRECT URIS"}, lines)
	})
}

type rotateSecretCommand struct {
	ofTenant
	output
	Application string `arg:"" help:"The application's client id."`
	KeepOld     bool   `help:"Leave the old secret good until the next one is made, so that the application can be moved over."`
}

func (c *rotateSecretCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var made secretView
	if err := cl.call(ctx, http.MethodPost, pathTo("tenants", c.Tenant, "applications", c.Application, "secret"), nil, map[string]any{"keep_old": c.KeepOld}, &made); err != nil {
		return err
	}
	return made.print(p, c.output)
}
