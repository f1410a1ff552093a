package server

import (
	"context"
	"errors"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// adopted tells, as part of tx, that another key store was taken.
func (s *Server) adopted(tx *sqldb.Tx) error {
	return s.Log.Append(tx, event.Event{Tenant: id.SystemTenant, Type: "installation.keystore.adopted", Actor: operatorActor})
}

// NoteRestore tells that a backup was put back. The restore ends after it, and
// one that was interrupted can only be run again.
func (s *Server) NoteRestore(ctx context.Context) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		return s.Log.Append(tx, event.Event{Tenant: id.SystemTenant, Type: "installation.restored", Actor: operatorActor})
	})
}

// BackedUp is the type of the event that tells of a backup.
const BackedUp = "installation.backed_up"

// NoteBackup tells that a backup was made.
func (s *Server) NoteBackup(ctx context.Context, name string) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		return s.Log.Append(tx, event.Event{Tenant: id.SystemTenant, Type: BackedUp, Actor: operatorActor, Data: map[string]string{"backup": name}})
	})
}

// operatorActor is who may run the commands of this machine.
const operatorActor = "operator"

// ensureSystemTenant makes the built-in tenant whose customers are the
// operators, unless it is there. It has an origin of its own. Nobody signs up
// to it: operators are made by operators.
func (s *Server) ensureSystemTenant(ctx context.Context, origin string) error {
	there, err := s.Tenants.ByID(ctx, id.SystemTenant)
	if err == nil && there.Issuer != origin {
		s.Logger.WarnContext(ctx, "system_url is not where the operators are: it was set otherwise at the first start, and cannot be changed", "system_url", origin, "operators", there.Issuer)
	}
	if !errors.Is(err, tenant.ErrNotFound) {
		return err
	}
	settings := tenant.Defaults()
	settings.SignUp.Enabled, settings.SignUp.PasswordRequired = false, true
	settings.Session.OfferStay = false
	_, err = s.Tenants.Create(ctx, tenant.New{ID: id.SystemTenant, Slug: "system", Name: "Cardea", Issuer: origin, Settings: settings, Actor: "system"})
	if errors.Is(err, tenant.ErrTaken) { // another node was faster
		return nil
	}
	return err
}
