package journeytest

import (
	"crypto/rand"
	"net/netip"
	"net/url"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
)

// Browser goes through journeys with the cookies that it was given, as a
// surface and a customer do together.
type Browser struct {
	World       *World
	Binding     string // the journey cookie
	Device      string // the device cookie
	Session     string // the session cookie
	Application *application.Application
	Scopes      []string
	Hint        string
	Again       bool
	Link        string
	Target      id.Identifier
	Return      journey.Return
	Address     string // that it submits from; "" for one of its own

	View     *journey.View     // what is shown, nil once the journey has finished
	Finished *journey.Finished // how the journey ended
	Err      error             // why the last submission was refused
}

// Browser returns a browser without cookies but that of the journey.
func (w *World) Browser() *Browser {
	return &Browser{World: w, Binding: rand.Text(), Application: w.Shop, Return: journey.Return{Kind: "authorize", Params: "client_id=shop&state=xyz"}}
}

// Client is what a surface knows of the browser.
func (b *Browser) Client(t TB) journey.Client {
	t.Helper()
	address := b.Address
	if address == "" {
		address = "192.0.2.7"
	}
	client := journey.Client{
		Address: netip.MustParseAddr(address), UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
		Language: "en", Binding: b.Binding, Device: b.Device,
	}
	if b.Session != "" {
		if live, err := b.World.Sessions.Read(t.Context(), b.World.Tenant, b.Session); err == nil {
			client.Session = live
		}
	}
	return client
}

// Begin opens a journey.
func (b *Browser) Begin(t TB, name string) *Browser {
	t.Helper()
	view, err := b.World.Engine.Begin(t.Context(), b.World.Tenant, journey.Start{
		Journey: name, Return: b.Return, Application: b.Application, Scopes: b.Scopes, LoginHint: b.Hint, Again: b.Again, Link: b.Link, Target: b.Target, Client: b.Client(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.View, b.Finished, b.Err = view, nil, nil
	return b
}

// Values are the fields of a form.
func Values(pairs ...string) url.Values {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return values
}

// Submit sends a state with what was typed. A refused one leaves the browser
// where it is, with Err.
func (b *Browser) Submit(t TB, state string, values url.Values) *Browser {
	t.Helper()
	view, finished, err := b.World.Engine.Answer(t.Context(), b.World.Tenant, state, values, b.Client(t))
	b.Err = err
	if err != nil {
		return b
	}
	b.View, b.Finished = view, finished
	if finished == nil {
		return b
	}
	if finished.SessionKey != "" {
		b.Session, b.Binding = finished.SessionKey, rand.Text()
	}
	if finished.DeviceKey != "" {
		b.Device = finished.DeviceKey
	}
	return b
}

// Send answers the page that is shown.
func (b *Browser) Send(t TB, pairs ...string) *Browser {
	t.Helper()
	if b.View == nil {
		t.Fatal("nothing is shown")
	}
	b.Submit(t, b.View.State, Values(pairs...))
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	return b
}

// At is where the browser is: the kind of step that is shown, or the outcome of
// the journey.
func (b *Browser) At() string {
	switch {
	case b.Finished != nil:
		return b.Finished.Outcome
	case b.View != nil:
		return b.View.Prompt.Kind()
	}
	return ""
}

// Fault is the code of the first mistake that is shown, "" for none.
func (b *Browser) Fault() string {
	if b.View == nil || len(b.View.Errors) == 0 {
		return ""
	}
	return b.View.Errors[0].Code
}
