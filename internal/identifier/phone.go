package identifier

import (
	"errors"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// maxPhone is, in characters, more than any way of writing a number needs.
const maxPhone = 40

// phone reads a phone number. Its key is the number in E.164.
func phone(text, region string) (Normalised, Reason) {
	digits := 0
	for _, r := range text {
		switch {
		case unicode.Is(unicode.Nd, r):
			digits++
		case !phoneSeparator(r):
			// Letters too: "1-800-FLOWERS" is a slogan, and an extension is not
			// a number that takes messages.
			if unicode.IsLetter(r) || r == ';' || r == '#' || r == ',' {
				return Normalised{}, extensionOrLetter(text)
			}
			return Normalised{}, BadCharacter
		}
	}
	if len([]rune(text)) > maxPhone {
		return Normalised{}, TooLong
	}
	if digits == 0 {
		return Normalised{}, BadForm
	}
	number, err := phonenumbers.Parse(text, strings.ToUpper(region))
	switch {
	case errors.Is(err, phonenumbers.ErrInvalidCountryCode) && !strings.ContainsAny(text, "+＋"):
		return Normalised{}, CountryNeeded
	case err != nil:
		return Normalised{}, NoSuchNumber
	case number.GetExtension() != "":
		return Normalised{}, Extension
	case !phonenumbers.IsValidNumber(number):
		return Normalised{}, NoSuchNumber
	}
	key := phonenumbers.Format(number, phonenumbers.E164)
	again, err := phonenumbers.Parse(key, "")
	if err != nil || phonenumbers.Format(again, phonenumbers.E164) != key || !phonenumbers.IsValidNumber(again) {
		return Normalised{}, NoSuchNumber // a number that does not survive its own writing finds nobody
	}
	return Normalised{Key: key, Display: phonenumbers.Format(again, phonenumbers.INTERNATIONAL), Delivery: key}, ""
}

func extensionOrLetter(text string) Reason {
	if strings.ContainsAny(text, "0123456789") && strings.ContainsAny(strings.ToLower(text), "x;#,") {
		return Extension
	}
	return BadCharacter
}

func phoneSeparator(r rune) bool {
	return strings.ContainsRune("+＋-‐‑‒–—−./() \u00a0\u2009\u202f", r)
}

// phoneLike tells whether text looks like a phone number: seven digits or
// more and nothing else but what separates them.
func phoneLike(text string) bool {
	digits := 0
	for _, r := range text {
		if unicode.Is(unicode.Nd, r) {
			digits++
		} else if !phoneSeparator(r) {
			return false
		}
	}
	return digits >= 7 || digits > 0 && strings.ContainsAny(text, "+＋")
}

// Country is where a phone number in E.164 is from, as an ISO 3166-1 code, ""
// where that is nowhere in particular.
func Country(e164 string) string {
	number, err := phonenumbers.Parse(e164, "")
	if err != nil {
		return ""
	}
	country := phonenumbers.GetRegionCodeForNumber(number)
	if len(country) != 2 || country == "ZZ" {
		return ""
	}
	return country
}

// TakesTexts tells whether a phone number in E.164 is of a kind that takes text
// messages and costs no more than others: a mobile phone's, where that can be
// told.
func TakesTexts(e164 string) bool {
	number, err := phonenumbers.Parse(e164, "")
	if err != nil {
		return false
	}
	kind := phonenumbers.GetNumberType(number)
	return kind == phonenumbers.MOBILE || kind == phonenumbers.FIXED_LINE_OR_MOBILE
}
