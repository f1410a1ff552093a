// Package route is the shape in which a surface says which requests it
// answers. It knows no surface; internal/server mounts what they list.
package route

import (
	"net/http"

	"github.com/cardea-id/cardea/internal/tenant"
)

// Handler answers a request that was addressed to tenant t.
type Handler func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant)

// Route is one kind of request that a surface answers.
type Route struct {
	Method  string // "GET", "POST"; a GET answers HEAD too; "" answers what no other route of the pattern does
	Pattern string // the path within the tenant, as http.ServeMux reads it: "/authorize", "/theme/{hash}"
	// Cookies says that the route acts on the tenant's cookies. Such a route
	// refuses cross-origin requests that are not plain navigation; protocol
	// endpoints that read no cookie stay outside that protection.
	Cookies bool
	// Form says that the route takes a form that a person posts. So many are
	// taken of one network; one more is answered by a page.
	Form   bool
	Handle Handler
}
