package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Browser is one customer's browser. It is not for concurrent use.
type Browser struct {
	site    *Site
	cookies map[string]string
}

// Browser returns a browser that has never been here.
func (s *Site) Browser() *Browser { return &Browser{site: s, cookies: map[string]string{}} }

// Cookies is the Cookie header that the browser would send.
func (b *Browser) Cookies() string {
	var header strings.Builder
	for i, name := range slices.Sorted(maps.Keys(b.cookies)) {
		if i > 0 {
			header.WriteString("; ")
		}
		header.WriteString(name + "=" + b.cookies[name])
	}
	return header.String()
}

// maxHops is how many redirects are followed.
const maxHops = 5

// load sends a request as a browser would, and follows where it is sent within
// the site. It stops at a redirect to elsewhere, whose address is returned.
func (b *Browser) load(ctx context.Context, method, address string, form url.Values) (_ answer, elsewhere string, err error) {
	for range maxHops {
		var body *strings.Reader
		if method == http.MethodPost {
			body = strings.NewReader(form.Encode())
		} else {
			body = strings.NewReader("")
		}
		r, err := http.NewRequestWithContext(ctx, method, address, body)
		if err != nil {
			return answer{}, "", err
		}
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
		if len(b.cookies) > 0 {
			r.Header.Set("Cookie", b.Cookies())
		}
		got, err := b.site.do(r)
		if err != nil {
			return answer{}, "", err
		}
		b.keep(got.header)
		if got.status != http.StatusSeeOther && got.status != http.StatusFound {
			return got, "", nil
		}
		to, err := url.Parse(got.header.Get("Location"))
		if err != nil {
			return got, "", fmt.Errorf("a redirect to no address: %w", err)
		}
		next := r.URL.ResolveReference(to)
		if next.Host != r.URL.Host {
			return got, next.String(), nil
		}
		method, address, form = http.MethodGet, next.String(), nil
	}
	return answer{}, "", fmt.Errorf("%s: more than %d redirects", address, maxHops)
}

func (b *Browser) keep(header http.Header) {
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		if cookie.MaxAge < 0 || cookie.Value == "" {
			delete(b.cookies, cookie.Name)
		} else {
			b.cookies[cookie.Name] = cookie.Value
		}
	}
}

// Page is one hosted page.
type Page struct {
	Status int
	Name   string          // what the body's class says it is: identify, password, code …
	State  string          // the hidden field that goes back with the form
	Action string          // where the form goes
	Fields map[string]bool // the names of its inputs
	Body   string
}

// What is read of a page. Attributes are in whichever order.
var (
	pageClass = regexp.MustCompile(`<body class="p-([a-z]+)"`)
	formTag   = regexp.MustCompile(`<form [^>]*\baction="([^"]*)"`)
	inputTag  = regexp.MustCompile(`<input\b[^>]*>`)
	nameOf    = regexp.MustCompile(`\bname="([^"]*)"`)
	valueOf   = regexp.MustCompile(`\bvalue="([^"]*)"`)
	wrong     = regexp.MustCompile(`<p class="(?:error|notice problem)"[^>]*>([^<]*)`)
)

func parse(got answer) *Page {
	p := &Page{Status: got.status, Fields: map[string]bool{}, Body: got.body}
	if m := pageClass.FindStringSubmatch(got.body); m != nil {
		p.Name = m[1]
	}
	if m := formTag.FindStringSubmatch(got.body); m != nil {
		p.Action = html.UnescapeString(m[1])
	}
	for _, tag := range inputTag.FindAllString(got.body, -1) {
		name := nameOf.FindStringSubmatch(tag)
		if name == nil {
			continue
		}
		if name[1] != "state" {
			p.Fields[name[1]] = true
		} else if value := valueOf.FindStringSubmatch(tag); value != nil {
			p.State = html.UnescapeString(value[1])
		}
	}
	return p
}

// Complaint is what the page says is wrong, "" for nothing.
func (p *Page) Complaint() string {
	if m := wrong.FindStringSubmatch(p.Body); m != nil {
		return html.UnescapeString(m[1])
	}
	return ""
}

// Ask is an authorization request.
type Ask struct {
	Scope  string // "" for openid profile email offline_access
	Prompt string
}

// Visit is one authorization request under way: a page that waits for an
// answer, or the answer that the application got.
type Visit struct {
	Page   *Page      // nil once the application has its answer
	Answer url.Values // what the application was sent: code and state, or error
	Seen   []string   // the names of the pages so far
	App    Application

	browser  *Browser
	verifier string
	state    string
}

