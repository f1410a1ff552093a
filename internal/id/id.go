// Package id makes and reads the typed identifiers that capabilities use to
// refer to one another.
//
// An identifier is a short lower-case prefix that names its kind, an
// underscore, and 26 lower-case Crockford base32 characters that spell a
// UUIDv7 (RFC 9562, section 5.7): "cus_06c1x5m8kz7v9b2n4q6r8t0w1y". Spelled
// this way identifiers sort by the millisecond of their making. That time is
// visible to whoever sees the identifier, so an identifier is never a secret.
package id

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// The kinds of identifiers. Each is a string, so that it can be stored,
// compared and encoded as it is; only New and Parse make valid ones.
type (
	Tenant      string // one customer base
	Brand       string // a look and a domain within a tenant
	Customer    string // a person who holds an account
	Application string // a client of the protocols; the client_id of OAuth
	Session     string // an authenticated browser or device; the sid of OpenID Connect
	Grant       string // what one customer has allowed one application
	Lineage     string // one chain of refresh tokens, begun by one redeemed code
	Identifier  string // an address that finds a customer
	Credential  string // what proves a customer
	Challenge   string // one code, link or guess asked of someone
	Event       string // a fact in the stream
	Device      string // a browser or device that carries a device cookie
	Key         string // a signing key; the kid of JOSE
	Message     string // a mail or text message in the outbox
	Run         string // one run of a journey
	Request     string // one HTTP request
	Fault       string // one server error, shown to whoever met it

	Organization string // a company or group of customers within a tenant
	Invitation   string // one invitation to an organization
)

// SystemTenant is the built-in tenant whose customers are the operators.
const SystemTenant Tenant = "ten_00000000000000000000000000"

// ErrInvalid says that a text is not an identifier of the kind asked for.
var ErrInvalid = errors.New("not a valid identifier")

// Kind is any of this package's identifier types.
type Kind interface {
	~string
	Prefix() string
}

func (Tenant) Prefix() string      { return "ten" }
func (Brand) Prefix() string       { return "brd" }
func (Customer) Prefix() string    { return "cus" }
func (Application) Prefix() string { return "app" }
func (Session) Prefix() string     { return "ses" }
func (Grant) Prefix() string       { return "grt" }
func (Lineage) Prefix() string     { return "lin" }
func (Identifier) Prefix() string  { return "idn" }
func (Credential) Prefix() string  { return "crd" }
func (Challenge) Prefix() string   { return "chl" }
func (Event) Prefix() string       { return "evt" }
func (Device) Prefix() string      { return "dev" }
func (Key) Prefix() string         { return "key" }
func (Message) Prefix() string     { return "msg" }
func (Run) Prefix() string         { return "run" }
func (Request) Prefix() string     { return "req" }
func (Fault) Prefix() string       { return "err" }

func (Organization) Prefix() string { return "org" }
func (Invitation) Prefix() string   { return "inv" }

const (
	alphabet   = "0123456789abcdefghjkmnpqrstvwxyz" // Crockford base32, lower-case
	bodyLength = 26                                 // 128 bits in groups of five
)

// New makes an identifier of kind K from the time now and 74 bits of random.
// It panics when random fails, as no caller can go on without randomness.
func New[K Kind](now time.Time, random io.Reader) K {
	var u [16]byte
	if _, err := io.ReadFull(random, u[6:]); err != nil {
		panic(fmt.Sprintf("id: reading randomness: %v", err))
	}
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(u[0:2], uint16(ms>>32))
	binary.BigEndian.PutUint32(u[2:6], uint32(ms))
	u[6] = u[6]&0x0f | 0x70 // version 7
	u[8] = u[8]&0x3f | 0x80 // variant of RFC 9562
	var kind K
	return K(kind.Prefix() + "_" + encode(u))
}

// Parse reads an identifier of kind K. It takes the one canonical spelling
// only and answers ErrInvalid to everything else.
func Parse[K Kind](text string) (K, error) {
	var kind K
	body, found := strings.CutPrefix(text, kind.Prefix()+"_")
	if !found || len(body) != bodyLength || body[0] > '7' {
		return "", ErrInvalid
	}
	for i := range len(body) {
		if strings.IndexByte(alphabet, body[i]) < 0 {
			return "", ErrInvalid
		}
	}
	return K(text), nil
}

// Read reads an identifier of kind K as people copy it, or read it out to each
// other: in upper case, with spaces, hyphens or without its prefix, and with the
// letters that Crockford's base32 has not for the digits that they look like.
func Read[K Kind](text string) (K, error) {
	var kind K
	text = strings.ToLower(strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '_' || r == '\u00a0' {
			return -1
		}
		return r
	}, text))
	text = strings.TrimPrefix(text, kind.Prefix())
	return Parse[K](kind.Prefix() + "_" + strings.NewReplacer("o", "0", "i", "1", "l", "1").Replace(text))
}

// Time tells when an identifier was made, to the millisecond. It answers the
// zero time for a text that Parse would refuse.
func Time[K Kind](k K) time.Time {
	if _, err := Parse[K](string(k)); err != nil {
		return time.Time{}
	}
	body := string(k)[len(k.Prefix())+1:]
	var high uint64 // the first 10 characters hold 50 bits: 2 of padding and the 48 of the time
	for i := range 10 {
		high = high<<5 | uint64(strings.IndexByte(alphabet, body[i]))
	}
	return time.UnixMilli(int64(high)).UTC()
}

// encode spells 128 bits as 26 characters, the first of which holds three.
func encode(u [16]byte) string {
	hi, lo := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	var out [bodyLength]byte
	for i := bodyLength - 1; i >= 0; i-- {
		out[i] = alphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}
