package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"
)

var algorithms = []Alg{ES256, RS256, PS256, EdDSA}

// newSigner makes a signer with a new key; RSA keys are made once, as they are slow.
func newSigner(t testing.TB, alg Alg) *Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	if alg == RS256 || alg == PS256 {
		key, err = rsaKey()
	} else {
		key, err = GenerateKey(alg, rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := NewSigner(alg, "key-1", key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

var rsaKey = sync.OnceValues(func() (crypto.Signer, error) { return GenerateKey(RS256, rand.Reader) })

func keySet(t testing.TB, keys ...PublicKey) *KeySet {
	t.Helper()
	set, err := NewKeySet(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func sign(t testing.TB, s *Signer, typ, claims string) string {
	t.Helper()
	token, err := s.Sign(typ, []byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestSignedTokensVerify(t *testing.T) {
	for _, alg := range algorithms {
		t.Run(string(alg), func(t *testing.T) {
			signer := newSigner(t, alg)
			claims := `{"iss":"https://id.example","z":1,"a":2,"aud":["x","y"],"exp":1800000000,"iat":1799999999.5,"jti":"j","sub":"s"}`
			for range 50 { // signatures of ECDSA have leading zeros at times
				compact := sign(t, signer, "at+jwt", claims)
				token, err := Verify(compact, Expect{Algs: []Alg{alg}, Types: []string{"AT+JWT"}}, keySet(t, signer.Public()))
				if err != nil {
					t.Fatal(err)
				}
				if string(token.Payload) != claims || token.KeyID != "key-1" || token.Header != (Header{alg, "key-1", "at+jwt"}) {
					t.Fatalf("read %+v", token)
				}
				if alg == RS256 || alg == PS256 {
					break
				}
			}
			header, _, _ := strings.Cut(sign(t, signer, "JWT", claims), ".")
			decoded, _ := base64.RawURLEncoding.DecodeString(header)
			if want := `{"alg":"` + string(alg) + `","kid":"key-1","typ":"JWT"}`; string(decoded) != want {
				t.Errorf("header %s, want %s", decoded, want)
			}
		})
	}
}

func TestPrivateKeysSurviveStorage(t *testing.T) {
	for _, alg := range algorithms {
		signer := newSigner(t, alg)
		der, err := MarshalPrivateKey(signer.key)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ParsePrivateKey(alg, der)
		if err != nil {
			t.Fatal(err)
		}
		again, err := NewSigner(alg, "key-1", key, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(sign(t, again, "JWT", "{}"), Expect{Algs: []Alg{alg}, Types: []string{"JWT"}}, keySet(t, signer.Public())); err != nil {
			t.Error(err)
		}
		other := map[Alg]Alg{ES256: EdDSA, EdDSA: RS256, RS256: ES256, PS256: ES256}[alg]
		if _, err := ParsePrivateKey(other, der); !errors.Is(err, ErrBadKey) {
			t.Errorf("a key for %s was read as one for %s: %v", alg, other, err)
		}
	}
	if _, err := ParsePrivateKey(ES256, []byte("x")); !errors.Is(err, ErrBadKey) {
		t.Error(err)
	}
}

func TestNewSignerRefuses(t *testing.T) {
	key, err := GenerateKey(ES256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, kid := range []string{"", `a"b`, "a b", "../x", strings.Repeat("a", 129)} {
		if _, err := NewSigner(ES256, kid, key, rand.Reader); !errors.Is(err, ErrBadKey) {
			t.Errorf("the kid %q was accepted", kid)
		}
	}
	for _, alg := range []Alg{RS256, EdDSA, "HS256", "none", ""} {
		if _, err := NewSigner(alg, "k", key, rand.Reader); !errors.Is(err, ErrBadKey) {
			t.Errorf("%q took a key of P-256", alg)
		}
	}
	signer := newSigner(t, ES256)
	for _, typ := range []string{"", `J"T`, "a+b+c"} {
		if _, err := signer.Sign(typ, []byte("{}")); err == nil {
			t.Errorf("the type %q was accepted", typ)
		}
	}
	if _, err := GenerateKey("none", rand.Reader); !errors.Is(err, ErrAlg) {
		t.Error(err)
	}
}

// TestGoldenTokens freezes the wire format. EdDSA signs the same each time.
func TestGoldenTokens(t *testing.T) {
	seed := sha256.Sum256([]byte("golden"))
	signer, err := NewSigner(EdDSA, "golden-1", ed25519.NewKeyFromSeed(seed[:]), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token := sign(t, signer, "at+jwt", `{"iss":"https://id.example","sub":"cus_1","aud":"api","exp":1800000000}`)
	jwks, err := JWKS([]PublicKey{signer.Public()})
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"eddsa.jwt": token, "eddsa.jwks.json": string(jwks)} {
		want, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if got != strings.TrimSpace(string(want)) {
			t.Errorf("%s is now\n%s\nand was\n%s", name, got, want)
		}
	}
}

func TestInteropGoJose(t *testing.T) {
	for _, alg := range algorithms {
		t.Run(string(alg), func(t *testing.T) {
			signer := newSigner(t, alg)
			claims := `{"iss":"i","exp":1800000000}`

			parsed, err := gojose.ParseSignedCompact(sign(t, signer, "JWT", claims), []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(alg)})
			if err != nil {
				t.Fatal(err)
			}
			if payload, err := parsed.Verify(signer.Public().Key); err != nil || string(payload) != claims {
				t.Errorf("go-jose read %s, %v", payload, err)
			}

			options := (&gojose.SignerOptions{}).WithType("JWT").WithHeader("kid", "key-1")
			theirs, err := gojose.NewSigner(gojose.SigningKey{Algorithm: gojose.SignatureAlgorithm(alg), Key: signer.key}, options)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := theirs.Sign([]byte(claims))
			if err != nil {
				t.Fatal(err)
			}
			compact, err := signed.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			token, err := Verify(compact, Expect{Algs: []Alg{alg}, Types: []string{"JWT"}}, keySet(t, signer.Public()))
			if err != nil || token.Claims.Issuer != "i" {
				t.Errorf("read %+v, %v", token, err)
			}

			rendered, err := signer.Public().JWK()
			if err != nil {
				t.Fatal(err)
			}
			var jwk gojose.JSONWebKey
			if err := jwk.UnmarshalJSON(rendered); err != nil || jwk.KeyID != "key-1" || jwk.Algorithm != string(alg) || jwk.Use != "sig" {
				t.Fatalf("go-jose read the key as %+v, %v", jwk, err)
			}
			sum, err := jwk.Thumbprint(crypto.SHA256)
			mine, errMine := Thumbprint(signer.Public().Key)
			if err != nil || errMine != nil || base64.RawURLEncoding.EncodeToString(sum) != mine {
				t.Errorf("thumbprints differ: %x, %s", sum, mine)
			}
			reverse, err := (&gojose.JSONWebKey{Key: signer.Public().Key, KeyID: "key-1", Algorithm: string(alg)}).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if key, err := ParseJWK(reverse); err != nil || key.ID != "key-1" || key.Alg != alg {
				t.Errorf("read %s as %+v, %v", reverse, key, err)
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	claims := []byte(`{"iss":"https://id.example.com/t/shop","sub":"cus_06c1x5m8kz7v9b2n4q6r8t0w1y","aud":"https://api.example.com","exp":1800000000,"iat":1799999700,"jti":"06c1x5m8kz7v9b2n4q6r8t0w1y","client_id":"app_06c1x5m8kz7v9b2n4q6r8t0w1y","scope":"openid profile"}`)
	digest := sha256.Sum256(claims)
	for _, alg := range algorithms {
		signer := newSigner(b, alg)
		b.Run(string(alg)+"/token", func(b *testing.B) {
			for b.Loop() {
				if _, err := signer.Sign("at+jwt", claims); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(string(alg)+"/raw", func(b *testing.B) {
			for b.Loop() {
				var err error
				switch key := signer.key.(type) {
				case *ecdsa.PrivateKey:
					_, err = ecdsa.SignASN1(rand.Reader, key, digest[:])
				case *rsa.PrivateKey:
					if alg == PS256 {
						_, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: 32})
					} else {
						_, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
					}
				case ed25519.PrivateKey:
					ed25519.Sign(key, claims)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
		token, err := signer.Sign("at+jwt", claims)
		if err != nil {
			b.Fatal(err)
		}
		keys, expect := keySet(b, signer.Public()), Expect{Algs: []Alg{alg}, Types: []string{"at+jwt"}}
		b.Run(string(alg)+"/verify", func(b *testing.B) {
			for b.Loop() {
				if _, err := Verify(token, expect, keys); err != nil {
					b.Fatal(err)
				}
			}
		})
		signature, err := signer.signature(claims)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(alg)+"/rawverify", func(b *testing.B) {
			for b.Loop() {
				if !verifies(signer.Public().Key, alg, claims, signature) {
					b.Fatal("refused")
				}
			}
		})
	}
}

func ExampleSigner() {
	seed := sha256.Sum256([]byte("example"))
	signer, _ := NewSigner(EdDSA, "key-1", ed25519.NewKeyFromSeed(seed[:]), rand.Reader)
	compact, _ := signer.Sign("at+jwt", []byte(`{"iss":"https://id.example","aud":"api","exp":1800000000}`))

	keys, _ := NewKeySet(signer.Public())
	token, _ := Verify(compact, Expect{Algs: []Alg{EdDSA}, Types: []string{"at+jwt"}}, keys)
	fmt.Println(token.Claims.Validate(time.Unix(1_799_999_999, 0), "https://id.example", "api", 0))
	fmt.Println(token.Claims.Validate(time.Unix(1_800_000_000, 0), "https://id.example", "api", 0))
	// Output:
	// <nil>
	// the token has expired
}
