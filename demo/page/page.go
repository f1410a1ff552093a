// Package page renders the demonstration applications' pages: html/template, one style sheet an application, and headers that
// allow nothing else.
package page

import (
	"bytes"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
)

// Set is one application's pages.
type Set struct {
	templates *template.Template
	style     []byte
	policy    string
}

// New parses every *.html of files and reads style.css. Both are embedded, so a fault is the programmer's and panics.
// formTargets are the origins besides its own that a form may be redirected to.
func New(files fs.FS, formTargets ...string) *Set {
	style, err := fs.ReadFile(files, "style.css")
	if err != nil {
		panic(err)
	}
	policy := "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
	for _, origin := range formTargets {
		policy += " " + origin
	}
	return &Set{template.Must(template.ParseFS(files, "*.html")), style, policy}
}

// Show answers with the template called name.
func (s *Set) Show(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var body bytes.Buffer
	if err := s.templates.ExecuteTemplate(&body, name, data); err != nil {
		slog.ErrorContext(r.Context(), "page", "error", fmt.Errorf("%s: %w", name, err))
		http.Error(w, "This page has a fault. Please try again later.", http.StatusInternalServerError)
		return
	}
	s.headers(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store") // it may greet someone
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the browser has gone away: nobody is left to tell
}

// Style answers with the application's style sheet.
func (s *Set) Style(w http.ResponseWriter, _ *http.Request) {
	s.headers(w)
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(s.style)
}

func (s *Set) headers(w http.ResponseWriter) {
	w.Header().Set("Content-Security-Policy", s.policy)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "same-origin")
}
