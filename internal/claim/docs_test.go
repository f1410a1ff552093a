package claim_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/cardea-id/cardea/internal/claim"
)

// The examples of docs/claims.md give what the page says.
func TestDocumentedExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/claims.md")
	if err != nil {
		t.Fatal(err)
	}
	var facts claim.Facts
	var mappings []claim.Mapping
	examples := 0
	for n, part := range strings.Split(string(page), "```") {
		language, body, _ := strings.Cut(part, "\n")
		if n%2 == 0 {
			continue
		}
		switch language {
		case "json facts":
			facts = documentedFacts(t, body)
		case "yaml":
			var document any
			if err := yaml.Unmarshal([]byte(body), &document); err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(document)
			if err != nil {
				t.Fatal(err)
			}
			var read struct{ Claims []claim.Mapping }
			if err := json.Unmarshal(text, &read); err != nil {
				t.Fatal(err)
			}
			if mappings = read.Claims; claim.Check(mappings) != nil {
				t.Fatalf("%s: %v", body, claim.Check(mappings))
			}
		case "json":
			examples++
			var want map[claim.Target]map[string]any
			if err := json.Unmarshal([]byte(body), &want); err != nil {
				t.Fatal(err)
			}
			given := claim.Compile(mappings, nil).Evaluate(t.Context(), facts)
			for _, target := range claim.Targets {
				got := map[string]any{}
				for _, g := range claim.For(given, target, "https://id.example") {
					var value any
					if g.Err == nil && json.Unmarshal(g.JSON, &value) == nil {
						got[g.Name] = value
					}
				}
				if !reflect.DeepEqual(got, want[target]) {
					t.Errorf("%s\nin %s gives %v in place of %v", mappings[0].Name, target, got, want[target])
				}
			}
		}
	}
	if examples < 5 {
		t.Errorf("only %d examples were found", examples)
	}
	for _, name := range claim.Known() {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("the page does not tell of %s", name)
		}
	}
}

func documentedFacts(t *testing.T, text string) claim.Facts {
	t.Helper()
	var read struct {
		Customer struct {
			ID      string
			Created time.Time `json:"created_at"`
		}
		Profile, Identifiers map[string]any
		Grant                struct {
			Scopes  []string
			Granted time.Time `json:"granted_at"`
		}
		Application struct {
			ID, Name string
			First    bool `json:"first_party"`
		}
		Now time.Time
	}
	if err := json.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	return claim.Facts{Customer: read.Customer.ID, CreatedAt: read.Customer.Created, Profile: read.Profile, Identifiers: read.Identifiers,
		Scopes: read.Grant.Scopes, GrantedAt: read.Grant.Granted, Application: read.Application.ID, Name: read.Application.Name,
		FirstParty: read.Application.First, Now: read.Now}
}
