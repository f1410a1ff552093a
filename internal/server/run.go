package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cardea-id/cardea/internal/backup"
)

const (
	// sweepEvery is how often what has expired is deleted.
	sweepEvery = time.Minute
	// sweepBatch is how many rows of a kind one transaction deletes.
	sweepBatch = 500
)

// task is something that goes on in the background while the server runs.
type task struct {
	name string
	run  func(context.Context) error
}

// tasks lists what goes on in the background. None runs for a single tenant.
func (s *Server) tasks() []task {
	tasks := []task{
		{"watch the configuration", func(ctx context.Context) error { s.Watch.Run(ctx); return nil }},
		{"order the events", s.Log.Run},
		{"send messages", s.Outbox.Run},
		{"keep what stands behind errors", s.Explanations.Run},
		{"learn of keys", s.every(time.Second, s.Ring.Poll)},
		{"advance signing keys", s.every(30*time.Second, s.SigningKeys.Advance)},
		{"rewrap keys", s.every(time.Minute, s.rewrap)},
		{"replace look-up keys", s.every(5*time.Second, s.Directory.AdvanceLookups)},
		{"have customers found by beginnings", s.every(5*time.Second, s.Directory.AdvanceSearch)},
		{"follow the rules of the life of accounts", s.every(15*time.Second, s.Directory.Advance)},
		{"finish erasures", s.every(time.Minute, s.erasureFinisher())},
		{"delete what has expired", s.every(sweepEvery, s.sweep)},
		{"prepare the event log", s.every(24*time.Hour, s.Log.Maintain)},
		{"delete orphaned keys", s.every(time.Hour, s.sweepOrphans)},
	}
	if s.Config.EventRetention > 0 {
		tasks = append(tasks, task{"delete old events", s.every(time.Hour, s.deleteOldEvents)})
	}
	if !s.Development {
		tasks = append(tasks, task{"warn of tenants' settings", once(s.warnOfTenants)})
	}
	return tasks
}

// once has do called until it succeeds.
func once(do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := do(ctx); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
}

// every has do called now and then every interval until ctx ends. An error is
// the caller's to log; it is tried again.
func (s *Server) every(interval time.Duration, do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			err := do(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				s.Logger.WarnContext(ctx, "a background task failed and is tried again", "error", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
		}
	}
}

// StartTasks begins what goes on in the background. The function that it
// returns stops it and waits for the end.
func (s *Server) StartTasks(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(s.Tracing.With(ctx))
	var running sync.WaitGroup
	for _, t := range s.tasks() {
		running.Go(func() {
			for ctx.Err() == nil {
				if err := t.run(ctx); err != nil && ctx.Err() == nil {
					s.Logger.ErrorContext(ctx, "a background task ended and is begun again", "task", t.name, "error", err)
					select {
					case <-ctx.Done():
					case <-time.After(time.Second):
					}
				}
			}
		})
	}
	return func() { cancel(); running.Wait() }
}

func (s *Server) rewrap(ctx context.Context) error {
	for {
		done, err := s.Ring.Rewrap(ctx, sweepBatch)
		if err != nil || done {
			return err
		}
	}
}

