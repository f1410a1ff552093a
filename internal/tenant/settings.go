package tenant

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"

	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/i18n"
	"github.com/cardea-id/cardea/internal/identifier"
)

// SeenEvery is the shortest time between two records that a session was seen
// (DESIGN.md, rule 5).
const SeenEvery = 5 * time.Minute

// Settings are what an operator may choose for a tenant. The zero value of a
// field is not its default: start from Defaults.
type Settings struct {
	SignUp      SignUp               `json:"sign_up"`
	Password    Password             `json:"password"`
	Session     Session              `json:"session"`
	Limits      Limits               `json:"limits"`
	Profile     json.RawMessage      `json:"profile"`     // JSON Schema (2020-12) of the customers' profile; claim names are its properties
	Identifiers []DeclaredIdentifier `json:"identifiers"` // kinds of identifiers beyond e-mail, phone and username
	Region      string               `json:"region"`      // ISO 3166-1 alpha-2; how a phone number without a country code is read
	Phone       Phone                `json:"phone"`
	Terms       Terms                `json:"terms"`
	Languages   []string             `json:"languages"` // BCP 47, the first is the default
	Tokens      Tokens               `json:"tokens"`
	Mail        Mail                 `json:"mail"`
	Notices     Notices              `json:"notices"`
	Lifecycle   Lifecycle            `json:"lifecycle"`
	Claims      []claim.Mapping      `json:"claims"` // of the tenant's own, for all applications; an application's of the same name go before

	Organizations Organizations `json:"organizations"`
	Search        Search        `json:"search"`
}

// Lifecycle says what becomes of accounts by themselves, and when. 0 is never,
// and for a warning, that there is none.
type Lifecycle struct {
	InvitedFor        Duration `json:"invited_for"`         // how long an invitation waits to be taken up
	CloseWindow       Duration `json:"close_window"`        // how long a closed account can be kept after all, before it is erased
	DormantAfter      Duration `json:"dormant_after"`       // without a sign of life; 0: no account falls dormant
	WarnDormant       Duration `json:"warn_dormant"`        // how long before that the customer is told
	EraseDormantAfter Duration `json:"erase_dormant_after"` // how long an account is dormant before it is erased; 0: it is kept
	WarnErase         Duration `json:"warn_erase"`          // how long before that the customer is told
}

// SignUp says how an account is opened.
type SignUp struct {
	Enabled          bool     `json:"enabled"`
	PasswordRequired bool     `json:"password_required"` // whether an account needs a password; without, a customer may skip it and use codes
	Collect          []string `json:"collect"`           // profile properties asked for before the account is made
}

// Password says what passwords may be and what hashing one costs.
type Password struct {
	MinLength   int    `json:"min_length"`  // code points; 15 by NIST SP 800-63B-4, section 3.1.1.2, where it is the only factor; 8 at the least
	MemoryKiB   uint32 `json:"memory_kib"`  // Argon2id
	Time        uint32 `json:"time"`        // Argon2id passes
	Parallelism uint8  `json:"parallelism"` // Argon2id lanes
}

// Session says how long a customer stays signed in.
type Session struct {
	OfferStay    bool     `json:"offer_stay"` // whether the sign-in page offers "stay signed in"
	Idle         Duration `json:"idle"`
	Absolute     Duration `json:"absolute"`
	StayIdle     Duration `json:"stay_idle"`     // with "stay signed in"
	StayAbsolute Duration `json:"stay_absolute"` // with "stay signed in"
}

// Limits bound guesses and messages. They hold for a customer over all doors,
// and for an address without an account just the same, but for the totals: an
// address has none, and does not seem to have less.
type Limits struct {
	PasswordPerHour int      `json:"password_per_hour"`
	PasswordTotal   int      `json:"password_total"` // a customer's wrong ones in a row (NIST SP 800-63B-4, section 3.2.2: at most 100)
	CodePerHour     int      `json:"code_per_hour"`
	CodeTotal       int      `json:"code_total"`
	SendPerHour     int      `json:"send_per_hour"`
	AttemptsPerCode int      `json:"attempts_per_code"`
	CodeLifetime    Duration `json:"code_lifetime"` // at most 10 minutes
}

