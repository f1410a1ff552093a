package claim_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/expr"
)

// However many mappings there are, evaluating them for one token is bounded; and
// as many as there may be of those that people write are none too many.
func TestCostOfAToken(t *testing.T) {
	facts := claim.Facts{FirstParty: true, Now: time.Unix(0, 0), Profile: map[string]any{"given_name": "Ana"}}
	count := func(value string) (given, refused int) {
		var mappings []claim.Mapping
		for n := range claim.MaxMappings {
			mappings = append(mappings, claim.Mapping{Name: fmt.Sprint("c", n), Value: value, In: []claim.Target{claim.IDToken}})
		}
		for _, g := range claim.Compile(mappings, mappings[:0]).Evaluate(t.Context(), facts) {
			switch {
			case g.Err == nil:
				given++
			case errors.Is(g.Err, expr.ErrCost):
				refused++
			}
		}
		return given, refused
	}
	if given, _ := count(`"Hello " + profile.given_name`); given != claim.MaxMappings {
		t.Errorf("%d of %d", given, claim.MaxMappings)
	}
	const costly = `[1,2,3,4,5,6,7,8,9,10].map(a, [1,2,3,4,5,6,7,8,9,10].map(b, [1,2,3,4,5,6,7,8,9,10].map(c, a * b * c).size()).size()).size()`
	given, refused := count(costly)
	if given == 0 || refused < claim.MaxMappings/2 || given+refused != claim.MaxMappings {
		t.Errorf("%d are evaluated, %d are not", given, refused)
	}
}
