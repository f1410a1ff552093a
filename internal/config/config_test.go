package config

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/cardea-id/cardea/internal/keyring"
)

const rootKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func load(t *testing.T, file string, environ ...string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cardea.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(Options{File: path, Environ: environ})
}

// faultsOf returns key → the whole line of each fault.
func faultsOf(t *testing.T, err error) map[string]string {
	t.Helper()
	typed, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("not an *Error: %v", err)
	}
	faults := make(map[string]string)
	for _, fault := range typed.Faults {
		if fault.Key == "" || fault.Problem == "" || fault.Advice == "" {
			t.Errorf("a fault says too little: %+v", fault)
		}
		if faults[fault.Key] != "" {
			t.Errorf("%s is reported twice: %s", fault.Key, err)
		}
		faults[fault.Key] = fault.String()
	}
	return faults
}

func TestLoad(t *testing.T) {
	c, err := load(t, `
listen: ":8443"
base_url: https://login.example.com
data_dir: /srv/cardea
trusted_proxies: [10.0.0.0/8, "2001:db8::1"]
shutdown_grace: 45s
database:
  url: postgres://cardea:pw@db.example/cardea
  max_connections: 32
key_store:
  url: postgres://cardea:pw@db.example/keys
root_key:
  file: /run/secrets/root
smtp:
limits: {max_body_bytes: 131072}
`, "PATH=/bin", "CARDEA_CONFIG=/etc/cardea.yaml", "CARDEA_DATABASE_MAX_CONNECTIONS=64", "CARDEA_LOG_LEVEL=debug", "CARDEA_SMTP_PORT=465")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Listen, want.BaseURL, want.DataDir, want.AdminSocket = ":8443", "https://login.example.com", "/srv/cardea", "/srv/cardea/cardea.sock"
	want.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")}
	want.ShutdownGrace = 45 * time.Second
	want.Database = Database{URL: NewSecret("postgres://cardea:pw@db.example/cardea"), MaxConnections: 64}
	want.KeyStore.URL, want.RootKey.File = NewSecret("postgres://cardea:pw@db.example/keys"), "/run/secrets/root"
	want.SMTP.Port, want.Log.Level, want.Limits.MaxBodyBytes = 465, "debug", 131072
	if !reflect.DeepEqual(c, want) {
		t.Errorf("read %+v, want %+v", c, want)
	}
}

