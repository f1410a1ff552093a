package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"
)

func part(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

var everything = Expect{Algs: algorithms, Types: []string{"JWT", ""}}

// withHeader signs any header as the signer would.
func withHeader(t testing.TB, s *Signer, header, claims string) string {
	t.Helper()
	input := part(header) + "." + part(claims)
	signature, err := s.signature([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + part(string(signature))
}

// SECURITY C1, C7: neither a public key as an HMAC secret, nor an empty one, nor "none".
func TestAlgorithmConfusion(t *testing.T) {
	for _, alg := range algorithms {
		signer := newSigner(t, alg)
		keys := keySet(t, signer.Public())
		der, err := x509.MarshalPKIXPublicKey(signer.Public().Key)
		if err != nil {
			t.Fatal(err)
		}
		jwk, err := signer.Public().JWK()
		if err != nil {
			t.Fatal(err)
		}
		block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		for name, secret := range map[string][]byte{
			"PEM": block, "trimmed PEM": bytes.TrimSpace(block), "DER": der, "JWK": jwk, "empty": {}, "kid": []byte("key-1"),
		} {
			for _, header := range []string{`{"alg":"HS256","kid":"key-1"}`, `{"alg":"` + string(alg) + `","kid":"key-1"}`} {
				input := part(header) + "." + part(`{"exp":1800000000}`)
				mac := hmac.New(sha256.New, secret)
				mac.Write([]byte(input))
				if _, err := Verify(input+"."+part(string(mac.Sum(nil))), everything, keys); !errors.Is(err, ErrAlg) && !errors.Is(err, ErrSignature) {
					t.Errorf("%s: HMAC with the %s under %s: %v", alg, name, header, err)
				}
			}
		}
		for _, header := range []string{
			`{"alg":"none"}`, `{"alg":"None"}`, `{"alg":"NONE","kid":"key-1"}`, `{"alg":"nOnE"}`, `{}`, `{"kid":"key-1"}`, `{"alg":""}`, `{"alg":null}`, `{"alg":["ES256"]}`,
			`{"ALG":"` + string(alg) + `"}`, `{"alg":"` + strings.ToLower(string(alg)) + `"}`, `{"alg":"` + string(alg) + ` "}`, `{"alg":"ES384"}`, `{"alg":"RS512"}`, `{"alg":"RS1"}`, `{"alg":"dir","enc":"A128GCM"}`,
		} {
			input := part(header) + "." + part(`{"exp":1800000000}`)
			for _, compact := range []string{input + ".", withHeader(t, signer, header, `{"exp":1800000000}`)} {
				if _, err := Verify(compact, everything, keys); err == nil {
					t.Errorf("%s: accepted with the header %s", alg, header)
				}
			}
		}
		for _, other := range algorithms {
			if other == alg {
				continue
			}
			header := fmt.Sprintf(`{"alg":%q,"kid":"key-1"}`, other)
			if _, err := Verify(withHeader(t, signer, header, `{}`), everything, keys); err == nil {
				t.Errorf("a key for %s verified a token of %s", alg, other)
			}
			compact := sign(t, signer, "JWT", `{}`)
			if _, err := Verify(compact, Expect{Algs: []Alg{other}, Types: []string{"JWT"}}, keys); !errors.Is(err, ErrAlg) {
				t.Errorf("a token of %s passed where only %s is allowed: %v", alg, other, err)
			}
		}
	}
}

// An RSA key without a stated algorithm still serves only what the caller allows.
func TestKeyWithoutAlgorithm(t *testing.T) {
	rs, ps := newSigner(t, RS256), newSigner(t, PS256)
	public := rs.Public()
	public.Alg = ""
	keys := keySet(t, public)
	for _, s := range []*Signer{rs, ps} {
		if _, err := Verify(sign(t, s, "JWT", "{}"), everything, keys); err != nil {
			t.Error(err)
		}
	}
	if _, err := Verify(sign(t, rs, "JWT", "{}"), Expect{Algs: []Alg{PS256}, Types: []string{"JWT"}}, keys); !errors.Is(err, ErrAlg) {
		t.Errorf("RS256 passed: %v", err)
	}
}

func TestCallerMustState(t *testing.T) {
	signer := newSigner(t, EdDSA)
	compact := sign(t, signer, "JWT", "{}")
	if _, err := Verify(compact, Expect{Types: []string{"JWT"}}, keySet(t, signer.Public())); !errors.Is(err, ErrAlg) {
		t.Error(err)
	}
	if _, err := Verify(compact, Expect{Algs: []Alg{EdDSA}}, keySet(t, signer.Public())); !errors.Is(err, ErrType) {
		t.Error(err)
	}
	if _, err := Verify(compact, everything, nil); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
	if _, err := Verify(compact, everything, keySet(t)); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
}

// SECURITY C7, C10: headers choose nothing.
func TestHeaders(t *testing.T) {
	signer, evil := newSigner(t, EdDSA), newSigner(t, EdDSA)
	keys := keySet(t, signer.Public())
	evilJWK, err := evil.Public().JWK()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		header string
		by     *Signer
		want   error
	}{
		{`{"alg":"EdDSA","kid":"key-1","typ":"JWT"}`, signer, nil},
		{`{"alg":"EdDSA","kid":"key-1"}`, signer, nil},
		{`{"alg":"EdDSA"}`, signer, nil},
		{` { "typ" : "application/jwt" , "alg" : "EdDSA" , "x" : { "alg" : [ "}" ] } } `, signer, nil},
		{`{"alg":"EdDSA","kid":"key-1","jku":"http://127.0.0.1:1/","x5u":"http://127.0.0.1:1/","x5c":["x"],"jwk":{}}`, signer, nil},
		{`{"alg":"EdDSA","kid":"key-1","jwk":` + string(evilJWK) + `}`, evil, ErrSignature},
		{`{"alg":"EdDSA","jku":"https://evil.example/jwks"}`, evil, ErrSignature},
		{`{"alg":"EdDSA","kid":"../../dev/null"}`, evil, ErrKey},
		{`{"alg":"EdDSA","kid":"' OR 1=1 --"}`, signer, ErrKey},
		{`{"alg":"EdDSA","kid":"https://evil.example/jwks"}`, signer, ErrKey},
		{`{"alg":"EdDSA","kid":"KEY-1"}`, signer, ErrKey},
		{`{"alg":"EdDSA","kid":""}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","kid":1}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","typ":"at+jwt"}`, signer, ErrType},
		{`{"alg":"EdDSA","typ":"application/x/jwt"}`, signer, ErrType},
		{`{"alg":"EdDSA","typ":""}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","crit":["exp"]}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","crit":[]}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","crit":null}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","cr\u0069t":["exp"]}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","b64":false,"crit":["b64"]}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","b64":true}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","zip":"DEF"}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","alg":"EdDSA"}`, signer, ErrMalformed},
		{`{"alg":"none","alg":"EdDSA"}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","\u0061lg":"none"}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","x":1,"x":2}`, signer, ErrMalformed},
		{`{"alg":"EdDSA","a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"b":2}`, signer, ErrMalformed},
		{`{"alg":"EdDSA"} {}`, signer, ErrMalformed},
		{`[{"alg":"EdDSA"}]`, signer, ErrMalformed},
		{`"alg"`, signer, ErrMalformed},
		{`null`, signer, ErrMalformed},
		{``, signer, ErrMalformed},
		{`{"alg":"EdDSA"`, signer, ErrMalformed},
		{`{"alg":"EdDSA",}`, signer, ErrMalformed},
		{"{\"alg\":\"EdDSA\",\"x\":\"\xff\"}", signer, ErrMalformed},
		{"\ufeff" + `{"alg":"EdDSA"}`, signer, ErrMalformed},
	} {
		_, err := Verify(withHeader(t, test.by, test.header, "{}"), everything, keys)
		if !errors.Is(err, test.want) || (test.want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", test.header, err, test.want)
		}
	}
}

func TestTokenWithoutKidNeedsOneKey(t *testing.T) {
	a, b, rs := newSigner(t, EdDSA), newSigner(t, EdDSA), newSigner(t, RS256)
	second, other := b.Public(), rs.Public()
	second.ID, other.ID = "key-2", "key-3"
	compact := withHeader(t, a, `{"alg":"EdDSA"}`, "{}")
	if _, err := Verify(compact, everything, keySet(t, a.Public(), other)); err != nil {
		t.Error(err)
	}
	if _, err := Verify(compact, everything, keySet(t, a.Public(), second)); !errors.Is(err, ErrKey) {
		t.Errorf("one of two keys was guessed: %v", err)
	}
}

// SECURITY C5: one spelling only.
func TestOtherSpellingsAreRefused(t *testing.T) {
	for _, alg := range algorithms {
		signer := newSigner(t, alg)
		keys := keySet(t, signer.Public())
		good := sign(t, signer, "JWT", `{"exp":1800000000}`)
		if _, err := Verify(good, everything, keys); err != nil {
			t.Fatal(err)
		}
		first, last := strings.IndexByte(good, '.'), strings.LastIndexByte(good, '.')
		bad := []string{
			"", ".", "..", "...", good + ".", "." + good, good + "=", good + "A", good + "AAAA", good + "\n", " " + good, good + " ", good + "\x00",
			good[:first] + "\n" + good[first:], good[:first] + "=" + good[first:], good[:last] + "\r" + good[last:],
			good[:first] + good[last:], good[:last], good[:last+1], good[first+1:], good[:first+1] + good[last:], good + "." + part("x") + "." + part("y"),
			strings.ToUpper(good), strings.ReplaceAll(strings.ReplaceAll(good, "-", "+"), "_", "/") + "+/", "Bearer " + good,
			`{"payload":"` + good[first+1:last] + `","protected":"` + good[:first] + `","signature":"` + good[last+1:] + `"}`,
		}
		for n := 1; n < 40; n++ {
			bad = append(bad, good[:len(good)-n])
		}
		// The last character of a part may hold bits that decode to nothing.
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		for _, at := range []int{first - 1, last - 1, len(good) - 1} {
			for _, c := range []byte(alphabet) {
				if c != good[at] {
					bad = append(bad, good[:at]+string(c)+good[at+1:])
				}
			}
		}
		for _, compact := range bad {
			if _, err := Verify(compact, everything, keys); err == nil {
				t.Errorf("%s: another spelling was accepted: %q for %q", alg, compact, good)
			}
		}
	}
}

// SECURITY O1 and O2: what is costly is refused cheaply.
func TestHostileTokensAreRefusedFast(t *testing.T) {
	signer := newSigner(t, ES256)
	keys := keySet(t, signer.Public())
	deep := strings.Repeat("[", 6000) + strings.Repeat("]", 6000)
	var many strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&many, `"k%d":1,`, i)
	}
	jweHeader := part(`{"alg":"PBES2-HS256+A128KW","enc":"A128CBC-HS256","p2c":2147483647,"p2s":"x","zip":"DEF"}`)
	for name, compact := range map[string]string{
		"a million dots":      strings.Repeat(".", 1<<20),
		"many dots":           strings.Repeat(".", MaxBytes),
		"a million letters":   strings.Repeat("A", 1<<20),
		"long parts":          strings.Repeat("A", 5000) + "." + strings.Repeat("A", 5000) + "." + strings.Repeat("A", 5000),
		"JWE":                 jweHeader + ".AAAA.AAAA.AAAA.AAAA",
		"JWE in three parts":  jweHeader + ".AAAA.AAAA",
		"JWE, no key":         part(`{"alg":"RSA-OAEP","enc":"A128GCM"}`) + "..AAAA.AAAA.AAAA",
		"deep header":         withHeader(t, signer, `{"alg":"ES256","x":`+deep[:3000]+deep[9000:]+`,"x":1}`, "{}"),
		"deep claims":         withHeader(t, signer, `{"alg":"ES256"}`, `{"x":`+deep+`}`),
		"many members":        withHeader(t, signer, `{"alg":"ES256",`+many.String()+`"k1199":1}`, "{}"),
		"empty signature":     part(`{"alg":"ES256"}`) + "." + part("{}") + ".",
		"zero signature":      part(`{"alg":"ES256"}`) + "." + part("{}") + "." + part(string(make([]byte, 64))),
		"ASN.1 signature":     part(`{"alg":"ES256"}`) + "." + part("{}") + "." + part(string(derECDSA(bytes.Repeat([]byte{0x55}, 64)))),
		"signature too large": part(`{"alg":"ES256"}`) + "." + part("{}") + "." + part(string(bytes.Repeat([]byte{0xff}, 64))),
	} {
		fastest := time.Hour // of some, as other work on the machine must not count
		for range 5 {
			begin := time.Now()
			if _, err := Verify(compact, everything, keys); err == nil {
				t.Errorf("%s was accepted", name)
			}
			fastest = min(fastest, time.Since(begin))
		}
		if _, err := ReadUnverified(compact, 0); strings.Contains(name, "dots") && err == nil {
			t.Errorf("%s was read", name)
		}
		if fastest > 50*time.Millisecond {
			t.Errorf("%s took %v", name, fastest)
		}
	}
	large := sign(t, signer, "JWT", `{"x":"`+strings.Repeat("a", MaxBytes)+`"}`)
	if _, err := Verify(large, everything, keys); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	expect := everything
	expect.MaxBytes = 2 * MaxBytes
	if _, err := Verify(large, expect, keys); err != nil {
		t.Error(err)
	}
}

