package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// envPrefix begins every environment variable; those that begin so and are
// none of ours are faults.
const envPrefix = "CARDEA_"

// reservedEnv are the variables with our prefix that are no keys: the command
// line reads them.
var reservedEnv = [...]string{"CARDEA_CONFIG"}

// maxFileBytes is the size of the largest file read.
const maxFileBytes = 1 << 20

// Options say where the settings are.
type Options struct {
	File    string   // path of the YAML file, "" for none
	Environ []string // as os.Environ gives it
	// Development is set by `cardea dev`, which makes a root key of its own.
	Development bool
}

// Fault is one thing that is wrong.
type Fault struct {
	Key     string // "database.url", or a variable's name where it is none of ours
	Source  string // "cardea.yaml:12" or "CARDEA_DATABASE_URL"; "" where something is missing
	Problem string // what is wrong: "is 0"
	Advice  string // what to do: "give a number from 2 to 1000"
}

// String returns the fault as one line.
func (f Fault) String() string {
	text := f.Key
	if f.Source != "" && f.Source != f.Key {
		text += " (" + f.Source + ")"
	}
	return text + " " + f.Problem + "; " + f.Advice
}

// Error lists everything that is wrong with the settings.
type Error struct {
	Faults []Fault
}

func (e *Error) Error() string {
	lines := []string{"the configuration has 1 fault:"}
	if len(e.Faults) != 1 {
		lines[0] = fmt.Sprintf("the configuration has %d faults:", len(e.Faults))
	}
	for _, fault := range e.Faults {
		lines = append(lines, "  - "+fault.String())
	}
	return strings.Join(lines, "\n")
}

// Default returns the settings where none are given.
func Default() *Config {
	c := &Config{}
	for _, f := range fieldsOf(c) {
		if f.preset == "" {
			continue
		}
		if problem, advice := f.set(f.preset); problem != "" {
			panic(fmt.Sprintf("config: the default of %s %s; %s", f.key, problem, advice)) // a slip in the tags, met by the first test
		}
	}
	return c
}

// Load reads the settings. The error is an *Error that lists every fault.
func Load(options Options) (*Config, error) {
	c := Default()
	fields := fieldsOf(c)
	given := make(map[string]string) // key → where its value is from
	var faults []Fault
	if options.File != "" {
		faults = append(faults, readFile(options.File, fields, given)...)
	}
	faults = append(faults, readEnviron(options.Environ, fields, given)...)
	faults = append(faults, c.complete()...)
	faults = append(faults, c.openTelemetry(options.Environ, given)...)
	unread := slices.Clone(faults)
	for _, fault := range c.check(options.Development) {
		// A key whose value could not be read is reported once.
		if !slices.ContainsFunc(unread, func(f Fault) bool { return f.Key == fault.Key || strings.HasPrefix(f.Key, fault.Key+".") }) {
			fault.Source = given[fault.Key]
			faults = append(faults, fault)
		}
	}
	if len(faults) > 0 {
		return nil, &Error{Faults: faults}
	}
	return c, nil
}

// complete fills what depends on other settings.
func (c *Config) complete() []Fault {
	var faults []Fault
	dir, err := filepath.Abs(c.DataDir)
	if err != nil || c.DataDir == "" {
		faults = append(faults, Fault{Key: "data_dir", Problem: "is not a usable path", Advice: "give a folder, as in /var/lib/cardea"})
		dir = string(filepath.Separator) // so that what is derived from it is not reported too
	}
	c.DataDir = dir
	if c.AdminSocket == "" {
		c.AdminSocket = filepath.Join(dir, "cardea.sock")
	}
	if c.Database.URL.IsZero() {
		c.Database.URL = NewSecret("sqlite:" + filepath.Join(dir, "cardea.db"))
	}
	if c.KeyStore.URL.IsZero() && strings.HasPrefix(c.Database.URL.Reveal(), "sqlite:") {
		c.KeyStore.URL = NewSecret("sqlite:" + filepath.Join(dir, "keys.db"))
	}
	return faults
}