func TestDefaults(t *testing.T) {
	c, err := Load(Options{Environ: []string{"CARDEA_ROOT_KEY_VALUE=" + rootKey, "CARDEA_DATA_DIR=/d"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8080" || c.Database.URL.Reveal() != "sqlite:/d/cardea.db" || c.KeyStore.URL.Reveal() != "sqlite:/d/keys.db" ||
		c.ShutdownGrace != 20*time.Second || c.SMTP.TLS != "starttls" || c.TLS.Enabled() || c.RootKey.Value.Reveal() != rootKey {
		t.Errorf("read %+v", c)
	}
	if _, err := Load(Options{Development: true}); err != nil {
		t.Errorf("development needs settings: %v", err)
	}
	if _, err := load(t, "", "CARDEA_ROOT_KEY_VALUE="+rootKey); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := load(t, "# nothing\n", "CARDEA_ROOT_KEY_VALUE="+rootKey); err != nil {
		t.Errorf("a file of comments: %v", err)
	}
}

// SECURITY Q3: without its secret the server does not start.
func TestAllFaultsAreListedAtOnce(t *testing.T) {
	_, err := load(t, `listen: nowhere
databse: {url: "x"}
database:
  url: mysql://root:canary-1@db/x
  max_connections: "many"
  max_connection: 3
tls: {cert_file: /c.pem, min_version: "1.1"}
smtp: {host: "mail:25", port: true, user: ana}
hashing: [1]
log: {level: 7, format: null}
shutdown_grace: 20
trusted_proxies: [10.0.0.1/8]
listen: ":1"
`, "CARDEA_DATABSE_URL=canary-2", "CARDEA_LIMITS_MAX_BODY_BYTES=1", "CARDEA_METRICS_LISTEN=9090", "CARDEA_SMTP_PASSWORD=canary-3\n", "CARDEA_X=1")
	faults := faultsOf(t, err)
	for key, parts := range map[string][]string{
		"databse":                  {"cardea.yaml:2", "is not a known key", "did you mean database?"},
		"database.url":             {"cardea.yaml:4", "sqlite:", "postgres://"},
		"database.max_connections": {"cardea.yaml:5", "is text", "whole number"},
		"database.max_connection":  {"cardea.yaml:6", "did you mean database.max_connections?"},
		"tls.key_file":             {"is missing"},
		"tls.min_version":          {"cardea.yaml:7", `"1.1"`, "1.2, 1.3"},
		"smtp.host":                {"cardea.yaml:8", "smtp.port"},
		"smtp.port":                {"true or false"},
		"smtp.from":                {"give one"},
		"smtp.password":            {"CARDEA_SMTP_PASSWORD", "control character"},
		"hashing":                  {"cardea.yaml:9", "is not a list of keys"},
		"log.level":                {"is a number"},
		"log.format":               {"has no value"},
		"shutdown_grace":           {"is a number", "30s"},
		"trusted_proxies":          {"10.0.0.0/8"},
		"listen":                   {"cardea.yaml:13", "comes twice"},
		"CARDEA_DATABSE_URL":       {"is not a known variable", "did you mean CARDEA_DATABASE_URL?"},
		"CARDEA_X":                 {"is not a known variable; remove it"},
		"limits.max_body_bytes":    {"CARDEA_LIMITS_MAX_BODY_BYTES", "from 4096 to"},
		"metrics.listen":           {"CARDEA_METRICS_LISTEN", `"9090"`},
		"root_key":                 {"is missing", "openssl rand"},
	} {
		for _, part := range parts {
			if !strings.Contains(faults[key], part) {
				t.Errorf("%s: %q lacks %q", key, faults[key], part)
			}
		}
		delete(faults, key)
	}
	for key, line := range faults {
		t.Errorf("unexpected: %s: %s", key, line)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("a secret is in the error: %v", err)
	}
}

func TestFaultsOneByOne(t *testing.T) {
	for name, test := range map[string]struct{ file, key, part string }{
		"root key in the file":     {"root_key: {value: x}", "root_key.value", "CARDEA_ROOT_KEY_VALUE"},
		"root key twice":           {"root_key: {file: /x}", "root_key", "twice"},
		"no YAML":                  {"listen: [", "cardea.yaml", "is not YAML"},
		"tabs":                     {"log:\n\tlevel: info", "cardea.yaml", "is not YAML"},
		"two documents":            {"listen: \":1\"\n---\nlisten: \":2\"", "cardea.yaml", "more than one document"},
		"a list":                   {"- listen", "cardea.yaml", "is not a list of keys"},
		"a text":                   {"listen", "cardea.yaml", "is not a list of keys"},
		"alias":                    {"listen: &a \":1\"\ndata_dir: *a", "data_dir", "alias"},
		"merge":                    {"log: &a {level: info}\nsmtp:\n  <<: *a", "smtp", "merge"},
		"case":                     {"Listen: \":1\"", "Listen", "did you mean listen?"},
		"dotted key":               {"log.level: info", "log.level", ""},
		"value for a section":      {"log: info", "log", "is not a list of keys"},
		"section for a value":      {"listen: {port: 1}", "listen", "has keys of its own"},
		"base URL http":            {"base_url: http://login.example.com", "base_url", "not https"},
		"base URL path":            {"base_url: https://login.example.com/", "base_url", "slash"},
		"base URL user":            {"base_url: https://a@login.example.com", "base_url", "plain"},
		"base URL query":           {"base_url: \"https://login.example.com?\"", "base_url", "plain"},
		"base URL case":            {"base_url: https://Login.example.com", "base_url", "lower case"},
		"base URL relative":        {"base_url: login.example.com", "base_url", "plain"},
		"trusting everyone":        {"trusted_proxies: [0.0.0.0/0]", "trusted_proxies", "every address"},
		"trusting everyone, IPv6":  {"trusted_proxies: [\"::/0\"]", "trusted_proxies", "every address"},
		"trusting a name":          {"trusted_proxies: [proxy]", "trusted_proxies", "networks or addresses"},
		"trusting no list":         {"trusted_proxies: 10.0.0.0/8", "trusted_proxies", "is not a list"},
		"relative SQLite":          {"database: {url: \"sqlite:cardea.db\"}", "database.url", "absolute"},
		"PostgreSQL without name":  {"database: {url: \"postgres://db\"}\nkey_store: {url: \"sqlite:/k\"}", "database.url", "postgres://"},
		"PostgreSQL without keys":  {"database: {url: \"postgres://db/x\"}", "key_store.url", "all nodes"},
		"keys beside the rest":     {"database: {url: \"postgres://u:p@db/x\"}\nkey_store: {url: \"postgres://v:q@DB/x?a=b\"}", "key_store.url", "same database"},
		"keys in the same file":    {"database: {url: \"sqlite:/a/b\"}\nkey_store: {url: \"sqlite:/a/./b\"}", "key_store.url", "same database"},
		"TLS without certificate":  {"tls: {key_file: /k}", "tls.cert_file", "is missing"},
		"TLS version as a number":  {"tls: {min_version: 1.2}", "tls.min_version", "in quotes"},
		"events for an hour":       {"event_retention: 1h", "event_retention", "24h or more"},
		"password in the clear":    {"smtp: {host: m, from: a@b.c, user: u, password: p, tls: none}", "smtp.tls", "in the clear"},
		"password without user":    {"smtp: {host: m, from: a@b.c, password: p}", "smtp.user", "is missing"},
		"duration without bounds":  {"shutdown_grace: 1h", "shutdown_grace", "0s to 10m"},
		"negative":                 {"database: {max_connections: -1}", "database.max_connections", "2 to 1000"},
		"control character":        {"listen: \"a\\nb\"", "listen", "control"},
		"metrics on the same port": {"metrics: {listen: \"127.0.0.1:8080\"}", "metrics.listen", "same as listen"},
		"empty data folder":        {"data_dir: \"\"", "data_dir", "folder"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, test.file, "CARDEA_ROOT_KEY_VALUE="+rootKey)
			if err == nil {
				t.Fatal("accepted")
			}
			faults := faultsOf(t, err)
			if len(faults) != 1 || faults[test.key] == "" || !strings.Contains(faults[test.key], test.part) {
				t.Errorf("%v, want one for %s with %q", faults, test.key, test.part)
			}
		})
	}
	for name, key := range map[string]string{"short": "AAEC", "not base64": strings.Repeat("%", 44), "empty": "", "hex": strings.Repeat("ab", 32),
		"all alike": base64.StdEncoding.EncodeToString(make([]byte, 32)), "not strict": rootKey[:42] + "9="} {
		if _, err := Load(Options{Environ: []string{"CARDEA_ROOT_KEY_VALUE=" + key}}); err == nil {
			t.Errorf("a root key that is %s was accepted", name)
		} else if key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("the root key is in the error: %v", err)
		}
	}
	for name, encoding := range map[string]*base64.Encoding{"unpadded": base64.RawStdEncoding, "of URLs": base64.URLEncoding} {
		raw, err := base64.StdEncoding.DecodeString(rootKey)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Load(Options{Environ: []string{"CARDEA_ROOT_KEY_VALUE=" + encoding.EncodeToString(raw)}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := keyring.RootFromBase64(c.RootKey.Value.Reveal()); err != nil {
			t.Errorf("%s passed the check and was refused later: %v", name, err)
		}
	}
	if _, err := Load(Options{File: filepath.Join(t.TempDir(), "absent.yaml"), Development: true}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("an absent file: %v", err)
	}
	if _, err := Load(Options{File: t.TempDir(), Development: true}); err == nil {
		t.Error("a folder was read")
	}
}

func TestReferenceIsTheDefault(t *testing.T) {
	reference := Reference()
	c, err := load(t, reference, "CARDEA_ROOT_KEY_VALUE="+rootKey)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Load(Options{Environ: []string{"CARDEA_ROOT_KEY_VALUE=" + rootKey}})
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("the reference changes the settings: %+v, want %+v (%v)", c, want, err)
	}
	var seen = map[string]string{}
	for _, f := range fieldsOf(Default()) {
		if len(f.doc) < 10 || !strings.HasSuffix(f.doc, ".") || !strings.Contains(reference, "# "+f.env+"\n") {
			t.Errorf("%s is not explained", f.key)
		}
		if other := seen[f.env]; other != "" {
			t.Errorf("%s and %s are both %s", f.key, other, f.env)
		}
		seen[f.env] = f.key
		switch f.value.Interface().(type) {
		case int, int64, time.Duration:
			if f.min == "" || f.max == "" || f.preset == "" {
				t.Errorf("%s has no bounds or no default", f.key)
			}
		}
	}
	for line := range strings.Lines(reference) {
		if len(line) > referenceWidth+1 {
			t.Errorf("too wide: %s", line)
		}
	}
}

func TestWarnings(t *testing.T) {
	for name, test := range map[string]struct {
		environ []string
		part    string
		want    bool
	}{
		"open":               {[]string{"CARDEA_LISTEN=:8080"}, "listen: :8080", true},
		"open, any address":  {[]string{"CARDEA_LISTEN=0.0.0.0:8080"}, "in the clear", true},
		"open, TLS":          {[]string{"CARDEA_LISTEN=:8080", "CARDEA_TLS_CERT_FILE=/c", "CARDEA_TLS_KEY_FILE=/k"}, "listen:", false},
		"open, proxy":        {[]string{"CARDEA_LISTEN=:8080", "CARDEA_TRUSTED_PROXIES=10.0.0.0/8, 192.0.2.1"}, "listen:", false},
		"loopback":           {[]string{"CARDEA_LISTEN=[::1]:8080"}, "listen:", false},
		"localhost":          {[]string{"CARDEA_LISTEN=localhost:8080"}, "listen:", false},
		"metrics open":       {[]string{"CARDEA_METRICS_LISTEN=:9090"}, "metrics.listen:", true},
		"metrics closed":     {[]string{"CARDEA_METRICS_LISTEN=127.0.0.1:9090"}, "metrics.listen:", false},
		"no mail":            {nil, "smtp.host:", true},
		"mail in the clear":  {[]string{"CARDEA_SMTP_HOST=mail.example", "CARDEA_SMTP_FROM=a@b.example", "CARDEA_SMTP_TLS=none"}, "smtp.tls:", true},
		"mail on this host":  {[]string{"CARDEA_SMTP_HOST=127.0.0.1", "CARDEA_SMTP_FROM=a@b.example", "CARDEA_SMTP_TLS=none"}, "smtp.tls:", false},
		"no breached list":   {nil, "breached_passwords_file:", true},
		"with breached list": {[]string{"CARDEA_BREACHED_PASSWORDS_FILE=/b"}, "breached_passwords_file:", false},
	} {
		c, err := Load(Options{Environ: test.environ, Development: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if warnings := strings.Join(c.Warnings(), "\n"); strings.Contains(warnings, test.part) != test.want {
			t.Errorf("%s: %s", name, warnings)
		}
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	c := Default()
	c.Database.URL, c.SMTP.Password, c.RootKey.Value = NewSecret("canary"), NewSecret("canary"), NewSecret("canary")
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&out, verb, c)
		fmt.Fprintf(&out, verb, *c)
		fmt.Fprintf(&out, verb, c.SMTP.Password)
		fmt.Fprintf(&out, verb, &c.SMTP.Password)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "config", c, "secret", c.SMTP.Password)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "config", c, "secret", c.SMTP.Password)
	asJSON, errJSON := json.Marshal(c)
	asYAML, errYAML := yaml.Marshal(c)
	if errJSON != nil || errYAML != nil {
		t.Fatal(errJSON, errYAML)
	}
	out.Write(asJSON)
	out.Write(asYAML)
	for _, spelling := range []string{"canary", "63616e617279", "Y2FuYXJ5"} {
		if strings.Contains(out.String(), spelling) {
			t.Errorf("a secret was printed: %s", out.String())
		}
	}
	if a := NewSecret("canary"); !a.Equal(c.SMTP.Password) || a.Equal(NewSecret("canarz")) || a.Equal(Secret{}) || !(Secret{}).IsZero() || a.Reveal() != "canary" {
		t.Error("comparing is broken")
	}
}

func FuzzLoad(f *testing.F) {
	for _, file := range []string{"", Reference(), "listen: [", "a: &a [*a]", "? {a: b}\n: c", "log: {level: info, level: warn}", "- 1", "--- \n...\n", "listen: !!binary aGk=", "<<: {listen: x}"} {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file string) {
		c := Default()
		for _, fault := range readYAML("fuzz.yaml", []byte(file), fieldsOf(c), map[string]string{}) {
			if fault.Key == "" || fault.Problem == "" || fault.Advice == "" {
				t.Errorf("a fault says too little: %+v", fault)
			}
		}
	})
}

