package step

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// What the codes of this step are for: to sign in or open an account with, to
// set a new password with, or to show that it is still the customer before
// something of his account is changed. A code for one is no code for the other,
// and a proof by one is no proof for the other.
const (
	codePurpose     = "email"
	recoveryPurpose = "recovery"
	accountPurpose  = "account"
)

// purposeOf is what a challenge is for; a step's setting or a proof says so
// where it is not signing in.
func purposeOf(said string) string {
	if said == "" {
		return codePurpose
	}
	return said
}

// checkPurpose tells what is wrong with a step's setting "purpose".
func checkPurpose(c journey.Config) error {
	if said := c.Text("purpose"); said != "" && said != recoveryPurpose && said != accountPurpose {
		return fmt.Errorf("purpose is %q; it is %q, %q or not set", said, recoveryPurpose, accountPurpose)
	}
	return c.Only("purpose")
}

// Code proves an e-mail address or, where the tenant has phone numbers, a phone
// number by a code sent to it. An address without an account gets the same code
// at the same cost; whether there is one is told only once the code has come
// back. The account of a number may have its code by mail instead, which is
// offered for every number.
type Code struct{ Capabilities }

// CodePrompt asks for the code.
type CodePrompt struct {
	Address  string // who was named, as typed
	Digits   int
	SignUp   bool // whether the journey began as a sign-up
	Recovery bool // whether a new password is to be set with it
	Account  bool // whether who is signed in shows with it that he still is himself
	Sent     bool // whether a code has been sent: false when too many have been
	Phone    bool // whether it goes to the number by text message
	NoTexts  bool // whether the number takes no text messages
	MayMail  bool // whether it can be asked for by mail, to the account that the number finds
	MayText  bool // whether it can be asked for by text message instead
	Mailed   bool // whether it was
	Returned bool // whether messages to the address come back: told in browsers that the customer is known in
}

func (CodePrompt) Kind() string { return "code" }

func (Code) Outcomes() []string {
	return []string{"known", "unknown", "invited", "closed", "refused", "back", "password"}
}
func (Code) Check(c journey.Config) error { return checkPurpose(c) }

func (c Code) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	returned := ""
	if run.Device != "" && run.State.Customer != "" && run.State.Subject != nil { // a stranger is told nothing of an address
		var err error
		if returned, err = c.Directory.Undeliverable(ctx, run.Tenant.ID, run.Keys, run.State.Customer, *run.State.Subject); err != nil {
			return nil, err
		}
	}
	return CodePrompt{Returned: returned != "",
		Address: shown(run), Digits: challenge.Digits, SignUp: run.State.Journey == "sign-up",
		Recovery: run.Config.Text("purpose") == recoveryPurpose, Account: run.Config.Text("purpose") == accountPurpose, Sent: run.State.Challenge != "",
		Phone: byText(run), NoTexts: byText(run) && !takesTexts(run), MayMail: byText(run) && mayMail(run),
		MayText: run.State.ByMail && hasNumber(run), Mailed: run.State.ByMail && hasNumber(run),
	}, nil
}

func (Code) Guard(run *journey.Run, answer journey.Answer) journey.Guard {
	switch {
	case answer.Choice == "resend":
		return sends(run)
	case answer.Choice == "by_mail" && mayMail(run), answer.Choice == "by_text" && hasNumber(run):
		return sends(asking(run, answer.Choice))
	case answer.Choice != "" || answer.Value("code") == "" || run.State.Challenge == "":
		return none
	}
	return journey.Guard{Tests: budget.Code, Strong: run.State.Strong}
}

func (Code) EnterGuard(run *journey.Run) journey.Guard { return sends(run) }

