package keyring

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
)

// counting is randomness that is known: 0, 1, 2 and so on.
type counting struct{ next byte }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = c.next
		c.next++
	}
	return len(p), nil
}

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	tenantA   = id.Tenant("ten_00000000000000000000000001")
	tenantB   = id.Tenant("ten_00000000000000000000000002")
	customerA = id.Customer("cus_00000000000000000000000001")
	customerB = id.Customer("cus_00000000000000000000000002")
)

// keyOf is a key that a test can name.
func keyOf(name string) *secret {
	s := secret(sha256.Sum256([]byte(name)))
	return &s
}

// bareTenant is a tenant with given keys and no database.
func bareTenant(tenant id.Tenant, keys ...string) *Tenant {
	r := &Ring{random: rand.Reader, clock: clock.NewFake(testTime)}
	r.epoch.Store(1_772_000_000)
	t := &Tenant{id: tenant, ring: r}
	t.lookedAhead = throttle{start: testTime, count: 1} // this second's look at the database is taken
	state := &tenantState{}
	for i, k := range keys {
		state.generations = append(state.generations, newGeneration(uint32(i+1), 0, keyOf(k)))
	}
	state.lookups = []*lookupKey{{number: 1, prf: newPRF(keyOf("lookup"))}}
	t.state.Store(state)
	return t
}

func bareCustomer(name string) *Customer {
	return &Customer{random: rand.Reader, keys: []customerKey{{1, newAEAD(derive(keyOf(name), useField))}}}
}

// golden returns the values of a file of lines "name value", which are frozen:
// what earlier releases wrote must be read for ever. A change of format is a
// new version with a file of its own.
func golden(t testing.TB, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	values := map[string]string{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && name != "#" {
			values[name] = value
		}
	}
	return values
}

var goldenPlain = map[string]string{
	"empty":   "",
	"short":   "a secret",
	"journey": strings.Repeat("state of a journey. ", 20),
}

