package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
)

// The kinds of application that are told apart here; the handlers know all.
const (
	kindWeb     = "web"
	kindMachine = "machine"
	kindDevice  = "device"
)

// noDevices is what is said of televisions, consoles and the like until the
// device authorization grant (RFC 8628) is there.
const noDevices = "the device authorization grant (RFC 8628) is not there yet, so a device without a browser cannot sign customers in; " +
	"a device with a browser can be of kind native"

// registered is an application as its .env tells of it.
type registered struct {
	Issuer        string
	ClientID      string
	Secret        string
	Kind          string
	RedirectURI   string
	PostLogoutURI string
	Scopes        []string
}

// environment reads where an application that was just made finds its issuer.
func environment(ctx context.Context, cl *client, tenant string, made secretView, kind string, redirect, postLogout, scopes []string) (registered, error) {
	var at tenantView
	if err := cl.call(ctx, http.MethodGet, pathTo("tenants", tenant), nil, nil, &at); err != nil {
		return registered{}, err
	}
	r := registered{Issuer: at.Issuer, ClientID: made.ClientID, Secret: made.Secret, Kind: kind, Scopes: scopes}
	if len(redirect) > 0 {
		r.RedirectURI = redirect[0]
	}
	if len(postLogout) > 0 {
		r.PostLogoutURI = postLogout[0]
	}
	return r, nil
}

// usualScopes are what an application asks for that has named none.
var usualScopes = []string{"openid", "profile", "email", "offline_access"}

// dotenv writes the environment that an application is started with, in the
// form that shells, Node, Docker Compose and the usual libraries read alike.
func (r registered) dotenv() string {
	scopes := r.Scopes
	if len(scopes) == 0 && r.Kind != kindMachine {
		scopes = usualScopes
	}
	var b strings.Builder
	for _, line := range [][2]string{
		{"OIDC_ISSUER", r.Issuer}, {"OIDC_CLIENT_ID", r.ClientID}, {"OIDC_CLIENT_SECRET", r.Secret},
		{"OIDC_REDIRECT_URI", r.RedirectURI}, {"OIDC_POST_LOGOUT_REDIRECT_URI", r.PostLogoutURI}, {"OIDC_SCOPE", strings.Join(scopes, " ")},
	} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%s=%s\n", line[0], quoted(line[1]))
		}
	}
	if r.Kind == kindWeb {
		fmt.Fprintf(&b, "SESSION_SECRET=%s\n", rand.Text()+rand.Text()) // for the application's own cookies
	}
	return b.String()
}

// quoted writes a value so that nothing in it means something to a shell.
func quoted(value string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~:/?@%+,=", r)
	}
	if strings.IndexFunc(value, func(r rune) bool { return !plain(r) }) < 0 {
		return value
	}
	if !strings.Contains(value, "'") {
		return "'" + value + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(value) + `"`
}

// printEnv prints an application's .env, and beside it, for whoever looks on,
// what to do with it.
func (p *program) printEnv(r registered) error {
	if _, err := fmt.Fprint(p.out, r.dotenv()); err != nil {
		return err
	}
	if r.Secret != "" {
		fmt.Fprintln(p.err, "Keep the secret now, and out of the repository: it is not shown again.")
	}
	return nil
}
