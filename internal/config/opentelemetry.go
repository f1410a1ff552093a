package config

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/cardea-id/cardea/internal/tracing"
)

// openTelemetry completes the settings of traces by the variables that every
// program with OpenTelemetry takes (OpenTelemetry Environment Variable
// Specification). What the file or a variable of our own says counts more.
func (c *Config) openTelemetry(environ []string, given map[string]string) []Fault {
	standard := map[string]string{}
	for _, variable := range environ {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "OTEL_") && value != "" {
			standard[name] = value
		}
	}
	t := &c.Tracing
	var faults []Fault
	add := func(key, problem, advice string) {
		faults = append(faults, Fault{Key: key, Source: given[key], Problem: problem, Advice: advice})
	}
	if own := t.Endpoint; own != "" {
		t.Traces = strings.TrimSuffix(own, "/")
		if !strings.HasSuffix(t.Traces, "/v1/traces") {
			t.Traces += "/v1/traces"
		}
	} else if whole := standard["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]; whole != "" {
		t.Traces = whole
	} else if base := standard["OTEL_EXPORTER_OTLP_ENDPOINT"]; base != "" {
		t.Traces = strings.TrimSuffix(base, "/") + "/v1/traces"
	}
	if strings.EqualFold(standard["OTEL_SDK_DISABLED"], "true") || strings.EqualFold(standard["OTEL_TRACES_EXPORTER"], "none") {
		t.Traces = ""
	}
	if t.Traces == "" {
		return nil
	}
	t.Service = "cardea"
	if name := standard["OTEL_SERVICE_NAME"]; name != "" {
		t.Service = name
	}
	if at, err := url.Parse(t.Traces); err != nil || at.Host == "" || at.User != nil || at.Scheme != "http" && at.Scheme != "https" {
		add("tracing.otlp_endpoint", "is not a web address", "give the collector's address for OTLP over HTTP, as in http://127.0.0.1:4318")
	}
	headers := t.Headers.Reveal()
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"} {
		if headers == "" {
			headers = standard[name]
		}
	}
	var err error
	if t.Sent, err = tracing.Headers(headers); err != nil {
		add("tracing.headers", "cannot be read", "write name=value, separated by commas")
	}
	if t.Attributes, err = tracing.Headers(standard["OTEL_RESOURCE_ATTRIBUTES"]); err != nil {
		add("OTEL_RESOURCE_ATTRIBUTES", "cannot be read", "write name=value, separated by commas")
	}
	if _, own := given["tracing.sample_ratio"]; !own && strings.HasSuffix(standard["OTEL_TRACES_SAMPLER"], "traceidratio") {
		if ratio, err := strconv.ParseFloat(standard["OTEL_TRACES_SAMPLER_ARG"], 64); err == nil && ratio >= 0 && ratio <= 1 {
			t.Ratio = ratio
		}
	}
	return faults
}
