package pages

import (
	"net/http"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/tenant"
)

// SignOut is the question whether to sign out everywhere, as another surface
// asks it.
type SignOut struct {
	Action      string                   // where the answer is posted
	State       string                   // sealed; goes back as it is
	Application *application.Application // who asks, nil when unknown
	Target      string                   // where the answer is redirected to, "" for nowhere
}

// ConfirmSignOut asks whether to sign out everywhere.
func (p *Pages) ConfirmSignOut(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, ask SignOut) {
	s := sheet{page: view.Page{Lang: p.language(r, t), Action: ask.Action, State: ask.State, Data: view.SignOut{}}, target: ask.Target}
	if ask.Application != nil {
		s.page.Application = ask.Application.Name
	}
	p.draw(w, r, t, s)
}

// SignedOut says that the customer is signed out. One who is not, since he
// chose to stay or only followed a link, sees his account instead.
func (p *Pages) SignedOut(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	client, err := p.Client(w, r, t)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	if client.Session != nil {
		redirect(w, p.accountURL(r, t, journey.Return{}, client.Language))
		return
	}
	p.draw(w, r, t, sheet{page: view.Page{Lang: client.Language, Data: view.SignedOut{SignInURL: p.signInURL(t, client.Language)}}})
}