// Phone says whether codes go to phone numbers by text message, so that a number
// opens an account, signs in and recovers as an e-mail address does, and bounds
// what strangers can have sent: text messages cost money, and some are asked for
// by whoever earns from their delivery. A browser in which the customer is known
// draws on the number's part alone.
type Phone struct {
	Enabled        bool     `json:"enabled"`
	Countries      []string `json:"countries"`        // ISO 3166-1 alpha-2; where text messages are sent; empty: to region alone
	NumberPerHour  int      `json:"number_per_hour"`  // to one number
	NetworkPerHour int      `json:"network_per_hour"` // asked for from one IPv4 address or IPv6 /64
	CountryPerHour int      `json:"country_per_hour"` // to all numbers of one country
	TenantPerHour  int      `json:"tenant_per_hour"`  // to all numbers
}

// TextsTo tells whether text messages are sent to numbers of a country.
func (s Settings) TextsTo(country string) bool {
	if len(s.Phone.Countries) == 0 {
		return country == s.Region
	}
	return slices.Contains(s.Phone.Countries, country)
}

// DeclaredIdentifier is a kind of identifier that a tenant has of its own,
// such as a loyalty number.
type DeclaredIdentifier struct {
	Name    string `json:"name"`    // lower-case letters, digits and underscores
	Label   string `json:"label"`   // what customers call it
	Pattern string `json:"pattern"` // regular expression (RE2) that the whole value matches
	Case    string `json:"case"`    // "exact" (the default), "lower" or "upper": what the case of letters means
}

// rule compiles how the identifier is read.
func (d DeclaredIdentifier) rule() (*identifier.Rule, error) {
	letters := identifier.Case(d.Case)
	if letters == "" {
		letters = identifier.CaseExact
	}
	return identifier.NewRule(d.Pattern, letters)
}

// Terms are the documents that a customer agrees to before an account is made.
// Without a version nothing is asked.
type Terms struct {
	Version   string     `json:"version"`
	Documents []Document `json:"documents"`
}

// Document is one text to agree to.
type Document struct {
	Title map[string]string `json:"title"` // by language
	URL   string            `json:"url"`
}

// TitleIn returns the document's title in a language, else in English, else
// in any.
func (d Document) TitleIn(language string) string {
	if title := d.Title[language]; title != "" {
		return title
	}
	if title := d.Title["en"]; title != "" {
		return title
	}
	for _, language := range slices.Sorted(maps.Keys(d.Title)) {
		return d.Title[language]
	}
	return d.URL
}

// Tokens says how long what applications get is good for.
type Tokens struct {
	Access          Duration `json:"access"`
	ID              Duration `json:"id"`
	Code            Duration `json:"code"`
	RefreshIdle     Duration `json:"refresh_idle"`
	RefreshAbsolute Duration `json:"refresh_absolute"`
}

// Mail says who a tenant's mail comes from. Where it is empty the
// installation's sender is used.
type Mail struct {
	FromName    string `json:"from_name"`
	FromAddress string `json:"from_address"`
}

// Notices says what customers are told that they have not asked for. What was
// changed about how one signs in is always told.
type Notices struct {
	NewSignIn bool `json:"new_sign_in"` // that somebody signed in on a device that the account was not used on before
}

// Duration is a time.Duration that is written as text, such as "15m" or "720h".
type Duration time.Duration

func (d Duration) D() time.Duration             { return time.Duration(d) }
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as \"15m\" or \"720h\"", text)
	}
	*d = Duration(parsed)
	return nil
}

