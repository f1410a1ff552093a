package challenge

import (
	"crypto/rand"
	"fmt"
	"io"
	"math/big"
	"strings"
	"unicode"
)

// Digits is how long a code is. With five attempts a code is guessed once in
// 200,000 challenges, each of which costs a message and a budget.
const Digits = 6

const (
	codes = 1_000_000
	// The greatest multiple of codes that 24 bits hold: what is drawn from there
	// on is drawn again, so that every code is equally likely.
	unbiased = 1 << 24 / codes * codes
)

// NewCode makes a code of decimal digits, each as likely as any other.
func NewCode(random io.Reader) (string, error) {
	for {
		var b [3]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", fmt.Errorf("read randomness: %w", err)
		}
		if n := int(b[0])<<16 | int(b[1])<<8 | int(b[2]); n < unbiased {
			return fmt.Sprintf("%0*d", Digits, n%codes), nil
		}
	}
}

// LongDigits is how long a code is that needs no limit on guesses: 10^20 are 66
// bits, and NIST SP 800-63B-4, section 3.1.3.2, asks for 64.
const LongDigits = 20

// NewLongCode makes a code that is not guessed, whoever tries how often.
func NewLongCode(random io.Reader) (string, error) {
	n, err := rand.Int(random, new(big.Int).Exp(big.NewInt(10), big.NewInt(LongDigits), nil))
	if err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}
	return fmt.Sprintf("%0*d", LongDigits, n), nil
}

// codeMax is how much of a typed code is looked at, in bytes.
const codeMax = 64

// NormalCode is the one spelling of a typed code: digits of every script
// (Arabic-Indic and full-width ones too) as ASCII, without spaces and dashes.
func NormalCode(typed string) string {
	if len(typed) > codeMax {
		typed = typed[:codeMax]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || unicode.Is(unicode.Cf, r):
			return -1
		case r < unicode.MaxASCII:
			return r
		}
		if value, ok := digit(r); ok {
			return '0' + value
		}
		return r
	}, typed)
}

// digit is the value of a decimal digit. Unicode keeps the digits of a script
// in order from zero to nine, so that every run of them is a multiple of ten.
func digit(r rune) (rune, bool) {
	for _, run := range unicode.Nd.R16 {
		if rune(run.Lo) <= r && r <= rune(run.Hi) {
			return (r - rune(run.Lo)) % 10, true
		}
	}
	for _, run := range unicode.Nd.R32 {
		if rune(run.Lo) <= r && r <= rune(run.Hi) {
			return (r - rune(run.Lo)) % 10, true
		}
	}
	return 0, false
}
