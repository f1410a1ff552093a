package i18n

import (
	"strings"

	"golang.org/x/text/language"
)

// What a stranger sends is read only so far: no browser sends more, and the
// work of choosing a language must not be theirs to set.
const (
	longestPreference = 200 // bytes
	mostTags          = 8
)

// Match chooses the language of a page: the first that is supported among
// what the application asked for (ui_locales of OpenID Connect Core 3.1.2.1,
// separated by spaces), what the browser asks for (Accept-Language of RFC 9110
// 12.5.4), the tenant's own, and the default.
func (b *Bundle) Match(uiLocales, acceptLanguage, tenant string) string {
	if lang, ok := b.best(spaced(uiLocales)); ok {
		return lang
	}
	if lang, ok := b.best(accepted(acceptLanguage)); ok {
		return lang
	}
	if lang, ok := b.best(spaced(tenant)); ok {
		return lang
	}
	return Default
}

// best says which supported language serves the wishes, most wanted first.
// A wish is weighed alone, so that the first that can be served wins.
func (b *Bundle) best(wishes []language.Tag) (string, bool) {
	for _, wish := range wishes {
		if _, index, confidence := b.matcher.Match(wish); confidence >= language.High {
			return b.languages[index], true
		}
	}
	return "", false
}

func spaced(text string) []language.Tag {
	var tags []language.Tag
	for _, word := range strings.Fields(cut(text, " ")) {
		if len(tags) == mostTags {
			break
		}
		if tag, err := language.Parse(word); err == nil && tag != language.Und {
			tags = append(tags, tag)
		}
	}
	return tags
}

func accepted(header string) []language.Tag {
	tags, weights, err := language.ParseAcceptLanguage(cut(header, ","))
	if err != nil {
		return nil
	}
	var wanted []language.Tag
	for i, tag := range tags {
		if len(wanted) == mostTags {
			break
		}
		if weights[i] > 0 && tag != language.Und {
			wanted = append(wanted, tag)
		}
	}
	return wanted
}

// cut shortens text to whole items within the length that is read.
func cut(text, separator string) string {
	if len(text) <= longestPreference {
		return text
	}
	text = text[:longestPreference]
	if end := strings.LastIndex(text, separator); end > 0 {
		return text[:end]
	}
	return ""
}