// standardProfile holds the standard claims of OpenID Connect Core 1.0,
// section 5.1, that a customer tells about himself. E-mail and phone are
// identifiers and not part of it. What few shops ask for is hidden on the
// profile's page until it is known.
const standardProfile = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 200, "x-cardea-hidden": true},
    "given_name": {"type": "string", "minLength": 1, "maxLength": 100},
    "family_name": {"type": "string", "minLength": 1, "maxLength": 100},
    "middle_name": {"type": "string", "maxLength": 100, "x-cardea-hidden": true},
    "nickname": {"type": "string", "maxLength": 100},
    "preferred_username": {"type": "string", "maxLength": 100, "x-cardea-hidden": true},
    "profile": {"type": "string", "maxLength": 500, "x-cardea-hidden": true},
    "picture": {"type": "string", "maxLength": 500, "x-cardea-hidden": true},
    "website": {"type": "string", "maxLength": 500, "x-cardea-hidden": true},
    "gender": {"type": "string", "maxLength": 50, "x-cardea-hidden": true},
    "birthdate": {"type": "string", "pattern": "^([0-9]{4}|0000)(-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))?$"},
    "zoneinfo": {"type": "string", "maxLength": 64, "x-cardea-hidden": true},
    "locale": {"type": "string", "maxLength": 35},
    "address": {
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "formatted": {"type": "string", "maxLength": 500},
        "street_address": {"type": "string", "maxLength": 300},
        "locality": {"type": "string", "maxLength": 100},
        "region": {"type": "string", "maxLength": 100},
        "postal_code": {"type": "string", "maxLength": 20},
        "country": {"type": "string", "maxLength": 100}
      }
    }
  }
}`

// Defaults returns the settings that a new tenant has unless told otherwise.
func Defaults() Settings {
	return Settings{
		SignUp:   SignUp{Enabled: true, Collect: []string{}},
		Password: Password{MinLength: 15, MemoryKiB: 19 * 1024, Time: 2, Parallelism: 1},
		Session: Session{
			OfferStay: true,
			Idle:      Duration(time.Hour), Absolute: Duration(24 * time.Hour),
			StayIdle: Duration(30 * 24 * time.Hour), StayAbsolute: Duration(90 * 24 * time.Hour),
		},
		Limits: Limits{
			PasswordPerHour: 30, PasswordTotal: 100, CodePerHour: 30, CodeTotal: 100,
			SendPerHour: 10, AttemptsPerCode: 5, CodeLifetime: Duration(10 * time.Minute),
		},
		Profile:     json.RawMessage(standardProfile),
		Identifiers: []DeclaredIdentifier{},
		Region:      "GB",
		Phone:       Phone{Countries: []string{}, NumberPerHour: 5, NetworkPerHour: 20, CountryPerHour: 1000, TenantPerHour: 3000},
		Terms:       Terms{Documents: []Document{}},
		Languages:   []string{"en", "de", "ar"},
		Notices:     Notices{NewSignIn: true},
		Tokens: Tokens{
			Access: Duration(10 * time.Minute), ID: Duration(10 * time.Minute), Code: Duration(time.Minute),
			RefreshIdle: Duration(30 * 24 * time.Hour), RefreshAbsolute: Duration(365 * 24 * time.Hour),
		},
		Lifecycle: Lifecycle{
			InvitedFor: Duration(14 * 24 * time.Hour), CloseWindow: Duration(30 * 24 * time.Hour),
			WarnDormant: Duration(14 * 24 * time.Hour), WarnErase: Duration(30 * 24 * time.Hour),
		},
		Claims: []claim.Mapping{},
		Organizations: Organizations{
			Roles: []string{"owner", "admin", "member"}, InvitationLifetime: Duration(7 * 24 * time.Hour), NameInviter: true, SignUpByInvitation: true,
		},
		Search: Search{Identifiers: []string{}, Attributes: []string{}},
	}
}

// ParseSettings reads settings from YAML or JSON on top of base, so that what
// the text does not name stays as it is. Unknown keys are refused; lists and
// the profile schema are replaced whole.
func ParseSettings(base Settings, text []byte) (Settings, error) {
	var document any
	if err := yaml.Unmarshal(text, &document); err != nil {
		return Settings{}, fmt.Errorf("the settings are not YAML: %w", err)
	}
	if document == nil {
		return base, nil
	}
	asJSON, err := json.Marshal(document)
	if err != nil {
		return Settings{}, fmt.Errorf("the settings have a key that is not text: %w", err)
	}
	parsed := base
	// A decoder writes into the lists that it finds: base's stay base's.
	parsed.SignUp.Collect, parsed.Profile, parsed.Identifiers, parsed.Terms.Documents, parsed.Languages, parsed.Phone.Countries = nil, nil, nil, nil, nil, nil
	parsed.Organizations.Roles, parsed.Claims = nil, nil
	parsed.Search = Search{}
	decoder := json.NewDecoder(bytes.NewReader(asJSON))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&parsed); err != nil {
		return Settings{}, fmt.Errorf("the settings are not understood: %w", err)
	}
	keep(&parsed.SignUp.Collect, base.SignUp.Collect)
	keep(&parsed.Profile, base.Profile)
	keep(&parsed.Identifiers, base.Identifiers)
	keep(&parsed.Terms.Documents, base.Terms.Documents)
	keep(&parsed.Languages, base.Languages)
	keep(&parsed.Claims, base.Claims)
	keep(&parsed.Organizations.Roles, base.Organizations.Roles)
	keep(&parsed.Phone.Countries, base.Phone.Countries)
	keep(&parsed.Search.Identifiers, base.Search.Identifiers)
	keep(&parsed.Search.Attributes, base.Search.Attributes)
	return parsed, nil
}

// keep leaves a list that the text did not name as it was.
func keep[L ~[]E, E any](parsed *L, base L) {
	if *parsed == nil {
		*parsed = slices.Clone(base)
	}
}

var (
	identifierName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,30}$`)
	region         = regexp.MustCompile(`^[A-Z]{2}$`)
)

