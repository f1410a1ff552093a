// Package club is the Olive & Thyme Loyalty club: a second application of the brand's own. Who is signed in at the shop is
// recognised here without being asked.
package club

import (
	"embed"
	"net/http"

	"github.com/cardea-id/cardea/demo/page"
	"github.com/cardea-id/cardea/demo/signin"
)

// Config is what the club needs to know of its provider and of itself.
type Config = signin.Config

// Name is the club’s name.
const Name = "Olive & Thyme Loyalty club"

// Scopes are what the club asks for.
func Scopes() []string { return []string{"openid", "profile", "email"} }

//go:embed *.html style.css
var files embed.FS

// reward is something that points buy.
type reward struct {
	Name   string
	Points int
}

var rewards = []reward{
	{"A tasting for two", 400},
	{"Free delivery for a season", 650},
	{"A day at the olive press", 1200},
}

// level is what a member has collected. Every member of a made-up club has collected the same.
const level = 480

// New is the club, ready to be served at config.BaseURL.
func New(config Config) http.Handler {
	c := &club{}
	c.in = signin.New(config, signin.Options{Cookie: "club", Scopes: Scopes(), Notice: c.notice})
	c.pages = page.New(files, c.in.IssuerOrigin())

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.home)
	mux.HandleFunc("GET /you", c.you)
	mux.HandleFunc("GET /signin", c.in.SignIn)
	mux.HandleFunc("GET /callback", c.in.Callback)
	mux.HandleFunc("POST /signout", c.in.SignOut)
	mux.HandleFunc("GET "+signin.SignedOutPath, c.signedOut)
	mux.HandleFunc("GET /style.css", c.pages.Style)
	mux.HandleFunc("/", c.lost)
	return http.NewCrossOriginProtection().Handler(mux)
}

type club struct {
	in    *signin.Client
	pages *page.Set
}

type view struct {
	App     string
	Visitor *signin.Visitor
	Points  int
	Rewards []reward
	Facts   []signin.Fact
	Notice  signin.Notice
}

func (c *club) home(w http.ResponseWriter, r *http.Request) {
	v := view{App: Name, Visitor: c.in.Visitor(w, r), Points: level, Rewards: rewards}
	if v.Visitor != nil {
		v.Facts = signin.Facts(v.Visitor.Claims)
	}
	c.pages.Show(w, r, http.StatusOK, "home", v)
}

// you shows what the club can learn of the customer at this moment.
func (c *club) you(w http.ResponseWriter, r *http.Request) {
	visitor := c.in.Visitor(w, r)
	if visitor == nil {
		http.Redirect(w, r, "/signin?return=/you", http.StatusSeeOther)
		return
	}
	claims, err := c.in.UserInfo(r, visitor)
	if err != nil {
		c.notice(w, r, signin.Stale("/you"))
		return
	}
	c.pages.Show(w, r, http.StatusOK, "you", view{App: Name, Visitor: visitor, Facts: signin.Facts(claims)})
}

func (c *club) signedOut(w http.ResponseWriter, r *http.Request) {
	c.notice(w, r, signin.Notice{Status: http.StatusOK, Title: "You’re signed out of the club", Text: "Your points stay where they are.", Action: "Back to the club", Href: "/"})
}

func (c *club) lost(w http.ResponseWriter, r *http.Request) {
	c.notice(w, r, signin.Notice{Status: http.StatusNotFound, Title: "Nothing here", Text: "There is no page at this address.", Action: "Back to the club", Href: "/"})
}

func (c *club) notice(w http.ResponseWriter, r *http.Request, n signin.Notice) {
	c.pages.Show(w, r, n.Status, "notice", view{App: Name, Notice: n})
}
