package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// holdMember holds a customer for organizations, and tells whether he may be
// given something.
func (s *Server) holdMember(tx *sqldb.Tx, t id.Tenant, c id.Customer) (bool, error) {
	state, err := s.Directory.Hold(tx, t, c)
	if errors.Is(err, customer.ErrNotFound) {
		return false, nil
	}
	return err == nil && state.Status != customer.Erased, err
}

// nameOf is what a customer is called by those whom he invites.
func (s *Server) nameOf(ctx context.Context, t id.Tenant, c id.Customer) (string, error) {
	who, err := s.Directory.Get(ctx, t, c)
	if errors.Is(err, customer.ErrNotFound) || errors.Is(err, customer.ErrErased) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read who invites: %w", err)
	}
	name, _ := who.Claims([]string{"profile"})["name"].(string)
	return strings.TrimSpace(name), nil
}

// mailInvitation sends the letter of an invitation. Its address is the tenant's
// own, whatever the request said that it came to.
func (s *Server) mailInvitation(tx *sqldb.Tx, l organization.Letter) error {
	return s.Outbox.Enqueue(tx, notify.Message{
		Tenant: l.Tenant.ID, Brand: l.Tenant.Brand.ID, Key: l.Key, Handle: l.Handle, To: l.To, Template: notify.JoinOrganization, Lang: l.Language,
		Data:    notify.Data{Organization: l.Organization, Inviter: l.Inviter, Link: l.Tenant.URL("/join") + "?link=" + l.Link, Until: l.Expires},
		Expires: l.Expires,
	})
}
