package adminapi

import (
	"context"
	"strconv"
	"strings"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
)

// maxBody is how many bytes a body has at most, where an operation says no other.
const maxBody = 1 << 20

// afterOf reads where a page begins.
func afterOf[K id.Kind](p Paging) (after K, err error) {
	if p.After == "" {
		return "", nil
	}
	if after, err = id.Parse[K](p.After); err != nil {
		return "", badRequest("The parameter after is not what a page of this list gave as next.")
	}
	return after, nil
}

// pageOf makes a page of what was found.
func pageOf[T, V any](found []T, limit int, key func(T) string, view func(T) V) page[V] {
	p := page[V]{Items: make([]V, 0, len(found))}
	for _, x := range found {
		p.Items = append(p.Items, view(x))
	}
	if len(found) >= limit { // the next page begins after the last item of a full one
		p.Next = key(found[len(found)-1])
	}
	return p
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// revision reads the revision that the caller has read; 0 where none is named.
func (m IfMatch) revision() (int64, error) {
	if m.Match == "" || m.Match == "*" {
		return 0, nil
	}
	revision, err := strconv.ParseInt(strings.Trim(m.Match, `"`), 10, 64)
	if err != nil || revision < 1 || etag(revision) != m.Match {
		return 0, badRequest(`If-Match is the ETag that was answered, as in "3".`)
	}
	return revision, nil
}

// CustomerPath names a customer of a tenant.
type CustomerPath struct {
	TenantPath
	Customer string `path:"customer" doc:"The customer's id." example:"cus_06c1x5m8kz7v9b2n4q6r8t0w1y"`
}

// customerOf finds the customer that a path names.
func (a *api) customerOf(ctx context.Context, in CustomerPath) (id.Customer, error) {
	c, err := id.Parse[id.Customer](in.Customer)
	if err != nil {
		return "", customer.ErrNotFound
	}
	state, err := a.Directory.State(ctx, tenantOf(ctx).ID, c)
	if err == nil && !state.Found {
		err = customer.ErrNotFound
	}
	return c, err
}

func isCustomer(text string) bool {
	_, err := id.Parse[id.Customer](text)
	return err == nil
}