func readEnviron(environ []string, fields []field, given map[string]string) []Fault {
	var faults []Fault
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(reservedEnv[:], name) {
			continue
		}
		at := slices.IndexFunc(fields, func(f field) bool { return f.env == name })
		if at < 0 && isServiceLink(name, value) {
			continue
		}
		if at < 0 {
			names := make([]string, len(fields))
			for i, f := range fields {
				names[i] = f.env
			}
			faults = append(faults, Fault{Key: name, Source: name, Problem: "is not a known variable", Advice: "remove it" + similar(name, names)})
			continue
		}
		f := fields[at]
		given[f.key] = name
		if problem, advice := f.set(value); problem != "" {
			faults = append(faults, Fault{Key: f.key, Source: name, Problem: problem, Advice: advice})
		}
	}
	return faults
}

// serviceLink matches what Kubernetes adds to the environment of every
// container beside a Service named cardea, unless the pod says
// enableServiceLinks: false. It has our prefix and is none of our settings.
var serviceLink = regexp.MustCompile(`^CARDEA_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)$`)

// isServiceLink tells whether a variable is one of those. CARDEA_PORT is one only
// if it holds the address of a service: whoever sets it to a port means listen.
func isServiceLink(name, value string) bool {
	if name == "CARDEA_PORT" {
		return strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://")
	}
	return serviceLink.MatchString(name)
}

// field is one key of the settings.
type field struct {
	key, env string
	preset   string // the default, as it would be written in the environment
	doc      string
	enum     []string
	min, max string
	envOnly  bool
	value    reflect.Value
}

// fieldsOf lists every key of c, in the order of its declaration.
func fieldsOf(c *Config) []field {
	var fields []field
	var walk func(value reflect.Value, prefix string)
	walk = func(value reflect.Value, prefix string) {
		for i := range value.NumField() {
			tags := value.Type().Field(i).Tag
			if tags.Get("yaml") == "-" {
				continue // made of others
			}
			key := prefix + tags.Get("yaml")
			if inner := value.Field(i); inner.Kind() == reflect.Struct && inner.Type() != reflect.TypeFor[Secret]() {
				walk(inner, key+".")
				continue
			}
			f := field{
				key: key, env: envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_")), preset: tags.Get("default"), doc: tags.Get("doc"),
				min: tags.Get("min"), max: tags.Get("max"), envOnly: tags.Get("env") == "only", value: value.Field(i),
			}
			if enum := tags.Get("enum"); enum != "" {
				f.enum = strings.Split(enum, ",")
			}
			fields = append(fields, f)
		}
	}
	walk(reflect.ValueOf(c).Elem(), "")
	return fields
}

// set reads text, as it stands in the environment, into the field. It returns
// what is wrong with it, "" if nothing is.
func (f field) set(text string) (problem, advice string) {
	if f.list() {
		var parts []string
		if strings.TrimSpace(text) != "" {
			parts = strings.Split(text, ",")
		}
		return f.setList(parts)
	}
	switch f.value.Interface().(type) {
	case string:
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "has a control character", "remove it"
		}
		if f.enum != nil && !slices.Contains(f.enum, text) {
			return fmt.Sprintf("is %q", text), "give one of " + strings.Join(f.enum, ", ")
		}
		f.value.SetString(text)
	case Secret:
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "has a control character, perhaps a line end", "remove it"
		}
		f.value.Set(reflect.ValueOf(NewSecret(text)))
	case int, int64:
		low, _ := strconv.ParseInt(f.min, 10, 64)
		high, _ := strconv.ParseInt(f.max, 10, 64)
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil || number < low || number > high {
			return fmt.Sprintf("is %q", text), fmt.Sprintf("give a whole number from %d to %d", low, high)
		}
		f.value.SetInt(number)
	case float64:
		low, _ := strconv.ParseFloat(f.min, 64)
		high, _ := strconv.ParseFloat(f.max, 64)
		number, err := strconv.ParseFloat(text, 64)
		if err != nil || !(number >= low && number <= high) {
			return fmt.Sprintf("is %q", text), "give a number from " + f.min + " to " + f.max
		}
		f.value.SetFloat(number)
	case time.Duration:
		low, _ := time.ParseDuration(f.min)
		high, _ := time.ParseDuration(f.max)
		duration, err := time.ParseDuration(text)
		if err != nil || duration < low || duration > high {
			return fmt.Sprintf("is %q", text), fmt.Sprintf("give a time from %s to %s with its unit, as in 30s", f.min, f.max)
		}
		f.value.SetInt(int64(duration))
	default:
		return "cannot be read", "report this: its type is " + f.value.Type().String()
	}
	return "", ""
}

