package signin

import (
	"net/http"
	"net/url"
)

// SignOut ends the application's session, then sends the browser to the provider, which asks whether to sign out everywhere
// (OpenID Connect RP-Initiated Logout 1.0). Guard the route with http.CrossOriginProtection.
func (c *Client) SignOut(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	target := c.config.PostLogoutURL
	if cookie, err := r.Cookie(c.sessionCookie()); err == nil {
		s := c.sessions.find(cookie.Value, c.config.Now())
		c.sessions.end(cookie.Value)
		http.SetCookie(w, c.cookie("session", "", "/", 0))
		if s != nil {
			if end, ok := c.endSession(s); ok {
				target = end
			}
		}
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
}

func (c *Client) endSession(s *session) (string, bool) {
	p, err := c.discover()
	if err != nil || p.metadata.EndSession == "" {
		return "", false
	}
	end, err := url.Parse(p.metadata.EndSession)
	if err != nil {
		return "", false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := end.Query()
	q.Set("id_token_hint", s.idToken)
	q.Set("client_id", c.config.ClientID)
	q.Set("post_logout_redirect_uri", c.config.PostLogoutURL)
	end.RawQuery = q.Encode()
	return end.String(), true
}
