package cardea_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	cardea "github.com/cardea-id/cardea/sdk/go"
)

func TestRotationIsSeenAtOnce(t *testing.T) {
	w := newWorld(t)
	g := w.guard(nil)
	old := w.token(nil)
	if got := call(g, "Bearer "+old); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	w.rotate("two")
	w.clock.advance(11 * time.Second)
	next := w.token(nil)
	if got := call(g, "Bearer "+next); got.status != 200 {
		t.Fatalf("the new key: %+v", got)
	}
	refused(t, "the key that was withdrawn", g, old)
	if got := w.count("/jwks"); got != 2 {
		t.Errorf("the keys were fetched %d times", got)
	}
}

func TestUnknownKeysAreNoStorm(t *testing.T) {
	w := newWorld(t)
	g := w.guard(nil)
	if got := call(g, "Bearer "+w.token(nil)); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	storm := func() {
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() { refused(t, "an unknown key", g, w.headed(object{"kid": rand.Text()})) })
		}
		all.Wait()
	}
	storm()
	if got := w.count("/jwks"); got != 1 {
		t.Errorf("just after they were fetched, the keys were fetched %d times more", got-1)
	}
	w.clock.advance(11 * time.Second)
	storm()
	storm()
	if got := w.count("/jwks"); got != 2 {
		t.Errorf("the keys were fetched %d times, want twice", got)
	}
	if got := call(g, "Bearer "+w.token(nil)); got.status != 200 {
		t.Errorf("a good token in the storm: %+v", got)
	}
}

func TestConcurrentFirstRequestsAskOnce(t *testing.T) {
	w := newWorld(t)
	w.set(func() { w.wait = 100 * time.Millisecond })
	g := w.guard(nil)
	token := w.token(nil)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if got := call(g, "Bearer "+token); got.status != 200 {
				t.Errorf("%+v", got)
			}
		})
	}
	all.Wait()
	if a, b := w.count("/.well-known/openid-configuration"), w.count("/jwks"); a != 1 || b != 1 {
		t.Errorf("asked %d and %d times", a, b)
	}
}

func TestConcurrentRotation(t *testing.T) {
	w := newWorld(t)
	g := w.guard(nil)
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := call(g, "Bearer "+w.token(nil))
				if got.status != 200 && got.status != 401 { // 401: the key is newer than the last look
					t.Errorf("%+v", got)
					return
				}
			}
		})
	}
	for n := range 20 {
		w.rotate(string(rune('a' + n)))
		w.clock.advance(11 * time.Second)
		time.Sleep(2 * time.Millisecond)
	}
	w.clock.advance(11 * time.Second)
	if got := call(g, "Bearer "+w.token(nil)); got.status != 200 {
		t.Errorf("after the last: %+v", got)
	}
	close(stop)
	all.Wait()
}

func TestKeysServeOnWhileTheIssuerIsDown(t *testing.T) {
	w := newWorld(t)
	g := w.guard(nil)
	if got := call(g, "Bearer "+w.token(nil)); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	w.set(func() { w.down = true })
	for _, later := range []time.Duration{time.Minute, 10 * time.Minute, 12 * time.Hour} {
		w.clock.advance(later)
		if got := call(g, "Bearer "+w.token(nil)); got.status != 200 {
			t.Errorf("down, %s later: %+v", later, got)
		}
	}
	asked := w.count("/jwks") + w.count("/.well-known/openid-configuration")
	for range 50 {
		call(g, "Bearer "+w.token(nil))
	}
	if more := w.count("/jwks") + w.count("/.well-known/openid-configuration") - asked; more > 1 {
		t.Errorf("while it is down it was asked %d times for 50 requests", more)
	}
	w.clock.advance(13 * time.Hour)
	if got := call(g, "Bearer "+w.token(nil)); got.status != http.StatusServiceUnavailable {
		t.Errorf("keys of yesterday: %+v", got)
	}
	w.rotate("two")
	w.set(func() { w.down = false })
	w.clock.advance(11 * time.Second)
	if got := call(g, "Bearer "+w.token(nil)); got.status != 200 {
		t.Errorf("up again: %+v", got)
	}
}

