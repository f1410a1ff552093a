package cardea_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"

	cardea "github.com/cardea-id/cardea/sdk/go"
)

// What was done to others: the rows of table C of the project's security
// catalogue that concern whoever verifies tokens.

func mac(key, input []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(input)
	return h.Sum(nil)
}

// rawNull is a claim that is there and null.
var rawNull = json.RawMessage("null")

// headedClaims is token, for claims that map to nothing in Go.
func (w *world) headedClaims(change object) string {
	claims := w.claims(nil)
	for name, value := range change {
		claims[name] = value
	}
	return w.sign(w.keys["one"], object{"typ": "at+jwt", "alg": "ES256", "kid": "one"}, claims)
}

// C1: a public key taken for an HMAC key, and no signature at all.
func TestAttackC1AlgorithmConfusion(t *testing.T) {
	w := newWorld(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.keys["rsa"] = rsaKey })
	g := w.guard(func(c *cardea.Config) { c.Algorithms = []string{cardea.ES256, cardea.RS256} })
	for kid, key := range w.keys {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		jwk, err := json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: kid, Use: "sig"})
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		for name, secret := range map[string][]byte{"PEM": text, "PEM, trimmed": bytes.TrimSpace(text), "DER": der, "JWK": jwk} {
			for _, alg := range []string{"HS256", "hs256"} {
				refused(t, alg+" with the "+name+" of "+kid, g, w.sign(secret, object{"typ": "at+jwt", "alg": alg, "kid": kid}, w.claims(nil)))
			}
		}
	}
	for _, alg := range []any{"none", "None", "NONE", "nOnE", "", nil, 0, []string{"none"}, []string{"ES256"}} {
		header := object{"typ": "at+jwt", "alg": alg, "kid": "one"}
		if alg == nil {
			delete(header, "alg")
		}
		unsigned := part(t, header) + "." + part(t, w.claims(nil)) + "."
		refused(t, "unsigned", g, unsigned)
		refused(t, "unsigned, and something for a signature", g, unsigned+"AAAA")
	}
	// An algorithm of the list, and a key of another.
	refused(t, "RS256 with the key of ES256", g, w.sign(w.keys["one"], object{"typ": "at+jwt", "alg": "RS256", "kid": "one"}, w.claims(nil)))
	refused(t, "ES256 with the key of RS256", g, w.sign(w.keys["one"], object{"typ": "at+jwt", "alg": "ES256", "kid": "rsa"}, w.claims(nil)))
	// An algorithm that the issuer has and this API does not take.
	refused(t, "RS256", w.guard(nil), w.sign(rsaKey, object{"typ": "at+jwt", "alg": "RS256", "kid": "rsa"}, w.claims(nil)))
	if got := call(g, "Bearer "+w.sign(rsaKey, object{"typ": "at+jwt", "alg": "RS256", "kid": "rsa"}, w.claims(nil))); got.status != 200 {
		t.Errorf("the good one: %+v", got)
	}
}

// C3: audience, expiry and time of issue; and the other claims.
func TestAttackC3ClaimsThatNobodyChecked(t *testing.T) {
	w := newWorld(t)
	g := w.guard(nil)
	now := w.clock.now().Unix()
	for name, change := range map[string]object{
		"another audience":            {"aud": "https://other.example"},
		"several audiences, not ours": {"aud": []string{"https://other.example", audience + "/"}},
		"part of the audience":        {"aud": audience[:len(audience)-1]},
		"no audience":                 {"aud": nil},
		"an empty list":               {"aud": []string{}},
		"a list with a number":        {"aud": []any{audience, 1}},
		"an audience as object":       {"aud": object{audience: true}},
		"expired":                     {"exp": now - 1},
		"expires now":                 {"exp": now},
		"no expiry":                   {"exp": nil},
		"expiry as text":              {"exp": "9999999999"},
		"expiry at the end of time":   {"exp": 1e300},
		"expiry before time":          {"exp": -1},
		"issued in 2099":              {"iat": 4070908800},
		"not issued":                  {"iat": nil},
		"not good yet":                {"nbf": now + 3600},
		"good from some text":         {"nbf": "now"},
		"another issuer":              {"iss": "https://evil.example"},
		"the issuer with a slash":     {"iss": w.URL + "/"},
		"no issuer":                   {"iss": nil},
		"nobody":                      {"sub": nil},
		"an empty subject":            {"sub": ""},
		"no application":              {"client_id": nil},
		"no id":                       {"jti": nil},
		"scopes as list":              {"scope": []string{"admin"}},
		"the name in capitals":        {"exp": nil, "EXP": now + 600},
	} {
		refused(t, name, g, w.token(change))
	}
	for name, change := range map[string]object{
		"an ID token":     {"typ": "JWT"},
		"no type":         {"typ": nil},
		"a logout token":  {"typ": "logout+jwt"},
		"a DPoP proof":    {"typ": "dpop+jwt"},
		"no kid":          {"kid": nil},
		"an empty kid":    {"kid": ""},
		"a kid as number": {"kid": 1},
		"alg as list":     {"alg": []string{"ES256"}},
	} {
		refused(t, name, g, w.headed(change))
	}
	token := w.token(nil)
	w.clock.advance(11 * 60e9)
	refused(t, "eleven minutes later", g, token)
}

