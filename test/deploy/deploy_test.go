// Package deploy_test looks after what stands in deploy/: that the program
// runs where there is nothing but itself, as in its image, and that the files
// say what the program understands.
package deploy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"debug/elf"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const root = "../.."

// The image holds the program alone: built as the recipe says it needs no
// library, no shell, no Go and no Node, and runs without a root file system
// that it could write to.
func TestTheProgramRunsWithNothingBesideIt(t *testing.T) {
	recipe := read(t, "deploy/Containerfile")
	build := regexp.MustCompile(`RUN (CGO_ENABLED=0 go build [^&]*?) -o /out/cardea (\./cmd/cardea)`).FindStringSubmatch(recipe)
	if build == nil {
		t.Fatal("deploy/Containerfile does not build the program as this test expects it to")
	}
	bare := t.TempDir()
	binary := filepath.Join(bare, "cardea")
	command := exec.Command("sh", "-c", build[1]+" -o "+binary+" "+build[2])
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if runtime.GOOS != "linux" {
		t.Skip("what the program is linked with and how it runs alone is looked at on Linux")
	}
	program, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 || program.Section(".interp") != nil {
		t.Fatalf("the program needs %v (%v)", libraries, err)
	}
	if os.Getuid() != 0 {
		t.Skip("only root can lock a program into a folder")
	}
	data := filepath.Join(bare, "var", "lib", "cardea")
	if err := os.MkdirAll(data, 0o755); err != nil { // its parents can be entered by whoever runs it
		t.Fatal(err)
	}
	const user = 65532 // as in the image
	if err := os.Chown(data, user, user); err != nil {
		t.Fatal(err)
	}
	for folder := bare; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		_ = os.Chmod(folder, 0o755) // the folder of a test is its owner's alone
	}
	var key [32]byte
	_, _ = rand.Read(key[:])
	address := freeAddress(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	alone := exec.CommandContext(ctx, "/cardea", "serve")
	alone.SysProcAttr = &syscall.SysProcAttr{Chroot: bare, Credential: &syscall.Credential{Uid: user, Gid: user}}
	alone.Dir = "/"
	alone.Env = []string{"CARDEA_LISTEN=" + address, "CARDEA_ROOT_KEY_VALUE=" + base64.StdEncoding.EncodeToString(key[:]),
		"CARDEA_SYSTEM_URL=https://operators.example.com"}
	var log bytes.Buffer
	alone.Stdout, alone.Stderr = &log, &log
	if err := alone.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- alone.Wait() }()
	for ready := false; !ready; {
		select {
		case err := <-ended:
			t.Fatalf("the program ended: %v\n%s", err, log.String())
		case <-time.After(50 * time.Millisecond):
		}
		if answer, err := http.Get("http://" + address + "/readyz"); err == nil {
			ready = answer.StatusCode == http.StatusOK
			_ = answer.Body.Close()
		}
	}
	if err := alone.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the program did not stop as asked: %v\n%s", err, log.String())
	}
}

// Every variable and key that the files in deploy/ set is one that the
// program knows: it refuses to start on others.
func TestTheFilesSetWhatTheProgramKnows(t *testing.T) {
	reference := exec.Command("go", "run", "./cmd/cardea", "config", "reference")
	reference.Dir = root
	known, err := reference.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"deploy/compose.yaml", "deploy/cardea.service", "deploy/env.example", "deploy/helm/cardea/values.yaml"} {
		text := read(t, file)
		for _, name := range regexp.MustCompile(`CARDEA_[A-Z_]+[A-Z]`).FindAllString(text, -1) {
			if !strings.Contains(string(known), name) {
				t.Errorf("%s sets %s, which the program does not know", file, name)
			}
		}
	}
	var values struct {
		Config map[string]any `yaml:"config"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/helm/cardea/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	if len(values.Config) == 0 {
		t.Fatal("the chart has no configuration")
	}
	for key := range values.Config {
		if !regexp.MustCompile(`(?m)^#? ?` + key + `:`).Match(known) {
			t.Errorf("the chart sets %s, which the program does not know", key)
		}
	}
	var services any
	if err := yaml.Unmarshal([]byte(read(t, "deploy/compose.yaml")), &services); err != nil {
		t.Error(err)
	}
}

// systemd takes the unit as it is.
func TestSystemdTakesTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not on this machine")
	}
	unit := strings.Replace(read(t, "deploy/cardea.service"), "ExecStart=/usr/local/bin/cardea ", "ExecStart=/bin/true ", 1)
	file := filepath.Join(t.TempDir(), "cardea.service")
	if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port)
}
