package keyring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestFieldOpensOnlyInItsPlace(t *testing.T) {
	type sealer interface {
		SealField(table, column, row string, plain []byte) ([]byte, error)
		OpenField(table, column, row string, sealed []byte) ([]byte, error)
	}
	customer := bareCustomer("a")
	for _, c := range []struct {
		name         string
		this, others sealer
	}{
		{"customer", customer, bareCustomer("b")},
		{"tenant", bareTenant(tenantA, "a"), bareTenant(tenantA, "b")},
	} {
		t.Run(c.name, func(t *testing.T) {
			sealed, err := c.this.SealField("customer", "email", "cus_1", []byte("ana@example.com"))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.this.OpenField("customer", "email", "cus_1", sealed); err != nil || string(got) != "ana@example.com" {
				t.Fatalf("opened %q, %v", got, err)
			}
			for _, place := range [][3]string{
				{"customers", "email", "cus_1"}, {"customer", "phone", "cus_1"}, {"customer", "email", "cus_2"},
				{"customere", "mail", "cus_1"}, {"customer", "emailcus_1", ""}, {"", "", ""},
			} {
				if _, err := c.this.OpenField(place[0], place[1], place[2], sealed); err != ErrSealed {
					t.Errorf("opened in %q: %v", place, err)
				}
			}
			if _, err := c.others.OpenField("customer", "email", "cus_1", sealed); err != ErrSealed {
				t.Errorf("opened with another key: %v", err)
			}
			for n := range sealed {
				if _, err := c.this.OpenField("customer", "email", "cus_1", sealed[:n]); err != ErrSealed {
					t.Errorf("opened when cut to %d bytes: %v", n, err)
				}
			}
			if _, err := c.this.OpenField("customer", "email", "cus_1", append(bytes.Clone(sealed), 0)); err != ErrSealed {
				t.Errorf("opened when extended: %v", err)
			}
			for bit := range len(sealed) * 8 {
				sealed[bit/8] ^= 1 << (bit % 8)
				if _, err := c.this.OpenField("customer", "email", "cus_1", sealed); err != ErrSealed {
					t.Errorf("opened with bit %d flipped: %v", bit, err)
				}
				sealed[bit/8] ^= 1 << (bit % 8)
			}
			if _, err := c.this.OpenField("customer", "email", "cus_1", sealed); err != nil {
				t.Errorf("opening changed what was sealed: %v", err)
			}
		})
	}
	customer.erased.Store(true)
	if _, err := customer.SealField("t", "c", "r", nil); !errors.Is(err, ErrErased) {
		t.Errorf("sealed for an erased customer: %v", err)
	}
	if _, err := customer.OpenField("t", "c", "r", nil); !errors.Is(err, ErrErased) {
		t.Errorf("opened for an erased customer: %v", err)
	}
}

func FuzzOpenField(f *testing.F) {
	customer := bareCustomer("golden")
	tenant := bareTenant(tenantA, "golden")
	for name, value := range golden(f, "testdata/v1.golden") {
		if strings.HasPrefix(name, "field-") {
			sealed, err := hex.DecodeString(value)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(sealed)
			f.Add(sealed[:len(sealed)-1])
			f.Add(append(sealed, 0))
		}
	}
	f.Add([]byte(nil))
	f.Add([]byte{1, 0, 0, 0, 1})
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		before := bytes.Clone(sealed)
		for _, open := range []func(string, string, string, []byte) ([]byte, error){customer.OpenField, tenant.OpenField} {
			plain, err := open("customer", "attributes", "cus_1", sealed)
			if !bytes.Equal(before, sealed) {
				t.Fatal("opening changed what was sealed")
			}
			if err != nil {
				if err != ErrSealed || plain != nil {
					t.Fatalf("%x: %q, %v", sealed, plain, err)
				}
				continue
			}
			known := false
			for _, p := range goldenPlain {
				known = known || p == string(plain)
			}
			if !known {
				t.Fatalf("opened %x as %q", sealed, plain)
			}
		}
	})
}

func BenchmarkSealField(b *testing.B) {
	for _, size := range []int{32, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			customer, plain := bareCustomer("a"), make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := customer.SealField("customer", "email", "cus_1", plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpenField(b *testing.B) {
	for _, size := range []int{32, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			customer := bareCustomer("a")
			sealed, err := customer.SealField("customer", "email", "cus_1", make([]byte, size))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := customer.OpenField("customer", "email", "cus_1", sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
