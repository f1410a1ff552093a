package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/cardea-id/cardea/internal/clock"
)

// TLSPolicy says how the connection to the mail server is protected.
type TLSPolicy string

// The policies. There is none that tries TLS and goes on without: whoever is in
// between would see to it that it fails.
const (
	StartTLS    TLSPolicy = "starttls" // port 587 or 25; refused where the server does not offer it
	ImplicitTLS TLSPolicy = "tls"      // port 465
	NoTLS       TLSPolicy = "none"     // in the open; never with a password
)

// SMTPOptions say which server takes the mail.
type SMTPOptions struct {
	Host     string
	Port     int
	TLS      TLSPolicy // must be stated
	Username string    // "" for no authentication
	Password string
	Hello    string        // name of this host, for EHLO; "" takes the system's
	Timeout  time.Duration // for one message; 0 means 30 s
	Idle     time.Duration // how long a connection is kept for the next; 0 means 30 s
	MaxIdle  int           // how many are kept; 0 means 4
	// TLSConfig replaces the default: TLS 1.2 at least, the system's roots.
	TLSConfig *tls.Config
	// Clock tells how old a kept connection is; nil means the machine's.
	Clock clock.Clock
}

// SMTP is the transport to a mail server. It keeps connections for the next
// message. It is safe for concurrent use.
type SMTP struct {
	o SMTPOptions

	mu   sync.Mutex
	idle []*connection
}

// connection has its own mail.Client, since that one holds how to dial.
type connection struct {
	raw    net.Conn
	client *mail.Client
	smtp   *smtp.Client
	used   time.Time
}

// NewSMTP makes the transport. It does not connect.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	if o.Host == "" || o.Port < 1 || o.Port > 65535 {
		return nil, errors.New("smtp: host and port must be set")
	}
	switch o.TLS {
	case StartTLS, ImplicitTLS:
	case NoTLS:
		if o.Username != "" {
			return nil, errors.New("smtp: a password must not be sent without TLS: set tls to starttls or tls")
		}
	default:
		return nil, fmt.Errorf("smtp: tls is %q, but must be starttls, tls or none", o.TLS)
	}
	if o.TLSConfig == nil {
		o.TLSConfig = &tls.Config{ServerName: o.Host, MinVersion: tls.VersionTLS12}
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Idle <= 0 {
		o.Idle = 30 * time.Second
	}
	if o.MaxIdle <= 0 {
		o.MaxIdle = 4
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Hello == "" {
		o.Hello, _ = os.Hostname()
	}
	if o.Hello == "" {
		o.Hello = "localhost"
	}
	return &SMTP{o: o}, nil
}

// Send hands the message to the server.
func (s *SMTP) Send(ctx context.Context, m Mail) error {
	message, err := compose(m)
	if err != nil {
		return &PermanentError{Reason: reasonUnreadable}
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	for {
		c, kept, err := s.connect(ctx)
		if err != nil {
			return &reasonError{reason: connectReason(err), err: err}
		}
		err = c.send(ctx, message)
		if err == nil || message.IsDelivered() { // it was taken over, whatever came after
			if err == nil {
				s.keep(c)
			} else {
				c.close()
			}
			return nil
		}
		var failed *mail.SendError
		isSend := errors.As(err, &failed)
		if kept && isSend && failed.Reason == mail.ErrConnCheck && ctx.Err() == nil {
			c.close() // the server closed it meanwhile; nothing was said yet
			continue
		}
		code := 0
		if isSend {
			code = failed.ErrorCode()
		}
		if code != 0 && ctx.Err() == nil {
			s.keep(c) // the server is well, it did not like the message; it was reset
		} else {
			c.close()
		}
		reason := "connection"
		if ctx.Err() != nil {
			reason = "timeout"
		} else if code != 0 {
			reason = "smtp_" + strconv.Itoa(code)
		}
		if code >= 500 && code < 600 {
			return &PermanentError{Reason: reason}
		}
		return &reasonError{reason: reason, err: err}
	}
}

// send is abandoned when the context ends.
func (c *connection) send(ctx context.Context, message *mail.Msg) error {
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() }) // unblocks whatever reads or writes
	defer stop()
	return c.client.SendWithSMTPClient(c.smtp, message)
}

// close ends the connection at once. That the server may still be told goodbye
// is a courtesy not worth waiting for.
func (c *connection) close() { _ = c.raw.Close() }

// connect returns a kept connection, or a new one.
func (s *SMTP) connect(ctx context.Context) (c *connection, kept bool, err error) {
	s.mu.Lock()
	for len(s.idle) > 0 {
		last := len(s.idle) - 1
		c, s.idle = s.idle[last], s.idle[:last]
		if s.o.Clock.Now().Sub(c.used) < s.o.Idle {
			s.mu.Unlock()
			return c, true, nil
		}
		c.close()
	}
	s.mu.Unlock()
	c = &connection{}
	stop := func() bool { return true }
	options := []mail.Option{
		mail.WithPort(s.o.Port), mail.WithTimeout(s.o.Timeout), mail.WithHELO(s.o.Hello), mail.WithTLSConfig(s.o.TLSConfig),
		mail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
			raw, err := s.dial(dialing, network, address)
			if err == nil { // the context does not reach what the library says after it dialled
				c.raw, stop = raw, context.AfterFunc(ctx, func() { _ = raw.Close() })
			}
			return raw, err
		}),
	}
	switch s.o.TLS {
	case StartTLS:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	case ImplicitTLS: // dialled by us; this has the library notice that it is encrypted
		options = append(options, mail.WithTLSPolicy(mail.TLSOpportunistic))
	case NoTLS:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	}
	if s.o.Username != "" {
		options = append(options, mail.WithUsername(s.o.Username), mail.WithPassword(s.o.Password), mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover))
	}
	if c.client, err = mail.NewClient(s.o.Host, options...); err != nil {
		return nil, false, err
	}
	c.smtp, err = c.client.DialToSMTPClientWithContext(ctx)
	stop()
	if err != nil {
		if c.raw != nil {
			c.close()
		}
		return nil, false, err
	}
	return c, false, nil
}

func (s *SMTP) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if s.o.TLS == ImplicitTLS {
		return (&tls.Dialer{NetDialer: dialer, Config: s.o.TLSConfig}).DialContext(ctx, network, address)
	}
	return dialer.DialContext(ctx, network, address)
}

func (s *SMTP) keep(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) >= s.o.MaxIdle {
		c.close()
		return
	}
	c.used = s.o.Clock.Now()
	s.idle = append(s.idle, c)
}

// Close closes the connections that are kept.
func (s *SMTP) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.idle {
		c.close()
	}
	s.idle = nil
	return nil
}

// reasonError is a passing failure, with a reason without anything personal.
type reasonError struct {
	reason string
	err    error
}

func (e *reasonError) Error() string { return e.reason + ": " + e.err.Error() }
func (e *reasonError) Unwrap() error { return e.err }

// reasonOf is a failure's reason as it may be stored and logged: server's
// answers often repeat the address.
func reasonOf(err error) string {
	var known *reasonError
	switch {
	case errors.As(err, &known):
		return known.reason
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	}
	return "unavailable"
}

func connectReason(err error) string {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &certificate), strings.Contains(err.Error(), "STARTTLS"):
		return "tls"
	}
	return "connection"
}
