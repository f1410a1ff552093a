package journey

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/cardea-id/cardea/internal/expr"
)

//go:embed definitions/*.yaml
var defaults embed.FS

// definition is one journey as it is written.
type definition struct {
	Journey string `yaml:"journey"`
	Version int    `yaml:"version"`
	Start   string `yaml:"start"`
	// SignedIn says that the journey is for who is signed in: it begins and goes
	// on in his session alone.
	SignedIn bool             `yaml:"signed_in"`
	Steps    []stepDefinition `yaml:"steps"`
}

type stepDefinition struct {
	ID   string            `yaml:"id"`
	Uses string            `yaml:"uses"` // the kind of step
	When string            `yaml:"when"` // CEL; where it is false the step is passed over
	Else string            `yaml:"else"` // where that leads
	With map[string]any    `yaml:"with"`
	On   map[string]string `yaml:"on"` // outcome to "step" or "journey/step"
}

// Set is a checked set of journeys, ready to run.
type Set struct {
	journeys map[string]*compiled
}

type compiled struct {
	text     []byte // as it is written
	hash     string // of its definition and of all that it can lead to
	start    string
	signedIn bool
	steps    map[string]*compiledStep
}

type compiledStep struct {
	definition stepDefinition
	step       Step
	when       *condition
}

// Load reads journeys from the YAML files of files and checks them: every
// outcome that a kind of step can have leads somewhere, every step can be
// reached, conditions compile, settings are what the step takes. All that is
// wrong is told at once.
func Load(files fs.FS, kinds map[string]Step) (*Set, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list the journeys: %w", err)
	}
	slices.Sort(names)
	environment, err := expr.NewEnvironment(variables...)
	if err != nil {
		return nil, fmt.Errorf("declare what conditions may ask for: %w", err)
	}
	set := &Set{journeys: map[string]*compiled{}}
	var faults []error
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read the journey %s: %w", name, err)
		}
		if err := set.add(text, kinds, environment); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	if len(faults) == 0 {
		faults = append(faults, set.checkTargets()...)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for name, journey := range set.journeys {
		var texts [][]byte
		for _, within := range set.within(name) {
			texts = append(texts, set.journeys[within].text)
		}
		journey.hash = hashOf(texts...)
	}
	return set, nil
}

