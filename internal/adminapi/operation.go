package adminapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cardea-id/cardea/internal/operator"
)

// The methods of operations, and where they are.
const (
	get    = http.MethodGet
	post   = http.MethodPost
	put    = http.MethodPut
	patch  = http.MethodPatch
	remove = http.MethodDelete

	// Root is what every path begins with.
	Root = "/admin/v1"

	ofTenant = "/tenants/{tenant}"
)

// operation is one thing that can be done: what the reference says of it, and
// what the pipeline needs to know.
type operation struct {
	id          string // for generated clients: lower camel case
	method      string
	path        string // below Root
	noun        noun
	scope       string // what a token needs
	summary     string // a few words, no full stop
	description string // what it does and what to mind
	status      int    // of success; 0 is 200, or 204 for an answer without a body
	errors      []int  // beyond those that every operation may answer with
	streams     string // the type of an answer that is written as it is made; "" for one that is JSON
	anyTenants  bool   // of what concerns several tenants the handler shows those that the operator is for
	body        map[string]*huma.MediaType
	maxBody     int64 // in bytes; 0 is maxBody
}

// failures are the statuses that the operation may be refused with.
func (o operation) failures() []int {
	all := slices.Concat(o.errors, []int{400, 401, 403, 429, 503})
	if o.method != get {
		all = append(all, http.StatusRequestEntityTooLarge)
	}
	if o.method == post || o.method == put || o.method == patch {
		all = append(all, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	}
	if o.method == post {
		all = append(all, http.StatusConflict) // the first with its Idempotency-Key is under way
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// operationKey is where huma's operation has ours.
const operationKey = "operation"

// declare mounts an operation. One that is not described, or that names no
// scope that there is, is a mistake in the program and ends it.
func declare[I, O any](a *api, o operation, do func(context.Context, *I) (*O, error)) {
	if o.id == "" || o.summary == "" || o.description == "" || !slices.ContainsFunc(nouns, func(n described) bool { return n.noun == o.noun }) {
		panic(fmt.Sprintf("adminapi: %s %s is not described", o.method, o.path))
	}
	if !operator.Known(o.scope) {
		panic(fmt.Sprintf("adminapi: %s %s names no scope that there is", o.method, o.path))
	}
	if o.maxBody == 0 {
		o.maxBody = maxBody
	}
	declared := huma.Operation{
		OperationID: o.id, Method: o.method, Path: Root + o.path, Tags: []string{string(o.noun)}, Summary: o.summary, Description: o.description,
		DefaultStatus: o.status, Security: []map[string][]string{{securityScheme: {o.scope}}},
		Errors:       o.failures(),
		MaxBodyBytes: o.maxBody, BodyReadTimeout: -1, // the pipeline has read it already
		RejectUnknownQueryParameters: true, SkipValidateBody: true, // the pipeline holds it to its schema
		Metadata: map[string]any{operationKey: o},
	}
	if o.method == post {
		most := maxIdempotencyKey
		declared.Parameters = append(declared.Parameters, &huma.Param{Name: idempotencyHeader, In: "header",
			Description: "A name of your own for this request: sent again within 24 hours, it is answered as it was and has no second effect.",
			Schema:      &huma.Schema{Type: huma.TypeString, MaxLength: &most}})
	}
	if o.streams != "" {
		declared.Responses = map[string]*huma.Response{"200": {Description: http.StatusText(http.StatusOK),
			Content: map[string]*huma.MediaType{o.streams: {Schema: &huma.Schema{Type: huma.TypeString}}}}}
	}
	if o.body != nil {
		// What the types of several media types have in common is bytes, which
		// the handler reads strictly by itself.
		declared.RequestBody = &huma.RequestBody{Required: true, Content: o.body}
	}
	huma.Register(a.huma, declared, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			callOf(ctx).err = err // the pipeline tells it
			return nil, nil       //nolint:nilnil // nothing is written then
		}
		return out, nil
	})
}

// answer is what is answered with: its body.
type answer[T any] struct {
	Body T
}

func answerWith[T any](body T) (*answer[T], error) { return &answer[T]{body}, nil }

// versioned is an answer that changes can be bound to.
type versioned[T any] struct {
	ETag string `header:"ETag" doc:"The version, for If-Match and If-None-Match."`
	Body T
}

// nothing is an answer without a body, or a request without parameters.
type nothing struct{}

// page is a part of a list, as it is answered.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"What to send as after for the next page; missing at the end."`
}

// The parameters that many operations have. They are exported because huma
// does not see into embedded types that are not.
type (
	TenantPath struct {
		Tenant string `path:"tenant" doc:"The tenant's id or its slug." example:"shop"`
	}
	Paging struct {
		After string `query:"after" doc:"What the page before gave as next."`
		Limit int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items a page has at most."`
	}
	IfMatch struct {
		Match string `header:"If-Match" doc:"The ETag that was read: the change is made only if nobody else has changed it since."`
	}
)
