package notify

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// server is a mail server that keeps what it is given.
type server struct {
	mu       sync.Mutex
	sessions int
	letters  []letter
	rcpt     func(to string) error
	data     func() error
	user     string // where set, needed
}

type letter struct {
	from string
	to   []string
	raw  []byte
}

func (s *server) NewSession(*smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
	return &session{server: s, authenticated: s.user == ""}, nil
}

func (s *server) got() []letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.letters)
}

type session struct {
	server        *server
	authenticated bool
	letter        letter
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != s.server.user || password != "hunter2" {
			return smtp.ErrAuthFailed
		}
		s.authenticated = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if !s.authenticated {
		return smtp.ErrAuthRequired
	}
	s.letter.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.server.rcpt != nil {
		if err := s.server.rcpt(to); err != nil {
			return err
		}
	}
	s.letter.to = append(s.letter.to, to)
	return nil
}

func (s *session) Data(r io.Reader) (err error) {
	if s.letter.raw, err = io.ReadAll(r); err != nil {
		return err
	}
	if s.server.data != nil {
		if err := s.server.data(); err != nil {
			return err
		}
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.letters = append(s.server.letters, s.letter)
	return nil
}

func (s *session) Reset()        { s.letter = letter{} }
func (s *session) Logout() error { return nil }

// start starts the server and returns options to reach it.
func (s *server) start(t *testing.T, policy TLSPolicy) (SMTPOptions, func()) {
	t.Helper()
	certificate, roots := selfSigned(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	serving := smtp.NewServer(s)
	serving.Domain, serving.EnableSMTPUTF8, serving.AllowInsecureAuth = "mail.example", true, false
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	switch policy {
	case StartTLS:
		serving.TLSConfig = config
	case ImplicitTLS:
		listener = tls.NewListener(listener, config)
	case NoTLS:
	}
	go func() { _ = serving.Serve(listener) }()
	stop := func() { _ = serving.Close() }
	t.Cleanup(stop)
	return SMTPOptions{
		Host: "127.0.0.1", Port: port, TLS: policy, Timeout: 5 * time.Second,
		TLSConfig: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12},
	}, stop
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func newSMTP(t *testing.T, o SMTPOptions) *SMTP {
	t.Helper()
	s, err := NewSMTP(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func codeMail(t *testing.T, to string, brand Brand) Mail {
	t.Helper()
	m, err := newWords(t).render(Code, "en", brand, Data{Code: "123456", ValidFor: 10 * time.Minute, Application: "Shop", At: noon})
	if err != nil {
		t.Fatal(err)
	}
	m.ID, m.Tenant, m.To, m.At = "msg_1", tenantA, to, noon
	return m
}

func TestMailAsItArrives(t *testing.T) {
	for _, policy := range []TLSPolicy{StartTLS, ImplicitTLS, NoTLS} {
		t.Run(string(policy), func(t *testing.T) {
			server := &server{}
			if policy != NoTLS {
				server.user = "cardea"
			}
			o, _ := server.start(t, policy)
			if policy != NoTLS {
				o.Username, o.Password = "cardea", "hunter2"
			}
			transport := newSMTP(t, o)
			for range 3 {
				if err := transport.Send(t.Context(), codeMail(t, "ana@example.com", olive)); err != nil {
					t.Fatal(err)
				}
			}
			if server.sessions > 2 { // STARTTLS begins a second one
				t.Errorf("%d sessions for three messages: connections are not kept", server.sessions)
			}
			got := server.got()[0]
			if got.from != olive.From || !slices.Equal(got.to, []string{"ana@example.com"}) {
				t.Errorf("from %q to %q", got.from, got.to)
			}
			reader, err := mail.CreateReader(bytes.NewReader(got.raw))
			if err != nil {
				t.Fatal(err)
			}
			h := reader.Header
			if subject, _ := h.Subject(); subject != "123 456 is your Olive & Thyme code" {
				t.Errorf("subject %q", subject)
			}
			if from, _ := h.AddressList("From"); len(from) != 1 || from[0].Name != olive.Name || from[0].Address != olive.From {
				t.Errorf("from %v", from)
			}
			if to, _ := h.AddressList("To"); len(to) != 1 || to[0].Address != "ana@example.com" || to[0].Name != "" {
				t.Errorf("to %v", to)
			}
			if reply, _ := h.AddressList("Reply-To"); len(reply) != 1 || reply[0].Address != olive.ReplyTo {
				t.Errorf("reply to %v", reply)
			}
			if at, err := h.Date(); err != nil || !at.Equal(noon) {
				t.Errorf("date %v, %v", at, err)
			}
			if message, _ := h.MessageID(); message != "msg_1@olive.example" {
				t.Errorf("message id %q", message)
			}
			if h.Get("Auto-Submitted") != "auto-generated" || h.Has("Bcc") || h.Has("Cc") || h.Has("X-Mailer") || h.Has("User-Agent") {
				t.Errorf("headers: %s", got.raw[:600])
			}
			var kinds []string
			for {
				part, err := reader.NextPart()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				kind, _, _ := part.Header.(*mail.InlineHeader).ContentType()
				kinds = append(kinds, kind)
				body, _ := io.ReadAll(part.Body)
				if !strings.Contains(string(body), "123 456") || strings.Contains(string(body), "<img") || strings.Contains(string(body), "src=") {
					t.Errorf("%s: %s", kind, body)
				}
			}
			if !slices.Equal(kinds, []string{"text/plain", "text/html"}) {
				t.Errorf("parts %q", kinds)
			}
		})
	}
}

// SECURITY N1 and F12, on the wire: one recipient, no header of anybody else's.
func TestNothingIsInjected(t *testing.T) {
	server := &server{}
	o, _ := server.start(t, NoTLS)
	transport := newSMTP(t, o)
	evil := []string{
		"Shop\r\nBcc: v@corp.example", "Shop\nTo: v@corp.example\n\nbody", `Shop" <v@corp.example>, "`, "Shop\r\n.\r\nMAIL FROM:<x@evil.example>",
		`{{.Code}}`, `<a href="https://evil.example">`, "Shop\u2028Bcc: v@corp.example", "=?utf-8?q?Bcc:_v@corp.example?=", "Größe & Kö",
	}
	for _, name := range evil {
		brand := olive
		brand.Name, brand.FromName = name, name
		m := codeMail(t, "ana@example.com", brand)
		if err := transport.Send(t.Context(), m); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		m.Subject, m.FromName = name, name // even if the words had let it through
		if err := transport.Send(t.Context(), m); err != nil {
			var permanent *PermanentError
			if !errors.As(err, &permanent) {
				t.Fatalf("%q: %v", name, err)
			}
		}
	}
	for _, got := range server.got() {
		if !slices.Equal(got.to, []string{"ana@example.com"}) || got.from != olive.From {
			t.Errorf("from %q to %q", got.from, got.to)
		}
		reader, err := mail.CreateReader(bytes.NewReader(got.raw))
		if err != nil {
			t.Fatal(err)
		}
		if to, err := reader.Header.AddressList("To"); err != nil || len(to) != 1 || to[0].Address != "ana@example.com" {
			t.Errorf("to %v, %v", to, err)
		}
		if from, err := reader.Header.AddressList("From"); err != nil || len(from) != 1 || from[0].Address != olive.From {
			t.Errorf("from %v, %v", from, err)
		}
		for fields := reader.Header.Fields(); fields.Next(); {
			if name := strings.ToLower(fields.Key()); name == "bcc" || name == "cc" {
				t.Errorf("header %s: %s", fields.Key(), fields.Value())
			}
		}
	}
	before := len(server.got())
	for _, to := range []string{"ana@example.com,v@corp.example", "a@evil@corp.example", "ana@example.com\r\nRCPT TO:<v@corp.example>"} {
		var permanent *PermanentError
		if err := transport.Send(t.Context(), codeMail(t, to, olive)); !errors.As(err, &permanent) {
			t.Errorf("%q: %v", to, err)
		}
	}
	if len(server.got()) != before {
		t.Error("a bad address was written to")
	}
}

func TestServerAnswers(t *testing.T) {
	server := &server{}
	o, stop := server.start(t, NoTLS)
	transport := newSMTP(t, o)
	send := func() error { return transport.Send(t.Context(), codeMail(t, "ana@example.com", olive)) }
	var permanent *PermanentError

	server.rcpt = func(to string) error { return &smtp.SMTPError{Code: 550, Message: "no such user " + to} }
	if err := send(); !errors.As(err, &permanent) || permanent.Reason != "smtp_550" {
		t.Errorf("unknown user: %v", err)
	}
	server.rcpt = func(to string) error { return &smtp.SMTPError{Code: 451, Message: "greylisted " + to} }
	if err := send(); err == nil || errors.As(err, &permanent) && permanent == nil || reasonOf(err) != "smtp_451" {
		t.Errorf("greylisted: %v", err)
	}
	server.rcpt = nil
	if err := send(); err != nil {
		t.Errorf("after refusals: %v", err)
	}
	server.data = func() error { return &smtp.SMTPError{Code: 554, Message: "spam"} }
	if err := send(); !errors.As(err, &permanent) || permanent.Reason != "smtp_554" {
		t.Errorf("refused content: %v", err)
	}
	server.data = nil
	stop()
	if err := send(); err == nil || reasonOf(err) != "connection" {
		t.Errorf("server gone: %v", err)
	}
}

// A connection that the server closed while it was kept is replaced.
func TestStaleConnectionIsReplaced(t *testing.T) {
	server := &server{}
	o, _ := server.start(t, NoTLS)
	transport := newSMTP(t, o)
	for i := range 3 {
		if err := transport.Send(t.Context(), codeMail(t, "ana@example.com", olive)); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		for _, c := range transport.idle {
			_ = c.raw.Close()
		}
	}
	if got := len(server.got()); got != 3 {
		t.Errorf("%d arrived", got)
	}
}

func TestSilentServerIsLeft(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	transport := newSMTP(t, SMTPOptions{Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, TLS: NoTLS})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	started := time.Now()
	err = transport.Send(ctx, codeMail(t, "ana@example.com", olive))
	if err == nil || time.Since(started) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(started), err)
	}
}

func TestTLSIsKept(t *testing.T) {
	plain := &server{}
	o, _ := plain.start(t, NoTLS)
	o.TLS = StartTLS
	if err := newSMTP(t, o).Send(t.Context(), codeMail(t, "ana@example.com", olive)); err == nil || reasonOf(err) != "tls" {
		t.Errorf("a server without STARTTLS was used: %v", err)
	}
	for _, policy := range []TLSPolicy{StartTLS, ImplicitTLS} {
		server := &server{}
		o, _ := server.start(t, policy)
		_, o.TLSConfig.RootCAs = selfSigned(t)
		if err := newSMTP(t, o).Send(t.Context(), codeMail(t, "ana@example.com", olive)); err == nil || reasonOf(err) != "tls" {
			t.Errorf("%s: a certificate of somebody else was taken: %v", policy, err)
		}
	}
	for _, bad := range []SMTPOptions{
		{}, {Host: "mail.example", Port: 25}, {Host: "mail.example", Port: 25, TLS: "opportunistic"}, {Host: "mail.example", Port: 0, TLS: StartTLS},
		{Host: "mail.example", Port: 25, TLS: NoTLS, Username: "a", Password: "b"},
	} {
		if _, err := NewSMTP(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// A probe meets what a message would meet, and leaves no message.
func TestProbe(t *testing.T) {
	for _, policy := range []TLSPolicy{StartTLS, ImplicitTLS, NoTLS} {
		server := &server{}
		if policy != NoTLS {
			server.user = "cardea"
		}
		o, stop := server.start(t, policy)
		if policy != NoTLS {
			o.Username, o.Password = "cardea", "hunter2"
		}
		if reason, err := newSMTP(t, o).Probe(t.Context()); err != nil || reason != "" {
			t.Errorf("%s: %q, %v", policy, reason, err)
		}
		if policy != NoTLS {
			wrong := o
			wrong.Password = "wrong"
			if reason, err := newSMTP(t, wrong).Probe(t.Context()); err == nil || reason == "" {
				t.Errorf("%s: a wrong password is right: %q", policy, reason)
			}
			wrong = o
			wrong.TLSConfig = nil
			if reason, err := newSMTP(t, wrong).Probe(t.Context()); err == nil || reason != "tls" {
				t.Errorf("%s: a certificate of nobody's: %q, %v", policy, reason, err)
			}
		}
		if len(server.got()) != 0 {
			t.Errorf("%s: a message was sent", policy)
		}
		stop()
		if reason, err := newSMTP(t, o).Probe(t.Context()); err == nil || reason != "connection" {
			t.Errorf("%s: a server that has gone: %q, %v", policy, reason, err)
		}
	}
}
