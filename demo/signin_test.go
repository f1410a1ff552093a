package demo_test

import (
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/demo/club"
	"github.com/cardea-id/cardea/demo/recipes"
	"github.com/cardea-id/cardea/demo/shop"
	"github.com/cardea-id/cardea/demo/signin"
)

type application struct {
	name   string
	scopes []string
	make   func(signin.Config) http.Handler
}

func applications() []application {
	return []application{
		{shop.Name, shop.Scopes(), shop.New},
		{club.Name, club.Scopes(), club.New},
		{recipes.Name, recipes.Scopes(), recipes.New},
	}
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

// start serves an application that signs in at issuer and gives its address.
func start(t *testing.T, make func(signin.Config) http.Handler, config signin.Config) string {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	base := "http://" + server.Listener.Addr().String()
	config.ClientID, config.ClientSecret, config.BaseURL, config.RedirectURL = "client", "secret", base, base+"/callback"
	config.Logger = slog.New(slog.DiscardHandler)
	server.Config.Handler = make(config)
	server.Start()
	t.Cleanup(server.Close)
	return base
}

// browser keeps cookies and follows redirects.
type browser struct {
	t      *testing.T
	client *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar, Timeout: 10 * time.Second}}
}

type shown struct {
	status int
	url    *url.URL
	header http.Header
	text   string
}

func (b *browser) do(r *http.Request) shown {
	b.t.Helper()
	response, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return shown{response.StatusCode, response.Request.URL, response.Header, html.UnescapeString(string(body))}
}

func (b *browser) get(address string) shown {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(r)
}

func (b *browser) post(address, site string) shown {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", site)
	return b.do(r)
}

// stay stops the browser from following redirects and gives where the answer points.
func (b *browser) stay(address string) (string, shown) {
	b.t.Helper()
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer func() { b.client.CheckRedirect = nil }()
	page := b.get(address)
	return page.header.Get("Location"), page
}

func (s shown) must(t *testing.T, status int, words ...string) {
	t.Helper()
	if s.status != status {
		t.Errorf("%s answered %d, want %d", s.url.Path, s.status, status)
	}
	for _, w := range words {
		if !strings.Contains(s.text, w) {
			t.Errorf("%s does not say %q:\n%s", s.url.Path, w, s.text)
		}
	}
}

func TestSignInAndOut(t *testing.T) {
	for _, app := range applications() {
		t.Run(app.name, func(t *testing.T) {
			p := newProvider(t)
			base := start(t, app.make, signin.Config{Issuer: p.URL})
			b := newBrowser(t)

			b.get(base+"/").must(t, 200, app.name, `href="/signin"`)
			page := b.get(base + "/signin?lang=ar")
			page.must(t, 200, "Ana", "ana@example.com", "Sign out")
			if page.url.String() != base+"/" {
				t.Errorf("the customer ended at %s", page.url)
			}
			p.set(func() {
				for name, want := range map[string]string{
					"scope": strings.Join(app.scopes, " "), "ui_locales": "ar", "code_challenge_method": "S256", "response_type": "code",
				} {
					if got := p.lastAuth.Get(name); got != want {
						t.Errorf("%s = %q, want %q", name, got, want)
					}
				}
				for _, name := range []string{"state", "nonce", "code_challenge"} {
					if len(p.lastAuth.Get(name)) != 43 {
						t.Errorf("%s = %q is not 256 bits", name, p.lastAuth.Get(name))
					}
				}
				p.claims["given_name"] = "Anabel"
			})
			b.get(base+"/you").must(t, 200, "Anabel", "E-mail confirmed")
			b.get(base+"/").must(t, 200, "Anabel")

			b.post(base+"/signout", "cross-site").must(t, 403)
			b.get(base+"/").must(t, 200, "Anabel")
			out := b.post(base+"/signout", "same-origin")
			out.must(t, 200, "signed out")
			if out.url.String() != base+"/signed-out" {
				t.Errorf("signed out to %s", out.url)
			}
			b.get(base+"/").must(t, 200, `href="/signin"`)
		})
	}
}

