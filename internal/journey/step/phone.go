package step

import (
	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/tenant"
)

// hasNumber tells whether a phone number was named, of a tenant that sends codes
// to phones.
func hasNumber(run *journey.Run) bool {
	return run.Tenant.Settings.Phone.Enabled && run.State.Subject != nil && run.State.Subject.Kind == identifier.Phone
}

// byText tells whether the code goes to the number by text message.
func byText(run *journey.Run) bool { return hasNumber(run) && !run.State.ByMail }

// takesTexts tells whether text messages are sent to the number that was named.
func takesTexts(run *journey.Run) bool { return textable(run, run.State.Subject.Key) }

func textable(run *journey.Run, number string) bool { return Textable(run.Tenant, number) }

// Textable tells whether a tenant's text messages are sent to a number: a mobile
// phone's, of a country that the tenant names.
func Textable(t *tenant.Tenant, number string) bool {
	return identifier.TakesTexts(number) && t.Settings.TextsTo(identifier.Country(number))
}

// NoticesBy is how a customer is told of what was done with his account, and the
// kind of address that is for: by mail, or by text message who has no e-mail
// address that he has proved.
func NoticesBy(t *tenant.Tenant, who *customer.Customer) (notify.Channel, identifier.Kind) {
	if mail, has := who.Primary(identifier.Email); (!has || !mail.Verified) && t.Settings.Phone.Enabled {
		return notify.ByText, identifier.Phone
	}
	return notify.ByMail, identifier.Email
}

// mayMail tells whether the code may be asked for by mail instead, to the
// address of the account that the number finds: where there may be one.
func mayMail(run *journey.Run) bool { return hasNumber(run) && run.State.Journey != "sign-up" }

// sends is what sending the code draws on.
func sends(run *journey.Run) journey.Guard {
	switch {
	case !byText(run):
		return journey.Guard{Sends: budget.Send}
	case !takesTexts(run):
		return none // nothing is sent
	}
	return journey.Guard{Sends: budget.Send, Text: run.State.Subject.Key}
}

// asking is a run as it is once the code is asked for another way.
func asking(run *journey.Run, choice string) *journey.Run {
	state := *run.State
	state.ByMail = choice == "by_mail"
	of := *run
	of.State = &state
	return &of
}
