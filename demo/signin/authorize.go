package signin

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// attempt is one way to the provider and back. It lives in a cookie of its own, named for the state, so that two tabs may
// sign in at once and nobody else's browser can finish what this one began.
type attempt struct {
	Nonce    string `json:"n"`
	Verifier string `json:"v"` // PKCE, RFC 7636
	Return   string `json:"r"`
}

// attemptLife is how long a customer may take at the provider.
const attemptLife = 30 * time.Minute

// SignIn sends the browser to the provider. "return" is the local path to come back to, "lang" the language to be asked in.
func (c *Client) SignIn(w http.ResponseWriter, r *http.Request) {
	p, err := c.discover()
	if err != nil {
		c.config.Logger.WarnContext(r.Context(), "sign-in: the provider cannot be reached", "error", err)
		c.unreachable(w, r)
		return
	}
	state, err := c.secret()
	if err != nil {
		c.failed(w, r, "randomness", err)
		return
	}
	nonce, err := c.secret()
	if err != nil {
		c.failed(w, r, "randomness", err)
		return
	}
	verifier, err := c.secret() // 43 characters of base64url, what RFC 7636 section 4.1 recommends
	if err != nil {
		c.failed(w, r, "randomness", err)
		return
	}
	a := attempt{Nonce: nonce, Verifier: verifier, Return: localPath(r.URL.Query().Get("return"))}
	raw, err := json.Marshal(a)
	if err != nil {
		c.failed(w, r, "attempt", err)
		return
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)}
	if lang := r.URL.Query().Get("lang"); lang != "" && len(lang) <= 35 {
		options = append(options, oauth2.SetAuthURLParam("ui_locales", lang))
	}
	http.SetCookie(w, c.cookie("signin_"+state, base64.RawURLEncoding.EncodeToString(raw), c.callbackPath(), attemptLife))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, p.oauth.AuthCodeURL(state, options...), http.StatusFound)
}

// takeAttempt finds the attempt that state belongs to and forgets it: a second use of the same answer finds nothing.
func (c *Client) takeAttempt(w http.ResponseWriter, r *http.Request, state string) (attempt, bool) {
	var a attempt
	// A state of ours is 43 characters; anything else is no cookie's name and need not be looked for.
	if len(state) != 43 {
		return a, false
	}
	cookie, err := r.Cookie(c.options.Cookie + "_signin_" + state)
	if err != nil {
		return a, false
	}
	http.SetCookie(w, c.cookie("signin_"+state, "", c.callbackPath(), 0))
	raw, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || json.Unmarshal(raw, &a) != nil || a.Nonce == "" || a.Verifier == "" {
		return attempt{}, false
	}
	a.Return = localPath(a.Return)
	return a, true
}

func (c *Client) callbackPath() string {
	u, err := url.Parse(c.config.RedirectURL)
	if err != nil || u.Path == "" {
		return "/"
	}
	return u.Path
}
