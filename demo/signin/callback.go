package signin

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Callback takes the provider's answer: it checks that this browser asked for it and that this provider gave it, redeems the
// code, and begins the application's session.
func (c *Client) Callback(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	q := r.URL.Query()
	a, ok := c.takeAttempt(w, r, q.Get("state"))
	if !ok {
		c.options.Notice(w, r, Notice{
			Status: http.StatusBadRequest, Title: "Let’s try that again", Code: "state_mismatch",
			Text:   "This sign-in was started somewhere else, took too long, or was finished already. Nothing has happened to your account.",
			Action: "Sign in", Href: "/signin",
		})
		return
	}
	again := "/signin?return=" + escape(a.Return)
	p, err := c.discover()
	if err != nil {
		c.config.Logger.WarnContext(r.Context(), "sign-in: the provider cannot be reached", "error", err)
		c.unreachable(w, r)
		return
	}
	// RFC 9207 section 2.4: before anything else in the answer is believed.
	if iss := q.Get("iss"); iss != c.config.Issuer && (iss != "" || p.metadata.SendsIss) {
		c.config.Logger.WarnContext(r.Context(), "sign-in: the answer names another issuer", "expected", c.config.Issuer)
		c.options.Notice(w, r, Notice{
			Status: http.StatusBadRequest, Title: "We didn’t trust that answer", Code: "iss_mismatch",
			Text:   "It came from somewhere other than the place you sign in, so we stopped. Nothing has happened to your account.",
			Action: "Sign in", Href: again,
		})
		return
	}
	if code := q.Get("error"); code != "" {
		c.refused(w, r, code, again)
		return
	}
	session, err := c.redeem(r, p, a, q.Get("code"))
	if err != nil {
		var fault *fault
		code := "sign_in_failed"
		if errors.As(err, &fault) {
			code = fault.code
		}
		c.config.Logger.WarnContext(r.Context(), "sign-in failed", "code", code, "error", err)
		c.options.Notice(w, r, Notice{
			Status: http.StatusBadGateway, Title: "That didn’t work", Code: code,
			Text:   "We could not finish signing you in. It isn’t something you did, and nothing has happened to your account.",
			Action: "Try again", Href: again,
		})
		return
	}
	// A new id at every sign-in, and the one before forgotten.
	if old, err := r.Cookie(c.sessionCookie()); err == nil {
		c.sessions.end(old.Value)
	}
	id, err := c.secret()
	if err != nil {
		c.failed(w, r, "randomness", err)
		return
	}
	c.sessions.begin(id, session, c.config.Now())
	http.SetCookie(w, c.cookie("session", id, "/", sessionLife))
	http.Redirect(w, r, a.Return, http.StatusSeeOther)
}

// fault is a check that the provider's answer did not pass.
type fault struct {
	code string
	err  error
}

func (f *fault) Error() string { return f.code + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func (c *Client) redeem(r *http.Request, p *provider, a attempt, code string) (*session, error) {
	if code == "" {
		return nil, &fault{"no_code", errors.New("the answer has neither a code nor an error")}
	}
	ctx := c.context(r.Context())
	token, err := p.oauth.Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return nil, &fault{"code_refused", err}
	}
	raw, idToken, err := c.verify(r, p, token)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(idToken.Nonce), []byte(a.Nonce)) != 1 {
		return nil, &fault{"nonce_mismatch", errors.New("the ID token was made for another sign-in")}
	}
	s := &session{subject: idToken.Subject, idToken: raw, token: token, scopes: c.options.Scopes}
	if granted, ok := token.Extra("scope").(string); ok {
		s.scopes = strings.Fields(granted)
	}
	if err := idToken.Claims(&s.claims); err != nil {
		return nil, &fault{"bad_id_token", err}
	}
	// With the code flow a provider may keep the claims of the scopes for userinfo (OpenID Connect Core, section 5.4).
	more, err := userInfo(ctx, p, oauth2.StaticTokenSource(token), s.subject)
	if err != nil {
		return nil, &fault{"userinfo_failed", err}
	}
	for name, value := range more {
		s.claims[name] = value
	}
	return s, nil
}

// verify checks the ID token that came with token. The nonce is the caller's to check: a refreshed token has none.
func (c *Client) verify(r *http.Request, p *provider, token *oauth2.Token) (string, *oidc.IDToken, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return "", nil, &fault{"no_id_token", errors.New("the token answer has no id_token")}
	}
	idToken, err := p.verifier.Verify(c.context(r.Context()), raw)
	if err != nil {
		return "", nil, &fault{"bad_id_token", err}
	}
	if idToken.AccessTokenHash != "" {
		if err := idToken.VerifyAccessToken(token.AccessToken); err != nil {
			return "", nil, &fault{"bad_id_token", err}
		}
	}
	return raw, idToken, nil
}

// refused tells the customer what the provider's error means.
func (c *Client) refused(w http.ResponseWriter, r *http.Request, code, again string) {
	n := Notice{Status: http.StatusBadGateway, Title: "That didn’t work", Code: knownError(code), Action: "Try again", Href: again,
		Text: "We could not sign you in this time. Nothing has happened to your account."}
	switch code {
	case "access_denied": // an answer, not a fault
		n.Status = http.StatusOK
		n.Title = "That’s fine"
		n.Text = "You chose not to share your details, so we have none of them. You can look around without signing in."
		n.Action = "Sign in after all"
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		n.Status = http.StatusOK
		n.Title = "Please sign in"
		n.Text = "You are not signed in any more. Sign in and we will take you back to where you were."
		n.Action = "Sign in"
	case "temporarily_unavailable", "server_error":
		n.Status = http.StatusServiceUnavailable
		n.Text = "Signing in has trouble at the moment. Please try again in a minute."
	default:
		c.config.Logger.WarnContext(r.Context(), "sign-in: refused by the provider", "code", n.Code)
	}
	c.options.Notice(w, r, n)
}

// knownError is code where it looks like one (RFC 6749 section 4.1.2.1), so that no page of ours says what a link dictates.
func knownError(code string) string {
	if len(code) > 40 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "unknown_error"
	}
	return code
}

func (c *Client) unreachable(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "5")
	c.options.Notice(w, r, Notice{
		Status: http.StatusServiceUnavailable, Title: "Signing in takes a short break", Code: "provider_unreachable",
		Text:   "We can’t reach the place where you sign in just now. Please try again in a moment; everything else here works.",
		Action: "Try again", Href: "/signin",
	})
}

func (c *Client) failed(w http.ResponseWriter, r *http.Request, what string, err error) {
	c.config.Logger.ErrorContext(r.Context(), "sign-in: "+what, "error", fmt.Errorf("%s: %w", what, err))
	c.options.Notice(w, r, Notice{
		Status: http.StatusInternalServerError, Title: "That didn’t work", Code: "server_error",
		Text: "Something went wrong on our side. Please try again.", Action: "Try again", Href: "/signin",
	})
}
