package pages_test

import (
	"context"
	"crypto/rand"
	"errors"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/clientip"
	"github.com/cardea-id/cardea/internal/consent"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/pages"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/session/sessiontest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	password  = "copper kettle on the veranda"
	shopID    = "app_01kdvdna00f48vq867hh9wkbbq"
	recipesID = "app_01kdvdna00fzeb9m1xt0wb57st"
)

// world is the pages with everything real beneath them, and an application's
// authorization endpoint beside them, over TLS as browsers see it.
type world struct {
	*sessiontest.World
	pages     *pages.Pages
	apps      *application.Store
	grants    *grant.Grants
	passwords *credential.Passwords
	hasher    *credential.Hasher
	server    *httptest.Server
	mails     chan notify.Mail
	busy      atomic.Bool // whether passwords meet a queue

	shop, recipes *application.Application // the tenant's own, and another's
}

type transport chan notify.Mail

func (t transport) Send(_ context.Context, m notify.Mail) error {
	t <- m
	return nil
}

// passwordStep is the real one, but for a queue that is full when the test
// says so.
type passwordStep struct {
	step.Password
	busy *atomic.Bool
}

func (p passwordStep) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if p.busy.Load() && answer.Choice == "" {
		return journey.Result{}, credential.ErrBusy
	}
	return p.Password.Answer(ctx, run, answer)
}

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func newWorld(t testing.TB, change ...func(*tenant.Tenant)) *world {
	t.Helper()
	w := &world{mails: make(chan notify.Mail, 100)}
	w.World = sessiontest.New(t, sqldb.SQLite, []sqldb.MigrationSet{
		budget.Migrations(), application.Migrations(), credential.Migrations(), challenge.Migrations(), grant.Migrations(),
		consent.Migrations(), notify.Migrations(), journey.Migrations(), organization.Migrations(),
	})
	w.server = httptest.NewTLSServer(nil)
	t.Cleanup(w.server.Close)
	w.Tenant.Issuer, w.Tenant.Brand = w.server.URL, tenant.Brand{ID: "brd_1", Name: "Olive & Thyme"}
	for _, change := range change {
		change(w.Tenant)
	}
	w.Tenant.Schema = must(tenant.CompileProfile(w.Tenant.Settings.Profile))(t)
	w.Tenant.Rules = map[identifier.Kind]*identifier.Rule{}

	quiet := slog.New(slog.DiscardHandler)
	views := must(view.New())(t)
	w.apps = application.NewStore(application.Options{DB: w.DB, Watch: w.Watch, Log: w.Log, Clock: w.Clock, Random: rand.Reader,
		NeedKey: func(context.Context, id.Tenant, string) error { return nil }})
	w.grants = grant.New(grant.Options{DB: w.DB, Ring: w.Ring, Log: w.Log, Clock: w.Clock, Random: rand.Reader,
		Presence: func(b *sqldb.Batch, t *tenant.Tenant, c id.Customer, s id.Session) func() grant.Presence {
			alive := w.Sessions.QueueAlive(b, t, c, s)
			return func() grant.Presence { return grant.Presence{Allowed: true, Live: alive.Live(), Touch: alive.Touch} }
		}})
	w.Sessions.Ended = func(tx *sqldb.Tx, e session.Ended) error {
		return w.grants.EndWithSessions(tx, grant.Ending{Tenant: e.Tenant, Customer: e.Customer, Sessions: e.Sessions, Everywhere: e.Everywhere, Except: e.Except, Actor: e.Actor})
	}
	w.passwords = credential.NewPasswords(w.DB, w.Log, rand.Reader)
	w.hasher = must(credential.NewHasher(credential.HasherOptions{Random: rand.Reader}))(t)
	outbox := must(notify.New(notify.Options{DB: w.DB, Ring: w.Ring, Transport: transport(w.mails), Random: rand.Reader, Poll: 20 * time.Millisecond,
		Words: must(notify.NewWords(views.Words()))(t), Logger: quiet,
		Brands: func(context.Context, id.Tenant, id.Brand) (notify.Brand, error) {
			return notify.Brand{Name: "Olive & Thyme", From: "hello@example.com"}, nil
		}}))(t)
	sending, stop := context.WithCancel(context.Background())
	sent := make(chan struct{})
	go func() { defer close(sent); _ = outbox.Run(sending) }()
	t.Cleanup(func() { stop(); <-sent })

	budgets := budget.New(w.DB, w.Clock)
	organizations := organization.New(organization.Options{DB: w.DB, Ring: w.Ring, Log: w.Log, Budgets: budgets, Clock: w.Clock, Random: rand.Reader})
	steps := step.Capabilities{
		DB: w.DB, Ring: w.Ring, Log: w.Log, Budgets: budgets, Directory: w.Directory, Hasher: w.hasher, Checker: credential.NewChecker(nil),
		Passwords: w.passwords, Challenges: challenge.New(challenge.Options{DB: w.DB, Ring: w.Ring, Clock: w.Clock, Random: rand.Reader}),
		Outbox: outbox, Sessions: w.Sessions, Grants: w.grants, Consents: consent.New(consent.Options{DB: w.DB, Log: w.Log}), Claims: &claim.Sets{}, Organizations: organizations, Clock: w.Clock, Random: rand.Reader,
	}
	kinds := step.Kinds(steps)
	kinds["password"] = passwordStep{step.Password{Capabilities: steps}, &w.busy}
	engine := must(journey.New(journey.Options{DB: w.DB, Ring: w.Ring, Budgets: budgets, Log: w.Log, Applications: w.apps, Devices: steps,
		Subjects: steps, Facts: steps, Kinds: kinds, Clock: w.Clock, Random: rand.Reader, Logger: quiet}))(t)
	w.pages = pages.New(pages.Options{
		Engine: engine, Directory: w.Directory, Sessions: w.Sessions, Grants: w.grants, Organizations: organizations, Applications: w.apps, Views: views,
		Resolver: clientip.New(nil), DB: w.DB, Ring: w.Ring, Clock: w.Clock, Random: rand.Reader, Logger: quiet, Jar: browser.Jar{},
		Resume: map[string]func(http.ResponseWriter, *http.Request, *tenant.Tenant, *journey.Finished){"authorize": w.resume},
	})
	w.mount()

	w.shop = w.application(t, shopID, "shop", application.Settings{Name: "Shop", FirstParty: true, Scopes: []string{"openid", "email"}})
	w.recipes = w.application(t, recipesID, "recipes", application.Settings{Name: `Recipes by <b>Ana</b>`, Scopes: []string{"openid", "email", "profile", "offline_access"}})
	return w
}

