package credential

import (
	"errors"
	"strings"
	"testing"
)

// cheap makes tests fast; a tenant could not choose it.
var cheap = Params{MemoryKiB: 64, Time: 1, Parallelism: 1}

func TestParamsCheck(t *testing.T) {
	for _, c := range []struct {
		p    Params
		want error
	}{
		{DefaultParams(), nil},
		{Params{7 * 1024, 5, 1}, nil},
		{Params{46 * 1024, 1, 4}, nil},
		{Params{7 * 1024, 4, 1}, ErrWeakParams},
		{Params{19 * 1024, 1, 1}, ErrWeakParams},
		{cheap, ErrWeakParams},
		{Params{}, ErrWeakParams},
		{Params{64, 1, 0}, ErrWeakParams},
		{Params{64, 1, 16}, ErrWeakParams}, // less than 8 KiB a lane
		{Params{512 * 1024, 2, 1}, ErrCost},
		{Params{256 * 1024, 5, 1}, ErrCost},
		{Params{64 * 1024, 3, 200}, ErrCost},
	} {
		if got := c.p.Check(); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", c.p.Label(), got, c.want)
		}
	}
}

// Made by the reference implementation's command line:
// echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32 -e
const reference = Hash("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")

func TestParse(t *testing.T) {
	good := string(reference)
	if h, err := parse(reference); err != nil || !h.matches(NewPassword("password")) || h.matches(NewPassword("Password")) {
		t.Errorf("the reference hash does not verify: %v", err)
	}
	for name, c := range map[string]struct {
		hash string
		want error
	}{
		"empty":             {"", ErrHash},
		"argon2i":           {strings.Replace(good, "argon2id", "argon2i", 1), ErrHash},
		"old version":       {strings.Replace(good, "v=19", "v=16", 1), ErrHash},
		"no version":        {strings.Replace(good, "$v=19", "", 1), ErrHash},
		"parameters turned": {strings.Replace(good, "m=65536,t=2", "t=2,m=65536", 1), ErrHash},
		"leading zero":      {strings.Replace(good, "t=2", "t=02", 1), ErrHash},
		"plus sign":         {strings.Replace(good, "t=2", "t=+2", 1), ErrHash},
		"overflow":          {strings.Replace(good, "t=2", "t=4294967298", 1), ErrHash},
		"lanes overflow":    {strings.Replace(good, "p=1", "p=257", 1), ErrCost},
		"no passes":         {strings.Replace(good, "t=2", "t=0", 1), ErrWeakParams},
		"4 GiB":             {strings.Replace(good, "m=65536", "m=4194304", 1), ErrCost},
		"a million passes":  {strings.Replace(good, "t=2", "t=1000000", 1), ErrCost},
		"padding":           {good + "=", ErrHash},
		"not canonical":     {good[:len(good)-1] + "d", ErrHash},
		"newline":           {good + "\n", ErrHash},
		"short salt":        {strings.Replace(good, "c29tZXNhbHQ", "c29tZQ", 1), ErrHash},
		"short sum":         {good[:len(good)-30], ErrHash},
		"more fields":       {good + "$", ErrHash},
		"long":              {good + strings.Repeat("A", 600), ErrHash},
	} {
		if _, err := parse(Hash(c.hash)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestNeedsRehash(t *testing.T) {
	h := phc{params: DefaultParams(), salt: make([]byte, saltSize), sum: make([]byte, sumSize)}
	other := DefaultParams()
	other.Time = 3
	short := h
	short.salt = make([]byte, 8)
	for name, c := range map[string]struct {
		hash   Hash
		params Params
		want   bool
	}{
		"same":       {h.encode(), DefaultParams(), false},
		"other cost": {h.encode(), other, true},
		"short salt": {short.encode(), DefaultParams(), true},
		"foreign":    {"$2b$12$abcdefghijklmnopqrstuv", DefaultParams(), true},
	} {
		if got := NeedsRehash(c.hash, c.params); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(reference))
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parse(Hash(text))
		if err != nil {
			return
		}
		if string(h.encode()) != text {
			t.Errorf("%q is read, but written %q", text, h.encode())
		}
		if err := h.params.affordable(); err != nil {
			t.Errorf("%q costs too much: %v", text, err)
		}
	})
}
