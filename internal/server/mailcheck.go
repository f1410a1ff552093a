package server

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/mailcheck"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/tenant"
)

// delivers is what providers ask senders to put into their zones: whom the SPF
// record includes, and under which selectors keys usually stand.
var delivers = map[string]struct {
	include   string
	selectors []string
}{
	notify.SES:      {include: "amazonses.com"}, // three keys under names of their own
	notify.Postmark: {include: "spf.mtasv.net"}, // a key under a name with its date
	notify.SendGrid: {include: "sendgrid.net", selectors: []string{"s1", "s2"}},
	notify.Mailgun:  {include: "mailgun.org", selectors: []string{"mx", "smtp", "k1", "mailo", "pic", "pdk1", "pdk2"}},
}

// lookFor is for how long the check waits for name servers.
const lookFor = 20 * time.Second

// CheckMail implements adminapi.Mail.
func (s *Server) CheckMail(ctx context.Context, t *tenant.Tenant) (string, []mailcheck.Finding, error) {
	brand, err := s.brandOfMail(ctx, t)
	if err != nil {
		return "", nil, err
	}
	_, domain, found := strings.Cut(brand.From, "@")
	if !found {
		return "", nil, nil
	}
	usual := delivers[s.Config.Mail.Preset]
	sender := mailcheck.Sender{Domain: strings.ToLower(domain), Include: usual.include, Selectors: usual.selectors}
	if own := s.Config.Mail.SPFInclude; own != "" {
		sender.Include = own
	}
	if own := strings.Fields(s.Config.Mail.DKIM); len(own) > 0 {
		sender.Selectors = own
	}
	var resolver mailcheck.Resolver = net.DefaultResolver
	if s.Resolver != nil {
		resolver = s.Resolver
	}
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	return brand.From, mailcheck.Check(ctx, resolver, sender), nil
}

// TestMail implements adminapi.Mail.
func (s *Server) TestMail(ctx context.Context, t *tenant.Tenant, to, lang string) error {
	brand, err := s.brandOfMail(ctx, t)
	if err != nil {
		return err
	}
	return s.Outbox.Test(ctx, id.New[id.Message](s.Clock.Now(), s.Random), t.ID, brand, to, lang)
}
