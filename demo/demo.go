// Package demo serves the demonstration applications: a shop (demo/shop), a loyalty club (demo/club) and a third party's
// recipes (demo/recipes).
//
// They are ordinary customers' code: relying parties written with coreos/go-oidc and golang.org/x/oauth2 that know nothing of
// Cardea but an issuer, a client id and a secret. Read demo/signin to see how an application signs its customers in, and
// demo/shop to see how little is left to do then. A test in this package keeps Cardea's own packages out of them.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Serve listens on addr ("127.0.0.1:4001") and serves handler until ctx is done, then lets the requests in flight finish.
// It returns nil after a clean stop, and at once with an error where the address is taken.
func Serve(ctx context.Context, addr string, handler http.Handler) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return ServeOn(ctx, listener, handler)
}

// ServeOn is Serve on a listener that is open already, for a caller that wants to know the port before it starts. It closes
// the listener.
func ServeOn(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	stopped := make(chan error, 1)
	release := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	err := server.Serve(listener)
	if release() { // ctx is not done: serving failed by itself.
		return fmt.Errorf("demo: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("demo: stopping: %w", err)
	}
	return nil
}