func (w *world) application(t testing.TB, named id.Application, host string, s application.Settings) *application.Application {
	t.Helper()
	home := "https://" + host + ".example"
	s.Kind, s.RedirectURIs, s.HomeURL = application.Web, []string{home + "/callback"}, home+"/"
	made, _, err := w.apps.Create(t.Context(), w.Tenant.ID, named, s, "test")
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// mount serves as internal/server does.
func (w *world) mount() {
	mux := http.NewServeMux()
	guard := http.NewCrossOriginProtection()
	for _, r := range w.pages.Routes() {
		var handler http.Handler = http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) { r.Handle(rw, req, w.Tenant) })
		if r.Cookies {
			handler = guard.Handler(handler)
		}
		mux.Handle(r.Method+" "+r.Pattern, handler)
	}
	mux.HandleFunc("GET /authorize", func(rw http.ResponseWriter, req *http.Request) { w.authorize(rw, req, w.Tenant, req.URL.RawQuery, nil) })
	mux.HandleFunc("GET /end_session", func(rw http.ResponseWriter, req *http.Request) {
		w.pages.ConfirmSignOut(rw, req, w.Tenant, pages.SignOut{Action: "/end_session/confirm", State: "s", Application: w.recipes, Target: "https://recipes.example/bye"})
	})
	mux.HandleFunc("GET /fault/{kind}", func(rw http.ResponseWriter, req *http.Request) {
		w.pages.Fault(rw, req, w.Tenant, req.PathValue("kind"), req.URL.Query().Get("detail"))
	})
	mux.HandleFunc("/", func(rw http.ResponseWriter, req *http.Request) { w.pages.NotFound(rw, req, w.Tenant) })
	w.server.Config.Handler = mux
}

