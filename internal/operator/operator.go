// Package operator owns who runs the installation: which customers of the
// system tenant are operators, which of its applications act as operators do,
// what scopes each holds, and for which tenants. A token that was given scopes
// is good for those that its operator still holds: the row is read at each
// request, so that what is taken away is gone at once.
//
// The first operator is made by a one-time link that the server prints while
// there is none, and in an emergency another link makes one more. The package
// does not know how operators sign in, nor what their scopes open.
package operator

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "operator", FS: migrations}
}

var (
	// ErrNotFound says that somebody is no operator.
	ErrNotFound = errors.New("there is no such operator")
	// ErrChanged says that an operator was changed since it was read.
	ErrChanged = errors.New("the operator was changed by somebody else since it was read")
	// ErrInvalid says that what an operator is to hold is refused; the text says why.
	ErrInvalid = errors.New("what the operator is to hold is refused")
	// ErrLink says that a link is unknown, was used, or has expired.
	ErrLink = errors.New("the link is unknown, was used before, or has expired")
	// ErrLast says that nobody who holds everything would be left.
	ErrLast = errors.New("nobody who holds every scope for all tenants would be left")
)

// Options are what Operators work with.
type Options struct {
	DB     *sqldb.DB
	Log    *event.Log
	Clock  clock.Clock
	Random io.Reader // cryptographically secure
	// Active tells, as of tx, whether a customer of the system tenant can sign in;
	// nil takes all for such.
	Active func(tx *sqldb.Tx, customer id.Customer) (bool, error)
}

// Operators reads and changes who runs the installation.
type Operators struct{ Options }

// New returns the operators.
func New(o Options) *Operators { return &Operators{o} }

// Holding is what an operator may do.
type Holding struct {
	Scopes  []string
	All     bool        // for all tenants
	Tenants []id.Tenant // for these, where All is not set
}

// Everything is every scope for all tenants.
func Everything() Holding { return Holding{Scopes: Scopes(), All: true} }

// Full tells whether it is every scope for all tenants.
func (h Holding) Full() bool {
	return h.All && !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(h.Scopes, s) })
}

// Reaches tells whether it is for a tenant. The system tenant is only reached
// by who reaches all.
func (h Holding) Reaches(t id.Tenant) bool {
	return h.All || t != id.SystemTenant && slices.Contains(h.Tenants, t)
}

// Covers tells whether other is no more than h.
func (h Holding) Covers(other Holding) bool {
	if slices.ContainsFunc(other.Scopes, func(s string) bool { return !slices.Contains(h.Scopes, s) }) {
		return false
	}
	return h.All || !other.All && !slices.ContainsFunc(other.Tenants, func(t id.Tenant) bool { return !slices.Contains(h.Tenants, t) })
}

// Check tells what is wrong with it.
func (h Holding) Check() error {
	if len(h.Scopes) == 0 {
		return fmt.Errorf("%w: name at least one scope", ErrInvalid)
	}
	for _, scope := range h.Scopes {
		if !Known(scope) {
			return fmt.Errorf("%w: there is no scope %q; there are %s", ErrInvalid, scope, strings.Join(scopes, ", "))
		}
	}
	if h.All == (len(h.Tenants) > 0) {
		return fmt.Errorf("%w: it is either for all tenants or for those that are named", ErrInvalid)
	}
	for _, t := range h.Tenants {
		if _, err := id.Parse[id.Tenant](string(t)); err != nil || t == id.SystemTenant {
			return fmt.Errorf("%w: %q is not the id of a tenant that one can be bound to", ErrInvalid, t)
		}
	}
	return nil
}

// Operator is one of those who run the installation.
type Operator struct {
	Holding
	Subject   string // a customer or an application of the system tenant
	Revision  int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Actor is how events name the operator with a subject.
func Actor(subject string) string { return "operator:" + subject }

// everything marks, beside their scopes, those who hold every scope for all
// tenants: they hold what later releases add too.
const everything = "*"

const columns = `subject, scopes, tenants, revision, created_at, updated_at`

func scan(s sqldb.Scanner) (*Operator, error) {
	var o Operator
	var scopes, tenants string
	if err := s.Scan(&o.Subject, &scopes, &tenants, &o.Revision, &o.CreatedAt, &o.UpdatedAt); err != nil {
		return nil, err
	}
	o.Scopes, o.All = strings.Fields(scopes), tenants == "*"
	if slices.Contains(o.Scopes, everything) {
		o.Scopes = Scopes()
	}
	if !o.All {
		for _, t := range strings.Fields(tenants) {
			o.Tenants = append(o.Tenants, id.Tenant(t))
		}
	}
	return &o, nil
}

// Get returns an operator as it is now, or ErrNotFound.
func (s *Operators) Get(ctx context.Context, subject string) (*Operator, error) {
	o, err := scan(s.DB.QueryRow(ctx, `SELECT `+columns+` FROM operator WHERE tenant = $1 AND subject = $2`, id.SystemTenant, subject))
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read the operator: %w", err)
	}
	return o, nil
}

