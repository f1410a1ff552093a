package step_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/cardea-id/cardea/internal/journey/journeytest"
)

// A consent that was asked for by a node of an earlier release, which did not
// record what it showed, is to what the scopes release: while nodes are replaced,
// no application is given less than was allowed.
func TestAConsentThatAnEarlierReleaseAskedFor(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		b := kinds["consent"].reach(t, w)
		run := runOf(t, b)
		run.State.Asked = nil
		text, err := json.Marshal(run.State)
		if err != nil {
			t.Fatal(err)
		}
		state, err := run.Keys.Seal("journey", text)
		if err != nil {
			t.Fatal(err)
		}
		b.Submit(t, state, journeytest.Values("decision", "allow"))
		if b.At() != "consented" {
			t.Fatal(b.At())
		}
		granted, found, err := w.Grants.Find(t.Context(), w.Tenant.ID, run.State.Customer, run.State.Application)
		if err != nil || !found || !slices.Contains(granted.Claims, "email") {
			t.Errorf("allowed are %v, %v", granted.Claims, err)
		}
	})
}
