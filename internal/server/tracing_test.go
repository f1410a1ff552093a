package server_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// receiver is a collector that takes OTLP over HTTP.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	raw   bytes.Buffer
	spans []*otlp.Span
	key   string
}

func receive(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, got *http.Request) {
		body, err := io.ReadAll(got.Body)
		var all collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &all)
		}
		if err != nil || got.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", got.URL.Path, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.key = got.Header.Get("Api-Key")
		r.raw.Write(body)
		for _, of := range all.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				r.spans = append(r.spans, scope.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

// all waits for what has ended, and returns it by trace.
func (r *receiver) all(t *testing.T, i *servertest.Installation) map[string][]*otlp.Span {
	t.Helper()
	must(t, i.Tracing.Flush(t.Context()))
	r.mu.Lock()
	defer r.mu.Unlock()
	traces := map[string][]*otlp.Span{}
	for _, s := range r.spans {
		name := hex.EncodeToString(s.TraceId)
		traces[name] = append(traces[name], s)
	}
	return traces
}

func traceTo(r *receiver, log io.Writer, proxies ...string) func(*server.Environment) {
	return func(e *server.Environment) {
		e.Config.Tracing.Traces, e.Config.Tracing.Ratio, e.Config.Tracing.Service = r.URL+"/v1/traces", 1, "cardea"
		e.Config.Tracing.Sent = map[string]string{"api-key": "k"}
		for _, proxy := range proxies {
			e.Config.TrustedProxies = append(e.Config.TrustedProxies, netip.MustParsePrefix(proxy))
		}
		if log != nil {
			e.Logger = slog.New(slog.NewJSONHandler(log, nil))
		}
	}
}

// The spans of one sign-in behind a proxy that traces are one tree, with its
// hashing and its write, and have nothing personal in them.
func TestASignInIsOneTrace(t *testing.T) {
	t.Parallel()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			r := receive(t)
			i := servertest.New(t, engine, traceTo(r, nil, "127.0.0.1/32"))
			h := newHouse(t, i, "thyme", nil)
			const trace, parent, agent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "CanaryAgent/1.0"
			b := i.Browser()
			b.Header.Set("Traceparent", "00-"+trace+"-"+parent+"-01")
			b.Header.Set("Tracestate", "vendor=x")
			b.Header.Set("User-Agent", agent)
			request := h.shop.Authorize(url.Values{"login_hint": {anaMail}, "state": {"canary-state"}})
			request.State = "canary-state"
			p := b.Answer(b.Get(h.shop.URL(i, request)), url.Values{"identifier": {anaMail}})
			p = b.Answer(p, url.Values{"password": {anaPassword}})
			tokens := h.shop.Redeem(i, request, p)
			if tokens.Status != http.StatusOK {
				t.Fatalf("%+v", tokens)
			}
			_, code := h.codePage(i.Browser(), anaMail, true)
			h.shop.UserInfo(i, tokens.Access)
			time.Sleep(200 * time.Millisecond) // the message leaves in the background
			traces := r.all(t, i)
			spans := traces[trace]
			ids, names := map[string]bool{parent: true}, map[string]int{}
			for _, s := range spans {
				ids[hex.EncodeToString(s.SpanId)] = true
				names[s.Name]++
			}
			for _, s := range spans {
				if !ids[hex.EncodeToString(s.ParentSpanId)] {
					t.Errorf("%s hangs in the air", s.Name)
				}
				if s.EndTimeUnixNano < s.StartTimeUnixNano {
					t.Errorf("%s ends before it begins", s.Name)
				}
			}
			for _, want := range []string{"GET /authorize", "POST /journey", "journey step sign-in/password", "password hash: wait", "password hash: work",
				"write", "write: wait", "write: statements", "write: commit", "read: batch"} {
				if names[want] == 0 {
					t.Errorf("there is no span %q: %v", want, names)
				}
			}
			alone := map[string]bool{}
			for name, of := range traces {
				for _, s := range of {
					if len(s.ParentSpanId) == 0 {
						alone[s.Name] = true
					}
				}
				if len(of) > 60 {
					t.Errorf("the trace %s has %d spans", name, len(of))
				}
			}
			for _, want := range []string{"POST /token", "GET /userinfo", "message code"} {
				if !alone[want] {
					t.Errorf("there is no trace of %q: %v", want, alone)
				}
			}
			for name := range alone { // nothing of what goes on in the background but messages
				if !strings.Contains(name, "/") && !strings.HasPrefix(name, "message ") {
					t.Errorf("there is a trace of %q", name)
				}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			text := r.raw.String()
			for what, secret := range map[string]string{"the address": anaMail, "the address, escaped": url.QueryEscape(anaMail), "the password": anaPassword, "the code": `"` + code + `"`,
				"a network address": "127.0.0.1", "an agent": agent, "a state": "canary", "a verifier": request.Verifier, "an access token": tokens.Access,
				"a refresh token": tokens.Refresh, "an authorization code": p.Location.Query().Get("code"), "a secret": h.shop.Secret, "a query": "client_id", "ana": string(h.ana)} {
				if strings.Contains(text, secret) {
					t.Errorf("%s is in a span", what)
				}
			}
			if r.key != "k" {
				t.Errorf("the header sent is %q", r.key)
			}
		})
	}
}

// Strangers join no trace and begin none that they name; the log names the
// trace; a fault's span says that it failed and not why.
func TestStrangersDoNotTrace(t *testing.T) {
	t.Parallel()
	r, log := receive(t), &journal{}
	i := servertest.New(t, sqldb.SQLite, traceTo(r, log))
	h := newHouse(t, i, "thyme", nil)
	b, _ := h.signIn()
	h.write(func(tx *sqldb.Tx) error { _, err := tx.Exec(`ALTER TABLE session RENAME TO lost`); return err })
	b.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if p := b.Get(i.Base + h.tenant.Path + "/account"); p.Status != http.StatusInternalServerError {
		t.Fatalf("%d", p.Status)
	}
	traces := r.all(t, i)
	if len(traces["0af7651916cd43dd8448eb211c80319c"]) > 0 {
		t.Error("a stranger joined a trace")
	}
	var failed string
	for name, spans := range traces {
		for _, s := range spans {
			if s.Name == "GET /account" && s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR && s.Status.GetMessage() == "" {
				failed = name
			}
		}
	}
	found := false
	for line := range strings.Lines(log.String()) {
		var record struct {
			Msg   string
			Trace string `json:"trace_id"`
		}
		must(t, json.Unmarshal([]byte(line), &record))
		found = found || record.Msg == "a page failed" && failed != "" && record.Trace == failed
	}
	if !found {
		t.Errorf("the trace %q is not in the log:\n%s", failed, log)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.Contains(r.raw.String(), "no such table") {
		t.Error("a span says why it failed")
	}
}

// A collector that has gone, or that hangs, delays nobody.
func TestTracesWaitForNobody(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-held }))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(held) })
	i := servertest.New(t, sqldb.SQLite, traceTo(&receiver{Server: hanging}, nil))
	h := newHouse(t, i, "thyme", nil)
	began := time.Now()
	for range 3 {
		h.signIn()
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}
