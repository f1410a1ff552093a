package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func (a *api) operatorOperations() {
	const one = "/operators/{subject}"
	declare(a, operation{
		id: "listOperators", method: get, path: "/operators", noun: operators, scope: "operators:read",
		summary: "List operators", description: "Who runs the installation, and what each holds.",
	}, a.listOperators)
	declare(a, operation{
		id: "showOperator", method: get, path: one, noun: operators, scope: "operators:read",
		summary: "Show an operator", description: "What the operator holds now.", errors: []int{404},
	}, a.showOperator)
	declare(a, operation{
		id: "setOperator", method: put, path: one, noun: operators, scope: "operators:write",
		summary:     "Make an operator, or change what one holds",
		description: "Of a customer or an application of the system tenant. It holds at once, for tokens that are out as well. You give and take no more than you hold yourself.",
		errors:      []int{404, 409, 412},
	}, a.setOperator)
	declare(a, operation{
		id: "removeOperator", method: remove, path: one, noun: operators, scope: "operators:write",
		summary:     "Remove an operator",
		description: "The account stays and holds nothing any more, at once, for tokens that are out as well.",
		errors:      []int{404, 409},
	}, a.removeOperator)
	declare(a, operation{
		id: "makeOperatorLink", method: post, path: "/operator-links", noun: operators, scope: "operators:write", status: http.StatusCreated,
		summary:     "Make a one-time link for an emergency",
		description: "Whoever opens it first and chooses a password is an operator that holds everything. Only who holds everything may make one. It is good for an hour.",
		errors:      []int{404},
	}, a.makeOperatorLink)
}

// operatorView is an operator as it is answered.
type operatorView struct {
	Subject    string      `json:"subject" doc:"The id of a customer or an application of the system tenant."`
	Name       string      `json:"name,omitempty" doc:"The operator's e-mail address, or the application's name."`
	Scopes     []string    `json:"scopes"`
	AllTenants bool        `json:"all_tenants"`
	Tenants    []id.Tenant `json:"tenants" doc:"For which tenants, where it is not for all."`
	Revision   int64       `json:"revision"`
	CreatedAt  time.Time   `json:"created_at"`
	UpdatedAt  time.Time   `json:"updated_at"`
}

func (a *api) viewOperator(ctx context.Context, o *operator.Operator) operatorView {
	v := operatorView{o.Subject, "", o.Scopes, o.All, o.Tenants, o.Revision, o.CreatedAt, o.UpdatedAt}
	if v.Tenants == nil {
		v.Tenants = []id.Tenant{}
	}
	// A name that cannot be had is no reason not to show what is held.
	if who, err := id.Parse[id.Customer](o.Subject); err == nil {
		if found, err := a.Directory.Get(ctx, id.SystemTenant, who); err == nil {
			for _, it := range found.Identifiers {
				if it.Verified {
					v.Name = it.Display
					break
				}
			}
		}
	} else if x, err := a.Applications.Get(ctx, id.SystemTenant, id.Application(o.Subject)); err == nil {
		v.Name = x.Name
	}
	return v
}

func (a *api) listOperators(ctx context.Context, in *struct{ Paging }) (*answer[page[operatorView]], error) {
	if len(in.After) > maxSubject {
		return nil, badRequest("The parameter after is not what a page of this list gave as next.")
	}
	found, err := a.Operators.List(ctx, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return answerWith(pageOf(found, in.Limit, func(o *operator.Operator) string { return o.Subject }, func(o *operator.Operator) operatorView { return a.viewOperator(ctx, o) }))
}

// maxSubject is longer than any subject.
const maxSubject = 100

// OperatorPath names an operator.
type OperatorPath struct {
	Subject string `path:"subject" doc:"The id of a customer or an application of the system tenant."`
}

func (a *api) showOperator(ctx context.Context, in *struct{ OperatorPath }) (*versioned[operatorView], error) {
	found, err := a.Operators.Get(ctx, in.Subject)
	if err != nil {
		return nil, err
	}
	return &versioned[operatorView]{etag(found.Revision), a.viewOperator(ctx, found)}, nil
}

// heldView is what an operator is to hold.
type heldView struct {
	Scopes     []string `json:"scopes" minItems:"1" example:"customers:read,events:read"`
	AllTenants bool     `json:"all_tenants,omitempty"`
	Tenants    []string `json:"tenants,omitempty" doc:"The ids or slugs of tenants, where it is not for all." example:"shop"`
}

func (a *api) setOperator(ctx context.Context, in *struct {
	OperatorPath
	IfMatch
	Body heldView
},
) (*versioned[operatorView], error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	wanted := operator.Holding{Scopes: in.Body.Scopes, All: in.Body.AllTenants}
	for _, name := range in.Body.Tenants {
		t, err := a.findTenant(ctx, name)
		if err != nil {
			return nil, err
		}
		wanted.Tenants = append(wanted.Tenants, t.ID)
	}
	if err := wanted.Check(); err != nil {
		return nil, err
	}
	if err := a.mayBe(ctx, in.Subject); err != nil {
		return nil, err
	}
	before, err := a.mayGive(ctx, in.Subject, wanted)
	if err != nil {
		return nil, err
	}
	if revision == 0 && before != nil {
		revision = before.Revision // what was looked at is what is changed
	}
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) error { return a.Operators.Set(tx, in.Subject, revision, wanted, actor(ctx)) })
	if err != nil {
		return nil, err
	}
	return a.showOperator(ctx, &struct{ OperatorPath }{in.OperatorPath})
}

