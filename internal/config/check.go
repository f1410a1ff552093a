package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/keyring"
)

// check looks at what one key alone does not tell.
func (c *Config) check(development bool) []Fault {
	var faults []Fault
	add := func(key, problem, advice string) {
		faults = append(faults, Fault{Key: key, Problem: problem, Advice: advice})
	}

	if !validListen(c.Listen) {
		add("listen", fmt.Sprintf("is %q", c.Listen), "give an address and a port, as in 127.0.0.1:8080 or :8443")
	}
	if c.Metrics.Listen != "" && !validListen(c.Metrics.Listen) {
		add("metrics.listen", fmt.Sprintf("is %q", c.Metrics.Listen), "give an address and a port, as in 127.0.0.1:9090")
	}
	if c.Metrics.Listen != "" && c.Metrics.Listen == c.Listen {
		add("metrics.listen", "is the same as listen", "give another port, as metrics are not for the public")
	}
	if problem := faultOfBaseURL(c.BaseURL); problem != "" {
		add("base_url", problem, "give an address as in https://login.example.com")
	}
	if problem := faultOfBaseURL(c.SystemURL); problem != "" {
		add("system_url", problem, "give an origin of its own as in https://operators.example.com")
	}
	for _, prefix := range c.TrustedProxies {
		if prefix.Bits() == 0 {
			add("trusted_proxies", "trusts every address there is", "name the networks of your own proxies only, else anyone can claim any address")
		}
	}

	databaseOK := validDatabase(c.Database.URL.Reveal())
	if !databaseOK {
		add("database.url", "is not a database address", adviceOnDatabase)
	}
	switch store := c.KeyStore.URL.Reveal(); {
	case store == "" && databaseOK:
		add("key_store.url", "is missing", "give a database of its own that all nodes reach, as the database is PostgreSQL")
	case store == "":
	case !validDatabase(store):
		add("key_store.url", "is not a database address", adviceOnDatabase)
	case sameDatabase(store, c.Database.URL.Reveal()):
		add("key_store.url", "is the same database as database.url", "give another one: erasure holds only if keys are backed up apart from what they seal")
	}

	switch file, value := c.RootKey.File != "", !c.RootKey.Value.IsZero(); {
	case file && value:
		add("root_key", "is given twice, as root_key.file and CARDEA_ROOT_KEY_VALUE", "keep one")
	case !file && !value && !development:
		add("root_key", "is missing", "set root_key.file to a file with 32 random bytes, or CARDEA_ROOT_KEY_VALUE to 32 random bytes in base64 (openssl rand -base64 32), and keep a copy apart: without it nothing can be read")
	case value && !isKey(c.RootKey.Value.Reveal()):
		add("root_key.value", "is not 32 random bytes in base64", "make one with: openssl rand -base64 32")
	}

	for n, file := range c.OldRoots.Files {
		switch {
		case file == "":
			add("old_root_keys.files", "has an empty name", "remove it")
		case file == c.RootKey.File:
			add("old_root_keys.files", "has the file of root_key.file", "name the former key's file here, and the new one's there")
		case slices.Contains(c.OldRoots.Files[:n], file):
			add("old_root_keys.files", "has "+file+" twice", "keep one")
		default:
			continue
		}
		break
	}
	for _, value := range c.OldRoots.Values {
		if !isKey(value.Reveal()) {
			add("old_root_keys.values", "has what is not 32 bytes in base64", "give the former root keys, separated by commas")
			break
		}
	}

	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		missing := "tls.key_file"
		if c.TLS.CertFile == "" {
			missing = "tls.cert_file"
		}
		add(missing, "is missing", "give both tls.cert_file and tls.key_file, or neither")
	}

	if c.EventRetention > 0 && c.EventRetention < 24*time.Hour {
		add("event_retention", "is "+c.EventRetention.String(), "give 24h or more, or 0s to keep events for ever")
	}

	if c.SMTP.Host != "" {
		if strings.ContainsAny(c.SMTP.Host, ":/@ []") && net.ParseIP(c.SMTP.Host) == nil {
			add("smtp.host", fmt.Sprintf("is %q", c.SMTP.Host), "give the host's name alone, and its port as smtp.port")
		}
		if _, err := mail.ParseAddress(c.SMTP.From); err != nil {
			add("smtp.from", "is not a sender's address", "give one, as in Cardea <no-reply@example.com>")
		}
		if (c.SMTP.User == "") != c.SMTP.Password.IsZero() {
			missing := "smtp.password"
			if c.SMTP.User == "" {
				missing = "smtp.user"
			}
			add(missing, "is missing", "give both smtp.user and smtp.password, or neither")
		}
		if c.SMTP.TLS == "none" && c.SMTP.User != "" {
			add("smtp.tls", "is none with a user, whose password would travel in the clear", "set it to starttls or tls, or leave smtp.user and smtp.password out")
		}
	}
	return append(faults, c.checkMessages()...)
}

