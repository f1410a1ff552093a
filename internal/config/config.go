// Package config reads the settings of an installation: one YAML file, each
// key of which can also be given as an environment variable, which then counts
// more. `database.url` is CARDEA_DATABASE_URL.
//
// It is strict. Unknown keys, misspelt variables, values of the wrong type and
// missing secrets stop the start, all of them listed at once, each with what
// to do. Settings of tenants are not here: those are data.
//
// The struct tags of Config are the one source of names, defaults and
// explanations; Reference prints them, so that documentation cannot differ.
package config

import (
	"net/netip"
	"time"
)

// Config is an installation's settings. Its tags say: yaml, the key;
// default, the value where none is given; doc, what it is for; enum, the
// values allowed; min and max, the bounds; env "only", that it must not stand
// in the file.
type Config struct {
	Listen                string         `yaml:"listen" default:"127.0.0.1:8080" doc:"Address and port that serve customers and applications."`
	AdminSocket           string         `yaml:"admin_socket" doc:"Unix socket through which the commands of this machine reach the server. Empty means cardea.sock in the data folder."`
	DataDir               string         `yaml:"data_dir" default:"/var/lib/cardea" doc:"Folder for the SQLite databases and the admin socket."`
	BaseURL               string         `yaml:"base_url" doc:"Public address under which tenants without a host of their own are served, as <base_url>/t/<tenant>. Empty means that each tenant needs its own host."`
	SystemURL             string         `yaml:"system_url" doc:"Public origin of the built-in tenant of the operators, a host of its own. Empty means that it is not made; it cannot be changed later."`
	TrustedProxies        []netip.Prefix `yaml:"trusted_proxies" doc:"Networks of the reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, as in 10.0.0.0/8."`
	ShutdownGrace         time.Duration  `yaml:"shutdown_grace" default:"20s" min:"0s" max:"10m" doc:"How long requests in progress may take to finish when the server stops."`
	DrainDelay            time.Duration  `yaml:"drain_delay" default:"5s" min:"0s" max:"5m" doc:"How long the server, when it stops, still takes requests while /readyz already answers 503, so that the proxy before it sends them elsewhere. 0s where none asks /readyz."`
	EventRetention        time.Duration  `yaml:"event_retention" default:"0s" min:"0s" max:"175200h" doc:"How long events are kept, from 24h on, as in 8760h for a year. On PostgreSQL whole months are dropped. 0s keeps them for ever."`
	GeoIPFile             string         `yaml:"geoip_file" doc:"Database of places in the MaxMind DB format (such as GeoLite2 City). Customers see roughly where they are signed in. Empty means that places are not told."`
	BreachedPasswordsFile string         `yaml:"breached_passwords_file" doc:"Sorted list of the SHA-1 hashes of breached passwords, as Have I Been Pwned offers it. Empty means that only the built-in list of common passwords is checked."`

	Database Database `yaml:"database"`
	KeyStore KeyStore `yaml:"key_store"`
	RootKey  RootKey  `yaml:"root_key"`
	OldRoots OldRoots `yaml:"old_root_keys"`
	TLS      TLS      `yaml:"tls"`
	SMTP     SMTP     `yaml:"smtp"`
	Mail     Mail     `yaml:"mail"`
	SMS      SMS      `yaml:"sms"`
	Outgoing Outgoing `yaml:"outgoing"`
	Log      Log      `yaml:"log"`
	Metrics  Metrics  `yaml:"metrics"`
	Tracing  Tracing  `yaml:"tracing"`
	Hashing  Hashing  `yaml:"hashing"`
	Limits   Limits   `yaml:"limits"`
	Rate     Rate     `yaml:"rate_limit"`
}

// Database says where everything but customers' keys is kept.
type Database struct {
	URL            Secret `yaml:"url" doc:"sqlite:/absolute/path.db or postgres://user:password@host/name, special characters of the password percent-encoded; ?sslmode=verify-full has the server's certificate checked. Empty means cardea.db in the data folder."`
	MaxConnections int    `yaml:"max_connections" default:"16" min:"2" max:"1000" doc:"Connections that this node holds to PostgreSQL, or readers of SQLite."`
}

// KeyStore says where customers' keys are kept.
type KeyStore struct {
	URL Secret `yaml:"url" doc:"Database of its own for customers' keys, backed up apart from the other for at most 30 days, written as database.url. Empty means keys.db in the data folder, where the database is SQLite too."`
}

// RootKey says where the key is from that all others are wrapped with. The
// server needs exactly one of the two.
type RootKey struct {
	File  string `yaml:"file" doc:"File that holds the root key: 32 bytes, raw or in base64. Exactly one of root_key.file and CARDEA_ROOT_KEY_VALUE is needed."`
	Value Secret `yaml:"value" env:"only" doc:"The root key itself: 32 bytes in base64."`
}

