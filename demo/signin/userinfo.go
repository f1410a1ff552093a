package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

func userInfo(ctx context.Context, p *provider, tokens oauth2.TokenSource, subject string) (map[string]any, error) {
	if p.oidc.UserInfoEndpoint() == "" {
		return nil, nil
	}
	info, err := p.oidc.UserInfo(ctx, tokens)
	if err != nil {
		// go-oidc keeps the status in the text alone.
		if strings.HasPrefix(err.Error(), fmt.Sprint(http.StatusUnauthorized)) {
			return nil, fmt.Errorf("%w: %w", ErrEnded, err)
		}
		return nil, err
	}
	if info.Subject != subject { // OpenID Connect Core, section 5.3.2
		return nil, errors.New("userinfo speaks of someone else")
	}
	var claims map[string]any
	if err := info.Claims(&claims); err != nil {
		return nil, err
	}
	return claims, nil
}

// Fact is one thing that an application knows of a customer, in words.
type Fact struct{ Label, Value string }

// labels are the standard claims (OpenID Connect Core, section 5.1) in the order in which people give them.
var labels = []struct{ claim, label string }{
	{"name", "Name"}, {"given_name", "First name"}, {"family_name", "Last name"}, {"nickname", "Nickname"},
	{"preferred_username", "User name"}, {"email", "E-mail"}, {"email_verified", "E-mail confirmed"},
	{"phone_number", "Phone"}, {"phone_number_verified", "Phone confirmed"}, {"birthdate", "Birthday"}, {"gender", "Gender"},
	{"locale", "Language"}, {"zoneinfo", "Time zone"}, {"website", "Website"}, {"profile", "Profile page"}, {"picture", "Picture"},
}

// protocol are the claims that speak of the sign-in and not of the customer.
var protocol = []string{"iss", "aud", "exp", "iat", "nbf", "nonce", "at_hash", "c_hash", "azp", "sid", "jti", "auth_time", "acr", "amr",
	"sub", "updated_at", "client_id"}

// Facts puts claims into words: the standard ones first, what else a provider says after them by name.
func Facts(claims map[string]any) []Fact {
	var facts []Fact
	done := slices.Clone(protocol)
	for _, l := range labels {
		done = append(done, l.claim)
		if text := inWords(claims[l.claim]); text != "" {
			facts = append(facts, Fact{l.label, text})
		}
	}
	var rest []Fact
	for name, value := range claims {
		if text := inWords(value); text != "" && !slices.Contains(done, name) {
			rest = append(rest, Fact{strings.ReplaceAll(name, "_", " "), text})
		}
	}
	slices.SortFunc(rest, func(a, b Fact) int { return strings.Compare(a.Label, b.Label) })
	return append(facts, rest...)
}

func inWords(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case bool:
		if v {
			return "Yes"
		}
		return "Not yet"
	case []any:
		var parts []string
		for _, one := range v {
			parts = append(parts, inWords(one))
		}
		return strings.Join(parts, ", ")
	case map[string]any: // the address claim
		if formatted, ok := v["formatted"].(string); ok {
			return formatted
		}
		var parts []string
		for _, name := range []string{"street_address", "postal_code", "locality", "region", "country"} {
			if text := inWords(v[name]); text != "" {
				parts = append(parts, text)
			}
		}
		return strings.Join(parts, ", ")
	default:
		return fmt.Sprint(v)
	}
}

// Stale is what to show a customer whose details cannot be had just now; back is the local path of that page.
func Stale(back string) Notice {
	return Notice{
		Status: http.StatusServiceUnavailable, Title: "We couldn’t fetch your details",
		Text:   "You may have been signed out elsewhere, or the place where you sign in is away for a moment. Sign in again to see them.",
		Action: "Sign in", Href: "/signin?return=" + escape(back), Code: "userinfo_failed",
	}
}
