package server_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// A server that is told to stop says so on /readyz first, and goes on serving
// until the proxy has heard.
func TestStopIsAnnounced(t *testing.T) {
	const delay = 2 * time.Second
	i := servertest.New(t, sqldb.SQLite, func(e *server.Environment) {
		e.Config.Listen, e.Config.DrainDelay = "127.0.0.1:0", delay
	})
	ctx, stop := context.WithCancel(t.Context())
	address, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- i.Run(ctx, nil, func(at net.Addr) { address <- at }) }()
	base := "http://" + (<-address).String()
	status := func(path string) int {
		got, _, _ := send(t, http.MethodGet, base+path, "", nil)
		return got
	}
	if got := status("/readyz"); got != http.StatusOK {
		t.Fatalf("ready: %d", got)
	}
	began := time.Now()
	stop()
	eventually(t, "not ready", func() bool { return status("/readyz") == http.StatusServiceUnavailable })
	if got := status("/healthz"); got != http.StatusOK {
		t.Errorf("alive while it drains: %d", got)
	}
	select {
	case <-ended:
		t.Error("it stopped before the delay")
	default:
	}
	if err := <-ended; err != nil || time.Since(began) < delay {
		t.Errorf("it stopped after %s: %v", time.Since(began), err)
	}
}
