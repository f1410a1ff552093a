package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// client calls the operator's handlers, wherever they run.
type client struct {
	http  *http.Client
	close func() error
}

// connect returns a client of the server that answers on the installation's
// socket, or, when none does, of handlers in this process.
func (at place) connect(ctx context.Context, p *program) (*client, error) {
	found, err := at.find(p)
	if err != nil {
		return nil, err
	}
	socket := found.socket()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
	}
	conn, err := dial(ctx, "", "")
	if err == nil {
		_ = conn.Close()
		transport := &http.Transport{DialContext: dial}
		return &client{http: &http.Client{Transport: transport}, close: func() error { transport.CloseIdleConnections(); return nil }}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("a server may be running, and its socket cannot be opened: %w; run this as the server's user", err)
	}
	s, closeParts, err := found.open(ctx, quiet(p.err), func(err error) { p.complain(err) })
	if err != nil {
		return nil, err
	}
	handler, err := adminHandler(s)
	if err != nil {
		return nil, errors.Join(err, closeParts())
	}
	return &client{http: &http.Client{Transport: inProcess{handler}}, close: closeParts}, nil
}

// inProcess serves requests with a handler of this process.
type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (response *http.Response, err error) {
	w := &answer{header: http.Header{}, status: http.StatusOK}
	defer func() {
		if value := recover(); value != nil {
			cut, ok := value.(error)
			if !ok || !errors.Is(cut, http.ErrAbortHandler) {
				panic(value)
			}
			err = io.ErrUnexpectedEOF
		}
	}()
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	t.handler.ServeHTTP(w, r)
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// answer is a response, kept in memory.
type answer struct {
	header  http.Header
	status  int
	written bool
	body    bytes.Buffer
}

func (w *answer) Header() http.Header { return w.header }

func (w *answer) WriteHeader(status int) {
	if !w.written {
		w.status, w.written = status, true
	}
}

func (w *answer) Write(p []byte) (int, error) {
	w.written = true
	return w.body.Write(p)
}

// refusal is a problem document (RFC 9457) that was answered.
type refusal struct {
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"`
	Errors   []struct {
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`
}

func (e *refusal) Error() string {
	text := e.Title
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	for _, field := range e.Errors {
		text += "\n  - " + strings.ReplaceAll(strings.TrimPrefix(field.Pointer, "/"), "/", ".") + " " + field.Detail
	}
	if e.Instance != "" {
		text += " (" + e.Instance + ")"
	}
	return text
}

// pathTo joins the parts of an address, each escaped.
func pathTo(parts ...string) string {
	var path strings.Builder
	path.WriteString("/admin/v1")
	for _, part := range parts {
		path.WriteString("/" + url.PathEscape(part))
	}
	return path.String()
}

// call sends a JSON request and decodes the answer into into, which may be nil.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body, into any) error {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
	}
	text, err := c.send(ctx, method, path, query, "application/json", content, nil)
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("the server's answer is not understood: %w", err)
	}
	return nil
}

// send sends a request and returns the body of the answer.
func (c *client) send(ctx context.Context, method, path string, query url.Values, contentType string, content []byte, header http.Header) ([]byte, error) {
	address := "http://cardea" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if len(content) > 0 {
		r.Header.Set("Content-Type", contentType)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	response, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	if response.StatusCode < 300 {
		return text, nil
	}
	e := &refusal{}
	if err := json.Unmarshal(text, e); err != nil || e.Title == "" {
		return nil, fmt.Errorf("the server answered %d", response.StatusCode)
	}
	return nil, e
}

// list reads all pages of a list, up to limit items; 0 is all.
func list[T any](ctx context.Context, c *client, path string, query url.Values, limit int) ([]T, error) {
	items := []T{}
	if query == nil {
		query = url.Values{}
	}
	for {
		var page struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}
		if err := c.call(ctx, http.MethodGet, path, query, nil, &page); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if limit > 0 && len(items) >= limit {
			return items[:limit], nil
		}
		if page.Next == "" {
			return items, nil
		}
		query.Set("after", page.Next)
	}
}
