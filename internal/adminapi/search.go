package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/problem"
)

func (a *api) searchOperations() {
	declare(a, operation{
		id: "searchCustomers", method: get, path: ofTenant + "/customers/by-prefix", noun: customers, scope: "customers:read",
		summary: "Search customers by the beginning of something",
		description: "By the first three characters or more of a verified identifier or of a word of the profile, whatever their case: of what the tenant's settings name under search, and of nothing else. " +
			"Pages are in no order that says anything, and may have less items than their limit although there are more.",
		errors: []int{404, http.StatusConflict},
	}, a.searchCustomers)
}

// SearchPaging is Paging of what opens each customer that it shows.
type SearchPaging struct {
	After string `query:"after" doc:"What the page before gave as next."`
	Limit int    `query:"limit" minimum:"1" maximum:"50" default:"20" doc:"How many items a page has at most."`
}

// matchView is a customer who was found.
type matchView struct {
	ID         id.Customer     `json:"id"`
	Status     customer.Status `json:"status"`
	In         string          `json:"in" doc:"What begins so: the kind of an identifier, or profile. and an attribute." example:"profile.family_name"`
	Value      string          `json:"value" doc:"What it is." example:"Lopes"`
	Name       string          `json:"name,omitempty" doc:"The customer's name." example:"Ana Lopes"`
	Identifier string          `json:"identifier,omitempty" doc:"A verified identifier of the customer." example:"ana@example.com"`
	CreatedAt  time.Time       `json:"created_at"`
	UpdatedAt  time.Time       `json:"updated_at"`
}

// matchPage is a page of a search.
type matchPage struct {
	Items   []matchView `json:"items"`
	Next    string      `json:"next,omitempty" doc:"What to send as after for the next page; missing at the end."`
	Partial bool        `json:"partial,omitempty" doc:"Customers are still being made to be found by what the settings name: there may be more who match."`
}

func (a *api) searchCustomers(ctx context.Context, in *struct {
	TenantPath
	SearchPaging
	Prefix string `query:"prefix" required:"true" maxLength:"200" doc:"The first three characters or more." example:"lop"`
	In     string `query:"in" doc:"What begins so: email, phone, username, declared: and the name of an identifier, or profile. and the name of an attribute. Without one, all that the settings name." example:"profile.family_name"`
},
) (*answer[matchPage], error) {
	t := tenantOf(ctx)
	keys, err := a.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	// Asked first: a pass that ends meanwhile may have come too late for this page.
	partial, err := a.Directory.Searching(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	found, next, err := a.Directory.Search(ctx, customer.Search{Tenant: t, Keys: keys, Text: in.Prefix, Field: in.In, After: in.After, Limit: in.Limit})
	fields := t.Settings.Search.Fields()
	switch {
	case errors.Is(err, customer.ErrShort):
		return nil, badRequest(fmt.Sprintf("The parameter prefix is not the beginning of anything that is searched here, or has less than %d letters or digits. Type more of it, or find a customer by the whole identifier.", customer.MinPrefix))
	case errors.Is(err, customer.ErrNotSearched) && len(fields) == 0:
		return nil, problem.Conflict("The tenant does not have its customers found by beginnings. Name identifiers or attributes under search in its settings first, or find a customer by the whole identifier.")
	case errors.Is(err, customer.ErrNotSearched):
		return nil, problem.Conflict("The tenant does not have its customers found by the beginning of what the parameter in names, but of " + strings.Join(fields, ", ") + ". Search in one of these, or name it under search in the settings first.")
	case errors.Is(err, customer.ErrPlace):
		return nil, badRequest("The parameter after is not what a page of this search gave as next, or the tenant's look-up key was replaced since. Begin the search again.")
	case err != nil:
		return nil, err
	}
	answered := matchPage{Items: make([]matchView, 0, len(found)), Next: next, Partial: partial}
	for _, m := range found {
		answered.Items = append(answered.Items, viewOfMatch(m))
	}
	return answerWith(answered)
}

func viewOfMatch(m customer.Match) matchView {
	view := matchView{ID: m.ID, Status: m.Status, In: m.Field, Value: m.Value, CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt}
	view.Name, _ = m.Claims([]string{"profile"})["name"].(string)
	for _, it := range m.Identifiers {
		if it.Verified {
			view.Identifier = it.Display
			break
		}
	}
	return view
}
