package notify

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/i18n"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

const (
	tenantA id.Tenant   = "ten_a"
	ana     id.Customer = "cus_ana"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var olive = Brand{
	Name: "Olive & Thyme", From: "hello@olive.example", ReplyTo: "help@olive.example",
	Accent: "#1f6f54", OnAccent: "#ffffff", AccountURL: "https://id.olive.example/account",
}

func newWords(t testing.TB) *Words {
	t.Helper()
	bundle, err := i18n.New()
	if err != nil {
		t.Fatal(err)
	}
	words, err := NewWords(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return words
}

// sink is a transport that remembers, and does what it is told.
type sink struct {
	mu    sync.Mutex
	mails []Mail
	send  func(ctx context.Context, m Mail) error // nil takes everything
}

func (s *sink) Send(ctx context.Context, m Mail) error {
	s.mu.Lock()
	s.mails = append(s.mails, m)
	send := s.send
	s.mu.Unlock()
	if send != nil {
		return send(ctx, m)
	}
	return nil
}

func (s *sink) got() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

// world is one database with keys, as a node sees it.
type world struct {
	t        *testing.T
	now      *clock.Fake
	db       *sqldb.DB
	ring     *keyring.Ring
	tenant   *keyring.Tenant
	customer *keyring.Customer
	sink     *sink
	outbox   *Outbox
}

var sets = []sqldb.MigrationSet{keyring.Migrations(), Migrations(), InboxMigrations()}

func each(t *testing.T, test func(t *testing.T, w *world)) {
	now := clock.NewFake(noon)
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now.Set(noon)
		w := &world{t: t, now: now, db: db, sink: &sink{}}
		root, err := keyring.RootFromBytes([]byte(rand.Text() + rand.Text())[:32])
		w.must(err)
		store := dbtest.Open(t, sqldb.SQLite, []sqldb.MigrationSet{keyring.StoreMigrations()})
		w.ring, err = keyring.Open(t.Context(), keyring.Options{DB: db, Store: store, Root: root, Random: rand.Reader})
		w.must(err)
		w.must(w.ring.CreateTenant(t.Context(), tenantA))
		w.tenant, err = w.ring.Tenant(t.Context(), tenantA)
		w.must(err)
		w.customer, err = w.ring.CreateCustomer(t.Context(), tenantA, ana)
		w.must(err)
		w.outbox = w.node(db, w.sink)
		test(t, w)
	}, func(o *sqldb.Options) { o.Clock = now })
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) node(db *sqldb.DB, transport Transport) *Outbox {
	w.t.Helper()
	o, err := New(Options{
		DB: db, Ring: w.ring, Transport: transport, Words: newWords(w.t), Random: rand.Reader, Poll: 20 * time.Millisecond,
		Brands: func(context.Context, id.Tenant, id.Brand) (Brand, error) { return olive, nil },
	})
	w.must(err)
	return o
}

func (w *world) code(to string) Message {
	return Message{
		Tenant: tenantA, Brand: "brd_olive", Key: w.tenant, Handle: w.tenant.Lookup("email", to)[0], To: to, Template: Code, Lang: "en",
		Data:    Data{Code: "123456", ValidFor: 10 * time.Minute, Application: "Olive & Thyme Shop", Browser: "Chrome", System: "Windows"},
		Expires: w.now.Now().Add(10 * time.Minute),
	}
}

func (w *world) enqueue(messages ...Message) {
	w.t.Helper()
	w.must(w.db.Write(w.t.Context(), func(tx *sqldb.Tx) error {
		for _, m := range messages {
			if err := w.outbox.Enqueue(tx, m); err != nil {
				return err
			}
		}
		return nil
	}))
}

// pass takes what is due once and sends it, as one turn of Run does.
func (w *world) pass(o *Outbox) int {
	w.t.Helper()
	messages, err := o.take(w.t.Context(), 100)
	w.must(err)
	for _, m := range messages {
		o.deliver(w.t.Context(), m)
	}
	return len(messages)
}