// OldRoots are root keys that only unwrap, while the root key is replaced.
type OldRoots struct {
	Files  []string `yaml:"files" doc:"Files of former root keys, which still unwrap what they wrapped. 'cardea keys root show' tells when they are needed no more."`
	Values []Secret `yaml:"values" env:"only" doc:"Former root keys themselves, in base64."`
}

// None tells whether there are none.
func (o OldRoots) None() bool { return len(o.Files) == 0 && len(o.Values) == 0 }

// TLS says how the public address is encrypted, where no proxy does that.
type TLS struct {
	CertFile   string `yaml:"cert_file" doc:"Certificate chain in PEM. Read again when it changes."`
	KeyFile    string `yaml:"key_file" doc:"Private key of the certificate in PEM."`
	MinVersion string `yaml:"min_version" default:"1.2" enum:"1.2,1.3" doc:"Lowest version of TLS that is spoken, in quotes."`
}

// Enabled tells whether the server itself speaks TLS.
func (t TLS) Enabled() bool { return t.CertFile != "" }

// SMTP says how mail is sent.
type SMTP struct {
	Host     string `yaml:"host" doc:"Mail server. Empty means that no mail can be sent."`
	Port     int    `yaml:"port" default:"587" min:"1" max:"65535" doc:"Port of the mail server."`
	User     string `yaml:"user" doc:"User name there, if it asks for one."`
	Password Secret `yaml:"password" doc:"Password for that user name."`
	TLS      string `yaml:"tls" default:"starttls" enum:"starttls,tls,none" doc:"Encryption: starttls (must succeed), tls (from the first byte, often port 465), or none."`
	From     string `yaml:"from" doc:"Sender of brands that have none of their own, as in Cardea <no-reply@example.com>."`
}

// Mail says which provider's HTTP API takes mail in the place of a mail server,
// and how what it tells of bounces and complaints is known to be its own.
type Mail struct {
	Preset     string `yaml:"preset" enum:",ses,postmark,sendgrid,mailgun" doc:"Provider whose HTTP API takes mail: ses, postmark, sendgrid or mailgun. Empty means the server that smtp names."`
	Secret     Secret `yaml:"secret" doc:"Key of that API: Postmark's server token, SendGrid's or Mailgun's API key, or the secret access key for SES."`
	KeyID      string `yaml:"key_id" doc:"Access key id that belongs to the secret, for SES."`
	Region     string `yaml:"region" doc:"Region of SES, as in eu-central-1."`
	Domain     string `yaml:"domain" doc:"Sending domain as Mailgun knows it."`
	Stream     string `yaml:"stream" doc:"Message stream of Postmark or configuration set of SES. Empty means theirs."`
	Endpoint   string `yaml:"endpoint" doc:"Origin of the API where it is not the usual one, as in https://api.eu.mailgun.net."`
	HookSecret Secret `yaml:"hook_secret" doc:"What bounces and complaints at /hooks/mail/ are authenticated with: the password of Postmark's webhook, SendGrid's verification key, Mailgun's signing key, or the secret of the generic one. Empty means that none are taken."`
	HookTopic  string `yaml:"hook_topic" doc:"ARN of the SNS topic by which SES tells of bounces and complaints. Empty means that none are taken."`
	DKIM       string `yaml:"dkim_selectors" doc:"Selectors that 'cardea mail check' looks for, separated by spaces. Empty means the usual ones of the preset."`
	SPFInclude string `yaml:"spf_include" doc:"Domain that a sender's SPF record has to include, for 'cardea mail check'. Empty means that of the preset."`
}

// SMS says how text messages are sent.
type SMS struct {
	Preset  string   `yaml:"preset" enum:",twilio,vonage,messagebird,custom" doc:"Provider that takes text messages: twilio, vonage, messagebird (Bird), or custom for what the keys below describe. Empty means that none can be sent."`
	Account string   `yaml:"account" doc:"Account at the provider: Twilio's account SID or Vonage's API key."`
	Secret  Secret   `yaml:"secret" doc:"Secret of that account: auth token, API secret or access key."`
	Sender  string   `yaml:"sender" doc:"Who text messages come from where a brand has no sender of its own: at most 11 letters and digits, a number, or the SID of a messaging service of Twilio's."`
	URL     string   `yaml:"url" doc:"Address of a custom provider's API; {{account}} stands for the account."`
	Method  string   `yaml:"method" default:"POST" enum:"POST,PUT,GET" doc:"How a custom provider is asked. GET has the body as its query."`
	Headers []string `yaml:"headers" doc:"Headers for a custom provider, as in 'Authorization: Bearer {{secret}}'. {{account}}, {{secret}} and {{basic}} stand for the account, the secret, and both as HTTP's basic authentication writes them."`
	Format  string   `yaml:"format" default:"json" enum:"json,form" doc:"Whether the body is JSON or a form."`
	Body    string   `yaml:"body" doc:"What a custom provider is sent. {{to}}, {{to_digits}}, {{text}}, {{sender}}, {{id}}, {{account}} and {{secret}} are put in as data."`
}

