package server

import (
	"context"
	"log/slog"

	"github.com/cardea-id/cardea/internal/id"
)

const (
	// warnedTenants is how many tenants a start names at most.
	warnedTenants = 100
	// tenantsAtOnce is how many are read together.
	tenantsAtOnce = 200
)

// warnOfTenants logs of each tenant what its settings allow and is yet worth a
// second look, as a start does for the configuration.
func (s *Server) warnOfTenants(ctx context.Context) error {
	warned := 0
	for after := id.Tenant(""); ; {
		page, err := s.Tenants.List(ctx, after, tenantsAtOnce)
		if err != nil {
			return err
		}
		for _, t := range page {
			after = t.ID
			warnings := t.Settings.Warnings()
			if len(warnings) == 0 {
				continue
			}
			if warned++; warned <= warnedTenants {
				s.Logger.WarnContext(ctx, "a tenant's settings are weaker than they should be", "tenant", t.Slug, slog.Any("settings", warnings))
			}
		}
		if len(page) < tenantsAtOnce {
			break
		}
	}
	if warned > warnedTenants {
		s.Logger.WarnContext(ctx, "more tenants have settings that are weaker than they should be; see 'cardea tenant list'", "more", warned-warnedTenants)
	}
	return nil
}