func TestRateLimits(t *testing.T) {
	c, err := load(t, "rate_limit: {forms_per_second: 0, failures_burst: 7}", "CARDEA_ROOT_KEY_VALUE="+rootKey, "CARDEA_RATE_LIMIT_FORMS_BURST=9")
	if err != nil {
		t.Fatal(err)
	}
	if want := (Rate{FormsPerSecond: 0, FormsBurst: 9, FailuresPerSecond: 5, FailuresBurst: 7, AdminPerSecond: 50, AdminBurst: 200}); c.Rate != want {
		t.Errorf("read %+v, want %+v", c.Rate, want)
	}
	_, err = load(t, "rate_limit: {forms_per_second: -1, forms_burst: 0}", "CARDEA_ROOT_KEY_VALUE="+rootKey, "CARDEA_RATE_LIMIT_FAILURES_PER_SECOND=often")
	faults := faultsOf(t, err)
	for _, key := range []string{"rate_limit.forms_per_second", "rate_limit.forms_burst", "rate_limit.failures_per_second"} {
		if faults[key] == "" {
			t.Errorf("%s is taken: %v", key, err)
		}
	}
}

// Behind a proxy that is not named everybody has one address.
func TestUnnamedProxiesAreWarnedOf(t *testing.T) {
	warned := func(c *Config) bool { return strings.Contains(strings.Join(c.Warnings(), "\n"), "rate_limit") }
	c := Default()
	if !warned(c) {
		t.Error("no warning of a server on loopback without trusted_proxies")
	}
	c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	if warned(c) {
		t.Error("a warning although a proxy is named")
	}
	c = Default()
	c.Rate.FormsPerSecond, c.Rate.FailuresPerSecond = 0, 0
	if warned(c) {
		t.Error("a warning although there are no limits")
	}
}