func (w *world) resume(rw http.ResponseWriter, r *http.Request, t *tenant.Tenant, finished *journey.Finished) {
	w.authorize(rw, r, t, finished.Return.Params, finished)
}

// authorize decides as the authorization endpoint does.
func (w *world) authorize(rw http.ResponseWriter, r *http.Request, t *tenant.Tenant, query string, finished *journey.Finished) {
	params, _ := url.ParseQuery(query)
	app, err := w.apps.Get(r.Context(), t.ID, id.Application(params.Get("client_id")))
	if err != nil {
		w.pages.Fault(rw, r, t, "application", err.Error())
		return
	}
	client, err := w.pages.Client(rw, r, t)
	if err != nil {
		w.pages.Fault(rw, r, t, "request", err.Error())
		return
	}
	answer := func(what string) {
		rw.Header().Set("Location", app.RedirectURIs[0]+"?"+what+"&state="+url.QueryEscape(params.Get("state")))
		rw.WriteHeader(http.StatusSeeOther)
	}
	start := journey.Start{Journey: "sign-in", Return: journey.Return{Kind: "authorize", Params: query}, Application: app,
		Scopes: strings.Fields(params.Get("scope")), LoginHint: params.Get("login_hint"), Client: client}
	switch {
	case finished != nil && finished.Outcome == "denied":
		answer("error=access_denied")
	case client.Session == nil:
		w.pages.Begin(rw, r, t, start)
	case app.FirstParty || (finished != nil && finished.Outcome == "consented"):
		answer("code=1")
	default:
		start.Journey = "consent"
		w.pages.Begin(rw, r, t, start)
	}
}

// customer makes an account. Without a password it is one that signs in by
// code.
func (w *world) customer(t testing.TB, email, password string, profile map[string]any) id.Customer {
	t.Helper()
	who := id.New[id.Customer](w.Clock.Now(), rand.Reader)
	key := must(w.Ring.CreateCustomer(t.Context(), w.Tenant.ID, who))(t)
	keys := must(w.Ring.Tenant(t.Context(), w.Tenant.ID))(t)
	address := must(identifier.Normalise(identifier.Email, email, identifier.Options{}))(t)
	var hash credential.Hash
	if password != "" {
		s := w.Tenant.Settings.Password
		hash = must(w.hasher.Hash(t.Context(), credential.Asker{Tenant: w.Tenant.ID},
			credential.Params{MemoryKiB: s.MemoryKiB, Time: s.Time, Parallelism: s.Parallelism}, credential.NewPassword(password)))(t)
	}
	w.Write(t, func(tx *sqldb.Tx) error {
		err := w.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: w.Tenant.ID, Customer: who, Profile: profile,
			Identifiers: []customer.NewIdentifier{{Normalised: address, Verified: true}}})
		if err != nil || hash == "" {
			return err
		}
		_, err = w.passwords.SetPassword(tx, key, credential.Change{Tenant: w.Tenant.ID, Customer: who, Actor: string(who)}, hash)
		return err
	})
	return who
}

// code is the code of the next mail.
func (w *world) code(t testing.TB) string {
	t.Helper()
	for {
		if m := w.mail(t); m.Code != "" {
			return m.Code
		}
	}
}

// mail is the next mail.
func (w *world) mail(t testing.TB) notify.Mail {
	t.Helper()
	select {
	case m := <-w.mails:
		return m
	case <-time.After(20 * time.Second):
		t.Fatal("no mail came")
		return notify.Mail{}
	}
}

// visitor is a browser.
type visitor struct {
	t      testing.TB
	w      *world
	client *http.Client
	header http.Header // sent with each request
}

