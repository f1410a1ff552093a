package server

import (
	"github.com/cardea-id/cardea/internal/pages"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/tenant"
)

// checkBrand asks those who draw a brand's pages and write its messages.
func (s *Server) checkBrand(views *view.Views, t *tenant.Tenant) error {
	return pages.CheckBrand(views, t)
}
