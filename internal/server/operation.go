package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxSkew is how far a node's clock may be from the database's (DESIGN.md,
// rule 9).
const maxSkew = 5 * time.Second

// healthy answers that the process lives.
func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("alive\n"))
}

// ready answers whether this node can do its work.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ready\n"))
}

// Ready tells what keeps this node from doing its work.
func (s *Server) Ready(ctx context.Context) error {
	if s.draining.Load() {
		return errDraining
	}
	before := s.Clock.Now()
	there, err := s.DB.ServerNow(ctx)
	if err != nil {
		return errUnreachable("the database")
	}
	after := s.Clock.Now()
	if there.Before(before.Add(-maxSkew)) || there.After(after.Add(maxSkew)) {
		return fmt.Errorf("this machine's clock is %s from the database's; it may be %s", there.Sub(after).Round(time.Millisecond), maxSkew)
	}
	if err := s.KeyStore.Ping(ctx); err != nil {
		return errUnreachable("the key store")
	}
	return nil
}

var errDraining = errors.New("this node is about to stop")

// errUnreachable says no more than that: addresses and causes are for the log.
type errUnreachable string

func (e errUnreachable) Error() string { return string(e) + " cannot be reached" }

// metrics is what Prometheus reads.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	claims   prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		claims: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cardea_claims_dropped_total", Help: "Mapped claims that failed and were left out of a token or of userinfo; the log says which, and why.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cardea_http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cardea_http_request_duration_seconds", Help: "Time to answer a request, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route"}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.claims, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// register adds what is read from the parts when Prometheus asks.
func (s *Server) registerMetrics() {
	gauge := func(name, help string, read func() float64) {
		s.metrics.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
	}
	counter := func(name, help string, read func() float64) {
		s.metrics.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
	}
	s.metrics.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cardea_build_info", Help: "1, with the release that runs.",
		ConstLabels: prometheus.Labels{"version": s.Release}}, func() float64 { return 1 }), &depths{s})
	counter("cardea_budget_refusals_total", "Guesses and messages refused because a budget was used up.", func() float64 { return float64(s.Budgets.Refused()) })
	gauge("cardea_processors", "Processors that the program uses.", func() float64 { return float64(runtime.GOMAXPROCS(0)) })
	gauge("cardea_password_hashes_running", "Password hashes being computed.", func() float64 { return float64(s.Hasher.Stats().Running) })
	gauge("cardea_password_hashes_waiting", "Sign-ins that wait for a password hash.", func() float64 { return float64(s.Hasher.Stats().Waiting) })
	counter("cardea_password_hashes_total", "Password hashes computed.", func() float64 { return float64(s.Hasher.Stats().Computed) })
	counter("cardea_password_hashes_refused_total", "Sign-ins answered with 503 because too many waited.", func() float64 { return float64(s.Hasher.Stats().Refused) })
	counter("cardea_forms_refused_total", "Forms answered with 429 because their network posted too many.", func() float64 { return float64(s.forms.Refused()) })
	counter("cardea_client_authentications_refused_total", "Requests answered with 429 because their network failed too often at client authentication.", func() float64 { return float64(s.failures.Refused()) })
	counter("cardea_forwarded_disbelieved_total", "Requests with X-Forwarded-For from an address that is not in trusted_proxies.", func() float64 { return float64(s.resolver.Disbelieved()) })
	counter("cardea_messages_sent_total", "Messages handed to the mail server.", func() float64 { return float64(s.Outbox.Stats().Sent) })
	counter("cardea_messages_discarded_total", "Messages made for user names that lead to no address, so that asking costs the same.", func() float64 { return float64(s.Outbox.Stats().Discarded) })
	counter("cardea_messages_retried_total", "Messages that were tried again.", func() float64 { return float64(s.Outbox.Stats().Retried) })
	counter("cardea_messages_expired_total", "Messages that were of no use any more before they could be sent.", func() float64 { return float64(s.Outbox.Stats().Expired) })
	counter("cardea_messages_dead_total", "Messages that were given up.", func() float64 { return float64(s.Outbox.Stats().Dead) })
}

// observe counts the requests of a route.
func (m *metrics) observe(name string, next http.Handler) http.Handler {
	duration := m.duration.WithLabelValues(name)
	ok := m.requests.WithLabelValues(name, "200")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		recorder, recording := w.(*statusRecorder)
		if !recording {
			recorder = &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		}
		next.ServeHTTP(recorder, r)
		duration.Observe(time.Since(began).Seconds())
		if recorder.status == http.StatusOK {
			ok.Inc()
			return
		}
		m.requests.WithLabelValues(name, strconv.Itoa(recorder.status)).Inc()
	})
}

// MetricsHandler answers Prometheus.
func (s *Server) MetricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}
