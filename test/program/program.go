// Package program runs the binary under test as an installation of its own:
// configuration and root key in a folder, on a free port of loopback, with
// commands over its socket. It can be killed and started again.
package program

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Options say what kind of installation it is.
type Options struct {
	Binary   string
	Folder   string // made if it is not there
	Database string // URL; "" for SQLite in the folder
	KeyStore string // URL; "" for SQLite in the folder
	RootKey  string // file; "" has one made in the folder
	MailPort int    // where mail is taken on loopback
	// Operators has the tenant of the operators made, at System.
	Operators bool
	// Settings go before the ones that an installation gets otherwise.
	Settings map[string]any
	Env      []string
	// Begin starts a process; nil for (*exec.Cmd).Start. It may say on which
	// processor it runs.
	Begin func(*exec.Cmd) error
}

// Program is one installation.
type Program struct {
	Options
	Origin string // http://127.0.0.1 and the port

	config  string
	process *exec.Cmd
	log     *os.File
	ended   chan error
}

// New makes the installation's folder, root key and configuration. It does not
// start it.
func New(ctx context.Context, o Options) (*Program, error) {
	if o.Begin == nil {
		o.Begin = (*exec.Cmd).Start
	}
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &Program{Options: o, Origin: fmt.Sprintf("http://127.0.0.1:%d", port), config: filepath.Join(o.Folder, "cardea.yaml")}
	if p.RootKey == "" {
		p.RootKey = filepath.Join(o.Folder, "root.key")
		if out, err := exec.CommandContext(ctx, o.Binary, "keys", "root", "generate", "--out", p.RootKey).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("make the root key: %w\n%s", err, out)
		}
	}
	settings := map[string]any{
		"listen": strings.TrimPrefix(p.Origin, "http://"), "base_url": p.Origin, "data_dir": o.Folder, "drain_delay": "0s",
		"root_key": map[string]any{"file": p.RootKey}, "log": map[string]any{"level": "warn", "format": "text"},
		// All load comes from one address: the limits count and refuse nobody.
		"rate_limit": map[string]any{"forms_per_second": 100_000, "forms_burst": 1_000_000, "failures_per_second": 100_000, "failures_burst": 1_000_000,
			"admin_per_second": 100_000, "admin_burst": 1_000_000},
		"smtp": map[string]any{"host": "127.0.0.1", "port": o.MailPort, "tls": "none", "from": "Cardea <no-reply@example.com>"},
	}
	if o.Database != "" {
		settings["database"] = map[string]any{"url": o.Database}
		settings["key_store"] = map[string]any{"url": o.KeyStore}
	}
	if o.Operators {
		settings["system_url"] = p.System()
	}
	maps.Copy(settings, o.Settings)
	text, err := json.Marshal(settings) // JSON is YAML
	if err != nil {
		return nil, err
	}
	return p, os.WriteFile(p.config, text, 0o600)
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return 0, err
	}
	address, _ := listener.Addr().(*net.TCPAddr)
	return address.Port, listener.Close()
}

// Configuration is the installation's file.
func (p *Program) Configuration() string { return p.config }

// System is the origin of the operators' tenant: another name of loopback, so
// that it is a host of its own.
func (p *Program) System() string { return strings.Replace(p.Origin, "127.0.0.1", "localhost", 1) }

// PID is the running process's.
func (p *Program) PID() int { return p.process.Process.Pid }

// startLimit is how long a start may take before it counts as failed.
const startLimit = 20 * time.Second

// Start starts the program and returns how long it took until it said that it
// was ready.
func (p *Program) Start(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	if err := p.Launch(ctx); err != nil {
		return 0, err
	}
	for {
		if p.answers(ctx) {
			return time.Since(began), nil
		}
		select {
		case err := <-p.ended:
			p.ended <- err
			return 0, fmt.Errorf("the program ended: %w\n%s", err, p.LogTail())
		case <-time.After(time.Millisecond):
		}
		if time.Since(began) > startLimit {
			return 0, fmt.Errorf("not ready after %s\n%s", startLimit, p.LogTail())
		}
	}
}

// Launch starts the program and does not wait for it.
func (p *Program) Launch(ctx context.Context) error {
	var err error
	p.log, err = os.OpenFile(filepath.Join(p.Folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	p.process = exec.CommandContext(ctx, p.Binary, "serve", "--config", p.config)
	p.process.Env = append(os.Environ(), p.Env...)
	p.process.Stdout, p.process.Stderr = p.log, p.log
	if err := p.Begin(p.process); err != nil {
		return errors.Join(err, p.log.Close())
	}
	p.ended = make(chan error, 1)
	go func(process *exec.Cmd, log *os.File, ended chan error) {
		err := process.Wait()
		if closing := log.Close(); err == nil {
			err = closing
		}
		ended <- err
	}(p.process, p.log, p.ended)
	return nil
}

// once is a client that keeps no connection to a program that may die.
var once = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

func (p *Program) answers(ctx context.Context) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Origin+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := once.Do(r)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}

// Kill ends the program as a power switch would, and waits until it has gone.
func (p *Program) Kill() error {
	if err := p.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	err := <-p.ended
	p.ended <- err
	var exit *exec.ExitError
	if err == nil || (errors.As(err, &exit) && exit.ExitCode() != -1) {
		return fmt.Errorf("the program ended by itself: %w\n%s", err, p.LogTail())
	}
	return nil
}

// Running tells whether the program was started and has not ended.
func (p *Program) Running() bool {
	return p.process != nil && len(p.ended) == 0
}

// Stop ends the program in order.
func (p *Program) Stop() error {
	if err := p.process.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-p.ended:
		p.ended <- err
		return err
	case <-time.After(startLimit):
		return errors.Join(errors.New("the program does not stop"), p.Kill())
	}
}

// LogTail is the end of what the program has logged.
func (p *Program) LogTail() string {
	text, err := os.ReadFile(filepath.Join(p.Folder, "log"))
	if err != nil {
		return err.Error()
	}
	const most = 4 << 10
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return string(text)
}

// Errors are the lines of the log that tell of errors.
func (p *Program) Errors() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(p.Folder, "log"))
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "panic") || strings.Contains(line, "DATA RACE") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines, nil
}

// Command runs a command against the running program and returns what it
// prints.
func (p *Program) Command(ctx context.Context, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, p.Binary, append(args, "--config", p.config)...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("cardea %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}