// List returns up to limit operators whose subjects come after the given one.
func (s *Operators) List(ctx context.Context, after string, limit int) ([]*Operator, error) {
	rows, err := s.DB.Query(ctx, `SELECT `+columns+` FROM operator WHERE tenant = $1 AND subject > $2 ORDER BY subject LIMIT $3`, id.SystemTenant, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the operators: %w", err)
	}
	defer rows.Close()
	var all []*Operator
	for rows.Next() {
		o, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read an operator: %w", err)
		}
		all = append(all, o)
	}
	return all, rows.Err()
}

// Any tells whether there is an operator.
func (s *Operators) Any(ctx context.Context) (bool, error) {
	some, err := s.List(ctx, "", 1)
	return len(some) > 0, err
}

// Set makes a customer or an application of the system tenant an operator, or
// changes what one holds. Revision is the one that the caller has read; 0 takes
// whatever there is.
func (s *Operators) Set(tx *sqldb.Tx, subject string, revision int64, h Holding, actor string) error {
	if err := h.Check(); err != nil {
		return err
	}
	h.Scopes = slices.Compact(slices.Sorted(slices.Values(h.Scopes)))
	h.Tenants = slices.Compact(slices.Sorted(slices.Values(h.Tenants)))
	tenants := make([]string, 0, len(h.Tenants))
	for _, t := range h.Tenants {
		tenants = append(tenants, string(t))
	}
	bound := strings.Join(tenants, " ")
	if h.All {
		bound = "*"
	}
	scopes := strings.Join(h.Scopes, " ")
	if h.Full() {
		scopes = everything + " " + scopes
	}
	var changed int64
	var err error
	what := "operator.changed"
	if revision != 0 {
		changed, err = tx.Exec(`UPDATE operator SET scopes = $3, tenants = $4, revision = revision + 1, updated_at = $5
			WHERE tenant = $1 AND subject = $2 AND revision = $6`, id.SystemTenant, subject, scopes, bound, tx.Now(), revision)
	} else {
		var made int64
		if made, err = tx.Exec(`INSERT INTO operator (tenant, subject, scopes, tenants, revision, created_at, updated_at)
			VALUES ($1, $2, $3, $4, 1, $5, $5) ON CONFLICT DO NOTHING`, id.SystemTenant, subject, scopes, bound, tx.Now()); err != nil {
			return fmt.Errorf("insert the operator: %w", err)
		}
		changed = 1
		if made > 0 {
			what = "operator.created"
		} else {
			changed, err = tx.Exec(`UPDATE operator SET scopes = $3, tenants = $4, revision = revision + 1, updated_at = $5
				WHERE tenant = $1 AND subject = $2`, id.SystemTenant, subject, scopes, bound, tx.Now())
		}
	}
	if err != nil {
		return fmt.Errorf("store the operator: %w", err)
	}
	if changed == 0 {
		return ErrChanged
	}
	if what != "operator.created" && !h.Full() {
		if err := s.someoneFull(tx, ""); err != nil {
			return err
		}
	}
	return s.tell(tx, subject, what, actor, map[string]any{"subject": subject, "scopes": h.Scopes, "tenants": strings.Fields(bound)})
}

// Remove takes everything from an operator.
func (s *Operators) Remove(tx *sqldb.Tx, subject, actor string) error {
	removed, err := tx.Exec(`DELETE FROM operator WHERE tenant = $1 AND subject = $2`, id.SystemTenant, subject)
	if err != nil {
		return fmt.Errorf("delete the operator: %w", err)
	}
	if removed == 0 {
		return ErrNotFound
	}
	if err := s.someoneFull(tx, ""); err != nil {
		return err
	}
	return s.tell(tx, subject, "operator.removed", actor, map[string]any{"subject": subject})
}

