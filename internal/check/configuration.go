package check

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// configuration looks at settings that are allowed and weak.
func (c *checker) configuration() {
	for _, warning := range c.Config.Warnings() {
		rule := "config-weak"
		if strings.HasPrefix(warning, "breached_passwords_file") {
			rule = "breached-passwords"
		}
		c.found(rule, "%s", warning)
	}
	for key, address := range map[string]string{"base_url": c.Config.BaseURL, "system_url": c.Config.SystemURL} {
		if strings.HasPrefix(address, "http:") {
			c.found("issuer-http", "%s is %s", key, address)
		}
	}
	if c.Config.Rate.FormsPerSecond == 0 {
		c.found("rate-limit-off", "rate_limit.forms_per_second is 0")
	}
	if c.Config.Rate.FailuresPerSecond == 0 {
		c.found("rate-limit-off", "rate_limit.failures_per_second is 0")
	}
	database, keys := c.Config.Database.URL.Reveal(), c.Config.KeyStore.URL.Reveal()
	if together(database, keys) {
		c.found("key-store-beside-database", "%s and the key store are in one place", place(database))
	}
}

// together tells whether two databases are likely to be backed up as one.
func together(database, keys string) bool {
	a, sqliteA := strings.CutPrefix(database, "sqlite:")
	b, sqliteB := strings.CutPrefix(keys, "sqlite:")
	if sqliteA || sqliteB {
		return sqliteA && sqliteB && filepath.Dir(a) == filepath.Dir(b)
	}
	return place(database) == place(keys)
}

// place is where a database is, without what it is called there and without
// its password.
func place(address string) string {
	if path, sqlite := strings.CutPrefix(address, "sqlite:"); sqlite {
		return filepath.Dir(path)
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return "the database"
	}
	if host := parsed.Query().Get("host"); host != "" {
		return host
	}
	return parsed.Host
}

// files looks at who may read the files that hold secrets.
func (c *checker) files() {
	for _, file := range append([]string{c.Config.RootKey.File}, c.Config.OldRoots.Files...) {
		if file == "" {
			continue
		}
		c.closed(file)
		if relative, err := filepath.Rel(c.Config.DataDir, file); err == nil && filepath.IsLocal(relative) {
			c.found("root-key-beside-data", "%s is in the data folder", file)
		}
	}
	c.closed(c.Config.TLS.KeyFile)
	if c.holdsSecrets() {
		c.closed(c.File)
	}
	for _, address := range []string{c.Config.Database.URL.Reveal(), c.Config.KeyStore.URL.Reveal()} {
		if path, sqlite := strings.CutPrefix(address, "sqlite:"); sqlite {
			c.closed(path)
		}
	}
}

// holdsSecrets tells whether a secret stands in the configuration, be it in the
// file or in the environment.
func (c *checker) holdsSecrets() bool {
	for _, address := range []string{c.Config.Database.URL.Reveal(), c.Config.KeyStore.URL.Reveal()} {
		if parsed, err := url.Parse(address); err == nil && parsed.User != nil {
			if _, has := parsed.User.Password(); has {
				return true
			}
		}
	}
	return !c.Config.SMTP.Password.IsZero()
}

// closed looks whether a file is open to others than its user. One in a folder
// that is closed to them is closed.
func (c *checker) closed(file string) {
	if file == "" {
		return
	}
	at, err := os.Stat(file)
	if err != nil || at.Mode().Perm()&0o077 == 0 || !at.Mode().IsRegular() {
		return
	}
	if folder, err := os.Stat(filepath.Dir(file)); err == nil && folder.Mode().Perm()&0o011 == 0 {
		return
	}
	if at.Mode().Perm()&0o007 == 0 && strings.HasPrefix(file, "/run/") {
		return // credentials that systemd or a cluster hands over to a group
	}
	c.found("secrets-readable", "%s has the mode %s", file, fs.FileMode(at.Mode().Perm()))
}
