package adminapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const messageTexts = "/admin/v1/tenants/shop/message-texts"

// TestMessageTexts: one message's words are read, set, seen and taken back, and
// nothing else of the brand changes by it.
func TestMessageTexts(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		i.Tenant("shop", nil)
		o.must(200, put, "/admin/v1/tenants/shop/brand", object{"mail": object{"reply_to": "help@shop.example", "texts": object{"de": object{"welcome": object{"heading": "Hallo"}}}}})
		const code = messageTexts + "/mail/code/de"
		own := object{"subject": "{Code} für {Brand}", "footer": "Olive GmbH"}

		before := o.must(200, get, code, nil)
		if shown := o.json(before); shown["own"] != false || before.Header.Get("ETag") != `"2"` || fmt.Sprint(shown["mentions"]) != "[Application Brand Code Minutes]" {
			t.Errorf("%s %s", before.Header.Get("ETag"), before.Text)
		}
		set := o.send(put, code, "application/json", mustJSON(t, own), "If-Match", `"2"`)
		if shown := o.json(set); set.Status != 200 || set.Header.Get("ETag") != `"3"` || shown["own"] != true || fmt.Sprint(shown["words"]) != fmt.Sprint(own) {
			t.Fatalf("%d %s", set.Status, set.Text)
		}
		// Who has read an older brand changes nothing; the same words again are no change.
		for _, method := range []string{put, remove} {
			body, kind := mustJSON(t, own), "application/json"
			if method == remove {
				body, kind = "", ""
			}
			if a := o.send(method, code, kind, body, "If-Match", `"2"`); a.Status != 412 {
				t.Errorf("%s over a newer one: %d %s", method, a.Status, a.Text)
			}
		}
		if again := o.must(200, put, code, own); again.Header.Get("ETag") != `"3"` {
			t.Errorf("the same again made %s", again.Header.Get("ETag"))
		}
		if shown := o.json(o.must(200, post, code+"/preview", nil)); shown["subject"] != "123 456 für Olive & shop" || !strings.Contains(shown["html"].(string), "Olive GmbH") || !strings.Contains(shown["text"].(string), "Olive GmbH") {
			t.Errorf("%v", shown)
		}
		// A letter that is sent says the same.
		o.must(200, post, "/admin/v1/tenants/shop/mail/test", object{"to": "op@example.com", "lang": "de"})
		if letters, err := i.Inbox.List(t.Context(), "op@example.com", "", 5); err != nil || len(letters) != 1 || letters[0].Subject != "123 456 für Olive & shop" {
			t.Errorf("%v %+v", err, letters)
		}
		brand := o.json(o.must(200, get, "/admin/v1/tenants/shop/brand", nil))["mail"].(object)
		if brand["reply_to"] != "help@shop.example" || brand["texts"].(object)["de"].(object)["welcome"].(object)["heading"] != "Hallo" {
			t.Errorf("something else was changed: %v", brand)
		}

		// Tried words and facts show, and are not kept.
		tried := o.json(o.must(200, post, code+"/preview", object{"words": object{"subject": "{Code}!", "intro": "Für {Application}, {Minutes} Minuten."},
			"sample": object{"code": "987654", "application": "<b>Club</b>", "minutes": 3}}))
		if tried["subject"] != "987 654!" || !strings.Contains(tried["html"].(string), "Für &lt;b&gt;Club&lt;/b&gt;, 3 Minuten.") || strings.Contains(tried["html"].(string), "<b>Club") || strings.Contains(tried["text"].(string), "Olive GmbH") {
			t.Errorf("%v", tried)
		}
		const join = messageTexts + "/mail/join_organization/en/preview"
		if joined := o.json(o.must(200, post, join, object{"sample": object{"organization": "Acme Ltd", "inviter": "Bea"}})); !strings.Contains(joined["text"].(string), "Acme Ltd") || !strings.Contains(joined["text"].(string), "Bea") {
			t.Errorf("%v", joined)
		}
		if now := o.must(200, get, code, nil); now.Header.Get("ETag") != `"3"` || now.Text != set.Text {
			t.Errorf("a preview changed it: %s", now.Text)
		}

		// As a text message.
		const sms = messageTexts + "/sms/code/en"
		o.must(200, put, sms, object{"text": "{Brand}: {Code}"})
		if shown := o.json(o.must(200, post, sms+"/preview", nil)); shown["text"] != "Olive & shop: 123456" || shown["html"] != "" {
			t.Errorf("%v", shown)
		}

		// Taken back, twice.
		for range 2 {
			if back := o.json(o.must(200, remove, code, nil)); back["own"] != false || fmt.Sprint(back["words"]) != "map[]" {
				t.Errorf("%v", back)
			}
		}
		if shown := o.json(o.must(200, post, code+"/preview", nil)); !strings.Contains(shown["subject"].(string), "ist Ihr Code") {
			t.Errorf("%v", shown)
		}
		if set, reset := o.items("/admin/v1/tenants/shop/events?type=brand.message.set"), o.items("/admin/v1/tenants/shop/events?type=brand.message.reset"); len(set) != 2 || len(reset) != 1 || set[0]["actor"] != "operator" {
			t.Errorf("%v %v", set, reset)
		}
	})
}

