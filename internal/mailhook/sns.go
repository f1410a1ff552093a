package mailhook

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
)

// sns takes messages of one topic of Amazon's Simple Notification Service. Each
// is signed, with a certificate that it names; only Amazon's own server of the
// topic's region is asked for that. Signature version 1, over SHA-1, is refused
// (docs/decisions/0062).
type sns struct {
	topic  string
	client Asker
	clock  clock.Clock

	mu           sync.Mutex
	certificates map[string]*x509.Certificate // by address
	fetchesSince time.Time
	fetches      int
}

// mostCertificates bounds how many certificates are remembered: there is one at
// a time.
const mostCertificates = 8

// envelope is a message as the service sends it.
type envelope struct {
	Type, MessageID                     string `json:"-"`
	Message, TopicArn, Timestamp, Token string
	Subject                             *string
	SignatureVersion, Signature         string
	SigningCertURL, SubscribeURL        string
}

func (e *envelope) UnmarshalJSON(text []byte) error {
	type plain envelope
	var named struct {
		*plain
		Type  string
		Named string `json:"MessageId"`
	}
	named.plain = (*plain)(e)
	err := json.Unmarshal(text, &named)
	e.Type, e.MessageID = named.Type, named.Named
	return err
}

// signed is what the signature is over.
func (e *envelope) signed() string {
	fields := []string{"Message", e.Message, "MessageId", e.MessageID}
	if e.Type == "Notification" {
		if e.Subject != nil {
			fields = append(fields, "Subject", *e.Subject)
		}
		fields = append(fields, "Timestamp", e.Timestamp)
	} else {
		fields = append(fields, "SubscribeURL", e.SubscribeURL, "Timestamp", e.Timestamp, "Token", e.Token)
	}
	return strings.Join(append(fields, "TopicArn", e.TopicArn, "Type", e.Type), "\n") + "\n"
}

var snsPath = regexp.MustCompile(`^/SimpleNotificationService-[A-Za-z0-9]+\.pem$`)

// ofService tells whether an address is the service's own, of the topic's
// region. Whoever chose another would choose the key.
func (s *sns) ofService(address string) (*url.URL, bool) {
	u, err := url.Parse(address)
	parts := strings.Split(s.topic, ":") // arn:aws:sns:region:account:name
	if err != nil || len(parts) < 6 || u.Scheme != "https" || u.User != nil || u.Fragment != "" {
		return nil, false
	}
	domain := "amazonaws.com"
	if parts[1] == "aws-cn" {
		domain = "amazonaws.com.cn"
	}
	return u, u.Host == "sns."+parts[3]+"."+domain
}

func (s *sns) receive(ctx context.Context, _ *http.Request, body []byte) ([]Report, error) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil || e.TopicArn != s.topic || e.SignatureVersion != "2" {
		return nil, errForeign
	}
	signature, err := base64.StdEncoding.DecodeString(e.Signature)
	if err != nil {
		return nil, errForeign
	}
	u, ours := s.ofService(e.SigningCertURL)
	if !ours || !snsPath.MatchString(u.EscapedPath()) || u.RawQuery != "" {
		return nil, errForeign
	}
	certificate, err := s.certificate(ctx, u.String())
	if err != nil {
		return nil, err
	}
	key, is := certificate.PublicKey.(*rsa.PublicKey)
	sum := sha256.Sum256([]byte(e.signed()))
	now := s.clock.Now()
	if !is || now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil {
		return nil, errForeign
	}
	switch e.Type {
	case "SubscriptionConfirmation":
		return nil, s.confirm(ctx, e.SubscribeURL)
	case "Notification":
		return reportsOfSES(e.Message)
	}
	return nil, nil
}

// mostFetches is how many certificates are fetched in a minute at most: whoever
// sends here makes up their names, and Amazon uses one for months.
const mostFetches = 10

// errBusy says that a report is to be sent again later.
var errBusy = errors.New("too many certificates were asked for")

// mayFetch counts the fetches of a minute.
func (s *sns) mayFetch() bool {
	now := s.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.fetchesSince) > time.Minute {
		s.fetchesSince, s.fetches = now, 0
	}
	s.fetches++
	return s.fetches <= mostFetches
}

// certificate fetches the certificate at an address of the service, once.
func (s *sns) certificate(ctx context.Context, address string) (*x509.Certificate, error) {
	s.mu.Lock()
	known := s.certificates[address]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	if !s.mayFetch() {
		return nil, errBusy
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errForeign
	}
	answer, err := s.client.Do(ctx, request)
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusOK {
		return nil, errForeign // Amazon has no such certificate
	}
	block, _ := pem.Decode(answer.Body)
	if block == nil {
		return nil, errForeign
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, errForeign
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.certificates == nil || len(s.certificates) >= mostCertificates {
		s.certificates = map[string]*x509.Certificate{}
	}
	s.certificates[address] = certificate
	return certificate, nil
}

// confirm tells the service that the topic may send here.
func (s *sns) confirm(ctx context.Context, address string) error {
	u, ours := s.ofService(address)
	if !ours {
		return errForeign
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return errForeign
	}
	answer, err := s.client.Do(ctx, request)
	if err != nil {
		return err
	}
	if answer.Status != http.StatusOK {
		return errors.New("the topic's subscription could not be confirmed")
	}
	return nil
}

// reportsOfSES reads an event of SES, as its configuration sets publish them and
// as its identities notify.
func reportsOfSES(message string) ([]Report, error) {
	type recipient struct{ EmailAddress string }
	var told struct {
		EventType, NotificationType string
		Bounce                      struct {
			BounceType        string
			BouncedRecipients []recipient
			Timestamp         time.Time
		}
		Complaint struct {
			ComplainedRecipients []recipient
			Timestamp            time.Time
		}
		Mail struct{ Tags map[string][]string }
	}
	if err := json.Unmarshal([]byte(message), &told); err != nil {
		return nil, errUnread
	}
	if told.EventType == "" {
		told.EventType = told.NotificationType
	}
	tenant := ""
	if tags := told.Mail.Tags["cardea_tenant"]; len(tags) > 0 {
		tenant = tags[0]
	}
	var reports []Report
	switch {
	case told.EventType == "Bounce" && told.Bounce.BounceType == "Permanent":
		for _, r := range told.Bounce.BouncedRecipients {
			reports = append(reports, Report{tenant, r.EmailAddress, bounced, told.Bounce.Timestamp})
		}
	case told.EventType == "Complaint":
		for _, r := range told.Complaint.ComplainedRecipients {
			reports = append(reports, Report{tenant, r.EmailAddress, complained, told.Complaint.Timestamp})
		}
	}
	return reports, nil
}
