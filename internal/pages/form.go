package pages

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	maxBody   = 64 << 10 // bytes of a form
	maxFields = 100
)

// form reads the body of one of our own forms, or shows why it is none.
func (p *Pages) form(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) (url.Values, bool) {
	refuse := func(status int) (url.Values, bool) {
		p.draw(w, r, t, sheet{status: status, page: view.Page{Lang: p.language(r, t),
			Data: view.Fault{Kind: view.FaultRequest, BackURL: t.URL("/account")}}})
		return nil, false
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return refuse(http.StatusUnsupportedMediaType)
	}
	if r.ContentLength > maxBody {
		return refuse(http.StatusRequestEntityTooLarge)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return refuse(http.StatusRequestEntityTooLarge)
		}
		return refuse(http.StatusBadRequest)
	}
	if len(r.PostForm) > maxFields {
		return refuse(http.StatusBadRequest)
	}
	for name, values := range r.PostForm {
		if len(values) > 1 || !isText(name) || !isText(values[0]) {
			return refuse(http.StatusBadRequest)
		}
	}
	return r.PostForm, true
}

// isText tells whether something is text that can be stored: no browser sends
// a NUL.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
