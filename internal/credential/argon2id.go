package credential

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Params are the cost of an Argon2id hash (RFC 9106).
type Params struct {
	MemoryKiB   uint32 `json:"memory_kib" yaml:"memory_kib"`
	Time        uint32 `json:"time" yaml:"time"` // passes over the memory
	Parallelism uint8  `json:"parallelism" yaml:"parallelism"`
}

// DefaultParams is what OWASP's Password Storage Cheat Sheet recommends:
// 19 MiB, two passes, one lane.
func DefaultParams() Params { return Params{MemoryKiB: 19 * 1024, Time: 2, Parallelism: 1} }

// The caps on what one hash may cost. They hold for a tenant's settings and for
// every stored or imported hash, so that no hash can be made a weapon.
const (
	maxMemoryKiB   = 256 * 1024
	maxWork        = 1024 * 1024 // KiB × passes
	maxParallelism = 16
)

// recommended are the combinations of memory and passes of OWASP's Password
// Storage Cheat Sheet; each is a floor on its own.
var recommended = [...]Params{
	{46 * 1024, 1, 1}, {19 * 1024, 2, 1}, {12 * 1024, 3, 1}, {9 * 1024, 4, 1}, {7 * 1024, 5, 1},
}

// Faults of parameters and hashes.
var (
	ErrWeakParams = errors.New("argon2id parameters are below the recommended minimum")
	ErrCost       = errors.New("argon2id parameters cost more than is allowed")
	ErrHash       = errors.New("not an argon2id hash in PHC format")
)

// Check tells whether a tenant may choose these parameters: ErrWeakParams below
// every recommended combination (46 MiB/1, 19/2, 12/3, 9/4, 7/5), ErrCost above
// the caps.
func (p Params) Check() error {
	if err := p.affordable(); err != nil {
		return err
	}
	for _, floor := range recommended {
		if p.MemoryKiB >= floor.MemoryKiB && p.Time >= floor.Time {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", ErrWeakParams, p.Label())
}

// affordable tells whether the parameters make sense and are under the caps.
func (p Params) affordable() error {
	switch {
	case p.Time < 1, p.Parallelism < 1, p.MemoryKiB < 8*uint32(p.Parallelism): // RFC 9106, section 3.1
		return fmt.Errorf("%w: %s", ErrWeakParams, p.Label())
	case p.MemoryKiB > maxMemoryKiB, uint64(p.MemoryKiB)*uint64(p.Time) > maxWork, p.Parallelism > maxParallelism:
		return fmt.Errorf("%w: %s", ErrCost, p.Label())
	}
	return nil
}

// Label spells the parameters as a PHC string does: "m=19456,t=2,p=1".
func (p Params) Label() string {
	return fmt.Sprintf("m=%d,t=%d,p=%d", p.MemoryKiB, p.Time, p.Parallelism)
}

const (
	saltSize = 16
	sumSize  = 32
	version  = argon2.Version // 0x13, written in decimal
)

// phc is a PHC string that was read.
type phc struct {
	params    Params
	salt, sum []byte
}

func (h phc) encode() Hash {
	b64 := base64.RawStdEncoding
	return Hash(fmt.Sprintf("$argon2id$v=%d$%s$%s$%s", version, h.params.Label(),
		b64.EncodeToString(h.salt), b64.EncodeToString(h.sum)))
}

// parse reads a hash. It takes Argon2id of version 19 in its canonical spelling
// and under the caps, and nothing else.
func parse(hash Hash) (phc, error) {
	if len(hash) > 512 {
		return phc{}, ErrHash
	}
	fields := strings.Split(string(hash), "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != "v="+strconv.Itoa(version) {
		return phc{}, ErrHash
	}
	params, err := parseLabel(fields[3])
	if err != nil {
		return phc{}, err
	}
	b64 := base64.RawStdEncoding.Strict()
	salt, err := b64.DecodeString(fields[4])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return phc{}, ErrHash
	}
	sum, err := b64.DecodeString(fields[5])
	if err != nil || len(sum) < 16 || len(sum) > 64 {
		return phc{}, ErrHash
	}
	h := phc{params: params, salt: salt, sum: sum}
	if h.encode() != hash { // the decoder skips line breaks
		return phc{}, ErrHash
	}
	return h, nil
}

func parseLabel(label string) (Params, error) {
	fields := strings.Split(label, ",")
	if len(fields) != 3 {
		return Params{}, ErrHash
	}
	var numbers [3]uint64
	for i, name := range [...]string{"m=", "t=", "p="} {
		digits, found := strings.CutPrefix(fields[i], name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !found || err != nil || digits != strconv.FormatUint(n, 10) {
			return Params{}, ErrHash
		}
		numbers[i] = n
	}
	if numbers[2] > maxParallelism {
		return Params{}, ErrCost
	}
	p := Params{MemoryKiB: uint32(numbers[0]), Time: uint32(numbers[1]), Parallelism: uint8(numbers[2])}
	return p, p.affordable()
}

func derive(p Password, salt []byte, params Params, size int) []byte {
	return argon2.IDKey([]byte(p.text), salt, params.Time, params.MemoryKiB, params.Parallelism, uint32(size))
}

func (h phc) matches(p Password) bool {
	return subtle.ConstantTimeCompare(derive(p, h.salt, h.params, len(h.sum)), h.sum) == 1
}

// NeedsRehash tells whether a hash was made with other parameters than those
// that the tenant has now, so that it should be made anew while the password is
// at hand. A text that is no hash of ours needs it too.
func NeedsRehash(hash Hash, now Params) bool {
	h, err := parse(hash)
	return err != nil || h.params != now || len(h.salt) < saltSize || len(h.sum) != sumSize
}
