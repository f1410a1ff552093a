package step

import (
	"time"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/keyring"
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

func textable(run *journey.Run, number string) bool {
	return customer.Textable(run.Tenant.Settings, number)
}

// channelOf is how messages to a kind of address travel.
func channelOf(kind identifier.Kind) notify.Channel {
	if kind == identifier.Phone {
		return notify.ByText
	}
	return notify.ByMail
}

// NoticeClaim is what telling a customer something by text message draws on: a
// budget of the number that is for notices alone. What strangers have sent to
// the number takes nothing of it, so that none of them keeps a customer from
// being told; and whoever has the account cannot have the tenant pay for more.
func NoticeClaim(t *tenant.Tenant, keys *keyring.Tenant, number string) budget.Claim {
	return budget.Claim{Kind: budget.TextNotice, Subject: budget.Stranger(keys.Lookup("text message", number)[0]),
		Limit: budget.Limit{Window: time.Hour, PerWindow: t.Settings.Phone.NumberPerHour}}
}

// mayMail tells whether the code may be asked for by mail instead, to the
// address of the account that the number finds: where there may be one. Who is
// signed in and named by a number has none.
func mayMail(run *journey.Run) bool {
	return hasNumber(run) && run.State.Journey != "sign-up" && run.Config.Text("purpose") != accountPurpose
}

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
