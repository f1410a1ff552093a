package adminapi

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/tenant"
)

func (a *api) messageTextOperations() {
	const all, one = ofTenant + "/message-texts", ofTenant + "/message-texts/{channel}/{kind}/{lang}"
	declare(a, operation{
		id: "listMessageTexts", method: get, path: all, noun: messages, scope: "messages:read",
		summary:     "List the words of messages",
		description: "Each kind of mail and text message in each language that there is, and where the brand has words of its own.", errors: []int{404},
	}, a.listMessageTexts)
	declare(a, operation{
		id: "showMessageText", method: get, path: one, noun: messages, scope: "messages:read",
		summary:     "Show the words of a message",
		description: "The brand's own, and what they may mention. The version is the brand's.", errors: []int{404},
	}, a.showMessageText)
	declare(a, operation{
		id: "setMessageText", method: put, path: one, noun: messages, scope: "messages:write",
		summary:     "Set the words of a message",
		description: "They take the place of all that the brand has there. A part that is left out is said in the program's words. Texts are data: {Name} stands for a fact, and nothing else in them means anything.",
		errors:      []int{404, 409, 412},
	}, a.setMessageText)
	declare(a, operation{
		id: "resetMessageText", method: remove, path: one, noun: messages, scope: "messages:write", status: 200,
		summary:     "Take the words of a message back",
		description: "It is said in the program's words again. It may be repeated.", errors: []int{404, 409, 412},
	}, a.resetMessageText)
	declare(a, operation{
		id: "previewMessage", method: post, path: one + "/preview", noun: messages, scope: "messages:read",
		summary:     "See a message",
		description: "As it is, or in words that are tried, to a made-up customer and with the facts that you name. Nothing is changed or sent.", errors: []int{404},
	}, a.previewMessage)
}

// The channels, as paths name them.
const channelMail, channelSMS = "mail", "sms"

// MessageTextPath names one kind of message in one language.
type MessageTextPath struct {
	TenantPath
	Channel string `path:"channel" doc:"mail or sms." example:"mail"`
	Kind    string `path:"kind" doc:"The kind of message." example:"code"`
	Lang    string `path:"lang" doc:"A language that there is." example:"de"`
}

// messageWords are a brand's own words in a message.
type messageWords struct {
	Subject string `json:"subject,omitempty"`
	Heading string `json:"heading,omitempty"`
	Intro   string `json:"intro,omitempty"`
	Button  string `json:"button,omitempty"`
	Footer  string `json:"footer,omitempty" doc:"Below everything; there is none otherwise."`
	Text    string `json:"text,omitempty" doc:"Of a text message, which has nothing else."`
}

// messageTextView is what a brand says in one kind of message in one language.
type messageTextView struct {
	Channel  string          `json:"channel" enum:"mail,sms"`
	Kind     notify.Template `json:"kind"`
	Lang     string          `json:"lang"`
	Own      bool            `json:"own" doc:"Whether the brand has words of its own here."`
	Words    messageWords    `json:"words" doc:"The brand's own. What is missing is said in the program's."`
	Mentions []string        `json:"mentions" doc:"The facts that the words may mention, as {Name}."`
}

func viewOfText(t *tenant.Tenant, in MessageTextPath) messageTextView {
	m := t.Brand.MessageText(in.Channel, in.Kind, in.Lang)
	return messageTextView{in.Channel, notify.Template(in.Kind), in.Lang, !m.Empty(),
		messageWords{m.Mail.Subject, m.Mail.Heading, m.Mail.Intro, m.Mail.Button, m.Mail.Footer, m.SMS}, notify.MayMention(notify.Template(in.Kind))}
}

// key is what lists are in the order of.
func (in MessageTextPath) key() string { return in.Channel + "/" + in.Kind + "/" + in.Lang }

// messageTexts are all there are, in their order.
func (a *api) messageTexts() []MessageTextPath {
	var all []MessageTextPath
	for _, channel := range []string{channelMail, channelSMS} {
		for _, kind := range notify.Templates() {
			for _, lang := range a.Previews.MessageLanguages() {
				all = append(all, MessageTextPath{Channel: channel, Kind: string(kind), Lang: lang})
			}
		}
	}
	slices.SortFunc(all, func(x, y MessageTextPath) int { return strings.Compare(x.key(), y.key()) })
	return all
}

func (a *api) listMessageTexts(ctx context.Context, in *struct {
	TenantPath
	Paging
	Channel string `query:"channel" enum:"mail,sms" doc:"Of one channel only."`
	Lang    string `query:"lang" doc:"In one language only."`
},
) (*answer[page[messageTextView]], error) {
	var found []messageTextView
	for _, at := range a.messageTexts() {
		if at.key() > in.After && (in.Channel == "" || at.Channel == in.Channel) && (in.Lang == "" || at.Lang == in.Lang) && len(found) < in.Limit {
			found = append(found, viewOfText(tenantOf(ctx), at))
		}
	}
	key := func(v messageTextView) string {
		return MessageTextPath{Channel: v.Channel, Kind: string(v.Kind), Lang: v.Lang}.key()
	}
	return answerWith(pageOf(found, in.Limit, key, func(v messageTextView) messageTextView { return v }))
}

// known refuses a message that there is not.
func (in MessageTextPath) known(a *api) error {
	if !slices.ContainsFunc(a.messageTexts(), func(at MessageTextPath) bool { return at.key() == in.key() }) {
		return problem.NotFound("There is no such message in that language. List the words of messages to see which there are.")
	}
	return nil
}

func (a *api) showMessageText(ctx context.Context, in *struct{ MessageTextPath }) (*versioned[messageTextView], error) {
	if err := in.known(a); err != nil {
		return nil, err
	}
	return answerText(tenantOf(ctx), in.MessageTextPath)
}

func answerText(t *tenant.Tenant, in MessageTextPath) (*versioned[messageTextView], error) {
	return &versioned[messageTextView]{etag(t.Brand.Revision), viewOfText(t, in)}, nil
}

// read checks the words that are given for a message.
func (w messageWords) read(in MessageTextPath, under string) (tenant.MessageText, error) {
	m := tenant.MessageText{Channel: in.Channel, Kind: in.Kind, Lang: in.Lang}
	own := brand.MailText{Subject: w.Subject, Heading: w.Heading, Intro: w.Intro, Button: w.Button, Footer: w.Footer}
	var faults []problem.Field
	fault := func(part string, why error) {
		faults = append(faults, problem.Field{Pointer: under + "/" + part, Detail: why.Error()})
	}
	switch in.Channel {
	case channelSMS:
		m.SMS = w.Text
		if own != (brand.MailText{}) {
			fault("text", errors.New("is all that a text message has"))
		} else if err := notify.CheckSMSText(notify.Template(in.Kind), w.Text); w.Text != "" && err != nil {
			fault("text", err)
		}
	default:
		m.Mail = own
		if w.Text != "" {
			fault("text", errors.New("is there in text messages alone"))
		}
		for part, err := range notify.CheckMailText(notify.Template(in.Kind), own) {
			fault(part, err)
		}
	}
	if len(faults) == 0 && m.Empty() {
		fault("", errors.New("has no words in it; to have the message said in the program's words, take its own back"))
		faults[0].Pointer = under
	}
	if len(faults) > 0 {
		slices.SortFunc(faults, func(x, y problem.Field) int { return strings.Compare(x.Pointer, y.Pointer) })
		return m, problem.InvalidInput(faults...)
	}
	return m, nil
}

func (a *api) setMessageText(ctx context.Context, in *struct {
	MessageTextPath
	IfMatch
	Body messageWords
},
) (*versioned[messageTextView], error) {
	if err := in.known(a); err != nil {
		return nil, err
	}
	m, err := in.Body.read(in.MessageTextPath, "")
	if err != nil {
		return nil, err
	}
	return a.putMessageText(ctx, in.MessageTextPath, in.IfMatch, m)
}

func (a *api) resetMessageText(ctx context.Context, in *struct {
	MessageTextPath
	IfMatch
},
) (*versioned[messageTextView], error) {
	if err := in.known(a); err != nil {
		return nil, err
	}
	return a.putMessageText(ctx, in.MessageTextPath, in.IfMatch, tenant.MessageText{Channel: in.Channel, Kind: in.Kind, Lang: in.Lang})
}

func (a *api) putMessageText(ctx context.Context, in MessageTextPath, match IfMatch, m tenant.MessageText) (*versioned[messageTextView], error) {
	revision, err := match.revision()
	if err != nil {
		return nil, err
	}
	changed, err := a.Tenants.SetMessageText(ctx, tenantOf(ctx).ID, revision, m, actor(ctx))
	if errors.Is(err, tenant.ErrChanged) && revision != 0 {
		return nil, preconditionFailed("The brand was changed by somebody else since it was read. Nothing was changed. Read it again and repeat.")
	}
	if err != nil {
		return nil, err
	}
	return answerText(changed, in)
}

// wantedMessage is how a message is to be shown.
type wantedMessage struct {
	Words  *messageWords `json:"words,omitempty" doc:"Words to be tried, in the place of those that the brand has."`
	Sample sampleFacts   `json:"sample,omitempty" doc:"What it tells of; made up where you say nothing."`
}

// sampleFacts are what a message tells of, for somebody made up.
type sampleFacts struct {
	Code         string `json:"code,omitempty" maxLength:"20"`
	Minutes      int    `json:"minutes,omitempty" minimum:"0" maximum:"1440" doc:"For how long the code is good."`
	Application  string `json:"application,omitempty" maxLength:"100" doc:"Its name."`
	Browser      string `json:"browser,omitempty" maxLength:"100"`
	System       string `json:"system,omitempty" maxLength:"100"`
	Network      string `json:"network,omitempty" maxLength:"50" doc:"An IP address."`
	Address      string `json:"address,omitempty" maxLength:"254" doc:"That a notice is about."`
	Organization string `json:"organization,omitempty" maxLength:"100" doc:"Its name."`
	Inviter      string `json:"inviter,omitempty" maxLength:"100" doc:"A name."`
}

func (s sampleFacts) facts() notify.Sample {
	return notify.Sample{Code: s.Code, ValidFor: time.Duration(s.Minutes) * time.Minute, Application: s.Application, Browser: s.Browser, System: s.System,
		Network: s.Network, Address: s.Address, Organization: s.Organization, Inviter: s.Inviter}
}

func (a *api) previewMessage(ctx context.Context, in *struct {
	MessageTextPath
	Body *wantedMessage
},
) (_ *answer[shownPreview], err error) {
	if err := in.known(a); err != nil {
		return nil, err
	}
	t, wanted := tenantOf(ctx), wantedMessage{}
	if in.Body != nil {
		wanted = *in.Body
	}
	if wanted.Words != nil {
		m, err := wanted.Words.read(in.MessageTextPath, "/words")
		if err != nil {
			return nil, err
		}
		if t, err = a.Tenants.WithMessageText(t, m); err != nil {
			return nil, err
		}
	}
	if in.Channel == channelSMS {
		text, err := a.Previews.PreviewText(ctx, t, in.Kind, in.Lang, wanted.Sample.facts())
		if err != nil {
			return nil, err
		}
		return answerWith(shownPreview{Text: text.Text, From: text.From})
	}
	mail, err := a.Previews.PreviewMail(ctx, t, in.Kind, in.Lang, wanted.Sample.facts())
	if err != nil {
		return nil, err
	}
	return answerWith(shownPreview{HTML: mail.HTML, Subject: mail.Subject, Text: mail.Text, From: mail.FromName + " <" + mail.From + ">"})
}
