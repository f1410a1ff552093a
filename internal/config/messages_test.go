package config_test

import (
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/config"
)

func TestHowMessagesAreSentIsChecked(t *testing.T) {
	const key = "CARDEA_ROOT_KEY_VALUE=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	postmark := []string{key, "CARDEA_MAIL_PRESET=postmark", "CARDEA_MAIL_SECRET=token", "CARDEA_SMTP_FROM=Olive <a@olive.example>"}
	twilio := []string{key, "CARDEA_SMS_PRESET=twilio", "CARDEA_SMS_ACCOUNT=AC1", "CARDEA_SMS_SECRET=shh", "CARDEA_SMS_SENDER=OLIVE"}
	for name, test := range map[string]struct {
		environ []string
		more    []string
		says    string
	}{
		"postmark":             {postmark, nil, ""},
		"no sender":            {postmark[:3], nil, "smtp.from"},
		"no key":               {append([]string{key}, postmark[1], postmark[3]), nil, "CARDEA_MAIL_SECRET"},
		"two ways":             {postmark, []string{"CARDEA_SMTP_HOST=mail.example.com"}, "keep one"},
		"ses without region":   {postmark, []string{"CARDEA_MAIL_PRESET=ses", "CARDEA_MAIL_KEY_ID=AK"}, "mail.region"},
		"ses without a key id": {postmark, []string{"CARDEA_MAIL_PRESET=ses", "CARDEA_MAIL_REGION=eu-central-1"}, "mail.key_id"},
		"mailgun":              {postmark, []string{"CARDEA_MAIL_PRESET=mailgun"}, "mail.domain"},
		"endpoint":             {postmark, []string{"CARDEA_MAIL_ENDPOINT=api.example.com/x"}, "mail.endpoint"},
		"short secret":         {postmark, []string{"CARDEA_MAIL_HOOK_SECRET=short"}, "16 characters"},
		"topic":                {postmark, []string{"CARDEA_MAIL_HOOK_TOPIC=bounces"}, "mail.hook_topic"},
		"twilio":               {twilio, nil, ""},
		"twilio no account":    {append([]string{key}, twilio[1], twilio[3], twilio[4]), nil, "sms.account"},
		"twilio no sender":     {twilio[:4], nil, "sms.sender"},
		"twilio with a URL":    {twilio, []string{"CARDEA_SMS_URL=https://x.example"}, "set it to custom"},
		"custom":               {twilio, []string{"CARDEA_SMS_PRESET=custom"}, "sms.body"},
		"everything allowed":   {twilio, []string{"CARDEA_OUTGOING_ALLOW_NETWORKS=0.0.0.0/0"}, "outgoing.allow_networks"},
	} {
		environ := append([]string{}, test.environ...)
		for _, one := range test.more {
			name, _, _ := strings.Cut(one, "=")
			for n := range environ {
				if strings.HasPrefix(environ[n], name+"=") {
					environ = append(environ[:n], environ[n+1:]...)
					break
				}
			}
			environ = append(environ, one)
		}
		_, err := config.Load(config.Options{Environ: environ})
		if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "shh") || strings.Contains(err.Error(), "token")) {
			t.Errorf("%s prints a secret: %v", name, err)
		}
	}
}