// Spare refuses with ErrLast, as part of tx, that somebody stops being able to
// sign in without whom nobody would hold everything.
func (s *Operators) Spare(tx *sqldb.Tx, t id.Tenant, customer id.Customer) error {
	if t != id.SystemTenant {
		return nil
	}
	o, err := scan(tx.QueryRow(`SELECT `+columns+` FROM operator WHERE tenant = $1 AND subject = $2`, t, customer))
	if errors.Is(err, sqldb.ErrNoRows) || err == nil && !o.Full() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the operator: %w", err)
	}
	return s.someoneFull(tx, string(customer))
}

// someoneFull refuses a change that would leave nobody but one who holds
// everything and can sign in: only such can change operators' own accounts. Changes
// that ask so at once take turns: the rows are written, so that who comes second
// sees what the first has done.
func (s *Operators) someoneFull(tx *sqldb.Tx, but string) error {
	rows, err := tx.Query(`UPDATE operator SET revision = revision WHERE tenant = $1 AND tenants = '*' RETURNING `+columns, id.SystemTenant)
	if err != nil {
		return fmt.Errorf("read the operators: %w", err)
	}
	defer rows.Close()
	var full []id.Customer
	for rows.Next() {
		o, err := scan(rows)
		if err != nil {
			return fmt.Errorf("read an operator: %w", err)
		}
		if customer, err := id.Parse[id.Customer](o.Subject); err == nil && o.Full() && o.Subject != but {
			full = append(full, customer)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, customer := range full {
		if s.Active == nil {
			return nil
		}
		if active, err := s.Active(tx, customer); err != nil || active {
			return err
		}
	}
	return ErrLast
}

func (s *Operators) tell(tx *sqldb.Tx, subject, what, actor string, data map[string]any) error {
	e := event.Event{Tenant: id.SystemTenant, Type: what, Actor: actor, Data: data}
	if customer, err := id.Parse[id.Customer](subject); err == nil {
		e.Customer = customer
	}
	return s.Log.Append(tx, e)
}

// EraseCustomer removes what the package keeps of a customer.
func (s *Operators) EraseCustomer(tx *sqldb.Tx, t id.Tenant, customer id.Customer) error {
	if t != id.SystemTenant {
		return nil
	}
	if _, err := tx.Exec(`DELETE FROM operator WHERE tenant = $1 AND subject = $2`, t, customer); err != nil {
		return fmt.Errorf("delete the operator: %w", err)
	}
	_, err := tx.Exec(`DELETE FROM operator_link WHERE tenant = $1 AND customer = $2`, t, customer)
	return err
}

// Link is a one-time link that makes somebody an operator who holds everything.
type Link struct {
	First    bool        // it makes the first one
	Customer id.Customer // whom it is for; "" for whoever has it
	Expires  time.Time

	kind string
}

const (
	first = "first"
	// LinkLife is how long a link is good.
	LinkLife = time.Hour
)

// anyOperator tells whether there is one, as of tx.
func anyOperator(tx *sqldb.Tx) (bool, error) {
	var one int64
	err := tx.QueryRow(`SELECT 1 FROM operator WHERE tenant = $1 LIMIT 1`, id.SystemTenant).Scan(&one)
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// First makes a link for the first operator. Those that other nodes or starts
// have made stay good, until there is an operator. It returns "" where there is.
func (s *Operators) First(ctx context.Context) (string, error) {
	if any, err := s.Any(ctx); err != nil || any {
		return "", err
	}
	secret, hash, err := s.newLink()
	if err != nil {
		return "", err
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`DELETE FROM operator_link WHERE tenant = $1 AND expires_at <= $2`, id.SystemTenant, tx.Now()); err != nil {
			return fmt.Errorf("delete old links: %w", err)
		}
		if _, err := tx.Exec(`INSERT INTO operator_link (tenant, kind, hash, customer, expires_at) VALUES ($1, $2, $3, '', $4)`,
			id.SystemTenant, firstKind(hash), hash, tx.Now().Add(24*LinkLife)); err != nil {
			return fmt.Errorf("store the link: %w", err)
		}
		return s.Log.Append(tx, event.Event{Tenant: id.SystemTenant, Type: "operator.link.made", Actor: "system", Data: map[string]any{"first": true}})
	})
	return secret, err
}

// BreakGlass makes a link for an emergency: for a customer of the system
// tenant, or for whoever has it.
func (s *Operators) BreakGlass(ctx context.Context, customer id.Customer, actor string) (string, error) {
	secret, hash, err := s.newLink()
	if err != nil {
		return "", err
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`DELETE FROM operator_link WHERE tenant = $1 AND expires_at <= $2`, id.SystemTenant, tx.Now()); err != nil {
			return fmt.Errorf("delete old links: %w", err)
		}
		if _, err := tx.Exec(`INSERT INTO operator_link (tenant, kind, hash, customer, expires_at) VALUES ($1, $2, $3, $4, $5)`,
			id.SystemTenant, kindOf(hash), hash, customer, tx.Now().Add(LinkLife)); err != nil {
			return fmt.Errorf("store the link: %w", err)
		}
		return s.Log.Append(tx, event.Event{Tenant: id.SystemTenant, Customer: customer, Type: "operator.link.made", Actor: actor, Data: map[string]any{"break_glass": true}})
	})
	return secret, err
}

