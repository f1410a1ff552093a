// Package recipes is Recipes by Ana: an application of somebody else's, so that the provider asks its customers what they want
// to share before it lets them in.
package recipes

import (
	"embed"
	"net/http"

	"github.com/cardea-id/cardea/demo/page"
	"github.com/cardea-id/cardea/demo/signin"
)

// Config is what the site needs to know of its provider and of itself.
type Config = signin.Config

// Name is the site’s name.
const Name = "Recipes by Ana"

// Scopes are what the site asks for.
func Scopes() []string { return []string{"openid", "profile", "email"} }

//go:embed *.html style.css
var files embed.FS

type recipe struct {
	Art, Name, Note, Time string // Art names the drawing in art.html
}

var dishes = []recipe{
	{"soup", "Lemon and chickpea soup", "One pot, one lemon, no patience needed.", "35 minutes"},
	{"salad", "Tomato salad with thyme", "Salt the tomatoes first. Then wait. That is the secret.", "15 minutes"},
	{"pie", "Spinach pie", "My grandmother’s, with half of her butter.", "1 hour 10"},
	{"fish", "Baked sea bream", "For people who are afraid of fish.", "40 minutes"},
}

// New is the site, ready to be served at config.BaseURL.
func New(config Config) http.Handler {
	s := &site{}
	s.in = signin.New(config, signin.Options{Cookie: "recipes", Scopes: Scopes(), Notice: s.notice})
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

type site struct {
	in    *signin.Client
	pages *page.Set
}

type view struct {
	App     string
	Visitor *signin.Visitor
	Dishes  []recipe
	Facts   []signin.Fact
	Notice  signin.Notice
}

func (s *site) home(w http.ResponseWriter, r *http.Request) {
	v := view{App: Name, Visitor: s.in.Visitor(w, r), Dishes: dishes}
	if v.Visitor != nil {
		v.Facts = signin.Facts(v.Visitor.Claims)
	}
	s.pages.Show(w, r, http.StatusOK, "home", v)
}

// you shows what the site can learn of the customer at this moment.
func (s *site) you(w http.ResponseWriter, r *http.Request) {
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

func (s *site) signedOut(w http.ResponseWriter, r *http.Request) {
	s.notice(w, r, signin.Notice{Status: http.StatusOK, Title: "You’re signed out of Recipes by Ana", Text: "Happy cooking.", Action: "Back to the recipes", Href: "/"})
}

func (s *site) lost(w http.ResponseWriter, r *http.Request) {
	s.notice(w, r, signin.Notice{Status: http.StatusNotFound, Title: "No such recipe", Text: "There is no page at this address.", Action: "Back to the recipes", Href: "/"})
}

func (s *site) notice(w http.ResponseWriter, r *http.Request, n signin.Notice) {
	s.pages.Show(w, r, n.Status, "notice", view{App: Name, Notice: n})
}
