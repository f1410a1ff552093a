package journey

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

// kind is a kind of step that only has outcomes.
type kind struct {
	outcomes []string
}

func (k kind) Outcomes() []string { return k.outcomes }
func (k kind) Check(c Config) error {
	if c.Text("colour") == "red" {
		return errors.New("red is taken")
	}
	return c.Only("colour")
}
func (kind) Prompt(context.Context, *Run) (Prompt, error)         { return nil, nil }
func (kind) Guard(*Run, Answer) Guard                             { return Guard{} }
func (kind) Answer(context.Context, *Run, Answer) (Result, error) { return Again(), nil }

// ending is a kind of step that ends journeys.
type ending struct{ kind }

func (ending) Finish(context.Context, *Run) (*Finished, Result, error) {
	return &Finished{}, Result{}, nil
}

var kinds = map[string]Step{
	"ask":  kind{outcomes: []string{"yes", "no"}},
	"stop": kind{},
	"end":  ending{kind{outcomes: []string{"refused"}}},
}

// right is a journey that loads.
const right = `journey: one
version: 1
start: ask
steps:
  - {id: ask, uses: ask, on: {yes: again, no: two/stop}}
  - {id: again, uses: ask, when: "!client.known_device", else: end, with: {colour: blue}, on: {yes: end, no: ask}}
  - {id: end, uses: end, on: {refused: stop}}
  - {id: stop, uses: stop}
`

const other = `journey: two
version: 1
start: stop
steps:
  - {id: stop, uses: stop}
`

func load(one, two string) (*Set, error) {
	return Load(fstest.MapFS{"one.yaml": {Data: []byte(one)}, "two.yaml": {Data: []byte(two)}}, kinds)
}

func TestLoad(t *testing.T) {
	set, err := load(right, other)
	if err != nil {
		t.Fatal(err)
	}
	if set.find("one", "again") == nil || set.find("one", "nowhere") != nil || set.find("three", "ask") != nil {
		t.Error("steps are not found by their names")
	}
}

// DESIGN.md, rule 7: a journey is known by its content, and that of what it
// leads to; what it does not lead to does not matter.
func TestHash(t *testing.T) {
	hashes := func(one, two string) (string, string) {
		t.Helper()
		set, err := load(one, two)
		if err != nil {
			t.Fatal(err)
		}
		return set.hash("one"), set.hash("two")
	}
	one, two := hashes(right, other)
	if one == "" || two == "" || one == two {
		t.Errorf("the hashes are %q and %q", one, two)
	}
	if sameOne, sameTwo := hashes(right, other); sameOne != one || sameTwo != two {
		t.Error("the same text has another hash")
	}
	if changed, same := hashes(strings.Replace(right, "colour: blue", "colour: grey", 1), other); changed == one || same != two {
		t.Error("a change does not show in the hash of its journey, or shows in that of another")
	}
	if changed, also := hashes(right, other+"# a word\n"); changed == one || also == two {
		t.Error("a change does not show in the hashes of the journeys that lead there")
	}
	set, err := load(right, other)
	if err != nil || set.hash("three") != "" {
		t.Errorf("a journey that there is not has the hash %q, %v", set.hash("three"), err)
	}
}

func TestLoadTellsWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to string
		names    []string
	}{
		{"no YAML", "journey: one", "journey: [", []string{"one.yaml", "not a journey"}},
		{"an unknown key", "version: 1", "versoin: 1", []string{"versoin"}},
		{"an unknown key of a step", "uses: stop", "use: stop", []string{"use"}},
		{"a key twice", "start: ask", "start: ask\nstart: again", []string{"start"}},
		{"no name", "journey: one", "journey: ''", []string{"empty or has a slash"}},
		{"a name with a slash", "journey: one", "journey: one/two", []string{"empty or has a slash"}},
		{"the name of another", "journey: one", "journey: two", []string{"two journeys"}},
		{"no start", "start: ask", "start: ''", []string{"start"}},
		{"a start that is no step", "start: ask", "start: nowhere", []string{"nowhere"}},
		{"a start in another journey", "start: ask", "start: two/stop", []string{"two/stop"}},
		{"a step without an id", "id: stop,", "id: '',", []string{"empty or has a slash"}},
		{"a step's id with a slash", "id: stop,", "id: a/b,", []string{"a/b"}},
		{"a step twice", "- {id: stop, uses: stop}", "- {id: stop, uses: stop}\n  - {id: stop, uses: stop}", []string{"two steps"}},
		{"an unknown kind", "id: stop, uses: stop", "id: stop, uses: stopp", []string{"stopp", "ask, end, stop"}},
		{"an unknown outcome", "yes: again", "yes: again, maybe: end", []string{"maybe", "yes, no"}},
		{"a missing outcome", "yes: again, ", "", []string{`"yes" leads nowhere`}},
		{"an outcome to nowhere", "yes: again", "yes: nowhere", []string{"nowhere"}},
		{"an outcome to another journey's nowhere", "no: two/stop", "no: two/nowhere", []string{"two/nowhere"}},
		{"an outcome to no journey", "no: two/stop", "no: three/stop", []string{"three/stop"}},
		{"an else to nowhere", "else: end", "else: nowhere", []string{"nowhere"}},
		{"an else to no journey", "else: end", "else: three/end", []string{"three/end"}},
		{"a step that nothing leads to", "- {id: stop, uses: stop}", "- {id: stop, uses: stop}\n  - {id: island, uses: stop}", []string{"island", "cannot be reached"}},
		{"when without else", `else: end, `, "", []string{"when and else"}},
		{"else without when", `when: "!client.known_device", `, "", []string{"when and else"}},
		{"a condition that does not parse", `!client.known_device`, "1 +", []string{"when"}},
		{"a condition on what is not there", `!client.known_device`, "client.shoe_size == 1", []string{"when"}},
		{"a condition that is no yes or no", `!client.known_device`, "client.language", []string{"when"}},
		{"an else that leads to itself", "else: end", "else: again", []string{"circle"}},
		{"settings that the step does not take", "colour: blue", "size: big", []string{"size"}},
		{"settings that the step refuses", "colour: blue", "colour: red", []string{"red is taken"}},
	} {
		one := strings.Replace(right, c.from, c.to, 1)
		if one == right {
			t.Fatalf("%s: nothing was changed", c.name)
		}
		_, err := load(one, other)
		if err == nil {
			t.Errorf("%s: loaded", c.name)
			continue
		}
		for _, name := range c.names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %q is not told of: %v", c.name, name, err)
			}
		}
	}
}

// TestConditionsDoNotLeadRound: two steps, in two journeys, whose conditions
// pass each other over.
func TestConditionsDoNotLeadRound(t *testing.T) {
	one := strings.Replace(right, "else: end", "else: two/back", 1)
	two := strings.Replace(other, "start: stop", "start: back", 1) + `  - {id: back, uses: ask, when: terms.due, else: one/again, on: {yes: stop, no: stop}}
`
	if _, err := load(one, two); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("got %v", err)
	}
}

// TestJourneysDoNotBeginAtTheirEnd: nothing would be shown.
func TestJourneysDoNotBeginAtTheirEnd(t *testing.T) {
	for name, one := range map[string]string{
		"the end":             strings.Replace(right, "start: ask", "start: end", 1),
		"what may lead there": strings.Replace(right, "start: ask", "start: again", 1),
	} {
		if _, err := load(one, other); err == nil || !strings.Contains(err.Error(), "begin") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEndsDoNotLeadRound: what an end refuses must be shown to somebody.
func TestEndsDoNotLeadRound(t *testing.T) {
	one := strings.Replace(right, "refused: stop", "refused: end", 1)
	one = strings.Replace(one, "no: ask", "no: stop", 1)
	if _, err := load(one, other); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("got %v", err)
	}
}

func TestAllFaultsAreToldAtOnce(t *testing.T) {
	one := strings.NewReplacer("yes: again, ", "", "colour: blue", "size: big", "uses: end", "uses: ende").Replace(right)
	_, err := load(one, strings.Replace(other, "start: stop", "start: x", 1))
	for _, name := range []string{"one.yaml", "two.yaml", `"yes" leads nowhere`, "size", "ende"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not told of: %v", name, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(right)
	f.Add(other)
	f.Add(strings.Replace(right, "else: end", "else: nowhere", 1))
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = Load(fstest.MapFS{"one.yaml": {Data: []byte(text)}}, kinds) // must not panic
	})
}
