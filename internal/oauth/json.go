package oauth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
)

// appendString writes text as a JSON string.
func appendString(c []byte, text string) []byte {
	for i := range len(text) {
		if b := text[i]; b < 0x20 || b > 0x7e || b == '"' || b == '\\' {
			quoted, err := json.Marshal(text)
			if err != nil { // no string fails to be written
				panic(fmt.Sprintf("oauth: writing a string: %v", err))
			}
			return append(c, quoted...)
		}
	}
	c = append(c, '"')
	c = append(c, text...)
	return append(c, '"')
}

// appendRandom writes 128 random bits in base64url: a jti.
func appendRandom(c []byte, random io.Reader) []byte {
	var raw [16]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		panic(fmt.Sprintf("oauth: reading randomness: %v", err))
	}
	return base64.RawURLEncoding.AppendEncode(c, raw[:])
}