func validListen(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false
	}
	return !strings.ContainsAny(host, " /@")
}

// faultOfBaseURL says what is wrong with a base URL, "" if nothing is or
// there is none.
func faultOfBaseURL(base string) string {
	if base == "" {
		return ""
	}
	parsed, err := url.Parse(base)
	switch {
	case err != nil || parsed.Hostname() == "" || parsed.User != nil || parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "" || strings.HasSuffix(base, "#"):
		return fmt.Sprintf("is %q, not a plain web address", base)
	case parsed.Path != "":
		return fmt.Sprintf("is %q and has a path or ends in a slash", base)
	case parsed.Host != strings.ToLower(parsed.Host):
		return fmt.Sprintf("is %q, not in lower case", base)
	case parsed.Scheme == "https", parsed.Scheme == "http" && loopbackHost(parsed.Hostname()):
		return ""
	}
	return fmt.Sprintf("is %q, not https", base)
}

func loopbackHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// adviceOnDatabase never has the address in it, which may hold a password.
const adviceOnDatabase = "give sqlite: with an absolute path, or postgres://user:password@host/name; in the password, characters such as / # ? @ % and : are percent-encoded (/ is %2F, # is %23)"

// validDatabase tells whether an address can be meant as it reads. A password with
// a / or a # in it that is not encoded ends the host early, and what is left of it
// then stands in the path or the fragment.
func validDatabase(address string) bool {
	if path, found := strings.CutPrefix(address, "sqlite:"); found {
		return filepath.IsAbs(path) && !strings.ContainsAny(path, "?#")
	}
	parsed, err := url.Parse(address)
	return err == nil && (parsed.Scheme == "postgres" || parsed.Scheme == "postgresql") && len(parsed.Path) > 1 &&
		!strings.Contains(parsed.EscapedPath(), "@") && !strings.Contains(address, "#")
}

// sameDatabase tells whether two addresses lead to one database, as far as can
// be seen.
func sameDatabase(a, b string) bool {
	pathA, sqliteA := strings.CutPrefix(a, "sqlite:")
	pathB, sqliteB := strings.CutPrefix(b, "sqlite:")
	if sqliteA || sqliteB {
		return sqliteA && sqliteB && filepath.Clean(pathA) == filepath.Clean(pathB)
	}
	parsedA, errA := url.Parse(a)
	parsedB, errB := url.Parse(b)
	return errA == nil && errB == nil && strings.EqualFold(parsedA.Host, parsedB.Host) && parsedA.Path == parsedB.Path
}

func isKey(text string) bool {
	_, err := keyring.DecodeRoot(text)
	return err == nil
}

// Warnings tells what is allowed and yet worth a second look.
func (c *Config) Warnings() []string {
	var warnings []string
	if !loopbackListen(c.Listen) && !c.TLS.Enabled() && len(c.TrustedProxies) == 0 {
		warnings = append(warnings, "listen: "+c.Listen+" is open to the network without TLS, and no trusted_proxies are named; passwords would travel in the clear")
	}
	if loopbackListen(c.Listen) && len(c.TrustedProxies) == 0 && (c.Rate.FormsPerSecond > 0 || c.Rate.FailuresPerSecond > 0) {
		warnings = append(warnings, "trusted_proxies: none are named, but listen is "+c.Listen+"; behind a proxy everybody would have the proxy's address and share its rate_limit")
	}
	if c.Metrics.Listen != "" && !loopbackListen(c.Metrics.Listen) {
		warnings = append(warnings, "metrics.listen: "+c.Metrics.Listen+" is open to the network, and metrics ask for no authentication")
	}
	if c.SMTP.Host == "" && c.Mail.Preset == "" {
		warnings = append(warnings, "smtp.host: no mail server is set, nor mail.preset; codes and notices cannot be sent")
	}
	if c.SMTP.Host != "" && c.SMTP.TLS == "none" && !loopbackHost(c.SMTP.Host) {
		warnings = append(warnings, "smtp.tls: mail with codes in it goes to "+c.SMTP.Host+" in the clear")
	}
	if c.BreachedPasswordsFile == "" {
		warnings = append(warnings, "breached_passwords_file: not set; only common passwords are refused, not breached ones")
	}
	return warnings
}

func loopbackListen(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackHost(host)
}