// Outgoing bounds whom the program itself asks over HTTP.
type Outgoing struct {
	AllowNetworks []netip.Prefix `yaml:"allow_networks" doc:"Private networks that may be asked all the same, as in 10.20.0.0/16: a gateway for text messages in your own network. All others that are not on the Internet are refused."`
}

// Log says what is logged, on standard error.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"debug,info,warn,error" doc:"Least level that is logged."`
	Format string `yaml:"format" default:"json" enum:"json,text" doc:"json for machines, text for people."`
}

// Metrics says where Prometheus reads.
type Metrics struct {
	Listen string `yaml:"listen" doc:"Address and port that serve /metrics, without authentication. Empty means none."`
}

// Hashing bounds what password hashing takes.
// Tracing says where traces of OpenTelemetry go.
type Tracing struct {
	Endpoint string  `yaml:"otlp_endpoint" doc:"Collector that takes traces by OTLP over HTTP, as in http://127.0.0.1:4318. Empty means what OTEL_EXPORTER_OTLP_ENDPOINT says, and without that none are made."`
	Headers  Secret  `yaml:"headers" doc:"Headers sent with them, as in api-key=secret,team=login."`
	Ratio    float64 `yaml:"sample_ratio" default:"1" min:"0" max:"1" doc:"Part of the traces begun here that is kept, from 0 to 1."`

	Service    string            `yaml:"-"` // OTEL_SERVICE_NAME
	Attributes map[string]string `yaml:"-"` // OTEL_RESOURCE_ATTRIBUTES
	Traces     string            `yaml:"-"` // the address for traces itself
	Sent       map[string]string `yaml:"-"` // Headers, read
}

type Hashing struct {
	MaxConcurrent  int `yaml:"max_concurrent" default:"0" min:"0" max:"1024" doc:"Passwords hashed at the same time. 0 means one for each processor."`
	QueueLength    int `yaml:"queue_length" default:"512" min:"1" max:"100000" doc:"Sign-ins that wait for a hash before further ones are answered with 503."`
	MemoryLimitMiB int `yaml:"memory_limit_mib" default:"192" min:"32" max:"1048576" doc:"Memory, in MiB, that hashes in progress take together at most."`
}

// Limits bounds what one request takes.
type Limits struct {
	MaxBodyBytes   int64         `yaml:"max_body_bytes" default:"65536" min:"4096" max:"16777216" doc:"Largest body of a request, in bytes."`
	MaxHeaderBytes int           `yaml:"max_header_bytes" default:"16384" min:"4096" max:"1048576" doc:"Largest header of a request, in bytes."`
	ReadTimeout    time.Duration `yaml:"read_timeout" default:"10s" min:"1s" max:"10m" doc:"How long a request may take to arrive."`
	WriteTimeout   time.Duration `yaml:"write_timeout" default:"30s" min:"1s" max:"10m" doc:"How long a request may take from its header's arrival to the end of its answer."`
	IdleTimeout    time.Duration `yaml:"idle_timeout" default:"2m" min:"1s" max:"1h" doc:"How long a connection stays open without a request."`
}

// Rate bounds what one network asks of one node: an IPv4 address or an IPv6
// /64. The defaults are what a company behind one address does not reach.
type Rate struct {
	FormsPerSecond    int `yaml:"forms_per_second" default:"10" min:"0" max:"100000" doc:"Forms that one network may post to the hosted pages a second. 0 means no limit."`
	FormsBurst        int `yaml:"forms_burst" default:"100" min:"1" max:"1000000" doc:"Forms that it may post at once, after a rest."`
	FailuresPerSecond int `yaml:"failures_per_second" default:"5" min:"0" max:"100000" doc:"Failed client authentications of one network with one application a second, after which that application is refused to it at the token, introspection and revocation endpoints. 0 means no limit."`
	FailuresBurst     int `yaml:"failures_burst" default:"50" min:"1" max:"1000000" doc:"Failures that it may have at once, after a rest."`
	AdminPerSecond    int `yaml:"admin_per_second" default:"50" min:"0" max:"100000" doc:"Requests of one operator or application to the admin API a second. 0 means no limit."`
	AdminBurst        int `yaml:"admin_burst" default:"200" min:"1" max:"1000000" doc:"Requests that it may make at once, after a rest."`
}
