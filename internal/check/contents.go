package check

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/signingkey"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	// What may wait for so long, as "What to watch" has it.
	eventsMayWait, messagesMayWait = time.Minute, 5 * time.Minute
	// consumerMayLag is how many events a consumer may be behind.
	consumerMayLag = 10_000
	// keyMayWait is how long a published key may wait beyond the time that caches
	// take; signingKeyYear how long one may sign.
	keyMayWait, signingKeyYear = 15 * time.Minute, 400 * 24 * time.Hour
	// backupEvery is how old the newest backup may be: a day, and some hours.
	backupEvery = 36 * time.Hour
	// tenantsAtOnce are read together; mostTenants are named.
	tenantsAtOnce, mostTenants = 200, 50
)

// contents looks at what the databases tell of keys, tenants and what waits.
func (c *checker) contents(ctx context.Context, db, keys *sqldb.DB) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	failed := func(err error) {
		if err != nil {
			c.found("database-unreachable", "%v", err)
		}
	}
	failed(c.roots(ctx, db, keys))
	log := event.New(event.Options{DB: db, Clock: c.Clock, Random: c.Random,
		Bump: func(*sqldb.Tx, id.Tenant, id.Customer) (int64, error) {
			return 0, errors.New("a check appends nothing")
		}})
	failed(c.stream(ctx, db, log))
	failed(c.outbox(ctx, db))
	failed(c.backups(ctx, log))
	failed(c.tenants(ctx, db))
}

// unread tells why a root key cannot be read. One that is refused since others may
// get at it can well be the right one.
func (c *checker) unread(err error) {
	switch {
	case !errors.Is(err, keyring.ErrRootOpen):
		c.found("root-key-unread", "%v", err)
	case !slices.ContainsFunc(c.findings, func(f Finding) bool { return f.ID == "secrets-readable" }):
		c.found("secrets-readable", "%v", err)
	}
}

// roots looks at the root keys, and at whether the configuration opens what is
// stored.
func (c *checker) roots(ctx context.Context, db, keys *sqldb.DB) error {
	root, err := server.RootKey(c.Config)
	if err != nil {
		c.unread(fmt.Errorf("the root key: %w", err))
		return nil
	}
	old, err := server.OldRootKeys(c.Config)
	if err != nil {
		c.unread(err)
		return nil
	}
	found, err := keyring.Inspect(ctx, keyring.Options{DB: db, Store: keys, Root: root, OldRoots: old, Clock: c.Clock, Random: c.Random})
	if errors.Is(err, keyring.ErrRoot) || errors.Is(err, keyring.ErrStore) {
		c.found("keys-do-not-open", "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, use := range found.Roots {
		switch {
		case use.Present:
		case use.Keys > 0:
			c.found("old-root-key-needed", "the root key %s wraps %d keys", use.ID, use.Keys)
		case use.Configured:
			c.found("old-root-key-unneeded", "the root key %s", use.ID)
		}
	}
	if ahead := time.Unix(found.Epoch, 0).Sub(c.Clock.Now()); ahead > 5*time.Minute {
		c.found("epoch-ahead", "it is %s ahead", ago(ahead))
	}
	return nil
}

// stream looks at the order of events, at who gives it, and at how many nodes
// share the server.
func (c *checker) stream(ctx context.Context, db *sqldb.DB, log *event.Log) error {
	health, err := log.Health(ctx)
	if err != nil {
		return err
	}
	if waited := c.Clock.Now().Sub(health.Oldest); health.Pending > 0 && waited > eventsMayWait {
		c.found("events-behind", "%d wait, the oldest for %s", health.Pending, ago(waited))
	}
	if health.Dead > 0 {
		c.found("leases-dead", "%d leases ran out more than a minute ago", health.Dead)
	}
	for _, consumer := range slices.Sorted(maps.Keys(health.Lags)) {
		if lag := health.Lags[consumer]; lag > consumerMayLag {
			c.found("consumer-behind", "%s is %d events behind", consumer, lag)
		}
	}
	if db.Engine() == sqldb.Postgres {
		facts, err := db.Facts(ctx)
		if err != nil {
			return err
		}
		c.judgeConnections(facts, health.Nodes)
	}
	return nil
}

// outbox looks at messages that wait.
func (c *checker) outbox(ctx context.Context, db *sqldb.DB) error {
	waiting, oldest, err := notify.Waiting(ctx, db)
	if err != nil {
		return fmt.Errorf("count the messages that wait: %w", err)
	}
	if waited := c.Clock.Now().Sub(oldest); waiting > 0 && waited > messagesMayWait {
		c.found("outbox-behind", "%d wait, the oldest for %s", waiting, ago(waited))
	}
	return nil
}

// backups looks at the newest backup that is on record.
func (c *checker) backups(ctx context.Context, log *event.Log) error {
	if c.Development {
		return nil
	}
	found, err := log.Read(ctx, id.SystemTenant, event.Filter{Type: server.BackedUp}, event.Page{Limit: 1})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		c.found("backup-none", "none")
		return nil
	}
	if age := c.Clock.Now().Sub(found[0].At); age > backupEvery {
		c.found("backup-old", "the newest was made %s ago", ago(age))
	}
	return nil
}

