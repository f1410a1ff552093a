package notify

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed inboxmigrations/*.sql
var inboxMigrations embed.FS

// InboxMigrations are the inbox's tables. Only `cardea dev` applies them.
func InboxMigrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "dev_inbox", FS: inboxMigrations}
}

// Letter is a message as /dev/inbox.json shows it.
type Letter struct {
	ID      id.Message `json:"id"`
	Kind    string     `json:"kind"` // "mail" or "sms"
	Tenant  id.Tenant  `json:"tenant"`
	To      string     `json:"to"`
	From    string     `json:"from"`
	Name    string     `json:"from_name"`
	Subject string     `json:"subject"`
	Text    string     `json:"text"`
	HTML    string     `json:"html"`
	Links   []string   `json:"links"` // never null
	Code    string     `json:"code"`  // as it is typed; "" for none
	At      time.Time  `json:"at"`
}

// Inbox is the transport of `cardea dev`: it keeps the last 500 messages of the
// installation, all tenants together, for a person or a script to read. It is
// never part of a server in production.
//
// It is the transport of text messages too.
type Inbox struct{ db *sqldb.DB }

// NewInbox makes the inbox. InboxMigrations must have been applied.
func NewInbox(db *sqldb.DB) *Inbox { return &Inbox{db: db} }

const inboxKeeps = 500

const (
	sqlReceive = `INSERT INTO dev_inbox (tenant, id, kind, to_address, from_address, from_name, subject, body_text, body_html, code, sent_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (tenant, id) DO NOTHING`

	sqlForgetOld = `DELETE FROM dev_inbox WHERE id <= (SELECT id FROM dev_inbox ORDER BY id DESC LIMIT 1 OFFSET $1)`

	sqlLetters = `SELECT tenant, id, kind, to_address, from_address, from_name, subject, body_text, body_html, code, sent_at FROM dev_inbox
WHERE ($1 = '' OR to_address = $1) AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3`

	sqlLetter = `SELECT tenant, id, kind, to_address, from_address, from_name, subject, body_text, body_html, code, sent_at FROM dev_inbox WHERE id = $1`
)

// Send keeps the message. The same message sent twice is kept once.
func (i *Inbox) Send(ctx context.Context, m Mail) error {
	return i.db.Write(ctx, func(tx *sqldb.Tx) error {
		tx.Queue(sqlReceive, m.Tenant, m.ID, "mail", m.To, m.From, m.FromName, m.Subject, m.Text, m.HTML, m.Code, m.At)
		tx.Queue(sqlForgetOld, inboxKeeps)
		return nil
	})
}

// SendText keeps a text message.
func (i *Inbox) SendText(ctx context.Context, t Text) error {
	return i.db.Write(ctx, func(tx *sqldb.Tx) error {
		tx.Queue(sqlReceive, t.Tenant, t.ID, "sms", t.To, t.From, t.From, "", t.Text, "", t.Code, t.At)
		tx.Queue(sqlForgetOld, inboxKeeps)
		return nil
	})
}

// List returns messages, newest first; to one address where it is given. The
// next page begins before the last id of this one.
func (i *Inbox) List(ctx context.Context, to string, before id.Message, limit int) ([]Letter, error) {
	rows, err := i.db.Query(ctx, sqlLetters, to, before, min(max(limit, 1), inboxKeeps))
	if err != nil {
		return nil, fmt.Errorf("reading the inbox: %w", err)
	}
	letters := []Letter{}
	for rows.Next() {
		var l Letter
		if err := l.scan(rows); err != nil {
			return nil, fmt.Errorf("reading the inbox: %w", err)
		}
		letters = append(letters, l)
	}
	return letters, rows.Err()
}

// Get returns one message.
func (i *Inbox) Get(ctx context.Context, message id.Message) (l Letter, found bool, err error) {
	err = l.scan(i.db.QueryRow(ctx, sqlLetter, message))
	if errors.Is(err, sqldb.ErrNoRows) {
		return Letter{}, false, nil
	}
	if err != nil {
		return Letter{}, false, fmt.Errorf("reading the inbox: %w", err)
	}
	return l, true, nil
}

func (l *Letter) scan(row sqldb.Scanner) error {
	if err := row.Scan(&l.Tenant, &l.ID, &l.Kind, &l.To, &l.From, &l.Name, &l.Subject, &l.Text, &l.HTML, &l.Code, &l.At); err != nil {
		return err
	}
	l.Links = links(l.Text)
	return nil
}

var linkPattern = regexp.MustCompile(`https?://[^\s<>"]+`)

// links finds the web addresses in a text.
func links(text string) []string {
	found := []string{}
	for _, link := range linkPattern.FindAllString(text, -1) {
		for len(link) > 0 && (link[len(link)-1] == '.' || link[len(link)-1] == ',' || link[len(link)-1] == ')') {
			link = link[:len(link)-1]
		}
		if _, err := url.Parse(link); err == nil && !slices.Contains(found, link) {
			found = append(found, link)
		}
	}
	return found
}
