package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

type messageTextView struct {
	Channel  string            `json:"channel"`
	Kind     string            `json:"kind"`
	Lang     string            `json:"lang"`
	Own      bool              `json:"own"`
	Words    map[string]string `json:"words"`
	Mentions []string          `json:"mentions"`
}

type listMessageTextsCommand struct {
	ofTenant
	output
	Channel string `placeholder:"CHANNEL" help:"Of one channel only: mail or sms."`
	Lang    string `placeholder:"LANG" help:"In one language only."`
	Own     bool   `help:"Only where the brand has words of its own."`
}

func (c *listMessageTextsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	query := url.Values{}
	for name, value := range map[string]string{"channel": c.Channel, "lang": c.Lang} {
		if value != "" {
			query.Set(name, value)
		}
	}
	all, err := list[messageTextView](ctx, cl, pathTo("tenants", c.Tenant, "message-texts"), query, 0)
	if err != nil {
		return err
	}
	found := []messageTextView{}
	for _, m := range all {
		if m.Own || !c.Own {
			found = append(found, m)
		}
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, m := range found {
			whose := "Cardea's"
			if m.Own {
				whose = "the brand's"
			}
			lines = append(lines, []string{m.Channel, m.Kind, m.Lang, whose, "{" + strings.Join(m.Mentions, "} {") + "}"})
		}
		return p.table("The brand has no words of its own in messages.", []string{"CHANNEL", "MESSAGE", "LANGUAGE", "WORDS", "MAY MENTION"}, lines)
	})
}

// ofMessage names one kind of message in one language.
type ofMessage struct {
	ofTenant
	output
	Lang    string `required:"" placeholder:"LANG" help:"In which language."`
	Channel string `arg:"" help:"mail or sms."`
	Kind    string `arg:"" help:"The kind of message, such as code; list the words of messages to see which there are."`
}

func (c ofMessage) path(more ...string) string {
	return pathTo(append([]string{"tenants", c.Tenant, "message-texts", c.Channel, c.Kind, c.Lang}, more...)...)
}

type showMessageTextCommand struct{ ofMessage }

func (c *showMessageTextCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var found messageTextView
	if err := cl.call(ctx, http.MethodGet, c.path(), nil, nil, &found); err != nil {
		return err
	}
	return c.show(p, found, func() error {
		fmt.Fprintf(p.out, "# May mention {%s}. What is not here is said in Cardea's words.\n", strings.Join(found.Mentions, "}, {"))
		text, err := yaml.Marshal(found.Words)
		if err != nil {
			return fmt.Errorf("write the words: %w", err)
		}
		_, err = p.out.Write(text)
		return err
	})
}

// changesMessage is what commands have that change the words of a message.
type changesMessage struct {
	ofMessage
	Revision int64 `placeholder:"N" help:"Change them only if the brand is at this revision."`
}

func (c changesMessage) send(ctx context.Context, p *program, method string, content []byte, said string) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	header := http.Header{}
	if c.Revision != 0 {
		header.Set("If-Match", `"`+strconv.FormatInt(c.Revision, 10)+`"`)
	}
	answered, err := cl.send(ctx, method, c.path(), nil, "application/json", content, header)
	if err != nil {
		return err
	}
	var changed messageTextView
	if err := json.Unmarshal(answered, &changed); err != nil {
		return fmt.Errorf("the server's answer is not understood: %w", err)
	}
	return c.show(p, changed, func() error { return p.line(said, changed.Channel, changed.Kind, changed.Lang) })
}

type setMessageTextCommand struct {
	changesMessage
	File string `short:"f" required:"" placeholder:"FILE" help:"File with subject, heading, intro, button and footer, or with the text of a text message, in YAML or JSON; - is standard input."`
}

func (c *setMessageTextCommand) Run(ctx context.Context, p *program) error {
	words, err := p.words(c.File)
	if err != nil {
		return err
	}
	return c.send(ctx, p, http.MethodPut, words, "The %s %q is said in the brand's words in %s.")
}

// words reads a file with the words of a message.
func (p *program) words(path string) (json.RawMessage, error) {
	text, err := p.read(path)
	if err != nil {
		return nil, err
	}
	words, err := asJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return words, nil
}

type resetMessageTextCommand struct{ changesMessage }

func (c *resetMessageTextCommand) Run(ctx context.Context, p *program) error {
	return c.send(ctx, p, http.MethodDelete, nil, "The %s %q is said in Cardea's words in %s.")
}

type previewMessageCommand struct {
	ofMessage
	File   string            `short:"f" placeholder:"FILE" help:"Show it in the words of this file, and change nothing; - is standard input."`
	Sample map[string]string `placeholder:"FACT=VALUE" help:"A fact that it tells, in the place of what is made up: code, application, browser, system, network, address, organization or inviter."`
	Out    string            `short:"o" required:"" placeholder:"FILE" help:"Write it to this file, to be opened in a browser; - is standard output."`
}

func (c *previewMessageCommand) Run(ctx context.Context, p *program) error {
	body := map[string]any{}
	if c.File != "" {
		words, err := p.words(c.File)
		if err != nil {
			return err
		}
		body["words"] = words
	}
	if len(c.Sample) > 0 {
		body["sample"] = c.Sample
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var shown shownPreview
	if err := cl.call(ctx, http.MethodPost, c.path("preview"), nil, body, &shown); err != nil {
		return err
	}
	return c.write(p, shown, c.Out)
}

// shownPreview is a page or a message as customers would see it.
type shownPreview struct {
	HTML    string `json:"html"`
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text,omitempty"`
	From    string `json:"from,omitempty"`
}

// write writes a preview to a file, or to standard output.
func (o output) write(p *program, shown shownPreview, to string) error {
	content := shown.HTML
	if content == "" { // a text message is nothing but text
		content = shown.Text + "\n"
	}
	if to == "-" {
		if o.JSON {
			return p.json(shown)
		}
		_, err := fmt.Fprint(p.out, content)
		return err
	}
	if err := os.WriteFile(to, []byte(content), 0o600); err != nil {
		return err
	}
	return o.show(p, shown, func() error {
		if shown.Subject != "" {
			return p.fields("from", shown.From, "subject", shown.Subject, "written to", to)
		}
		return p.fields("written to", to)
	})
}
