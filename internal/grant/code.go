package grant

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const (
	codePurpose = "code"
	// codeMax is the longest code that travels in an address, in bytes.
	codeMax = 1 << 10
	// codeRow begins a code that names a row; no sealed one has a dot.
	codeRow = "r."
	// kept is how long what marks a one-time thing as used outlives it.
	kept = 2 * time.Hour
)

// SealCode returns an authorization code that says plain, until expires. Short
// ones are sealed and nothing is written; of a long one the sealed text is
// kept in a row.
func (g *Grants) SealCode(ctx context.Context, tenant id.Tenant, plain []byte, expires time.Time) (string, error) {
	keys, err := g.Ring.Tenant(ctx, tenant)
	if err != nil {
		return "", fmt.Errorf("the tenant's keys: %w", err)
	}
	sealed, err := keys.Seal(codePurpose, plain)
	if err != nil || len(sealed) <= codeMax {
		return sealed, err
	}
	var handle [32]byte
	if _, err := io.ReadFull(g.Random, handle[:]); err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}
	sum := sha256.Sum256(handle[:])
	err = g.DB.Write(ctx, func(tx *sqldb.Tx) error {
		tx.Queue(`INSERT INTO oauth_code (tenant, handle, content, expires_at) VALUES ($1, $2, $3, $4)`, tenant, sum[:], sealed, expires)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("keep the code: %w", err)
	}
	return codeRow + base64.RawURLEncoding.EncodeToString(handle[:]), nil
}

// OpenCode returns what a code says. It is not ok when the code is not one of
// the tenant's. It does not look at expiry or whether the code was redeemed:
// the first is part of what the code says, the second is for Redeem.
func (g *Grants) OpenCode(ctx context.Context, tenant id.Tenant, code string) (plain []byte, ok bool, err error) {
	keys, err := g.Ring.Tenant(ctx, tenant)
	if err != nil {
		return nil, false, fmt.Errorf("the tenant's keys: %w", err)
	}
	if spelled, found := strings.CutPrefix(code, codeRow); found {
		handle, err := base64.RawURLEncoding.Strict().DecodeString(spelled)
		if err != nil || len(handle) != 32 || len(spelled) != base64.RawURLEncoding.EncodedLen(32) {
			return nil, false, nil
		}
		sum := sha256.Sum256(handle)
		err = g.DB.QueryRow(ctx, `SELECT content FROM oauth_code WHERE tenant = $1 AND handle = $2`, tenant, sum[:]).Scan(&code)
		if errors.Is(err, sqldb.ErrNoRows) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("read the code: %w", err)
		}
	} else if len(code) > codeMax {
		return nil, false, nil
	}
	plain, err = keys.Open(codePurpose, code)
	return plain, err == nil, nil
}

// marker is what is stored of a token's jti.
func marker(jti string) []byte {
	sum := sha256.Sum256([]byte(jti))
	return sum[:]
}

// RevokeToken marks a token without a lineage, such as one of client
// credentials, as revoked. An error means that it was not.
func (g *Grants) RevokeToken(ctx context.Context, tenant id.Tenant, application id.Application, jti string, expires time.Time) error {
	err := g.DB.Write(ctx, func(tx *sqldb.Tx) error {
		made, err := tx.Exec(`INSERT INTO token_marker (tenant, marker, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			tenant, marker(jti), expires)
		if err != nil || made == 0 {
			return err
		}
		return g.Log.Append(tx, event.Event{Tenant: tenant, Type: "token.revoked", Actor: string(application),
			Data: map[string]any{"application": application, "jti": jti}})
	})
	if err != nil {
		return fmt.Errorf("mark the token as revoked: %w", err)
	}
	return nil
}

// QueueRevoked reads with batch whether a token was revoked by RevokeToken. The
// answer stands once the batch has run.
func (g *Grants) QueueRevoked(batch *sqldb.Batch, tenant id.Tenant, jti string) *bool {
	var one int64
	return batch.QueueRow(`SELECT 1 FROM token_marker WHERE tenant = $1 AND marker = $2`, []any{tenant, marker(jti)}, &one)
}

// Revoked is QueueRevoked in a batch of its own.
func (g *Grants) Revoked(ctx context.Context, tenant id.Tenant, jti string) (bool, error) {
	batch := g.DB.Batch()
	revoked := g.QueueRevoked(batch, tenant, jti)
	if err := batch.Run(ctx); err != nil {
		return false, fmt.Errorf("read the token's marker: %w", err)
	}
	return *revoked, nil
}

// Sweep deletes up to limit each of lineages, markers and codes of which
// nothing can come any more, and says how many there were of the most. It is
// called again while it deletes as many as it may.
func (g *Grants) Sweep(ctx context.Context, limit int) (int, error) {
	var most int64
	err := g.DB.Write(ctx, func(tx *sqldb.Tx) error {
		lineages, err := g.sweepLineages(tx, limit)
		if err != nil {
			return err
		}
		most = lineages
		for _, statement := range []string{
			`DELETE FROM token_marker WHERE (tenant, marker) IN (
				SELECT tenant, marker FROM token_marker WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`,
			`DELETE FROM oauth_code WHERE (tenant, handle) IN (
				SELECT tenant, handle FROM oauth_code WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`,
		} {
			swept, err := tx.Exec(statement, tx.Now().Add(-kept), limit)
			if err != nil {
				return err
			}
			most = max(most, swept)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("sweep grants: %w", err)
	}
	return int(most), nil
}

// sweepLineages deletes lineages that have run out, and tells when their
// customers' applications were last given something under them.
func (g *Grants) sweepLineages(tx *sqldb.Tx, limit int) (int64, error) {
	rows, err := tx.Query(`DELETE FROM lineage WHERE (tenant, customer, lineage) IN (
		SELECT tenant, customer, lineage FROM lineage WHERE absolute_until <= $1 ORDER BY absolute_until LIMIT $2)
		RETURNING tenant, customer, rotated_at`, tx.Now().Add(-kept), limit)
	if err != nil {
		return 0, err
	}
	type use struct {
		tenant   id.Tenant
		customer id.Customer
		at       time.Time
	}
	var uses []use
	for rows.Next() {
		var u use
		if err := rows.Scan(&u.tenant, &u.customer, &u.at); err != nil {
			return 0, err
		}
		uses = append(uses, u)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	// In one order on every node, so that two of them do not wait for each other.
	slices.SortFunc(uses, func(a, b use) int {
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.customer, b.customer))
	})
	if g.Seen != nil {
		for _, u := range uses {
			g.Seen(tx, u.tenant, u.customer, u.at)
		}
	}
	return int64(len(uses)), nil
}

// QueueSeen reads with batch when a customer's applications were last given
// tokens for him, zero for never.
func (g *Grants) QueueSeen(batch *sqldb.Batch, tenant id.Tenant, customer id.Customer) *time.Time {
	seen := &time.Time{}
	batch.QueueRow(`SELECT COALESCE(MAX(rotated_at), 0) FROM lineage WHERE tenant = $1 AND customer = $2`, []any{tenant, customer}, seen)
	return seen
}
