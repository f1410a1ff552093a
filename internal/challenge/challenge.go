// Package challenge owns short codes that were sent to an address and are asked
// back. Each is a row with the code's keyed hash, bound to the challenge, a
// count of attempts and an expiry.
//
// A right code is not spent by being right: its challenge is solved, and spent
// in the transaction of what it buys, exactly once. Right and wrong codes both
// count as attempts, and however many arrive at once, no more are looked at
// than the challenge allows. That bounds guesses at one code; guesses over all
// codes are bounded by internal/budget, before this package is asked.
//
// A code for an address without an account makes the same row as one with: the
// row is keyed by the address' hash. The package knows neither how a code
// travels nor what it is good for.
package challenge

import (
	"context"
	"crypto/subtle"
	"embed"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "challenge", FS: migrations}
}

// Kept is how long a challenge is kept after it has expired: for so long a
// solved one may still be spent, and a spent one is remembered.
const Kept = 2 * time.Hour

// Options are what Challenges work with. All are required.
type Options struct {
	DB     *sqldb.DB
	Ring   *keyring.Ring
	Clock  clock.Clock
	Random io.Reader
}

// Challenges issues, tests and spends. It is safe for concurrent use.
type Challenges struct{ Options }

// New returns the challenges over a database that holds Migrations.
func New(o Options) *Challenges { return &Challenges{o} }

// Issue describes a challenge to be issued.
type Issue struct {
	Tenant      id.Tenant
	Handle      []byte      // the keyed hash of the address that the code goes to
	Customer    id.Customer // "" where the address finds nobody
	Purpose     string      // what the code is for, such as "email"; a code for one is no code for another
	Run         id.Run      // the run of the journey that asks
	Code        string      // as NewCode makes it
	Expires     time.Time
	MaxAttempts int
}

const macPurpose = "challenge"

// mac is what is stored of a code. It holds for one challenge, purpose and run
// only, so that a row moved or edited in the database is good for nothing.
func mac(keys *keyring.Tenant, challenge id.Challenge, purpose string, run id.Run, code string) []byte {
	return keys.MAC(macPurpose, []byte(challenge), []byte(purpose), []byte(run), []byte(NormalCode(code)))
}

// Issue stores a challenge as part of tx. Of the code it stores a keyed hash.
func (c *Challenges) Issue(tx *sqldb.Tx, keys *keyring.Tenant, n Issue) (id.Challenge, error) {
	if len(n.Handle) == 0 || n.Run == "" || n.Purpose == "" || n.Code == "" || n.MaxAttempts < 1 {
		return "", errors.New("a challenge needs a handle, a run, a purpose, a code and an attempt")
	}
	challenge := id.New[id.Challenge](tx.Now(), c.Random)
	tx.Queue(`INSERT INTO challenge (tenant, handle, challenge, customer, purpose, run, code_mac, attempts, max_attempts, expires_at, solved_at, spent_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, 0, 0)`,
		n.Tenant, n.Handle, challenge, n.Customer, n.Purpose, n.Run, mac(keys, challenge, n.Purpose, n.Run, n.Code), n.MaxAttempts, n.Expires)
	return challenge, nil
}

// Result is what came of testing a code.
type Result string

const (
	Correct   Result = "correct"
	Wrong     Result = "wrong"     // and there may be attempts left
	Exhausted Result = "exhausted" // the attempts are used up; whether this code is right is not looked at
	Expired   Result = "expired"
	Spent     Result = "spent" // the proof has already bought something
	Unknown   Result = "unknown"
)

// Asked names the challenge that a code answers.
type Asked struct {
	Tenant    id.Tenant
	Handle    []byte
	Challenge id.Challenge
	Purpose   string
	Run       id.Run
}

// Test tries a code, in a transaction of its own that writes one row. The
// caller has taken from the customer's budget before.
func (c *Challenges) Test(ctx context.Context, a Asked, code string) (Result, error) {
	keys, err := c.Ring.Tenant(ctx, a.Tenant)
	if err != nil {
		return "", fmt.Errorf("the tenant's keys: %w", err)
	}
	presented := mac(keys, a.Challenge, a.Purpose, a.Run, code)
	var result Result
	err = c.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		result, err = test(tx, a, presented)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("test the code: %w", err)
	}
	return result, nil
}

