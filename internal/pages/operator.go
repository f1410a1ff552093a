package pages

import (
	"context"
	"net/http"
	"strings"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Enrolment makes operators of those who have a one-time link.
// internal/server fills it.
type Enrolment interface {
	// Open reads a link and changes nothing. Who it is for is "" where whoever
	// has it says so.
	Open(ctx context.Context, t *tenant.Tenant, link string) (address string, ok bool, err error)
	// Address reads an e-mail address as it is typed.
	Address(t *tenant.Tenant, typed string) (address string, faults []journey.FieldError)
	// Enrol uses the link up: who signs in with the address and the password is
	// an operator. It does so once: ok is false for everybody after the first.
	Enrol(ctx context.Context, t *tenant.Tenant, link, address, password string) (faults []journey.FieldError, ok bool, err error)
}

// operatorPath is where the links lead, and where their forms are posted.
const operatorPath = "/operator"

// operator opens a one-time link. It uses nothing up: filters of mail and
// previews of chats open links too.
func (p *Pages) operator(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	if t.ID != id.SystemTenant {
		p.NotFound(w, r, t)
		return
	}
	p.enrolPage(w, r, t, r.URL.Query().Get("link"), "", nil)
}

// enrol takes the forms: first the address, then the password.
func (p *Pages) enrol(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	if t.ID != id.SystemTenant {
		p.NotFound(w, r, t)
		return
	}
	typed, ok := p.form(w, r, t)
	if !ok {
		return
	}
	link, address, _ := strings.Cut(typed.Get("state"), " ")
	if address == "" {
		address, faults := p.Enrolment.Address(t, typed.Get("identifier"))
		p.enrolPage(w, r, t, link, address, faults)
		return
	}
	faults, ok, err := p.Enrolment.Enrol(r.Context(), t, link, address, typed.Get("new_password"))
	switch {
	case err != nil:
		p.broken(w, r, t, err)
	case !ok:
		p.Fault(w, r, t, string(view.FaultOperator), "a link of operators that is not good")
	case len(faults) > 0:
		p.enrolPage(w, r, t, link, address, faults)
	default:
		redirect(w, t.URL("/sign-in"))
	}
}

func (p *Pages) enrolPage(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, link, address string, faults []journey.FieldError) {
	if len(link) > maxLink {
		link = ""
	}
	known, ok, err := p.Enrolment.Open(r.Context(), t, link)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	if !ok {
		p.Fault(w, r, t, string(view.FaultOperator), "a link of operators that is not good")
		return
	}
	if known != "" {
		address = known
	}
	s := sheet{page: view.Page{Lang: p.language(r, t), Action: operatorPath, State: link, Errors: map[string]view.Text{}}}
	if address == "" {
		s.page.Data = view.CreateAccount{Operator: true}
	} else {
		s.page.State = link + " " + address
		s.page.Data = view.NewPassword{Identifier: address, MinLength: t.Settings.Password.MinLength, Recovery: known != "", Operator: true}
	}
	for _, fault := range faults {
		s.page.Errors[fault.Field] = wordsOf(fault)
	}
	p.draw(w, r, t, s)
}
