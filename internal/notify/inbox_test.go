package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/id"
)

func TestInbox(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		inbox := NewInbox(w.db)
		w.outbox = w.node(w.db, inbox)
		w.enqueue(w.code("ana@example.com"))
		w.now.Advance(time.Second) // ids made in one millisecond are in no order
		changed := w.code("ben@example.com")
		changed.Template, changed.Data = PasswordChanged, Data{}
		w.enqueue(changed)
		w.pass(w.outbox)

		again := NewInbox(w.db) // as after a restart
		letters, err := again.List(t.Context(), "", "", 10)
		w.must(err)
		if len(letters) != 2 || letters[0].To != "ben@example.com" || letters[1].To != "ana@example.com" {
			t.Fatalf("%+v", letters)
		}
		if l := letters[0]; l.Code != "" || !slices.Equal(l.Links, []string{olive.AccountURL}) {
			t.Errorf("%+v", l)
		}
		text, err := json.Marshal(letters[1])
		w.must(err)
		for _, part := range []string{`"to":"ana@example.com"`, `"code":"123456"`, `"links":[]`, `"from":"hello@olive.example"`, `"subject":"123 456 is`, `"at":"2026-11-22T12:00:01Z"`} {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s is not in %s", part, text)
			}
		}
		got, found, err := again.Get(t.Context(), letters[1].ID)
		if err != nil || !found || got.HTML == "" || got.Text != letters[1].Text {
			t.Errorf("%+v, %t, %v", got, found, err)
		}
		if _, found, err := again.Get(t.Context(), "msg_none"); found || err != nil {
			t.Errorf("%t, %v", found, err)
		}
		if only, err := again.List(t.Context(), "ana@example.com", "", 10); err != nil || len(only) != 1 {
			t.Errorf("%+v, %v", only, err)
		}
		if next, err := again.List(t.Context(), "", letters[0].ID, 10); err != nil || len(next) != 1 || next[0].ID != letters[1].ID {
			t.Errorf("%+v, %v", next, err)
		}

		// The same message twice is one; and the inbox stays small.
		for i := range inboxKeeps + 5 {
			m := Mail{ID: id.Message(fmt.Sprintf("msg_%026d", i)), Tenant: tenantA, To: "cli@example.com", At: noon}
			w.must(inbox.Send(t.Context(), m))
			if i == 0 {
				w.must(inbox.Send(t.Context(), m))
			}
		}
		all, err := again.List(t.Context(), "", "", inboxKeeps)
		if err != nil || len(all) != inboxKeeps {
			t.Errorf("%d are kept, %v", len(all), err)
		}
	})
}
