package notify

import (
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// EraseHandle deletes, as part of tx, the messages that wait for an address of
// somebody who is erased, by the address's hash (docs/decisions/0006).
func EraseHandle(tx *sqldb.Tx, tenant id.Tenant, handle []byte) {
	tx.Queue(`DELETE FROM notify_outbox WHERE tenant = $1 AND handle = $2`, tenant, handle)
}
