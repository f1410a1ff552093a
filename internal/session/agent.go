package session

import (
	"strings"
	"unicode/utf8"

	"github.com/mileusna/useragent"
)

// Agent is where a session was begun, in words for the customer. It is stored
// sealed with the customer's key.
type Agent struct {
	Browser string `json:"browser"` // "Firefox"; "" where unknown
	OS      string `json:"os"`      // "Android"
	Device  string `json:"device"`  // "Pixel 8", "iPhone"; "" for a computer
	IP      string `json:"ip"`
	Place   string `json:"place,omitempty"` // roughly, in the language of the sign-in: "Lisbon, Portugal"; "" where unknown
}

// Hints are a browser's client hints (the Sec-CH-UA headers), which say more
// than its frozen User-Agent. Empty ones are left aside.
type Hints struct {
	Brands   string // Sec-CH-UA
	Platform string // Sec-CH-UA-Platform
	Model    string // Sec-CH-UA-Model
}

const (
	agentMax = 512 // bytes of a header that are looked at
	labelMax = 60  // bytes of a name that are kept
)

// ParseAgent names the browser of a request. It takes whatever a stranger may
// send; what it cannot name is "".
func ParseAgent(userAgent string, hints Hints, ip string) Agent {
	parsed := useragent.Parse(clip(userAgent, agentMax))
	agent := Agent{Browser: label(parsed.Name), OS: label(parsed.OS), Device: label(parsed.Device), IP: ip}
	if parsed.Name == parsed.String { // it could not be read, and gives itself back
		agent.Browser = ""
	}
	if brand := brandOf(clip(hints.Brands, agentMax)); brand != "" {
		agent.Browser = label(brand)
	}
	if platform := unquote(clip(hints.Platform, agentMax)); platform != "" && platform != "Unknown" {
		agent.OS = label(platform)
	}
	if model := unquote(clip(hints.Model, agentMax)); model != "" {
		agent.Device = label(model)
	}
	return agent
}

// brandOf picks the name of the browser out of a brand list such as
// `"Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"`: neither
// the engine nor the made-up one (User-Agent Client Hints, section 6.2).
func brandOf(list string) string {
	engine := ""
	for _, item := range strings.Split(list, ",") {
		name, _, _ := strings.Cut(item, ";")
		switch name = unquote(name); {
		case name == "Chromium":
			engine = name
		case name == "" || strings.Contains(strings.ToLower(name), "brand"):
		default:
			return strings.TrimPrefix(strings.TrimPrefix(name, "Google "), "Microsoft ")
		}
	}
	return engine
}

func unquote(text string) string { return strings.Trim(strings.TrimSpace(text), `"`) }

// label makes a name fit to be stored and shown: valid text, no control
// characters, short.
func label(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return -1
		}
		return r
	}, name)
	return strings.TrimSpace(clip(name, labelMax))
}

// clip cuts text to at most n bytes, not within a character.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