// What is made for nobody is a row like any other and goes nowhere.
func TestMessageForNobodyIsDiscarded(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		nobody := w.code("ana@example.com")
		nobody.To, nobody.Discard = "", true
		w.enqueue(w.code("ana@example.com"), nobody)
		rows := w.rows()
		if len(rows) != 2 || rows[0].state != rows[1].state || max(len(rows[0].sealed), len(rows[1].sealed))-min(len(rows[0].sealed), len(rows[1].sealed)) != len("ana@example.com") {
			t.Errorf("the rows differ: %d of %d, %d bytes", len(rows), 2, len(rows[0].sealed))
		}
		w.pass(w.outbox)
		if got := w.sink.got(); len(got) != 1 || got[0].To != "ana@example.com" {
			t.Errorf("sent were %+v", got)
		}
		if rows := w.rows(); len(rows) != 0 {
			t.Errorf("it is kept: %+v", rows)
		}
		if s := w.outbox.Stats(); s.Discarded != 1 || s.Sent != 1 || s.Dead != 0 {
			t.Errorf("counted %+v", s)
		}
		missing := w.code("")
		err := w.db.Write(t.Context(), func(tx *sqldb.Tx) error { return w.outbox.Enqueue(tx, missing) })
		if !errors.Is(err, ErrAddress) {
			t.Errorf("a message whose address was forgotten: %v", err)
		}
	})
}

type row struct {
	state, reason string
	sealed        []byte
}

func (w *world) rows() []row {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `SELECT state, reason, sealed FROM notify_outbox ORDER BY id`)
	w.must(err)
	var all []row
	for rows.Next() {
		var r row
		w.must(rows.Scan(&r.state, &r.reason, &r.sealed))
		all = append(all, r)
	}
	w.must(rows.Err())
	return all
}

func TestMessageIsSentAndForgotten(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		forCustomer := w.code("ana@example.com")
		forCustomer.Customer, forCustomer.Key = ana, w.customer
		w.enqueue(w.code("stranger@example.com"), forCustomer)
		for _, r := range w.rows() {
			if bytes.Contains(r.sealed, []byte("example.com")) || bytes.Contains(r.sealed, []byte("123456")) || len(r.sealed) == 0 {
				t.Errorf("the content is stored in the open: %q", r.sealed)
			}
		}
		if n := w.pass(w.outbox); n != 2 {
			t.Fatalf("%d were sent, want 2", n)
		}
		got := w.sink.got()
		slices.SortFunc(got, func(a, b Mail) int { return -strings.Compare(a.To, b.To) }) // ids made in one millisecond are in no order
		m := got[0]
		if got[1].To != "ana@example.com" || m.To != "stranger@example.com" || m.Subject != "123 456 is your Olive & Thyme code" || m.Code != "123456" || m.From != olive.From || m.FromName != olive.Name {
			t.Errorf("%+v", m)
		}
		if rows := w.rows(); len(rows) != 0 {
			t.Errorf("what was sent is kept: %+v", rows)
		}
		if w.pass(w.outbox) != 0 {
			t.Error("it was sent again")
		}
	})
}

func TestEnqueueBelongsToItsTransaction(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		undone := errors.New("undone")
		err := w.db.Write(t.Context(), func(tx *sqldb.Tx) error {
			if err := w.outbox.Enqueue(tx, w.code("ana@example.com")); err != nil {
				return err
			}
			return undone
		})
		if !errors.Is(err, undone) || w.pass(w.outbox) != 0 {
			t.Errorf("a message of a transaction that failed was sent: %v", err)
		}
		for _, to := range []string{"ana@example.com\r\nBcc: evil@example.com", "a@evil@corp.example", "a@evil.example,v@corp.example", "", "Ana <ana@example.com>"} {
			m := w.code("ana@example.com")
			m.To = to
			err := w.db.Write(t.Context(), func(tx *sqldb.Tx) error { return w.outbox.Enqueue(tx, m) })
			if !errors.Is(err, ErrAddress) {
				t.Errorf("%q was taken: %v", to, err)
			}
		}
	})
}