func test(tx *sqldb.Tx, a Asked, presented []byte) (Result, error) {
	var stored []byte
	err := tx.QueryRow(`UPDATE challenge SET attempts = attempts + 1
		WHERE tenant = $1 AND handle = $2 AND challenge = $3 AND purpose = $4 AND run = $5
			AND attempts < max_attempts AND spent_at = 0 AND expires_at > $6
		RETURNING code_mac`, a.Tenant, a.Handle, a.Challenge, a.Purpose, a.Run, tx.Now()).Scan(&stored)
	if errors.Is(err, sqldb.ErrNoRows) {
		return refusal(tx, a)
	}
	if err != nil {
		return "", err
	}
	if subtle.ConstantTimeCompare(stored, presented) != 1 {
		return Wrong, nil
	}
	tx.Queue(`UPDATE challenge SET solved_at = $4 WHERE tenant = $1 AND handle = $2 AND challenge = $3`, a.Tenant, a.Handle, a.Challenge, tx.Now())
	return Correct, nil
}

// refusal tells why no attempt was admitted.
func refusal(tx *sqldb.Tx, a Asked) (Result, error) {
	var expires, spent time.Time
	err := tx.QueryRow(`SELECT expires_at, spent_at FROM challenge
		WHERE tenant = $1 AND handle = $2 AND challenge = $3 AND purpose = $4 AND run = $5`,
		a.Tenant, a.Handle, a.Challenge, a.Purpose, a.Run).Scan(&expires, &spent)
	switch {
	case errors.Is(err, sqldb.ErrNoRows):
		return Unknown, nil
	case err != nil:
		return "", err
	case !spent.IsZero():
		return Spent, nil
	case !expires.After(tx.Now()):
		return Expired, nil
	}
	return Exhausted, nil
}

// Spend uses up a solved challenge as part of tx, and says whether it was this
// transaction that did: false means that there is no such proof, or that it
// has bought something already, and the transaction must be given up.
func (c *Challenges) Spend(tx *sqldb.Tx, a Asked) (bool, error) {
	spent, err := tx.Exec(`UPDATE challenge SET spent_at = $6
		WHERE tenant = $1 AND handle = $2 AND challenge = $3 AND purpose = $4 AND run = $5
			AND solved_at > 0 AND spent_at = 0 AND expires_at > $7`,
		a.Tenant, a.Handle, a.Challenge, a.Purpose, a.Run, tx.Now(), tx.Now().Add(-Kept))
	if err != nil {
		return false, fmt.Errorf("spend the challenge: %w", err)
	}
	return spent == 1, nil
}

// Void makes every code that is under way to an address worth nothing as part of
// tx, solved ones too.
func (c *Challenges) Void(tx *sqldb.Tx, tenant id.Tenant, handle []byte) {
	tx.Queue(`UPDATE challenge SET spent_at = $3 WHERE tenant = $1 AND handle = $2 AND spent_at = 0`, tenant, handle, tx.Now())
}

// Sweep deletes up to limit challenges that nothing can come of any more, and
// says how many there were.
func (c *Challenges) Sweep(ctx context.Context, limit int) (int, error) {
	var swept int64
	err := c.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		swept, err = tx.Exec(`DELETE FROM challenge WHERE (tenant, handle, challenge) IN (
			SELECT tenant, handle, challenge FROM challenge WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`, tx.Now().Add(-Kept), limit)
		return err
	})
	return int(swept), err
}

// EraseCustomer deletes what the package keeps of a customer.
func (c *Challenges) EraseCustomer(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	tx.Queue(`DELETE FROM challenge_link WHERE tenant = $1 AND customer = $2`, tenant, customer)
	_, err := tx.Exec(`DELETE FROM challenge WHERE tenant = $1 AND customer = $2 AND customer <> ''`, tenant, customer)
	return err
}
