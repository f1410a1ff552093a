package dev

import (
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/server"
)

//go:embed inbox.html inbox.css
var inboxFiles embed.FS

// inboxPage is the page that lists the messages.
var inboxPage = template.Must(template.ParseFS(inboxFiles, "inbox.html"))

// inboxMax is how many messages the inbox shows, the newest first.
const inboxMax = 100

// front puts the inbox before the server: /dev/inbox for people, and
// /dev/inbox.json for scripts, which may ask for ?to= one address; and
// /dev/token, which gives tokens for the admin API.
func front(s *server.Server, tokens, next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.Handle("GET /dev/token", tokens)
	mux.HandleFunc("GET /dev/inbox", func(w http.ResponseWriter, r *http.Request) {
		letters, err := s.Inbox.List(r.Context(), r.URL.Query().Get("to"), "", inboxMax)
		if err != nil {
			http.Error(w, "The inbox could not be read: "+err.Error(), http.StatusInternalServerError)
			return
		}
		secure(w, "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = inboxPage.Execute(w, letters)
	})
	mux.HandleFunc("GET /dev/inbox.css", func(w http.ResponseWriter, _ *http.Request) {
		style, err := inboxFiles.ReadFile("inbox.css")
		if err != nil {
			http.NotFound(w, nil)
			return
		}
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write(style)
	})
	mux.HandleFunc("GET /dev/inbox.json", func(w http.ResponseWriter, r *http.Request) {
		letters, err := s.Inbox.List(r.Context(), r.URL.Query().Get("to"), "", inboxMax)
		if err != nil {
			http.Error(w, "The inbox could not be read: "+err.Error(), http.StatusInternalServerError)
			return
		}
		if letters == nil {
			letters = []notify.Letter{}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(letters)
	})
	// A message as it looks, with nothing in it allowed to run or to load.
	mux.HandleFunc("GET /dev/inbox/{message}", func(w http.ResponseWriter, r *http.Request) {
		name, isHTML := strings.CutSuffix(r.PathValue("message"), ".html")
		message, err := id.Parse[id.Message](name)
		letter, found, errGet := notify.Letter{}, false, error(nil)
		if err == nil && isHTML {
			letter, found, errGet = s.Inbox.Get(r.Context(), message)
		}
		if err := errors.Join(err, errGet); err != nil || !found {
			http.NotFound(w, r)
			return
		}
		secure(w, "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-popups; base-uri 'none'; frame-ancestors 'none'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(letter.HTML))
	})
	return mux
}

func secure(w http.ResponseWriter, policy string) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}