// list tells whether the field takes several values.
func (f field) list() bool { return f.value.Kind() == reflect.Slice }

// setList reads the parts of a list into the field.
func (f field) setList(parts []string) (problem, advice string) {
	switch f.value.Interface().(type) {
	case []string:
		return f.setTexts(parts, func(text string) reflect.Value { return reflect.ValueOf(text) })
	case []Secret:
		return f.setTexts(parts, func(text string) reflect.Value { return reflect.ValueOf(NewSecret(text)) })
	}
	return f.setPrefixes(parts)
}

// setTexts reads a list of texts.
func (f field) setTexts(parts []string, made func(string) reflect.Value) (problem, advice string) {
	values := reflect.Zero(f.value.Type())
	for _, part := range parts {
		part = strings.TrimSpace(part)
		if strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "has a control character, perhaps a line end", "remove it"
		}
		values = reflect.Append(values, made(part))
	}
	f.value.Set(values)
	return "", ""
}

// setPrefixes reads a list of networks.
func (f field) setPrefixes(parts []string) (problem, advice string) {
	prefixes := make([]netip.Prefix, 0, len(parts))
	for _, part := range parts {
		part = strings.TrimSpace(part)
		prefix, err := netip.ParsePrefix(part)
		if err != nil {
			addr, errAddr := netip.ParseAddr(part)
			if errAddr != nil || addr.Zone() != "" {
				return fmt.Sprintf("has %q", part), "give networks or addresses, as in 10.0.0.0/8 or 192.0.2.7"
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if prefix.Masked() != prefix {
			return fmt.Sprintf("has %q, which has bits beyond its network", part), "write " + prefix.Masked().String()
		}
		prefixes = append(prefixes, prefix)
	}
	if len(prefixes) == 0 {
		prefixes = nil
	}
	f.value.Set(reflect.ValueOf(prefixes))
	return "", ""
}

// similar returns a hint at the known name that is nearest to name, if one is
// near.
func similar(name string, known []string) string {
	best, least := "", 4
	for _, candidate := range known {
		if d := distance(name, candidate); d < least && d < len(name)/2 {
			best, least = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return ", or did you mean " + best + "?"
}

// distance counts the letters to insert, remove or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// readFile reads the file at path into fields.
func readFile(path string, fields []field, given map[string]string) []Fault {
	fault := func(problem, advice string) []Fault {
		return []Fault{{Key: path, Source: path, Problem: problem, Advice: advice}}
	}
	info, err := os.Stat(path)
	if err != nil {
		return fault("cannot be read ("+reason(err)+")", "check the path given with --config")
	}
	if !info.Mode().IsRegular() || info.Size() > maxFileBytes {
		return fault("is not a file of at most 1 MiB", "check the path given with --config")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fault("cannot be read ("+reason(err)+")", "check the path given with --config and who may read it")
	}
	return readYAML(filepath.Base(path), data, fields, given)
}

func reason(err error) string {
	if pathError, ok := errors.AsType[*os.PathError](err); ok {
		return pathError.Err.Error()
	}
	return err.Error()
}
