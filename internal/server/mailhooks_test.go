package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/config"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

const hookSecret = "a secret of the mail relay"

func withHooks(e *server.Environment) { e.Config.Mail.HookSecret = config.NewSecret(hookSecret) }

// report tells the installation of mail that came back.
func (h *house) report(token, tenant, address string, at time.Time) (int, string) {
	h.t.Helper()
	body, err := json.Marshal(map[string]any{"tenant": tenant, "address": address, "reason": "bounced", "at": at})
	if err != nil {
		h.t.Fatal(err)
	}
	status, _, text := send(h.t, http.MethodPost, h.Base+"/hooks/mail/generic", string(body), http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}})
	return status, text
}

// flagged is why messages to ana's address come back.
func (h *house) flagged() string {
	h.t.Helper()
	found, err := h.Directory.Get(h.t.Context(), h.tenant.ID, h.ana)
	if err != nil {
		h.t.Fatal(err)
	}
	return found.Identifiers[0].Undeliverable
}

// Mail that came back flags its address, with an event; nothing else changes it,
// strangers see no difference, and a code that comes back clears it.
func TestMailThatComesBackFlagsTheAddress(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		other := i.Tenant("other", nil)
		b, _ := h.signIn() // from now on ana's browser
		i.Clock.Advance(time.Minute)
		now := i.Clock.Now()
		before := i.Count()
		for name, told := range map[string]struct {
			token, tenant, address string
			status                 int
		}{
			"no secret":        {"", string(h.tenant.ID), anaMail, 401},
			"another secret":   {"another", string(h.tenant.ID), anaMail, 401},
			"nobody's address": {hookSecret, string(h.tenant.ID), "nobody@shop.example", 204},
			"no address":       {hookSecret, string(h.tenant.ID), "a@b@c, d", 204},
			"another tenant":   {hookSecret, string(other.ID), anaMail, 204},
			"no tenant":        {hookSecret, "ten_x", anaMail, 204},
			"a lookalike":      {hookSecret, string(h.tenant.ID), "anа@shop.example", 204},
		} {
			if status, text := h.report(told.token, told.tenant, told.address, now); status != told.status || strings.Contains(text, "ana") || told.status == 204 && text != "" {
				t.Errorf("%s: %d %q", name, status, text)
			}
		}
		if after := i.Count(); fmt.Sprint(after) != fmt.Sprint(before) || h.flagged() != "" {
			t.Errorf("rows %v, before %v; flagged %q", after, before, h.flagged())
		}

		stranger := func() string {
			p := h.passwordPage(i.Browser(), anaMail)
			return servertest.Text(i.Browser().Answer(p, url.Values{"password": {"x"}}).Body)
		}
		unflagged := stranger()
		if status, _ := h.report(hookSecret, string(h.tenant.ID), strings.ToUpper(anaMail), now); status != 204 || h.flagged() != "bounced" {
			t.Fatalf("%d, flagged %q", status, h.flagged())
		}
		if _, _ = h.report(hookSecret, h.tenant.Slug, anaMail, now); h.count(`SELECT COUNT(*) FROM event WHERE type = 'customer.identifier.undeliverable' AND customer = $1`, h.ana) != 1 {
			t.Error("told twice, or not")
		}
		if stranger() != unflagged {
			t.Error("strangers see a difference")
		}
		// In a browser that she is known in she is told, and so is her account page.
		if page := b.Get(i.Base + h.tenant.Path + "/account/sign-in"); !strings.Contains(servertest.Text(page.Body), "came back") {
			t.Errorf("the account page says %s", servertest.Text(page.Body))
		}
		known := b.Copy()
		h.signOut(known)
		p, code := h.codePage(known, anaMail, true)
		if !strings.Contains(servertest.Text(p.Body), "came back lately") {
			t.Errorf("a known browser is told %s", servertest.Text(p.Body))
		}
		far, _ := h.codePage(i.Browser(), anaMail, false)
		if strings.Contains(servertest.Text(far.Body), "came back") {
			t.Error("a stranger is told")
		}
		known.Answer(p, url.Values{"code": {code}})
		if h.flagged() != "" || h.count(`SELECT COUNT(*) FROM event WHERE type = 'customer.identifier.delivered' AND customer = $1`, h.ana) != 1 {
			t.Errorf("after a code: %q", h.flagged())
		}
		// The old report, sent again, is of a time before that.
		if status, _ := h.report(hookSecret, string(h.tenant.ID), anaMail, now); status != 204 || h.flagged() != "" {
			t.Errorf("an old report: %d %q", status, h.flagged())
		}
		i.Clock.Advance(time.Minute)
		if _, _ = h.report(hookSecret, string(h.tenant.ID), anaMail, i.Clock.Now()); h.flagged() != "bounced" {
			t.Errorf("a new report: %q", h.flagged())
		}
	}, withHooks)
}

func TestWithoutASecretNothingIsListenedTo(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, "sqlite")
	h := newHouse(t, i, "thyme", nil)
	if status, _ := h.report("", string(h.tenant.ID), anaMail, i.Clock.Now()); status != 404 || h.flagged() != "" {
		t.Errorf("%d", status)
	}
}
