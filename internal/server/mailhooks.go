package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/mailhook"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// mailHooks takes what providers of mail tell of bounces and complaints.
func (s *Server) mailHooks() (http.Handler, error) {
	m := s.Config.Mail
	return mailhook.New(mailhook.Options{Provider: m.Preset, Secret: m.HookSecret.Reveal(), Topic: m.HookTopic, Client: s.Asking,
		Clock: s.Clock, Logger: s.Logger, Report: s.reported})
}

// reported notes that messages to an address come back, where a customer of the
// tenant has proved it. Else there is nothing to be noted.
func (s *Server) reported(ctx context.Context, r mailhook.Report) error {
	t, err := s.reportedTenant(ctx, r.Tenant)
	if errors.Is(err, tenant.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := identifier.Normalise(identifier.Email, r.Address, identifier.Options{})
	if err != nil {
		return nil //nolint:nilerr // it is nobody's address
	}
	keys, err := s.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return err
	}
	who, found, err := s.Directory.Find(ctx, t.ID, keys, n)
	if err != nil || !found {
		return err
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := s.Directory.MarkUndeliverable(tx, keys, t.ID, who, n, r.Reason, r.At, "system")
		return err
	})
	if errors.Is(err, customer.ErrErased) || errors.Is(err, customer.ErrNotFound) {
		return nil // he has gone since
	}
	return err
}

// reportedTenant finds a tenant by its id, or by its name in addresses.
func (s *Server) reportedTenant(ctx context.Context, named string) (*tenant.Tenant, error) {
	if t, err := id.Parse[id.Tenant](named); err == nil {
		return s.Tenants.ByID(ctx, t)
	}
	return s.Tenants.BySlug(ctx, named)
}
