// Package check looks for weaknesses of an installation, beside its servers: in
// its configuration, databases, keys, mail, and in how its public addresses
// answer. It changes nothing, and sends nothing to anybody.
//
// Every kind of weakness is a Rule, which says what it means and what to do;
// docs/production.md lists them.
package check

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/config"
)

// Severity is how bad a weakness is.
type Severity string

// The severities, the worst first.
const (
	Fault    Severity = "fault"    // something does not work, or what was acknowledged can be lost
	Weakness Severity = "weakness" // it works, and is less safe than it should be
	Advice   Severity = "advice"   // worth knowing
)

var severities = []Severity{Fault, Weakness, Advice}

// AtLeast tells whether a severity is as bad as another.
func (s Severity) AtLeast(other Severity) bool {
	return slices.Index(severities, s) <= slices.Index(severities, other)
}

// Rule is one kind of weakness.
type Rule struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	Means    string   `json:"means"`
	Do       string   `json:"do"`
}

// Finding is a weakness that was found.
type Finding struct {
	Rule
	Found string `json:"found"` // what was seen, and where
}

// Options are what is looked at.
type Options struct {
	Config      *config.Config
	File        string // of the configuration, "" for none
	Development bool   // data of `cardea dev`: what is asked of production is not asked of it
	Reach       bool   // ask the public addresses and the mail server too
	Clock       clock.Clock
	Random      io.Reader
	Client      *http.Client // for the public addresses; nil means one with the system's roots
}

// checker is one run.
type checker struct {
	Options
	findings []Finding
}

// Run looks at an installation and returns what it found, the worst first.
func Run(ctx context.Context, o Options) []Finding {
	c := &checker{Options: o}
	if !o.Development {
		c.configuration()
		c.files()
	}
	c.disks()
	c.stores(ctx)
	if o.Reach {
		c.mail(ctx)
		c.forwarded(ctx)
	}
	return sorted(c.findings)
}

// Faults are the findings of a configuration that cannot be served.
func Faults(e *config.Error) []Finding {
	c := &checker{}
	for _, fault := range e.Faults {
		c.found("config-fault", "%s", fault)
	}
	return sorted(c.findings)
}

func sorted(findings []Finding) []Finding {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(slices.Index(severities, a.Severity)-slices.Index(severities, b.Severity), cmp.Compare(a.ID, b.ID))
	})
	return findings
}

// found notes a finding of a rule, which is one of Rules.
func (c *checker) found(rule, format string, args ...any) {
	at := slices.IndexFunc(Rules, func(r Rule) bool { return r.ID == rule })
	if at < 0 {
		panic("check: there is no rule " + rule) // a slip in this package, met by its tests
	}
	c.findings = append(c.findings, Finding{Rule: Rules[at], Found: fmt.Sprintf(format, args...)})
}

// ago is an age in words.
func ago(d time.Duration) string {
	if d > 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	return d.Round(time.Second).String()
}
