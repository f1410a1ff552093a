package journey

import (
	"context"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/ratelimit"
)

// drawText takes one text message from the budgets of whom it costs: of the
// number, and for a browser that the customer is not known in, also of its
// network, of the number's country and of the tenant. What strangers use up of
// those keeps no owner out of an account by a browser that he has used; a number
// that is not known to be his draws on all of them in any browser. Numbers with
// and without an account draw on the same.
func (e *Engine) drawText(ctx context.Context, run *Run, number string, his bool) (*Limited, error) {
	phone := run.Tenant.Settings.Phone
	claim := func(kind, of string, perHour int) budget.Claim {
		return budget.Claim{Kind: kind, Subject: budget.Stranger(run.Keys.Lookup("text message", of)[0]),
			Limit: budget.Limit{Window: time.Hour, PerWindow: perHour}, Crossed: e.tellCrossed(run, kind)}
	}
	claims := []budget.Claim{claim(budget.TextNumber, number, phone.NumberPerHour)}
	if run.Device == "" || !his {
		claims = append(claims,
			claim(budget.TextNetwork, ratelimit.AddressKey(run.Client.Address), phone.NetworkPerHour),
			claim(budget.TextCountry, identifier.Country(number), phone.CountryPerHour),
			claim(budget.TextTenant, "all", phone.TenantPerHour))
	}
	refused, verdict, err := e.Budgets.TakeAll(ctx, run.Tenant.ID, claims)
	if err != nil {
		return nil, fmt.Errorf("draw on the budget of text messages: %w", err)
	}
	if refused < 0 {
		return nil, nil //nolint:nilnil // no limit was met
	}
	return &Limited{What: budget.Send, Until: verdict.Until}, nil
}
