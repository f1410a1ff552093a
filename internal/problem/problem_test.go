package problem

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
)

func newWriter(log io.Writer) Writer {
	return Writer{
		Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Clock:  clock.NewFake(time.Unix(1_800_000_000, 0)), Random: rand.Reader,
	}
}

func answer(t *testing.T, err error) (*httptest.ResponseRecorder, map[string]any, string) {
	t.Helper()
	var log bytes.Buffer
	recorder := httptest.NewRecorder()
	recorder.Header().Set("Content-Length", "7")
	recorder.Header().Set("Location", "https://rp.example/")
	newWriter(&log).Write(recorder, httptest.NewRequest("POST", "/things?secret=1", nil), err)
	var body map[string]any
	if err := json.Unmarshal(recorder.Body.Bytes(), &body); err != nil {
		t.Fatalf("the body is not JSON: %v: %s", err, recorder.Body)
	}
	return recorder, body, log.String()
}

func TestTypedErrorIsToldAsItIs(t *testing.T) {
	cause := errors.New("row vanished: canary-41")
	e := New("out-of-stock", 409, "Out of stock", "There are none left. Choose another.").Because(cause)
	e.Extra = map[string]any{"zebra": 1, "apple": []string{"x"}, "status": 200, "type": "javascript:"}
	e.Retry = 1500 * time.Millisecond
	recorder, _, log := answer(t, fmt.Errorf("selling: %w", e))
	want := `{"type":"https://cardea.id/problems/out-of-stock","title":"Out of stock","status":409,` +
		`"detail":"There are none left. Choose another.","apple":["x"],"zebra":1}` + "\n"
	if got := recorder.Body.String(); got != want {
		t.Errorf("body\n%s want\n%s", got, want)
	}
	if recorder.Code != 409 || recorder.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("status %d, headers %v", recorder.Code, recorder.Header())
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Retry-After": "2", "Location": "", "Content-Length": ""} {
		if got := recorder.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(log, "canary-41") || strings.Contains(log, "secret=1") {
		t.Errorf("log: %s", log)
	}
	if !errors.Is(e, cause) || CodeOf(fmt.Errorf("x: %w", e)) != "out-of-stock" || CodeOf(cause) != CodeInternal || CodeOf(nil) != "" {
		t.Error("the chain of errors is broken")
	}
}

func TestUnknownErrorsTellNothingButAFault(t *testing.T) {
	for name, err := range map[string]error{
		"plain":          errors.New("pq: password canary-77 rejected"),
		"nil":            nil,
		"typed nil":      (*Error)(nil),
		"without status": &Error{Code: "x", Detail: "canary-77"},
		"success status": New("x", 200, "t", "canary-77"),
		"without code":   New("", 400, "t", "canary-77"),
	} {
		t.Run(name, func(t *testing.T) {
			recorder, body, log := answer(t, err)
			if recorder.Code != 500 || body["type"] != "https://cardea.id/problems/internal" {
				t.Errorf("answered %d %s", recorder.Code, recorder.Body)
			}
			if strings.Contains(recorder.Body.String(), "canary") {
				t.Errorf("the cause is in the answer: %s", recorder.Body)
			}
			fault, _ := body["instance"].(string)
			if _, err := id.Parse[id.Fault](fault); err != nil || !strings.Contains(log, fault) {
				t.Errorf("instance %q is not a fault that the log knows: %s", fault, log)
			}
		})
	}
}

func TestServerErrorsWithACauseCarryAFault(t *testing.T) {
	recorder, body, log := answer(t, Busy(time.Second).Because(errors.New("queue full: canary")))
	fault, _ := body["instance"].(string)
	if recorder.Code != 503 || fault == "" || !strings.Contains(log, fault) || strings.Contains(recorder.Body.String(), "canary") {
		t.Errorf("%d %s; log %s", recorder.Code, recorder.Body, log)
	}
	if _, body, log := answer(t, Busy(time.Second)); body["instance"] != nil || log != "" {
		t.Errorf("plain shedding was logged: %v %s", body, log)
	}
}