func TestFailuresAreTriedAgainOrGivenUp(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		down := &reasonError{reason: "connection", err: errors.New("refused")}
		w.sink.send = func(context.Context, Mail) error { return down }
		w.enqueue(w.code("ana@example.com"))
		w.pass(w.outbox)
		if rows := w.rows(); len(rows) != 1 || rows[0].state != "waiting" || rows[0].reason != "connection" {
			t.Fatalf("%+v", rows)
		}
		unsent, err := w.outbox.Unsent(t.Context(), tenantA, "", 10)
		if err != nil || len(unsent) != 1 || unsent[0].Reason != "connection" || unsent[0].Attempts != 1 || !unsent[0].Next.After(w.now.Now()) || !unsent[0].Expires.After(unsent[0].Next) {
			t.Errorf("%+v, %v", unsent, err)
		}
		if later, err := w.outbox.Unsent(t.Context(), tenantA, unsent[0].ID, 10); err != nil || len(later) != 0 {
			t.Errorf("the second page has %+v, %v", later, err)
		}
		if others, err := w.outbox.Unsent(t.Context(), "ten_b", "", 10); err != nil || len(others) != 0 {
			t.Errorf("%+v, %v", others, err)
		}
		if w.pass(w.outbox) != 0 {
			t.Error("it is tried again without a pause")
		}
		w.now.Advance(3 * time.Second)
		w.sink.send = nil
		if w.pass(w.outbox) != 1 || len(w.rows()) != 0 || len(w.sink.got()) != 2 {
			t.Errorf("it was not sent the second time: %+v", w.rows())
		}

		w.sink.send = func(context.Context, Mail) error { return &PermanentError{Reason: "smtp_550"} }
		w.enqueue(w.code("nobody@example.com"))
		w.pass(w.outbox)
		if rows := w.rows(); len(rows) != 1 || rows[0].state != "dead" || rows[0].reason != "smtp_550" || len(rows[0].sealed) != 0 {
			t.Fatalf("%+v", rows)
		}
		list, err := w.outbox.Undelivered(t.Context(), tenantA, "", 10)
		if err != nil || len(list) != 1 || list[0].Reason != "smtp_550" || list[0].Template != Code || list[0].Attempts != 1 || !list[0].At.Equal(w.now.Now()) {
			t.Errorf("%+v, %v", list, err)
		}
		if list, err := w.outbox.Undelivered(t.Context(), tenantA, list[0].ID, 10); err != nil || len(list) != 0 {
			t.Errorf("the second page has %+v, %v", list, err)
		}

		// What ended is forgotten after a week.
		w.must(w.outbox.sweep(t.Context()))
		if len(w.rows()) != 1 {
			t.Error("swept too early")
		}
		w.now.Advance(keepEnded + time.Second)
		w.must(w.outbox.sweep(t.Context()))
		if len(w.rows()) != 0 {
			t.Error("not swept")
		}
	})
}

func TestHopelessMessageIsGivenUp(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.sink.send = func(context.Context, Mail) error { return errors.New("no") }
		m := w.code("ana@example.com")
		m.Expires = w.now.Now().Add(1000 * time.Hour)
		w.enqueue(m)
		for range 100 {
			w.pass(w.outbox)
			w.now.Advance(time.Hour)
		}
		if rows := w.rows(); len(rows) != 1 || rows[0].reason != reasonGaveUp || len(w.sink.got()) != maxAttempts {
			t.Errorf("after %d attempts: %+v", len(w.sink.got()), rows)
		}
		w.sink.send = func(context.Context, Mail) error { panic("boom") }
		w.enqueue(w.code("ben@example.com"))
		w.pass(w.outbox)
		if rows := w.rows(); len(rows) != 2 || rows[1].reason != reasonPanic {
			t.Errorf("%+v", rows)
		}
	})
}

func TestExpiredCodeIsNeverSent(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.enqueue(w.code("ana@example.com"))
		w.now.Advance(10 * time.Minute)
		w.pass(w.outbox)

		// Not even when it expires while it is being tried.
		w.sink.send = func(context.Context, Mail) error { return errors.New("down") }
		w.enqueue(w.code("ben@example.com"))
		for range 10 {
			w.pass(w.outbox)
			w.now.Advance(2 * time.Minute)
		}
		for _, m := range w.sink.got() {
			if m.To == "ana@example.com" {
				t.Error("an expired code was sent")
			}
			if m.At.After(noon.Add(20 * time.Minute)) {
				t.Errorf("tried at %v", m.At)
			}
		}
		rows := w.rows()
		if len(rows) != 2 || rows[0].reason != reasonExpired || rows[1].reason != reasonExpired || rows[1].state != "dead" || len(rows[1].sealed) != 0 {
			t.Errorf("%+v", rows)
		}
		if s := w.outbox.Stats(); s.Expired != 2 || s.Sent != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A node that dies after it sent and before it noted so has the message sent
// again by another, with the same id.
func TestCrashAfterSendingSendsAgain(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.enqueue(w.code("ana@example.com"))
		messages, err := w.outbox.take(t.Context(), 10)
		if err != nil || len(messages) != 1 {
			t.Fatal(err, messages)
		}
		w.must(w.outbox.attempt(t.Context(), messages[0])) // and here it dies

		second := w.node(w.db, w.sink)
		if w.pass(second) != 0 {
			t.Fatal("a lease that holds was ignored")
		}
		w.now.Advance(2*time.Minute + time.Second)
		if w.pass(second) != 1 {
			t.Fatal("a lease that ran out was not taken over")
		}
		got := w.sink.got()
		if len(got) != 2 || got[0].ID != got[1].ID || len(w.rows()) != 0 {
			t.Errorf("sent %d times, left %+v", len(got), w.rows())
		}
		// The dead one comes back and notes what it did: nothing happens.
		w.must(w.outbox.end(t.Context(), messages[0], "dead", "late"))
		w.must(w.outbox.retry(t.Context(), messages[0], "late"))
		if len(w.rows()) != 0 {
			t.Errorf("a lease that was lost still writes: %+v", w.rows())
		}
	})
}

