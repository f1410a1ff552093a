package config

import (
	"net/mail"
	"net/url"
	"regexp"
	"strings"
)

var (
	awsRegion = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	awsTopic  = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$`)
)

// checkMessages looks at how mail and text messages are sent.
func (c *Config) checkMessages() []Fault {
	var faults []Fault
	add := func(key, problem, advice string) {
		faults = append(faults, Fault{Key: key, Problem: problem, Advice: advice})
	}
	m := c.Mail
	if m.Preset != "" {
		if c.SMTP.Host != "" {
			add("mail.preset", "is set beside smtp.host", "keep one: mail leaves one way")
		}
		if _, err := mail.ParseAddress(c.SMTP.From); err != nil {
			add("smtp.from", "is not a sender's address", "give one, as in Cardea <no-reply@example.com>; it is the sender for mail.preset too")
		}
		if m.Secret.IsZero() {
			add("mail.secret", "is missing", "set CARDEA_MAIL_SECRET to the key of the provider's API")
		}
	}
	if m.Preset == "ses" && m.KeyID == "" {
		add("mail.key_id", "is missing", "give the id of the access key whose secret is mail.secret")
	}
	if m.Preset == "ses" && !awsRegion.MatchString(m.Region) {
		add("mail.region", "is not a region", "give the region of SES, as in eu-central-1")
	}
	if m.Preset == "mailgun" && (m.Domain == "" || strings.ContainsAny(m.Domain, "/@: ")) {
		add("mail.domain", "is not a domain", "give the sending domain as Mailgun knows it, as in mg.example.com")
	}
	if m.Endpoint != "" && faultOfOrigin(m.Endpoint) {
		add("mail.endpoint", "is not an origin", "give one, as in https://api.eu.mailgun.net")
	}
	if m.HookTopic != "" && !awsTopic.MatchString(m.HookTopic) {
		add("mail.hook_topic", "is not the ARN of an SNS topic", "give one, as in arn:aws:sns:eu-central-1:123456789012:bounces")
	}
	if secret := m.HookSecret.Reveal(); secret != "" && len(secret) < 16 {
		add("mail.hook_secret", "is shorter than 16 characters", "make one with: openssl rand -base64 24")
	}
	s := c.SMS
	if s.Preset != "" && s.Sender == "" {
		add("sms.sender", "is missing", "give who text messages come from where a brand has no sender of its own")
	}
	if s.Preset != "" && s.Preset != "custom" {
		if s.Secret.IsZero() {
			add("sms.secret", "is missing", "set CARDEA_SMS_SECRET")
		}
		if s.Account == "" && s.Preset != "messagebird" {
			add("sms.account", "is missing", "give the account at the provider")
		}
		if s.URL != "" || s.Body != "" || len(s.Headers) > 0 {
			add("sms.preset", "is "+s.Preset+" with sms.url, sms.body or sms.headers", "leave those out, or set it to custom")
		}
	}
	if s.Preset == "custom" && (s.URL == "" || s.Body == "") {
		add("sms.url", "or sms.body is missing", "say how the custom provider is asked")
	}
	for _, prefix := range c.Outgoing.AllowNetworks {
		if prefix.Bits() == 0 {
			add("outgoing.allow_networks", "allows every address there is", "name the networks that have to be asked only")
		}
	}
	return faults
}

func faultOfOrigin(address string) bool {
	u, err := url.Parse(address)
	return err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http"
}