// SECURITY C3: who, for whom, when.
func TestValidate(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	const issuer, audience = "https://id.example", "api"
	for claims, want := range map[string]error{
		`{"iss":"https://id.example","aud":"api","exp":1800000001}`:                        nil,
		`{"iss":"https://id.example","aud":["x","api"],"exp":1800000001,"nbf":1800000000}`: nil,
		`{"iss":"https://id.example","aud":"api","exp":1799999995,"iat":1800000010}`:       nil,
		`{"iss":"https://id.example","aud":"api","exp":1799999990}`:                        ErrExpired,
		`{"iss":"https://id.example","aud":"api","exp":1}`:                                 ErrExpired,
		`{"iss":"https://id.example","aud":"api","EXP":1900000000}`:                        ErrClaim,
		`{"iss":"https://id.example","aud":"api"}`:                                         ErrClaim,
		`{"iss":"https://id.example","aud":"api","exp":1800000001,"iat":4070908800}`:       ErrNotYet, // 2099
		`{"iss":"https://id.example","aud":"api","exp":1800000001,"nbf":1800000011}`:       ErrNotYet,
		`{"iss":"https://id.example","aud":"api","exp":1800000001,"iat":1800000010.5}`:     ErrNotYet,
		`{"iss":"https://evil.example","aud":"api","exp":1800000001}`:                      ErrIssuer,
		`{"iss":"https://id.example/","aud":"api","exp":1800000001}`:                       ErrIssuer,
		`{"ISS":"https://id.example","aud":"api","exp":1800000001}`:                        ErrIssuer,
		`{"aud":"api","exp":1800000001}`:                                                   ErrIssuer,
		`{"iss":"https://id.example","aud":"other","exp":1800000001}`:                      ErrAudience,
		`{"iss":"https://id.example","aud":["other","api2"],"exp":1800000001}`:             ErrAudience,
		`{"iss":"https://id.example","aud":[],"exp":1800000001}`:                           ErrAudience,
		`{"iss":"https://id.example","aud":"","exp":1800000001}`:                           ErrAudience,
		`{"iss":"https://id.example","exp":1800000001}`:                                    ErrAudience,
	} {
		read, err := readClaims([]byte(claims))
		if err != nil {
			t.Errorf("%s: %v", claims, err)
			continue
		}
		if err := read.Validate(now, issuer, audience, 10*time.Second); !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", claims, err, want)
		}
	}
	empty, err := readClaims([]byte(`{"iss":"","aud":["",""],"exp":1900000000}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := empty.Validate(now, "", "x", 0); !errors.Is(err, ErrIssuer) {
		t.Error(err)
	}
	empty.Issuer = "i"
	if err := empty.Validate(now, "i", "", 0); !errors.Is(err, ErrAudience) {
		t.Error(err)
	}
}

func TestMalformedClaimsAreRefused(t *testing.T) {
	for _, claims := range []string{
		`{"exp":"1800000000"}`, `{"exp":null}`, `{"exp":-1}`, `{"exp":0}`, `{"exp":1e300}`, `{"exp":true}`, `{"exp":[1]}`, `{"nbf":"x"}`, `{"iat":{}}`,
		`{"iss":1}`, `{"iss":null}`, `{"sub":["x"]}`, `{"jti":1}`, `{"aud":1}`, `{"aud":null}`, `{"aud":[1]}`, `{"aud":["x",null]}`, `{"aud":{"x":1}}`,
		`{"exp":1,"exp":2}`, `{"sub":"a","s\u0075b":"b"}`, `[]`, `"x"`, ``, `null`, `{`, "{\"sub\":\"\xff\"}",
	} {
		if c, err := readClaims([]byte(claims)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s was read as %+v, %v", claims, c, err)
		}
	}
}

func TestClaimsGet(t *testing.T) {
	c, err := readClaims([]byte(`{"scope":"a b","cnf":{"jkt":"x"},"n":null,"aud":"one","s\u0075b":"\u00e9\n"}`))
	if err != nil {
		t.Fatal(err)
	}
	var scope string
	var cnf struct{ JKT string }
	if c.Get("scope", &scope) != nil || scope != "a b" || c.Get("cnf", &cnf) != nil || cnf.JKT != "x" || c.Subject != "é\n" || !c.AudienceIsString {
		t.Errorf("read %q, %+v, %q", scope, cnf, c.Subject)
	}
	for _, name := range []string{"Scope", "absent", "n"} {
		if err := c.Get(name, &scope); !errors.Is(err, ErrClaim) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.Get("cnf", &scope); !errors.Is(err, ErrClaim) || !c.Has("n") || c.Has("absent") {
		t.Error(err)
	}
}

func TestParseJWK(t *testing.T) {
	// RFC 7638, section 3.1, and RFC 8037, appendix A.3.
	for jwk, thumbprint := range map[string]string{
		`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
	} {
		key, err := ParseJWK([]byte(jwk))
		if err != nil {
			t.Error(err)
			continue
		}
		if got, err := Thumbprint(key.Key); err != nil || got != thumbprint {
			t.Errorf("thumbprint %s, %v; want %s", got, err, thumbprint)
		}
	}
	private, err := GenerateKey(ES256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	privateJWK, err := (&gojose.JSONWebKey{Key: private}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	ed := `"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	for _, bad := range []string{
		string(privateJWK), `{` + ed + `,"d":"x"}`, `{"kty":"oct","k":"AAAA"}`, `{` + ed + `,"use":"enc"}`, `{` + ed + `,"alg":"ES256"}`, `{` + ed + `,"alg":"HS256"}`, `{` + ed + `,"alg":1}`,
		`{` + ed + `,"kty":"EC"}`, `{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, `{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="}`,
		`{"kty":"EC","crv":"P-256","x":"` + part(string(make([]byte, 32))) + `","y":"` + part(string(make([]byte, 32))) + `"}`, // not on the curve
		`{"kty":"EC","crv":"P-384","x":"AAAA","y":"AAAA"}`, `{"kty":"EC","crv":"P-256"}`,
		`{"kty":"RSA","n":"` + part(string(bytes.Repeat([]byte{0xff}, 128))) + `","e":"AQAB"}`,  // 1024 bits
		`{"kty":"RSA","n":"` + part(string(bytes.Repeat([]byte{0xff}, 2048))) + `","e":"AQAB"}`, // 16384 bits
		`{"kty":"RSA","n":"` + part(string(bytes.Repeat([]byte{0xff}, 256))) + `","e":"AQ"}`,
		`{"kty":"RSA","n":"` + part(string(bytes.Repeat([]byte{0xff}, 256))) + `","e":"_____w"}`,
		`{"kty":"RSA","n":"","e":""}`, `{"kty":"RSA"}`, `{}`, `[]`, ``, `{"kty":"RSA","crv":"P-256"}`,
	} {
		if key, err := ParseJWK([]byte(bad)); !errors.Is(err, ErrBadKey) {
			t.Errorf("%.100s was read as %+v, %v", bad, key, err)
		}
	}
}

func TestJWKS(t *testing.T) {
	a, b := newSigner(t, ES256), newSigner(t, RS256)
	second := b.Public()
	second.ID = "key-2"
	rendered, err := JWKS([]PublicKey{a.Public(), second})
	if err != nil {
		t.Fatal(err)
	}
	set, err := ParseJWKS(rendered)
	if err != nil || !reflect.DeepEqual(set.Keys(), []PublicKey{a.Public(), second}) {
		t.Errorf("%s was read as %+v, %v", rendered, set, err)
	}
	if empty, err := JWKS(nil); err != nil || string(empty) != `{"keys":[]}` {
		t.Errorf("%s, %v", empty, err)
	}
	// Unknown kinds are passed over.
	mixed := strings.Replace(string(rendered), `{"keys":[`, `{"keys":[{"kty":"quantum"},{"kty":"oct","k":"AA"},{"kty":"EC","crv":"P-521"},`, 1)
	if set, err := ParseJWKS([]byte(mixed)); err != nil || len(set.Keys()) != 2 {
		t.Errorf("%+v, %v", set, err)
	}
	for _, bad := range []string{
		``, `{}`, `[]`, `{"keys":null}`, `{"keys":{}}`, `{"keys":[],"keys":[]}`, `{"keys":[` + strings.Repeat(`{},`, maxKeys) + `{}]}`,
		`{"keys":[` + strings.TrimSuffix(strings.Repeat(`{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},`, 2), ",") + `]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"AA"}]}`, strings.Repeat(" ", maxJWKSBytes+1),
	} {
		if set, err := ParseJWKS([]byte(bad)); !errors.Is(err, ErrBadKey) {
			t.Errorf("%.80s was read as %+v, %v", bad, set, err)
		}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.PublicKey{
		"nothing": nil, "a secret": []byte("x"), "P-384": &p384.PublicKey,
		"short RSA": &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}, "short Ed25519": ed25519.PublicKey("x"),
	} {
		if _, err := NewKeySet(PublicKey{Key: key}); !errors.Is(err, ErrBadKey) {
			t.Errorf("%s was taken as a key: %v", name, err)
		}
	}
}

// The examples of RFC 7515, appendices A.2 and A.3.
func TestExamplesOfRFC7515(t *testing.T) {
	for _, example := range []struct{ jwk, token string }{
		{
			`{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`,
			"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
		},
		{
			`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
			"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
		},
	} {
		key, err := ParseJWK([]byte(example.jwk))
		if err != nil {
			t.Fatal(err)
		}
		token, err := Verify(example.token, Expect{Algs: []Alg{RS256, ES256}, Types: []string{""}}, keySet(t, key))
		if err != nil || token.Claims.Issuer != "joe" || token.Claims.Expires.Unix() != 1300819380 {
			t.Errorf("%+v, %v", token, err)
		}
	}
}

// FuzzVerify: whatever is accepted is, byte for byte, what was signed.
func FuzzVerify(f *testing.F) {
	seed := sha256.Sum256([]byte("fuzz"))
	signer, err := NewSigner(EdDSA, "key-1", ed25519.NewKeyFromSeed(seed[:]), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	keys := keySet(f, signer.Public())
	signed := map[string]bool{}
	for _, claims := range []string{`{}`, `{"iss":"i","exp":1800000000,"aud":["a","b"]}`, `{"a":{"b":[1,"}"]}}`} {
		token := sign(f, signer, "JWT", claims)
		signed[token] = true
		f.Add(token)
		f.Add(token[:len(token)-1])
		f.Add(token + "=")
	}
	f.Add(part(`{"alg":"none"}`) + "." + part(`{"exp":1}`) + ".")
	f.Add(part(`{"alg":"EdDSA","crit":["x"]}`) + "." + part(`{}`) + "." + part(strings.Repeat("x", 64)))
	f.Add("....")
	f.Fuzz(func(t *testing.T, compact string) {
		token, err := Verify(compact, everything, keys)
		if err == nil && !signed[compact] {
			t.Fatalf("accepted: %q", compact)
		}
		if err != nil && (token.KeyID != "" || token.Payload != nil) {
			t.Fatalf("%q was refused, and yet gave %+v", compact, token)
		}
	})
}

// FuzzParse: the reader of JSON objects agrees with encoding/json, but for names that come twice.
func FuzzParse(f *testing.F) {
	for _, data := range []string{
		`{"alg":"ES256","kid":"k","typ":"JWT"}`, ` { "a" : [ 1 , {"b":"}"} ] , "c" : "\"\\" , "d":-1.5e3, "e":null,"f":true } `, `{"a":1,"a":2}`, `{"\u0061":1,"a":2}`,
		`{}`, `{"":""}`, `{"a":{"a":{"a":[]}}}`, "{\"a\":\"\xff\"}", `{"exp":1800000000,"aud":["x"]}`, `[]`, `{"a":1}x`, `{"a"`, `{"\ud800":1}`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = readHeader(data)
		_, _ = readClaims(data)
		_, _ = ParseJWK(data)
		members, err := object(data)
		var theirs map[string]json.RawMessage
		errTheirs := json.Unmarshal(data, &theirs)
		if err != nil {
			return
		}
		if errTheirs != nil || len(members) != len(theirs) {
			t.Fatalf("%q has %d members, encoding/json reads %d (%v)", data, len(members), len(theirs), errTheirs)
		}
		for _, m := range members {
			if value, ok := theirs[m.name]; !ok || !bytes.Equal(value, m.value) {
				t.Fatalf("%q: %q is %s, encoding/json reads %s", data, m.name, m.value, value)
			}
		}
	})
}
