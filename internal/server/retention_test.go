package server_test

import (
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

func TestOldEventsAreDeleted(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		ordered := func() bool { return h.count(`SELECT COUNT(*) FROM event_pending`) == 0 }
		eventually(t, "ordered", ordered)
		old := h.count(`SELECT COUNT(*) FROM event`)
		i.Clock.Advance(72 * time.Hour)
		i.Customer(h.tenant, "young@shop.example", "")
		eventually(t, "ordered", ordered)
		i.Restart()
		eventually(t, "deleted", func() bool { return h.count(`SELECT COUNT(*) FROM event`) == 1 })
		if old == 0 || h.count(`SELECT COUNT(*) FROM event WHERE type = 'customer.created'`) != 1 {
			t.Errorf("of %d old events and a new one the wrong ones are left", old)
		}
	}, func(e *server.Environment) { e.Config.EventRetention = 48 * time.Hour })
}
