package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"github.com/cardea-id/cardea/internal/config"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // what was asked for could not be done
	exitUsage  = 2 // the command line or the configuration is wrong
)

// program is what a run of the program has to do with the outside.
type program struct {
	out, err io.Writer
	in       io.Reader
	environ  []string
}

// commands is every command there is.
type commands struct {
	Dev     devCommand     `cmd:"" help:"Run everything on this machine: a demo tenant with three applications, and an inbox for messages."`
	Serve   serveCommand   `cmd:"" help:"Run the server."`
	Migrate migrateCommand `cmd:"" help:"Bring the databases up to date. On SQLite no server may be running."`

	Init initCommand `cmd:"" help:"Make a brand and its first application, and print a .env for it."`

	Tenant struct {
		Create  createTenantCommand  `cmd:"" help:"Make a tenant."`
		List    listTenantsCommand   `cmd:"" help:"List the tenants."`
		Suspend suspendTenantCommand `cmd:"" help:"Shut a tenant: nobody signs in, and none of its tokens are good."`
		Resume  suspendTenantCommand `cmd:"" help:"Open a suspended tenant again."`
	} `cmd:"" help:"Tenants: customer bases with an issuer each."`
	Settings struct {
		Show  showSettingsCommand  `cmd:"" help:"Print a tenant's settings as JSON, to be edited and applied."`
		Apply applySettingsCommand `cmd:"" help:"Change the settings that a file names, in YAML or JSON; the rest stays as it is."`
	} `cmd:"" help:"Settings of a tenant."`
	Brand struct {
		Show  showBrandCommand  `cmd:"" help:"Print a tenant's brand as YAML, to be edited and applied."`
		Apply applyBrandCommand `cmd:"" help:"Change what a file names of the brand, in YAML or JSON; the rest stays as it is."`
		Asset struct {
			Set    setAssetCommand    `cmd:"" help:"Store a picture or a font."`
			Remove removeAssetCommand `cmd:"" help:"Remove a picture or a font."`
		} `cmd:"" help:"Pictures and fonts."`
		Preview previewBrandCommand `cmd:"" help:"Write a page or a message as customers would see it."`
	} `cmd:"" help:"Brand of a tenant: its look, its words, its mail."`
	Application struct {
		Create createApplicationCommand `cmd:"" help:"Register an application. Its secret is printed once."`
		List   listApplicationsCommand  `cmd:"" help:"List the applications of a tenant."`
		Secret rotateSecretCommand      `cmd:"" help:"Give an application a new secret, which is printed once."`
		Claims struct {
			Show    showClaimsCommand    `cmd:"" help:"Print the claims that are mapped for an application as YAML, to be edited and applied."`
			Apply   applyClaimsCommand   `cmd:"" help:"Replace the claims that are mapped for an application, by a file in YAML or JSON."`
			Preview previewClaimsCommand `cmd:"" help:"Show which claims an application would get of a customer."`
		} `cmd:"" help:"Claims of your own, in an application's tokens and in userinfo."`
	} `cmd:"" aliases:"app" help:"Applications: clients of the protocols."`
	Customer struct {
		Create     createCustomerCommand `cmd:"" help:"Make an account. The customer chooses the password."`
		Show       showCustomerCommand   `cmd:"" help:"Show a customer."`
		Find       findCustomersCommand  `cmd:"" help:"Find customers by the beginning of an identifier or a name, where the tenant's settings have them searched."`
		Profile    profileCommand        `cmd:"" help:"Change a customer's profile."`
		Invite     inviteCommand         `cmd:"" help:"Invite somebody to open an account, by an address."`
		Status     customerStatusCommand `cmd:"" help:"Show a customer's status and how it came about."`
		Lock       untilCommand          `cmd:"" help:"Lock a customer out for safety; all sessions and tokens end."`
		Unlock     statusCommand         `cmd:"" help:"Let a locked customer in again, and forget the wrong guesses that were counted, whether or not he is locked."`
		Suspend    untilCommand          `cmd:"" help:"Suspend a customer; all sessions and tokens end."`
		Activate   statusCommand         `cmd:"" help:"Let a suspended customer in again."`
		Close      statusCommand         `cmd:"" help:"Close an account; all sessions and tokens end, and it is erased later unless the customer keeps it."`
		Reopen     statusCommand         `cmd:"" help:"Open a closed account again, while it is not erased."`
		Identifier struct {
			Add    addIdentifierCommand    `cmd:"" help:"Give a customer another identifier."`
			Verify verifyIdentifierCommand `cmd:"" help:"Record that an identifier is known to be the customer's; from then on it finds the customer."`
			Remove removeIdentifierCommand `cmd:"" help:"Take an identifier from a customer."`
		} `cmd:"" help:"Identifiers of a customer."`
		Erase eraseCommand `cmd:"" help:"Erase a customer for good. This cannot be undone, not by a restore either."`
	} `cmd:"" help:"Customers, by id or by a verified identifier."`
	Organization struct {
		Create  createOrganizationCommand  `cmd:"" help:"Make an organization."`
		List    listOrganizationsCommand   `cmd:"" help:"List the organizations of a tenant."`
		Show    showOrganizationCommand    `cmd:"" help:"Show an organization."`
		Rename  renameOrganizationCommand  `cmd:"" help:"Change an organization's name or slug."`
		Suspend suspendOrganizationCommand `cmd:"" help:"Suspend an organization: nobody acts for it until it is opened again."`
		Resume  resumeOrganizationCommand  `cmd:"" help:"Open a suspended organization again."`
		Delete  deleteOrganizationCommand  `cmd:"" help:"Delete an organization with its memberships and invitations. Its members stay customers."`
		Member  struct {
			List   listMembersCommand  `cmd:"" help:"List the members of an organization."`
			Set    setMemberCommand    `cmd:"" help:"Make a customer a member, or change a member's roles."`
			Remove removeMemberCommand `cmd:"" help:"Take a member out; tokens for the organization end at once."`
		} `cmd:"" help:"Members of an organization."`
		Invite      inviteMemberCommand     `cmd:"" help:"Invite somebody by mail. Who is invited already is sent a new link."`
		Invitations listInvitationsCommand  `cmd:"" help:"List the invitations to an organization."`
		Resend      resendInvitationCommand `cmd:"" help:"Send an invitation once more, with a new link."`
		Revoke      revokeInvitationCommand `cmd:"" help:"Take an invitation back."`
	} `cmd:"" aliases:"org" help:"Organizations: companies or groups of customers."`
	Session struct {
		List   listSessionsCommand  `cmd:"" help:"List a customer's sessions."`
		Revoke revokeSessionCommand `cmd:"" help:"End one session of a customer, or all."`
	} `cmd:"" help:"Sessions of customers."`
	Grant struct {
		List   listGrantsCommand  `cmd:"" help:"List what a customer has allowed applications."`
		Revoke revokeGrantCommand `cmd:"" help:"Take back what a customer has allowed an application; its tokens end."`
	} `cmd:"" help:"Grants: what customers have allowed applications."`
	Operator struct {
		List       listOperatorsCommand  `cmd:"" help:"List who runs the installation, and what each holds."`
		Create     createOperatorCommand `cmd:"" help:"Make an operator of an account of the system tenant, which is made where there is none."`
		Scopes     operatorScopesCommand `cmd:"" help:"Show what an operator holds, or have it hold what the flags say."`
		Remove     removeOperatorCommand `cmd:"" help:"Take everything from an operator, at once."`
		BreakGlass breakGlassCommand     `cmd:"" help:"In an emergency: print a one-time link that makes an operator who holds everything."`
	} `cmd:"" help:"Operators: who runs the installation through the admin API."`
	Event struct {
		List   listEventsCommand   `cmd:"" help:"List what happened in a tenant, the newest first."`
		Anchor anchorRecordCommand `cmd:"" help:"Write down where the record's chains stand, to be kept apart from the database."`
		Verify verifyRecordCommand `cmd:"" help:"Check that no event was changed, removed or put in since it was made."`
	} `cmd:"" help:"Events: what happened."`
	Message struct {
		List    listMessagesCommand     `cmd:"" help:"List the messages of the last seven days that could not be delivered, or those that have not left yet, the newest first."`
		Texts   listMessageTextsCommand `cmd:"" help:"List the words of messages: each kind in each language, and whose words they are."`
		Show    showMessageTextCommand  `cmd:"" help:"Show the brand's own words in a message."`
		Set     setMessageTextCommand   `cmd:"" help:"Have a message said in the brand's own words."`
		Reset   resetMessageTextCommand `cmd:"" help:"Have a message said in Cardea's words again."`
		Preview previewMessageCommand   `cmd:"" help:"Write a message as customers would see it."`
	} `cmd:"" help:"Messages to customers."`
	Mail struct {
		Check checkMailCommand `cmd:"" help:"Look up whether mailboxes will believe the mail of each brand: SPF, DKIM, DMARC, MX."`
		Test  testMailCommand  `cmd:"" help:"Send a test message at once, and say what the mail server or provider answers."`
	} `cmd:"" help:"Mail that arrives."`
	Explain  explainCommand `cmd:"" help:"Tell what stands behind the id of an error that a customer or an application was shown."`
	Breached struct {
		Build buildBreachedCommand `cmd:"" help:"Make the list of breached passwords smaller and faster to read, for breached_passwords_file."`
	} `cmd:"" help:"The list of breached passwords."`
	Keys struct {
		Rotate rotateKeysCommand `cmd:"" help:"Replace a tenant's signing key, the key that its customers' keys are wrapped with, or that of the hashes they are found by."`
		List   listKeysCommand   `cmd:"" help:"List a tenant's signing keys."`
		Lookup lookupCommand     `cmd:"" help:"Show how far the replacement of a tenant's look-up key has come."`
		Rewrap rewrapCommand     `cmd:"" help:"Move all keys to the present root key and the present keys of their tenants."`
		Adopt  adoptCommand      `cmd:"" help:"Take a new key store when the former one is lost for good. What was sealed for customers is lost with it."`
		Ledger ledgerCommand     `cmd:"" help:"Export the erasure ledger, to be kept for as long as any backup."`
		Root   struct {
			Generate generateRootCommand `cmd:"" help:"Make a root key in a new file."`
			Show     showRootsCommand    `cmd:"" help:"Tell which root keys are needed, and what each still wraps."`
		} `cmd:"" help:"The root key."`
	} `cmd:"" help:"Keys."`

	Backup  backupCommand  `cmd:"" help:"Copy both stores to a folder, while the server works."`
	Restore restoreCommand `cmd:"" help:"Put a backup back. No server may be running. Everybody signs in again afterwards."`

	Check checkCommand `cmd:"" help:"Look for weaknesses: configuration, databases, keys, mail, public addresses. It runs beside servers and changes nothing."`

	Config struct {
		Reference referenceCommand `cmd:"" help:"Print every setting of the configuration file with its default."`
	} `cmd:"" help:"The configuration."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// exit is how kong ends the program after it printed help.
type exit int

// run runs one command and returns the exit code.
func (p *program) run(ctx context.Context, args []string) (code int) {
	defer func() {
		if value := recover(); value != nil {
			ended, ok := value.(exit)
			if !ok {
				panic(value)
			}
			code = int(ended)
		}
	}()
	var c commands
	parser, err := kong.New(&c, kong.Name("cardea"), kong.Description("Customer identity and access management."),
		kong.Writers(p.out, p.err), kong.Exit(func(code int) { panic(exit(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(p))
	if err != nil {
		p.complain(err)
		return exitFailed
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		p.complain(err)
		fmt.Fprintln(p.err, "Run it with --help to see what there is.")
		return exitUsage
	}
	if err := parsed.Run(); err != nil {
		p.complain(err)
		_, badConfig := errors.AsType[*config.Error](err)
		_, badUsage := errors.AsType[*usageError](err)
		if badConfig || badUsage {
			return exitUsage
		}
		return exitFailed
	}
	return exitDone
}

func (p *program) complain(err error) { fmt.Fprintln(p.err, "cardea: "+printable(err.Error())) }

// usageError is a command line that parses and yet is wrong.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }
