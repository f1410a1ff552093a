package notify

import "strings"

// A text message in the GSM alphabet takes 160 characters a part (3GPP TS
// 23.038, section 6.2.1); one letter beyond it, and a part takes 70.

const gsm = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà" +
	"^{}\\[~]|€" // which take two

// looks are characters of good typesetting, and what stands for them in the
// alphabet without a loss of meaning. Letters of names are never replaced.
var looks = strings.NewReplacer("’", "'", "‘", "'", "“", `"`, "”", `"`, "„", `"`, "«", `"`, "»", `"`, "–", "-", "—", "-", "…", "...",
	"\u00a0", " ", "\u202f", " ", "\u2009", " ", "·", "-", "•", "-")

// IsGSM tells whether a text is in the alphabet.
func IsGSM(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(gsm, r) })
}

// plainGSM brings a text into the alphabet where that takes nothing away, and
// else leaves it as it is.
func plainGSM(text string) string {
	if simple := looks.Replace(text); IsGSM(simple) {
		return simple
	}
	return text
}
