package cardea_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	cardea "github.com/cardea-id/cardea/sdk/go"
)

// audience is what the API under test is called.
const audience = "https://api.example.com"

// clock is a clock that a test moves.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// world is an issuer with its keys, and how often it was asked what.
type world struct {
	t     testing.TB
	clock clock
	*httptest.Server

	mu      sync.Mutex
	keys    map[string]crypto.Signer // by kid
	extra   []any                    // more of the key set
	down    bool
	cache   string
	wait    time.Duration // before each answer
	change  func(document map[string]any)
	revoked map[string]bool // by jti
	asked   map[string]int  // by path
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, keys: map[string]crypto.Signer{}, asked: map[string]int{}, revoked: map[string]bool{}, cache: "public, max-age=300"}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	w.rotate("one")
	return w
}

// rotate replaces the issuer's keys by a new one.
func (w *world) rotate(kid string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	w.set(func() { w.keys = map[string]crypto.Signer{kid: key} })
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) count(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[path]
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked[r.URL.Path]++
	down, wait, cache := w.down, w.wait, w.cache
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		document := map[string]any{"issuer": w.URL, "jwks_uri": w.URL + "/jwks", "introspection_endpoint": w.URL + "/introspect"}
		if w.change != nil {
			w.change(document)
		}
		answer = document
	case "/jwks":
		keys := w.extra
		for kid, key := range w.keys {
			keys = append(keys, jose.JSONWebKey{Key: key.Public(), KeyID: kid, Use: "sig"})
		}
		answer = map[string]any{"keys": keys}
	case "/introspect":
		var claims struct {
			JTI string `json:"jti"`
			Sub string `json:"sub"`
		}
		id, secret, _ := r.BasicAuth()
		payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(r.FormValue("token"), ".")[1])
		_ = json.Unmarshal(payload, &claims)
		answer = map[string]any{"active": id == "api" && secret == "s%2Fcret" && !w.revoked[claims.JTI], "sub": claims.Sub}
	}
	w.mu.Unlock()
	time.Sleep(wait)
	if down || answer == nil {
		http.Error(out, "no", http.StatusServiceUnavailable)
		return
	}
	out.Header().Set("Content-Type", "application/json")
	out.Header().Set("Cache-Control", cache)
	_ = json.NewEncoder(out).Encode(answer)
}

type object = map[string]any

// claims are those of a good token, with changes; a change to nil takes one out.
func (w *world) claims(change object) object {
	now := w.clock.now()
	c := object{
		"iss": w.URL, "aud": audience, "sub": "cus_ana", "client_id": "app_shop", "jti": "one",
		"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "scope": "openid orders:read",
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, value any) bool { return value == nil })
	return c
}

// token is a good token with changes to its claims.
func (w *world) token(change object) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for kid, key := range w.keys {
		return w.sign(key, object{"typ": "at+jwt", "alg": "ES256", "kid": kid}, w.claims(change))
	}
	w.t.Fatal("the issuer has no key")
	return ""
}

// headed is a token of the issuer's key with changes to its header.
func (w *world) headed(change object) string {
	header := object{"typ": "at+jwt", "alg": "ES256", "kid": "one"}
	maps.Copy(header, change)
	maps.DeleteFunc(header, func(_ string, value any) bool { return value == nil })
	return w.sign(w.keys["one"], header, w.claims(nil))
}

// sign makes a token by hand, whatever its header says.
func (w *world) sign(key any, header, claims object) string {
	input := part(w.t, header) + "." + part(w.t, claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(signature(w.t, key, []byte(input)))
}

func part(t testing.TB, value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func signature(t testing.TB, key any, input []byte) []byte {
	sum := crypto.SHA256.New()
	sum.Write(input)
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, sum.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case *rsa.PrivateKey:
		out, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		return out
	case []byte:
		return mac(key, input)
	}
	t.Fatalf("a key of type %T", key)
	return nil
}

// guard protects with the world's issuer, with changes to the configuration.
func (w *world) guard(change func(*cardea.Config)) *cardea.Guard {
	w.t.Helper()
	c := cardea.Config{Issuer: w.URL, Audience: audience, Now: w.clock.now}
	if change != nil {
		change(&c)
	}
	g, err := cardea.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// answer is what an API answered.
type answer struct {
	status    int
	body      string
	challenge []string
}

// call calls an API that a guard protects, with Authorization headers.
func call(g *cardea.Guard, authorization ...string) answer {
	return callScoped(g, nil, authorization...)
}

func callScoped(g *cardea.Guard, scopes []string, authorization ...string) answer {
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "orders of ", cardea.From(r.Context()).Subject)
	})
	r := httptest.NewRequest(http.MethodGet, "/orders?access_token=in-the-address", http.NoBody)
	for _, value := range authorization {
		r.Header.Add("Authorization", value)
	}
	w := httptest.NewRecorder()
	g.Protect(orders, scopes...).ServeHTTP(w, r)
	return answer{w.Code, w.Body.String(), w.Header().Values("WWW-Authenticate")}
}

// refused holds that a token is refused as RFC 6750 says, and that no handler
// was reached.
func refused(t *testing.T, name string, g *cardea.Guard, token string) {
	t.Helper()
	got := call(g, "Bearer "+token)
	if got.status != http.StatusUnauthorized || len(got.challenge) != 1 || !strings.HasPrefix(got.challenge[0], `Bearer error="invalid_token", error_description="`) || strings.Contains(got.body, "orders of") {
		t.Errorf("%s: %+v", name, got)
	}
}

// exampleT stands for the test in an example.
type exampleT struct{ testing.TB }

func (exampleT) Helper()        {}
func (exampleT) Cleanup(func()) {}