func (w *world) browser(t testing.TB) *visitor {
	t.Helper()
	client := w.server.Client()
	jar := must(cookiejar.New(nil))(t)
	return &visitor{t: t, w: w, header: http.Header{}, client: &http.Client{Transport: client.Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// shownPage is a response, read.
type shownPage struct {
	*http.Response
	body string
}

func (v *visitor) do(method, address string, form url.Values) shownPage {
	v.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = v.w.server.URL + address
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(v.t.Context(), method, address, body)
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for name, values := range v.header {
		r.Header[name] = values
	}
	return v.send(r)
}

func (v *visitor) send(r *http.Request) shownPage {
	v.t.Helper()
	response, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	if response.StatusCode >= 500 && response.StatusCode != http.StatusServiceUnavailable {
		v.t.Errorf("%s %s answered %d: %s", r.Method, r.URL.Path, response.StatusCode, text)
	}
	return shownPage{response, string(text)}
}

func (v *visitor) get(address string) shownPage { v.t.Helper(); return v.do("GET", address, nil) }

var (
	stateField  = regexp.MustCompile(`<input type="hidden" name="state" value="([^"]*)">`)
	hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	formAction  = regexp.MustCompile(`<form id="form" method="post" action="([^"]*)"`)
	pageName    = regexp.MustCompile(`<body class="p-([a-z]+)"`)
)

func (s shownPage) first(of *regexp.Regexp) string {
	if found := of.FindStringSubmatch(s.body); found != nil {
		return html.UnescapeString(found[1])
	}
	return ""
}

func (s shownPage) name() string  { return s.first(pageName) }
func (s shownPage) state() string { return s.first(stateField) }

// submit sends the page's form with fields as name, value, …
func (v *visitor) submit(page shownPage, fields ...string) shownPage {
	v.t.Helper()
	form := url.Values{}
	for _, hidden := range hiddenField.FindAllStringSubmatch(page.body, -1) {
		form.Set(html.UnescapeString(hidden[1]), html.UnescapeString(hidden[2]))
	}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	action := page.first(formAction)
	if action == "" {
		v.t.Fatalf("there is no form on the page %q: %s", page.name(), page.body)
	}
	return v.do("POST", action, form)
}

// signIn signs a customer in at address and returns what comes after.
func (v *visitor) signIn(address, email string, more ...string) shownPage {
	v.t.Helper()
	page := v.submit(v.get(address), "identifier", email)
	return v.submit(page, append([]string{"password", password}, more...)...)
}

func (v *visitor) cookie(kind string) string {
	at, _ := url.Parse(v.w.server.URL)
	for _, c := range v.client.Jar.Cookies(at) {
		if c.Name == "__Host-cardea_"+kind+"_shop" {
			return c.Value
		}
	}
	return ""
}

func set(s shownPage, kind string) *http.Cookie {
	i := slices.IndexFunc(s.Cookies(), func(c *http.Cookie) bool { return c.Name == "__Host-cardea_"+kind+"_shop" })
	if i < 0 {
		return nil
	}
	return s.Cookies()[i]
}

func (s shownPage) is(t testing.TB, status int, name string) shownPage {
	t.Helper()
	if s.StatusCode != status || s.name() != name {
		t.Fatalf("got %d, page %q, to %q; want %d, page %q\n%s", s.StatusCode, s.name(), s.Header.Get("Location"), status, name, s.body)
	}
	return s
}

func (s shownPage) goesTo(t testing.TB, prefix string) shownPage {
	t.Helper()
	if s.StatusCode != http.StatusSeeOther || !strings.HasPrefix(s.Header.Get("Location"), prefix) {
		t.Fatalf("got %d, page %q, to %q; want 303 to %q\n%s", s.StatusCode, s.name(), s.Header.Get("Location"), prefix, s.body)
	}
	return s
}

func (s shownPage) says(t testing.TB, texts ...string) shownPage {
	t.Helper()
	plain := html.UnescapeString(strings.ReplaceAll(s.body, "<wbr>", ""))
	for _, text := range texts {
		if !strings.Contains(plain, text) {
			t.Errorf("the page %q does not say %q:\n%s", s.name(), text, s.body)
		}
	}
	return s
}

func (s shownPage) saysNot(t testing.TB, texts ...string) shownPage {
	t.Helper()
	plain := html.UnescapeString(strings.ReplaceAll(s.body, "<wbr>", ""))
	for _, text := range texts {
		if strings.Contains(plain, text) {
			t.Errorf("the page %q says %q:\n%s", s.name(), text, s.body)
		}
	}
	return s
}

// alive tells whether a session cookie is good.
func (w *world) alive(t testing.TB, cookie string) bool {
	t.Helper()
	_, err := w.Sessions.Read(t.Context(), w.Tenant, cookie)
	if err != nil && !errors.Is(err, session.ErrNone) {
		t.Fatal(err)
	}
	return err == nil
}
