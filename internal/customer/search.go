package customer

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// A tenant may have its customers found by the first characters of verified
// identifiers and of attributes of their profiles (docs/decisions/0090). Of each
// value, and of a text's second word and so on, there is one row. Its lookup is
// a ladder of keyed hashes: of the first three characters, then of the first
// four, and so on. Values that begin alike have ladders that begin alike, so
// that a search is one range of an index.

const (
	// MinPrefix is how many characters are searched for at the least: what is
	// shorter would find everybody, and tell everybody apart without a key.
	MinPrefix = 3
	// ladderChars is how many characters a ladder reaches to. What is searched for
	// beyond is compared with the opened value.
	ladderChars = 20
	// firstStep and nextStep are how many bytes of a hash stand for the first
	// MinPrefix characters, and for each one more. A wrong step could only be among
	// the letters that follow one beginning, and is seen when the value is opened.
	firstStep = 8
	nextStep  = 3
	// maxWords is how many words of a text it is found by.
	maxWords = 5
	// profileSource is the source of what is of a profile.
	profileSource = "profile"
	// searchKind begins the kinds that beginnings are hashed as, so that no hash of
	// one is a hash of a whole identifier.
	searchKind = "prefix:"
	// placeKind is what places in a search are authenticated as, by the first
	// placeMAC bytes of a keyed hash.
	placeKind = "search place"
	placeMAC  = 16
	// MaxMatches is how many customers one search opens at the most.
	MaxMatches = 50
)

var (
	// ErrShort says that what is searched for is too short, or begins nothing of
	// what is searched.
	ErrShort = errors.New("too little to search for")
	// ErrNotSearched says that the tenant does not have its customers found by that.
	ErrNotSearched = errors.New("the tenant's customers are not found by the beginning of that")
	// ErrPlace says that a search cannot go on from where it was told to.
	ErrPlace = errors.New("there is no such place in the search")
)

// SetSearched has a tenant's customers found by the beginnings of fields, as
// part of the transaction that changes the settings which name them. Customers
// who are there already follow by and by; fresh says that there are none, as the
// tenant is just being made.
func (d *Directory) SetSearched(tx *sqldb.Tx, tenant id.Tenant, fields []string, fresh bool) error {
	_, err := tx.Exec(`INSERT INTO customer_search (tenant, fields) VALUES ($1, $2) ON CONFLICT (tenant) DO UPDATE SET fields = excluded.fields`,
		tenant, strings.Join(fields, "\n"))
	if err != nil {
		return fmt.Errorf("note what customers are found by: %w", err)
	}
	if fresh {
		return nil
	}
	return askSearchPass(tx, tenant, tx.Now().Add(searchSettle))
}

type searchedKey struct{ tenant id.Tenant }

// searched are the fields that a tenant's customers are found by, as tx sees
// them.
func searched(tx *sqldb.Tx, tenant id.Tenant) ([]string, error) {
	known := tx.Local(searchedKey{tenant}, func() any {
		return &struct {
			read   bool
			fields []string
		}{}
	}).(*struct {
		read   bool
		fields []string
	})
	if known.read {
		return known.fields, nil
	}
	var lines string
	err := tx.QueryRow(`SELECT fields FROM customer_search WHERE tenant = $1`, tenant).Scan(&lines)
	if err != nil && !errors.Is(err, sqldb.ErrNoRows) {
		return nil, fmt.Errorf("read what customers are found by: %w", err)
	}
	known.read, known.fields = true, fieldsOf(lines)
	return known.fields, nil
}

func fieldsOf(lines string) []string {
	return slices.DeleteFunc(strings.Split(lines, "\n"), func(field string) bool { return field == "" })
}

// attributeOf is the attribute that a field is.
func attributeOf(field string) (string, bool) { return strings.CutPrefix(field, profileSource+".") }

// ladders are the lookups of texts of a field, under each key that there is.
func ladders(keys *keyring.Tenant, field string, texts []string) (all [][]byte) {
	for _, text := range texts {
		var steps []string
		count := 0
		for at := range text + " " { // each place where a character has just ended
			if count >= MinPrefix && count <= ladderChars {
				steps = append(steps, text[:at])
			}
			count++
		}
		if len(steps) == 0 {
			continue
		}
		for _, hashes := range keys.LookupEach(searchKind+field, steps) {
			ladder := make([]byte, 0, firstStep+nextStep*(len(hashes)-1))
			for i, hash := range hashes {
				if i == 0 {
					ladder = append(ladder, hash[:firstStep]...)
				} else {
					ladder = append(ladder, hash[:nextStep]...)
				}
			}
			all = append(all, ladder)
		}
	}
	return all
}

