package keyring

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Root wraps and unwraps the keys of tenants. The key itself may be in this
// process, as with the Roots of this package, or in a key management service
// that is asked when a tenant is first used. A Root is safe for concurrent use.
type Root interface {
	// ID names the key: the same key has the same ID in every process and no
	// two keys share one. It is stored beside what the key wraps and shown in
	// messages, so it must not help to find the key.
	ID() string
	// Wrap encrypts and authenticates plain, and authenticates aad.
	Wrap(ctx context.Context, plain, aad []byte) ([]byte, error)
	// Unwrap undoes Wrap; it fails when anything but the key, the wrapped bytes
	// and aad of the Wrap is used.
	Unwrap(ctx context.Context, wrapped, aad []byte) ([]byte, error)
}

// localRoot is a root key in this process's memory: AES-256-GCM with a random
// nonce, of which a root key uses a few for each tenant.
type localRoot struct {
	id   string
	aead cipher.AEAD
}

const localRootVersion = 1 // first byte of what a local root wraps

// RootFromBytes makes a Root of 32 random bytes, which it copies.
func RootFromBytes(key []byte) (Root, error) {
	if err := checkRoot(key); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("keyring: root key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("keyring: root key: %w", err)
	}
	sum := sha256.Sum256(append([]byte("cardea root key id v1\x00"), key...))
	return &localRoot{id: "local:" + hex.EncodeToString(sum[:16]), aead: aead}, nil
}

// RootFromBase64 makes a Root of 32 random bytes in base64, such as the value
// of an environment variable; see DecodeRoot.
func RootFromBase64(text string) (Root, error) {
	key, err := DecodeRoot(text)
	if err != nil {
		return nil, err
	}
	return RootFromBytes(key)
}

// DecodeRoot reads a root key that is written in base64: of the standard
// alphabet or that of URLs, padded or not. Spaces around it are ignored. It is
// the one place that says what a root key looks like.
func DecodeRoot(text string) ([]byte, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	key, err := encoding.Strict().DecodeString(text)
	if err != nil {
		// The decoder's error would quote a part of the key.
		return nil, errors.New("keyring: the root key is not base64 of 32 bytes: make one with 'openssl rand -base64 32'")
	}
	return key, checkRoot(key)
}

// checkRoot refuses what cannot be 32 random bytes.
func checkRoot(key []byte) error {
	if len(key) != keySize {
		return fmt.Errorf("keyring: a root key has %d bytes, this one has %d: make one with 'openssl rand -base64 32'", keySize, len(key))
	}
	if alike(key) {
		return errors.New("keyring: all bytes of the root key are the same, so it is not random: make one with 'openssl rand -base64 32'")
	}
	return nil
}

// ErrRootOpen says that the file of a root key is not its user's alone.
var ErrRootOpen = errors.New("so that other users of this machine may get at it")

// RootFromFile reads a Root from a file that holds it in base64, as
// GenerateRoot writes it, or is its 32 bytes. A file that others may read, or
// the group may write, is refused.
func RootFromFile(path string) (Root, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("keyring: root key file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("keyring: root key file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("keyring: root key file %s has mode %#o, %w: run 'chmod 600 %s'", path, mode, ErrRootOpen, path)
	}
	text, err := io.ReadAll(io.LimitReader(file, 1024))
	if err != nil {
		return nil, fmt.Errorf("keyring: root key file: %w", err)
	}
	var root Root
	if len(text) == keySize && !printable(text) { // no base64 of 32 bytes is that short
		root, err = RootFromBytes(text)
	} else {
		root, err = RootFromBase64(string(text))
	}
	if err != nil {
		return nil, fmt.Errorf("root key file %s: %w", path, err)
	}
	return root, nil
}

// printable tells a text, such as a shorter key in hex, from random bytes: of
// 32 of those one in 10¹³ is printable.
func printable(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return (c < ' ' || c > '~') && c != '\n' && c != '\r' && c != '\t' })
}

// GenerateRoot makes a root key and writes it to a new file that only its
// owner may read, durably. It never overwrites: an existing file is an error
// that errors.Is finds to be fs.ErrExist.
func GenerateRoot(path string, random io.Reader) (err error) {
	key, err := newSecret(random)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keyring: new root key file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("keyring: new root key file: %w", err), os.Remove(path))
		}
	}()
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(key[:]) + "\n")
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes the name of a new file durable.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" { // has no such thing
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func (l *localRoot) ID() string { return l.id }

func (l *localRoot) Wrap(_ context.Context, plain, aad []byte) ([]byte, error) {
	return l.aead.Seal([]byte{localRootVersion}, nil, plain, aad), nil
}

func (l *localRoot) Unwrap(_ context.Context, wrapped, aad []byte) ([]byte, error) {
	if len(wrapped) == 0 || wrapped[0] != localRootVersion {
		return nil, errors.New("not wrapped by a local root key")
	}
	plain, err := l.aead.Open(nil, nil, wrapped[1:], aad)
	if err != nil {
		return nil, errors.New("wrapped by another key, for another place, or damaged")
	}
	return plain, nil
}

func alike(b []byte) bool {
	for _, c := range b {
		if c != b[0] {
			return false
		}
	}
	return true
}
