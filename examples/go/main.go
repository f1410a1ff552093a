// Command cardea-go is an application in Go that signs customers in with
// go-oidc and oauth2.
package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"html/template"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

type app struct {
	provider   *oidc.Provider
	verifier   *oidc.IDTokenVerifier
	oauth      oauth2.Config
	endSession string
	secure     bool

	mu       sync.Mutex
	sessions map[string]*session // by the cookie; a real application has a store
}

// session is a browser: on its way to sign in, or signed in.
type session struct {
	state, nonce, pkce string
	user               map[string]any
	token              *oauth2.Token
	idToken            string
}

func main() {
	ctx := context.Background()
	provider, err := oidc.NewProvider(ctx, os.Getenv("OIDC_ISSUER"))
	if err != nil {
		log.Fatal(err)
	}
	redirect, err := url.Parse(os.Getenv("OIDC_REDIRECT_URI"))
	if err != nil || redirect.Host == "" {
		log.Fatal("OIDC_REDIRECT_URI is not an address")
	}
	var more struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := provider.Claims(&more); err != nil {
		log.Fatal(err)
	}
	endpoint := provider.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader // otherwise it finds out by trying, which spends the code
	a := &app{
		provider: provider, endSession: more.EndSession, secure: redirect.Scheme == "https", sessions: map[string]*session{},
		verifier: provider.Verifier(&oidc.Config{ClientID: os.Getenv("OIDC_CLIENT_ID")}),
		oauth: oauth2.Config{
			ClientID: os.Getenv("OIDC_CLIENT_ID"), ClientSecret: os.Getenv("OIDC_CLIENT_SECRET"), Endpoint: endpoint,
			RedirectURL: redirect.String(), Scopes: strings.Fields(os.Getenv("OIDC_SCOPE")),
		},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /signin", a.signIn)
	mux.HandleFunc("GET "+redirect.Path, a.callback)
	mux.HandleFunc("POST /refresh", a.refresh)
	mux.HandleFunc("POST /signout", a.signOut)
	server := &http.Server{Addr: ":" + redirect.Port(), Handler: http.NewCrossOriginProtection().Handler(mux), ReadHeaderTimeout: 5 * time.Second}
	log.Print("listening at ", redirect.Scheme, "://", redirect.Host)
	log.Fatal(server.ListenAndServe())
}

var page = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Go</title><body>
{{with .}}<h1>Hello {{.}}</h1>
<form method="post" action="/refresh"><button>Refresh</button></form>
<form method="post" action="/signout"><button>Sign out</button></form>
{{else}}<h1>Hello stranger</h1><p><a href="/signin">Sign in</a></p>{{end}}
</body></html>`))

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	name := ""
	if s := a.find(r); s != nil && s.user != nil {
		for _, claim := range []string{"sub", "email", "name"} { // the last that is there
			if value, _ := s.user[claim].(string); value != "" {
				name = value
			}
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, name)
}

func (a *app) signIn(w http.ResponseWriter, r *http.Request) {
	s := &session{state: rand.Text(), nonce: rand.Text(), pkce: oauth2.GenerateVerifier()}
	a.begin(w, r, s)
	http.Redirect(w, r, a.oauth.AuthCodeURL(s.state, oidc.Nonce(s.nonce), oauth2.S256ChallengeOption(s.pkce)), http.StatusSeeOther)
}

func (a *app) callback(w http.ResponseWriter, r *http.Request) {
	s := a.find(r)
	if s == nil || s.state == "" || subtle.ConstantTimeCompare([]byte(s.state), []byte(r.FormValue("state"))) != 1 {
		http.Error(w, "This sign-in was begun somewhere else. Please start again.", http.StatusBadRequest)
		return
	}
	signedIn, err := a.redeem(r.Context(), s, r.FormValue("code"))
	if err != nil {
		log.Print("sign-in: ", err, " ", r.FormValue("error"))
		http.Error(w, "That did not work. Please start again.", http.StatusBadRequest)
		return
	}
	a.begin(w, r, signedIn) // a new cookie: whoever knew the old one gains nothing
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) redeem(ctx context.Context, s *session, code string) (*session, error) {
	token, err := a.oauth.Exchange(ctx, code, oauth2.VerifierOption(s.pkce))
	if err != nil {
		return nil, err
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := a.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if idToken.Nonce != s.nonce {
		return nil, errors.New("the ID token is of another sign-in")
	}
	user, err := a.userInfo(ctx, token, idToken.Subject)
	return &session{user: user, token: token, idToken: raw}, err
}

// userInfo asks who the customer is: ID tokens are lean.
func (a *app) userInfo(ctx context.Context, token *oauth2.Token, subject string) (map[string]any, error) {
	info, err := a.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, err
	}
	if info.Subject != subject {
		return nil, errors.New("userinfo is about another customer")
	}
	var claims map[string]any
	err = info.Claims(&claims)
	return claims, err
}

func (a *app) refresh(w http.ResponseWriter, r *http.Request) {
	s := a.find(r)
	if s == nil || s.token == nil {
		http.Redirect(w, r, "/signin", http.StatusSeeOther)
		return
	}
	// A refresh token is good once: the next is in the answer.
	token, err := a.oauth.TokenSource(r.Context(), &oauth2.Token{RefreshToken: s.token.RefreshToken}).Token()
	if err != nil {
		log.Print("refresh: ", err)
		a.end(w, r)
	} else {
		a.begin(w, r, &session{user: s.user, token: token, idToken: s.idToken})
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) signOut(w http.ResponseWriter, r *http.Request) {
	s := a.find(r)
	a.end(w, r)
	if s == nil || s.idToken == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	query := url.Values{"id_token_hint": {s.idToken}, "post_logout_redirect_uri": {os.Getenv("OIDC_POST_LOGOUT_REDIRECT_URI")}}
	http.Redirect(w, r, a.endSession+"?"+query.Encode(), http.StatusSeeOther)
}

const cookie = "go_session"

func (a *app) find(r *http.Request) *session {
	given, err := r.Cookie(cookie)
	if err != nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessions[given.Value]
}

// begin puts a session in the place of the browser's last one.
func (a *app) begin(w http.ResponseWriter, r *http.Request, s *session) {
	a.end(w, r)
	name := rand.Text()
	a.mu.Lock()
	a.sessions[name] = s
	a.mu.Unlock()
	w.Header().Del("Set-Cookie") // of the end of the last one
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: name, Path: "/", HttpOnly: true, Secure: a.secure, SameSite: http.SameSiteLaxMode})
}

func (a *app) end(w http.ResponseWriter, r *http.Request) {
	if given, err := r.Cookie(cookie); err == nil {
		a.mu.Lock()
		delete(a.sessions, given.Value)
		a.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: cookie, Path: "/", MaxAge: -1})
}