// words brings a text into the form in which it is searched: words in lower
// case, whatever separates them.
func words(text string) string {
	folded := norm.NFC.String(cases.Fold().String(norm.NFC.String(text)))
	return strings.Join(strings.FieldsFunc(folded, func(r rune) bool { return !unicode.In(r, unicode.L, unicode.M, unicode.N) }), " ")
}

// starts are what a text is found by the beginning of: all of it, and what is
// left from its second word on, and so on.
func starts(text string) []string {
	rest, found := words(text), true
	var all []string
	for found && len(all) < maxWords {
		all = append(all, rest)
		_, rest, found = strings.Cut(rest, " ")
	}
	return all
}

// profileLadders are the lookups of what is searched of a profile.
func profileLadders(keys *keyring.Tenant, fields []string, profile map[string]any) (all [][]byte) {
	for _, field := range fields {
		if name, is := attributeOf(field); is {
			if text, told := textOf(profile, name); told {
				all = append(all, ladders(keys, field, starts(text))...)
			}
		}
	}
	return all
}

func textOf(profile map[string]any, name string) (string, bool) {
	value, _ := tenant.Lookup(profile, name)
	text, is := value.(string)
	return text, is && text != ""
}

// identifierLadders are the lookups of a verified identifier.
func identifierLadders(keys *keyring.Tenant, fields []string, kind identifier.Kind, key string) [][]byte {
	if !slices.Contains(fields, string(kind)) {
		return nil
	}
	return ladders(keys, string(kind), []string{identifier.Searchable(kind, key)})
}

// searchByProfile has a customer found by the beginnings of what his profile
// says, and no more of what it said, as part of tx, which holds him.
func searchByProfile(tx *sqldb.Tx, keys *keyring.Tenant, tenant id.Tenant, customer id.Customer, profile map[string]any) error {
	fields, err := searched(tx, tenant)
	if err == nil {
		insertLadders(tx, tenant, customer, profileSource, profileLadders(keys, fields, profile))
	}
	return err
}

// searchByIdentifier has a customer found by the beginning of an identifier that
// he has proved, as part of tx, which holds him.
func searchByIdentifier(tx *sqldb.Tx, keys *keyring.Tenant, tenant id.Tenant, customer id.Customer, it id.Identifier, n identifier.Normalised) error {
	fields, err := searched(tx, tenant)
	if err == nil {
		insertLadders(tx, tenant, customer, string(it), identifierLadders(keys, fields, n.Kind, n.Key))
	}
	return err
}

