package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

// places are where tokens come in, each telling whether it takes one for good.
var places = []struct {
	name  string
	takes func(h *house, signed *servertest.Browser, token string) bool
}{
	{"userinfo, header", func(h *house, _ *servertest.Browser, token string) bool {
		if strings.ContainsAny(token, "\x00\n") || strings.Contains(token, "\xff") {
			return false // that is no header
		}
		return h.plain(http.MethodGet, "/userinfo", "", http.Header{"Authorization": {"Bearer " + token}}) == http.StatusOK
	}},
	{"userinfo, body", func(h *house, _ *servertest.Browser, token string) bool {
		return h.plain(http.MethodPost, "/userinfo", url.Values{"access_token": {token}}.Encode(), nil) == http.StatusOK
	}},
	{"introspection", func(h *house, _ *servertest.Browser, token string) bool {
		status, _, body, err := h.shop.Post(h.Installation, "/introspect", url.Values{"token": {token}})
		if err != nil || status >= 500 {
			h.t.Errorf("introspection answered %d %s %v", status, body, err)
		}
		return strings.Contains(body, `"active":true`)
	}},
	{"refresh", func(h *house, _ *servertest.Browser, token string) bool {
		return h.shop.Token(h.Installation, refreshing(token)).Status == http.StatusOK
	}},
	{"code", func(h *house, _ *servertest.Browser, token string) bool {
		return h.shop.Token(h.Installation, url.Values{"grant_type": {"authorization_code"}, "code": {token}, "code_verifier": {strings.Repeat("a", 43)}}).Status == http.StatusOK
	}},
	{"hint at authorize", func(h *house, signed *servertest.Browser, token string) bool {
		p := signed.Get(h.shop.URL(h.Installation, h.shop.Authorize(url.Values{"id_token_hint": {token}, "prompt": {"none"}})))
		return p.Location != nil && p.Location.Query().Has("code")
	}},
	{"hint at end_session", func(h *house, _ *servertest.Browser, token string) bool {
		p := h.Browser().Get(h.Base + h.tenant.Path + "/end_session?" + url.Values{"id_token_hint": {token}, "post_logout_redirect_uri": {"https://shop.example/bye"}}.Encode())
		return p.Location != nil
	}},
}

