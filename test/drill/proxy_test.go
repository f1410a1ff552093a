package drill

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// proxy does what any proxy before a cluster does: it sends each request to the
// next node that said it was ready, and asks them ten times a second. It sends
// nothing twice, so that whatever a node does not answer is a failed request.
type proxy struct {
	origin   string
	server   *http.Server
	backends [2]backend
	turn     atomic.Uint64
	refused  atomic.Int64 // requests that no node answered
	told     told         // what went wrong, in the words of net/http
	stop     context.CancelFunc
	asking   sync.WaitGroup
}

type backend struct {
	origin atomic.Pointer[url.URL]
	ready  atomic.Bool
}

func newProxy() (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{origin: "http://" + listener.Addr().String()}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			to, _ := r.In.Context().Value(target{}).(*url.URL)
			r.SetURL(to)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 256},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			p.refused.Add(1)
			http.Error(w, fmt.Sprintf("the proxy: %v", err), http.StatusBadGateway)
		},
		ErrorLog: log.New(&p.told, "", log.Lmicroseconds),
	}
	p.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := p.choose()
		if to == nil {
			p.refused.Add(1)
			http.Error(w, "the proxy: no node is ready", http.StatusBadGateway)
			return
		}
		// The body is read before it is sent on, as nginx does. Where net/http's own
		// proxy passes on a body of over 4 KB as it comes, an answer that is quick on a
		// slow machine has it close the connection to the node in the middle of it: it
		// still looks for more of a body that its server has closed by then.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, fmt.Sprintf("the proxy: %v", err), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), target{}, to)))
	})}
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	for i := range p.backends {
		p.asking.Go(func() { p.ask(ctx, &p.backends[i]) })
	}
	go func() { _ = p.server.Serve(listener) }() // ends with close
	return p, nil
}

type target struct{}

// told keeps what is written to it.
type told struct {
	mu    sync.Mutex
	lines []string
}

func (l *told) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, strings.TrimSpace(string(line)))
	return len(line), nil
}

func (l *told) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

func (p *proxy) close() {
	p.stop()
	p.asking.Wait()
	_ = p.server.Close()
}

// use has requests sent to a node once it is ready.
func (p *proxy) use(i int, origin string) {
	to, err := url.Parse(origin)
	if err != nil {
		panic(err) // the node's own address
	}
	p.backends[i].ready.Store(false)
	p.backends[i].origin.Store(to)
}

// await waits until a node is sent requests.
func (p *proxy) await(i int) bool {
	for range 500 {
		if p.backends[i].ready.Load() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func (p *proxy) choose() *url.URL {
	for range p.backends {
		b := &p.backends[p.turn.Add(1)%uint64(len(p.backends))]
		if b.ready.Load() {
			return b.origin.Load()
		}
	}
	return nil
}

func (p *proxy) ask(ctx context.Context, b *backend) {
	asker := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		if to := b.origin.Load(); to != nil {
			b.ready.Store(saysReady(ctx, asker, to))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func saysReady(ctx context.Context, asker *http.Client, to *url.URL) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.JoinPath("/readyz").String(), nil)
	if err != nil {
		return false
	}
	response, err := asker.Do(r)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}