// tenants looks at each tenant's settings and keys, and reaches it where that
// was asked for.
func (c *checker) tenants(ctx context.Context, db *sqldb.DB) error {
	watch := configversion.New(db, c.Clock, slog.New(slog.DiscardHandler))
	all := tenant.NewStore(tenant.Options{DB: db, Watch: watch, Clock: c.Clock, Random: c.Random})
	keys := signingkey.New(signingkey.Options{DB: db, Watch: watch, Clock: c.Clock, Random: c.Random})
	weak, reached := 0, 0
	for after := id.Tenant(""); ; {
		page, err := all.List(ctx, after, tenantsAtOnce)
		if err != nil {
			return err
		}
		for _, t := range page {
			after = t.ID
			if warnings := t.Settings.Warnings(); len(warnings) > 0 && !c.Development {
				if weak++; weak <= mostTenants {
					c.found("tenant-settings", "%s: %s", t.Slug, strings.Join(warnings, "; "))
				}
			}
			if t.Settings.Phone.Enabled && c.Config.SMS.Preset == "" && !c.Development {
				c.found("phone-without-sms", "%s: phone.enabled is true, and sms.preset is not set", t.Slug)
			}
			if t.ID == id.SystemTenant && c.Config.SystemURL != "" && t.Issuer != c.Config.SystemURL {
				c.found("system-url-changed", "system_url is %s, and the operators are at %s", c.Config.SystemURL, t.Issuer)
			}
			if strings.HasPrefix(t.Issuer, "http:") && !c.Development {
				c.found("issuer-http", "the issuer of %s is %s", t.Slug, t.Issuer)
			}
			if err := c.signingKeys(ctx, keys, t); err != nil {
				return err
			}
			if c.Reach && !t.Suspended && reached < mostTenants {
				reached++
				c.public(ctx, t)
			}
		}
		if len(page) < tenantsAtOnce {
			break
		}
	}
	if weak > mostTenants {
		c.found("tenant-settings", "%d more tenants", weak-mostTenants)
	}
	return nil
}

func (c *checker) signingKeys(ctx context.Context, keys *signingkey.Keys, t *tenant.Tenant) error {
	now := c.Clock.Now()
	for after := ""; ; {
		page, err := keys.List(ctx, t.ID, after, 100)
		if err != nil {
			return err
		}
		for _, k := range page {
			after = k.KID
			switch {
			case k.State == signingkey.Published && now.Sub(k.CreatedAt) > signingkey.CacheFor+keyMayWait:
				c.found("signing-key-stuck", "%s: %s (%s) was published %s ago", t.Slug, k.KID, k.Alg, ago(now.Sub(k.CreatedAt)))
			case k.State == signingkey.Active && now.Sub(k.CreatedAt) > signingKeyYear:
				c.found("signing-key-old", "%s: %s (%s) is %s old", t.Slug, k.KID, k.Alg, ago(now.Sub(k.CreatedAt)))
			}
		}
		if len(page) < 100 {
			return nil
		}
	}
}
