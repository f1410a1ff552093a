package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/tenant"
	"github.com/cardea-id/cardea/internal/tracing"
)

// call is one request of an operation.
type call struct {
	tenant  *tenant.Tenant // that the path names; nil where it names none
	actor   string         // as events name him
	subject string
	holding operator.Holding // what he may do now
	err     error            // what the handler returned
}

type contextKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(contextKey{}).(*call) }

// tenantOf is the tenant that the path of the present request names.
func tenantOf(ctx context.Context) *tenant.Tenant { return callOf(ctx).tenant }

// actor is who acts in the present request, as events name him.
func actor(ctx context.Context) string { return callOf(ctx).actor }

// adapter mounts what huma registers, behind the pipeline.
type adapter struct{ a *api }

func (ad adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { ad.a.mux.ServeHTTP(w, r) }

func (ad adapter) Handle(registered *huma.Operation, handle func(huma.Context)) {
	o, ours := registered.Metadata[operationKey].(operation)
	if !ours {
		panic("adminapi: " + registered.Path + " was not declared")
	}
	ad.a.declared = append(ad.a.declared, registered)
	ad.a.mux.HandleFunc(registered.Method+" "+registered.Path, func(w http.ResponseWriter, r *http.Request) {
		ad.a.begin(w, &r)
		defer ad.a.follow(&r, registered)()
		if err := ad.a.pipeline(w, r, o, registered, handle); err != nil {
			ad.a.problems.Write(w, r, fault(err, ad.a.Clock.Now()))
		}
	})
}

// begin gives a request its id, and its answer what every answer has.
func (a *api) begin(w http.ResponseWriter, r **http.Request) {
	request := id.New[id.Request](a.Clock.Now(), a.Random)
	*r = (*r).WithContext(id.WithRequest((*r).Context(), request))
	w.Header().Set("X-Request-Id", string(request))
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// follow notes which operation a request is for, for whoever is asked about its
// error or looks at its trace. What it returns is called at the end: on the
// socket there is nobody else who keeps errors.
func (a *api) follow(r **http.Request, registered *huma.Operation) (end func()) {
	name := registered.Method + " " + registered.Path
	tracing.Of((*r).Context()).Name(name)
	trail := explain.Of((*r).Context())
	if end = func() {}; trail == nil {
		var ctx context.Context
		ctx, trail = explain.With((*r).Context())
		*r = (*r).WithContext(ctx)
		end = func() { a.Explanations.Note(trail, "operators") }
	}
	trail.At(name, "")
	return end
}

// pipeline is what every operation has in common: no handler runs without it.
// It has answered, unless it returns an error.
func (a *api) pipeline(w http.ResponseWriter, r *http.Request, o operation, registered *huma.Operation, handle func(huma.Context)) (err error) {
	c, err := a.admit(w, r, o)
	if err != nil {
		return err
	}
	defer func() { a.logRefused(r.Context(), c.subject, o, err) }()
	if err := parameters(r.URL.RawQuery); err != nil {
		return err
	}
	if !isText(r.URL.Path) {
		return problem.NotFound("There is nothing at this address.")
	}
	if o.streams != "" && r.URL.RawQuery != "" { // what is written as it is made cannot be refused by huma
		return badRequest("This operation takes no parameters.")
	}
	switch {
	case strings.HasPrefix(o.path, ofTenant):
		err = a.reach(r.Context(), c, o, r.PathValue("tenant"))
	case !o.anyTenants:
		err = everywhere(c)
	}
	if err != nil {
		return err
	}
	text, err := body(w, r, o, registered.RequestBody)
	if err != nil {
		return err
	}
	r = r.WithContext(context.WithValue(r.Context(), contextKey{}, c))
	r.Body = io.NopCloser(bytes.NewReader(text))
	if o.streams != "" {
		handle(humago.NewContext(registered, r, w))
		return c.err
	}
	if err := a.holdToSchema(text, o, registered.RequestBody); err != nil {
		return err
	}
	finish, replay, err := a.once(r, c, o, text)
	if err != nil {
		return err
	}
	if replay != nil {
		replay.send(w)
		return nil
	}
	kept := &kept{header: http.Header{}, status: http.StatusOK}
	ctx, committed := a.DB.WatchCommits(r.Context())
	r = r.WithContext(ctx)
	handle(humago.NewContext(registered, r, kept))
	if c.err == nil && kept.status >= 400 {
		c.err = kept.problem()
	}
	switch {
	case finish == nil:
	case c.err == nil:
		finish(kept)
	case changedNothing(c.err, committed(), a.Clock.Now()):
		finish(nil)
	}
	if c.err != nil {
		return c.err
	}
	if r.Method == get && matches(r.Header.Get("If-None-Match"), kept.header.Get("ETag")) {
		w.Header().Set("ETag", kept.header.Get("ETag"))
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	kept.send(w)
	return nil
}

// matches tells whether a list of ETags has one (RFC 9110, section 13.1.2).
func matches(list, tag string) bool {
	if tag == "" {
		return false
	}
	for _, one := range strings.Split(list, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == tag || one == "*" {
			return true
		}
	}
	return false
}

// isText tells whether a database takes it as text: UTF-8 without NUL.
func isText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// parameters refuses a query that is not spelled well or names something twice.
// Unknown names are found by huma, which knows what an operation takes.
func parameters(query string) error {
	given, err := url.ParseQuery(query)
	if err != nil {
		return badRequest("The part of the address after the ? is not spelled as name=value&name=value.").Because(err)
	}
	for name, values := range given {
		if len(values) != 1 {
			return badRequest(fmt.Sprintf("The parameter %q is there more than once.", name))
		}
		if !isText(values[0]) {
			return badRequest(fmt.Sprintf("The parameter %q is no text.", name))
		}
	}
	return nil
}

// findTenant finds the tenant that a path names by id or slug.
func (a *api) findTenant(ctx context.Context, name string) (*tenant.Tenant, error) {
	if byID, err := id.Parse[id.Tenant](name); err == nil {
		return a.Tenants.ByID(ctx, byID)
	}
	return a.Tenants.BySlug(ctx, name)
}

// body reads the whole body of a request, which must be of a type that the
// operation takes.
func body(w http.ResponseWriter, r *http.Request, o operation, wanted *huma.RequestBody) ([]byte, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, o.maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, problem.New("too-large", http.StatusRequestEntityTooLarge, "The body is too large", fmt.Sprintf("Nothing was changed. A body has %d bytes at most here.", o.maxBody))
	}
	if err != nil {
		return nil, badRequest("The body could not be read.").Because(err)
	}
	if len(text) == 0 {
		return text, nil
	}
	if wanted == nil {
		if string(bytes.TrimSpace(text)) != "{}" {
			return nil, badRequest("Nothing was changed. This operation takes no body.")
		}
		return nil, nil
	}
	if _, any := wanted.Content["*/*"]; any {
		return text, nil
	}
	given, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if _, taken := wanted.Content[given]; err != nil || !taken {
		types := slices.Sorted(maps.Keys(wanted.Content))
		return nil, problem.New("unsupported-type", http.StatusUnsupportedMediaType, "The body is of another type", "Nothing was changed. Send "+strings.Join(types, " or ")+".")
	}
	if given == "application/json" || strings.HasSuffix(given, "+json") {
		if !json.Valid(text) {
			return nil, badRequest("Nothing was changed. The body is not one JSON value.")
		}
		twice, err := duplicate(text)
		if errors.Is(err, errNames) {
			return nil, badRequest(fmt.Sprintf("Nothing was changed. The body has more than %d names in it.", maxNames)).Because(err)
		}
		if err == nil && twice != "" {
			return nil, badRequest(fmt.Sprintf("Nothing was changed. The body has %q twice in one object.", twice))
		}
	}
	return text, nil
}

// maxNames is how many names the objects of a body have at most, all together.
const maxNames = 10_000

var errNames = errors.New("the body has too many names")

// duplicate returns a name that an object of a JSON text has twice, "" when
// there is none. Readers of JSON differ in which one they take.
func duplicate(text []byte) (string, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	type level struct {
		seen map[string]bool // nil in an array
		name bool            // whether a name comes next
	}
	var open []*level
	for names := 0; ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		var in *level
		if len(open) > 0 {
			in = open[len(open)-1]
		}
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			open = open[:len(open)-1]
			continue
		}
		if in != nil && in.seen != nil {
			if name, ok := token.(string); ok && in.name {
				if in.seen[name] {
					return name, nil
				}
				if names++; names > maxNames {
					return "", errNames
				}
				in.seen[name], in.name = true, false
				continue
			}
			in.name = true
		}
		switch token {
		case json.Delim('{'):
			open = append(open, &level{seen: map[string]bool{}, name: true})
		case json.Delim('['):
			open = append(open, &level{})
		}
	}
}