func firstKind(hash []byte) string { return first + " " + kindOf(hash) }

func kindOf(hash []byte) string { return base64.RawURLEncoding.EncodeToString(hash) }

func (s *Operators) newLink() (secret string, hash []byte, err error) {
	var raw [32]byte
	if _, err := io.ReadFull(s.Random, raw[:]); err != nil {
		return "", nil, fmt.Errorf("read randomness: %w", err)
	}
	secret = base64.RawURLEncoding.EncodeToString(raw[:])
	sum := sha256.Sum256([]byte(secret))
	return secret, sum[:], nil
}

// Open reads a link without using it. What is not good is ErrLink.
func (s *Operators) Open(ctx context.Context, secret string) (Link, error) {
	sum := sha256.Sum256([]byte(secret))
	var l Link
	err := s.DB.QueryRow(ctx, `SELECT kind, customer, expires_at FROM operator_link WHERE tenant = $1 AND kind IN ($2, $3) AND hash = $4 AND expires_at > $5`,
		id.SystemTenant, firstKind(sum[:]), kindOf(sum[:]), sum[:], s.Clock.Now()).Scan(&l.kind, &l.Customer, &l.Expires)
	if errors.Is(err, sqldb.ErrNoRows) {
		return Link{}, ErrLink
	}
	if err != nil {
		return Link{}, fmt.Errorf("read the link: %w", err)
	}
	if l.First = l.kind == firstKind(sum[:]); l.First {
		if any, err := s.Any(ctx); err != nil || any {
			return Link{}, errors.Join(err, ErrLink)
		}
	}
	return l, nil
}

// Spend uses a link up for a customer, who is an operator then that holds
// everything: whoever comes second has ErrLink.
func (s *Operators) Spend(tx *sqldb.Tx, secret string, l Link, customer id.Customer) error {
	sum := sha256.Sum256([]byte(secret))
	spent, err := tx.Exec(`DELETE FROM operator_link WHERE tenant = $1 AND kind = $2 AND hash = $3 AND expires_at > $4`, id.SystemTenant, l.kind, sum[:], tx.Now())
	if err != nil {
		return fmt.Errorf("use the link up: %w", err)
	}
	if spent == 0 || (l.Customer != "" && l.Customer != customer) {
		return ErrLink
	}
	if l.First {
		// Whoever uses another of them at the same time waits at this row, and finds
		// then that there is an operator. It has expired, and goes with old links.
		if _, err := tx.Exec(`INSERT INTO operator_link (tenant, kind, hash, customer, expires_at) VALUES ($1, $2, $3, '', $4)
			ON CONFLICT (tenant, kind) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at`, id.SystemTenant, first, sum[:], tx.Now()); err != nil {
			return fmt.Errorf("take turns: %w", err)
		}
		if there, err := anyOperator(tx); err != nil || there {
			return errors.Join(err, ErrLink)
		}
	}
	if err := s.Set(tx, string(customer), 0, Everything(), "system"); err != nil {
		return err
	}
	return s.Log.Append(tx, event.Event{Tenant: id.SystemTenant, Customer: customer, Type: "operator.link.used", Actor: string(customer), Data: map[string]any{"first": l.First}})
}