// mayBe tells whether somebody is there to be an operator: a customer of the
// system tenant, or an application of it that acts for itself.
func (a *api) mayBe(ctx context.Context, subject string) error {
	if who, err := id.Parse[id.Customer](subject); err == nil {
		state, err := a.Directory.State(ctx, id.SystemTenant, who)
		if err == nil && !state.Found {
			err = customer.ErrNotFound
		}
		return err
	}
	x, err := a.Applications.Get(ctx, id.SystemTenant, id.Application(subject))
	if err != nil {
		return err
	}
	if !x.Allows(application.GrantCredentials) {
		return refused("the application does not act for itself: it may not use client_credentials")
	}
	return nil
}

// mayGive refuses to give or take more than who asks holds himself, which would
// be a way up. It returns what there is now, nil for nothing.
func (a *api) mayGive(ctx context.Context, subject string, wanted operator.Holding) (*operator.Operator, error) {
	own := callOf(ctx).holding
	before, err := a.Operators.Get(ctx, subject)
	if err != nil && !isNoOperator(err) {
		return nil, err
	}
	if !own.Covers(wanted) || before != nil && !own.Covers(before.Holding) {
		return nil, problem.Forbidden("You hold less than what would be given or taken. Nothing was changed.")
	}
	return before, nil
}

func (a *api) removeOperator(ctx context.Context, in *struct{ OperatorPath }) (*nothing, error) {
	if _, err := a.mayGive(ctx, in.Subject, operator.Holding{}); err != nil {
		return nil, err
	}
	err := a.DB.Write(ctx, func(tx *sqldb.Tx) error { return a.Operators.Remove(tx, in.Subject, actor(ctx)) })
	if err != nil {
		return nil, err
	}
	return &nothing{}, nil
}

// newLink says whom a link is for.
type newLink struct {
	Customer id.Customer `json:"customer,omitempty" doc:"A customer of the system tenant, who chooses a new password by it; without one, whoever has the link."`
}

type madeLink struct {
	Link string `json:"link" doc:"Told this once."`
}

func (a *api) makeOperatorLink(ctx context.Context, in *struct{ Body *newLink }) (*answer[madeLink], error) {
	if !callOf(ctx).holding.Full() {
		return nil, problem.Forbidden("Only who holds every scope for all tenants may make such a link. Nothing was changed.")
	}
	var who id.Customer
	if in.Body != nil && in.Body.Customer != "" {
		if who = in.Body.Customer; !isCustomer(string(who)) {
			return nil, customer.ErrNotFound
		}
		if err := a.mayBe(ctx, string(who)); err != nil {
			return nil, err
		}
	}
	if _, err := a.OperatorLink(ctx, ""); err != nil { // there is a system tenant
		return nil, err
	}
	secret, err := a.Operators.BreakGlass(ctx, who, actor(ctx))
	if err != nil {
		return nil, err
	}
	a.Logger.WarnContext(ctx, "BREAK GLASS: a one-time link was made that makes an operator who holds everything", "by", actor(ctx), "customer", string(who))
	link, err := a.OperatorLink(ctx, secret)
	if err != nil {
		return nil, err
	}
	return answerWith(madeLink{link})
}
