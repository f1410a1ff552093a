package view

import "html/template"

// Head is a page's heading, which is also the document's title.
type Head struct{ Title template.HTML }

func (f *frame) Head(key string) Head { return Head{f.T(key)} }
func (f *frame) HeadOf(t Text) Head   { return Head{f.Say(t)} }

// Button is a page's own button, and what it says while it works.
type Button struct {
	Label template.HTML
	Busy  string
}

func (f *frame) Button(label, busy string) Button { return Button{f.T(label), f.S(busy)} }
func (f *frame) ButtonOf(label Text) Button       { return Button{f.Say(label), f.S("common.busy")} }

var titles = map[string]string{
	"identify": "identify.title", "confirmaddress": "confirmaddress.title", "closeaccount": "closeaccount.title", "signup": "signup.title", "recover": "recover.title",
	"keep": "keep.title", "reviewaddresses": "reviewaddresses.title",
	"terms": "terms.title", "deny": "deny.title", "expired": "expired.title", "limited": "limited.title", "busy": "busy.title",
	"signout": "signout.title", "account": "account.title", "notfound": "notfound.title",
	"profile": "profile.title", "access": "access.title", "devices": "account.devices", "applications": "account.connected",
	"preferences": "preferences.title",
}

// TitleText is the document's title: what the heading says, as plain text.
func (f *frame) TitleText() string {
	switch data := f.Data.(type) {
	case Code:
		if data.Phone {
			return f.S("code.title_phone")
		}
		return f.S("code.title")
	case CreateAccount:
		if data.Operator {
			return f.S("operator.title")
		}
	case NewPassword:
		if data.Recovery || data.Account {
			return f.S("newpassword.title_recovery")
		}
		return f.S("newpassword.title")
	case SignedOut:
		if !data.Closed.IsZero() {
			return f.S("closeaccount.done_title")
		}
		return f.S("signedout.title")
	case Password:
		if data.Account {
			return f.S("password.title_account")
		}
		return f.S("password.title")
	case NewAddress:
		return f.S(data.title())
	case RemoveAddress:
		if data.Phone {
			return f.S("removenumber.title")
		}
		return f.S("removeaddress.title")
	case Disown:
		if data.Dead {
			return f.S("disown.dead_title")
		}
		return f.S("disown.title")
	case Invitation:
		if data.Dead {
			return f.S("invitation.dead_title")
		}
		return f.S("invitation.title", "Brand", f.Brand())
	case Consent:
		return f.S("consent.title", "App", f.Application, "Brand", f.Brand())
	case Revoke:
		return f.S("revoke.title", "App", data.Name)
	case Collect:
		return f.titleOr(data.Title, "collect.title")
	case Message:
		return f.titleOr(data.Title, "message.title")
	case Fault:
		return f.S(f.FaultTitle())
	}
	if title := f.organizationTitle(); title != "" {
		return title
	}
	return f.S(titles[f.name])
}

func (f *frame) titleOr(t Text, key string) string {
	if t.empty() {
		return f.S(key)
	}
	return f.Plain(t)
}

var faults = map[FaultKind][2]string{
	FaultServer:      {"fault.title", "fault.body"},
	FaultRedirect:    {"fault.redirect_title", "fault.redirect"},
	FaultApplication: {"fault.application_title", "fault.application"},
	FaultRequest:     {"fault.request_title", "fault.request"},
	FaultForged:      {"fault.forged_title", "fault.forged"},
	FaultOperator:    {"fault.operator_title", "fault.operator"},
}

func (f *frame) fault() [2]string {
	if data, ok := f.Data.(Fault); ok {
		if words, ok := faults[data.Kind]; ok {
			return words
		}
	}
	return faults[FaultServer]
}

func (f *frame) FaultTitle() string { return f.fault()[0] }
func (f *frame) FaultBody() string  { return f.fault()[1] }

// IdentifierInput is the field that asks who it is, for the kinds of address
// that the tenant takes.
func (f *frame) IdentifierInput() Input {
	var kinds []string
	switch data := f.Data.(type) {
	case Identify:
		kinds = data.Kinds
	case Recover:
		kinds = data.Kinds
	}
	has := map[string]bool{}
	for _, kind := range kinds {
		has[kind] = true
	}
	field := Field{Name: "identifier", Type: "text", Autocomplete: "username webauthn", Required: true, MaxLength: 320, LTR: true}
	switch email, phone, username := has["email"], has["phone"], has["username"]; {
	case email && phone && username:
		field.Label = T("identify.any")
	case email && phone:
		field.Label = T("identify.email_phone")
	case email && username:
		field.Label = T("identify.email_username")
	case phone && username:
		field.Label = T("identify.phone_username")
	case phone:
		field.Label, field.Type = T("identify.phone"), "tel"
	case username:
		field.Label = T("identify.username")
	default:
		field.Label, field.Type = T("identify.email"), "email"
	}
	return f.Input(field, "identifier")
}

// AddressInput is the field that asks for the address of a new account.
func (f *frame) AddressInput() Input {
	data, _ := f.Data.(CreateAccount)
	if data.Operator {
		return f.Input(Field{Name: "identifier", Type: "email", Label: T("signup.email"), Autocomplete: "email", Required: true, MaxLength: 320}, "identifier")
	}
	if data.Phone {
		return f.Input(Field{Name: "identifier", Type: "text", Label: T("identify.email_phone"), Why: T("signup.why_phone"),
			Autocomplete: "username", Required: true, MaxLength: 320, LTR: true}, "identifier")
	}
	return f.Input(Field{Name: "identifier", Type: "email", Label: T("signup.email"), Why: T("signup.why"),
		Autocomplete: "email", Required: true, MaxLength: 320}, "identifier")
}

// NewAddressInput is the field that asks for an address or a number that is to be
// the customer's.
func (f *frame) NewAddressInput() Input {
	if data, _ := f.Data.(NewAddress); data.Phone {
		return f.Input(Field{Name: "identifier", Type: "tel", Label: T("newnumber.number"), Autocomplete: "tel", Required: true, MaxLength: 64}, "identifier")
	}
	return f.Input(Field{Name: "identifier", Type: "email", Label: T("newaddress.email"), Autocomplete: "email", Required: true, MaxLength: 320}, "identifier")
}

// title is the key of the page's heading.
func (n NewAddress) title() string {
	switch {
	case n.Phone && n.Replaces != "":
		return "newnumber.title_change"
	case n.Phone:
		return "newnumber.title"
	case n.Replaces != "":
		return "newaddress.title_change"
	}
	return "newaddress.title"
}

// NewAddressTitle is the page's heading.
func (f *frame) NewAddressTitle() string {
	data, _ := f.Data.(NewAddress)
	return data.title()
}

// CollectInputs are the profile's fields; the first that is wrong gets the
// focus, else the first.
func (f *frame) CollectInputs() []Input {
	data, _ := f.Data.(Collect)
	var names []string
	for _, field := range data.Fields {
		names = append(names, field.Name)
	}
	focus := f.FirstError(names...)
	var inputs []Input
	for _, field := range data.Fields {
		inputs = append(inputs, f.Input(field, focus))
	}
	return inputs
}
