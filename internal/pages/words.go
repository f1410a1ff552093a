package pages

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/i18n"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/tenant"
)

// faultWords words the codes of journey.FieldError.
var faultWords = map[string]string{
	"identifier_empty":           "error.identifier_required",
	"identifier_invalid":         "error.identifier_unknown_kind",
	"email_invalid":              "error.email",
	"phone_invalid":              "error.phone",
	"phone_no_texts":             "error.phone_no_texts",
	"password_empty":             "error.password_required",
	"password_wrong":             "error.password_wrong",
	"password_malformed":         "error.invalid",
	"password_common":            "error.new_password_weak",
	"password_breached":          "error.new_password_breached",
	"password_contains_personal": "error.new_password_personal",
	"password_too_guessable":     "error.new_password_weak",
	"code_empty":                 "error.code_required",
	"code_wrong":                 "error.code_wrong",
	"code_expired":               "error.code_expired",
	"code_exhausted":             "error.code_tries",
	"address_same":               "error.address_same",
	"number_same":                "error.number_same",
	"number_no_texts":            "error.number_no_texts",
	"field_empty":                "error.required",
	"field_invalid":              "error.invalid",
	"organization_gone":          "error.organization_gone",
}

// fieldWords are more telling words for single fields.
var fieldWords = map[string]string{
	"new_password password_empty": "error.new_password_required",
	"birthdate field_invalid":     "error.date",
	"website field_invalid":       "error.url",
	"picture field_invalid":       "error.url",
	"profile field_invalid":       "error.url",
}

// wordsOf says what is wrong with a field.
func wordsOf(fault journey.FieldError) view.Text {
	switch fault.Code {
	case "password_too_short":
		return view.T("error.new_password_short", "Count", count(fault.Params["Min"]))
	case "password_too_long":
		return view.T("error.new_password_long", "Count", count(fault.Params["Max"]))
	}
	if key := fieldWords[fault.Field+" "+fault.Code]; key != "" {
		return view.T(key)
	}
	if key := faultWords[fault.Code]; key != "" {
		return view.T(key)
	}
	return view.T("error.general")
}

// wordsOfAttribute says what is wrong with an attribute of a profile.
func wordsOfAttribute(fields []tenant.Attribute, fault tenant.Fault) view.Text {
	if fault.Missing {
		return view.T("error.required")
	}
	for _, a := range fields {
		if a.Name == fault.Name && len(a.Options) == 0 {
			switch a.Format {
			case "email":
				return view.T("error.email")
			case "date":
				return view.T("error.date")
			case "uri":
				return view.T("error.url")
			}
		}
	}
	return wordsOf(journey.FieldError{Field: fault.Name, Code: "field_invalid"})
}

func count(n any) int {
	value, _ := n.(int)
	return value
}

// reasonOf words the names of denials; an unknown one has the general words.
func reasonOf(name string) view.Text {
	switch name {
	case "account_closed":
		return view.T("deny.locked")
	case "terms_declined", "sign_up_closed", "no_account", "account_changed", "stays_closed", "invitation_over":
		return view.T("deny." + name)
	}
	return view.Text{}
}

// standard tells whether a claim is one of OpenID Connect (Core 1.0, section
// 5.1), which pages have words for.
func standard(claim string) bool {
	return slices.ContainsFunc(customer.Scopes(), func(scope string) bool {
		return slices.Contains(customer.ClaimsOf(scope), claim)
	})
}

// unshown are claims that only say something about another one.
var unshown = []string{"email_verified", "phone_number_verified", "updated_at"}

// share is a claim with its value, as its customer reads it.
func (p *Pages) share(lang, name string, value any) view.Share {
	text := p.readable(lang, name, value)
	return view.Share{Name: name, Value: text, Asked: text == ""}
}

func (p *Pages) readable(lang, name string, value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		switch name {
		case "birthdate":
			// The year 0000 says that the year is not told (Core 1.0, section 5.1).
			if day, err := time.Parse(time.DateOnly, value); err == nil && day.Year() != 0 {
				return p.Views.Words().Localizer(lang).Date(day)
			}
		case "locale":
			if told := i18n.Name(value); told != "" {
				return told
			}
		}
		if at, err := time.Parse(time.RFC3339, value); err == nil && !standard(name) {
			return p.Views.Words().Localizer(lang).Date(at)
		}
		return value
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	case bool:
		return p.Views.Words().Localizer(lang).Text(map[bool]string{true: "share.yes", false: "share.no"}[value], nil)
	case []any:
		var parts []string
		for _, part := range value {
			if text := p.readable(lang, "", part); text != "" {
				parts = append(parts, text)
			}
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		if name != "address" {
			var parts []string
			for _, part := range slices.Sorted(maps.Keys(value)) {
				if text := p.readable(lang, "", value[part]); text != "" {
					parts = append(parts, part+": "+text)
				}
			}
			return strings.Join(parts, ", ")
		}
		if whole, ok := value["formatted"].(string); ok && whole != "" {
			return strings.Join(strings.Fields(whole), " ")
		}
		var parts []string
		for _, part := range []string{"street_address", "postal_code", "locality", "region", "country"} {
			if text, ok := value[part].(string); ok && text != "" {
				parts = append(parts, text)
			}
		}
		return strings.Join(parts, ", ")
	default:
		return fmt.Sprint(value)
	}
}
