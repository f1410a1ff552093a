package signin

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// sessionLife is how long this application remembers a customer; maxSessions bounds what it keeps in memory.
const (
	sessionLife = 12 * time.Hour
	maxSessions = 10_000
)

// session is a customer who is signed in to this application. The mutex makes refreshes of its tokens queue: two at once
// would present the same refresh token twice, which a provider that rotates them reads as theft.
type session struct {
	subject string
	began   time.Time

	mu      sync.Mutex
	idToken string
	token   *oauth2.Token
	scopes  []string
	claims  map[string]any
}

// sessions are kept in memory: a restart of the application forgets them, and single sign-on brings the customers back.
type sessions struct {
	mu   sync.Mutex
	byID map[string]*session
}

func newSessions() *sessions { return &sessions{byID: map[string]*session{}} }

func (s *sessions) begin(id string, one *session, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.began = now
	if len(s.byID) >= maxSessions {
		maps.DeleteFunc(s.byID, func(_ string, old *session) bool { return now.Sub(old.began) >= sessionLife })
	}
	for other := range s.byID { // still full: any one makes room
		if len(s.byID) < maxSessions {
			break
		}
		delete(s.byID, other)
	}
	s.byID[id] = one
}

func (s *sessions) find(id string, now time.Time) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.byID[id]
	if one == nil || now.Sub(one.began) >= sessionLife {
		delete(s.byID, id)
		return nil
	}
	return one
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}

// Visitor is a signed-in customer as a page needs to know one.
type Visitor struct {
	Subject   string
	GivenName string
	Name      string
	Email     string
	Scopes    []string
	Claims    map[string]any

	session *session
}

// Greeting is what to call the customer: the given name, else the e-mail address, else a friendly word.
func (v *Visitor) Greeting() string {
	for _, name := range []string{v.GivenName, v.Name, v.Email} {
		if name != "" {
			return name
		}
	}
	return "there"
}

func (c *Client) sessionCookie() string { return c.options.Cookie + "_session" }

// Visitor is whoever is signed in with this request, nil for nobody. Tokens that have expired are refreshed on the way; where
// the provider has ended the customer's sign-in, so does this application.
func (c *Client) Visitor(w http.ResponseWriter, r *http.Request) *Visitor {
	cookie, err := r.Cookie(c.sessionCookie())
	if err != nil {
		return nil
	}
	s := c.sessions.find(cookie.Value, c.config.Now())
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.refresh(r, s); err != nil {
		if ended(err) {
			c.sessions.end(cookie.Value)
			http.SetCookie(w, c.cookie("session", "", "/", 0))
			return nil
		}
		// The customer need not notice that the provider is away: the application's own session goes on.
		c.config.Logger.WarnContext(r.Context(), "sign-in: the refresh has to wait", "error", err)
	}
	v := &Visitor{Subject: s.subject, Scopes: slices.Clone(s.scopes), Claims: maps.Clone(s.claims), session: s}
	v.GivenName, _ = s.claims["given_name"].(string)
	v.Name, _ = s.claims["name"].(string)
	v.Email, _ = s.claims["email"].(string)
	return v
}

// refresh renews tokens that have expired. It is called with s.mu held.
func (c *Client) refresh(r *http.Request, s *session) error {
	if s.token.RefreshToken == "" || s.token.Expiry.IsZero() || c.config.Now().Before(s.token.Expiry.Add(-10*time.Second)) {
		return nil
	}
	p, err := c.discover()
	if err != nil {
		return err
	}
	// What is spent must be kept: a browser that goes away must not make us lose the next refresh token.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	next, err := p.oauth.TokenSource(c.context(ctx), &oauth2.Token{RefreshToken: s.token.RefreshToken}).Token()
	if err != nil {
		return err
	}
	s.token = next
	if next.Extra("id_token") == nil {
		return nil
	}
	raw, idToken, err := c.verify(r.WithContext(ctx), p, next)
	if err != nil {
		return err
	}
	if idToken.Subject != s.subject { // OpenID Connect Core, section 12.2
		return &oauth2.RetrieveError{ErrorCode: "invalid_grant"}
	}
	s.idToken = raw
	return nil
}

// ended tells whether the provider said that this customer's sign-in is over.
func ended(err error) bool {
	var refused *oauth2.RetrieveError
	return errors.As(err, &refused) && refused.ErrorCode == "invalid_grant"
}

// ErrEnded means that the customer has to sign in again before more can be learned.
var ErrEnded = errors.New("signin: the access token is no longer good")

// UserInfo asks the provider what it says of the customer now.
func (c *Client) UserInfo(r *http.Request, v *Visitor) (map[string]any, error) {
	p, err := c.discover()
	if err != nil {
		return nil, err
	}
	v.session.mu.Lock()
	token := *v.session.token
	v.session.mu.Unlock()
	if !token.Expiry.IsZero() && !c.config.Now().Before(token.Expiry) {
		return nil, ErrEnded
	}
	claims, err := userInfo(c.context(r.Context()), p, oauth2.StaticTokenSource(&token), v.Subject)
	if err != nil {
		return nil, err
	}
	v.session.mu.Lock()
	maps.Copy(v.session.claims, claims) // so that a changed name greets at once
	v.session.mu.Unlock()
	return claims, nil
}

func escape(path string) string { return url.QueryEscape(path) }
