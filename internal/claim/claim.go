// Package claim owns how operators map what is known of a customer to claims of
// their own in ID tokens, access tokens and userinfo: each mapping is a name, an
// expression in CEL and where it goes.
//
// Mappings are configuration of a tenant and of its applications. They are
// checked when they are stored (Check), compiled once for their content (Sets),
// and evaluated outside any transaction. A mapping that fails for a customer
// drops its claim and nothing else; who evaluates is told why, without a word of
// what is known of the customer.
//
// The package knows neither what a customer is nor how tokens are made: the
// caller gives it facts, and takes values.
package claim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cardea-id/cardea/internal/expr"
)

// Target is where a claim goes.
type Target string

const (
	IDToken     Target = "id_token"
	AccessToken Target = "access_token"
	UserInfo    Target = "userinfo"
)

// Targets are all of them.
var Targets = []Target{IDToken, AccessToken, UserInfo}

// Mapping is one claim of an operator's own.
type Mapping struct {
	Name     string            `json:"name" doc:"The claim's name. Those that protocols give a meaning cannot be written." example:"loyalty_tier"`
	Value    string            `json:"value" doc:"An expression in CEL over profile, identifiers, customer, grant and application." example:"profile.loyalty_points > 1000 ? 'gold' : 'green'"`
	In       []Target          `json:"in" doc:"Where it goes: id_token, access_token, userinfo."`
	Scope    string            `json:"scope,omitempty" doc:"The scope without which it does not leave." example:"profile"`
	Audience []string          `json:"audience,omitempty" doc:"Of access tokens: only those for one of these resources. Without any, all."`
	Label    map[string]string `json:"label,omitempty" doc:"By language: what the consent page calls it; without, its name."`
}

// The limits of mappings.
const (
	MaxMappings = 50                 // of a tenant, and of an application
	MaxClaim    = 1024               // bytes of one claim's value, as JSON
	MaxClaims   = 4096               // bytes of all mapped claims of one token, as JSON
	MaxCost     = 2 * expr.CostLimit // of all mappings of one token: what is left then is dropped. One that people write costs below 100
	maxName     = 200
)

// reserved are claims that protocols give a meaning (RFC 7519, RFC 8693, RFC
// 7800, OpenID Connect Core and the logout specifications; IANA's registry), or
// that say of others how they were checked. No mapping writes them.
var reserved = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "nonce", "auth_time", "acr", "amr", "azp", "at_hash", "c_hash", "s_hash", "sid",
	"client_id", "scope", "cnf", "act", "may_act", "lin", "events", "toe", "txn", "token_type", "active", "username", "sub_jwk", "sub_id",
	"_claim_names", "_claim_sources", "verified_claims", "authorization_details", "org_id", "org_name", "org_roles", "email_verified", "phone_number_verified", "updated_at",
}

// Reserved tells whether no mapping may write a claim.
func Reserved(name string) bool { return slices.Contains(reserved, name) }

// variables are what a mapping may name.
var variables = []expr.Variable{
	{Name: "profile", Type: expr.Map},              // what the customer has told, by claim name
	{Name: "identifiers", Type: expr.Map},          // verified ones by kind: email, phone, username, and those that the tenant declares
	{Name: "customer.id", Type: expr.String},       // the sub
	{Name: "customer.created_at", Type: expr.Time}, // of the account
	{Name: "grant.scopes", Type: expr.Strings},     // of the token
	{Name: "grant.granted_at", Type: expr.Time},    // when the customer, or the tenant for its own, first allowed the application
	{Name: "application.id", Type: expr.String},    // the client_id
	{Name: "application.name", Type: expr.String},  // as customers see it
	{Name: "application.first_party", Type: expr.Bool},
	{Name: "organization.id", Type: expr.String},     // that the token is for, with the scope organization; "" for none
	{Name: "organization.slug", Type: expr.String},   // likewise
	{Name: "organization.roles", Type: expr.Strings}, // the customer's in it
	{Name: "now", Type: expr.Time},
}

// personal are the variables that say something of the customer. A claim made
// from one of them is shown to the customer before a third party gets it.
var personal = []string{"profile", "identifiers", "customer.created_at", "organization.id", "organization.slug", "organization.roles"}

// environment is that of all mappings, made when it is first needed.
var environment = sync.OnceValues(func() (*expr.Environment, error) { return expr.NewEnvironment(variables...) })

// compile compiles an expression.
func compile(source string) (*expr.Value, error) {
	e, err := environment()
	if err != nil {
		return nil, err
	}
	return e.CompileValue(source)
}

// Known lists what a mapping may name.
func Known() []string {
	names := make([]string, len(variables))
	for i, v := range variables {
		names[i] = v.Name
	}
	return names
}

// Check returns everything that is wrong with mappings, joined; each line names
// the claim, and for an expression the line and column.
func Check(mappings []Mapping) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(mappings) > MaxMappings {
		return fmt.Errorf("claims has %d mappings; it has %d at most", len(mappings), MaxMappings)
	}
	seen := map[string]bool{}
	for i, m := range mappings {
		at := fmt.Sprintf("claims[%d] (%s)", i, quoted(m.Name))
		switch {
		case !validName(m.Name):
			fault("%s: a name has 1 to %d printable characters of ASCII without quotes, backslashes and spaces", at, maxName)
		case Reserved(m.Name):
			fault("%s: the claim has a meaning of its own, and no mapping writes it", at)
		}
		if len(m.In) == 0 {
			fault("%s: in is empty; it names one of %v at the least", at, Targets)
		}
		for _, target := range m.In {
			if !slices.Contains(Targets, target) {
				fault("%s: in names %s; there are %v", at, quoted(string(target)), Targets)
			}
			if key := m.Name + " " + string(target); seen[key] {
				fault("%s: the claim is mapped twice for %s", at, target)
			} else {
				seen[key] = true
			}
		}
		if len(m.Audience) > 0 && !slices.Contains(m.In, AccessToken) {
			fault("%s: audience is for access tokens, which in does not name", at)
		}
		if strings.ContainsAny(m.Scope, " \"\\") || len(m.Scope) > 100 {
			fault("%s: scope is one scope", at)
		}
		for _, language := range slices.Sorted(maps.Keys(m.Label)) {
			if text := m.Label[language]; text == "" || len(text) > 100 {
				fault("%s: label.%s has 1 to 100 bytes", at, language)
			}
		}
		if _, err := compile(m.Value); err != nil {
			fault("%s: %s", at, explain(err))
		}
	}
	return errors.Join(faults...)
}

// explain says what is wrong with an expression, and what there is to name.
func explain(err error) string {
	bad, is := errors.AsType[*expr.CompileError](err)
	if !is {
		return err.Error()
	}
	text := strings.Replace(bad.Error(), "the condition is", "value is", 1)
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, "(in container '')", "")), " ")
	if strings.Contains(text, "undeclared reference") || strings.Contains(text, "undefined field") {
		text += "; known are " + strings.Join(Known(), ", ")
	}
	return text
}

func quoted(text string) string {
	if len(text) > 60 {
		text = text[:60] + "…"
	}
	return fmt.Sprintf("%q", text)
}

func validName(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c <= 0x20 || c > 0x7e || c == '"' || c == '\\' || c == '\'' || c == '<' || c == '>' {
			return false
		}
	}
	return true
}