func TestOldRootKeys(t *testing.T) {
	const other = "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	c, err := load(t, `root_key: {file: /k/new}
old_root_keys: {files: [/k/old, "/k/older"]}`, "CARDEA_OLD_ROOT_KEYS_VALUES="+rootKey+", "+other)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.OldRoots.Files, []string{"/k/old", "/k/older"}) || len(c.OldRoots.Values) != 2 || c.OldRoots.Values[0].Reveal() != rootKey || c.OldRoots.Values[1].Reveal() != other {
		t.Errorf("read %v, %d values", c.OldRoots.Files, len(c.OldRoots.Values))
	}
	if printed := fmt.Sprintf("%+v", c); strings.Contains(printed, rootKey) {
		t.Error("a former root key is printed")
	}
	c, err = load(t, "root_key: {file: /k/new}", "CARDEA_OLD_ROOT_KEYS_FILES=/k/a,/k/b")
	if err != nil || !reflect.DeepEqual(c.OldRoots.Files, []string{"/k/a", "/k/b"}) {
		t.Errorf("read %+v, %v", c, err)
	}
	if c, err = load(t, "root_key: {file: /k/new}"); err != nil || !c.OldRoots.None() {
		t.Errorf("read %+v, %v", c, err)
	}
	for file, key := range map[string]string{
		"old_root_keys: {files: /k/old}":             "old_root_keys.files",
		"old_root_keys: {files: [1]}":                "old_root_keys.files",
		"old_root_keys: {files: [\"\"]}":             "old_root_keys.files",
		"old_root_keys: {files: [/k/new]}":           "old_root_keys.files",
		"old_root_keys: {files: [/k/old, /k/old]}":   "old_root_keys.files",
		"old_root_keys: {values: [" + rootKey + "]}": "old_root_keys.values",
		"old_root_keys: {file: /k/old}":              "old_root_keys.file",
	} {
		_, err := load(t, "root_key: {file: /k/new}\n"+file)
		if faultsOf(t, err)[key] == "" {
			t.Errorf("%s: %v", file, err)
		}
	}
	_, err = load(t, "root_key: {file: /k/new}", "CARDEA_OLD_ROOT_KEYS_VALUES="+rootKey+",short")
	if fault := faultsOf(t, err)["old_root_keys.values"]; fault == "" || strings.Contains(fault, rootKey) {
		t.Errorf("%v", err)
	}
}

// Where traces go is said by our own keys, else by the variables that every
// program with OpenTelemetry takes.
func TestTracing(t *testing.T) {
	base := []string{"CARDEA_ROOT_KEY_VALUE=" + rootKey}
	load := func(more ...string) (*Config, error) {
		return Load(Options{Environ: append(slices.Clone(base), more...)})
	}
	for want, environ := range map[string][]string{
		"":                           nil,
		"http://a:4318/v1/traces":    {"CARDEA_TRACING_OTLP_ENDPOINT=http://a:4318/", "OTEL_EXPORTER_OTLP_ENDPOINT=http://b:4318"},
		"http://a:4318/x/v1/traces":  {"CARDEA_TRACING_OTLP_ENDPOINT=http://a:4318/x/v1/traces"},
		"http://b:4318/v1/traces":    {"OTEL_EXPORTER_OTLP_ENDPOINT=http://b:4318"},
		"https://c.example/anything": {"OTEL_EXPORTER_OTLP_ENDPOINT=http://b:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://c.example/anything"},
	} {
		c, err := load(environ...)
		if err != nil || c.Tracing.Traces != want {
			t.Errorf("%q: %+v, %v", environ, c, err)
		}
	}
	if c, err := load("OTEL_EXPORTER_OTLP_ENDPOINT=http://b:4318", "OTEL_SDK_DISABLED=true"); err != nil || c.Tracing.Traces != "" {
		t.Errorf("%v", err)
	}
	c, err := load("OTEL_EXPORTER_OTLP_ENDPOINT=http://b:4318", "OTEL_EXPORTER_OTLP_HEADERS=api-key=k%20v", "OTEL_SERVICE_NAME=login",
		"OTEL_RESOURCE_ATTRIBUTES=deployment.environment=test", "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.25")
	if err != nil || c.Tracing.Sent["api-key"] != "k v" || c.Tracing.Service != "login" || c.Tracing.Attributes["deployment.environment"] != "test" || c.Tracing.Ratio != 0.25 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := load("CARDEA_TRACING_OTLP_ENDPOINT=http://b:4318", "CARDEA_TRACING_SAMPLE_RATIO=0.5", "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.25"); err != nil || c.Tracing.Ratio != 0.5 {
		t.Errorf("%v", err)
	}
	for wrong, key := range map[string]string{"CARDEA_TRACING_OTLP_ENDPOINT=nonsense": "tracing.otlp_endpoint", "CARDEA_TRACING_OTLP_ENDPOINT=ftp://a": "tracing.otlp_endpoint",
		"CARDEA_TRACING_SAMPLE_RATIO=2": "tracing.sample_ratio", "CARDEA_TRACING_SAMPLE_RATIO=NaN": "tracing.sample_ratio"} {
		if _, err := load(wrong); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if _, err := load("CARDEA_TRACING_OTLP_ENDPOINT=http://a:4318", "CARDEA_TRACING_HEADERS=nonsense"); err == nil || !strings.Contains(err.Error(), "tracing.headers") || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("%v", err)
	}
}

// Beside a Service named cardea Kubernetes adds variables with our prefix; what is
// merely alike is refused as before.
func TestServiceLinksOfKubernetesAreNoSettings(t *testing.T) {
	links := []string{
		"CARDEA_SERVICE_HOST=10.96.0.7", "CARDEA_SERVICE_PORT=80", "CARDEA_SERVICE_PORT_HTTP=80", "CARDEA_SERVICE_PORT_METRICS=9090",
		"CARDEA_PORT=tcp://10.96.0.7:80", "CARDEA_PORT_80_TCP=tcp://10.96.0.7:80", "CARDEA_PORT_80_TCP_PROTO=tcp", "CARDEA_PORT_80_TCP_PORT=80",
		"CARDEA_PORT_80_TCP_ADDR=10.96.0.7", "CARDEA_PORT_9090_UDP=udp://10.96.0.7:9090",
	}
	if _, err := load(t, "data_dir: /srv/cardea", append(links, "CARDEA_ROOT_KEY_VALUE="+rootKey)...); err != nil {
		t.Error(err)
	}
	alike := []string{"CARDEA_PORT=8080", "CARDEA_PORT_TCP=1", "CARDEA_PORT_80_TCP_NAME=1", "CARDEA_SERVICE=1", "CARDEA_SERVICE_NAME=1", "CARDEA_METRICS_SERVICE_HOST=1"}
	for _, one := range alike {
		_, err := load(t, "data_dir: /srv/cardea", one, "CARDEA_ROOT_KEY_VALUE="+rootKey)
		if name, _, _ := strings.Cut(one, "="); err == nil || faultsOf(t, err)[name] == "" {
			t.Errorf("%s is taken: %v", one, err)
		}
	}
}

// A password that is not encoded is told as such, and is not printed.
func TestAPasswordInAnAddressIsEncoded(t *testing.T) {
	for _, password := range []string{"ab/c", "12/c", "ab#c", "12#c", "ab?c", "12?c", "ab%zz", "ab@12/c"} {
		_, err := load(t, "data_dir: /srv/cardea", "CARDEA_ROOT_KEY_VALUE="+rootKey,
			"CARDEA_DATABASE_URL=postgres://cardea:"+password+"@database/cardea", "CARDEA_KEY_STORE_URL=postgres://cardea:"+password+"@keys/cardea_keys")
		if err == nil {
			t.Errorf("%s is taken", password)
			continue
		}
		for _, key := range []string{"database.url", "key_store.url"} {
			if told := faultsOf(t, err)[key]; !strings.Contains(told, "percent-encoded") || strings.Contains(told, password) {
				t.Errorf("%s, %s: %q", password, key, told)
			}
		}
	}
	if _, err := load(t, "data_dir: /srv/cardea", "CARDEA_ROOT_KEY_VALUE="+rootKey,
		"CARDEA_DATABASE_URL=postgres://cardea:ab%2Fc%23%3F%40@database/cardea?sslmode=verify-full", "CARDEA_KEY_STORE_URL=postgres://cardea:a%2F@keys/cardea_keys"); err != nil {
		t.Error(err)
	}
}