func TestAnIssuerThatIsDownAtTheStart(t *testing.T) {
	w := newWorld(t)
	w.set(func() { w.down = true })
	g := w.guard(nil)
	token := w.token(nil)
	for range 20 {
		if got := call(g, "Bearer "+token); got.status != http.StatusServiceUnavailable || len(got.challenge) != 0 {
			t.Fatalf("a good token is not called bad: %+v", got)
		}
	}
	if asked := w.count("/.well-known/openid-configuration"); asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
	w.set(func() { w.down = false })
	w.clock.advance(11 * time.Second)
	if got := call(g, "Bearer "+token); got.status != 200 {
		t.Errorf("%+v", got)
	}
}

func TestDueKeysAreFetchedBesideRequests(t *testing.T) {
	w := newWorld(t)
	g := w.guard(nil)
	token := w.token(nil)
	call(g, "Bearer "+token)
	w.set(func() { w.wait = 300 * time.Millisecond })
	w.clock.advance(6 * time.Minute)
	began := time.Now()
	if got := call(g, "Bearer "+token); got.status != 200 || time.Since(began) > 200*time.Millisecond {
		t.Errorf("after %s: %+v", time.Since(began), got)
	}
	for deadline := time.Now().Add(10 * time.Second); w.count("/jwks") < 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the keys were not fetched")
		}
	}
}

func TestDiscoveryIsNotBelievedBlindly(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"another issuer":        func(d map[string]any) { d["issuer"] = "https://evil.example" },
		"no issuer":             func(d map[string]any) { delete(d, "issuer") },
		"keys over http":        func(d map[string]any) { d["jwks_uri"] = "http://evil.example/jwks" },
		"no keys":               func(d map[string]any) { delete(d, "jwks_uri") },
		"keys from a file":      func(d map[string]any) { d["jwks_uri"] = "file:///etc/passwd" },
		"introspection in http": func(d map[string]any) { d["introspection_endpoint"] = "http://evil.example/" },
	} {
		w := newWorld(t)
		w.change = change
		if got := call(w.guard(nil), "Bearer "+w.token(nil)); got.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestKeysThatAreOfNoUse(t *testing.T) {
	w := newWorld(t)
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("the run-time makes no short keys:", err)
	}
	private := w.keys["one"]
	w.extra = []any{
		object{"kty": "oct", "kid": "symmetric", "k": "AAAA"},
		object{"kty": "future", "kid": "x"},
		jose.JSONWebKey{Key: other.Public(), KeyID: "p384", Use: "sig"},
		jose.JSONWebKey{Key: short.Public(), KeyID: "short", Use: "sig"},
		jose.JSONWebKey{Key: private.Public(), KeyID: "encrypts", Use: "enc"},
		jose.JSONWebKey{Key: private.Public(), KeyID: "other-alg", Use: "sig", Algorithm: "ES384"},
		jose.JSONWebKey{Key: private, KeyID: "private", Use: "sig"},
	}
	g := w.guard(func(c *cardea.Config) { c.Algorithms = []string{cardea.ES256, cardea.RS256} })
	if got := call(g, "Bearer "+w.token(nil)); got.status != 200 {
		t.Errorf("beside them: %+v", got)
	}
	refused(t, "a symmetric key", g, w.sign([]byte{0, 0, 0}, object{"typ": "at+jwt", "alg": "HS256", "kid": "symmetric"}, w.claims(nil)))
	refused(t, "a short key", g, w.sign(short, object{"typ": "at+jwt", "alg": "RS256", "kid": "short"}, w.claims(nil)))
	for _, kid := range []string{"encrypts", "other-alg", "private", "p384"} {
		refused(t, kid, g, w.headed(object{"kid": kid}))
	}
}

func TestAKeySetThatCannotBeTrusted(t *testing.T) {
	for name, change := range map[string]func(*world){
		"two keys of one name": func(w *world) {
			other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			w.extra = []any{jose.JSONWebKey{Key: other.Public(), KeyID: "one"}}
		},
		"too many": func(w *world) {
			for range 65 {
				w.extra = append(w.extra, object{"kty": "x"})
			}
		},
		"too large": func(w *world) { w.extra = []any{object{"kty": strings.Repeat("x", 300<<10)}} },
		"none":      func(w *world) { w.keys = map[string]crypto.Signer{} },
	} {
		w := newWorld(t)
		token := w.token(nil)
		change(w)
		if got := call(w.guard(nil), "Bearer "+token); got.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
