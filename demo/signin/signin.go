// Package signin signs an application's customers in at an OpenID provider: what an application needs beside go-oidc and
// oauth2, and nothing more.
//
// It owns the way there and back (authorization code with PKCE, state and nonce, all bound to the browser by a cookie), the
// application's own session, the refresh of its tokens and the sign-out. It does not know what the application's pages look
// like: what went wrong is handed to Options.Notice as a sentence for the customer.
//
//	in := signin.New(config, signin.Options{Cookie: "shop", Scopes: []string{"openid", "email"}, Notice: notice})
//	mux.HandleFunc("GET /signin", in.SignIn)
//	mux.HandleFunc("GET /callback", in.Callback)
//	mux.HandleFunc("POST /signout", in.SignOut)
//	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { visitor := in.Visitor(w, r) … })
package signin

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Config is what the provider gave the application at registration, and where the application itself is.
type Config struct {
	Issuer       string // as in the provider's discovery document
	ClientID     string
	ClientSecret string // empty for a public client
	RedirectURL  string // where the provider sends the browser back; the path must be served by Callback
	BaseURL      string // the application's own origin, without a slash at the end: "http://127.0.0.1:4001"

	// PostLogoutURL is where the browser comes back to after signing out at the provider, registered there exactly so.
	// Empty means BaseURL + SignedOutPath.
	PostLogoutURL string
	// ProviderInternalURL is the origin at which this server reaches the provider where that differs from the issuer's,
	// as between containers. Browsers are always sent to the issuer's own addresses.
	ProviderInternalURL string

	Logger *slog.Logger     // nil: slog.Default
	Now    func() time.Time // nil: time.Now
	Random io.Reader        // nil: crypto/rand
}

// SignedOutPath is where an application says that the customer is signed out, unless Config says otherwise.
const SignedOutPath = "/signed-out"

// Options are the application's own choices.
type Options struct {
	Cookie string   // prefix of its cookies' names: ports do not separate cookies, so each application needs another
	Scopes []string // with "openid"
	// Notice answers the request with a page that tells the customer what happened and what to do.
	Notice func(w http.ResponseWriter, r *http.Request, n Notice)
}

// Notice is something to tell a customer.
type Notice struct {
	Status int // HTTP status of the page
	Title  string
	Text   string
	Action string // label of the link that helps, "" for none
	Href   string // where it leads
	Code   string // the protocol's word for it, for whoever asks support; may be empty
}

// Client signs customers in. It is safe for concurrent use.
type Client struct {
	config   Config
	options  Options
	http     *http.Client
	secure   bool // BaseURL is https
	sessions *sessions

	mu       sync.Mutex // guards provider; held during discovery, so that many first visitors ask once
	provider *provider
}

// New prepares a client. It asks the provider nothing before the first customer signs in, so that an application starts
// whether or not its provider is up.
func New(config Config, options Options) *Client {
	if config.PostLogoutURL == "" {
		config.PostLogoutURL = config.BaseURL + SignedOutPath
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	return &Client{
		config:   config,
		options:  options,
		http:     &http.Client{Timeout: 10 * time.Second, Transport: transport(config)},
		secure:   strings.HasPrefix(config.BaseURL, "https://"),
		sessions: newSessions(),
	}
}

// IssuerOrigin is the provider's origin ("https://id.example.com"): a Content-Security-Policy that names form-action needs it,
// since the sign-out form is redirected there.
func (c *Client) IssuerOrigin() string {
	issuer, err := url.Parse(c.config.Issuer)
	if err != nil {
		return ""
	}
	return issuer.Scheme + "://" + issuer.Host
}

// secret is a new unguessable value of 256 bits.
func (c *Client) secret() (string, error) {
	var raw [32]byte
	if _, err := io.ReadFull(c.config.Random, raw[:]); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

func (c *Client) cookie(name, value, path string, age time.Duration) *http.Cookie {
	cookie := &http.Cookie{
		Name: c.options.Cookie + "_" + name, Value: value, Path: path,
		HttpOnly: true, Secure: c.secure, SameSite: http.SameSiteLaxMode, MaxAge: int(age / time.Second),
	}
	if age <= 0 {
		cookie.MaxAge = -1
	}
	return cookie
}

// localPath is path where that is a path of this application, and "/" for whatever would lead elsewhere.
func localPath(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") ||
		strings.ContainsAny(path, "\\\r\n\t") || len(path) > 200 {
		return "/"
	}
	return path
}
