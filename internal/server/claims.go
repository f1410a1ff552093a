package server

import (
	"context"

	"github.com/cardea-id/cardea/internal/adminapi"
	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/tenant"
)

// PreviewClaims shows operators what an application would get of a customer.
func (s *Server) PreviewClaims(ctx context.Context, t *tenant.Tenant, app *application.Application, who *customer.Customer, scopes []string, resource string, mappings []claim.Mapping) (*adminapi.ClaimPreview, error) {
	p, err := s.OAuth.PreviewClaims(ctx, t, app, who, scopes, resource, mappings)
	if err != nil {
		return nil, err
	}
	preview := &adminapi.ClaimPreview{Scopes: p.Scopes, IDToken: p.IDToken, AccessToken: p.AccessToken, UserInfo: p.UserInfo, Dropped: []adminapi.DroppedClaim{}}
	for _, d := range p.Dropped {
		preview.Dropped = append(preview.Dropped, adminapi.DroppedClaim(d))
	}
	return preview, nil
}
