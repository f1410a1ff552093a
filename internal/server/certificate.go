package server

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificate is a TLS certificate by file, read again when the file changes,
// so that a renewed one is served without a restart.
type certificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	checked time.Time
	changed time.Time
	loaded  *tls.Certificate
}

// recheck is how often the file is looked at.
const recheck = 30 * time.Second

func newCertificate(certFile, keyFile string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return c, nil
}

func (c *certificate) load() error {
	info, err := os.Stat(c.certFile)
	if err != nil {
		return err
	}
	if info.ModTime().Equal(c.changed) {
		return nil
	}
	loaded, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.loaded, c.changed = &loaded, info.ModTime()
	return nil
}

// get returns the certificate. A new one that cannot be read leaves the old
// one in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) > recheck {
		c.checked = now
		_ = c.load() // the old one stays until a readable one is there
	}
	return c.loaded, nil
}