// A slow node whose lease was taken over changes nothing for the one that has it.
func TestLostLeaseWritesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.enqueue(w.code("ana@example.com"))
		slow, err := w.outbox.take(t.Context(), 1)
		w.must(err)
		w.now.Advance(3 * time.Minute)
		fast, err := w.node(w.db, w.sink).take(t.Context(), 1)
		w.must(err)
		if len(slow) != 1 || len(fast) != 1 {
			t.Fatal(len(slow), len(fast))
		}
		w.must(w.outbox.end(t.Context(), slow[0], "sent", ""))
		w.must(w.outbox.retry(t.Context(), slow[0], "late"))
		if rows := w.rows(); len(rows) != 1 || rows[0].reason != "" {
			t.Errorf("%+v", rows)
		}
		if w.pass(w.outbox) != 0 {
			t.Error("the late note freed the message")
		}
	})
}

func TestDedup(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		m := Message{
			Tenant: tenantA, Key: w.customer, Customer: ana, Handle: []byte{1}, To: "ana@example.com", Template: NewSignIn, DedupKey: "session ses_1",
		}
		w.enqueue(m, m)
		w.enqueue(m)
		w.pass(w.outbox)
		w.enqueue(m)
		w.pass(w.outbox)
		if n := len(w.sink.got()); n != 1 {
			t.Errorf("sent %d times", n)
		}
		if rows := w.rows(); len(rows) != 1 || rows[0].state != "sent" || len(rows[0].sealed) != 0 {
			t.Errorf("%+v", rows)
		}
		other := m
		other.Handle = []byte{2}
		w.enqueue(other)
		if w.pass(w.outbox) != 1 {
			t.Error("another address is told apart by its key alone")
		}
	})
}

func TestErasedCustomerGetsNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		m := w.code("ana@example.com")
		m.Customer, m.Key = ana, w.customer
		w.enqueue(m)
		w.must(w.ring.Erase(t.Context(), tenantA, ana))
		w.pass(w.outbox)
		if len(w.sink.got()) != 0 || len(w.rows()) != 0 {
			t.Errorf("sent %d, left %+v", len(w.sink.got()), w.rows())
		}
	})
}

