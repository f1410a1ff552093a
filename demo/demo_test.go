package demo_test

import (
	"context"
	"go/parser"
	"go/token"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/demo"
)

// TestDemosAreOrdinaryCustomersCode keeps out whatever a customer of Cardea could not import.
func TestDemosAreOrdinaryCustomersCode(t *testing.T) {
	allowed := []string{"github.com/cardea-id/cardea/demo/", "github.com/coreos/go-oidc/v3/", "golang.org/x/oauth2"}
	seen := 0
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
	imports:
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			for _, prefix := range allowed {
				if strings.HasPrefix(name, prefix) {
					continue imports
				}
			}
			t.Errorf("%s imports %s", path, name)
		}
		return nil
	})
	if err != nil || seen < 8 {
		t.Fatalf("%d files read, %v", seen, err)
	}
}

func TestServe(t *testing.T) {
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	entered := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		time.Sleep(50 * time.Millisecond)
		w.WriteHeader(http.StatusTeapot)
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- demo.ServeOn(ctx, listener, handler) }()

	if err := demo.Serve(t.Context(), address, handler); err == nil {
		t.Error("a taken address was served twice")
	}
	status := make(chan int, 1)
	go func() { status <- newBrowser(t).get("http://" + address).status }()
	<-entered
	stop()
	if got := <-status; got != http.StatusTeapot {
		t.Errorf("a request in flight at the stop got %d", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("a clean stop gave %v", err)
	}
}
