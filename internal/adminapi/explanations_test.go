package adminapi_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

func TestExplainError(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := operate(t, i)
		shop := i.Tenant("shop", nil)
		i.Tenant("club", nil)
		app := i.Application(shop, nil)
		_, _, body, err := app.Post(i, "/token", url.Values{"grant_type": {"authorization_code"}})
		if err != nil {
			t.Fatal(err)
		}
		fault := o.json(answer{Text: body})["error_id"].(string)
		for _, path := range []string{"/admin/v1/errors/" + fault, "/admin/v1/tenants/shop/errors/" + fault, "/admin/v1/errors/" + url.PathEscape(strings.ToUpper(strings.ReplaceAll(fault[:12]+" "+fault[12:], "_", " ")))} {
			found := o.json(o.must(200, get, path, nil))
			if found["id"] != fault || found["tenant_name"] != "shop" || found["application_name"] != "Shop" || found["code"] != "invalid_request" ||
				found["reason"] != "The code is missing." || found["advice"] == "" || found["check"] != "the grant authorization_code" {
				t.Errorf("%s: %v", path, found)
			}
		}
		o.must(404, get, "/admin/v1/tenants/club/errors/"+fault, nil) // it is another tenant's
		o.must(404, get, "/admin/v1/tenants/nobody/errors/"+fault, nil)
		o.must(404, get, "/admin/v1/errors/"+string(id.New[id.Fault](i.Clock.Now(), i.Random)), nil)
		o.must(400, get, "/admin/v1/errors/nonsense", nil)
		o.must(400, get, "/admin/v1/errors/"+fault+"?x=1", nil)
		if old := o.must(404, get, "/admin/v1/errors/err_01jd0000000000000000000000", nil); !strings.Contains(old.Text, "longer ago") {
			t.Errorf("%s", old.Text)
		}
	})
}
