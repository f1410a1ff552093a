package pages

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/tenant"
)

// shown is a step on its way to a browser.
type shown struct {
	*journey.View
	lang  string
	typed url.Values // what came with the form, nil for a first page
	// notice says what has just been done, where the page has nothing to say itself.
	notice *view.Notice
}

// show draws a step. A mistake is answered with 200, as the page it is on; a
// limit with 429, a queue with 503.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, s shown) {
	out := sheet{target: targetOf(s.Application, s.Return), page: view.Page{
		Lang: s.lang, Languages: p.offered(t), Action: t.Path + journeyPath, State: withLanguage(s.lang, s.State),
		Values: map[string]string{}, Errors: map[string]view.Text{},
	}}
	if s.Application != nil {
		out.page.Application = s.Application.Name
	}
	for _, fault := range s.Errors {
		if _, told := out.page.Errors[fault.Field]; !told {
			out.page.Errors[fault.Field] = wordsOf(fault)
		}
	}
	p.describe(t, s, &out.page)
	switch s.Prompt.(type) {
	case step.PasswordPrompt, step.CodePrompt, step.NewPasswordPrompt, step.NewAddressPrompt, step.ProveAddressPrompt, step.IdentifyPrompt, step.CreateAccountPrompt, step.RecoverPrompt:
		out.back = s.typed != nil
	}
	if prompt, asks := s.Prompt.(step.DisownPrompt); asks && prompt.Dead {
		out.status = http.StatusGone
	}
	if data, is := out.page.Data.(view.JoinOrganization); is && data.Dead && !data.Member {
		out.status = http.StatusGone
	}
	if prompt, asks := s.Prompt.(step.InvitationPrompt); asks && prompt.Dead {
		out.status = http.StatusGone
	}
	out.page.Notice = cmp.Or(out.page.Notice, s.notice)
	switch {
	case s.Limited != nil:
		out.status, out.retry = http.StatusTooManyRequests, s.Limited.Until
		p.describeLimit(s, &out.page)
	case s.Busy:
		out.status, out.retry = http.StatusServiceUnavailable, p.Clock.Now().Add(busyWait)
		out.page.Data = view.Busy{}
		out.page.Errors = nil
		// The password is not kept in a page: the button shows the step again.
		out.page.Values["choose"] = again
	}
	p.draw(w, r, t, out)
}

// targetOf is the address that answering a journey's form may redirect to:
// browsers hold form-action against that too. The request's own was checked
// before it was sealed; without one, the application has registered one only.
func targetOf(app *application.Application, to journey.Return) string {
	if app == nil || to.Kind != returnAuthorize {
		return ""
	}
	if params, err := url.ParseQuery(to.Params); err == nil && params.Get("redirect_uri") != "" {
		return params.Get("redirect_uri")
	}
	if len(app.RedirectURIs) == 1 {
		return app.RedirectURIs[0]
	}
	return ""
}

