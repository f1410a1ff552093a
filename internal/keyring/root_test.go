package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testRoot(t testing.TB, name string) Root {
	t.Helper()
	root, err := RootFromBytes(keyOf(name)[:])
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestRootWraps(t *testing.T) {
	ctx := t.Context()
	root, other := testRoot(t, "a"), testRoot(t, "b")
	if root.ID() == other.ID() || root.ID() != testRoot(t, "a").ID() {
		t.Error("an ID is not its key's")
	}
	wrapped, err := root.Wrap(ctx, []byte("a key"), []byte("for this"))
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := root.Wrap(ctx, []byte("a key"), []byte("for this")); bytes.Equal(wrapped, again) {
		t.Error("wrapped twice alike")
	}
	if got, err := root.Unwrap(ctx, wrapped, []byte("for this")); err != nil || string(got) != "a key" {
		t.Errorf("unwrapped %q, %v", got, err)
	}
	if _, err := root.Unwrap(ctx, wrapped, []byte("for that")); err == nil {
		t.Error("unwrapped for something else")
	}
	if _, err := other.Unwrap(ctx, wrapped, []byte("for this")); err == nil {
		t.Error("unwrapped by another key")
	}
	for n := range wrapped {
		if _, err := root.Unwrap(ctx, wrapped[:n], []byte("for this")); err == nil {
			t.Errorf("unwrapped when cut to %d bytes", n)
		}
	}
}

func TestRootFromText(t *testing.T) {
	key := keyOf("a")
	text := base64.StdEncoding.EncodeToString(key[:])
	root, err := RootFromBase64("  " + text + "\n")
	if err != nil || root.ID() != testRoot(t, "a").ID() {
		t.Errorf("%v", err)
	}
	for name, encoding := range map[string]*base64.Encoding{"unpadded": base64.RawStdEncoding, "of URLs": base64.URLEncoding, "of URLs, unpadded": base64.RawURLEncoding} {
		bytes := append([]byte{0xfb, 0xff}, key[2:]...) // has what the alphabets differ in
		want, err := RootFromBytes(bytes)
		if err != nil {
			t.Fatal(err)
		}
		if root, err := RootFromBase64(encoding.EncodeToString(bytes)); err != nil || root.ID() != want.ID() {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]string{
		"nothing":     "",
		"short":       base64.StdEncoding.EncodeToString(key[:31]),
		"long":        base64.StdEncoding.EncodeToString(append(key[:], 1)),
		"hex":         fmt.Sprintf("%x", key[:]),
		"not base64":  text[:10] + "*" + text[11:],
		"zeros":       base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"not strict":  text[:42] + "x=",
		"two of them": text + text,
	} {
		_, err := RootFromBase64(bad)
		if err == nil {
			t.Errorf("%s was taken", name)
		} else if bad != "" && len(bad) > 8 && strings.Contains(err.Error(), bad[:8]) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

func TestRootFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	if err := GenerateRoot(path, rand.Reader); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	root, err := RootFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := GenerateRoot(path, rand.Reader); !errors.Is(err, fs.ErrExist) {
		t.Errorf("overwriting: %v", err)
	}
	if again, err := RootFromFile(path); err != nil || again.ID() != root.ID() {
		t.Errorf("the key changed: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := RootFromFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file for everyone to read: %v", err)
	}
	if _, err := RootFromFile(path + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	broken := filepath.Join(t.TempDir(), "root.key")
	if err := GenerateRoot(broken, strings.NewReader("short")); err == nil {
		t.Error("made without randomness")
	}
	if _, err := os.Stat(broken); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was left behind")
	}
}

func TestRootFileOfBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	write := func(content []byte) (Root, error) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return RootFromFile(path)
	}
	key := keyOf("a")
	if root, err := write(key[:]); err != nil || root.ID() != testRoot(t, "a").ID() {
		t.Errorf("raw: %v", err)
	}
	if root, err := write([]byte(base64.RawURLEncoding.EncodeToString(key[:]) + "\n")); err != nil || root.ID() != testRoot(t, "a").ID() {
		t.Errorf("text: %v", err)
	}
	for name, content := range map[string][]byte{
		"16 bytes in hex":    []byte(fmt.Sprintf("%x", key[:16])),
		"24 bytes in base64": []byte(base64.StdEncoding.EncodeToString(key[:24])),
		"31 bytes":           key[:31],
		"33 bytes":           append(key[:], 1),
		"zeros":              make([]byte, 32),
		"nothing":            nil,
	} {
		if _, err := write(content); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	key := keyOf("a")
	tenant := bareTenant(tenantA, "a")
	values := map[string]any{
		"secret":   key,
		"value":    *key,
		"root":     testRoot(t, "a"),
		"ring":     tenant.ring,
		"tenant":   tenant,
		"customer": bareCustomer("a"),
		"options":  Options{Root: testRoot(t, "a"), OldRoots: []Root{testRoot(t, "a")}},
		"nested":   struct{ T *Tenant }{tenant},
	}
	leaks := []string{
		fmt.Sprintf("%x", key[:8]), fmt.Sprintf("%X", key[:8]), fmt.Sprint(key[0], key[1], key[2])[:9],
		strings.Trim(fmt.Sprintf("%v", key[:4]), "[]"), fmt.Sprintf("%#x, %#x", key[0], key[1]),
		base64.StdEncoding.EncodeToString(key[:9]), string(key[:8]),
	}
	for name, v := range values {
		var shown []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o"} {
			shown = append(shown, fmt.Sprintf(verb, v))
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		shown = append(shown, log.String())
		if data, err := json.Marshal(v); err == nil {
			shown = append(shown, string(data))
		}
		for _, s := range shown {
			for _, leak := range leaks {
				if strings.Contains(s, leak) {
					t.Errorf("%s prints as %s", name, s)
				}
			}
			if !strings.Contains(s, redacted) && name != "nested" && name != "options" {
				t.Errorf("%s prints as %s", name, s)
			}
		}
	}
	if !key.Equal(keyOf("a")) || key.Equal(keyOf("b")) {
		t.Error("Equal is wrong")
	}
}