// deleteOldEvents deletes the events that are older than they are to be kept.
func (s *Server) deleteOldEvents(ctx context.Context) error {
	before := s.Clock.Now().Add(-s.Config.EventRetention)
	for ctx.Err() == nil {
		if n, err := s.Log.DeleteBefore(ctx, before, sweepBatch); err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// sweep deletes what has expired, in small batches so that nobody waits.
func (s *Server) sweep(ctx context.Context) error {
	sweeps := []func(context.Context, int) (int, error){
		s.Budgets.Sweep, s.Challenges.Sweep, s.Challenges.SweepLinks, s.Sessions.Sweep, s.Grants.Sweep, s.Directory.SealReasons, s.Explanations.Sweep,
		s.Once.Sweep, s.Organizations.Sweep, s.Organizations.FinishDeletions,
		func(ctx context.Context, limit int) (int, error) {
			n, err := s.Journeys.Sweep(ctx, limit)
			return int(n), err
		},
	}
	var errs []error
	for _, sweep := range sweeps {
		for ctx.Err() == nil {
			swept, err := sweep(ctx, sweepBatch)
			if err != nil {
				errs = append(errs, err)
			}
			if err != nil || swept < sweepBatch {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// SocketPath is where the commands of this machine reach the server.
func (s *Server) SocketPath() string {
	if s.Config.AdminSocket != "" {
		return s.Config.AdminSocket
	}
	return filepath.Join(s.Config.DataDir, "cardea.sock")
}

// Run serves until ctx ends. Then it says that it is not ready any more, goes on
// for the delay until that was heard, finishes the requests in progress within
// the grace, and stops. Admin, where it is given, is served on the socket.
// Ready is called once the server answers, with the address it listens on.
func (s *Server) Run(ctx context.Context, admin http.Handler, ready func(net.Addr)) error {
	ballast := make([]byte, ballastBytes)
	defer runtime.KeepAlive(ballast)
	c := s.Config
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	handler := s.Handler()
	if s.Front != nil {
		handler = s.Front(s, handler)
	}
	public := &http.Server{
		Handler: handler, ReadHeaderTimeout: c.Limits.ReadTimeout, ReadTimeout: c.Limits.ReadTimeout,
		WriteTimeout: c.Limits.WriteTimeout, IdleTimeout: c.Limits.IdleTimeout, MaxHeaderBytes: c.Limits.MaxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
	}
	servers := []*http.Server{public}
	failed := make(chan error, 3)
	serve := func(server *http.Server, l net.Listener) {
		go func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	if c.TLS.CertFile != "" {
		certificate, err := newCertificate(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		least := uint16(tls.VersionTLS12)
		if c.TLS.MinVersion == "1.3" {
			least = tls.VersionTLS13
		}
		serve(public, tls.NewListener(listener, &tls.Config{MinVersion: least, GetCertificate: certificate.get, NextProtos: []string{"h2", "http/1.1"}}))
	} else {
		serve(public, listener)
	}
	if c.Metrics.Listen != "" {
		l, err := net.Listen("tcp", c.Metrics.Listen)
		if err != nil {
			return errors.Join(fmt.Errorf("listen for metrics: %w", err), public.Close())
		}
		server := &http.Server{Handler: s.MetricsHandler(), ReadHeaderTimeout: c.Limits.ReadTimeout}
		servers = append(servers, server)
		serve(server, l)
	}
	if admin != nil {
		l, err := listenSocket(s.SocketPath())
		if err != nil {
			return errors.Join(err, public.Close())
		}
		server := &http.Server{Handler: admin, ReadHeaderTimeout: c.Limits.ReadTimeout}
		servers = append(servers, server)
		serve(server, l)
	}
	stop := s.StartTasks(context.WithoutCancel(ctx))
	if ready != nil {
		ready(listener.Addr())
	}
	time.AfterFunc(time.Second, debug.FreeOSMemory) // what the start took and needs no more, which the ballast lets lie
	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
	}
	s.draining.Store(true)
	lost := errors.Is(context.Cause(ctx), backup.ErrUnfinished) // a restore has begun: nothing may be served any more
	if cause == nil && !lost && c.DrainDelay > 0 {
		s.Logger.InfoContext(ctx, "stopping: not ready any more, and still answering", "delay", c.DrainDelay)
		select {
		case <-time.After(c.DrainDelay):
		case cause = <-failed:
		}
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.ShutdownGrace)
	defer cancel()
	for _, server := range servers {
		if err := server.Shutdown(grace); err != nil {
			s.Logger.WarnContext(ctx, "requests in progress were cut off at the end of the grace", "grace", c.ShutdownGrace)
			cause = errors.Join(cause, server.Close())
		}
	}
	stop()
	return cause
}

// listenSocket listens on a Unix socket that only this user may open. One that
// a killed server has left is replaced.
func listenSocket(path string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("another server answers at %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace the socket of a server that has gone: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the socket's folder: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on the socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("close the socket to others: %w", err), l.Close())
	}
	return l, nil
}
