package id

import (
	"context"
	"sync/atomic"
)

// trace is what is known of the HTTP request that a context is of.
type trace struct {
	request Request
	fault   atomic.Pointer[Fault]
}

type traceKey struct{}

// WithRequest returns the context of what is done for an HTTP request.
func WithRequest(ctx context.Context, request Request) context.Context {
	return context.WithValue(ctx, traceKey{}, &trace{request: request})
}

// RequestOf returns the request that a context is of, "" for none.
func RequestOf(ctx context.Context) Request {
	if t, found := ctx.Value(traceKey{}).(*trace); found {
		return t.request
	}
	return ""
}

// SetFault notes that the request was answered with a fault of ours.
func SetFault(ctx context.Context, fault Fault) {
	if t, found := ctx.Value(traceKey{}).(*trace); found {
		t.fault.Store(&fault)
	}
}

// FaultOf returns the fault that SetFault noted last, "" for none.
func FaultOf(ctx context.Context) Fault {
	if t, found := ctx.Value(traceKey{}).(*trace); found {
		if fault := t.fault.Load(); fault != nil {
			return *fault
		}
	}
	return ""
}
