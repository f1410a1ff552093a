package tenant

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Former is what hashing a password cost before the settings last changed that.
type Former struct {
	Password Password  `json:"password"`
	Changed  time.Time `json:"changed"`
}

// costSpan is how long it takes until every address without an account is
// answered at the present cost.
const costSpan = 180 * 24 * time.Hour

// CostOf returns the parameters at which a guess is hashed where there is no
// hash to compare it with, for the address of this keyed hash.
//
// Accounts keep the cost that their hash was made at until they sign in. So that
// the time an answer takes does not tell them from addresses without one, these
// go over to a new cost as accounts do: each once and for good, many soon and
// the rest later, at a time that its keyed hash says.
func (t *Tenant) CostOf(handle []byte, now time.Time) Password {
	if t.Former == nil {
		return t.Settings.Password
	}
	sum := sha256.Sum256(append([]byte("cost\x00"+t.Former.Changed.UTC().Format(time.RFC3339)), handle...))
	turn := float64(binary.BigEndian.Uint64(sum[:])) / math.MaxUint64
	passed := float64(now.Sub(t.Former.Changed)) / float64(costSpan)
	if turn*turn < passed { // the share that has gone over grows as the root of time
		return t.Settings.Password
	}
	return t.Former.Password
}

// formerOf is what is stored as the former cost when settings replace others:
// what was stored before, unless the cost changes.
func formerOf(stored, was string, next Password, now time.Time) (string, error) {
	old := Defaults()
	if err := json.Unmarshal([]byte(was), &old); err != nil {
		return "", fmt.Errorf("the stored settings are not understood: %w", err)
	}
	before := old.Password
	before.MinLength = next.MinLength // costs nothing
	if before == next {
		return stored, nil
	}
	text, err := json.Marshal(Former{Password: before, Changed: now})
	if err != nil {
		return "", fmt.Errorf("write the former cost of a hash: %w", err)
	}
	return string(text), nil
}

func readFormer(stored string) (*Former, error) {
	if stored == "" {
		return nil, nil
	}
	former := &Former{}
	if err := json.Unmarshal([]byte(stored), former); err != nil {
		return nil, fmt.Errorf("the former cost of a hash is not understood: %w", err)
	}
	return former, nil
}
