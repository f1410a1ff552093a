package adminapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func (a *api) identifierOperations() {
	const one = ofCustomer + "/identifiers/{identifier}"
	declare(a, operation{
		id: "addIdentifier", method: post, path: ofCustomer + "/identifiers", noun: customers, scope: "customers:write", status: http.StatusCreated,
		summary: "Give a customer another identifier", description: "One that you know to be the customer's finds the customer at once. If it is an e-mail address or a phone number, every one that the customer has proved is told.", errors: []int{404, 409, 410},
	}, a.addIdentifier)
	declare(a, operation{
		id: "verifyIdentifier", method: post, path: one + "/verify", noun: customers, scope: "customers:write",
		summary: "Say that an identifier is the customer's", description: "From then on it finds the customer, who can sign in with it and, if it is an e-mail address or a phone number, is told at every one that is proved. It may be repeated.", errors: []int{404, 409, 410},
	}, a.verifyIdentifier)
	declare(a, operation{
		id: "removeIdentifier", method: remove, path: one, noun: customers, scope: "customers:write", status: http.StatusOK,
		summary: "Take an identifier from a customer", description: "It finds nobody any more. If it is an e-mail address or a phone number that was proved, it and every other one is told, and links that were sent to it are void.", errors: []int{404, 409, 410},
	}, a.removeIdentifier)
}

// addIdentifier gives a customer another identifier.
func (a *api) addIdentifier(ctx context.Context, in *struct {
	CustomerPath
	Body newIdentifier
},
) (*versioned[customerView], error) {
	t := tenantOf(ctx)
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	read, err := recognise(t, in.Body.Kind, in.Body.Value)
	if err != nil {
		return nil, problem.InvalidInput(problem.Field{Pointer: "/value", Detail: err.Error()})
	}
	found, err := a.Directory.Get(ctx, t.ID, c)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(found.Identifiers, func(it customer.Identifier) bool { return it.Kind == read.Kind && it.Key == read.Key }) {
		return nil, problem.Conflict("The customer has that identifier already. Nothing was changed.")
	}
	if len(found.Identifiers) >= customer.MaxIdentifiers {
		return nil, problem.Conflict("The customer has as many identifiers as a customer may have. Nothing was changed. Remove one first.")
	}
	keys, err := a.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	key, err := a.Directory.Key(ctx, t.ID, c)
	if err != nil {
		return nil, err
	}
	tell, err := a.Directory.PrepareIdentifierNotice(ctx, customer.AboutAdded, found, customer.Identifier{Kind: read.Kind, Key: read.Key, Display: read.Display, Verified: in.Body.Verified})
	if err != nil {
		return nil, err
	}
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := tell(tx); err != nil {
			return err
		}
		_, err := a.Directory.AddIdentifier(tx, keys, key, t.ID, c, customer.NewIdentifier{Normalised: read, Verified: in.Body.Verified}, actor(ctx))
		return err
	})
	if err != nil {
		return nil, err
	}
	return a.answerCustomer(ctx, c)
}

// identifierPath names an identifier of a customer.
type identifierPath struct {
	CustomerPath
	Identifier string `path:"identifier" doc:"The identifier's id, not its value."`
}

// verifyIdentifier records that the operator knows an identifier to be the
// customer's.
func (a *api) verifyIdentifier(ctx context.Context, in *identifierPath) (*versioned[customerView], error) {
	t := tenantOf(ctx)
	found, it, err := a.identifierOf(ctx, in)
	if err != nil {
		return nil, err
	}
	c := found.ID
	if found.Status == customer.Invited {
		return nil, problem.Conflict("The customer is invited, and proves the address by opening the account. Nothing was changed. Invite again if the invitation was lost.")
	}
	keys, err := a.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	again := it.Verified // lets nobody in who was kept out
	it.Verified = true
	tell, err := a.Directory.PrepareIdentifierNotice(ctx, customer.AboutAdded, found, it)
	if err != nil {
		return nil, err
	}
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if !again {
			if err := tell(tx); err != nil {
				return err
			}
		}
		return a.Directory.VerifyIdentifier(tx, keys, t.ID, c, identifier.Normalised{Kind: it.Kind, Key: it.Key, Display: it.Display}, actor(ctx))
	})
	if err != nil {
		return nil, err
	}
	return a.answerCustomer(ctx, c)
}

// removeIdentifier takes an identifier from a customer.
func (a *api) removeIdentifier(ctx context.Context, in *identifierPath) (*versioned[customerView], error) {
	found, it, err := a.identifierOf(ctx, in)
	if err != nil {
		return nil, err
	}
	tell, err := a.Directory.PrepareIdentifierNotice(ctx, customer.AboutRemoved, found, it)
	if err != nil {
		return nil, err
	}
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := tell(tx); err != nil {
			return err
		}
		return a.Directory.RemoveIdentifier(tx, tenantOf(ctx).ID, found.ID, it.ID, actor(ctx))
	})
	if err != nil {
		return nil, err
	}
	return a.answerCustomer(ctx, found.ID)
}

// identifierOf finds the customer and the identifier that a path names.
func (a *api) identifierOf(ctx context.Context, in *identifierPath) (*customer.Customer, customer.Identifier, error) {
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, customer.Identifier{}, err
	}
	found, err := a.Directory.Get(ctx, tenantOf(ctx).ID, c)
	if err != nil {
		return nil, customer.Identifier{}, err
	}
	for _, it := range found.Identifiers {
		if string(it.ID) == in.Identifier {
			return found, it, nil
		}
	}
	return nil, customer.Identifier{}, problem.NotFound("The customer has no such identifier.")
}