// Enter sends a code. Known and unknown addresses take the same way: the
// challenge is kept under the hash of what was named, the message sealed with
// the tenant's key. Where there is nobody to send it to, the message is made
// all the same and discarded by whoever sends.
//
// Where no guess at a short code is good any more, since too many were wrong,
// the code is a long one, which nobody guesses: whoever has the mailbox gets in
// whatever strangers do (docs/decisions/0011).
func (c Code) Enter(ctx context.Context, run *journey.Run) error {
	run.State.Challenge, run.State.Handle, run.State.Strong, run.State.SentEpoch, run.State.Texted = "", nil, false, 0, false
	if byText(run) && !takesTexts(run) {
		return nil
	}
	to, by, err := c.recipient(ctx, run)
	if err != nil {
		return err
	}
	make := challenge.NewCode
	if run.State.Strong, err = c.Budgets.Exhausted(ctx, run.Tenant.ID, budget.Code, journey.Subject(run), journey.LimitOf(run.Tenant, budget.Code)); err != nil {
		return err
	}
	if run.State.Strong {
		make = challenge.NewLongCode
	}
	code, err := make(c.Random)
	if err != nil {
		return err
	}
	limits := run.Tenant.Settings.Limits
	agent := session.ParseAgent(run.Client.UserAgent, run.Client.Hints, run.Client.Address.String())
	data := notify.Data{
		Code: code, ValidFor: limits.CodeLifetime.D(), Application: run.Tenant.Name,
		Browser: agent.Browser, System: agent.OS, At: run.Now,
	}
	if run.Application != nil {
		data.Application = run.Application.Name
	}
	template, purpose := notify.Code, purposeOf(run.Config.Text("purpose"))
	if purpose == recoveryPurpose {
		template = notify.Recovery
		if data.Holder, err = c.holderOf(ctx, run); err != nil {
			return err
		}
	}
	// The code is worth what its customer's epoch is now: a new password, another
	// address or a lock in between, and it proves nothing.
	state, err := c.Directory.State(ctx, run.Tenant.ID, run.Known())
	if err != nil {
		return err
	}
	expires := run.Now.Add(limits.CodeLifetime.D())
	handle := run.Handle()
	var issued id.Challenge
	err = c.DB.Write(ctx, func(tx *sqldb.Tx) error {
		var err error
		issued, err = c.Challenges.Issue(tx, run.Keys, challenge.Issue{
			Tenant: run.Tenant.ID, Handle: handle, Purpose: purpose, Run: run.State.Run,
			Code: code, Expires: expires, MaxAttempts: limits.AttemptsPerCode,
		})
		if err != nil {
			return err
		}
		return c.Outbox.Enqueue(tx, notify.Message{
			Tenant: run.Tenant.ID, Brand: run.Tenant.Brand.ID, Key: run.Keys, Handle: handle, To: to, By: by, Discard: to == "",
			Template: template, Lang: run.Client.Language, Data: data, Expires: expires,
		})
	})
	if err != nil {
		return fmt.Errorf("send the code: %w", err)
	}
	run.State.Challenge, run.State.Handle, run.State.SentEpoch, run.State.Texted = issued, handle, state.Epoch, by == notify.ByText
	return nil
}

// holderOf is what the message of a recovery's code says of who was named: pages
// say nothing of it. It is looked up alike for an address without an account.
func (c Code) holderOf(ctx context.Context, run *journey.Run) (notify.Holder, error) {
	stored, err := c.Passwords.Password(ctx, run.Tenant.ID, run.Known())
	switch {
	case err != nil:
		return "", err
	case run.State.Customer == "":
		return notify.Nobody, nil
	case !stored.Exists():
		return notify.Passwordless, nil
	}
	return "", nil
}

// recipient is where the code goes: the address that was named, else the
// number by text message, else the e-mail address of who was named by something
// else, else nowhere. It is the
// address in the form that accounts are found by, so that every spelling that
// finds an account has its code sent to one and the same mailbox (SECURITY G5).
func (c Code) recipient(ctx context.Context, run *journey.Run) (to string, by notify.Channel, err error) {
	if run.State.Subject == nil {
		return "", "", journey.ErrForged
	}
	switch {
	case run.State.Subject.Kind == identifier.Email:
		return run.State.Subject.Key, notify.ByMail, nil
	case byText(run):
		return run.State.Subject.Key, notify.ByText, nil
	}
	to, err = c.mailOf(ctx, run)
	return to, notify.ByMail, err
}

// mailOf is the e-mail address of who was named by something else, "" where
// there is none.
func (c Code) mailOf(ctx context.Context, run *journey.Run) (string, error) {
	found, err := c.Directory.Get(ctx, run.Tenant.ID, run.Known())
	if err != nil && !errors.Is(err, customer.ErrErased) && !errors.Is(err, customer.ErrNotFound) {
		return "", fmt.Errorf("read where the code goes: %w", err)
	}
	// Where there is none, one is normalised all the same: the time tells nothing.
	display, reachable := "nobody@nowhere.example", false
	if err == nil {
		if it, has := found.Primary(identifier.Email); has && it.Verified {
			display, reachable = it.Display, true
		}
	}
	address, err := normalise(run, identifier.Email, display)
	if err != nil {
		return "", fmt.Errorf("read where the code goes: %w", err)
	}
	if !reachable {
		return "", nil
	}
	return address.Key, nil
}