// Check returns everything that is wrong with s, joined; each line names the
// key, what is wrong and what is right.
func (s Settings) Check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	between := func(key string, d Duration, least, most time.Duration) {
		if d.D() < least || d.D() > most {
			fault("%s is %s; it is between %s and %s", key, d.D(), least, most)
		}
	}
	count := func(key string, n, least, most int) {
		if n < least || n > most {
			fault("%s is %d; it is between %d and %d", key, n, least, most)
		}
	}
	const day = 24 * time.Hour
	count("password.min_length", s.Password.MinLength, 8, 64)
	count("password.memory_kib", int(s.Password.MemoryKiB), 7*1024, 256*1024)
	count("password.time", int(s.Password.Time), 1, 10)
	count("password.parallelism", int(s.Password.Parallelism), 1, 4)
	if uint64(s.Password.MemoryKiB)*uint64(s.Password.Time) < 35*1024 {
		fault("password: %d KiB in %d passes is weaker than Argon2id at 19 MiB in 2; use 19456/2, 12288/3, 9216/4 or 7168/5 at the least", s.Password.MemoryKiB, s.Password.Time)
	}
	between("session.idle", s.Session.Idle, time.Minute, 90*day)
	between("session.absolute", s.Session.Absolute, s.Session.Idle.D(), 400*day)
	between("session.stay_idle", s.Session.StayIdle, time.Minute, 400*day)
	between("session.stay_absolute", s.Session.StayAbsolute, s.Session.StayIdle.D(), 400*day)
	count("limits.password_per_hour", s.Limits.PasswordPerHour, 3, 100)
	count("limits.password_total", s.Limits.PasswordTotal, 5, 100)
	count("limits.code_per_hour", s.Limits.CodePerHour, 3, 100)
	count("limits.code_total", s.Limits.CodeTotal, 5, 100)
	count("limits.send_per_hour", s.Limits.SendPerHour, 1, 100)
	count("limits.attempts_per_code", s.Limits.AttemptsPerCode, 1, 10)
	between("limits.code_lifetime", s.Limits.CodeLifetime, time.Minute, 10*time.Minute)
	between("tokens.access", s.Tokens.Access, time.Minute, day)
	between("tokens.id", s.Tokens.ID, time.Minute, day)
	between("tokens.code", s.Tokens.Code, 10*time.Second, 10*time.Minute)
	between("tokens.refresh_idle", s.Tokens.RefreshIdle, time.Minute, 400*day)
	between("tokens.refresh_absolute", s.Tokens.RefreshAbsolute, s.Tokens.RefreshIdle.D(), 1500*day)
	s.Lifecycle.check(between, fault)
	if err := claim.Check(s.Claims); err != nil {
		faults = append(faults, err)
	}
	if !region.MatchString(s.Region) {
		fault("region is %q; it is two capital letters such as GB", s.Region)
	}
	for _, country := range s.Phone.Countries {
		if !region.MatchString(country) {
			fault("phone.countries has %q; a country is two capital letters such as GB", country)
		}
	}
	count("phone.number_per_hour", s.Phone.NumberPerHour, 1, 20)
	count("phone.network_per_hour", s.Phone.NetworkPerHour, 1, 1000)
	count("phone.country_per_hour", s.Phone.CountryPerHour, 1, 1_000_000)
	count("phone.tenant_per_hour", s.Phone.TenantPerHour, 1, 1_000_000)
	if len(s.Languages) == 0 {
		fault("languages is empty; name at least one, the default first")
	}
	for _, name := range s.Languages {
		if _, err := language.Parse(name); err != nil {
			fault("languages: %q is no language of BCP 47, such as en or pt-BR", name)
		}
	}
	schema, err := CompileProfile(s.Profile)
	if err != nil {
		faults = append(faults, err)
	}
	for _, name := range s.SignUp.Collect {
		if schema != nil && !slices.Contains(schema.Names(), name) {
			fault("sign_up.collect names %q, which is not a property of profile", name)
		} else if schema != nil && !slices.ContainsFunc(schema.Attributes(), func(a Attribute) bool { return a.Top() == name }) {
			fault("sign_up.collect names %q, which is neither text, number nor yes or no: a form cannot ask for it", name)
		}
	}
	seen := map[string]bool{"email": true, "phone": true, "username": true}
	for _, declared := range s.Identifiers {
		if !identifierName.MatchString(declared.Name) {
			fault("identifiers: the name %q is not lower-case letters, digits and underscores", declared.Name)
		}
		if seen[declared.Name] {
			fault("identifiers: %q is there twice or built in", declared.Name)
		}
		seen[declared.Name] = true
		if _, err := declared.rule(); err != nil {
			fault("identifiers: %q: %w", declared.Name, err)
		}
	}
	if len(s.Terms.Documents) > 0 && s.Terms.Version == "" {
		fault("terms.documents needs terms.version, so that it can be proved which text was agreed to")
	}
	for _, document := range s.Terms.Documents {
		if !isWebPage(document.URL) {
			fault("terms: %q is not an https address", document.URL)
		}
	}
	faults = append(faults, s.Organizations.check()...)
	faults = append(faults, s.Search.check(s.Identifiers, schema)...)
	if strings.ContainsAny(s.Mail.FromAddress+s.Mail.FromName, "\r\n") || (s.Mail.FromAddress != "" && strings.Count(s.Mail.FromAddress, "@") != 1) {
		fault("mail: the sender %q <%s> is not one name and one address", s.Mail.FromName, s.Mail.FromAddress)
	}
	return errors.Join(faults...)
}

