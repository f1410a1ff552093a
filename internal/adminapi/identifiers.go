package adminapi

import (
	"net/http"
	"slices"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// addIdentifier gives a customer another identifier.
func (a *api) addIdentifier(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, c, err := a.customerOf(r)
	if err != nil {
		return err
	}
	var wanted newIdentifier
	if err := decode(w, r, &wanted); err != nil {
		return err
	}
	read, err := recognise(t, wanted.Kind, wanted.Value)
	if err != nil {
		return problem.InvalidInput(problem.Field{Pointer: "/value", Detail: err.Error()})
	}
	found, err := a.Directory.Get(r.Context(), t.ID, c)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(found.Identifiers, func(it customer.Identifier) bool { return it.Kind == read.Kind && it.Key == read.Key }) {
		return problem.Conflict("The customer has that identifier already. Nothing was changed.")
	}
	if len(found.Identifiers) >= maxIdentifiers {
		return problem.Conflict("The customer has as many identifiers as a customer may have. Nothing was changed. Remove one first.")
	}
	keys, err := a.Ring.Tenant(r.Context(), t.ID)
	if err != nil {
		return err
	}
	key, err := a.Directory.Key(r.Context(), t.ID, c)
	if err != nil {
		return err
	}
	err = a.DB.Write(r.Context(), func(tx *sqldb.Tx) error {
		_, err := a.Directory.AddIdentifier(tx, keys, key, t.ID, c, customer.NewIdentifier{Normalised: read, Verified: wanted.Verified}, Operator)
		return err
	})
	if err != nil {
		return err
	}
	return a.respondCustomer(w, r, http.StatusCreated, t.ID, c)
}

// verifyIdentifier records that the operator knows an identifier to be the
// customer's. From then on it finds the customer.
func (a *api) verifyIdentifier(w http.ResponseWriter, r *http.Request) error {
	t, c, it, err := a.identifierOf(r)
	if err != nil {
		return err
	}
	if err := decode(w, r, &struct{}{}); err != nil {
		return err
	}
	keys, err := a.Ring.Tenant(r.Context(), t.ID)
	if err != nil {
		return err
	}
	err = a.DB.Write(r.Context(), func(tx *sqldb.Tx) error {
		return a.Directory.VerifyIdentifier(tx, keys, t.ID, c, identifier.Normalised{Kind: it.Kind, Key: it.Key, Display: it.Display}, Operator)
	})
	if err != nil {
		return err
	}
	return a.respondCustomer(w, r, http.StatusOK, t.ID, c)
}

// removeIdentifier takes an identifier from a customer.
func (a *api) removeIdentifier(w http.ResponseWriter, r *http.Request) error {
	t, c, it, err := a.identifierOf(r)
	if err != nil {
		return err
	}
	err = a.DB.Write(r.Context(), func(tx *sqldb.Tx) error { return a.Directory.RemoveIdentifier(tx, t.ID, c, it.ID, Operator) })
	if err != nil {
		return err
	}
	return a.respondCustomer(w, r, http.StatusOK, t.ID, c)
}

// identifierOf finds the customer and the identifier that a path names.
func (a *api) identifierOf(r *http.Request) (*tenant.Tenant, id.Customer, customer.Identifier, error) {
	fail := func(err error) (*tenant.Tenant, id.Customer, customer.Identifier, error) {
		return nil, "", customer.Identifier{}, err
	}
	if _, err := parameters(r); err != nil {
		return fail(err)
	}
	t, c, err := a.customerOf(r)
	if err != nil {
		return fail(err)
	}
	found, err := a.Directory.Get(r.Context(), t.ID, c)
	if err != nil {
		return fail(err)
	}
	for _, it := range found.Identifiers {
		if string(it.ID) == r.PathValue("identifier") {
			return t, c, it, nil
		}
	}
	return fail(problem.NotFound("The customer has no such identifier."))
}
