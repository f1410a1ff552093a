package notify

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/i18n"
)

// A brand's own words in messages are data: {Name} stands for a fact, and
// nothing else in them means anything. What a message says of the event, and
// what to do if it wasn't you, stays the program's own.

// mayMention are the facts that a message's texts may mention.
var mayMention = map[Template][]string{
	Code:             {"Application", "Brand", "Code", "Minutes"},
	Recovery:         {"Application", "Brand", "Code", "Minutes"},
	Welcome:          {"Application", "Brand"},
	PasswordChanged:  {"Brand"},
	AddressAdded:     {"Brand"},
	AddressChanged:   {"Brand"},
	AddressRemoved:   {"Brand"},
	Disowned:         {"Brand"},
	NewSignIn:        {"Application", "Brand"},
	Invitation:       {"Brand"},
	Locked:           {"Brand"},
	Closed:           {"Brand"},
	Reopened:         {"Brand"},
	Dormancy:         {"Brand"},
	Erasure:          {"Brand"},
	JoinOrganization: {"Brand", "Inviter", "Organization"},
}

// How long a brand's texts are at most, in characters.
const (
	longestSubject = 120
	longestButton  = 40
	longestIntro   = 600
	longestSMS     = 300
)

// codeWithin is within how many characters of the subject the code stands, so
// that a phone's notice shows it.
const codeWithin = 24

// CheckBrand tells what is wrong with who a brand's mail comes from and with
// its texts.
func (w *Words) CheckBrand(m brand.Mail) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for key, address := range map[string]string{"from_address": m.FromAddress, "reply_to": m.ReplyTo} {
		if address != "" && CheckAddress(address) != nil {
			fault("mail.%s: %q is not one e-mail address", key, address)
		}
	}
	for _, lang := range slices.Sorted(maps.Keys(m.Texts)) {
		if w.texts[lang] == nil {
			fault("mail.texts.%s: the language is not spoken here; there are %s", lang, strings.Join(w.bundle.Languages(), ", "))
			continue
		}
		for _, kind := range slices.Sorted(maps.Keys(m.Texts[lang])) {
			if !slices.Contains(Templates(), Template(kind)) {
				fault("mail.texts.%s: there is no message %q; there are %s", lang, kind, joinedTemplates())
				continue
			}
			for part, err := range CheckMailText(Template(kind), m.Texts[lang][kind]) {
				fault("mail.texts.%s.%s.%s: %w", lang, kind, part, err)
			}
		}
	}
	return errors.Join(faults...)
}

// CheckTexts tells what is wrong with who a brand's text messages come from and
// with their words.
func (w *Words) CheckTexts(s brand.SMS) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if s.Sender != "" {
		if err := CheckSender(s.Sender); err != nil {
			fault("sms.sender: %w", err)
		}
	}
	for _, lang := range slices.Sorted(maps.Keys(s.Texts)) {
		if w.texts[lang] == nil {
			fault("sms.texts.%s: the language is not spoken here; there are %s", lang, strings.Join(w.bundle.Languages(), ", "))
			continue
		}
		for _, kind := range slices.Sorted(maps.Keys(s.Texts[lang])) {
			if !slices.Contains(Templates(), Template(kind)) {
				fault("sms.texts.%s: there is no message %q; there are %s", lang, kind, joinedTemplates())
				continue
			}
			if err := CheckSMSText(Template(kind), s.Texts[lang][kind]); err != nil {
				fault("sms.texts.%s.%s: %w", lang, kind, err)
			}
		}
	}
	return errors.Join(faults...)
}

// carriesCode tells whether a message is there for the code in it.
func carriesCode(t Template) bool { return t == Code || t == Recovery }

func joinedTemplates() string {
	var names []string
	for _, t := range Templates() {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

// CheckSMSText tells what is wrong with a brand's own words in a text message.
func CheckSMSText(t Template, text string) error {
	err := checkText(t, "sms", text, longestSMS)
	if err == nil && carriesCode(t) && !strings.Contains(text, "{Code}") {
		err = errors.New("it lacks {Code}")
	}
	return err
}

// CheckMailText tells what is wrong with a brand's own words in a kind of mail,
// by part.
func CheckMailText(t Template, m brand.MailText) map[string]error {
	faults := map[string]error{}
	for part, c := range map[string]struct {
		text string
		most int
	}{
		"subject": {m.Subject, longestSubject}, "heading": {m.Heading, longestSubject}, "intro": {m.Intro, longestIntro},
		"button": {m.Button, longestButton}, "footer": {m.Footer, longestIntro},
	} {
		if c.text == "" {
			continue
		}
		if err := checkText(t, part, c.text, c.most); err != nil {
			faults[part] = err
		}
	}
	if carriesCode(t) && m.Button != "" {
		faults["button"] = errors.New("this message has no button: nobody is led from it to a page that asks for the code")
	}
	return faults
}

func checkText(t Template, part, text string, most int) error {
	if err := i18n.CheckLine(text, most); err != nil {
		return err
	}
	names, err := i18n.Placeholders(text)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains(mayMention[t], name) {
			return fmt.Errorf("it has {%s}; this message has {%s}", name, strings.Join(mayMention[t], "}, {"))
		}
	}
	if carriesCode(t) && part == "subject" {
		before, _, found := strings.Cut(text, "{Code}")
		if !found || len([]rune(before)) > codeWithin {
			return fmt.Errorf("it lacks {Code} in its first %d characters, where a phone's notice shows it", codeWithin)
		}
	}
	return nil
}

// take puts a brand's own words in the place of the program's. One that
// mentions what this message has not is not used: a sentence with a hole in it
// is worse than ours.
func (p *page) take(m brand.MailText, f facts) {
	for _, c := range []struct {
		text string
		into *string
	}{{m.Subject, &p.Subject}, {m.Heading, &p.Heading}, {m.Intro, &p.Lead}, {m.Button, &p.Action}, {m.Footer, &p.Footer}} {
		if text, whole := f.fill(c.text); whole && text != "" {
			*c.into = text
		}
	}
}

func (f facts) fill(text string) (filled string, whole bool) {
	values := map[string]string{"Application": f.Application, "Brand": f.Brand, "Code": f.Code, "Minutes": f.Minutes,
		"Inviter": f.Inviter, "Organization": f.Organization}
	whole = true
	filled = i18n.Fill(text, func(name string) (string, bool) {
		whole = whole && values[name] != ""
		return values[name], true
	})
	return strings.TrimSpace(filled), whole
}