func TestSealedFormatNeverChanges(t *testing.T) {
	want := golden(t, "testdata/v1.golden")
	for name, plain := range goldenPlain {
		tenant := bareTenant(tenantA, "golden")
		tenant.ring.random = &counting{}
		sealed, err := tenant.Seal("golden", []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		if sealed != want["sealed/"+name] {
			t.Errorf("sealed %s is\n%s, not\n%s", name, sealed, want["sealed/"+name])
		}
		if got, err := tenant.Open("golden", want["sealed/"+name]); err != nil || string(got) != plain {
			t.Errorf("golden %s opens as %q, %v", name, got, err)
		}

		fieldOf := map[string]interface {
			SealField(table, column, row string, plain []byte) ([]byte, error)
			OpenField(table, column, row string, sealed []byte) ([]byte, error)
		}{"field-tenant/": tenant, "field-customer/": bareCustomer("golden")}
		for kind, sealer := range fieldOf {
			switch s := sealer.(type) {
			case *Tenant:
				s.ring.random = &counting{}
			case *Customer:
				s.random = &counting{}
			}
			field, err := sealer.SealField("customer", "attributes", "cus_1", []byte(plain))
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(field); got != want[kind+name] {
				t.Errorf("%s%s is\n%s, not\n%s", kind, name, got, want[kind+name])
			}
			old, err := hex.DecodeString(want[kind+name])
			if err != nil {
				t.Fatal(err)
			}
			if got, err := sealer.OpenField("customer", "attributes", "cus_1", old); err != nil || string(got) != plain {
				t.Errorf("golden %s%s opens as %q, %v", kind, name, got, err)
			}
		}
	}
	tenant := bareTenant(tenantA, "golden")
	if got := hex.EncodeToString(tenant.Lookup("email", "ana@example.com")[0]); got != want["lookup"] {
		t.Errorf("lookup is\n%s, not\n%s", got, want["lookup"])
	}
	if got := hex.EncodeToString(tenant.MAC("challenge", []byte("chl_1"), []byte("123456"))); got != want["mac"] {
		t.Errorf("mac is\n%s, not\n%s", got, want["mac"])
	}
	root, err := RootFromBytes(keyOf("root")[:])
	if err != nil {
		t.Fatal(err)
	}
	if root.ID() != want["root-id"] {
		t.Errorf("root id is %s, not %s", root.ID(), want["root-id"])
	}
}

// The key of a message is what RFC 5869 says, though it is made another way.
func TestMessageKeyIsHKDF(t *testing.T) {
	key, header := keyOf("purpose"), bytes.Repeat([]byte{7}, headerSize)
	want, err := hkdf.Expand(sha256.New, key[:], string(append(appendPart(nil, useMessage), header...)), keySize)
	if err != nil {
		t.Fatal(err)
	}
	p := newPRF(key)
	for range 3 { // fresh, and used before
		state := p.get()
		if got := state.messageKey(header); !bytes.Equal(got[:], want) {
			t.Fatal("another key")
		}
		p.put(state)
	}
}

// What is documented above Seal is enough to read a token with.
func TestSealedIsAsDocumented(t *testing.T) {
	part := func(s string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
	}
	raw, err := base64.RawURLEncoding.DecodeString(golden(t, "testdata/v1.golden")["sealed/short"])
	if err != nil {
		t.Fatal(err)
	}
	header, ciphertext := raw[:29], raw[29:]
	if header[0] != 1 || binary.BigEndian.Uint64(header[1:]) != 1_772_000_000 || binary.BigEndian.Uint32(header[9:]) != 1 {
		t.Errorf("the header is %x", header)
	}
	key, err := hkdf.Key(sha256.New, keyOf("golden")[:], nil, part("cardea/sealed")+part("golden"), 32)
	if err != nil {
		t.Fatal(err)
	}
	key, err = hkdf.Expand(sha256.New, key, part("cardea/message")+string(header), 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := aead.Open(nil, make([]byte, 12), ciphertext, []byte(string(header)+part(string(tenantA))+part("golden")))
	if err != nil || string(plain) != "a secret" {
		t.Errorf("%q, %v", plain, err)
	}
}

func TestSealedOpensOnlyAsItWasSealed(t *testing.T) {
	tenant := bareTenant(tenantA, "a", "b")
	sealed, err := tenant.Seal("session", []byte("the content"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tenant.Open("session", sealed); err != nil || string(got) != "the content" {
		t.Fatalf("opened %q, %v", got, err)
	}
	refused := func(what, text string) {
		t.Helper()
		if _, err := tenant.Open("session", text); err != ErrSealed {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range len(sealed) {
		refused(fmt.Sprintf("the first %d characters", n), sealed[:n])
		refused(fmt.Sprintf("without the first %d characters", n+1), sealed[n+1:])
		flipped := []byte(sealed)
		for _, other := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \n\r\t\x00") {
			if other != sealed[n] {
				flipped[n] = other
				refused(fmt.Sprintf("%q at %d", other, n), string(flipped))
			}
		}
		for _, extra := range []string{"A", "\n", "\r", "\r\n", "=", " "} {
			refused(fmt.Sprintf("%q put in at %d", extra, n), sealed[:n]+extra+sealed[n:])
		}
	}
	for _, extra := range []string{"A", "AA", "AAA", "AAAA", "=", "==", "===", "\n", "\r\n", " ", "\x00", sealed} {
		refused(fmt.Sprintf("%q appended", extra), sealed+extra)
	}
	refused("upper case", strings.ToUpper(sealed))
	refused("lower case", strings.ToLower(sealed))
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(raw) * 8 {
		raw[bit/8] ^= 1 << (bit % 8)
		refused(fmt.Sprintf("bit %d flipped", bit), base64.RawURLEncoding.EncodeToString(raw))
		raw[bit/8] ^= 1 << (bit % 8)
	}
	refused("nothing", "")
	refused("too long", strings.Repeat("A", maxSealedText+1))

	if _, err := tenant.Open("sessions", sealed); err != ErrSealed {
		t.Errorf("another purpose: %v", err)
	}
	if _, err := bareTenant(tenantB, "a", "b").Open("session", sealed); err != ErrSealed {
		t.Errorf("another tenant, even with the same keys: %v", err)
	}
	if _, err := bareTenant(tenantA, "b", "a").Open("session", sealed); err != ErrSealed {
		t.Errorf("the same tenant with other keys: %v", err)
	}
}

// The spellings of the same bytes that decoders tend to take.
func TestSealedHasOneSpelling(t *testing.T) {
	tenant := bareTenant(tenantA, "a")
	seen := map[int]bool{}
	for n := range 8 {
		sealed, err := tenant.Seal("p", bytes.Repeat([]byte{0xfb, 0xff}, 8)[:8+n])
		if err != nil {
			t.Fatal(err)
		}
		seen[len(sealed)%4] = true
		raw, err := base64.RawURLEncoding.DecodeString(sealed)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding} {
			if other := e.EncodeToString(raw); other != sealed {
				if _, err := tenant.Open("p", other); err != ErrSealed {
					t.Errorf("%s: %v", other, err)
				}
			}
		}
		// The last character's unused bits.
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		for _, c := range alphabet {
			other := sealed[:len(sealed)-1] + string(c)
			if _, err := tenant.Open("p", other); (err == nil) != (other == sealed) {
				t.Errorf("%s for %s: %v", other, sealed, err)
			}
		}
	}
	if len(seen) < 3 {
		t.Error("not all lengths were tried")
	}
}

func TestSealLimits(t *testing.T) {
	tenant := bareTenant(tenantA, "a")
	sealed, err := tenant.Seal("p", make([]byte, MaxSealed))
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != maxSealedText {
		t.Errorf("the longest token has %d characters, not %d", len(sealed), maxSealedText)
	}
	if _, err := tenant.Open("p", sealed); err != nil {
		t.Error(err)
	}
	if _, err := tenant.Seal("p", make([]byte, MaxSealed+1)); err == nil {
		t.Error("sealed more than the limit")
	}
	tenant.ring.random = strings.NewReader("short")
	if _, err := tenant.Seal("p", nil); err == nil {
		t.Error("sealed without randomness")
	}
}

func TestSealedOfAnotherEpoch(t *testing.T) {
	tenant := bareTenant(tenantA, "a")
	sealed, err := tenant.Seal("p", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	tenant.ring.epoch.Add(1)
	if _, err := tenant.Open("p", sealed); !errors.Is(err, ErrEpoch) || !errors.Is(err, ErrSealed) {
		t.Errorf("an older epoch: %v", err)
	}
	// An old token is not renewed by writing the present epoch into it, and a
	// forged one does not learn whether its epoch is right.
	for _, epoch := range []byte{0, 1, 2, 255} {
		raw, err := base64.RawURLEncoding.DecodeString(sealed)
		if err != nil {
			t.Fatal(err)
		}
		raw[epochAt+7] += epoch
		if _, err := tenant.Open("p", base64.RawURLEncoding.EncodeToString(raw)); epoch != 0 && err != ErrSealed {
			t.Errorf("epoch moved by %d: %v", epoch, err)
		}
	}
}

func TestSealedAlwaysDiffers(t *testing.T) {
	tenant := bareTenant(tenantA, "a")
	seen := map[string]bool{}
	for range 1000 {
		sealed, err := tenant.Seal("p", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if seen[sealed] {
			t.Fatal("the same token twice")
		}
		seen[sealed] = true
	}
}

func TestPurposesKeptAreBounded(t *testing.T) {
	tenant := bareTenant(tenantA, "a")
	for i := range 2 * maxPurposes {
		name := fmt.Sprint("purpose ", i)
		sealed, err := tenant.Seal(name, []byte(name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tenant.Open(name, sealed); err != nil || string(got) != name {
			t.Fatalf("%s: %q, %v", name, got, err)
		}
		if code := tenant.MAC(name, []byte("x")); !tenant.CheckMAC(name, code, []byte("x")) {
			t.Fatalf("%s: code refused", name)
		}
	}
	g := tenant.current()
	if n, m := len(*g.purposes.Load()), len(*g.macs.Load()); n > maxPurposes || m > maxPurposes {
		t.Errorf("%d purposes and %d codes' keys are kept", n, m)
	}
}

func TestMAC(t *testing.T) {
	tenant := bareTenant(tenantA, "a")
	part := func(s ...string) (parts [][]byte) {
		for _, p := range s {
			parts = append(parts, []byte(p))
		}
		return parts
	}
	code := tenant.MAC("challenge", part("a", "bc")...)
	if len(code) != 36 {
		t.Errorf("a code has %d bytes", len(code))
	}
	if !tenant.CheckMAC("challenge", code, part("a", "bc")...) {
		t.Error("refused")
	}
	for _, other := range [][]string{{"ab", "c"}, {"abc"}, {"a", "b", "c"}, {"a", "bc", ""}, {"", "a", "bc"}, {"bc", "a"}, {}} {
		if tenant.CheckMAC("challenge", code, part(other...)...) {
			t.Errorf("taken for %q", other)
		}
	}
	if tenant.CheckMAC("challenges", code, part("a", "bc")...) {
		t.Error("taken for another purpose")
	}
	if bareTenant(tenantB, "b").CheckMAC("challenge", code, part("a", "bc")...) {
		t.Error("taken by another tenant")
	}
	for bit := range len(code) * 8 {
		code[bit/8] ^= 1 << (bit % 8)
		if tenant.CheckMAC("challenge", code, part("a", "bc")...) {
			t.Errorf("taken with bit %d flipped", bit)
		}
		code[bit/8] ^= 1 << (bit % 8)
	}
	for n := range code {
		if tenant.CheckMAC("challenge", code[:n], part("a", "bc")...) {
			t.Errorf("taken when cut to %d bytes", n)
		}
	}
}

func TestLookupSeparatesKindsAndTenants(t *testing.T) {
	hash := func(t *Tenant, kind, value string) string { return string(t.Lookup(kind, value)[0]) }
	a := bareTenant(tenantA, "a")
	if again := hash(bareTenant(tenantA, "a"), "email", "x"); again != hash(a, "email", "x") {
		t.Error("the same value has two hashes")
	}
	if len(hash(a, "email", "x")) != 32 {
		t.Error("a hash has not 32 bytes")
	}
	for _, other := range [][2]string{{"phone", "x"}, {"email", "y"}, {"emai", "lx"}, {"emailx", ""}, {"", "emailx"}} {
		if hash(a, "email", "x") == hash(a, other[0], other[1]) {
			t.Errorf("same hash as %q", other)
		}
	}
}

func FuzzOpen(f *testing.F) {
	tenant := bareTenant(tenantA, "golden")
	for name, value := range golden(f, "testdata/v1.golden") {
		if strings.HasPrefix(name, "sealed/") {
			f.Add(value)
			f.Add(value + "\n")
			f.Add(value[:len(value)-1])
		}
	}
	for _, s := range []string{"", "A", "AQ", "\n", strings.Repeat("A", 80), strings.Repeat("_", 60), "AQ==", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sealed string) {
		plain, err := tenant.Open("golden", sealed)
		if err != nil {
			if !errors.Is(err, ErrSealed) || plain != nil {
				t.Fatalf("%q: %q, %v", sealed, plain, err)
			}
			return
		}
		known := false
		for _, p := range goldenPlain {
			known = known || p == string(plain)
		}
		raw, err := base64.RawURLEncoding.DecodeString(sealed)
		if !known || err != nil || base64.RawURLEncoding.EncodeToString(raw) != sealed {
			t.Fatalf("opened %q as %q", sealed, plain)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, size := range []int{64, 256, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			tenant, plain := bareTenant(tenantA, "a"), make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tenant.Seal("session", plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, size := range []int{64, 256, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			tenant := bareTenant(tenantA, "a")
			sealed, err := tenant.Seal("session", make([]byte, size))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tenant.Open("session", sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	tenant := bareTenant(tenantA, "a")
	b.ReportAllocs()
	for b.Loop() {
		tenant.Lookup("email", "ana@example.com")
	}
}

func BenchmarkMAC(b *testing.B) {
	tenant := bareTenant(tenantA, "a")
	challenge, code := []byte("chl_00000000000000000000000001"), []byte("123456")
	b.ReportAllocs()
	for b.Loop() {
		tenant.MAC("challenge", challenge, code)
	}
}