func insertLadders(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, source string, all [][]byte) {
	for _, ladder := range all {
		tx.Queue(`INSERT INTO customer_prefix (tenant, customer, source, lookup) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			tenant, customer, source, ladder)
	}
}

// unsearchBy has a customer found no more by what came of a source, as part of
// tx, which holds him: whoever writes rows of his has done so or comes after.
func unsearchBy(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, source string) {
	tx.Queue(`DELETE FROM customer_prefix WHERE tenant = $1 AND customer = $2 AND source = $3`, tenant, customer, source)
}

// unsearch has a customer found by no beginning any more, as part of tx, which
// holds him.
func unsearch(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) {
	tx.Queue(`DELETE FROM customer_prefix WHERE tenant = $1 AND customer = $2`, tenant, customer)
}

// Search is a question for customers by the beginning of something.
type Search struct {
	Tenant *tenant.Tenant
	Keys   *keyring.Tenant
	Text   string // what was typed
	Field  string // the one that it is the beginning of; "" for all that the tenant has searched
	After  string // where the page before ended; "" for the first
	Limit  int    // MaxMatches at the most
}

// Match is a customer who was found.
type Match struct {
	*Customer
	Field string // by the beginning of what
	Value string // which is, as the customer knows it
}

// sought is one range of lookups: what has been typed, as it begins a field,
// under one key.
type sought struct {
	field, text string
	low, high   []byte
}

// Search returns a page of the customers whose values begin with a text, each
// at the first of his matches, and where the next page begins, "" for nowhere.
// Pages are in the order of keyed hashes, which says nothing. A page may have
// less matches than its limit although there are more. On a distributed database
// it asks every shard, and each by its key.
func (d *Directory) Search(ctx context.Context, s Search) (found []Match, next string, err error) {
	ranges, err := s.ranges()
	if err != nil {
		return nil, "", err
	}
	first, lookup, customer, err := s.place(ranges)
	if err != nil {
		return nil, "", err
	}
	limit := min(max(s.Limit, 1), MaxMatches)
	var rows []placedMatch
	for i := first; i < len(ranges) && len(rows) < limit; i++ {
		if i > first || lookup == nil {
			lookup, customer = ranges[i].low, ""
		}
		page, err := d.matchPage(ctx, s.Tenant.ID, i, lookup, customer, ranges[i].high, limit-len(rows))
		if err != nil {
			return nil, "", err
		}
		rows = append(rows, page...)
	}
	if len(rows) == limit {
		last := rows[limit-1]
		next = s.placeAt(ranges[last.in].field, last)
	}
	found, err = d.openMatches(ctx, s.Tenant.ID, ranges, rows)
	return found, next, err
}

// Searching tells whether customers are being made to be found by what the
// settings name, so that not all are found yet.
func (d *Directory) Searching(ctx context.Context, tenant id.Tenant) (bool, error) {
	var begins int64
	err := d.DB.QueryRow(ctx, `SELECT begins_at FROM search_pass WHERE tenant = $1`, tenant).Scan(&begins)
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read whether customers are being made to be found: %w", err)
	}
	return true, nil
}

// ranges are where matches stand, in the order in which they are told.
func (s Search) ranges() (all []sought, err error) {
	fields := s.Tenant.Settings.Search.Fields()
	if s.Field != "" {
		if !slices.Contains(fields, s.Field) {
			return nil, ErrNotSearched
		}
		fields = []string{s.Field}
	}
	if len(fields) == 0 {
		return nil, ErrNotSearched
	}
	for _, field := range fields {
		text := s.beginning(field)
		if utf8.RuneCountInString(text) < MinPrefix {
			continue
		}
		for _, low := range ladders(s.Keys, field, []string{cut(text, ladderChars)}) {
			all = append(all, sought{field: field, text: text, low: low, high: after(low)})
		}
	}
	if len(all) == 0 {
		return nil, ErrShort
	}
	return all, nil
}

// beginning is what was typed, as it would begin a field.
func (s Search) beginning(field string) string {
	if len(s.Text) > identifier.MaxBytes || !utf8.ValidString(s.Text) {
		return ""
	}
	if _, is := attributeOf(field); is {
		return words(s.Text)
	}
	kind := identifier.Kind(field)
	return identifier.Beginning(kind, s.Text, identifier.Options{Region: s.Tenant.Settings.Region, Rule: s.Tenant.Rules[kind]})
}

// cut is the first n characters of a text.
func cut(text string, n int) string {
	for at := range text {
		if n == 0 {
			return text[:at]
		}
		n--
	}
	return text
}

// after is the first text of bytes that is greater than all that begin with low.
func after(low []byte) []byte {
	high := slices.Clone(low)
	for i := len(high) - 1; i >= 0; i-- {
		if high[i]++; high[i] != 0 {
			return high[:i+1]
		}
	}
	return slices.Repeat([]byte{0xff}, firstStep+nextStep*ladderChars)
}

// placeAt names where a page ended, so that nobody but this tenant can.
func (s Search) placeAt(field string, row placedMatch) string {
	named := field + "\n" + string(row.customer) + "\n" + string(row.lookup)
	return base64.RawURLEncoding.EncodeToString([]byte(string(s.Keys.Lookup(placeKind, named)[0][:placeMAC]) + named))
}

// place is where the search goes on: in which range, and after which row.
func (s Search) place(ranges []sought) (in int, lookup []byte, customer id.Customer, err error) {
	if s.After == "" {
		return 0, nil, "", nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(s.After)
	if err != nil || len(text) < placeMAC {
		return 0, nil, "", ErrPlace
	}
	mac, named := text[:placeMAC], string(text[placeMAC:])
	if !slices.ContainsFunc(s.Keys.Lookup(placeKind, named), func(hash []byte) bool { return hmac.Equal(hash[:placeMAC], mac) }) {
		return 0, nil, "", ErrPlace
	}
	parts := strings.SplitN(named, "\n", 3)
	if len(parts) != 3 {
		return 0, nil, "", ErrPlace
	}
	for i, r := range ranges {
		if r.field == parts[0] && strings.HasPrefix(parts[2], string(r.low)) {
			return i, []byte(parts[2]), id.Customer(parts[1]), nil
		}
	}
	return 0, nil, "", ErrPlace
}

// placedMatch is a row that was found, and in which range.
type placedMatch struct {
	in       int
	lookup   []byte
	customer id.Customer
}

const sqlMatches = `SELECT DISTINCT lookup, customer FROM customer_prefix
	WHERE tenant = $1 AND (lookup, customer) > ($2, $3) AND lookup < $4 ORDER BY lookup, customer LIMIT $5`

// sqlLookupsOf has no order: for one, SQLite would read the whole index that is
// in that order.
const sqlLookupsOf = `SELECT lookup FROM customer_prefix WHERE tenant = $1 AND customer = $2`

// matchPage reads the rows of a range after one.
func (d *Directory) matchPage(ctx context.Context, tenant id.Tenant, in int, lookup []byte, customer id.Customer, high []byte, limit int) ([]placedMatch, error) {
	rows, err := d.DB.Query(ctx, sqlMatches, tenant, lookup, customer, high, limit)
	if err != nil {
		return nil, fmt.Errorf("search customers: %w", err)
	}
	var page []placedMatch
	for rows.Next() {
		m := placedMatch{in: in}
		if err := rows.Scan(&m.lookup, &m.customer); err != nil {
			return nil, fmt.Errorf("search customers: %w", err)
		}
		page = append(page, m)
	}
	return page, rows.Err()
}

// openMatches opens who was found, and leaves out whom another page shows, who
// does not match after all, and who cannot be opened any more.
func (d *Directory) openMatches(ctx context.Context, tenant id.Tenant, ranges []sought, rows []placedMatch) ([]Match, error) {
	type candidate struct {
		*sealedCustomer
		lookups [][]byte
		opened  *Customer
	}
	candidates := map[id.Customer]*candidate{}
	batch := d.DB.Batch()
	for _, row := range rows {
		if candidates[row.customer] != nil {
			continue
		}
		c := &candidate{sealedCustomer: queueCustomer(batch, tenant, row.customer)}
		candidates[row.customer] = c
		batch.Queue(sqlLookupsOf, []any{tenant, row.customer}, func(row sqldb.Scanner) error {
			var lookup []byte
			err := row.Scan(&lookup)
			c.lookups = append(c.lookups, lookup)
			return err
		})
	}
	if len(candidates) == 0 {
		return nil, nil
	}
	if err := batch.Run(ctx); err != nil {
		return nil, fmt.Errorf("read who was found: %w", err)
	}
	var found []Match
	for _, row := range rows {
		c := candidates[row.customer]
		if c.opened == nil {
			opened, err := c.open(ctx, d)
			switch {
			case errors.Is(err, ErrNotFound), errors.Is(err, ErrErased), errors.Is(err, keyring.ErrNoKey), errors.Is(err, keyring.ErrSealed):
				continue
			case err != nil:
				return nil, err
			}
			c.opened = opened
		}
		value, matches := c.opened.begins(ranges[row.in])
		if matches && !slices.ContainsFunc(c.lookups, func(lookup []byte) bool { return c.opened.shownBefore(ranges, row, lookup) }) {
			found = append(found, Match{Customer: c.opened, Field: ranges[row.in].field, Value: value})
		}
	}
	return found, nil
}

// shownBefore tells whether another row of a customer is shown before one.
func (c *Customer) shownBefore(ranges []sought, row placedMatch, other []byte) bool {
	for i := range row.in + 1 {
		if !strings.HasPrefix(string(other), string(ranges[i].low)) {
			continue
		}
		if i == row.in {
			return string(other) < string(row.lookup)
		}
		_, matches := c.begins(ranges[i])
		return matches
	}
	return false
}

// begins tells whether something of the customer begins as it is sought, and
// what.
func (c *Customer) begins(s sought) (value string, matches bool) {
	if name, is := attributeOf(s.field); is {
		text, _ := textOf(c.Profile, name)
		return text, slices.ContainsFunc(starts(text), func(start string) bool { return strings.HasPrefix(start, s.text) })
	}
	for _, it := range c.Identifiers {
		if it.Verified && string(it.Kind) == s.field && strings.HasPrefix(identifier.Searchable(it.Kind, it.Key), s.text) {
			return it.Display, true
		}
	}
	return "", false
}