// kept is an answer that waits until it is known to be the right one.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(p []byte) (int, error) { return k.body.Write(p) }

func (k *kept) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), k.header)
	w.WriteHeader(k.status)
	_, _ = w.Write(k.body.Bytes()) // nobody is left to tell when it fails
}

// problem tells in our form what huma has refused in its own.
func (k *kept) problem() error {
	var refusal huma.ErrorModel
	if err := json.Unmarshal(k.body.Bytes(), &refusal); err != nil || refusal.Status >= 500 {
		return fmt.Errorf("huma answered %d: %s", k.status, k.body.Bytes())
	}
	for _, e := range refusal.Errors {
		where, pointer, _ := strings.Cut(e.Location, ".")
		switch {
		case strings.HasPrefix(where, "body"):
			return notOurJSON(e.Message)
		case e.Message == "unknown query parameter":
			return badRequest(fmt.Sprintf("The parameter %q is not known here.", pointer))
		default:
			return badRequest(fmt.Sprintf("The parameter %s is not taken: %s.", pointer, e.Message))
		}
	}
	return badRequest("Nothing was changed. This operation needs a body.")
}

func notOurJSON(why string) *problem.Error {
	return badRequest("Nothing was changed. The body is not the JSON that is taken here: " + why + ".")
}

// maxFaults is how many mistakes of a body are told.
const maxFaults = 50