func TestSignOutTellsTheProvider(t *testing.T) {
	p := newProvider(t)
	base := start(t, shop.New, signin.Config{Issuer: p.URL})
	b := newBrowser(t)
	b.get(base+"/signin").must(t, 200, "Ana")

	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	end, err := url.Parse(b.post(base+"/signout", "same-origin").header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	if end.Path != "/end" || strings.Count(end.Query().Get("id_token_hint"), ".") != 2 ||
		end.Query().Get("post_logout_redirect_uri") != base+"/signed-out" || end.Query().Get("client_id") != "client" {
		t.Errorf("sent to %s", end)
	}
}

func TestGreeting(t *testing.T) {
	for name, tt := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"given name": {map[string]any{"given_name": "Ana", "name": "Ana Lima", "email": "a@example.com"}, "Ana</span>"},
		"name":       {map[string]any{"name": "Ana Lima", "email": "a@example.com"}, "Ana Lima</span>"},
		"e-mail":     {map[string]any{"email": "a@example.com"}, "a@example.com</span>"},
		"nothing":    {map[string]any{}, "there</span>"},
		"markup":     {map[string]any{"given_name": "<b>"}, "<b></span>"}, // shown, as the page is unescaped once by the test
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.claims = tt.claims
			base := start(t, shop.New, signin.Config{Issuer: p.URL})
			newBrowser(t).get(base+"/signin").must(t, 200, tt.want)
		})
	}
}

// TestAnswersThatMustNotSignIn holds what an application has to refuse: each row is one thing wrong with the way back.
func TestAnswersThatMustNotSignIn(t *testing.T) {
	for name, tt := range map[string]struct {
		wrong  func(p *fakeProvider)
		status int
		words  string
	}{
		"the nonce of another sign-in": {func(p *fakeProvider) { p.nonce = "another" }, 502, "nonce_mismatch"},
		"another issuer's answer":      {func(p *fakeProvider) { p.iss = "https://evil.example" }, 400, "iss_mismatch"},
		"no issuer though promised":    {func(p *fakeProvider) { p.iss = "-" }, 400, "iss_mismatch"},
		"another issuer's error":       {func(p *fakeProvider) { p.iss, p.refuse = "https://evil.example", "access_denied" }, 400, "iss_mismatch"},
		"an ID token for someone else": {func(p *fakeProvider) { p.audience = "other" }, 502, "bad_id_token"},
		"userinfo of someone else":     {func(p *fakeProvider) { p.infoSub = "cus_2" }, 502, "userinfo_failed"},
		"the customer said no":         {func(p *fakeProvider) { p.refuse = "access_denied" }, 200, "You chose not to share your details"},
		"the provider is busy":         {func(p *fakeProvider) { p.refuse = "temporarily_unavailable" }, 503, "try again in a minute"},
		"an unheard-of error":          {func(p *fakeProvider) { p.refuse = "Call 555-0100 now!" }, 502, "unknown_error"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			tt.wrong(p)
			base := start(t, shop.New, signin.Config{Issuer: p.URL})
			b := newBrowser(t)
			page := b.get(base + "/signin")
			page.must(t, tt.status, tt.words)
			if strings.Contains(page.text, "555") {
				t.Error("the page repeats what a link dictates")
			}
			b.get(base+"/").must(t, 200, `href="/signin"`)
		})
	}
}

func TestStateBelongsToOneBrowserOnce(t *testing.T) {
	p := newProvider(t)
	base := start(t, shop.New, signin.Config{Issuer: p.URL})

	thief, victim := newBrowser(t), newBrowser(t)
	authorize, _ := thief.stay(base + "/signin")
	callback, _ := thief.stay(authorize)
	victim.get(callback).must(t, 400, "state_mismatch") // login CSRF: the thief's answer in the victim's browser
	victim.get(base+"/").must(t, 200, `href="/signin"`)
	victim.get(base+"/callback?code=x&state=").must(t, 400, "state_mismatch")
	victim.get(base+"/callback?code=x").must(t, 400, "state_mismatch")

	thief.get(callback).must(t, 200, "Ana")
	thief.get(callback).must(t, 400, "state_mismatch") // the back button
	thief.get(base+"/").must(t, 200, "Ana")            // which costs nothing
}

func TestTwoTabsSignInAtOnce(t *testing.T) {
	p := newProvider(t)
	base := start(t, shop.New, signin.Config{Issuer: p.URL})
	b := newBrowser(t)
	first, _ := b.stay(base + "/signin?return=/you")
	second, _ := b.stay(base + "/signin")
	b.get(second).must(t, 200, "Good to see you")
	b.get(first).must(t, 200, "What we know about you")
}