// within are the names of the journeys that one can lead to, itself included,
// in order.
func (set *Set) within(journey string) []string {
	found := []string{journey}
	for at := 0; at < len(found); at++ {
		for _, step := range set.journeys[found[at]].steps {
			for _, target := range slices.Concat(slices.Collect(maps.Values(step.definition.On)), []string{step.definition.Else}) {
				if next, _ := split(found[at], target); !slices.Contains(found, next) {
					found = append(found, next)
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

// hash names what a journey does from any of its steps on, by content. It is
// empty for one that there is not.
func (set *Set) hash(journey string) string {
	if c := set.journeys[journey]; c != nil {
		return c.hash
	}
	return ""
}

// LoadDefaults reads the journeys that every tenant has.
func LoadDefaults(kinds map[string]Step) (*Set, error) {
	files, err := fs.Sub(defaults, "definitions")
	if err != nil {
		return nil, fmt.Errorf("find the default journeys: %w", err)
	}
	return Load(files, kinds)
}

func (set *Set) add(text []byte, kinds map[string]Step, environment *expr.Environment) error {
	var d definition
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&d); err != nil {
		return fmt.Errorf("not a journey: %w", err)
	}
	if d.Journey == "" || strings.Contains(d.Journey, "/") {
		return fmt.Errorf("the journey's name %q is empty or has a slash", d.Journey)
	}
	if set.journeys[d.Journey] != nil {
		return fmt.Errorf("there are two journeys %q", d.Journey)
	}
	c := &compiled{text: text, start: d.Start, signedIn: d.SignedIn, steps: map[string]*compiledStep{}}
	var faults []error
	for _, sd := range d.Steps {
		step, known := kinds[sd.Uses]
		switch {
		case sd.ID == "" || strings.Contains(sd.ID, "/"):
			faults = append(faults, fmt.Errorf("a step's id %q is empty or has a slash", sd.ID))
			continue
		case c.steps[sd.ID] != nil:
			faults = append(faults, fmt.Errorf("there are two steps %q", sd.ID))
			continue
		case !known:
			faults = append(faults, fmt.Errorf("step %s uses %q, which is no kind of step; there are %s", sd.ID, sd.Uses, strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")))
			continue
		}
		cs := &compiledStep{definition: sd, step: step}
		outcomes := step.Outcomes()
		for _, outcome := range outcomes {
			if sd.On[outcome] == "" {
				faults = append(faults, fmt.Errorf("step %s: the outcome %q leads nowhere", sd.ID, outcome))
			}
		}
		for outcome := range sd.On {
			if !slices.Contains(outcomes, outcome) {
				faults = append(faults, fmt.Errorf("step %s: a step of kind %s has no outcome %q; it has %s", sd.ID, sd.Uses, outcome, strings.Join(outcomes, ", ")))
			}
		}
		if (sd.When == "") != (sd.Else == "") {
			faults = append(faults, fmt.Errorf("step %s: when and else go together", sd.ID))
		}
		if sd.When != "" {
			condition, err := compileCondition(environment, sd.When)
			if err != nil {
				faults = append(faults, fmt.Errorf("step %s: when: %w", sd.ID, err))
			}
			cs.when = condition
		}
		if err := step.Check(Config(sd.With)); err != nil {
			faults = append(faults, fmt.Errorf("step %s: with: %w", sd.ID, err))
		}
		c.steps[sd.ID] = cs
	}
	if c.steps[d.Start] == nil {
		faults = append(faults, fmt.Errorf("the start %q is no step", d.Start))
	}
	set.journeys[d.Journey] = c
	return errors.Join(faults...)
}

// checkTargets follows every way through the journeys.
func (set *Set) checkTargets() []error {
	var faults []error
	reached := map[string]bool{}
	var walk func(journey, step string)
	walk = func(journey, step string) {
		name := journey + "/" + step
		if reached[name] {
			return
		}
		reached[name] = true
		sd := set.journeys[journey].steps[step].definition
		targets := slices.Collect(maps.Values(sd.On))
		if sd.Else != "" {
			targets = append(targets, sd.Else)
		}
		for _, target := range targets {
			j, s := split(journey, target)
			if set.journeys[j] == nil || set.journeys[j].steps[s] == nil {
				faults = append(faults, fmt.Errorf("journey %s, step %s: there is no step %q to go to", journey, step, target))
				continue
			}
			walk(j, s)
		}
	}
	for _, journey := range slices.Sorted(maps.Keys(set.journeys)) {
		walk(journey, set.journeys[journey].start)
	}
	if len(faults) > 0 {
		return faults
	}
	for _, journey := range slices.Sorted(maps.Keys(set.journeys)) {
		for _, step := range slices.Sorted(maps.Keys(set.journeys[journey].steps)) {
			name := journey + "/" + step
			if !reached[name] {
				faults = append(faults, fmt.Errorf("journey %s: step %s cannot be reached", journey, step))
			}
			if set.unseen(journey, step, map[string]bool{}, func(j, s string) bool { return j+"/"+s == name }) {
				faults = append(faults, fmt.Errorf("journey %s: conditions and ends lead from %s back to it in a circle, with nothing shown", journey, step))
			}
		}
		start := set.journeys[journey].start
		ends := func(j, s string) bool {
			_, is := set.journeys[j].steps[s].step.(Finishing)
			return is
		}
		if ends(journey, start) || set.unseen(journey, start, map[string]bool{}, ends) {
			faults = append(faults, fmt.Errorf("journey %s: it may begin at its end, %s, with nothing to show", journey, start))
		}
	}
	return faults
}

// unseen tells whether the journey may go on from a step, without anything
// being shown in between, to one that found is true of: past steps whose
// conditions do not hold, and by what an end refuses.
func (set *Set) unseen(journey, step string, seen map[string]bool, found func(journey, step string) bool) bool {
	cs := set.journeys[journey].steps[step]
	var targets []string
	if cs.definition.Else != "" {
		targets = append(targets, cs.definition.Else)
	}
	if _, ends := cs.step.(Finishing); ends {
		targets = slices.AppendSeq(targets, maps.Values(cs.definition.On))
	}
	for _, target := range targets {
		j, s := split(journey, target)
		if found(j, s) {
			return true
		}
		if name := j + "/" + s; !seen[name] {
			seen[name] = true
			if set.unseen(j, s, seen, found) {
				return true
			}
		}
	}
	return false
}

// split reads where an outcome leads, as seen from journey.
func split(journey, target string) (string, string) {
	if j, s, crosses := strings.Cut(target, "/"); crosses {
		return j, s
	}
	return journey, target
}

// find returns a step, nil when there is none.
func (set *Set) find(journey, step string) *compiledStep {
	c := set.journeys[journey]
	if c == nil {
		return nil
	}
	return c.steps[step]
}
