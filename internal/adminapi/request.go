package adminapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	maxBody      = 1 << 20
	defaultLimit = 50
	maxLimit     = 500
)

// page is a part of a list, as it is answered.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"` // "after" of the next page; "" at the end
}

func respond(w http.ResponseWriter, status int, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // nobody is left to tell when it fails
	return nil
}

// body reads a request's body, which must be of one of the types.
func body(w http.ResponseWriter, r *http.Request, types ...string) ([]byte, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, problem.New("too-large", http.StatusRequestEntityTooLarge, "The body is too large", fmt.Sprintf("Nothing was changed. A body has %d bytes at most.", maxBody))
	}
	if err != nil {
		return nil, badRequest("The body could not be read.").Because(err)
	}
	if len(text) == 0 {
		return text, nil
	}
	given, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(types, given) {
		return nil, problem.New("unsupported-type", http.StatusUnsupportedMediaType, "The body is of another type", "Nothing was changed. Send "+strings.Join(types, " or ")+".")
	}
	return text, nil
}

// decode reads a JSON body strictly. An empty one is taken as {}.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	text, err := body(w, r, "application/json")
	if err != nil || len(text) == 0 {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return badRequest("Nothing was changed. The body is not the JSON that is taken here: " + strings.TrimPrefix(err.Error(), "json: ") + ".")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badRequest("Nothing was changed. There is something after the JSON in the body.")
	}
	return nil
}

// parameters reads the query, in which only the names given may be, once each.
func parameters(r *http.Request, names ...string) (map[string]string, error) {
	found := map[string]string{}
	for name, values := range r.URL.Query() {
		if !slices.Contains(names, name) {
			return nil, badRequest(fmt.Sprintf("The parameter %q is not known here.", name))
		}
		if len(values) != 1 {
			return nil, badRequest(fmt.Sprintf("The parameter %q is there more than once.", name))
		}
		found[name] = values[0]
	}
	return found, nil
}

// paging reads "after" and "limit".
func paging[K id.Kind](given map[string]string) (after K, limit int, err error) {
	if text := given["after"]; text != "" {
		if after, err = id.Parse[K](text); err != nil {
			return "", 0, badRequest("The parameter after is not what a page of this list gave as next.")
		}
	}
	limit, err = limitOf(given)
	return after, limit, err
}

func limitOf(given map[string]string) (int, error) {
	text, there := given["limit"]
	if !there {
		return defaultLimit, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxLimit {
		return 0, badRequest(fmt.Sprintf("The parameter limit is a number from 1 to %d.", maxLimit))
	}
	return limit, nil
}

// next is where the next page begins: after the last item of a full page.
func next[T any](items []T, limit int, key func(T) string) string {
	if len(items) < limit {
		return ""
	}
	return key(items[len(items)-1])
}

// tenantOf finds the tenant that a path names by id or slug.
func (a *api) tenantOf(r *http.Request) (*tenant.Tenant, error) {
	name := r.PathValue("tenant")
	if byID, err := id.Parse[id.Tenant](name); err == nil {
		return a.Tenants.ByID(r.Context(), byID)
	}
	return a.Tenants.BySlug(r.Context(), name)
}

// customerOf finds the tenant and the customer that a path names.
func (a *api) customerOf(r *http.Request) (*tenant.Tenant, id.Customer, error) {
	t, err := a.tenantOf(r)
	if err != nil {
		return nil, "", err
	}
	c, err := id.Parse[id.Customer](r.PathValue("customer"))
	if err != nil {
		return nil, "", customer.ErrNotFound
	}
	state, err := a.Directory.State(r.Context(), t.ID, c)
	if err == nil && !state.Found {
		err = customer.ErrNotFound
	}
	return t, c, err
}