// describe says which page a prompt is, with what was typed kept, never a
// password.
func (p *Pages) describe(t *tenant.Tenant, s shown, page *view.Page) {
	keep := func(field, otherwise string) {
		if value := s.typed.Get(field); value != "" {
			otherwise = value
		}
		if otherwise != "" {
			page.Values[field] = otherwise
		}
	}
	switch prompt := s.Prompt.(type) {
	case step.IdentifyPrompt:
		keep("identifier", prompt.Value)
		page.Data = view.Identify{Kinds: kindsOf(prompt.Kinds, prompt.Phone), Create: prompt.MayOpen}
	case step.RecoverPrompt:
		keep("identifier", prompt.Value)
		page.Data = view.Recover{Kinds: kindsOf(prompt.Kinds, prompt.Phone)}
	case step.CreateAccountPrompt:
		keep("identifier", prompt.Value)
		page.Data = view.CreateAccount{SignIn: true, Phone: prompt.Phone}
	case step.PasswordPrompt:
		if prompt.Stay {
			page.Values["stay"] = "true"
		}
		page.Data = view.Password{Identifier: prompt.Identifier, Stay: prompt.OfferStay, Code: true, Recover: true, Account: prompt.Account}
	case step.CodePrompt:
		page.Data = view.Code{Address: prompt.Address, SignUp: prompt.SignUp, Recovery: prompt.Recovery, Account: prompt.Account, Length: prompt.Digits, Resend: true, Back: true,
			Password: !prompt.SignUp && !prompt.Recovery && !prompt.Account, Phone: prompt.Phone, Mailed: prompt.Mailed, Mail: prompt.MayMail, Text: prompt.MayText}
		p.describeCode(s, page, prompt.Sent, prompt.Mailed)
		switch {
		case prompt.Returned && len(s.Errors) == 0:
			page.Notice = &view.Notice{Tone: view.Info, Text: view.T("notice.code_returned")}
		case prompt.NoTexts:
			page.Notice = &view.Notice{Tone: view.Problem, Text: view.T("notice.no_texts")}
		}
	case step.ProveAddressPrompt:
		returned := s.Journey == "confirm-address"
		page.Data = view.Code{Address: prompt.Address, Phone: prompt.Of == identifier.Phone, New: !returned, Returned: returned, Length: prompt.Digits, Resend: true, Back: true}
		p.describeCode(s, page, prompt.Sent, false)
	case step.NewAddressPrompt:
		keep("identifier", prompt.Value)
		if s.typed.Get("end_others") != "" {
			page.Values["end_others"] = "true"
		}
		page.Data = view.NewAddress{Phone: prompt.Of == identifier.Phone, Replaces: prompt.Replaces}
	case step.ConfirmAddressPrompt:
		page.Data = view.ConfirmAddress{Address: prompt.Address}
	case step.CloseAccountPrompt:
		page.Data = view.CloseAccount{Until: prompt.Until}
	case step.ReviewAddressesPrompt:
		var added []view.Added
		for _, it := range prompt.Added {
			keep("remove_"+string(it.ID), "")
			added = append(added, view.Added{ID: string(it.ID), Address: it.Display, At: it.VerifiedAt})
		}
		page.Data = view.ReviewAddresses{Added: added}
	case step.RemoveAddressPrompt:
		page.Data = view.RemoveAddress{Phone: prompt.Of == identifier.Phone, Address: prompt.Address, Last: prompt.Last}
	case step.NewPasswordPrompt:
		page.Data = view.NewPassword{Identifier: prompt.Identifier, MinLength: prompt.MinLength, Skip: prompt.MaySkip, Recovery: prompt.Recovery, Account: prompt.Account}
		if prompt.Account && (!s.typed.Has("new_password") || s.typed.Get("end_others") != "") {
			page.Values["end_others"] = "true" // unless it was taken out
		}
	case step.CollectPrompt:
		for _, field := range prompt.Fields {
			keep(field.Name, "")
		}
		page.Data = view.Collect{Fields: fieldsOf(prompt.Fields)}
	case step.TermsPrompt:
		documents := make([]view.Document, 0, len(prompt.Documents))
		for _, d := range prompt.Documents {
			documents = append(documents, view.Document{Label: view.Literal(d.TitleIn(s.lang)), URL: d.URL})
		}
		page.Data = view.Terms{Documents: documents, Decline: true}
	case step.ConsentPrompt:
		page.Data = p.consentOf(s, prompt)
	case step.MembershipPrompt:
		page.Data = p.joinOf(t, s.lang, prompt.Offer, view.JoinOrganization{SignedIn: prompt.SignedIn})
	case step.JoinPrompt:
		page.Data = p.joinOf(t, s.lang, prompt.Offer, view.JoinOrganization{Decide: true})
	case step.OrganizationPrompt:
		page.Data = view.ChooseOrganization{Organizations: belongings(prompt.Memberships)}
	case step.DisownPrompt:
		page.Data = view.Disown{Dead: prompt.Dead, RecoverURL: t.URL("/recover") + "?ui_locales=" + url.QueryEscape(s.lang)}
	case step.KeepPrompt:
		page.Data = view.Keep{Until: prompt.Until}
	case step.InvitationPrompt:
		page.Data = view.Invitation{Dead: prompt.Dead, Address: prompt.Address, SignInURL: p.signInURL(t, s.lang)}
	case step.NoticePrompt:
		message := view.Message{Body: view.T("message." + prompt.Text)}
		if prompt.Text == "no_account" {
			message.Title, message.Continue = view.T("message.no_account_title"), view.T("identify.create")
		} else if titled(prompt.Text) {
			message.Title, message.Continue = view.T("message."+prompt.Text+"_title"), view.T("message."+prompt.Text+"_continue")
		}
		page.Data = message
	case step.DenyPrompt:
		deny := view.Deny{Reason: reasonOf(prompt.Reason)}
		if s.Return.Kind == returnAccount && s.Return.Params != "" {
			deny.AccountURL = t.URL(s.Return.Params)
		}
		if s.Application != nil {
			deny.BackURL = s.Application.HomeURL
		}
		page.Data = deny
	default: // a kind of step without a page: a mistake of the program's
		page.Data = view.Fault{}
	}
}

