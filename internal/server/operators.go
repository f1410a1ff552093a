package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/cardea-id/cardea/internal/adminapi"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// heldScopes are the scopes of the admin API that somebody of the system tenant
// holds now.
func (s *Server) heldScopes(ctx context.Context, subject string) ([]string, error) {
	o, err := s.Operators.Get(ctx, subject)
	if errors.Is(err, operator.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return o.Scopes, nil
}

// OperatorLink is the address of a one-time link, on the system tenant's host.
func (s *Server) OperatorLink(ctx context.Context, secret string) (string, error) {
	system, err := s.Tenants.ByID(ctx, id.SystemTenant)
	if err != nil {
		return "", err
	}
	return system.URL("/operator") + "?link=" + url.QueryEscape(secret), nil
}

// FirstOperator makes a link for the first operator, in the place of an earlier
// one, and returns its address: "" where there is an operator, or no system
// tenant.
func (s *Server) FirstOperator(ctx context.Context) (string, error) {
	if s.Config.SystemURL == "" {
		return "", nil
	}
	secret, err := s.Operators.First(ctx)
	if err != nil || secret == "" {
		return "", err
	}
	return s.OperatorLink(ctx, secret)
}

// enrolment makes operators of those who have a one-time link.
type enrolment struct{ s *Server }

func (e enrolment) Open(ctx context.Context, t *tenant.Tenant, link string) (string, bool, error) {
	found, err := e.s.Operators.Open(ctx, link)
	if errors.Is(err, operator.ErrLink) {
		return "", false, nil
	}
	if err != nil || found.Customer == "" {
		return "", err == nil, err
	}
	who, err := e.s.Directory.Get(ctx, t.ID, found.Customer)
	if errors.Is(err, customer.ErrErased) || errors.Is(err, customer.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	address, ok := who.Primary(identifier.Email)
	return address.Display, ok, nil
}

func (e enrolment) Address(t *tenant.Tenant, typed string) (string, []journey.FieldError) {
	if strings.TrimSpace(typed) == "" {
		return "", []journey.FieldError{{Field: "identifier", Code: "field_empty"}}
	}
	address, err := identifier.Normalise(identifier.Email, typed, identifier.Options{Region: t.Settings.Region})
	if err != nil {
		return "", []journey.FieldError{{Field: "identifier", Code: "email_invalid"}}
	}
	return address.Display, nil
}

// Enrol makes the account, or sets the password of the one that has proved the
// address, whose sessions end and whose addresses are told; both together with the
// operator, in the one transaction that uses the link up.
func (e enrolment) Enrol(ctx context.Context, t *tenant.Tenant, link, typed, secret string) ([]journey.FieldError, bool, error) {
	found, err := e.s.Operators.Open(ctx, link) // before anything is hashed
	if errors.Is(err, operator.ErrLink) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	address, err := identifier.Normalise(identifier.Email, typed, identifier.Options{Region: t.Settings.Region})
	if err != nil {
		return nil, false, nil //nolint:nilerr // the form of another hand than ours
	}
	hash, faults, err := e.hash(ctx, t, address.Display, secret)
	if err != nil || len(faults) > 0 {
		return faults, true, err
	}
	keys, err := e.s.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, false, err
	}
	who, there, err := e.s.Directory.Find(ctx, t.ID, keys, address)
	if err != nil {
		return nil, false, err
	}
	if found.Customer != "" && who != found.Customer {
		return nil, false, nil
	}
	if !there {
		who = id.New[id.Customer](e.s.Clock.Now(), e.s.Random)
		if _, err := e.s.Ring.CreateCustomer(ctx, t.ID, who); err != nil { // durable before it is used
			return nil, false, err
		}
	}
	key, err := e.s.Ring.Customer(ctx, t.ID, who)
	if err != nil {
		return nil, false, err
	}
	tell := func(*sqldb.Tx) error { return nil }
	if there { // whoever made the link may not be who reads his mail
		if tell, err = e.s.passwordNotice(ctx, t, keys, key, who); err != nil {
			return nil, false, err
		}
	}
	unlock, err := e.s.Directory.PrepareStatus(ctx, t.ID, who, customer.Active, "", operatorActor)
	if err != nil && there {
		return nil, false, err
	}
	err = e.s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if !there {
			if err := e.s.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: t.ID, Customer: who, Actor: operatorActor,
				Identifiers: []customer.NewIdentifier{{Normalised: address, Verified: true}}}); err != nil {
				return err
			}
		}
		if err := e.s.Operators.Spend(tx, link, found, who); err != nil {
			return err
		}
		if _, err := e.s.Passwords.SetPassword(tx, key, credential.Change{Tenant: t.ID, Customer: who, Actor: string(who)}, hash); err != nil {
			return err
		}
		if !there {
			return nil
		}
		if _, err := e.s.Directory.ChangeStatus(tx, unlock); err != nil {
			return err
		}
		if err := e.s.Budgets.Clear(tx, t.ID, who); err != nil {
			return err
		}
		if _, err := e.s.Sessions.EndAll(tx, t.ID, who, "", session.Secured, string(who)); err != nil {
			return err
		}
		if _, err := e.s.Directory.RaiseEpoch(tx, t.ID, who); err != nil {
			return err
		}
		return tell(tx)
	})
	if errors.Is(err, operator.ErrLink) || errors.Is(err, customer.ErrTaken) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("make an operator: %w", err)
	}
	return nil, true, nil
}

