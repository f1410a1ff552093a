package challenge

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Link is one link of a message, to one customer at one address. What travels
// is sealed with the tenant's key and carries the customer, the address and 256
// random bits, whose hash is stored.
type Link struct {
	ID       id.Challenge
	Tenant   id.Tenant
	Customer id.Customer
	Purpose  string
	Address  string    // that the message went to
	Proved   time.Time // when the customer had proved it, zero where that is not known
	Expires  time.Time

	secretHash []byte
	handle     []byte // keyed hash of the address
}

const (
	linkPurpose = "link"
	linkSecret  = 32
	linkIDs     = 30 // bytes of an id as it is spelled
	linkAddress = "link address"
	maxLink     = 2048
)

// NewLink makes a link and what travels of it. IssueLink stores it.
func (c *Challenges) NewLink(keys *keyring.Tenant, l Link) (Link, string, error) {
	if l.Tenant == "" || len(l.Customer) != linkIDs || l.Purpose == "" || l.Expires.IsZero() {
		return Link{}, "", errors.New("a link needs a tenant, a customer, a purpose and an end")
	}
	secret := make([]byte, linkSecret)
	if _, err := io.ReadFull(c.Random, secret); err != nil {
		return Link{}, "", fmt.Errorf("read randomness: %w", err)
	}
	sum := sha256.Sum256(secret)
	l.ID, l.secretHash = id.New[id.Challenge](c.Clock.Now(), c.Random), sum[:]
	l.handle = keys.Lookup(linkAddress, l.Address)[0]
	plain := append([]byte(l.Customer), l.ID...)
	plain = append(append(plain, secret...), l.Address...)
	sealed, err := keys.Seal(linkPurpose, plain)
	return l, sealed, err
}

// IssueLink stores a link as part of the transaction that sends it.
func (c *Challenges) IssueLink(tx *sqldb.Tx, l Link) {
	tx.Queue(`INSERT INTO challenge_link (tenant, customer, link, purpose, secret_hash, expires_at, spent_at, address, proved_at) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)`,
		l.Tenant, l.Customer, l.ID, l.Purpose, l.secretHash, l.Expires, l.handle, l.Proved)
}

// VoidLinks uses up every link that a customer was sent at an address, as part of
// tx: it is not his, says somebody who is surer to be he.
func (c *Challenges) VoidLinks(tx *sqldb.Tx, keys *keyring.Tenant, tenant id.Tenant, customer id.Customer, address string) {
	for _, handle := range keys.Lookup(linkAddress, address) {
		tx.Queue(`UPDATE challenge_link SET spent_at = $4 WHERE tenant = $1 AND customer = $2 AND address = $3 AND spent_at = 0`,
			tenant, customer, handle, tx.Now())
	}
}

// ReadLink returns the link that somebody brings. It is not good when it is not
// one of the tenant's for that purpose, has expired or was spent: then only who
// has it is not told which. It writes nothing.
func (c *Challenges) ReadLink(ctx context.Context, keys *keyring.Tenant, tenant id.Tenant, purpose, sealed string) (l Link, good bool, err error) {
	if len(sealed) > maxLink {
		return Link{}, false, nil
	}
	plain, err := keys.Open(linkPurpose, sealed)
	if err != nil || len(plain) < 2*linkIDs+linkSecret {
		return Link{}, false, nil //nolint:nilerr // whatever is wrong with it, it is not ours
	}
	l = Link{Tenant: tenant, Purpose: purpose, Customer: id.Customer(plain[:linkIDs]), ID: id.Challenge(plain[linkIDs : 2*linkIDs]),
		Address: string(plain[2*linkIDs+linkSecret:])}
	sum := sha256.Sum256(plain[2*linkIDs : 2*linkIDs+linkSecret])
	l.secretHash = sum[:]
	var stored []byte
	var spent time.Time
	err = c.DB.QueryRow(ctx, `SELECT secret_hash, expires_at, spent_at, COALESCE(proved_at, 0) FROM challenge_link WHERE tenant = $1 AND customer = $2 AND link = $3 AND purpose = $4`,
		tenant, l.Customer, l.ID, purpose).Scan(&stored, &l.Expires, &spent, &l.Proved)
	if errors.Is(err, sqldb.ErrNoRows) {
		return Link{}, false, nil
	}
	if err != nil {
		return Link{}, false, fmt.Errorf("read the link: %w", err)
	}
	good = subtle.ConstantTimeCompare(stored, l.secretHash) == 1 && spent.IsZero() && l.Expires.After(c.Clock.Now())
	return l, good, nil
}

// SpendLink uses up a link that ReadLink returned, and with it all of its purpose
// that the customer was sent at the same time or later, as part of tx. Earlier ones
// stay good: whoever got into the account cannot, by what he was sent since, take
// from its owner what the owner was sent before. False means that it was spent or
// has expired, and the transaction must be given up.
func (c *Challenges) SpendLink(tx *sqldb.Tx, l Link) (bool, error) {
	spent, err := tx.Exec(`UPDATE challenge_link SET spent_at = $5
		WHERE tenant = $1 AND customer = $2 AND link = $3 AND secret_hash = $4 AND spent_at = 0 AND expires_at > $5`,
		l.Tenant, l.Customer, l.ID, l.secretHash, tx.Now())
	if err != nil {
		return false, fmt.Errorf("spend the link: %w", err)
	}
	if spent == 1 {
		tx.Queue(`UPDATE challenge_link SET spent_at = $4 WHERE tenant = $1 AND customer = $2 AND purpose = $3 AND spent_at = 0 AND expires_at >= $5`,
			l.Tenant, l.Customer, l.Purpose, tx.Now(), l.Expires)
	}
	return spent == 1, nil
}

// SweepLinks deletes up to limit links that have expired, and says how many
// there were.
func (c *Challenges) SweepLinks(ctx context.Context, limit int) (int, error) {
	var swept int64
	err := c.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		swept, err = tx.Exec(`DELETE FROM challenge_link WHERE (tenant, customer, link) IN (
			SELECT tenant, customer, link FROM challenge_link WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`, tx.Now(), limit)
		return err
	})
	return int(swept), err
}
