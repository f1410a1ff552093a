package mailcheck_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/mailcheck"
)

// zone answers from a map. What it has not is not there; "!" fails.
type zone map[string][]string

func (z zone) lookup(kind, name string) ([]string, error) {
	found, has := z[kind+" "+name]
	if !has {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	if len(found) == 1 && found[0] == "!" {
		return nil, errors.New("server failure")
	}
	return found, nil
}

func (z zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	return z.lookup("TXT", name)
}

func (z zone) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	found, err := z.lookup("MX", name)
	var list []*net.MX
	for _, host := range found {
		list = append(list, &net.MX{Host: host, Pref: 10})
	}
	return list, err
}

func key(t *testing.T, bits int) string {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func TestVerdicts(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	long, short := key(t, 2048), key(t, 1024)
	const d, sel, pol = "TXT mail.olive.example", "TXT s1._domainkey.mail.olive.example", "TXT _dmarc.mail.olive.example"
	for name, test := range map[string]struct {
		record string
		zone   zone
		want   mailcheck.Verdict
		says   string
	}{
		"spf ok":                 {"SPF", zone{d: {"other", "v=spf1 include:provider.example ~all"}}, mailcheck.OK, "which servers"},
		"spf redirect":           {"SPF", zone{d: {"v=spf1 redirect=_spf.olive.example"}}, mailcheck.OK, ""},
		"spf missing":            {"SPF", zone{d: {"v=spf10 -all"}}, mailcheck.Missing, `"v=spf1 include:provider.example ~all"`},
		"spf nothing":            {"SPF", zone{}, mailcheck.Missing, ""},
		"spf twice":              {"SPF", zone{d: {"v=spf1 -all", "v=spf1 ~all"}}, mailcheck.Weak, "more than one"},
		"spf everybody":          {"SPF", zone{d: {"v=spf1 include:provider.example +all"}}, mailcheck.Weak, "every server"},
		"spf no end":             {"SPF", zone{d: {"v=spf1 include:provider.example"}}, mailcheck.Weak, "~all"},
		"spf without deliverer":  {"SPF", zone{d: {"v=spf1 mx -all"}}, mailcheck.Weak, `"v=spf1 include:provider.example mx -all"`},
		"spf fails":              {"SPF", zone{d: {"!"}}, mailcheck.Unknown, "looked up"},
		"dkim ok":                {"DKIM", zone{sel: {"v=DKIM1; k=rsa; p=" + long[:100] + " " + long[100:]}}, mailcheck.OK, "s1"},
		"dkim ed25519":           {"DKIM", zone{sel: {"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}}, mailcheck.OK, ""},
		"dkim second":            {"DKIM", zone{strings.Replace(sel, "s1", "s2", 1): {"k=rsa; p=" + long}}, mailcheck.OK, "s2"},
		"dkim short":             {"DKIM", zone{sel: {"v=DKIM1; p=" + short}}, mailcheck.Weak, "1024 bits"},
		"dkim broken":            {"DKIM", zone{sel: {"v=DKIM1; p=x"}}, mailcheck.Weak, "cannot be read"},
		"dkim withdrawn":         {"DKIM", zone{sel: {"v=DKIM1; p="}}, mailcheck.Missing, "withdrawn"},
		"dkim missing":           {"DKIM", zone{}, mailcheck.Missing, "s1._domainkey.mail.olive.example"},
		"dkim fails":             {"DKIM", zone{sel: {"!"}}, mailcheck.Unknown, ""},
		"dmarc ok":               {"DMARC", zone{pol: {"v=DMARC1; p=reject; rua=mailto:x@olive.example"}}, mailcheck.OK, ""},
		"dmarc from above":       {"DMARC", zone{"TXT _dmarc.olive.example": {"v=DMARC1;p=quarantine"}}, mailcheck.OK, "olive.example: "},
		"dmarc above lets below": {"DMARC", zone{"TXT _dmarc.olive.example": {"v=DMARC1;p=reject;sp=none"}}, mailcheck.Weak, "none"},
		"dmarc none":             {"DMARC", zone{pol: {"v=DMARC1; p=none"}}, mailcheck.Weak, "quarantine"},
		"dmarc part":             {"DMARC", zone{pol: {"v=DMARC1; p=reject; pct=10"}}, mailcheck.Weak, "10 %"},
		"dmarc twice":            {"DMARC", zone{pol: {"v=DMARC1; p=reject", "v=DMARC1; p=none"}}, mailcheck.Weak, "more than one"},
		"dmarc missing":          {"DMARC", zone{}, mailcheck.Missing, "_dmarc.mail.olive.example. TXT"},
		"mx ok":                  {"MX", zone{"MX mail.olive.example": {"mx.olive.example."}}, mailcheck.OK, "mx.olive.example."},
		"mx null":                {"MX", zone{"MX mail.olive.example": {"."}}, mailcheck.Weak, "RFC 7505"},
		"mx missing":             {"MX", zone{}, mailcheck.Weak, "takes no mail"},
		"mx fails":               {"MX", zone{"MX mail.olive.example": {"!"}}, mailcheck.Unknown, ""},
	} {
		for _, f := range mailcheck.Check(t.Context(), test.zone, mailcheck.Sender{Domain: "mail.olive.example", Include: "provider.example", Selectors: []string{"s1", "s2"}}) {
			if f.Record != test.record {
				continue
			}
			if text := f.Found + f.Means + f.Add; f.Verdict != test.want || !strings.Contains(text, test.says) || f.Means == "" {
				t.Errorf("%s: %+v", name, f)
			}
			if (f.Verdict == mailcheck.OK) != (f.Add == "") && f.Verdict == mailcheck.OK {
				t.Errorf("%s: nothing is to be added: %+v", name, f)
			}
		}
	}
	if f := mailcheck.Check(t.Context(), zone{}, mailcheck.Sender{Domain: "olive.example"})[1]; f.Verdict != mailcheck.Unknown || !strings.Contains(f.Means, "mail.dkim_selectors") {
		t.Errorf("%+v", f)
	}
}
