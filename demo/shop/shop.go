// Package shop is the Olive & Thyme Shop: a demonstration of an application of the brand's own. It signs customers in with
// demo/signin and keeps them signed in with a refresh token.
package shop

import (
	"embed"
	"net/http"

	"github.com/cardea-id/cardea/demo/page"
	"github.com/cardea-id/cardea/demo/signin"
)

// Config is what the shop needs to know of its provider and of itself.
type Config = signin.Config

// Name is the shop’s name.
const Name = "Olive & Thyme Shop"

// Scopes are what the shop asks for: offline_access brings the refresh token.
func Scopes() []string { return []string{"openid", "profile", "email", "offline_access"} }

//go:embed *.html style.css
var files embed.FS

type product struct {
	Art, Name, Note, Price string // Art names the drawing in art.html
}

var products = []product{
	{"oil", "Early harvest olive oil", "500 ml, pressed in October", "€18.50"},
	{"thyme", "Wild thyme", "Bunch, dried on the stem", "€4.20"},
	{"bread", "Rosemary flatbread", "Baked this morning", "€5.90"},
	{"olives", "Green olives", "In brine, with lemon", "€6.80"},
	{"honey", "Thyme honey", "250 g, from the hills", "€9.40"},
	{"bowl", "Dipping bowl", "Glazed stoneware", "€14.00"},
}

// New is the shop, ready to be served at config.BaseURL.
func New(config Config) http.Handler {
	s := &shop{}
	s.in = signin.New(config, signin.Options{Cookie: "shop", Scopes: Scopes(), Notice: s.notice})
	s.pages = page.New(files, s.in.IssuerOrigin())

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /you", s.you)
	mux.HandleFunc("GET /signin", s.in.SignIn)
	mux.HandleFunc("GET /callback", s.in.Callback)
	mux.HandleFunc("POST /signout", s.in.SignOut)
	mux.HandleFunc("GET "+signin.SignedOutPath, s.signedOut)
	mux.HandleFunc("GET /style.css", s.pages.Style)
	mux.HandleFunc("/", s.lost)
	return http.NewCrossOriginProtection().Handler(mux)
}

type shop struct {
	in    *signin.Client
	pages *page.Set
}

type view struct {
	App      string
	Visitor  *signin.Visitor
	Products []product
	Facts    []signin.Fact
	Notice   signin.Notice
}

func (s *shop) home(w http.ResponseWriter, r *http.Request) {
	v := view{App: Name, Visitor: s.in.Visitor(w, r), Products: products}
	if v.Visitor != nil {
		v.Facts = signin.Facts(v.Visitor.Claims)
	}
	s.pages.Show(w, r, http.StatusOK, "home", v)
}

// you shows what the shop can learn of the customer at this moment.
func (s *shop) you(w http.ResponseWriter, r *http.Request) {
	visitor := s.in.Visitor(w, r)
	if visitor == nil {
		http.Redirect(w, r, "/signin?return=/you", http.StatusSeeOther)
		return
	}
	claims, err := s.in.UserInfo(r, visitor)
	if err != nil {
		s.notice(w, r, signin.Stale("/you"))
		return
	}
	s.pages.Show(w, r, http.StatusOK, "you", view{App: Name, Visitor: visitor, Facts: signin.Facts(claims)})
}

func (s *shop) signedOut(w http.ResponseWriter, r *http.Request) {
	s.notice(w, r, signin.Notice{Status: http.StatusOK, Title: "You’re signed out of the shop", Text: "See you soon.", Action: "Back to the shop", Href: "/"})
}

func (s *shop) lost(w http.ResponseWriter, r *http.Request) {
	s.notice(w, r, signin.Notice{Status: http.StatusNotFound, Title: "We don’t have that", Text: "There is no page at this address.", Action: "Back to the shop", Href: "/"})
}

func (s *shop) notice(w http.ResponseWriter, r *http.Request, n signin.Notice) {
	s.pages.Show(w, r, n.Status, "notice", view{App: Name, Notice: n})
}
