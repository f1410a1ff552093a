package servertest

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Browser is a browser without scripts: it keeps cookies, follows redirects
// within the installation and posts forms.
type Browser struct {
	t      testing.TB
	base   string
	client *http.Client
	// Header is added to every request.
	Header http.Header
}

// Browser returns a new browser.
func (i *Installation) Browser() *Browser {
	i.t.Helper()
	jar, err := cookiejar.New(nil)
	i.must(err)
	return &Browser{t: i.t, base: i.Base, client: &http.Client{Jar: jar, CheckRedirect: noRedirect, Transport: transport}, Header: http.Header{}}
}

// Page is what a browser shows, or where it was sent to.
type Page struct {
	Status   int
	Header   http.Header
	URL      *url.URL // of the page
	Location *url.URL // where it was sent to outside of the installation, nil when nowhere
	Body     string
	Forms    []Form
}

// Form is a form of a page.
type Form struct {
	Action  string
	Method  string
	Hidden  url.Values
	Fields  []string // names of fields that are not hidden
	Buttons url.Values
}

// Get opens an address.
func (b *Browser) Get(address string) *Page {
	b.t.Helper()
	return b.do(http.MethodGet, address, nil, "")
}

// Post posts values to an address, from a page of origin; "" for one of the
// installation's own.
func (b *Browser) Post(address string, values url.Values, origin string) *Page {
	b.t.Helper()
	return b.do(http.MethodPost, address, values, origin)
}

func (b *Browser) do(method, address string, values url.Values, origin string) *Page {
	b.t.Helper()
	for range 10 {
		p, err := b.Do(method, address, values, origin)
		if err != nil {
			b.t.Fatal(err)
		}
		if p.Status < 300 || p.Status > 399 || p.Location == nil || !strings.HasPrefix(p.Location.String(), b.base) {
			return p
		}
		method, address, values = http.MethodGet, p.Location.String(), nil
		p.Location = nil
	}
	b.t.Fatal("the browser was redirected in a circle")
	return nil
}

// Do sends one request and follows nothing. It may be called by many at once.
func (b *Browser) Do(method, address string, values url.Values, origin string) (*Page, error) {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(values.Encode())
	}
	request, err := http.NewRequest(method, address, body)
	if err != nil {
		return nil, err
	}
	for name, all := range b.Header {
		request.Header[name] = all
	}
	site := "same-origin"
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if origin == "" {
			origin = b.base
		} else {
			site = "cross-site"
		}
		request.Header.Set("Origin", origin)
		request.Header.Set("Sec-Fetch-Site", site)
	}
	response, err := b.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	p := &Page{Status: response.StatusCode, Header: response.Header, URL: request.URL, Body: string(text)}
	if location := response.Header.Get("Location"); location != "" {
		if p.Location, err = request.URL.Parse(location); err != nil {
			return nil, err
		}
	}
	p.Forms = forms(p.Body)
	return p, nil
}

// Answer posts the page's first form with values.
func (b *Browser) Answer(p *Page, values url.Values) *Page {
	b.t.Helper()
	address, all := b.Filled(p, values)
	return b.Post(address, all, "")
}

// TryAnswer is Answer for many at once. It follows nothing.
func (b *Browser) TryAnswer(p *Page, values url.Values) (*Page, error) {
	address, all := b.Filled(p, values)
	return b.Do(http.MethodPost, address, all, "")
}

// Filled returns where the page's first form is posted to, and what with it.
func (b *Browser) Filled(p *Page, values url.Values) (string, url.Values) {
	b.t.Helper()
	if len(p.Forms) == 0 {
		b.t.Fatalf("the page has no form (status %d):\n%s", p.Status, Text(p.Body))
	}
	form := p.Forms[0]
	all := url.Values{}
	for name, hidden := range form.Hidden {
		all[name] = hidden
	}
	for name, given := range values {
		all[name] = given
	}
	action, err := p.URL.Parse(form.Action)
	if err != nil {
		b.t.Fatal(err)
	}
	return action.String(), all
}

// Copy returns another browser with the same cookies, as a thief would have.
func (b *Browser) Copy() *Browser {
	b.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	other := &Browser{t: b.t, base: b.base, client: &http.Client{Jar: jar, CheckRedirect: noRedirect, Transport: transport}, Header: http.Header{}}
	other.SetCookies(b.Cookies())
	return other
}

// Cookies returns the browser's cookies for the installation.
func (b *Browser) Cookies() []*http.Cookie {
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.client.Jar.Cookies(u)
}

// SetCookies puts cookies into the browser.
func (b *Browser) SetCookies(cookies []*http.Cookie) {
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	b.client.Jar.SetCookies(u, cookies)
}

// Has tells whether the page asks for a field or has a button of that name.
func (p *Page) Has(field string) bool {
	for _, form := range p.Forms {
		for _, name := range form.Fields {
			if name == field {
				return true
			}
		}
		if len(form.Buttons[field]) > 0 {
			return true
		}
	}
	return false
}

func forms(body string) []Form {
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		return nil
	}
	var all []Form
	var walk func(n *html.Node, form *Form)
	walk = func(n *html.Node, form *Form) {
		if n.Type == html.ElementNode {
			switch n.Data {
			case "form":
				all = append(all, Form{Action: attribute(n, "action"), Method: attribute(n, "method"), Hidden: url.Values{}, Buttons: url.Values{}})
				form = &all[len(all)-1]
			case "input":
				name := attribute(n, "name")
				if form != nil && attribute(n, "type") == "hidden" {
					form.Hidden.Add(name, attribute(n, "value"))
				} else if form != nil {
					form.Fields = append(form.Fields, name)
				}
			case "button":
				if form != nil && attribute(n, "name") != "" {
					form.Buttons.Add(attribute(n, "name"), attribute(n, "value"))
				}
			}
		}
		for child := n.FirstChild; child != nil; child = child.NextSibling {
			walk(child, form)
		}
	}
	walk(root, nil)
	return all
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

var tags = regexp.MustCompile(`(?s)<(script|style).*?</(script|style)>|<[^>]*>`)

// Text is roughly what a page says.
func Text(body string) string {
	body = strings.ReplaceAll(body, "<wbr>", "") // no space, and nothing that is read
	return strings.Join(strings.Fields(tags.ReplaceAllString(body, " ")), " ")
}
