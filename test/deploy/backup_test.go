package deploy_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Each way to run the server gives it places to write backups to, and the guide
// names those places.
func TestBackupsHaveAPlace(t *testing.T) {
	guide := read(t, "docs/production.md")
	unit := read(t, "deploy/cardea.service")
	state := regexp.MustCompile(`(?m)^StateDirectory=(.*)$`).FindStringSubmatch(unit)
	if state == nil || !strings.Contains(unit, "\nProtectSystem=strict\n") {
		t.Fatal("the unit is not as this test expects it")
	}
	for _, folder := range []string{"cardea-backup", "cardea-backup-keys"} {
		if !slices.Contains(strings.Fields(state[1]), folder) {
			t.Errorf("the unit may not write to /var/lib/%s", folder)
		}
		if !strings.Contains(guide, "/var/lib/"+folder+"/2026-11-22") {
			t.Errorf("the guide does not say that backups go to /var/lib/%s", folder)
		}
	}

	recipe := read(t, "deploy/Containerfile")
	var compose struct {
		Services map[string]struct {
			ReadOnly bool     `yaml:"read_only"`
			Volumes  []string `yaml:"volumes"`
		} `yaml:"services"`
		Volumes map[string]any `yaml:"volumes"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	helpers := read(t, "deploy/helm/cardea/templates/_helpers.tpl")
	for _, name := range []string{"backup", "backup-keys"} {
		if _, declared := compose.Volumes[name]; !declared || !slices.Contains(compose.Services["cardea"].Volumes, name+":/"+name) {
			t.Errorf("compose.yaml has no volume at /%s", name)
		}
		// A new volume takes the owner of what the image has there.
		if !regexp.MustCompile(`COPY [^\n]*--chown=65532:65532 --chmod=700 \S+ /` + name + `\n`).MatchString(recipe) {
			t.Errorf("the image's user does not own /%s", name)
		}
		if !strings.Contains(helpers, "{name: "+name+", mountPath: /"+name+"}") {
			t.Errorf("the chart's jobs have nothing at /%s", name)
		}
		if !strings.Contains(guide, " /"+name+"/2026-11-22") {
			t.Errorf("the guide does not name /%s", name)
		}
	}
}

// Secrets have a place in the unit that its passing user can read and others
// cannot.
func TestTheUnitIsHandedItsSecrets(t *testing.T) {
	unit := read(t, "deploy/cardea.service")
	for _, line := range []string{
		"DynamicUser=yes", "LoadCredential=cardea.yaml:/etc/cardea/cardea.yaml", "ExecStart=/usr/local/bin/cardea serve --config %d/cardea.yaml",
		"LoadCredential=root.key:/etc/cardea/root.key", "Environment=CARDEA_ROOT_KEY_FILE=%d/root.key",
	} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit has no line %s", line)
		}
	}
}

// Kubernetes' own variables for a Service named cardea would look like ours.
func TestPodsHaveNoServiceLinks(t *testing.T) {
	for _, file := range []string{"templates/deployment.yaml", "templates/_helpers.tpl"} {
		text := read(t, "deploy/helm/cardea/"+file)
		if pods := strings.Count(text, "automountServiceAccountToken: false"); pods == 0 || strings.Count(text, "enableServiceLinks: false") != pods {
			t.Errorf("%s has %d pods, and not each is without service links", file, pods)
		}
	}
}

// What env.example has one make for a password can stand in an address as it is.
func TestPasswordsOfTheExampleStandInAddresses(t *testing.T) {
	example := read(t, "deploy/env.example")
	before, _, found := strings.Cut(example, "\nDATABASE_PASSWORD=")
	lines := strings.Split(before, "\n")
	made := regexp.MustCompile(`openssl rand -hex \d+`).FindString(lines[len(lines)-1])
	if !found || made == "" {
		t.Fatalf("env.example does not say how a password is made that needs no encoding: %s", lines[len(lines)-1])
	}
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not on this machine")
	}
	out, err := exec.Command(openssl, strings.Fields(made)[1:]...).Output()
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{32,}\n$`).Match(out) {
		t.Errorf("%s makes %q, %v", made, out, err)
	}
}
