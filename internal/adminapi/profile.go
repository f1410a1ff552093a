package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

func (a *api) profileOperations() {
	const path = ofCustomer + "/profile"
	declare(a, operation{
		id: "showCustomerProfile", method: get, path: path, noun: customers, scope: "customers:read",
		summary: "Show a customer's profile", description: "As the profile schema in the tenant's settings has it. The version is the customer's.", errors: []int{404, 410},
	}, a.showProfile)
	declare(a, operation{
		id: "replaceCustomerProfile", method: put, path: path, noun: customers, scope: "customers:write",
		summary: "Replace a customer's profile", description: "The body is the whole profile: what it lacks is taken away.", errors: []int{404, 409, 410, 412},
	}, a.replaceProfile)
	declare(a, operation{
		id: "changeCustomerProfile", method: patch, path: path, noun: customers, scope: "customers:write",
		summary: "Change some of a customer's profile", description: "A JSON merge patch (RFC 7396): what it names is set, null takes away, and the rest stays as it is.",
		errors: []int{404, 409, 410, 412}, body: mergePatch(),
	}, a.changeProfile)
}

// mergePatch are the bodies of a change that is a JSON merge patch.
func mergePatch() map[string]*huma.MediaType {
	s := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
	return map[string]*huma.MediaType{"application/json": {Schema: s}, mergePatchType: {Schema: s}}
}

const mergePatchType = "application/merge-patch+json"

func answerProfile(revision int64, profile map[string]any) (*versioned[map[string]any], error) {
	if profile == nil {
		profile = map[string]any{}
	}
	return &versioned[map[string]any]{etag(revision), profile}, nil
}

func (a *api) showProfile(ctx context.Context, in *struct{ CustomerPath }) (*versioned[map[string]any], error) {
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	found, err := a.Directory.Get(ctx, tenantOf(ctx).ID, c)
	if err != nil {
		return nil, err
	}
	return answerProfile(found.Revision, found.Profile)
}

func (a *api) replaceProfile(ctx context.Context, in *struct {
	CustomerPath
	IfMatch
	Body map[string]any
},
) (*versioned[map[string]any], error) {
	return a.setProfile(ctx, in.CustomerPath, in.IfMatch, func(map[string]any) map[string]any { return in.Body })
}

func (a *api) changeProfile(ctx context.Context, in *struct {
	CustomerPath
	IfMatch
	RawBody []byte
},
) (*versioned[map[string]any], error) {
	var change map[string]any
	if err := json.Unmarshal(in.RawBody, &change); err != nil || change == nil {
		return nil, badRequest("Nothing was changed. The body is a JSON object with what is to be set, and null for what is to go.").Because(err)
	}
	return a.setProfile(ctx, in.CustomerPath, in.IfMatch, func(has map[string]any) map[string]any {
		return merged(has, change)
	})
}

// merged is a JSON object with a merge patch on it (RFC 7396, section 2).
func merged(has, change map[string]any) map[string]any {
	out := make(map[string]any, len(has))
	for name, value := range has {
		out[name] = value
	}
	for name, value := range change {
		inner, object := value.(map[string]any)
		switch {
		case value == nil:
			delete(out, name)
		case object:
			below, _ := out[name].(map[string]any)
			out[name] = merged(below, inner)
		default:
			out[name] = value
		}
	}
	return out
}

// profileAttempts is how often a change of a profile is made on top of newer
// ones, where the caller did not say which version it was meant for.
const profileAttempts = 5

// setProfile stores what wanted makes of the present profile. What is so already
// is no change.
func (a *api) setProfile(ctx context.Context, in CustomerPath, match IfMatch, wanted func(has map[string]any) map[string]any) (*versioned[map[string]any], error) {
	revision, err := match.revision()
	if err != nil {
		return nil, err
	}
	t := tenantOf(ctx)
	c, err := a.customerOf(ctx, in)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		now, profile, err := a.setProfileOnce(ctx, t, c, revision, wanted)
		switch {
		case errors.Is(err, customer.ErrChanged) && revision != 0:
			return nil, preconditionFailed("The customer was changed by somebody else since it was read. Nothing was changed. Read it again and repeat.").Because(err)
		case errors.Is(err, customer.ErrChanged) && attempt < profileAttempts:
			continue
		case err != nil:
			return nil, err
		}
		return answerProfile(now, profile)
	}
}

func (a *api) setProfileOnce(ctx context.Context, t *tenant.Tenant, c id.Customer, revision int64, wanted func(map[string]any) map[string]any) (int64, map[string]any, error) {
	found, err := a.Directory.Get(ctx, t.ID, c)
	if err != nil {
		return 0, nil, err
	}
	if revision != 0 && found.Revision != revision {
		return 0, nil, customer.ErrChanged
	}
	profile := wanted(found.Profile)
	if faults := profileFaults(t, "", profile); len(faults) > 0 {
		return 0, nil, problem.InvalidInput(faults...)
	}
	if len(profile) == 0 && len(found.Profile) == 0 || reflect.DeepEqual(profile, found.Profile) {
		return found.Revision, profile, nil
	}
	key, err := a.Directory.Key(ctx, t.ID, c)
	if err != nil {
		return 0, nil, err
	}
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) error {
		return a.Directory.SetProfile(tx, key, t.ID, c, found.Revision, profile, actor(ctx))
	})
	return found.Revision + 1, profile, err
}

// profileFaults tells what is wrong with a profile that stands below a place of
// the body.
func profileFaults(t *tenant.Tenant, under string, profile map[string]any) (faults []problem.Field) {
	if profile == nil {
		profile = map[string]any{}
	}
	for _, f := range t.Schema.Validate(profile) {
		pointer := under
		if f.Name != "" {
			pointer += "/" + f.Name
		}
		faults = append(faults, problem.Field{Pointer: pointer, Detail: f.Reason})
	}
	return faults
}
