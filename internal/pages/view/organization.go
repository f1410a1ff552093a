package view

import (
	"html/template"
	"strings"
	"time"
)

// JoinOrganization tells of an invitation to an organization. Field: decision,
// continue; with Decide accept or decline. With Dead it is good for nothing any
// more, and with Member since whoever is signed in has accepted it; then HomeURL
// is where to go instead.
type JoinOrganization struct {
	Dead, Member bool
	Decide       bool // whoever is asked has proved the address
	SignedIn     bool // as somebody else than is invited
	Organization string
	Inviter      string // may be empty
	Address      string
	Roles        []string
	Until        time.Time
	HomeURL      string
}

// ChooseOrganization asks for which organization the customer acts. Fields:
// organization, an id; decision, deny.
type ChooseOrganization struct{ Organizations []Belonging }

// Belonging is an organization that the customer is a member of.
type Belonging struct {
	ID        string
	URL       string // of the page that asks whether to leave it
	Name      string
	Roles     []string
	Since     time.Time
	Suspended bool
}

// Organizations lists what the customer is a member of.
type Organizations struct{ Organizations []Belonging }

// LeaveOrganization asks whether to leave an organization. Field: decision,
// leave.
type LeaveOrganization struct {
	Belonging
	BackURL string
}

func (JoinOrganization) page() string   { return "joinorganization" }
func (ChooseOrganization) page() string { return "chooseorganization" }
func (Organizations) page() string      { return "organizations" }
func (LeaveOrganization) page() string  { return "leaveorganization" }

// Roles are the names of roles, as people read them: those that every tenant
// begins with have words of their own.
func (f *frame) Roles(roles []string) template.HTML {
	var out []string
	for _, role := range roles {
		if key := "role." + role; f.l.Has(key) {
			out = append(out, string(f.html(key, nil)))
			continue
		}
		out = append(out, "<bdi>"+template.HTMLEscapeString(clean(role))+"</bdi>")
	}
	return template.HTML(strings.Join(out, " · "))
}

// Clock is a time of day.
func (f *frame) Clock(t time.Time) string { return f.l.Clock(t.UTC()) }

// organizationTitle is the document's title of the pages of this file, "" for
// others.
func (f *frame) organizationTitle() string {
	switch data := f.Data.(type) {
	case JoinOrganization:
		switch {
		case data.Member:
			return f.S("join.member_title", "Organization", data.Organization)
		case data.Dead:
			return f.S("join.dead_title")
		}
		return f.S("join.title", "Organization", data.Organization)
	case ChooseOrganization:
		return f.S("organization.choose_title")
	case Organizations:
		return f.S("organization.list_title")
	case LeaveOrganization:
		return f.S("organization.leave_title", "Organization", data.Name)
	}
	return ""
}
