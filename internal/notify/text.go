package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/i18n"
	"github.com/cardea-id/cardea/internal/id"
)

// Channel is how a message travels.
type Channel string

// The channels.
const (
	ByMail Channel = ""    // mail, to an e-mail address
	ByText Channel = "sms" // a text message, to a phone number in E.164
)

// Text is a text message in its final words, to one phone.
type Text struct {
	ID     id.Message
	Tenant id.Tenant
	From   string // the sender that phones show: a name, a number or a short code
	To     string // E.164
	Lang   string
	Text   string
	Code   string // the code in it, as it is typed; "" for none
	At     time.Time
}

// TextTransport carries text messages. What its errors mean is what a
// Transport's do.
type TextTransport interface {
	SendText(ctx context.Context, t Text) error
}

// ErrPhone says that a text is not one phone number.
var ErrPhone = errors.New("not a phone number in E.164")

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// CheckPhone accepts a number in E.164 and nothing else.
func CheckPhone(number string) error {
	if !e164.MatchString(number) {
		return ErrPhone
	}
	return nil
}

var (
	senderName   = regexp.MustCompile(`^[A-Za-z0-9 &._-]{1,11}$`)
	senderNumber = regexp.MustCompile(`^\+?[0-9]{3,15}$`)
)

// CheckSender accepts what phones show as a text message's sender: a name of at
// most eleven plain letters and digits (3GPP TS 23.040, section 9.1.2.5), or a
// number. Some providers take an account of theirs in its place.
func CheckSender(sender string) error {
	if senderNumber.MatchString(sender) || senderName.MatchString(sender) && strings.ContainsFunc(sender, isLetter) || messagingService.MatchString(sender) {
		return nil
	}
	return errors.New("a text message's sender is a name of at most 11 letters, digits, spaces and &._-, with a letter in it, or a phone number")
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// renderText puts a message into the words of a text message: one short
// paragraph and, where there is a code, a last line by which the phone offers
// to fill it in on our pages and on no others.
func (w *Words) renderText(t Template, lang string, brand Brand, d Data) (Text, error) {
	words := w.bundle.Localizer(w.bundle.Match(lang, "", ""))
	f := factsOf(words, brand, d)
	f.Code = modest(d.Code) // in one piece, as phones find it
	var text strings.Builder
	part := string(t) + ".sms"
	if w.texts[words.Lang()].Lookup(part) == nil {
		part = string(t) + ".subject"
	}
	if err := w.texts[words.Lang()].ExecuteTemplate(&text, part, f); err != nil {
		return Text{}, fmt.Errorf("putting %s into words: %w", t, err)
	}
	said := strings.TrimSpace(text.String())
	if own, whole := f.fill(brand.SMS[words.Lang()][string(t)]); whole && own != "" && d.Holder == "" {
		said = own
	}
	if link, ok := safeLink(d.Link); ok {
		said += "\n" + link
	}
	said = plainGSM(said)
	if host := hostOf(brand.AccountURL); d.Code != "" && host != "" {
		said += "\n\n@" + host + " #" + f.Code
	}
	return Text{From: brand.Sender, Lang: words.Lang(), Text: said, Code: d.Code}, nil
}

// hostOf is the host of an address, as the format of codes that are bound to an
// origin names it.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	host := u.Hostname()
	if net.ParseIP(host) != nil {
		return ""
	}
	return host
}

// factsOf are the facts that a message's sentences may mention.
func factsOf(words *i18n.Localizer, brand Brand, d Data) facts {
	f := facts{
		Brand: plain(brand.Name, 60), Application: plain(d.Application, 60), Browser: modest(d.Browser), System: modest(d.System),
		Code: spaced(d.Code, words.Dir() == "rtl"), Date: words.Date(d.At.UTC()), Clock: words.Clock(d.At.UTC()),
		Network: address(d.Network), Holder: d.Holder, Address: plain(d.Address, 254), Phone: strings.HasPrefix(d.Address, "+"), Link: d.Link != "", Staff: d.Staff,
		Organization: plain(d.Organization, 60), Inviter: plain(d.Inviter, 40),
	}
	if !d.Until.IsZero() {
		f.Until, f.UntilClock = words.Date(d.Until.UTC()), words.Clock(d.Until.UTC())
	}
	if minutes := int((d.ValidFor + time.Minute - 1) / time.Minute); minutes > 0 {
		f.Minutes, f.Plural = words.Number(minutes), i18n.Plural(words.Lang(), minutes)
	}
	return f
}
