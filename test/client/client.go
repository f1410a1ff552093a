// Package client plays an application and its customers' browsers by plain
// HTTP: it begins an authorization request, fills in the hosted pages as a
// person would, redeems the code and uses the tokens.
//
// It knows the product by its contract alone: discovery's endpoints, the forms'
// field names, and the class of a page's body. Tests that drive the binary from
// outside share it. Cookies are kept by name, since the program under test
// listens on loopback without TLS, where no browser would send them back.
package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Site is one tenant of the program under test.
type Site struct {
	Issuer string
	http   *http.Client
}

// Timeout is how long one request may take, queueing for a hash included.
const Timeout = 30 * time.Second

// New returns a site. Its connections are its own.
func New(issuer string) *Site {
	return &Site{Issuer: issuer, http: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 256, MaxIdleConns: 256},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       Timeout,
	}}
}

// Disconnect closes the connections that nobody uses, as after a restart of
// the server: a request on a dead one might be sent a second time unasked.
func (s *Site) Disconnect() { s.http.CloseIdleConnections() }

// Application is a client of the protocols, as it was registered.
type Application struct {
	ID          string
	Secret      string
	RedirectURI string
}

// Basic is the Authorization header by which an application proves itself.
func (a Application) Basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(a.ID)+":"+url.QueryEscape(a.Secret)))
}

// Refusal is an answer that says no in the protocol's form.
type Refusal struct {
	Status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("refused with %d %s: %s", r.Status, r.Code, r.Description)
}

// maxBody is the most that is read of an answer.
const maxBody = 1 << 20

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

func (s *Site) do(r *http.Request) (answer, error) {
	response, err := s.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: the answer broke off: %w", r.Method, r.URL.Path, err)
	}
	return answer{response.StatusCode, response.Header, string(body)}, nil
}

func (s *Site) post(ctx context.Context, path, authorization string, form url.Values) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return s.do(r)
}

// read takes a JSON answer of 200, or the refusal that it is instead.
func read[T any](a answer, err error) (T, error) {
	var value T
	if err != nil {
		return value, err
	}
	if a.status != http.StatusOK {
		refusal := &Refusal{Status: a.status}
		if err := json.Unmarshal([]byte(a.body), refusal); err != nil {
			refusal.Description = first(a.body)
		}
		return value, refusal
	}
	if err := json.Unmarshal([]byte(a.body), &value); err != nil {
		return value, fmt.Errorf("%q is not the JSON that was expected: %w", first(a.body), err)
	}
	return value, nil
}

func first(text string) string {
	if len(text) > 200 {
		return text[:200] + "…"
	}
	return text
}

// Tokens is what the token endpoint gives.
type Tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Scope   string `json:"scope"`
}

// Subject reads the sub of an ID token that came straight from the token
// endpoint. It verifies nothing: that is other tests' business.
func (t Tokens) Subject() (string, error) {
	parts := strings.Split(t.ID, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("%q is no JWT", t.ID)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", fmt.Errorf("the ID token: %w", err)
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", fmt.Errorf("the ID token: %w", err)
	}
	return claims.Subject, nil
}

// Token asks the token endpoint.
func (s *Site) Token(ctx context.Context, app Application, form url.Values) (Tokens, error) {
	return read[Tokens](s.post(ctx, "/token", app.Basic(), form))
}

// Refresh presents a refresh token.
func (s *Site) Refresh(ctx context.Context, app Application, token string) (Tokens, error) {
	return s.Token(ctx, app, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// Credentials gets an application a token of its own.
func (s *Site) Credentials(ctx context.Context, app Application) (Tokens, error) {
	return s.Token(ctx, app, url.Values{"grant_type": {"client_credentials"}})
}

// Introspect asks whether a token is good.
func (s *Site) Introspect(ctx context.Context, app Application, token string) (active bool, err error) {
	said, err := read[struct {
		Active bool `json:"active"`
	}](s.post(ctx, "/introspect", app.Basic(), url.Values{"token": {token}}))
	return said.Active, err
}

// UserInfo reads the claims that an access token opens.
func (s *Site) UserInfo(ctx context.Context, access string) (map[string]any, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Issuer+"/userinfo", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+access)
	return read[map[string]any](s.do(r))
}

// Revoke gives a token up (RFC 7009).
func (s *Site) Revoke(ctx context.Context, app Application, token string) error {
	got, err := s.post(ctx, "/revoke", app.Basic(), url.Values{"token": {token}})
	if err == nil && got.status != http.StatusOK {
		err = &Refusal{Status: got.status, Description: first(got.body)}
	}
	return err
}
