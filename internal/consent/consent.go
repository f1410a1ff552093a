// Package consent owns the proof of what customers have agreed to. So far that
// is a tenant's terms; purposes and preferences come beside them.
//
// An acceptance is written once and never changed: the version, the documents
// with the titles that were shown, the language, the channel and the time. The
// package knows neither how it was asked nor which version is in force.
package consent

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "consent", FS: migrations}
}

// Options are what Consents work with. All are required.
type Options struct {
	DB  *sqldb.DB
	Log *event.Log
}

// Consents records and reads acceptances. It is safe for concurrent use.
type Consents struct{ Options }

// New returns the consents over a database that holds Migrations.
func New(o Options) *Consents { return &Consents{o} }

// Document is one text, as it was shown.
type Document struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// Acceptance is a customer's agreement to the terms.
type Acceptance struct {
	Tenant    id.Tenant
	Customer  id.Customer
	Version   string
	Documents []Document
	Language  string    // the language they were shown in, BCP 47
	Channel   string    // where: "pages"
	At        time.Time // filled in by List; AcceptTerms takes the transaction's time
}

// AcceptTerms records an acceptance as part of tx. One that is already there
// stands, and nothing is written.
func (c *Consents) AcceptTerms(tx *sqldb.Tx, a Acceptance) error {
	if a.Version == "" {
		return errors.New("terms without a version cannot be accepted")
	}
	documents, err := json.Marshal(a.Documents)
	if err != nil {
		return fmt.Errorf("write the documents: %w", err)
	}
	made, err := tx.Exec(`INSERT INTO terms_acceptance (tenant, customer, version, documents, language, channel, accepted_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		a.Tenant, a.Customer, a.Version, string(documents), a.Language, a.Channel, tx.Now())
	if err != nil {
		return fmt.Errorf("record the acceptance: %w", err)
	}
	if made == 0 {
		return nil
	}
	return c.Log.Append(tx, event.Event{
		Tenant: a.Tenant, Customer: a.Customer, Type: "consent.terms.accepted", Actor: string(a.Customer),
		Data: map[string]any{"version": a.Version, "documents": a.Documents, "language": a.Language, "channel": a.Channel},
	})
}

// QueueTermsAccepted reads with batch whether a customer has accepted a
// version. The answer stands once the batch has run.
func (c *Consents) QueueTermsAccepted(batch *sqldb.Batch, tenant id.Tenant, customer id.Customer, version string) *bool {
	var one int64
	return batch.QueueRow(`SELECT 1 FROM terms_acceptance WHERE tenant = $1 AND customer = $2 AND version = $3`,
		[]any{tenant, customer, version}, &one)
}

// TermsAccepted tells whether a customer has accepted a version.
func (c *Consents) TermsAccepted(ctx context.Context, tenant id.Tenant, customer id.Customer, version string) (bool, error) {
	batch := c.DB.Batch()
	accepted := c.QueueTermsAccepted(batch, tenant, customer, version)
	if err := batch.Run(ctx); err != nil {
		return false, fmt.Errorf("read the acceptance: %w", err)
	}
	return *accepted, nil
}

// List returns up to limit acceptances of a customer, the newest first, from
// before a time; the zero time begins with the newest.
func (c *Consents) List(ctx context.Context, tenant id.Tenant, customer id.Customer, before time.Time, limit int) ([]Acceptance, error) {
	if before.IsZero() {
		before = time.UnixMicro(1 << 62)
	}
	rows, err := c.DB.Query(ctx, `SELECT version, documents, language, channel, accepted_at FROM terms_acceptance
		WHERE tenant = $1 AND customer = $2 AND accepted_at < $3 ORDER BY accepted_at DESC LIMIT $4`, tenant, customer, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list the acceptances: %w", err)
	}
	var list []Acceptance
	for rows.Next() {
		a := Acceptance{Tenant: tenant, Customer: customer}
		var documents string
		if err := rows.Scan(&a.Version, &documents, &a.Language, &a.Channel, &a.At); err != nil {
			return nil, fmt.Errorf("read an acceptance: %w", err)
		}
		if err := json.Unmarshal([]byte(documents), &a.Documents); err != nil {
			return nil, fmt.Errorf("the documents of version %q: %w", a.Version, err)
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// EraseCustomer deletes what the package keeps of a customer.
func (c *Consents) EraseCustomer(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	_, err := tx.Exec(`DELETE FROM terms_acceptance WHERE tenant = $1 AND customer = $2`, tenant, customer)
	return err
}