// plain sends a request without a browser and returns its status, which is
// never one of a fault of ours.
func (h *house) plain(method, path, body string, header http.Header) int {
	h.t.Helper()
	if header == nil {
		header = http.Header{}
	}
	if body != "" {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	status, _, text := send(h.t, method, h.Base+h.tenant.Path+path, body, header)
	if status >= 500 {
		h.t.Errorf("%s %s answered %d %s", method, path, status, text)
	}
	return status
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// SECURITY C1, C3, C5, C7, C9, C10, items 48–50, 65, 77: wherever a token comes
// in, none is taken that is not this issuer's, whole, of the right type, in
// its time.
func TestForgedTokensAreTakenNowhere(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		var fetched atomic.Int64
		sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
		defer sink.Close()
		h := newHouse(t, i, "thyme", nil)
		foreign := newHouse(t, i, "other", nil)
		browser, tokens := h.signIn()
		_, theirs := foreign.signIn()
		ours, err := i.SigningKeys.Signer(t.Context(), h.tenant.ID, jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		mine, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		my, err := jose.NewSigner(jose.ES256, ours.KeyID(), mine, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		myJWK, err := my.Public().JWK()
		if err != nil {
			t.Fatal(err)
		}
		ourJWK, err := ours.Public().JWK()
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(ours.Public().Key)
		if err != nil {
			t.Fatal(err)
		}
		ourPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})

		for _, kind := range []struct {
			typ, token string
			places     []string
			takes      func(place string) bool
		}{
			{"at+jwt", tokens.Access, nil, func(place string) bool { return strings.HasPrefix(place, "userinfo") || place == "introspection" }},
			{"JWT", tokens.ID, nil, func(place string) bool { return strings.HasPrefix(place, "hint") }},
		} {
			genuine := claims(t, kind.token)
			parts := strings.Split(kind.token, ".")
			signedBy := func(signer *jose.Signer, typ string, change map[string]any) string {
				all := maps.Clone(genuine)
				for name, value := range change {
					if value == nil {
						delete(all, name)
					} else {
						all[name] = value
					}
				}
				text, err := json.Marshal(all)
				if err != nil {
					t.Fatal(err)
				}
				token, err := signer.Sign(typ, text)
				if err != nil {
					t.Fatal(err)
				}
				return token
			}
			with := func(change map[string]any) string { return signedBy(ours, kind.typ, change) }
			header := func(text string) string { return b64(text) + "." + parts[1] }
			symmetric := func(alg, key string) string {
				input := header(`{"alg":"` + alg + `","typ":"` + kind.typ + `","kid":"` + ours.KeyID() + `"}`)
				mac := hmac.New(sha256.New, []byte(key))
				mac.Write([]byte(input))
				return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
			}
			resigned := func(text string) string { // by our attacker, who names the key
				input := header(text)
				sum := sha256.Sum256([]byte(input))
				r, s, err := ecdsa.Sign(rand.Reader, mine, sum[:])
				if err != nil {
					t.Fatal(err)
				}
				raw := make([]byte, 64)
				r.FillBytes(raw[:32])
				s.FillBytes(raw[32:])
				return input + "." + base64.RawURLEncoding.EncodeToString(raw)
			}
			now := i.Clock.Now()
			good := map[string]string{"the genuine one": kind.token}
			if kind.typ == "at+jwt" {
				good["issued by a node whose clock is 8 s ahead"] = with(map[string]any{"iat": now.Add(8 * time.Second).Unix()})
			}
			for name, token := range good {
				for _, place := range places {
					if place.takes(h, browser, token) != kind.takes(place.name) {
						t.Errorf("%s, %s: %s is taken for what it is not, or not for what it is", place.name, kind.typ, name)
					}
				}
			}
			forged := map[string]string{
				"alg none":                  header(`{"alg":"none","typ":"`+kind.typ+`"}`) + ".",
				"alg None, signature kept":  header(`{"alg":"None","typ":"`+kind.typ+`","kid":"`+ours.KeyID()+`"}`) + "." + parts[2],
				"no alg":                    header(`{"typ":"`+kind.typ+`","kid":"`+ours.KeyID()+`"}`) + "." + parts[2],
				"HS256 with the public PEM": symmetric("HS256", string(ourPEM)),
				"HS256 with the public JWK": symmetric("HS256", string(ourJWK)),
				"HS256 with the public DER": symmetric("HS256", string(der)),
				"HS256 with an empty key":   symmetric("HS256", ""),
				"another key under our kid": signedBy(my, kind.typ, nil),
				"a key in the header":       resigned(`{"alg":"ES256","typ":"` + kind.typ + `","jwk":` + string(myJWK) + `}`),
				"a key behind jku":          resigned(`{"alg":"ES256","typ":"` + kind.typ + `","kid":"mine","jku":"` + sink.URL + `/jwks"}`),
				"a key behind x5u":          resigned(`{"alg":"ES256","typ":"` + kind.typ + `","kid":"mine","x5u":"` + sink.URL + `/cert"}`),
				"kid is a path":             resigned(`{"alg":"ES256","typ":"` + kind.typ + `","kid":"../../../../dev/null"}`),
				"kid is SQL":                resigned(`{"alg":"ES256","typ":"` + kind.typ + `","kid":"' OR '1'='1"}`),
				"kid is an address":         resigned(`{"alg":"ES256","typ":"` + kind.typ + `","kid":"` + sink.URL + `/kid"}`),
				"no kid":                    resigned(`{"alg":"ES256","typ":"` + kind.typ + `"}`),
				"crit":                      header(`{"alg":"ES256","typ":"`+kind.typ+`","kid":"`+ours.KeyID()+`","crit":["b64"],"b64":false}`) + "." + parts[2],
				"another tenant's":          map[string]string{"at+jwt": theirs.Access, "JWT": theirs.ID}[kind.typ],
				"another issuer":            with(map[string]any{"iss": "https://evil.example"}),
				"no issuer":                 with(map[string]any{"iss": nil}),
				"another audience":          with(map[string]any{"aud": "https://evil.example"}),
				"audiences without us":      with(map[string]any{"aud": []string{"https://evil.example", "https://a.example"}}),
				"no audience":               with(map[string]any{"aud": nil}),
				"no audience in a list":     with(map[string]any{"aud": []string{}}),
				"issued in the future":      with(map[string]any{"iat": now.Add(61 * time.Second).Unix()}),
				"issued in 2099":            with(map[string]any{"iat": 4070908800}),
				"not before the future":     with(map[string]any{"nbf": now.Add(61 * time.Second).Unix()}),
				"numbers in words":          with(map[string]any{"iat": "now"}),
				"another type":              signedBy(ours, map[string]string{"at+jwt": "JWT", "JWT": "at+jwt"}[kind.typ], map[string]any{"aud": genuine["aud"]}),
				"a logout token's type":     signedBy(ours, "logout+jwt", nil),
				"no type":                   resigned(`{"alg":"ES256"}`),
				"cut short by 1":            kind.token[:len(kind.token)-1],
				"cut short by 8":            kind.token[:len(kind.token)-8],
				"without its signature":     parts[0] + "." + parts[1] + ".",
				"two parts":                 parts[0] + "." + parts[1],
				"with more":                 kind.token + "A",
				"padded":                    kind.token + "=",
				"five parts":                kind.token + ".AAAA.AAAA",
				"another letter":            swapCase(kind.token),
				"a space before":            " " + kind.token,
				"a line end within":         parts[0] + "." + parts[1] + ".\n" + parts[2],
				"another spelling":          otherSpelling(kind.token),
				"another payload":           parts[0] + "." + b64(`{"iss":"x","sub":"cus_0"}`) + "." + parts[2],
				"another signature":         parts[0] + "." + parts[1] + "." + strings.Split(theirs.Access, ".")[2],
				"a signature of zeros":      parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86),
				"nothing":                   "",
				"a NUL":                     "\x00",
				"not UTF-8":                 "\xff\xfe",
			}
			if kind.typ == "at+jwt" { // a hint may have expired
				forged["expired"] = with(map[string]any{"exp": now.Add(-time.Second).Unix()})
				forged["no expiry"] = with(map[string]any{"exp": nil})
				forged["another customer"] = with(map[string]any{"sub": string(foreign.ana)})
				forged["another session"] = with(map[string]any{"sid": "ses_00000000000000000000000000"})
				forged["another lineage"] = with(map[string]any{"lin": "lin_00000000000000000000000000"})
				forged["another application"] = with(map[string]any{"client_id": string(h.recipes.ID)})
			} else {
				forged["of an application itself"] = with(map[string]any{"sub": string(h.shop.ID)})
			}
			for name, token := range forged {
				for _, place := range places {
					if token == "" && strings.HasPrefix(place.name, "hint") {
						continue // no hint is no hint
					}
					if place.takes(h, browser, token) {
						t.Errorf("%s takes a %s: %s: %s", place.name, kind.typ, name, token)
					}
				}
				if name == "another session" {
					continue // it names the lineage truly, and is signed by us: to revoke that is no harm
				}
				// To revoke it answers the same, and does nothing.
				if status, _, body, err := h.shop.Post(i, "/revoke", url.Values{"token": {token}}); err != nil || status >= 500 {
					t.Errorf("revoking one %s answered %d %s %v", name, status, body, err)
				}
				if !h.shop.Active(i, tokens.Refresh) {
					t.Fatalf("revoking one %s revoked the genuine ones", name)
				}
			}
			if !h.shop.Active(i, tokens.Access) || !h.shop.Active(i, tokens.Refresh) {
				t.Fatal("a forged token revoked the genuine ones")
			}
		}
		if n := fetched.Load(); n != 0 {
			t.Errorf("%d addresses out of tokens were fetched", n)
		}
		// C5: nor are refresh tokens taken in any other spelling.
		for _, bad := range []string{
			tokens.Refresh[:len(tokens.Refresh)-1], tokens.Refresh + "A", tokens.Refresh + "=", swapCase(tokens.Refresh), " " + tokens.Refresh,
			tokens.Refresh[:len(tokens.Refresh)/2] + "\n" + tokens.Refresh[len(tokens.Refresh)/2:], otherSpelling(tokens.Refresh), theirs.Refresh,
		} {
			if got := h.shop.Token(i, refreshing(bad)); got.Error != "invalid_grant" {
				t.Errorf("a misspelled refresh token got %+v", got)
			}
			if _, _, _, err := h.shop.Post(i, "/revoke", url.Values{"token": {bad}}); err != nil {
				t.Error(err)
			}
		}
		// C4: another application learns that it is not active, and no more; and
		// cannot revoke it.
		for _, token := range []string{tokens.Access, tokens.Refresh} {
			status, _, body, err := h.recipes.Post(i, "/introspect", url.Values{"token": {token}})
			if err != nil || status != http.StatusOK || body != "{\"active\":false}\n" {
				t.Errorf("another application learned %d %s %v", status, body, err)
			}
			if status, _, _, err := h.recipes.Post(i, "/revoke", url.Values{"token": {token}}); err != nil || status != http.StatusOK {
				t.Errorf("revoking another's token answered %d %v", status, err)
			}
			if got := h.recipes.Token(i, refreshing(token)); got.Error != "invalid_grant" {
				t.Errorf("another application refreshed: %+v", got)
			}
		}
		// Item 67: a token in an address is none.
		if status := h.plain(http.MethodGet, "/userinfo?access_token="+url.QueryEscape(tokens.Access), "", nil); status != http.StatusUnauthorized {
			t.Errorf("userinfo took a token from the address: %d", status)
		}
		if !h.shop.Active(i, tokens.Access) || !h.shop.Active(i, tokens.Refresh) {
			t.Error("the genuine tokens are not good any more")
		}
		// Item 72: no application is named as a customer could be.
		if strings.HasPrefix(string(h.shop.ID), "cus_") || genuineSub(t, tokens.Access) != string(h.ana) {
			t.Error("an application may be taken for a customer")
		}
	})
}

func genuineSub(t *testing.T, token string) string { return claims(t, token)["sub"].(string) }

// swapCase changes the case of one letter in the last part of a token.
func swapCase(token string) string {
	text := []byte(token)
	for at := len(text) - 10; at > 0; at-- {
		switch c := text[at]; {
		case c >= 'a' && c <= 'z':
			text[at] = c - 'a' + 'A'
			return string(text)
		case c >= 'A' && c <= 'Z':
			text[at] = c - 'A' + 'a'
			return string(text)
		}
	}
	return token + "x"
}

// otherSpelling is base64url that says the same in other letters: with the
// unused bits of the last one set, where it has any.
func otherSpelling(token string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(letters, token[len(token)-1])
	at := strings.LastIndexByte(token, '.') + 1
	if len(token[at:])%4 == 0 {
		return token + "=="
	}
	return token[:len(token)-1] + string(letters[last^1])
}