// AuthorizeURL is the address of an authorization request with its PKCE
// verifier.
func (s *Site) AuthorizeURL(app Application, ask Ask) (address, verifier, state string) {
	if ask.Scope == "" {
		ask.Scope = "openid profile email offline_access"
	}
	verifier, state = rand.Text()+rand.Text(), rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {app.ID}, "redirect_uri": {app.RedirectURI}, "scope": {ask.Scope},
		"state": {state}, "nonce": {rand.Text()}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])},
	}
	if ask.Prompt != "" {
		query.Set("prompt", ask.Prompt)
	}
	return s.Issuer + "/authorize?" + query.Encode(), verifier, state
}

// Begin sends the browser to an application's authorization request.
func (b *Browser) Begin(ctx context.Context, app Application, ask Ask) (*Visit, error) {
	address, verifier, state := b.site.AuthorizeURL(app, ask)
	v := &Visit{App: app, browser: b, verifier: verifier, state: state}
	got, elsewhere, err := b.load(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	return v, v.arrive(got, elsewhere)
}

// Send posts the form of the page that is shown.
func (v *Visit) Send(ctx context.Context, answer url.Values) error {
	form := maps.Clone(answer)
	form.Set("state", v.Page.State)
	action, err := url.Parse(v.Page.Action)
	if err != nil || v.Page.Action == "" {
		return v.Unexpected()
	}
	issuer, err := url.Parse(v.browser.site.Issuer)
	if err != nil {
		return err
	}
	got, elsewhere, err := v.browser.load(ctx, http.MethodPost, issuer.ResolveReference(action).String(), form)
	if err != nil {
		return err
	}
	return v.arrive(got, elsewhere)
}

func (v *Visit) arrive(got answer, elsewhere string) error {
	if elsewhere == "" {
		v.Page = parse(got)
		v.Seen = append(v.Seen, v.Page.Name)
		return nil
	}
	query, found := strings.CutPrefix(elsewhere, v.App.RedirectURI+"?")
	if !found {
		return fmt.Errorf("redirected to %s, which is not the application's", elsewhere)
	}
	answer, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("the answer %q: %w", query, err)
	}
	if answer.Get("state") != v.state || answer.Get("iss") != v.browser.site.Issuer {
		return fmt.Errorf("the answer %q is not to this request", query)
	}
	v.Page, v.Answer = nil, answer
	return nil
}

// Unexpected says on which page the visit is, for a test that expected
// another.
func (v *Visit) Unexpected() error {
	if v.Page == nil {
		return fmt.Errorf("the application was answered %v", v.Answer)
	}
	return fmt.Errorf("page %q with status %d: %s", v.Page.Name, v.Page.Status, v.Page.Complaint())
}

// Redeem changes the code that the application got for tokens.
func (v *Visit) Redeem(ctx context.Context) (Tokens, error) {
	if v.Answer.Get("code") == "" {
		return Tokens{}, v.Unexpected()
	}
	return v.browser.site.Token(ctx, v.App, url.Values{
		"grant_type": {"authorization_code"}, "code": {v.Answer.Get("code")},
		"redirect_uri": {v.App.RedirectURI}, "code_verifier": {v.verifier},
	})
}

// ErrWrongPassword says that an address and a password did not let in.
var ErrWrongPassword = errors.New("the password was not taken")

// Customer is what a person types.
type Customer struct {
	Address  string
	Password string
	Profile  map[string]string
	SignUp   bool     // open an account instead of signing in
	Mail     *Mailbox // where codes arrive; needed for SignUp
}

// maxPages is how many pages a visit may take: a few codes may be late ones.
const maxPages = 16

// Walk fills in page after page until the application has its answer. A visit
// that asks for what the customer cannot give ends with an error.
func (v *Visit) Walk(ctx context.Context, who Customer) error {
	var tried []string
	asked := false
	for range maxPages {
		if v.Page == nil {
			if v.Answer.Get("code") == "" {
				return v.Unexpected()
			}
			return nil
		}
		form := url.Values{}
		switch v.Page.Name {
		case "identify":
			if who.SignUp {
				form.Set("choose", "create")
			}
			form.Set("identifier", who.Address)
		case "signup":
			form.Set("identifier", who.Address)
		case "password":
			if asked {
				return ErrWrongPassword
			}
			asked = true
			form.Set("password", who.Password)
		case "code":
			if who.Mail == nil {
				return v.Unexpected()
			}
			code, err := who.Mail.Code(ctx, who.Address, tried)
			if err != nil {
				return err
			}
			tried = append(tried, code)
			form.Set("code", code)
		case "newpassword":
			form.Set("new_password", who.Password)
		case "collect":
			for name := range v.Page.Fields {
				value, has := who.Profile[name]
				if !has {
					return fmt.Errorf("the page asks for %s", name)
				}
				form.Set(name, value)
			}
		case "consent":
			form.Set("decision", "allow")
		default:
			return v.Unexpected()
		}
		if err := v.Send(ctx, form); err != nil {
			return err
		}
	}
	return fmt.Errorf("no end after %d pages: %w", maxPages, v.Unexpected())
}