func TestUnencodableExtraIsABareServerError(t *testing.T) {
	e := NotFound("gone")
	e.Extra = map[string]any{"f": func() {}}
	if recorder, body, _ := answer(t, e); recorder.Code != 500 || body["instance"] == nil {
		t.Errorf("answered %d %s", recorder.Code, recorder.Body)
	}
}

func TestInvalidInputListsFields(t *testing.T) {
	recorder, _, _ := answer(t, InvalidInput(Field{"/name", "is empty; give one"}, Field{"/emails/0", "is not an address"}))
	if recorder.Code != 422 || !strings.Contains(recorder.Body.String(),
		`"errors":[{"pointer":"/name","detail":"is empty; give one"},{"pointer":"/emails/0","detail":"is not an address"}]`) {
		t.Errorf("answered %d %s", recorder.Code, recorder.Body)
	}
}

// SECURITY Q1: what a stranger typed stays one record.
func TestLogStaysOneRecord(t *testing.T) {
	_, _, log := answer(t, errors.New("bad\r\n{\"level\":\"INFO\"}\x1b[31m\u2028"))
	if strings.Count(log, "\n") != 1 {
		t.Errorf("the log has more than one record: %q", log)
	}
}

// SECURITY E7: no answer holds another request's details.
func TestConcurrentFailuresDoNotMix(t *testing.T) {
	shared := NotFound("base")
	var group sync.WaitGroup
	for i := range 2000 {
		group.Go(func() {
			marker := fmt.Sprintf("marker-%05d", i)
			e := shared.Because(errors.New(marker))
			e.Detail = marker
			recorder := httptest.NewRecorder()
			newWriter(io.Discard).Write(recorder, httptest.NewRequest("GET", "/", nil), e)
			if body := recorder.Body.String(); !strings.Contains(body, marker) || strings.Count(body, "marker-") != 1 {
				t.Errorf("answer of %s: %s", marker, body)
			}
		})
	}
	group.Wait()
	if shared.Err != nil || shared.Detail != "base" {
		t.Error("the original was changed")
	}
}

// SECURITY 85: the last resort keeps the process alive and fails closed.
func TestRecover(t *testing.T) {
	var log bytes.Buffer
	writer := newWriter(&log)
	mux := http.NewServeMux()
	mux.HandleFunc("/before", func(http.ResponseWriter, *http.Request) { panic("canary-5") })
	mux.HandleFunc("/midway", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half an answer")
		_ = http.NewResponseController(w).Flush()
		panic("canary-6")
	})
	mux.HandleFunc("/fine", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
	server := httptest.NewServer(writer.Recover(mux))
	defer server.Close()

	response, err := http.Get(server.URL + "/before")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if response.StatusCode != 500 || bytes.Contains(body, []byte("canary")) {
		t.Errorf("answered %d %s", response.StatusCode, body)
	}
	if response, err := http.Get(server.URL + "/midway"); err == nil {
		_, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err == nil {
			t.Error("half an answer looked whole")
		}
	}
	response, err = http.Get(server.URL + "/fine")
	if err != nil || response.StatusCode != 200 {
		t.Fatalf("the server did not live on: %v", err)
	}
	_ = response.Body.Close()
	for _, canary := range []string{"canary-5", "canary-6"} {
		if !strings.Contains(log.String(), canary) {
			t.Errorf("the log misses %s", canary)
		}
	}
}

func TestCancelledRequestsAreNoAlarm(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var log bytes.Buffer
	newWriter(&log).Write(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil).WithContext(ctx), fmt.Errorf("reading: %w", context.Canceled))
	if !strings.Contains(log.String(), `"level":"INFO"`) {
		t.Errorf("log: %s", log.String())
	}
}
