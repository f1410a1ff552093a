package server_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/config"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// A root key is replaced while customers go on: nobody signs in anew, nothing
// is lost, and in the end the old one is needed no more.
func TestReplacingTheRootKey(t *testing.T) {
	t.Parallel()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			var raw [32]byte
			if _, err := rand.Read(raw[:]); err != nil {
				t.Fatal(err)
			}
			next, round := config.NewSecret(base64.StdEncoding.EncodeToString(raw[:])), 0
			i := servertest.New(t, engine, func(e *server.Environment) {
				former := e.Config.RootKey.Value
				switch round {
				case 1:
					e.Config.RootKey.Value, e.Config.OldRoots.Values = next, []config.Secret{former}
				case 2:
					e.Config.RootKey.Value = next
				}
			})
			h := newHouse(t, i, "thyme", nil)
			_, tokens := h.signIn()
			for round = 1; round <= 2; round++ {
				i.Restart()
				if tokens = h.shop.Token(i, refreshing(tokens.Refresh)); tokens.Status != http.StatusOK {
					t.Fatalf("round %d: a refresh token from before is worth nothing: %+v", round, tokens)
				}
				h.signIn()
				for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
					roots, err := i.Ring.Roots(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if len(roots) != 3-round {
						t.Fatalf("round %d: the root keys are %+v", round, roots)
					}
					if round == 2 || roots[1].Keys == 0 {
						break
					}
					if time.Since(began) > 20*time.Second {
						t.Fatalf("the server does not move the keys: %+v", roots)
					}
				}
			}
			h.signIn()
		})
	}
}