// Two nodes that run side by side send each message once.
func TestTwoNodes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		db := w.db
		if db.Engine() == sqldb.Postgres {
			db = dbtest.OpenSecond(t, w.db, func(o *sqldb.Options) { o.Clock = w.now })
		}
		second := w.node(db, w.sink)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, o := range []*Outbox{w.outbox, second} {
			running.Go(func() {
				if err := o.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		const messages = 120
		var enqueuing sync.WaitGroup
		for i := range messages {
			enqueuing.Go(func() {
				err := w.db.Write(t.Context(), func(tx *sqldb.Tx) error {
					return w.outbox.Enqueue(tx, w.code(fmt.Sprintf("c%d@example.com", i)))
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		enqueuing.Wait()
		for deadline := time.Now().Add(20 * time.Second); len(w.sink.got()) < messages && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		stop()
		running.Wait()
		times := map[string]int{}
		for _, m := range w.sink.got() {
			times[m.To]++
		}
		if len(times) != messages {
			t.Errorf("%d of %d were sent", len(times), messages)
		}
		for to, n := range times {
			if n != 1 {
				t.Errorf("%s was written to %d times", to, n)
			}
		}
		if rows := w.rows(); len(rows) != 0 {
			t.Errorf("%d are left", len(rows))
		}
		if a, b := w.outbox.Stats().Sent, second.Stats().Sent; a+b != messages {
			t.Errorf("counted %d and %d", a, b)
		}
	})
}

// A message leaves at once where it was enqueued, however slowly the node polls,
// and Run lets it finish when it is told to stop.
func TestRunIsWokenAndDrains(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.outbox.o.Poll = time.Hour
		sending, release := make(chan struct{}), make(chan struct{})
		w.sink.send = func(ctx context.Context, _ Mail) error {
			close(sending)
			<-release
			return ctx.Err()
		}
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() { stopped <- w.outbox.Run(ctx) }()
		time.Sleep(20 * time.Millisecond)
		w.enqueue(w.code("ana@example.com"))
		select {
		case <-sending:
		case <-time.After(5 * time.Second):
			t.Fatal("not woken")
		}
		stop()
		time.Sleep(20 * time.Millisecond)
		close(release)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if rows := w.rows(); len(rows) != 0 {
			t.Errorf("the message under way was dropped: %+v", rows)
		}
	})
}

func TestBackoff(t *testing.T) {
	o := &Outbox{o: Options{Random: rand.Reader}}
	for attempts, around := range map[int]time.Duration{1: 2 * time.Second, 2: 8 * time.Second, 3: 32 * time.Second, 4: 128 * time.Second, 5: 512 * time.Second, 6: 30 * time.Minute, 60: 30 * time.Minute} {
		for range 100 {
			if got := o.backoff(attempts); got < around*3/4 || got > around*5/4 {
				t.Errorf("after %d attempts: %v", attempts, got)
			}
		}
	}
}

func TestCheckAddress(t *testing.T) {
	for _, good := range []string{"ana@example.com", "ana.lopez+news@mail.example.co.uk", "o'neil@example.com", "δοκιμή@παράδειγμα.ευ", "a@xn--bcher-kva.example"} {
		if err := CheckAddress(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "ana", "@example.com", "ana@", "ana@localhost", "a@evil@corp.example", "a@evil.example,v@corp.example", "a@evil.example v@corp.example",
		"Ana <ana@example.com>", "<ana@example.com>", "ana@example.com\r\nBcc: v@corp.example", "ana@example.com\n", "\tana@example.com", `"a b"@example.com`,
		"ana(comment)@example.com", "ana@[127.0.0.1]", "ana@exa_mple.com", "ana@-example.com", "ana@example..com", ".ana@example.com", "ana.@example.com",
		"a;b@example.com", "a:b@example.com", "ana@example.com\x00", "a\u2028b@example.com", "ana\xff@example.com",
		strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("b.", 130) + "com",
	} {
		if err := CheckAddress(bad); !errors.Is(err, ErrAddress) {
			t.Errorf("%q was taken", bad)
		}
	}
}

// Whoever waits for a code does not wait for what a rule has to say to everybody.
func TestCodesLeaveBeforeNotices(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for n := range 30 {
			notice := w.code(fmt.Sprintf("n%d@example.com", n))
			notice.Template, notice.Data = Dormancy, Data{Until: w.now.Now().Add(time.Hour)}
			w.enqueue(notice)
		}
		w.now.Advance(time.Minute)
		w.enqueue(w.code("a@example.com"), w.code("b@example.com"))
		got, err := w.outbox.take(t.Context(), 5)
		w.must(err)
		var order []string
		for _, m := range got {
			order = append(order, string(m.template))
		}
		if strings.Join(order, " ") != "code code dormancy dormancy dormancy" {
			t.Errorf("taken in this order: %v", order)
		}
	})
}

// However many codes there are, what tells customers of changes to their accounts
// leaves too: whoever has codes sent without end keeps back no notice.
func TestCodesKeepBackNoNotice(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		notice := w.code("n@example.com")
		notice.Template, notice.Data = Dormancy, Data{Until: w.now.Now().Add(time.Hour)}
		w.enqueue(notice)
		for n := range 30 {
			w.enqueue(w.code(fmt.Sprintf("c%d@example.com", n)))
		}
		w.now.Advance(time.Minute)
		for range 10 { // as senders become free
			got, err := w.outbox.take(t.Context(), 1)
			w.must(err)
			for _, m := range got {
				if m.template == Dormancy {
					return
				}
			}
		}
		t.Error("ten codes left, and no notice")
	})
}