// describeCode says whether a code is under way, and keeps a wrong one, which is
// mostly one that was misread.
func (p *Pages) describeCode(s shown, page *view.Page, sent, mailed bool) {
	switch {
	case slices.Contains([]string{"resend", "by_mail", "by_text"}, s.typed.Get("choose")) && sent && !mailed && s.Limited == nil:
		page.Notice = &view.Notice{Tone: view.OK, Text: view.T("notice.code_sent")}
	case !sent:
		page.Notice = &view.Notice{Tone: view.Info, Text: view.T("notice.code_expired")}
	}
	if code := s.typed.Get("code"); code != "" && slices.ContainsFunc(s.Errors, func(e journey.FieldError) bool { return e.Code == "code_wrong" }) {
		page.Values["code"] = code
	}
}

// titled tells whether what a notice says has a title and a button of its own.
func titled(text string) bool {
	return slices.Contains([]string{"code_first", "address_taken", "number_taken"}, text)
}

// kindsOf are the kinds of address that a field takes. Identifiers of the
// tenant's own look like user names.
func kindsOf(declared []string, phone bool) []string {
	kinds := []string{"email"}
	if phone {
		kinds = append(kinds, "phone")
	}
	if len(declared) > 0 {
		kinds = append(kinds, "username")
	}
	return kinds
}

// describeLimit says what is paused, until when, and what works meanwhile.
func (p *Pages) describeLimit(s shown, page *view.Page) {
	limit := *s.Limited
	code, atCode := s.Prompt.(step.CodePrompt)
	if proving, is := s.Prompt.(step.ProveAddressPrompt); is {
		code, atCode = step.CodePrompt{Sent: proving.Sent, SignUp: true}, true // no password instead
	}
	notice := ""
	var about []any
	switch {
	case limit.What == budget.Send && atCode && code.Sent: // the latest one is still good
		notice = "notice.send_paused"
		about = []any{"Wait", p.Views.Words().Localizer(s.lang).Wait(p.Clock.Now(), limit.Until)}
	case limit.Until.IsZero() && atCode: // no waiting helps: only another way in
		notice = "notice.code_paused"
	case limit.Until.IsZero():
		notice = "notice.password_paused"
	}
	if notice != "" {
		page.Notice = &view.Notice{Tone: view.Problem, Text: view.T(notice, about...)}
		return
	}
	page.Errors, page.Notice = nil, nil
	page.Data = view.Limited{
		Until: limit.Until, Code: limit.What == budget.Password, Password: atCode && !code.SignUp, Back: limit.What != budget.Hash,
		Mail: atCode && code.MayMail,
	}
}

func (p *Pages) consentOf(s shown, prompt step.ConsentPrompt) view.Consent {
	consent := view.Consent{As: prompt.As}
	if s.Application != nil {
		consent.ThirdParty = !s.Application.FirstParty
		consent.PolicyURL, consent.TermsURL = s.Application.PolicyURL, s.Application.TermsURL
	}
	for _, claim := range prompt.Claims {
		share := p.share(s.lang, claim.Name, claim.Value)
		if claim.Mapped {
			share.Label = view.Literal(labelOf(claim, s.lang))
		}
		consent.Shares = append(consent.Shares, share)
	}
	if prompt.Offline {
		consent.Shares = append(consent.Shares, view.Share{Name: "offline_access"})
	}
	for _, scope := range prompt.Other {
		consent.Shares = append(consent.Shares, view.Share{Name: scope})
	}
	if len(consent.Shares) == 0 {
		consent.Shares = []view.Share{{Name: "openid"}}
	}
	return consent
}

// labelOf is what an operator calls a claim of his own: in the page's language,
// else in English, else by its name.
func labelOf(claim step.Claim, lang string) string {
	return cmp.Or(claim.Label[lang], claim.Label["en"], claim.Name)
}

// fieldsOf are the fields that ask for profile properties. The standard claims
// have words of their own in every language; for a tenant's own properties its
// schema speaks.
func fieldsOf(attributes []tenant.Attribute) []view.Field {
	fields := make([]view.Field, 0, len(attributes))
	for _, a := range attributes {
		field := view.Field{Name: a.Name, Required: a.Required, MaxLength: a.MaxLength}
		if !standard(a.Top()) {
			field.Label, field.Why = view.Literal(a.Title), view.Literal(a.Description)
			switch {
			case a.Type == "boolean":
				field.Type = "checkbox"
			case a.Type == "integer", a.Type == "number":
				field.Type = "number"
			case a.Format == "email", a.Format == "date":
				field.Type = a.Format
			case a.Format == "uri":
				field.Type = "url"
			}
		}
		for _, value := range a.Options {
			field.Options = append(field.Options, view.Option{Value: value, Label: view.Literal(value)})
		}
		fields = append(fields, field)
	}
	return fields
}
