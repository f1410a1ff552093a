package notify

import (
	netmail "net/mail"
	"strings"

	"github.com/wneessen/go-mail"
)

// compose makes the MIME message: text and its HTML twin, one recipient.
func compose(m Mail) (*mail.Msg, error) {
	for _, address := range []string{m.To, m.From} {
		if err := CheckAddress(address); err != nil {
			return nil, err
		}
	}
	message := mail.NewMsg(mail.WithNoDefaultUserAgent(), mail.WithCharset(mail.CharsetUTF8), mail.WithEncoding(mail.EncodingQP))
	message.FromMailAddress(&netmail.Address{Name: m.FromName, Address: m.From})
	if err := message.EnvelopeFrom(m.From); err != nil {
		return nil, err
	}
	message.ToMailAddress(&netmail.Address{Address: m.To})
	if m.ReplyTo != "" {
		if err := message.ReplyTo(m.ReplyTo); err != nil {
			return nil, err
		}
	}
	_, domain, _ := strings.Cut(m.From, "@")
	message.Subject(m.Subject)
	message.SetDateWithValue(m.At)
	message.SetMessageIDWithValue(string(m.ID) + "@" + domain) // the same when it is sent again, so that mailboxes can tell
	message.SetGenHeader("Auto-Submitted", "auto-generated")   // RFC 3834, section 5
	message.SetGenHeader("X-Auto-Response-Suppress", "All")
	message.SetGenHeader("Content-Language", m.Lang)
	message.SetBodyString(mail.TypeTextPlain, m.Text)
	message.AddAlternativeString(mail.TypeTextHTML, m.HTML)
	return message, nil
}
