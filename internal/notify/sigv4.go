package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// awsKey signs requests to AWS (Signature Version 4).
type awsKey struct{ id, secret, region, service string }

// sign puts the signature of a request without a query into its header. Host,
// time and content type are signed with the body.
func (k awsKey) sign(request *http.Request, body []byte, now time.Time) {
	const stamp = "20060102T150405Z"
	at := now.UTC().Format(stamp)
	request.Header.Set("X-Amz-Date", at)
	names := []string{"host", "x-amz-date"}
	if request.Header.Get("Content-Type") != "" {
		names = append(names, "content-type")
	}
	slices.Sort(names)
	var headers strings.Builder
	for _, name := range names {
		value := request.Header.Get(name)
		if name == "host" {
			value = request.URL.Host
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	signed := strings.Join(names, ";")
	path := request.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	hash := func(text []byte) string {
		sum := sha256.Sum256(text)
		return hex.EncodeToString(sum[:])
	}
	canonical := strings.Join([]string{request.Method, path, "", headers.String(), signed, hash(body)}, "\n")
	scope := strings.Join([]string{at[:8], k.region, k.service, "aws4_request"}, "/")
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	key := []byte("AWS4" + k.secret)
	for _, part := range []string{at[:8], k.region, k.service, "aws4_request"} {
		key = mac(key, part)
	}
	signature := mac(key, strings.Join([]string{"AWS4-HMAC-SHA256", at, scope, hash([]byte(canonical))}, "\n"))
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+k.id+"/"+scope+", SignedHeaders="+signed+", Signature="+hex.EncodeToString(signature))
}