func (c Code) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	switch answer.Choice {
	case "":
	case "back":
		forget(run)
		return journey.To("back"), nil
	case "password":
		return journey.To("password"), nil
	case "resend":
		return journey.Again(), c.Enter(ctx, run)
	case "by_mail", "by_text":
		if answer.Choice == "by_mail" && !mayMail(run) || !hasNumber(run) {
			return journey.Again(), nil
		}
		run.State.ByMail = answer.Choice == "by_mail"
		return journey.Again(), c.Enter(ctx, run)
	default:
		return journey.Again(), nil
	}
	if answer.Value("code") == "" {
		return journey.Again(journey.FieldError{Field: "code", Code: "code_empty"}), nil
	}
	if run.State.Challenge == "" {
		return journey.Again(journey.FieldError{Field: "code", Code: "code_expired"}), nil
	}
	typed := answer.Value("code")
	if run.Void { // the attempt is counted, and no code is empty
		typed = ""
	}
	result, err := c.Challenges.Test(ctx, challenge.Asked{
		Tenant: run.Tenant.ID, Handle: run.State.Handle, Challenge: run.State.Challenge, Purpose: purposeOf(run.Config.Text("purpose")), Run: run.State.Run,
	}, typed)
	if err != nil {
		return journey.Result{}, err
	}
	switch result {
	case challenge.Correct:
	case challenge.Wrong:
		return journey.Again(journey.FieldError{Field: "code", Code: "code_wrong"}), nil
	case challenge.Exhausted:
		return journey.Again(journey.FieldError{Field: "code", Code: "code_exhausted"}), nil
	default: // expired, spent or swept: all the same to whoever asks
		return journey.Again(journey.FieldError{Field: "code", Code: "code_expired"}), nil
	}
	proof := journey.Proof{
		Method: "otp", Budget: budget.Code, Challenge: run.State.Challenge, Handle: run.State.Handle, Purpose: run.Config.Text("purpose"),
		Verified: run.State.Subject.Kind == identifier.Email || run.State.Texted,
	}
	if run.State.Texted {
		proof.Method = "sms"
	}
	// Who has the address is asked again: an account may have been opened since.
	holder, found, err := c.Directory.Find(ctx, run.Tenant.ID, run.Keys, *run.State.Subject)
	if err != nil {
		return journey.Result{}, err
	}
	invited := false
	if !found && proof.Verified {
		holder, invited, err = c.Directory.Invited(ctx, run.Tenant.ID, run.Keys, *run.State.Subject)
		if err != nil {
			return journey.Result{}, err
		}
	}
	if !found && !invited {
		if !proof.Verified { // nothing was sent to anybody: no right code exists
			return journey.Again(journey.FieldError{Field: "code", Code: "code_wrong"}), nil
		}
		run.State.Customer = ""
		proof.At = run.Now.Unix()
		run.State.Proofs = append(run.State.Proofs, proof)
		return journey.To("unknown"), nil
	}
	sent := run.State.SentEpoch
	if run.State.Customer != holder {
		sent = 0 // the account was opened since: by whoever has the mailbox, as this one
		run.State.Customer, run.State.Proofs = holder, nil
		if run.Device, err = c.Device(ctx, run.Tenant.ID, holder, run.Client.Device); err != nil {
			return journey.Result{}, err
		}
	}
	state, err := c.prove(ctx, run, proof)
	if err != nil {
		return journey.Result{}, err
	}
	if sent != 0 && sent != state.Epoch {
		return c.overtaken(run), nil
	}
	switch passage := state.Status.At(c.door(run)); {
	case passage == customer.AsNobody, passage == customer.Joins && invited != (state.Status == customer.Invited):
		return c.overtaken(run), nil // what was read before is so no more
	case passage == customer.Opens && !invited:
		return journey.To("known"), nil
	case passage == customer.Joins:
		run.State.Joins = string(state.Status)
		if invited {
			return journey.To("invited"), nil
		}
		return journey.To("known"), nil
	case passage == customer.Asks && state.Keepable(run.Now):
		return journey.To("closed"), nil
	}
	return journey.To("refused"), nil
}

// overtaken is what is said when the account has changed since the code was sent.
func (Code) overtaken(run *journey.Run) journey.Result {
	run.State.Proofs, run.State.Epoch = nil, 0
	return journey.Again(journey.FieldError{Field: "code", Code: "code_expired"})
}

// door is the one that the code opens.
func (Code) door(run *journey.Run) customer.Door {
	switch {
	case run.Config.Text("purpose") == recoveryPurpose:
		return customer.Recovery
	case run.State.Journey == "sign-up":
		return customer.SignUp
	}
	return customer.MailedCode
}