// C5: a token has one spelling.
func TestAttackC5OtherSpellings(t *testing.T) {
	w := newWorld(t)
	g := w.guard(nil)
	token := w.token(nil)
	if got := call(g, "Bearer "+token); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(letters, token[len(token)-1])
	for name, spelled := range map[string]string{
		"cut":            token[:len(token)-1],
		"longer":         token + "A",
		"padded":         token + "==",
		"a dot more":     token + ".",
		"a fourth part":  token + ".e30",
		"spare bits":     token[:len(token)-1] + string(letters[last^1]),
		"without parts":  "..",
		"another letter": strings.Replace(token, ".", ".e", 1),
	} {
		refused(t, name, g, spelled)
		if _, err := g.Verify(t.Context(), spelled); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, breaks := range []string{"\n", "\r", " "} {
		for _, spelled := range []string{token + breaks, breaks + token, token[:9] + breaks + token[9:]} {
			if _, err := g.Verify(t.Context(), spelled); err == nil {
				t.Errorf("%q was taken", spelled)
			}
		}
	}
	refused(t, "huge", g, strings.Repeat("e30.", 1<<20))
}

// C7: empty HMAC key; JWE for JWS; unknown crit; and the JSON forms.
func TestAttackC7FormsThatAreNotExpected(t *testing.T) {
	w := newWorld(t)
	g := w.guard(nil)
	for _, secret := range [][]byte{{}, {0}, []byte("one")} {
		refused(t, "an HMAC with no key", g, w.sign(secret, object{"typ": "at+jwt", "alg": "HS256", "kid": "one"}, w.claims(nil)))
		refused(t, "an HMAC with no key and no kid", g, w.sign(secret, object{"typ": "at+jwt", "alg": "HS256"}, w.claims(nil)))
	}
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES, Key: w.keys["one"].Public(), KeyID: "one"},
		(&jose.EncrypterOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := json.Marshal(w.claims(nil))
	encrypted, err := encrypter.Encrypt(plain)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := encrypted.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "a JWE", g, compact)
	refused(t, "a JWE's first three parts", g, strings.Join(strings.Split(compact, ".")[:3], "."))
	for name, change := range map[string]object{
		"unknown crit":  {"crit": []string{"x-unknown"}, "x-unknown": true},
		"an empty crit": {"crit": []string{}},
		"a null crit":   {"crit": rawNull},
		"crit of b64":   {"crit": []string{"b64"}, "b64": false},
		"crit of exp":   {"crit": []string{"exp"}, "exp": 1},
	} {
		refused(t, name, g, w.headed(change))
	}
	parts := strings.Split(w.token(nil), ".")
	general, _ := json.Marshal(object{"payload": parts[1], "signatures": []object{{"protected": parts[0], "signature": parts[2]}}})
	flat, _ := json.Marshal(object{"payload": parts[1], "protected": parts[0], "signature": parts[2]})
	for _, text := range [][]byte{general, flat} {
		if _, err := g.Verify(t.Context(), string(text)); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
	if got := call(g, "Bearer "+string(flat)); got.status == 200 {
		t.Errorf("%+v", got)
	}
	// Two algs in one header: one reader takes the first, another the last.
	double := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"one","alg":"ES256"}`)) + "." + part(t, w.claims(nil))
	refused(t, "two algs", g, double+"."+base64.RawURLEncoding.EncodeToString(signature(t, w.keys["one"], []byte(double))))
}

// C10: keys that the token brings along or points to.
func TestAttackC10KeysFromTheToken(t *testing.T) {
	w := newWorld(t)
	g := w.guard(nil)
	if got := call(g, "Bearer "+w.token(nil)); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	var fetched atomic.Int32
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := jose.JSONWebKey{Key: own.Public(), KeyID: "mine", Use: "sig"}
	sink := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		out.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(out).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	}))
	defer sink.Close()
	for _, kid := range []string{
		"../../dev/null", "/dev/null", "' OR 1=1 --", "one' --", "one\x00", "ONE", sink.URL, "mine", "__proto__", strings.Repeat("k", 4000),
	} {
		refused(t, "kid "+kid, g, w.sign(own, object{"typ": "at+jwt", "alg": "ES256", "kid": kid}, w.claims(nil)))
		refused(t, "an empty HMAC, kid "+kid, g, w.sign([]byte{}, object{"typ": "at+jwt", "alg": "HS256", "kid": kid}, w.claims(nil)))
	}
	for name, more := range map[string]object{
		"jwk": {"jwk": public}, "jku": {"jku": sink.URL}, "x5u": {"x5u": sink.URL}, "x5c": {"x5c": []string{"AAAA"}},
	} {
		for _, kid := range []string{"one", "mine"} {
			header := object{"typ": "at+jwt", "alg": "ES256", "kid": kid}
			for key, value := range more {
				header[key] = value
			}
			refused(t, name+" with kid "+kid, g, w.sign(own, header, w.claims(nil)))
		}
	}
	if fetched.Load() != 0 {
		t.Errorf("%d fetches from where a token said", fetched.Load())
	}
	// The issuer's own signature is no reason to follow them either.
	call(g, "Bearer "+w.headed(object{"jku": sink.URL, "x5u": sink.URL}))
	if fetched.Load() != 0 {
		t.Error("a good token led to a fetch elsewhere")
	}
}

// FuzzToken holds that whatever strangers send ends in a refusal: nothing is
// good but what the issuer signed.
func FuzzToken(f *testing.F) {
	w := newWorld(f)
	g := w.guard(nil)
	good := w.token(object{"exp": w.clock.now().AddDate(1, 0, 0).Unix()}) // longer than anybody fuzzes
	for _, seed := range []string{good, good[:len(good)-1], good + ".", "..", "e30.e30.e30", "", "\x00", w.headed(object{"crit": []string{"b64"}, "b64": false}), w.headed(object{"alg": "none"})} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := g.Verify(t.Context(), token)
		if (err == nil) != (token == good) || (err == nil) != (claims != nil) {
			t.Errorf("%q: %v %v", token, claims, err)
		}
	})
}