// hash judges a password as journeys do, and hashes it.
func (e enrolment) hash(ctx context.Context, t *tenant.Tenant, address, secret string) (credential.Hash, []journey.FieldError, error) {
	if secret == "" {
		return "", []journey.FieldError{{Field: "new_password", Code: "password_empty"}}, nil
	}
	typed := credential.NewPassword(secret)
	policy := credential.DefaultPolicy()
	policy.MinLength = t.Settings.Password.MinLength
	judged, err := e.s.Checker.Check(policy, typed, credential.ContextWords(address, t.Brand.Name, t.Name))
	if err != nil {
		return "", nil, err
	}
	if !judged.OK() {
		finding := judged.Findings[0]
		return "", []journey.FieldError{{Field: "new_password", Code: "password_" + string(finding.Code), Params: map[string]any{"Min": finding.Min, "Max": finding.Max}}}, nil
	}
	p := t.Settings.Password
	hash, err := e.s.Hasher.Hash(ctx, credential.Asker{Tenant: t.ID}, credential.Params{MemoryKiB: p.MemoryKiB, Time: p.Time, Parallelism: p.Parallelism}, typed)
	return hash, nil, err
}

// AdminOptions are what the admin API works with, on the socket and over HTTP.
func (s *Server) AdminOptions() (adminapi.Options, error) {
	root, err := RootKey(s.Config)
	if err != nil {
		return adminapi.Options{}, fmt.Errorf("read the root key: %w", err)
	}
	return adminapi.Options{
		DB: s.DB, KeyStore: s.KeyStore, Ring: s.Ring, Log: s.Log, Budgets: s.Budgets, Tenants: s.Tenants, Applications: s.Applications, Directory: s.Directory,
		Sessions: s.Sessions, Grants: s.Grants, Organizations: s.Organizations, SigningKeys: s.SigningKeys, Outbox: s.Outbox, Explanations: s.Explanations, BackedUp: s.NoteBackup, Operators: s.Operators, Once: s.Once, Previews: s, Claims: s.PreviewClaims, Mail: s, OperatorLink: s.OperatorLink,
		BaseURL: s.Config.BaseURL, RootID: root.ID(), Release: s.Release, Clock: s.Clock, Random: s.Random, Logger: s.Logger,
	}, nil
}

// adminPath is what the admin API has of the system tenant's host.
const adminPath = adminapi.Root + "/"

// adminHandler answers the admin API over HTTP, on the host of the system
// tenant alone (DESIGN.md, rule 13): elsewhere there is nothing at its address.
// It is made when it is first asked.
func (s *Server) adminHandler(elsewhere http.Handler) http.Handler {
	handler := sync.OnceValues(func() (http.Handler, error) {
		o, err := s.AdminOptions()
		if err != nil {
			return nil, err
		}
		return adminapi.NewHTTP(o, adminapi.Access{
			Authenticate: func(ctx context.Context, token string) (*adminapi.Caller, error) {
				system, err := s.Tenants.ByID(ctx, id.SystemTenant)
				if err != nil {
					return nil, err
				}
				found, err := s.OAuth.Authenticate(ctx, system, token)
				if err != nil || found == nil {
					return nil, err
				}
				return &adminapi.Caller{Subject: found.Subject, Scopes: found.Scopes}, nil
			},
			Requests: s.operated, Failures: s.failures,
			Client: func(r *http.Request) string { return s.resolver.Client(r).IP.String() },
		}), nil
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := s.Tenants.ByHost(r.Context(), r.Host)
		if err != nil || t.ID != id.SystemTenant || r.URL.RawPath != "" {
			elsewhere.ServeHTTP(w, r)
			return
		}
		made, err := handler()
		if err != nil {
			s.problems.Write(w, r, err)
			return
		}
		made.ServeHTTP(w, r)
	})
}
