package problem

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/explain"
)

// Writer answers failed requests. Its fields are set once, before use.
type Writer struct {
	Logger *slog.Logger
	Clock  clock.Clock
	Random io.Reader
}

// Write answers r with err as a problem document, as Writer.Write does with
// the machine's clock and randomness.
func Write(w http.ResponseWriter, r *http.Request, logger *slog.Logger, err error) {
	Writer{Logger: logger, Clock: clock.System(), Random: rand.Reader}.Write(w, r, err)
}

// Write answers r with err as a problem document. An Error is told as it is;
// any other error is answered as a bare 500 whose "instance" is a new fault
// identifier, under which the log has the cause. An Error of the server's
// making (5xx) that has a cause gets a fault identifier too.
func (wr Writer) Write(w http.ResponseWriter, r *http.Request, err error) {
	told, known := errors.AsType[*Error](err)
	if !known || told == nil || told.Code == "" || told.Status < 400 || told.Status > 599 {
		told, known = internal(err), false
	}
	instance := ""
	if told.Status >= 500 && (!known || told.Err != nil) {
		instance = wr.report(r, told, err)
	} else if told.Err != nil {
		wr.Logger.DebugContext(r.Context(), "request refused", "code", told.Code, "route", r.Pattern, "cause", err)
	}
	body, encodeErr := told.document(instance)
	if encodeErr != nil {
		told = internal(encodeErr)
		instance = wr.report(r, told, encodeErr)
		body, _ = told.document(instance) // strings and numbers always encode
	}

	header := w.Header()
	// What a handler prepared for its success is not true of this body.
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Content-Disposition", "Location"} {
		header.Del(name)
	}
	header.Set("Content-Type", "application/problem+json")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	if told.Retry > 0 {
		seconds := (told.Retry + time.Second - 1) / time.Second
		header.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	w.WriteHeader(told.Status)
	_, _ = w.Write(body) // nobody is left to tell when it fails
}

// report logs err under a new fault identifier and returns the identifier.
func (wr Writer) report(r *http.Request, told *Error, err error) string {
	fault := explain.Met(r.Context(), wr.Clock.Now(), wr.Random,
		explain.Verdict{Status: told.Status, Code: told.Code, Reason: told.Title + ".", Shed: told.Code == CodeBusy})
	level := slog.LevelError
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		level = slog.LevelInfo // the client went away: nothing is broken here
	}
	wr.Logger.Log(r.Context(), level, "request failed", "fault", string(fault), "method", r.Method, "route", r.Pattern, "cause", err)
	return string(fault)
}

func internal(err error) *Error {
	return &Error{
		Code: CodeInternal, Status: http.StatusInternalServerError, Title: "Something went wrong on our side",
		Detail: "The request was not completed. Try again later; if it keeps happening, report the instance given here.",
		Err:    err,
	}
}

// Recover is the last resort: it turns a panic of next into an answer as
// Write gives to an unknown error, so that the process goes on. When the
// answer had already begun, the connection is cut instead, so that nobody
// takes half an answer for a whole one.
func (wr Writer) Recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tracked := &tracker{ResponseWriter: w}
		defer func() {
			value := recover()
			if value == nil {
				return
			}
			if err, ok := value.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(value) // a handler's own wish to cut the connection
			}
			err := fmt.Errorf("panic: %v\n%s", value, debug.Stack())
			if tracked.begun {
				wr.report(r, internal(err), err)
				panic(http.ErrAbortHandler)
			}
			wr.Write(w, r, err)
		}()
		next.ServeHTTP(tracked, r)
	})
}

// tracker knows whether the answer has begun.
type tracker struct {
	http.ResponseWriter
	begun bool
}

func (t *tracker) WriteHeader(status int) {
	if status >= 200 {
		t.begun = true
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracker) Write(body []byte) (int, error) {
	t.begun = true
	return t.ResponseWriter.Write(body)
}

// Unwrap lets http.ResponseController reach the writer beneath.
func (t *tracker) Unwrap() http.ResponseWriter { return t.ResponseWriter }
