package journey

import "time"

const (
	// FreshFor is how old a proof may be for its customer to begin changing what
	// decides who gets in (OWASP ASVS 7.5.1).
	FreshFor = 5 * time.Minute
	// FreshUntil is how old it may be when such a change is finished: a code to a
	// new address lives ten minutes at most.
	FreshUntil = 15 * time.Minute
)

// InSession tells whether a run works in the session that its browser has, for
// the customer of that session.
func InSession(run *Run) bool {
	now := run.Client.Session
	return now != nil && run.State.Session == now.ID && run.State.Customer == now.Customer
}

// Fresh tells whether the customer who is signed in has proved himself within
// the given time: in this run, or when he signed in.
func Fresh(run *Run, within time.Duration) bool {
	if !InSession(run) {
		return false
	}
	for _, proof := range run.State.Proofs {
		if run.Now.Sub(time.Unix(proof.At, 0)) <= within {
			return true
		}
	}
	return run.Client.Session.Fresh(run.Now, 0, within)
}