// TestMessageTextsAreRefused: with a pointer to what is wrong, and nothing is
// kept of it. Looking at words holds them to the same.
func TestMessageTextsAreRefused(t *testing.T) {
	o := operate(t, shop(t))
	for _, c := range []struct {
		at      string
		words   object
		pointer string
	}{
		{"mail/code/de", object{"subject": "Ihr Code"}, "/subject"},
		{"mail/code/de", object{"subject": "Hier kommt er nun endlich, Ihr {Code}"}, "/subject"},
		{"mail/code/de", object{"button": "Los"}, "/button"},
		{"mail/code/de", object{"intro": "Für {Password}"}, "/intro"},
		{"mail/welcome/de", object{"intro": "Ihr {Code}"}, "/intro"},
		{"mail/welcome/de", object{"heading": "Hallo\r\nBcc: x@evil.example"}, "/heading"},
		{"mail/welcome/de", object{"heading": strings.Repeat("a", 10_000)}, "/heading"},
		{"mail/welcome/de", object{"text": "Hallo"}, "/text"},
		{"sms/code/de", object{"text": "Ihr Code"}, "/text"},
		{"sms/code/de", object{"subject": "{Code}"}, "/text"},
		{"mail/welcome/de", object{}, ""},
	} {
		a := o.must(422, put, messageTexts+"/"+c.at, c.words)
		if found := o.json(a)["errors"].([]any)[0].(object)["pointer"]; found != c.pointer {
			t.Errorf("%s %v: %v, not %s", c.at, c.words, found, c.pointer)
		}
		a = o.must(422, post, messageTexts+"/"+c.at+"/preview", object{"words": c.words})
		if found := o.json(a)["errors"].([]any)[0].(object)["pointer"]; found != "/words"+c.pointer {
			t.Errorf("preview of %s %v: %v", c.at, c.words, found)
		}
	}
	o.must(422, put, messageTexts+"/mail/code/de", object{"subject": "{Code}", "html": "<script>"})
	for _, at := range []string{"mail/code/xx", "mail/advert/de", "fax/code/de", "mail/code/de-AT", "sms/code/..%2f"} {
		for _, method := range []string{get, put, remove} {
			var body any
			if method == put {
				body = object{"subject": "{Code}"}
			}
			o.must(404, method, messageTexts+"/"+at, body)
		}
		o.must(404, post, messageTexts+"/"+at+"/preview", nil)
	}
	if shown := o.json(o.must(200, get, "/admin/v1/tenants/shop/brand", nil)); shown["revision"] != 1.0 {
		t.Errorf("something was changed: %v", shown)
	}
}

