package cardea

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The bounds of what is fetched, and how often.
const (
	maxDocumentBytes = 256 << 10
	maxKeys          = 64
	leastKeysFor     = time.Minute
	mostKeysFor      = time.Hour
	usualKeysFor     = 5 * time.Minute
	// A key that nobody knows, or an issuer that does not answer, has it asked
	// again this much later at the earliest, whatever comes in meanwhile.
	leastBetween = 10 * time.Second
	leastRSABits = 2048
)

// issuer is what is known of the issuer: where its endpoints are, and its keys.
//
// Keys that are due are fetched beside the requests that use them; once they
// are overdue by as long again, requests wait for the new ones. While the
// issuer does not answer, the old ones serve on for Config.StaleFor. A token
// with an unknown key has the keys fetched at once, at most every leastBetween.
// There is never more than one fetch under way.
type issuer struct {
	config     *Config
	algorithms []jose.SignatureAlgorithm

	mu       sync.Mutex
	metadata metadata
	keys     map[string]jose.JSONWebKey // by kid; replaced, never changed
	fetched  time.Time                  // when keys were got
	fresh    time.Duration              // how long they are good
	tried    time.Time                  // when the issuer was last asked
	underway *fetch
}

// fetch is one round of asking. Done is closed when it is over.
type fetch struct {
	done chan struct{}
	err  error
}

// metadata is what is read of discovery.
type metadata struct {
	Issuer        string `json:"issuer"`
	JWKS          string `json:"jwks_uri"`
	Introspection string `json:"introspection_endpoint"`
}

func newIssuer(config *Config, algorithms []jose.SignatureAlgorithm) *issuer {
	return &issuer{config: config, algorithms: algorithms}
}

// key returns the public key that a token names, if it is one for alg.
func (i *issuer) key(ctx context.Context, kid, alg string) (any, error) {
	i.mu.Lock()
	now := i.config.Now()
	age := now.Sub(i.fetched)
	wait := i.keys == nil || age >= 2*i.fresh
	if (wait || age >= i.fresh) && i.may(now) {
		i.begin(now)
	}
	under := i.underway
	i.mu.Unlock()

	if wait && under != nil {
		if err := under.wait(ctx); err != nil && ctx.Err() != nil {
			return nil, unavailable(ctx.Err())
		}
	}
	key, found, err := i.look(kid)
	if err != nil {
		return nil, err
	}
	if !found {
		if key, found, err = i.lookAgain(ctx, kid); err != nil {
			return nil, err
		}
	}
	if !found || (key.Algorithm != "" && key.Algorithm != alg) || !fits(key.Key, alg) {
		return nil, bad("The token is signed with a key that is not the issuer's.")
	}
	return key.Key, nil
}

// look looks among the keys at hand, if they are still good.
func (i *issuer) look(kid string) (jose.JSONWebKey, bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.keys == nil || i.config.Now().Sub(i.fetched) >= i.fresh+i.config.StaleFor {
		return jose.JSONWebKey{}, false, unavailable(errors.New("the issuer's keys could not be fetched"))
	}
	key, found := i.keys[kid]
	return key, found, nil
}

// lookAgain fetches the keys because one was asked for that is not among them,
// unless that was done just now.
func (i *issuer) lookAgain(ctx context.Context, kid string) (jose.JSONWebKey, bool, error) {
	i.mu.Lock()
	if now := i.config.Now(); i.may(now) {
		i.begin(now)
	}
	under := i.underway
	i.mu.Unlock()
	if under != nil {
		_ = under.wait(ctx) // what it found is looked at next
		if ctx.Err() != nil {
			return jose.JSONWebKey{}, false, unavailable(ctx.Err())
		}
	}
	return i.look(kid)
}

// may tells whether the issuer may be asked now. It is called with i.mu held.
func (i *issuer) may(now time.Time) bool {
	return i.underway == nil && (i.tried.IsZero() || now.Sub(i.tried) >= leastBetween || now.Before(i.tried))
}

