package journey

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
)

var (
	// ErrExpired says that a journey took too long, or that its definition or
	// the installation's keys have changed since; it is begun again.
	ErrExpired = errors.New("the journey has expired")
	// ErrForged says that a state is not one of ours, or is another tenant's.
	ErrForged = errors.New("the journey's state is not genuine")
	// ErrCrossed says that a state belongs to another browser, or that this
	// browser has been authenticated since.
	ErrCrossed = errors.New("the journey belongs to another browser")
	// ErrFinished says that the journey has been finished before.
	ErrFinished = errors.New("the journey has been finished")
	// ErrClosed says that the tenant is suspended: nobody is let in, nothing is
	// sent and nothing is tried.
	ErrClosed = errors.New("the tenant is suspended")
	// ErrSignedOut says that a journey is for who is signed in, and nobody is.
	ErrSignedOut = errors.New("the journey is for a customer who is signed in")
)

const (
	// Lifetime is how long a journey may take from its first page.
	Lifetime = 45 * time.Minute
	// purpose is what states are sealed for.
	purpose = "journey"
	// padding: a sealed state's length is a multiple of this, so that it does
	// not tell whether an identifier was found.
	padding = 512
	// maxState is the largest sealed state that is read.
	maxState = 32 << 10
)

// State is what a journey has reached. It travels sealed with the customer's
// browser and is stored nowhere.
type State struct {
	Run         id.Run         `json:"run"`
	Journey     string         `json:"journey"`
	Hash        string         `json:"hash"` // of the journey's definition and of all that it can lead to
	Step        string         `json:"step"`
	Expires     int64          `json:"expires"` // Unix seconds
	Binding     []byte         `json:"binding"` // SHA-256 of the journey cookie
	Return      Return         `json:"return"`
	Application id.Application `json:"application,omitempty"`
	Scopes      []string       `json:"scopes,omitempty"`
	Hint        string         `json:"hint,omitempty"`

	// Subject is the identifier that was named. Customer is who it finds, and
	// Minted the id that an account opened by this journey will have.
	Subject  *identifier.Normalised `json:"subject,omitempty"`
	Customer id.Customer            `json:"customer,omitempty"`
	Minted   id.Customer            `json:"minted"`
	// Epoch is the customer's security epoch when the first proof was given.
	Epoch  int64   `json:"epoch,omitempty"`
	Proofs []Proof `json:"proofs,omitempty"`

	Challenge    id.Challenge   `json:"challenge,omitempty"`     // the code that was last sent
	Handle       []byte         `json:"handle,omitempty"`        // the look-up hash that it is kept under, which may not be today's
	Strong       bool           `json:"strong,omitempty"`        // whether that is a long one
	ByMail       bool           `json:"by_mail,omitempty"`       // whether codes for a phone number's account are asked for by mail
	Texted       bool           `json:"texted,omitempty"`        // whether the code that was last sent went to the number by text message
	SentEpoch    int64          `json:"sent_epoch,omitempty"`    // the customer's security epoch when it was sent: it dies when that rises
	PasswordHash string         `json:"password_hash,omitempty"` // of an account to be made
	Profile      map[string]any `json:"profile,omitempty"`       // what was collected
	Offered      string         `json:"offered,omitempty"`       // the version of the terms that was last shown
	Terms        string         `json:"terms,omitempty"`         // the version that was agreed to
	Stay         bool           `json:"stay,omitempty"`
	// Joins is the status of a customer who is to be active from the finish on:
	// invited or dormant, or closed once he has said that he keeps the account.
	Joins   string     `json:"joins,omitempty"`
	Link    string     `json:"link,omitempty"`    // that a message brought the customer by
	Session id.Session `json:"session,omitempty"` // the session that the journey works in: consent, and all that are for who is signed in

	Target    id.Identifier `json:"target,omitempty"`     // the address that the journey is about: the one that is changed or removed
	Address   *NewAddress   `json:"address,omitempty"`    // the address that is to be the customer's
	EndOthers bool          `json:"end_others,omitempty"` // whether to sign out everywhere else
	// Disowned are addresses that who recovers the account says are not his.
	Disowned []id.Identifier `json:"disowned,omitempty"`
	// Asked are the operator's own claims that were last shown to be allowed, beside
	// those of the scopes.
	Asked []string `json:"asked,omitempty"`

	// Organization is the one that the application gets the customer's
	// membership of.
	Organization id.Organization `json:"organization,omitempty"`
}

