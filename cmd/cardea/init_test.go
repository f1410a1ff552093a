package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// readEnv reads a .env as a shell does.
func readEnv(t *testing.T, text string) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("sh", "-c", "set -a; . "+file+"; env -0")
	command.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	values := map[string]string{}
	for _, line := range strings.Split(string(out), "\x00") {
		if name, value, found := strings.Cut(line, "="); found && (strings.HasPrefix(name, "OIDC_") || name == "SESSION_SECRET") {
			values[name] = value
		}
	}
	return values
}

func TestInit(t *testing.T) {
	for _, served := range []bool{false, true} {
		t.Run(map[bool]string{false: "in process", true: "over the socket"}[served], func(t *testing.T) {
			engines(t, func(t *testing.T, engine sqldb.Engine) {
				m := newMachine(t, engine)
				if served {
					m.serve()
				}
				// By answers.
				got := m.runWith("Öl & Thymian\nfridge\n\nhttps://shop.example/callback\n", m.at("init")...)
				env := readEnv(t, got.out)
				if got.code != exitDone || !strings.Contains(got.err, "there is no kind \"fridge\"") || !strings.Contains(got.err, "Made the tenant ol-thymian") {
					t.Fatalf("%+v", got)
				}
				if env["OIDC_ISSUER"] != "http://localhost:9999/t/ol-thymian" || env["OIDC_CLIENT_ID"] == "" || len(env["OIDC_CLIENT_SECRET"]) < 40 ||
					env["OIDC_REDIRECT_URI"] != "https://shop.example/callback" || env["OIDC_POST_LOGOUT_REDIRECT_URI"] != "https://shop.example/" ||
					env["OIDC_SCOPE"] != "openid profile email offline_access" || len(env["SESSION_SECRET"]) < 40 || len(env) != 7 {
					t.Errorf("%v", env)
				}
				// By flags, for a brand that is there.
				for _, brand := range []string{"ol-thymian", "öl & thymian"} {
					got = m.run(m.at("init", "--brand", brand, "--kind", "spa", "--redirect-uri", "https://app.example/cb")...)
					env = readEnv(t, got.out)
					if got.code != exitDone || !strings.Contains(got.err, "goes to the tenant ol-thymian") || len(env) != 5 || env["OIDC_CLIENT_SECRET"] != "" || env["OIDC_ISSUER"] != "http://localhost:9999/t/ol-thymian" {
						t.Errorf("%+v", got)
					}
				}
				made := parse[initView](t, m.here("init", "--brand", "Club", "--slug", "members", "--kind", "native", "--redirect-uri", "com.example.club:/callback", "--no-first-party", "--json"))
				if made.Slug != "members" || !made.NewTenant || made.PostLogoutURI != "" || made.ClientID == "" || made.Secret != "" {
					t.Errorf("%+v", made)
				}
				apps := parse[[]applicationView](t, m.here("app", "list", "--tenant", "members", "--json"))
				if len(apps) != 1 || apps[0].FirstParty || apps[0].Name != "Club" {
					t.Errorf("%+v", apps)
				}
				machine := readEnv(t, m.here("init", "--brand", "Club", "--kind", "machine", "--name", "Stock"))
				if len(machine) != 3 || machine["OIDC_CLIENT_SECRET"] == "" {
					t.Errorf("%v", machine)
				}
				// What is wrong.
				m.fails(exitUsage, "nobody answers: give --brand", m.at("init")...)
				m.fails(exitUsage, "nobody answers: give --redirect-uri", m.at("init", "--brand", "x", "--kind", "web")...)
				m.fails(exitUsage, "RFC 8628", m.at("init", "--brand", "x", "--kind", "device")...)
				m.fails(exitUsage, "there is no kind", m.at("init", "--brand", "x", "--kind", "fridge")...)
				m.fails(exitUsage, "give one in --slug", m.at("init", "--brand", "زيتون", "--kind", "spa", "--redirect-uri", "https://x.example/")...)
				m.fails(exitUsage, "is there already", m.at("init", "--brand", "Club", "--slug", "other", "--kind", "machine")...)
				m.fails(exitUsage, "has no --redirect-uri", m.at("init", "--brand", "Club", "--kind", "machine", "--redirect-uri", "https://x.example/")...)
				m.fails(exitFailed, "cannot be registered", m.at("init", "--brand", "Club", "--kind", "web", "--redirect-uri", "javascript:alert(1)")...)
				m.fails(exitUsage, "operators' own", m.at("init", "--brand", "system", "--kind", "machine")...)
			})
		})
	}
}

func TestAnApplicationsEnv(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	m.here("tenant", "create", "--slug", "shop", "--name", "Shop", "--issuer", "https://id.example.com")
	uri := "https://app.example/cb?a=$(id)&b='x'"
	got := m.run(m.at("app", "create", "--tenant", "shop", "--name", "App", "--kind", "web", "--env", "--redirect-uri", uri,
		"--post-logout-redirect-uri", "https://app.example/bye", "--scope", "openid", "--scope", "orders:read")...)
	env := readEnv(t, got.out)
	if got.code != exitDone || env["OIDC_REDIRECT_URI"] != uri || env["OIDC_SCOPE"] != "openid orders:read" || env["OIDC_ISSUER"] != "https://id.example.com" || env["OIDC_POST_LOGOUT_REDIRECT_URI"] != "https://app.example/bye" {
		t.Errorf("%+v %v", got, env)
	}
	if !strings.Contains(got.err, "out of the repository") || strings.Contains(got.err, env["OIDC_CLIENT_SECRET"]) {
		t.Errorf("%+v", got)
	}
	m.fails(exitUsage, "RFC 8628", m.at("app", "create", "--tenant", "shop", "--name", "TV", "--kind", "device")...)
	m.here("app", "create", "--tenant", "shop", "--name", "Old", "--kind", "web", "--pkce-optional", "--redirect-uri", "https://old.example/cb")
	m.fails(exitFailed, "pkce_optional", m.at("app", "create", "--tenant", "shop", "--name", "x", "--kind", "spa", "--pkce-optional", "--redirect-uri", "https://old.example/cb")...)
	m.fails(exitUsage, "exclude each other", m.at("app", "create", "--tenant", "shop", "--name", "x", "--kind", "machine", "--env", "--json")...)
}

func TestSlugs(t *testing.T) {
	for brand, want := range map[string]string{
		"Olive & Thyme": "olive-thyme", "Ana's Café": "anas-cafe", "  24/7 Shop!": "shop", "Ω": "", "": "",
		strings.Repeat("ab ", 30): strings.TrimRight(strings.Repeat("ab-", 30)[:40], "-"),
	} {
		if got := slugOf(brand); got != want {
			t.Errorf("%q: %q, want %q", brand, got, want)
		}
	}
}

// Where no base_url is set, as in production, a new brand needs its own origin, and
// the flag for it is named.
func TestInitSaysWhatAnIssuerIsGivenBy(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	text, err := os.ReadFile(m.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.config, []byte(strings.Replace(string(text), "base_url: http://localhost:9999\n", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"init", "--brand", "Sage", "--kind", "web", "--redirect-uri", "https://sage.example.com/callback"}
	m.fails(exitFailed, "--issuer", m.at(args...)...)
	if got := m.here(append(args, "--issuer", "https://id.sage.example.com")...); !strings.Contains(got, "OIDC_ISSUER=https://id.sage.example.com") {
		t.Error(got)
	}
}
