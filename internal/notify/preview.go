package notify

import (
	"fmt"
	"slices"
	"time"
)

// Sample are facts for a preview. What is empty is made up.
type Sample struct {
	Code         string
	ValidFor     time.Duration
	Application  string
	Browser      string
	System       string
	Network      string
	Address      string
	Organization string
	Inviter      string
}

// MayMention lists the facts that a message's texts may mention, as {Name}.
func MayMention(t Template) []string { return slices.Clone(mayMention[t]) }

// Languages lists the languages that messages are written in.
func (w *Words) Languages() []string { return w.bundle.Languages() }

// Preview puts a message with made-up facts into a brand's words.
func (w *Words) Preview(t Template, lang string, b Brand, s Sample, at time.Time) (Mail, error) {
	data, err := w.sampleOf(t, b, s, at)
	if err != nil {
		return Mail{}, err
	}
	return w.render(t, lang, b, data)
}

// PreviewText puts a text message with made-up facts into a brand's words.
func (w *Words) PreviewText(t Template, lang string, b Brand, s Sample, at time.Time) (Text, error) {
	data, err := w.sampleOf(t, b, s, at)
	if err != nil {
		return Text{}, err
	}
	return w.renderText(t, lang, b, data)
}

// sampleOf are the facts of a message that is not sent. Each message has those
// that it would have, and no others.
func (w *Words) sampleOf(t Template, b Brand, s Sample, at time.Time) (Data, error) {
	if !w.has(t) {
		return Data{}, fmt.Errorf("there is no message %q; there are %s", t, joinedTemplates())
	}
	if t == JoinOrganization {
		return Data{Organization: either(s.Organization, "Example Ltd"), Inviter: either(s.Inviter, "Ana Lopes"), Until: at.AddDate(0, 0, 7),
			Link: "https://example.com/join", At: at}, nil
	}
	d := Data{Application: either(s.Application, b.Name), Browser: either(s.Browser, "Firefox"), System: either(s.System, "Windows"), Network: s.Network,
		Address: s.Address, At: at, Until: at.AddDate(0, 0, 30)}
	if t == Invitation {
		d.Link = "https://example.com/invitation"
	}
	if carriesCode(t) {
		d.Code, d.ValidFor = either(s.Code, "123456"), s.ValidFor
		if d.ValidFor <= 0 {
			d.ValidFor = 10 * time.Minute
		}
	}
	return d, nil
}

func either(given, madeUp string) string {
	if given == "" {
		return madeUp
	}
	return given
}
