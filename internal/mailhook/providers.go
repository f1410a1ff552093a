package mailhook

import (
	"context"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// replayWindow is how old a signature may be: providers try for half a day.
const replayWindow = 13 * time.Hour

// fresh tells whether a signature's time, in Unix seconds, is near enough.
func (h *hooks) fresh(seconds string) bool {
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return false
	}
	age := h.Clock.Now().Sub(time.Unix(at, 0))
	return age < replayWindow && age > -15*time.Minute
}

// postmark proves itself by the password in the webhook's address, which is sent
// as basic authentication. The user name may be any.
func (h *hooks) postmark(_ context.Context, r *http.Request, body []byte) ([]Report, error) {
	if _, password, has := r.BasicAuth(); !has || !equal(password, h.Secret) {
		return nil, errForeign
	}
	var told struct {
		RecordType, Type, Email string
		BouncedAt               time.Time
		Metadata                map[string]string
	}
	if err := json.Unmarshal(body, &told); err != nil {
		return nil, errUnread
	}
	report := Report{Tenant: told.Metadata["cardea_tenant"], Address: told.Email, At: told.BouncedAt}
	switch {
	case told.RecordType == "SpamComplaint", told.RecordType == "Bounce" && told.Type == "SpamComplaint":
		report.Reason = complained
	case told.RecordType == "Bounce" && (told.Type == "HardBounce" || told.Type == "BadEmailAddress"):
		report.Reason = bounced
	default:
		return nil, nil
	}
	return []Report{report}, nil
}

// sendGridKey reads the verification key as SendGrid shows it: Base64 of its
// DER form.
func sendGridKey(text string) (*ecdsa.PublicKey, error) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		var key any
		if key, err = x509.ParsePKIXPublicKey(der); err == nil {
			if ec, is := key.(*ecdsa.PublicKey); is {
				return ec, nil
			}
		}
	}
	return nil, errors.New("mail.hook_secret is not the verification key that SendGrid shows for its signed event webhook")
}

// sendGrid proves itself by an ECDSA signature over time and body.
func (h *hooks) sendGrid(key *ecdsa.PublicKey, r *http.Request, body []byte) ([]Report, error) {
	at := r.Header.Get("X-Twilio-Email-Event-Webhook-Timestamp")
	signature, err := base64.StdEncoding.DecodeString(r.Header.Get("X-Twilio-Email-Event-Webhook-Signature"))
	sum := sha256.Sum256(append([]byte(at), body...))
	if err != nil || !h.fresh(at) || !ecdsa.VerifyASN1(key, sum[:], signature) {
		return nil, errForeign
	}
	var told []struct {
		Email, Event, Type, Reason string
		Timestamp                  int64
		Tenant                     string `json:"cardea_tenant"`
	}
	if err := json.Unmarshal(body, &told); err != nil {
		return nil, errUnread
	}
	var reports []Report
	for _, one := range told {
		report := Report{Tenant: one.Tenant, Address: one.Email, At: time.Unix(one.Timestamp, 0)}
		switch {
		case one.Event == "spamreport", one.Event == "dropped" && one.Reason == "Spam Reporting Address":
			report.Reason = complained
		case one.Event == "bounce" && one.Type != "blocked", one.Event == "dropped" && (one.Reason == "Bounced Address" || one.Reason == "Invalid"):
			report.Reason = bounced
		default:
			continue
		}
		reports = append(reports, report)
	}
	return reports, nil
}

// mailgun proves itself by an HMAC over a time and a token, both in the body.
func (h *hooks) mailgun(_ context.Context, _ *http.Request, body []byte) ([]Report, error) {
	var told struct {
		Signature struct{ Timestamp, Token, Signature string }
		Event     struct {
			Event, Severity, Recipient string
			Timestamp                  float64
			Variables                  map[string]any `json:"user-variables"`
		} `json:"event-data"`
	}
	if err := json.Unmarshal(body, &told); err != nil {
		return nil, errForeign // nothing was proved
	}
	mac := hmac.New(sha256.New, []byte(h.Secret))
	mac.Write([]byte(told.Signature.Timestamp + told.Signature.Token))
	given, err := hex.DecodeString(told.Signature.Signature)
	if err != nil || told.Signature.Token == "" || subtle.ConstantTimeCompare(given, mac.Sum(nil)) != 1 || !h.fresh(told.Signature.Timestamp) {
		return nil, errForeign
	}
	tenant, _ := told.Event.Variables["cardea_tenant"].(string)
	report := Report{Tenant: tenant, Address: told.Event.Recipient, At: time.UnixMicro(int64(told.Event.Timestamp * 1e6))}
	switch {
	case told.Event.Event == "complained":
		report.Reason = complained
	case told.Event.Event == "failed" && told.Event.Severity == "permanent":
		report.Reason = bounced
	default:
		return nil, nil
	}
	return []Report{report}, nil
}

// generic is for whoever reads bounces himself. He proves himself by the secret
// as a bearer token.
func (h *hooks) generic(_ context.Context, r *http.Request, body []byte) ([]Report, error) {
	token, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !is || !equal(token, h.Secret) {
		return nil, errForeign
	}
	var told struct {
		Tenant  string    `json:"tenant"`
		Address string    `json:"address"`
		Reason  string    `json:"reason"`
		At      time.Time `json:"at"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&told); err != nil || told.Reason != bounced && told.Reason != complained {
		return nil, errUnread
	}
	return []Report{{Tenant: told.Tenant, Address: told.Address, Reason: told.Reason, At: told.At}}, nil
}
