package servertest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/tenant"
)

// App is an application at the other end.
type App struct {
	*application.Application
	Secret string
	Tenant *tenant.Tenant

	i *Installation
}

// Request is an authorization request of an application.
type Request struct {
	Verifier, State, Nonce string
	Params                 url.Values
}

// Authorize makes an authorization request in order, with change's changes.
func (a *App) Authorize(change url.Values) Request {
	r := Request{Verifier: random(), State: random(), Nonce: random()}
	sum := sha256.Sum256([]byte(r.Verifier))
	r.Params = url.Values{
		"client_id": {string(a.ID)}, "response_type": {"code"}, "redirect_uri": {a.RedirectURIs[0]}, "scope": {"openid email profile"},
		"state": {r.State}, "nonce": {r.Nonce}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for name, values := range change {
		if len(values) == 0 {
			r.Params.Del(name)
			continue
		}
		r.Params[name] = values
	}
	return r
}

// URL is the request's address at node i.
func (a *App) URL(i *Installation, r Request) string {
	return i.at(a.Tenant) + "/authorize?" + r.Params.Encode()
}

// Tokens is an answer of the token endpoint.
type Tokens struct {
	Status      int    `json:"-"`
	Access      string `json:"access_token"`
	ID          string `json:"id_token"`
	Refresh     string `json:"refresh_token"`
	Scope       string `json:"scope"`
	Expires     int    `json:"expires_in"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Header      http.Header
}

// Token posts to the token endpoint of node i, with the application's secret.
func (a *App) Token(i *Installation, values url.Values) Tokens {
	i.t.Helper()
	t, err := a.TryToken(i, values)
	i.must(err)
	return t
}

// TryToken is Token for many at once.
func (a *App) TryToken(i *Installation, values url.Values) (Tokens, error) {
	status, header, body, err := a.Post(i, "/token", values)
	if err != nil {
		return Tokens{}, err
	}
	t := Tokens{}
	err = json.Unmarshal([]byte(body), &t)
	t.Status, t.Header = status, header
	return t, err
}

// Post posts to an endpoint with the application's credentials.
func (a *App) Post(i *Installation, path string, values url.Values) (int, http.Header, string, error) {
	body := url.Values{}
	for name, all := range values {
		body[name] = all
	}
	if a.Public() {
		body.Set("client_id", string(a.ID))
	}
	request, err := http.NewRequest(http.MethodPost, i.at(a.Tenant)+path, strings.NewReader(body.Encode()))
	if err != nil {
		return 0, nil, "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !a.Public() {
		request.SetBasicAuth(url.QueryEscape(string(a.ID)), url.QueryEscape(a.Secret))
	}
	return send(request)
}

func send(request *http.Request) (int, http.Header, string, error) {
	response, err := (&http.Client{Transport: transport, CheckRedirect: noRedirect}).Do(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header, string(text), err
}

// Redeem redeems the code that a browser brought back.
func (a *App) Redeem(i *Installation, r Request, p *Page) Tokens {
	i.t.Helper()
	if p.Location == nil {
		i.t.Fatalf("the browser was not sent back (status %d): %s", p.Status, Text(p.Body))
	}
	q := p.Location.Query()
	if q.Get("state") != r.State || q.Get("iss") != a.Tenant.Issuer || q.Get("code") == "" {
		i.t.Fatalf("the answer %s has not the state, issuer and code of the request", p.Location)
	}
	return a.Token(i, url.Values{"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {r.Params.Get("redirect_uri")}, "code_verifier": {r.Verifier}})
}

// SignIn signs a customer in to the application and returns its tokens.
func (a *App) SignIn(i *Installation, b *Browser, email, password string, change url.Values) Tokens {
	i.t.Helper()
	r := a.Authorize(change)
	p := b.Get(a.URL(i, r))
	if p.Location == nil && p.Has("identifier") {
		p = b.Answer(p, url.Values{"identifier": {email}})
		p = b.Answer(p, url.Values{"password": {password}})
	}
	if p.Location == nil && p.Has("decision") {
		p = b.Answer(p, url.Values{"decision": {"allow"}})
	}
	return a.Redeem(i, r, p)
}

// Active tells whether a token is good, by introspection.
func (a *App) Active(i *Installation, token string) bool {
	i.t.Helper()
	status, _, body, err := a.Post(i, "/introspect", url.Values{"token": {token}})
	i.must(err)
	var answer struct{ Active bool }
	i.must(json.Unmarshal([]byte(body), &answer))
	if status != http.StatusOK {
		i.t.Fatalf("introspection answered %d: %s", status, body)
	}
	return answer.Active
}

// UserInfo asks userinfo with an access token.
func (a *App) UserInfo(i *Installation, access string) (int, map[string]any) {
	i.t.Helper()
	request, err := http.NewRequest(http.MethodGet, i.at(a.Tenant)+"/userinfo", nil)
	i.must(err)
	request.Header.Set("Authorization", "Bearer "+access)
	status, _, body, err := send(request)
	i.must(err)
	claims := map[string]any{}
	i.must(json.Unmarshal([]byte(body), &claims))
	return status, claims
}

func random() string {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // crypto/rand does not fail
	return base64.RawURLEncoding.EncodeToString(raw[:])
}