// Proof is one thing that the customer has proved.
type Proof struct {
	Method    string       `json:"method"` // amr value (RFC 8176)
	Budget    string       `json:"budget"` // the kind of guess that it took
	Challenge id.Challenge `json:"challenge,omitempty"`
	Handle    []byte       `json:"handle,omitempty"`   // the look-up hash that the challenge is kept under
	Purpose   string       `json:"purpose,omitempty"`  // what the challenge was for, where that is not signing in: a proof is good for that alone
	Verified  bool         `json:"verified,omitempty"` // whether the subject was proved to be the customer's address
	At        int64        `json:"at"`                 // Unix seconds
}

// NewAddress is an address that a customer who is signed in says is his. It
// counts for nothing before the finish.
type NewAddress struct {
	identifier.Normalised
	Challenge id.Challenge `json:"challenge,omitempty"` // the code that was last sent to it
	Handle    []byte       `json:"handle,omitempty"`    // the look-up hash that it is kept under
	Strong    bool         `json:"strong,omitempty"`    // whether that is a long one
	Proved    bool         `json:"proved,omitempty"`    // the code came back
}

// seal writes a state, padded so that its length tells little, and nothing of
// whether an identifier found somebody: it is as long as it would be if it had.
func seal(keys *keyring.Tenant, s *State) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("write the journey's state: %w", err)
	}
	known := *s
	known.Customer, known.Epoch, known.SentEpoch, known.Strong = s.Minted, math.MaxInt64, math.MaxInt64, true
	longest, err := json.Marshal(&known)
	if err != nil {
		return "", fmt.Errorf("write the journey's state: %w", err)
	}
	padded := make([]byte, (max(len(text), len(longest))/padding+1)*padding)
	for i := copy(padded, text); i < len(padded); i++ {
		padded[i] = ' '
	}
	sealed, err := keys.Seal(purpose, padded)
	if err == nil && len(sealed) > maxState {
		err = fmt.Errorf("the journey's state has %d bytes; at most %d are read again", len(sealed), maxState)
	}
	return sealed, err
}

// open reads a state. It does not check to whom it belongs.
func open(keys *keyring.Tenant, sealed string) (*State, error) {
	if len(sealed) > maxState {
		return nil, ErrForged
	}
	text, err := keys.Open(purpose, sealed)
	if errors.Is(err, keyring.ErrEpoch) {
		return nil, ErrExpired
	}
	if err != nil {
		return nil, ErrForged
	}
	s := &State{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, ErrForged
	}
	return s, nil
}

// bindingOf returns what ties a state to the browser that holds cookie.
func bindingOf(cookie string) []byte {
	sum := sha256.Sum256([]byte("journey\x00" + cookie))
	return sum[:]
}

// check tells whether a state may go on in the browser that holds cookie. hash
// is its journey's at present.
func (s *State) check(cookie, hash string, now time.Time) error {
	if cookie == "" || subtle.ConstantTimeCompare(s.Binding, bindingOf(cookie)) != 1 {
		return ErrCrossed
	}
	if now.Unix() >= s.Expires || hash == "" || s.Hash != hash {
		return ErrExpired
	}
	return nil
}

// hashOf names a set of definitions by its content.
func hashOf(texts ...[]byte) string {
	h := sha256.New()
	for _, text := range texts {
		fmt.Fprintf(h, "%d\n", len(text))
		h.Write(text)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}