func TestReturnStaysHere(t *testing.T) {
	p := newProvider(t)
	base := start(t, shop.New, signin.Config{Issuer: p.URL})
	for path, want := range map[string]string{
		"/you": "/you", "/?a=b": "/?a=b", "//evil.example": "/", "https://evil.example/": "/", "/\\evil.example": "/", "evil": "/", "": "/",
	} {
		b := newBrowser(t)
		authorize, _ := b.stay(base + "/signin?return=" + url.QueryEscape(path))
		callback, _ := b.stay(authorize)
		if got, _ := b.stay(callback); got != want {
			t.Errorf("return=%q leads to %q, want %q", path, got, want)
		}
	}
}

func TestProviderAwayAtFirst(t *testing.T) {
	p := newProvider(t)
	p.down = true
	base := start(t, shop.New, signin.Config{Issuer: p.URL})
	b := newBrowser(t)
	b.get(base+"/").must(t, 200, "Sign in")
	page := b.get(base + "/signin")
	page.must(t, 503, "takes a short break", "provider_unreachable")
	if page.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	p.set(func() { p.down = false })
	b.get(base+"/signin").must(t, 200, "Ana")
	b.get(base+"/signin").must(t, 200, "Ana")
	p.set(func() {
		if p.discovery != 1 {
			t.Errorf("asked for discovery %d times after it worked, want 1", p.discovery)
		}
	})
}

func TestProviderReachedFromInside(t *testing.T) {
	p := newProvider(t)
	inside := p.URL
	p.URL = "http://id.example.com" // what it calls itself; nothing can reach that
	base := start(t, shop.New, signin.Config{Issuer: p.URL, ProviderInternalURL: inside})
	b := newBrowser(t)
	authorize, page := b.stay(base + "/signin")
	if page.status != http.StatusFound || !strings.HasPrefix(authorize, "http://id.example.com/authorize?") {
		t.Fatalf("%d to %q", page.status, authorize)
	}
	callback, _ := b.stay(strings.Replace(authorize, p.URL, inside, 1))
	b.get(callback).must(t, 200, "Ana")
}

func TestRefreshInTheBackground(t *testing.T) {
	p := newProvider(t)
	base := start(t, shop.New, signin.Config{Issuer: p.URL})
	b := newBrowser(t)
	// arrive signs in and stops before the first page, with tokens that are about to expire.
	arrive := func() {
		p.set(func() { p.life = 5 * time.Second })
		authorize, _ := b.stay(base + "/signin")
		callback, _ := b.stay(authorize)
		b.stay(callback)
	}

	arrive()
	p.set(func() { p.life = time.Hour })
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { b.get(base+"/").must(t, 200, "Ana") })
	}
	group.Wait()
	b.get(base+"/you").must(t, 200, "Ana")
	p.set(func() {
		if p.refreshes != 1 {
			t.Errorf("%d refreshes for 8 pages at once and one more, want 1", p.refreshes)
		}
	})

	arrive()
	p.set(func() { p.down = true })
	b.get(base+"/").must(t, 200, "Ana") // the provider is away: the application's own session goes on
	b.get(base+"/you").must(t, 503, "Sign in again")
	p.set(func() { p.down, p.refresh = false, "" }) // signed out everywhere
	b.get(base+"/").must(t, 200, `href="/signin"`)

	arrive()
	p.set(func() { p.subject = "cus_2" }) // a refresh must not turn one customer into another
	b.get(base+"/").must(t, 200, `href="/signin"`)
}

func TestSessionEnds(t *testing.T) {
	p := newProvider(t)
	clock := &clock{}
	base := start(t, shop.New, signin.Config{Issuer: p.URL, Now: clock.now})
	b := newBrowser(t)
	b.get(base+"/signin").must(t, 200, "Ana")
	clock.advance(12 * time.Hour)
	b.get(base+"/").must(t, 200, `href="/signin"`)
}

func TestHeaders(t *testing.T) {
	p := newProvider(t)
	for _, app := range applications() {
		base := start(t, app.make, signin.Config{Issuer: p.URL + "/t/olive"})
		b := newBrowser(t)
		page := b.get(base + "/")
		policy := page.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || !strings.HasSuffix(policy, "form-action 'self' "+p.URL) {
			t.Errorf("%s: policy %q", app.name, policy)
		}
		if strings.Contains(page.text, "style=") || strings.Contains(page.text, "<script") {
			t.Errorf("%s: inline style or script", app.name)
		}
		if css := b.get(base + "/style.css"); css.status != 200 || len(css.text)+len(page.text) > 30<<10 {
			t.Errorf("%s: %d, %d bytes with its style sheet", app.name, css.status, len(css.text)+len(page.text))
		}
		b.get(base+"/nowhere").must(t, 404, app.name)
	}
}
