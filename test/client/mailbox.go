package client

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Mailbox is a mail server that takes every message and remembers the codes in
// them. It outlives the program under test.
type Mailbox struct {
	server *smtp.Server
	port   int

	mu      sync.Mutex
	codes   map[string][]string // by address, in the order of their arrival
	arrived chan struct{}       // closed and made anew with each message
}

// NewMailbox listens on a free port of loopback.
func NewMailbox() (*Mailbox, error) {
	m := &Mailbox{codes: map[string][]string{}, arrived: make(chan struct{})}
	m.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{mailbox: m}, nil }))
	m.server.Domain = "localhost"
	m.server.ErrorLog = log.New(io.Discard, "", 0)    // of connections that a killed program leaves
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it lives as long as the mailbox
	if err != nil {
		return nil, fmt.Errorf("the mailbox: %w", err)
	}
	address, _ := listener.Addr().(*net.TCPAddr)
	m.port = address.Port
	go func() { _ = m.server.Serve(listener) }() // ends with Close
	return m, nil
}

// Port is where mail is taken.
func (m *Mailbox) Port() int { return m.port }

// Close stops taking mail.
func (m *Mailbox) Close() error { return m.server.Close() }

// codeWait is how long a code may be on its way. A message that was under way
// when the program was killed is sent again once its lease is over.
const codeWait = 20 * time.Second

// Code waits for a code to an address that was not tried yet. A message may
// arrive twice, and a late one after a newer one.
func (m *Mailbox) Code(ctx context.Context, address string, tried []string) (string, error) {
	deadline := time.NewTimer(codeWait)
	defer deadline.Stop()
	for {
		m.mu.Lock()
		arrived := m.arrived
		for _, code := range slices.Backward(m.codes[address]) {
			if !slices.Contains(tried, code) {
				m.mu.Unlock()
				return code, nil
			}
		}
		m.mu.Unlock()
		select {
		case <-arrived:
		case <-deadline.C:
			return "", fmt.Errorf("no code came for %s within %s", address, codeWait)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// Forget drops the codes that an address has got so far.
func (m *Mailbox) Forget(address string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.codes, address)
}

// delivery is one connection of the program under test.
type delivery struct {
	mailbox *Mailbox
	to      []string
}

func (d *delivery) Mail(string, *smtp.MailOptions) error { return nil }

func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = append(d.to, strings.ToLower(to))
	return nil
}

var codeInSubject = regexp.MustCompile(`(?m)^Subject: ([0-9]{3}) ?([0-9]{3})\b`)

func (d *delivery) Data(body io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(body, maxBody))
	if err != nil {
		return err
	}
	found := codeInSubject.FindSubmatch(text)
	if found == nil {
		return nil
	}
	m := d.mailbox
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, to := range d.to {
		m.codes[to] = append(m.codes[to], string(found[1])+string(found[2]))
	}
	close(m.arrived)
	m.arrived = make(chan struct{})
	return nil
}

func (d *delivery) Reset()        { d.to = nil }
func (d *delivery) Logout() error { return nil }