// holdToSchema refuses a body that is not as its type wants it. huma is not
// asked to: what it answers repeats the whole object beside each mistake in it,
// so that a body of one megabyte would be answered with gigabytes.
func (a *api) holdToSchema(text []byte, o operation, wanted *huma.RequestBody) error {
	if len(text) == 0 || o.body != nil || wanted == nil || wanted.Content["application/json"] == nil {
		return nil
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return notOurJSON(err.Error()).Because(err)
	}
	var found huma.ValidateResult
	at := huma.NewPathBuffer(make([]byte, 0, 128), 0)
	huma.Validate(a.huma.OpenAPI().Components.Schemas, wanted.Content["application/json"].Schema, at, huma.ModeWriteToServer, value, &found)
	if len(found.Errors) == 0 {
		return nil
	}
	var fields []problem.Field
	for _, err := range found.Errors {
		if detail, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			place := detail.Location
			if place != "" && !strings.HasPrefix(place, "[") {
				place = "." + place
			}
			fields = append(fields, field(place, detail.Message))
		}
	}
	slices.SortFunc(fields, func(a, b problem.Field) int { return strings.Compare(a.Pointer, b.Pointer) })
	return problem.InvalidInput(fields[:min(len(fields), maxFaults)]...)
}

// field turns a place such as ".identifiers[0].value" into a JSON Pointer, and
// what huma says of it into our words.
func field(place, message string) problem.Field {
	pointer := strings.NewReplacer("~", "~0", "/", "~1", "[", "/", "]", "", ".", "/").Replace(place)
	if name, missing := strings.CutPrefix(message, "expected required property "); missing {
		return problem.Field{Pointer: pointer + "/" + strings.TrimSuffix(name, " to be present"), Detail: "is missing"}
	}
	if message == "unexpected property" {
		message = "is not known here"
	}
	return problem.Field{Pointer: pointer, Detail: message}
}
