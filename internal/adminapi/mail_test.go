package adminapi_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

// zone knows one domain.
type zone struct{}

func (zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	if name == "shop.example" {
		return []string{"v=spf1 include:_spf.relay.example -all"}, nil
	}
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

func (zone) LookupMX(context.Context, string) ([]*net.MX, error) {
	return []*net.MX{{Host: "mx.shop.example."}}, nil
}

func TestMailIsCheckedTestedAndPreviewed(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		i.Tenant("shop", nil)
		checked := o.json(o.must(200, get, "/admin/v1/tenants/shop/mail/check", nil))
		verdicts := map[string]string{}
		for _, one := range checked["findings"].([]any) {
			f := one.(object)
			verdicts[f["record"].(string)] = f["verdict"].(string)
		}
		if checked["sender"] != "test@shop.example" || verdicts["SPF"] != "ok" || verdicts["DKIM"] != "missing" || verdicts["DMARC"] != "missing" || verdicts["MX"] != "ok" {
			t.Errorf("%v %v", checked["sender"], verdicts)
		}

		o.must(200, post, "/admin/v1/tenants/shop/mail/test", object{"to": "op@example.com", "lang": "de"})
		letters, err := i.Inbox.List(t.Context(), "op@example.com", "", 5)
		if err != nil || len(letters) != 1 || letters[0].Kind != "mail" || !strings.Contains(letters[0].Subject, "Ihr Code") {
			t.Errorf("%v %+v", err, letters)
		}
		for _, to := range []string{"", "nobody", "a@b.example, c@d.example", "a@b.example\r\nBcc: c@d.example"} {
			o.must(422, post, "/admin/v1/tenants/shop/mail/test", object{"to": to})
		}
		if told := o.items("/admin/v1/tenants/shop/events?type=mail.tested"); len(told) != 1 {
			t.Errorf("%v", told)
		}

		text := o.json(o.must(200, post, "/admin/v1/tenants/shop/brand/preview", object{"sms": "code", "lang": "en", "change": object{"sms": object{"sender": "OLIVE", "texts": object{"en": object{"code": "{Brand}: {Code}"}}}}}))
		if text["from"] != "OLIVE" || !strings.HasPrefix(text["text"].(string), "Olive & shop: 123456") {
			t.Errorf("%v", text)
		}
		o.must(400, post, "/admin/v1/tenants/shop/brand/preview", object{"sms": "code", "mail": "code"})
		o.must(200, "PUT", "/admin/v1/tenants/shop/brand", object{"sms": object{"sender": "OLIVE"}})
		if shown := o.json(o.must(200, get, "/admin/v1/tenants/shop/brand", nil)); shown["sms"].(object)["sender"] != "OLIVE" {
			t.Errorf("%v", shown["sms"])
		}
	}, func(e *server.Environment) { e.Resolver, e.Config.Mail.DKIM = zone{}, "k1" })
}