// begin asks the issuer, beside whoever wants to know: a caller that goes away
// does not end it. It is called with i.mu held.
func (i *issuer) begin(now time.Time) {
	under := &fetch{done: make(chan struct{})}
	i.tried, i.underway = now, under
	known := i.metadata
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*fetchTimeout)
		defer cancel()
		found, keys, fresh, err := i.fetch(ctx, known)
		i.mu.Lock()
		defer i.mu.Unlock()
		if err == nil {
			i.metadata, i.keys, i.fresh, i.fetched = found, keys, fresh, i.config.Now()
		} else {
			// It may have moved: the next try begins with discovery.
			i.metadata.JWKS = ""
			i.config.Logger.Warn("the issuer's keys could not be fetched", "issuer", i.config.Issuer, "error", err)
		}
		under.err, i.underway = err, nil
		close(under.done)
	}()
}

func (f *fetch) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fetch gets the keys, and before the first time where they are.
func (i *issuer) fetch(ctx context.Context, known metadata) (metadata, map[string]jose.JSONWebKey, time.Duration, error) {
	if known.JWKS == "" {
		var found metadata
		if _, err := i.get(ctx, strings.TrimSuffix(i.config.Issuer, "/")+"/.well-known/openid-configuration", &found); err != nil {
			return known, nil, 0, fmt.Errorf("discovery: %w", err)
		}
		if found.Issuer != i.config.Issuer { // RFC 8414, section 3.3
			return known, nil, 0, fmt.Errorf("discovery: the document is of the issuer %q", found.Issuer)
		}
		if err := secureAddress(found.JWKS); err != nil {
			return known, nil, 0, fmt.Errorf("discovery: jwks_uri %q: %w", found.JWKS, err)
		}
		if found.Introspection != "" {
			if err := secureAddress(found.Introspection); err != nil {
				return known, nil, 0, fmt.Errorf("discovery: introspection_endpoint %q: %w", found.Introspection, err)
			}
		}
		known = found
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	header, err := i.get(ctx, known.JWKS, &set)
	if err != nil {
		return known, nil, 0, fmt.Errorf("the key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return known, nil, 0, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	keys := map[string]jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		// Keys that are of no use here are passed over (RFC 7517, section 5).
		if err := json.Unmarshal(raw, &key); err != nil || !i.usable(key) {
			continue
		}
		if _, twice := keys[key.KeyID]; twice {
			return known, nil, 0, fmt.Errorf("the key set has two keys %q", key.KeyID)
		}
		keys[key.KeyID] = key
	}
	if len(keys) == 0 {
		return known, nil, 0, errors.New("the key set has no key of use here")
	}
	fresh := i.config.KeysFor
	if fresh == 0 {
		fresh = maxAge(header)
	}
	return known, keys, fresh, nil
}

// usable tells whether a key can have signed tokens that are taken here.
func (i *issuer) usable(key jose.JSONWebKey) bool {
	return key.KeyID != "" && key.IsPublic() && key.Valid() && (key.Use == "" || key.Use == "sig") &&
		slices.ContainsFunc(i.algorithms, func(a jose.SignatureAlgorithm) bool { return fits(key.Key, string(a)) })
}

// fits tells whether a key is of the type that an algorithm is for.
func fits(key any, alg string) bool {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return alg == ES256 && key.Curve == elliptic.P256() || alg == ES384 && key.Curve == elliptic.P384()
	case *rsa.PublicKey:
		return (alg == RS256 || alg == PS256) && key.N.BitLen() >= leastRSABits
	case ed25519.PublicKey:
		return alg == EdDSA
	}
	return false
}

// get reads a JSON document.
func (i *issuer) get(ctx context.Context, address string, into any) (http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	return i.do(r, into)
}

func (i *issuer) do(r *http.Request, into any) (http.Header, error) {
	response, err := i.config.HTTP.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", r.URL.Redacted(), response.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return nil, fmt.Errorf("%s answered with %q, not JSON", r.URL.Redacted(), response.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocumentBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxDocumentBytes {
		return nil, fmt.Errorf("%s answered with more than %d bytes", r.URL.Redacted(), maxDocumentBytes)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, fmt.Errorf("%s: %w", r.URL.Redacted(), err)
	}
	return response.Header, nil
}

// maxAge is how long an answer may be kept, within bounds.
func maxAge(header http.Header) time.Duration {
	for _, directive := range strings.Split(header.Get("Cache-Control"), ",") {
		if text, found := strings.CutPrefix(strings.ToLower(strings.TrimSpace(directive)), "max-age="); found {
			if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
				return min(max(time.Duration(seconds)*time.Second, leastKeysFor), mostKeysFor)
			}
		}
	}
	return usualKeysFor
}
