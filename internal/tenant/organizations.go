package tenant

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Organizations says what customers may be in an organization, and how they are
// invited to one.
type Organizations struct {
	Roles              []string `json:"roles"`                 // the names of roles that there are
	InvitationLifetime Duration `json:"invitation_lifetime"`   // how long an invitation may be accepted
	NameInviter        bool     `json:"name_inviter"`          // whether whoever is invited is told by whom
	SignUpByInvitation bool     `json:"sign_up_by_invitation"` // whether whoever is invited may open an account where sign_up.enabled is false
}

var roleName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,30}$`)

// mostRoles is how many roles a tenant has at most.
const mostRoles = 50

func (o Organizations) check() []error {
	var faults []error
	if len(o.Roles) == 0 || len(o.Roles) > mostRoles {
		faults = append(faults, fmt.Errorf("organizations.roles has %d names; it has between 1 and %d", len(o.Roles), mostRoles))
	}
	for i, name := range o.Roles {
		if !roleName.MatchString(name) {
			faults = append(faults, fmt.Errorf("organizations.roles: %q is not lower-case letters, digits, underscores and dashes", name))
		}
		if slices.Contains(o.Roles[:i], name) {
			faults = append(faults, fmt.Errorf("organizations.roles: %q is there twice", name))
		}
	}
	if life := o.InvitationLifetime.D(); life < time.Hour || life > 30*24*time.Hour {
		faults = append(faults, fmt.Errorf("organizations.invitation_lifetime is %s; it is between 1h and 720h", life))
	}
	return faults
}
