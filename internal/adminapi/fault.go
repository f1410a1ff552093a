package adminapi

import (
	"errors"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// fault turns what a capability returned into what the operator is told.
// Whatever is not listed is a fault of ours.
func fault(err error, now time.Time) error {
	if _, told := errors.AsType[*problem.Error](err); told {
		return err
	}
	told := func(e *problem.Error) error { return e.Because(err) }
	switch {
	case errors.Is(err, tenant.ErrNotFound):
		return told(problem.NotFound("There is no such tenant. List them to see their ids and names."))
	case errors.Is(err, application.ErrNotFound):
		return told(problem.NotFound("The tenant has no such application."))
	case errors.Is(err, operator.ErrNotFound):
		return told(problem.NotFound("There is no such operator."))
	case errors.Is(err, operator.ErrLast):
		return told(problem.Conflict("Nobody who holds every scope for all tenants would be left, and nobody could change operators any more. Nothing was changed. Make another such operator first."))
	case errors.Is(err, operator.ErrInvalid):
		return told(refused(reason(err, operator.ErrInvalid)))
	case errors.Is(err, customer.ErrNotFound):
		return told(problem.NotFound("The tenant has no such customer."))
	case errors.Is(err, customer.ErrErased), errors.Is(err, keyring.ErrErased):
		return told(problem.New("erased", http.StatusGone, "The customer was erased", "Nothing is left of this customer but the id, and nothing can be brought back."))
	case errors.Is(err, customer.ErrTaken):
		return told(problem.Conflict("Another customer of the tenant has proved that one of these identifiers is theirs. Nothing was changed."))
	case errors.Is(err, tenant.ErrTaken):
		return told(problem.Conflict("Another tenant has that slug or that issuer. Nothing was changed."))
	case errors.Is(err, customer.ErrNotAllowed):
		return told(problem.Conflict("The customer's status does not take this change. Nothing was changed."))
	case errors.Is(err, tenant.ErrChanged), errors.Is(err, application.ErrChanged), errors.Is(err, customer.ErrChanged), errors.Is(err, operator.ErrChanged):
		return told(problem.Conflict("It was changed by somebody else since it was read. Nothing was changed. Read it again and repeat."))
	case errors.Is(err, tenant.ErrInvalid):
		return told(refused(reason(err, tenant.ErrInvalid)))
	case errors.Is(err, application.ErrInvalid):
		return told(refused(reason(err, application.ErrInvalid)))
	case errors.Is(err, organization.ErrNotFound):
		return told(problem.NotFound("The tenant has no such organization."))
	case errors.Is(err, organization.ErrNotMember):
		return told(problem.NotFound("The customer is not a member of the organization."))
	case errors.Is(err, organization.ErrNoInvitation):
		return told(problem.NotFound("The organization has no such invitation that is open: it was accepted, declined, taken back or deleted."))
	case errors.Is(err, organization.ErrGone):
		return told(problem.NotFound("The tenant has no such customer."))
	case errors.Is(err, organization.ErrTaken):
		return told(problem.Conflict("Another organization of the tenant has that slug. Nothing was changed."))
	case errors.Is(err, organization.ErrSuspended):
		return told(problem.Conflict("The organization is suspended. Nothing was changed. Open it again first."))
	case errors.Is(err, organization.ErrChanged):
		return told(problem.Conflict("It was changed by somebody else since it was read. Nothing was changed. Read it again and repeat."))
	case errors.Is(err, organization.ErrInvalid):
		return told(refused(reason(err, organization.ErrInvalid)))
	case errors.Is(err, fs.ErrExist):
		return told(problem.Conflict("That folder is there already. Nothing was written. Name a new one."))
	case limited(err) != nil:
		return told(tooManyLetters(limited(err).Until, now))
	case sqldb.IsBusy(err):
		return told(problem.Busy(time.Second))
	}
	return err
}

// refused is input that cannot be taken, for reasons in words, a line each. Those
// that begin with the key that is wrong, as capabilities' checks do, are told with
// a pointer to it too.
func refused(why string) *problem.Error {
	lines := strings.Split(why, "\n")
	var fields []problem.Field
	for _, line := range lines {
		if found := keyed.FindStringSubmatch(line); found != nil && !slices.Contains(notKeys, found[1]) {
			fields = append(fields, problem.Field{Pointer: "/" + strings.ReplaceAll(found[1], ".", "/"), Detail: strings.TrimLeft(line[len(found[1]):], ":, ")})
		}
	}
	e := problem.InvalidInput(fields...)
	if len(fields) < len(lines) {
		e.Detail = "Nothing was changed: " + strings.Join(lines, "; ") + "."
	}
	return e
}

// notKeys begin sentences, and faults of JSON, and look like keys.
var notKeys = []string{"it", "there", "json"}

// keyed is a reason that begins with a key, such as "password.min_length is 3".
var keyed = regexp.MustCompile(`^([a-z][a-z0-9_]*(?:\.[A-Za-z0-9_-]+)*)(?:: |, line | is | has | names | needs )`)

// reason is an error's text without what it is one of.
func reason(err, sort error) string { return strings.TrimPrefix(err.Error(), sort.Error()+": ") }

func badRequest(detail string) *problem.Error {
	return problem.New("bad-request", http.StatusBadRequest, "The request is not understood", detail)
}

func preconditionFailed(detail string) *problem.Error {
	return problem.New("precondition-failed", http.StatusPreconditionFailed, "The state has changed", detail)
}

// limited is an invitation that was not sent since too many were, nil for
// anything else.
func limited(err error) *organization.LimitedError {
	found, _ := errors.AsType[*organization.LimitedError](err)
	return found
}

// tooManyLetters refuses to send until a time.
func tooManyLetters(until, now time.Time) *problem.Error {
	e := problem.New("too-many-messages", http.StatusTooManyRequests, "Too many messages",
		"Nothing was sent. That address has had as many invitations as it may until "+until.UTC().Format(time.RFC3339)+".")
	e.Retry = until.Sub(now)
	return e
}

func isNoOperator(err error) bool { return errors.Is(err, operator.ErrNotFound) }
