package customer

import (
	"maps"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/identifier"
)

// scopeClaims says which claims each scope of OpenID Connect asks for (Core
// 1.0, section 5.4). E-mail and phone come from the identifiers.
var scopeClaims = map[string][]string{
	"profile": {"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile", "picture",
		"website", "gender", "birthdate", "zoneinfo", "locale", "updated_at"},
	"address": {"address"},
	"email":   {"email", "email_verified"},
	"phone":   {"phone_number", "phone_number_verified"},
}

// Scopes returns the scopes that release claims, in order.
func Scopes() []string { return slices.Sorted(maps.Keys(scopeClaims)) }

// ClaimsOf returns the names of the claims that scope asks for.
func ClaimsOf(scope string) []string { return scopeClaims[scope] }

// Claims returns what is known of a customer among the claims that scopes ask
// for. What is not known is left out (OpenID Connect Core 1.0, section 5.3.2).
func (c *Customer) Claims(scopes []string) map[string]any {
	claims := map[string]any{}
	for _, scope := range scopes {
		for _, name := range scopeClaims[scope] {
			if value, known := c.claim(name); known {
				claims[name] = value
			}
		}
	}
	return claims
}

func (c *Customer) claim(name string) (any, bool) {
	switch name {
	case "email", "email_verified":
		it, found := c.Primary(identifier.Email)
		if !found {
			return nil, false
		}
		if name == "email" {
			return it.Display, true
		}
		return it.Verified, true
	case "phone_number", "phone_number_verified":
		it, found := c.Primary(identifier.Phone)
		if !found {
			return nil, false
		}
		if name == "phone_number" {
			return it.Key, true
		}
		return it.Verified, true
	case "updated_at":
		return c.UpdatedAt.Unix(), true
	case "name":
		if value, told := c.Profile["name"]; told {
			return value, true
		}
		given, _ := c.Profile["given_name"].(string)
		family, _ := c.Profile["family_name"].(string)
		switch {
		case given != "" && family != "":
			return given + " " + family, true
		case given != "":
			return given, true
		case family != "":
			return family, true
		}
		return nil, false
	case "preferred_username":
		if it, found := c.Primary(identifier.Username); found && it.Verified {
			return it.Display, true
		}
	}
	value, told := c.Profile[name]
	return value, told && value != ""
}

// Facts are what mapped claims may know of a customer: the profile, and by kind
// the oldest verified identifier. A kind that the tenant declares goes by its
// name.
func (c *Customer) Facts() (profile, identifiers map[string]any) {
	identifiers = map[string]any{}
	for _, it := range c.Identifiers {
		name := strings.TrimPrefix(string(it.Kind), string(identifier.Declared("")))
		if _, has := identifiers[name]; it.Verified && !has {
			identifiers[name] = it.Display
			if it.Kind == identifier.Phone {
				identifiers[name] = it.Key
			}
		}
	}
	return c.Profile, identifiers
}