// check tells what is wrong. Whoever is warned has time to come back, and is not
// warned from the first day on.
func (l Lifecycle) check(between func(string, Duration, time.Duration, time.Duration), fault func(string, ...any)) {
	const day = 24 * time.Hour
	between("lifecycle.invited_for", l.InvitedFor, time.Hour, 90*day)
	between("lifecycle.close_window", l.CloseWindow, time.Hour, 90*day)
	for _, rule := range []struct {
		key, warning string
		after, warn  Duration
	}{
		{"lifecycle.dormant_after", "lifecycle.warn_dormant", l.DormantAfter, l.WarnDormant},
		{"lifecycle.erase_dormant_after", "lifecycle.warn_erase", l.EraseDormantAfter, l.WarnErase},
	} {
		if rule.warn != 0 {
			between(rule.warning, rule.warn, day, 90*day)
		}
		if rule.after == 0 {
			continue
		}
		between(rule.key, rule.after, 30*day, 3650*day)
		if rule.warn >= rule.after {
			fault("%s is %s, which is not shorter than %s, %s", rule.warning, rule.warn.D(), rule.key, rule.after.D())
		}
	}
}

// isWebPage tells whether pages may link to an address: over https, or over
// http on loopback for development.
func isWebPage(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsAny(address, " \\") {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

// Warnings returns what is allowed but weak, one sentence each.
func (s Settings) Warnings() []string {
	var warnings []string
	if s.Password.MinLength < 15 {
		warnings = append(warnings, fmt.Sprintf("password.min_length is %d: NIST SP 800-63B-4 asks for 15 where the password is the only factor", s.Password.MinLength))
	}
	for _, name := range s.Languages {
		if !i18n.Supports(name) {
			warnings = append(warnings, fmt.Sprintf("languages names %s, which pages and messages have no words in: nobody is shown it", name))
		}
	}
	return warnings
}
