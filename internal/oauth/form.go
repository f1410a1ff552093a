package oauth

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"
)

// maxBody is the most bytes of a form that are read.
const maxBody = 64 << 10

// form is the parameters of a request. Every parameter but resource is there at
// most once (RFC 6749, section 3.1), which checkOnce holds before any is read.
type form url.Values

func (f form) get(name string) string { return url.Values(f).Get(name) }

func (f form) has(name string) bool { return url.Values(f).Has(name) }

// readForm reads the body of a POST to a protocol endpoint.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, refuse(codeInvalidRequest, "The body is not application/x-www-form-urlencoded.")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return nil, refuse(codeInvalidRequest, "The body is not a form, or is larger than 64 KiB.")
	}
	return form(r.PostForm), nil
}

// checkOnce refuses parameters that are there twice, not text, or too many. A
// resource may be named several times (RFC 8707, section 2).
func checkOnce(f form) error {
	if len(f) > 100 {
		return refuse(codeInvalidRequest, "There are more than 100 parameters.")
	}
	for name, values := range f {
		if len(values) > 1 && name != "resource" {
			return refuse(codeInvalidRequest, "A parameter is there more than once.")
		}
		if slices.ContainsFunc(values, func(v string) bool { return !utf8.ValidString(v) }) {
			return refuse(codeInvalidRequest, "A parameter is not valid UTF-8.")
		}
	}
	return nil
}