func shop(t *testing.T) *servertest.Installation {
	i := servertest.New(t, sqldb.SQLite)
	i.Tenant("shop", nil)
	return i
}

// TestMessageTextsArePaged: each is there once, and those of the brand say so.
func TestMessageTextsArePaged(t *testing.T) {
	o := operate(t, shop(t))
	o.must(200, put, messageTexts+"/mail/welcome/ar", object{"heading": "{Brand}"})
	seen, own := map[string]bool{}, 0
	for after := ""; ; {
		page := o.json(o.must(200, get, messageTexts+"?limit=7"+after, nil))
		for _, item := range page["items"].([]any) {
			m := item.(object)
			key := fmt.Sprint(m["channel"], " ", m["kind"], " ", m["lang"])
			if seen[key] {
				t.Errorf("%s twice", key)
			}
			seen[key] = true
			if m["own"] == true {
				own++
			}
		}
		next, more := page["next"].(string)
		if !more {
			break
		}
		after = "&after=" + url.QueryEscape(next)
	}
	if want := 2 * 3 * len(notify.Templates()); len(seen) != want || own != 1 {
		t.Errorf("%d, not %d; %d of the brand", len(seen), want, own)
	}
	if some := o.items(messageTexts + "?channel=sms&lang=de&limit=500"); len(some) != len(notify.Templates()) {
		t.Errorf("%d", len(some))
	}
	o.must(400, get, messageTexts+"?channel=fax", nil)
}

// TestMessageTextsConcurrent: of words that are set at once, none are lost.
func TestMessageTextsConcurrent(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		i.Tenant("shop", nil)
		var all sync.WaitGroup
		kinds := []string{"welcome", "locked", "closed", "reopened"}
		for _, kind := range kinds {
			all.Go(func() {
				if a := o.do(put, messageTexts+"/mail/"+kind+"/en", object{"heading": kind}); a.Status != 200 {
					t.Errorf("%s: %d %s", kind, a.Status, a.Text)
				}
			})
		}
		all.Wait()
		for _, kind := range kinds {
			if shown := o.json(o.must(200, get, messageTexts+"/mail/"+kind+"/en", nil)); shown["words"].(object)["heading"] != kind {
				t.Errorf("%s was lost: %v", kind, shown)
			}
		}
	})
}

// TestWaitingMessages: what has not left is listed, without what it says and
// whom to.
func TestWaitingMessages(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		who := i.Customer(shop, "ana@example.com", "")
		key, err := i.Directory.Key(t.Context(), shop.ID, who)
		if err != nil {
			t.Fatal(err)
		}
		err = i.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			err := i.Outbox.Enqueue(tx, notify.Message{Tenant: shop.ID, Brand: shop.Brand.ID, Customer: who, Key: key, Handle: []byte("handle"), To: "ana@example.com",
				Template: notify.Code, Lang: "en", Data: notify.Data{Code: "271828"}})
			if err == nil { // not before an hour, as after several attempts
				_, err = tx.Exec(`UPDATE notify_outbox SET due_at = $2, attempts = 3, reason = 'smtp_451' WHERE tenant = $1`, shop.ID, tx.Now().Add(time.Hour))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		a := o.must(200, get, "/admin/v1/tenants/shop/waiting", nil)
		m := o.json(a)["items"].([]any)[0].(object)
		if m["template"] != "code" || m["customer"] != string(who) || m["attempts"] != 3.0 || m["reason"] != "smtp_451" || strings.Contains(a.Text, "271828") || strings.Contains(a.Text, "ana@") {
			t.Errorf("%s", a.Text)
		}
		if more := o.items("/admin/v1/tenants/shop/waiting?after=" + m["id"].(string)); len(more) != 0 {
			t.Errorf("%v", more)
		}
		i.Tenant("club", nil)
		if others := o.items("/admin/v1/tenants/club/waiting"); len(others) != 0 {
			t.Errorf("%v", others)
		}
	})
}
