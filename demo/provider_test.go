package demo_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// fakeProvider is an OpenID provider that says yes at once and can be told to misbehave. It checks what a provider checks of a
// well-behaved application: client secret, PKCE, redirect URI, single use of codes and of refresh tokens.
type fakeProvider struct {
	*httptest.Server
	t   *testing.T
	key *ecdsa.PrivateKey

	mu        sync.Mutex
	down      bool
	nonce     string        // replaces the nonce in ID tokens
	iss       string        // replaces iss in the authorization response; "-" leaves it out
	refuse    string        // error to answer authorization requests with
	subject   string        // subject of ID tokens
	infoSub   string        // subject of userinfo
	audience  string        // audience of ID tokens
	life      time.Duration // of access tokens
	claims    map[string]any
	codes     map[string]url.Values // authorization requests by code
	refreshes int
	refresh   string // the one refresh token that is good now
	access    string // the one access token that is good now
	lastAuth  url.Values
	discovery int
}

func newProvider(t *testing.T) *fakeProvider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &fakeProvider{
		t: t, key: key, subject: "cus_1", infoSub: "cus_1", audience: "client", life: time.Hour, codes: map[string]url.Values{},
		claims: map[string]any{"email": "ana@example.com", "email_verified": true, "given_name": "Ana", "name": "Ana Lima"},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discover)
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", p.userinfo)
	mux.HandleFunc("GET /end", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("post_logout_redirect_uri"), http.StatusSeeOther)
	})
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.down {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// set changes the provider's behaviour while it runs.
func (p *fakeProvider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *fakeProvider) discover(w http.ResponseWriter, _ *http.Request) {
	p.discovery++
	answer(w, 200, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/jwks",
		"userinfo_endpoint": p.URL + "/userinfo", "end_session_endpoint": p.URL + "/end",
		"id_token_signing_alg_values_supported": []string{"ES256"}, "authorization_response_iss_parameter_supported": true,
	})
}

func (p *fakeProvider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.lastAuth = q
	back := url.Values{"state": {q.Get("state")}, "iss": {p.URL}}
	if p.iss == "-" {
		back.Del("iss")
	} else if p.iss != "" {
		back.Set("iss", p.iss)
	}
	if p.refuse != "" {
		back.Set("error", p.refuse)
	} else {
		code := rand.Text()
		p.codes[code] = q
		back.Set("code", code)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (p *fakeProvider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if id != "client" || secret != "secret" {
		answer(w, 401, map[string]string{"error": "invalid_client"})
		return
	}
	var nonce string
	switch r.FormValue("grant_type") {
	case "authorization_code":
		asked, ok := p.codes[r.FormValue("code")]
		delete(p.codes, r.FormValue("code"))
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if !ok || asked.Get("redirect_uri") != r.FormValue("redirect_uri") || asked.Get("code_challenge_method") != "S256" ||
			asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
			answer(w, 400, map[string]string{"error": "invalid_grant"})
			return
		}
		nonce = asked.Get("nonce")
		if p.nonce != "" {
			nonce = p.nonce
		}
	case "refresh_token":
		if p.refresh == "" || r.FormValue("refresh_token") != p.refresh {
			answer(w, 400, map[string]string{"error": "invalid_grant"})
			return
		}
		p.refreshes++
	default:
		answer(w, 400, map[string]string{"error": "unsupported_grant_type"})
		return
	}
	p.refresh, p.access = rand.Text(), rand.Text()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: "k"}}, nil)
	if err != nil {
		p.t.Error(err)
	}
	now := time.Now()
	claims := map[string]any{"iss": p.URL, "sub": p.subject, "aud": p.audience, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		p.t.Error(err)
	}
	answer(w, 200, map[string]any{
		"access_token": p.access, "token_type": "Bearer", "expires_in": int(p.life.Seconds()), "refresh_token": p.refresh,
		"id_token": raw, "scope": "openid profile email",
	})
}

func (p *fakeProvider) userinfo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+p.access {
		answer(w, 401, map[string]string{"error": "invalid_token"})
		return
	}
	claims := maps.Clone(p.claims)
	claims["sub"] = p.infoSub
	answer(w, 200, claims)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(fmt.Sprint("fake provider: ", err))
	}
}
