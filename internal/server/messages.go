package server

import (
	"context"
	"fmt"

	"github.com/cardea-id/cardea/internal/notify"
)

// openOutbox chooses how messages leave: into the inbox in development, else
// by a provider's HTTP API or by SMTP, and text messages by a provider's HTTP
// API; else not at all, which every message then says when it is given up.
func (s *Server) openOutbox() error {
	var err error
	var transport notify.Transport
	var texts notify.TextTransport
	switch {
	case s.Development:
		s.Inbox = notify.NewInbox(s.DB)
		transport, texts = s.Inbox, s.Inbox
	default:
		if transport, err = s.mailTransport(); err != nil {
			return err
		}
		if texts, err = s.textTransport(); err != nil {
			return err
		}
	}
	s.Outbox, err = notify.New(notify.Options{DB: s.DB, Ring: s.Ring, Brands: s.mailBrand, Transport: transport, Texts: texts, Words: s.Words,
		Random: s.Random, Logger: s.Logger})
	return err
}

func (s *Server) mailTransport() (notify.Transport, error) {
	if m := s.Config.Mail; m.Preset != "" {
		transport, err := notify.NewMailHTTP(notify.MailHTTPOptions{Client: s.Asking, Clock: s.Clock, Provider: m.Preset, Secret: m.Secret.Reveal(),
			KeyID: m.KeyID, Region: m.Region, Domain: m.Domain, Stream: m.Stream, Endpoint: m.Endpoint})
		if err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
		return transport, nil
	}
	smtp := s.Config.SMTP
	if smtp.Host == "" {
		return unconfigured{}, nil
	}
	transport, err := notify.NewSMTP(notify.SMTPOptions{Host: smtp.Host, Port: smtp.Port, TLS: notify.TLSPolicy(smtp.TLS),
		Username: smtp.User, Password: smtp.Password.Reveal()})
	if err != nil {
		return nil, fmt.Errorf("smtp: %w", err)
	}
	return transport, nil
}

func (s *Server) textTransport() (notify.TextTransport, error) {
	c := s.Config.SMS
	if c.Preset == "" {
		return nil, nil //nolint:nilnil // an outbox without one gives text messages up
	}
	o, known := notify.TextPreset(c.Preset)
	if !known {
		o = notify.TextHTTPOptions{URL: c.URL, Method: c.Method, Headers: c.Headers, Form: c.Format == "form", Body: c.Body}
	}
	o.Client, o.Account, o.Secret = s.Asking, c.Account, c.Secret.Reveal()
	if err := notify.CheckSender(c.Sender); err != nil {
		return nil, fmt.Errorf("sms.sender: %w", err)
	}
	return notify.NewTextHTTP(o)
}

// unconfigured refuses messages of an installation that cannot send any.
type unconfigured struct{}

func (unconfigured) Send(context.Context, notify.Mail) error {
	return &notify.PermanentError{Reason: "neither smtp.host nor mail.preset is set"}
}
