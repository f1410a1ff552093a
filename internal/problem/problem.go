// Package problem answers a request that failed with a problem document
// (RFC 9457).
//
// An Error is a fault that its reader can act on: it has a stable code, a
// status, and a detail that says what happened and what to do. Whatever else
// goes wrong is answered as a bare server error that carries an identifier,
// and only the log learns the cause. The protocols that have an error form of
// their own (OAuth, SAML, SCIM) do not use this package to write it.
//
// There are no shared Error values: each failure makes its own, so that one
// request's details can never appear in another's answer.
package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// typePrefix begins the "type" of every problem; the code follows.
const typePrefix = "https://cardea.id/problems/"

// The codes that this package itself makes.
const (
	CodeInternal     = "internal"
	CodeInvalidInput = "invalid-input"
	CodeNotFound     = "not-found"
	CodeConflict     = "conflict"
	CodeForbidden    = "forbidden"
	CodeBusy         = "busy"
)

// Error is a failure whose reader is told what it is.
type Error struct {
	Code   string         // stable and lower-case, words joined by hyphens: the end of the "type"
	Status int            // of HTTP, 400 to 599
	Title  string         // what this code means, the same each time
	Detail string         // what happened now, what it means for the caller, what to do
	Fields []Field        // what is wrong with the input, where it is
	Extra  map[string]any // further members; the standard ones cannot be replaced
	Retry  time.Duration  // if not zero, after how long trying again makes sense: Retry-After
	Err    error          // the cause, for the log only
}

// Field says what is wrong with one part of the input.
type Field struct {
	Pointer string `json:"pointer"` // JSON Pointer (RFC 6901) into the body: "/emails/0/value"
	Detail  string `json:"detail"`
}

// Error returns the text for the log, the cause included.
func (e *Error) Error() string {
	text := e.Code
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	for _, field := range e.Fields {
		text += fmt.Sprintf("; %s %s", field.Pointer, field.Detail)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an Error.
func New(code string, status int, title, detail string) *Error {
	return &Error{Code: code, Status: status, Title: title, Detail: detail}
}

// Because returns a copy of e with err as its cause.
func (e *Error) Because(err error) *Error {
	copied := *e
	copied.Extra = maps.Clone(e.Extra)
	copied.Fields = slices.Clone(e.Fields)
	copied.Err = err
	return &copied
}

// InvalidInput makes the Error of a body whose fields are wrong: 422.
func InvalidInput(fields ...Field) *Error {
	return &Error{
		Code: CodeInvalidInput, Status: http.StatusUnprocessableEntity, Title: "The input is not valid",
		Detail: "Nothing was changed. Correct the fields listed and send the request again.",
		Fields: fields,
	}
}

// NotFound makes the Error of something that is not there, or not there for
// this caller: 404.
func NotFound(detail string) *Error {
	return New(CodeNotFound, http.StatusNotFound, "Not found", detail)
}

// Conflict makes the Error of a change that met another: 409.
func Conflict(detail string) *Error {
	return New(CodeConflict, http.StatusConflict, "The state has changed", detail)
}

// Forbidden makes the Error of a caller who may not do this: 403.
func Forbidden(detail string) *Error {
	return New(CodeForbidden, http.StatusForbidden, "Not allowed", detail)
}

// Busy makes the Error of a server that sheds load: 503.
func Busy(retry time.Duration) *Error {
	return &Error{
		Code: CodeBusy, Status: http.StatusServiceUnavailable, Title: "Too busy right now",
		Detail: "Nothing was changed. Try again shortly.", Retry: retry,
	}
}

// CodeOf returns the code of the Error in err's chain, CodeInternal for any
// other error, and "" for nil.
func CodeOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// document is the body of the answer. Members follow in the order of RFC
// 9457, then our own, then the extra ones by name.
func (e *Error) document(instance string) ([]byte, error) {
	type member struct {
		name  string
		value any
	}
	members := []member{{"type", typePrefix + e.Code}, {"title", e.Title}, {"status", e.Status}}
	if e.Detail != "" {
		members = append(members, member{"detail", e.Detail})
	}
	if instance != "" {
		members = append(members, member{"instance", instance})
	}
	if len(e.Fields) > 0 {
		members = append(members, member{"errors", e.Fields})
	}
	reserved := map[string]bool{"type": true, "title": true, "status": true, "detail": true, "instance": true, "errors": true}
	for _, name := range slices.Sorted(maps.Keys(e.Extra)) {
		if !reserved[name] {
			members = append(members, member{name, e.Extra[name]})
		}
	}
	body := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			body = append(body, ',')
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, fmt.Errorf("encoding the problem's %q: %w", m.name, err)
		}
		name, _ := json.Marshal(m.name) // a string always encodes
		body = append(append(append(body, name...), ':'), value...)
	}
	return append(body, '}', '\n'), nil
}
