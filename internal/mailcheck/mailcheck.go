// Package mailcheck looks up what the domain name system says of a domain that
// mail is sent from, and tells whether mailboxes will believe that mail, what
// that means, and which record to add.
//
// It asks the resolver that it is given and knows no tenants.
package mailcheck

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Resolver looks names up: *net.Resolver.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
}

// Sender is a domain that mail comes from.
type Sender struct {
	Domain    string
	Include   string   // the domain of whoever delivers, which its SPF record includes; "" is not looked for
	Selectors []string // of its DKIM keys; one has to be there
}

// Verdict is how it stands.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Weak    Verdict = "weak"
	Missing Verdict = "missing"
	Unknown Verdict = "unknown" // it could not be looked up
)

// Finding is what was found of one kind of record.
type Finding struct {
	Domain  string  `json:"domain"`
	Record  string  `json:"record"` // "SPF", "DKIM", "DMARC", "MX"
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found,omitempty"`
	Means   string  `json:"means"`
	Add     string  `json:"add,omitempty"` // the record to add or change, as a zone file has it
}

// Check looks at all that says whether mail of a domain is to be believed.
func Check(ctx context.Context, resolver Resolver, s Sender) []Finding {
	return []Finding{spf(ctx, resolver, s), dkim(ctx, resolver, s), dmarc(ctx, resolver, s), mx(ctx, resolver, s)}
}

// texts are the TXT records of a name that begin with a tag.
func texts(ctx context.Context, resolver Resolver, name, tag string) ([]string, error) {
	all, err := resolver.LookupTXT(ctx, name)
	var failed *net.DNSError
	if errors.As(err, &failed) && failed.IsNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []string
	for _, text := range all {
		if rest, is := strings.CutPrefix(strings.ToLower(text), tag); is && (rest == "" || strings.ContainsAny(rest[:1], " ;")) {
			found = append(found, text)
		}
	}
	return found, nil
}

const notLooked = "It could not be looked up. Try again, or check this machine's name server."

// spf is RFC 7208.
func spf(ctx context.Context, resolver Resolver, s Sender) Finding {
	f := Finding{Domain: s.Domain, Record: "SPF"}
	include := ""
	if s.Include != "" {
		include = " include:" + s.Include
	}
	if include != "" { // a record that names nobody would have all mail refused
		f.Add = s.Domain + `. TXT "v=spf1` + include + ` ~all"`
	}
	found, err := texts(ctx, resolver, s.Domain, "v=spf1")
	f.Found = strings.Join(found, " | ")
	switch {
	case err != nil:
		f.Verdict, f.Means, f.Add = Unknown, notLooked, ""
		return f
	case len(found) == 0:
		f.Verdict, f.Means = Missing, "No record says which servers may send for the domain. Many mailboxes put such mail aside."
		if include == "" {
			f.Means += ` Publish one that names your mail server, as in "v=spf1 mx ~all", "v=spf1 a:mail.example.com ~all" or what its provider says; set mail.spf_include to have it compared here.`
		}
		return f
	case len(found) > 1:
		f.Verdict, f.Means, f.Add = Weak, "There is more than one record, which counts as an error (RFC 7208, section 4.5). Keep one.", ""
		return f
	}
	terms := strings.Fields(strings.ToLower(found[0]))
	has := func(wanted ...string) bool {
		for _, term := range terms {
			for _, one := range wanted {
				if term == one || strings.HasSuffix(one, "=") && strings.HasPrefix(term, one) {
					return true
				}
			}
		}
		return false
	}
	switch {
	case has("all", "+all", "?all"):
		f.Verdict, f.Means = Weak, "The record lets every server send for the domain. End it in ~all or -all."
	case !has("~all", "-all", "redirect="):
		f.Verdict, f.Means = Weak, "The record does not say what of all other servers. End it in ~all or -all."
	case s.Include != "" && !has("include:"+s.Include, "+include:"+s.Include, "redirect="):
		f.Verdict, f.Means = Weak, "The record does not name who delivers the mail. That is right only where bounces go to a domain of the deliverer's (a return path) and DKIM is in place."
		f.Add = s.Domain + `. TXT "` + strings.Replace(found[0], "v=spf1", "v=spf1"+include, 1) + `"`
	default:
		f.Verdict, f.Means, f.Add = OK, "The record says which servers may send for the domain.", ""
	}
	return f
}

// leastBits is how long an RSA key of DKIM should be (RFC 8301, section 3.2).
const leastBits = 2048

// dkim is RFC 6376.
func dkim(ctx context.Context, resolver Resolver, s Sender) Finding {
	f := Finding{Domain: s.Domain, Record: "DKIM", Verdict: Missing}
	if len(s.Selectors) == 0 {
		f.Verdict, f.Means = Unknown, "Keys stand under names that only whoever signs the mail knows. Say them in mail.dkim_selectors, separated by spaces, and check again."
		return f
	}
	name := s.Selectors[0] + "._domainkey." + s.Domain
	f.Add = name + ". TXT or CNAME, as whoever delivers the mail shows it"
	f.Means = "No key is found under " + strings.Join(s.Selectors, ", ") + ". Without a signature of the domain, mail is believed by few and DMARC cannot pass after forwarding."
	for _, selector := range s.Selectors {
		name := selector + "._domainkey." + s.Domain
		all, err := resolver.LookupTXT(ctx, name)
		var failed *net.DNSError
		if err != nil && (!errors.As(err, &failed) || !failed.IsNotFound) {
			f.Verdict, f.Means, f.Add = Unknown, notLooked, ""
			continue
		}
		for _, text := range all {
			tags := tagsOf(text)
			key, has := tags["p"]
			if version := tags["v"]; !has || version != "" && version != "DKIM1" {
				continue
			}
			f.Found = name
			switch bits := bitsOf(tags["k"], key); {
			case key == "":
				f.Verdict, f.Means = Missing, "The key under "+selector+" was withdrawn."
				continue
			case bits < 0:
				f.Verdict, f.Means, f.Add = Weak, "The key under "+selector+" cannot be read.", name+". TXT, with the key as whoever delivers the mail shows it"
			case bits > 0 && bits < leastBits:
				f.Verdict, f.Means, f.Add = Weak, fmt.Sprintf("The key under %s has %d bits; 2048 are asked for (RFC 8301, section 3.2).", selector, bits), "a new key, made with whoever delivers the mail"
			default:
				f.Verdict, f.Means, f.Add = OK, "A key is there under "+selector+".", ""
				return f
			}
		}
	}
	return f
}

func tagsOf(text string) map[string]string {
	tags := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		if name, value, found := strings.Cut(part, "="); found {
			tags[strings.ToLower(strings.TrimSpace(name))] = strings.Join(strings.Fields(value), "")
		}
	}
	return tags
}

// bitsOf is how long an RSA key is, 0 for another kind, -1 for what is none.
func bitsOf(kind, key string) int {
	if kind != "" && kind != "rsa" {
		return 0
	}
	der, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return -1
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return -1
	}
	public, is := parsed.(*rsa.PublicKey)
	if !is {
		return -1
	}
	return public.N.BitLen()
}

// dmarc is RFC 7489. The policy of a domain above holds where the domain has
// none of its own.
func dmarc(ctx context.Context, resolver Resolver, s Sender) Finding {
	f := Finding{Domain: s.Domain, Record: "DMARC"}
	var found []string
	labels := strings.Split(s.Domain, ".")
	for at := 0; at+1 < len(labels); at++ {
		domain := strings.Join(labels[at:], ".")
		var err error
		if found, err = texts(ctx, resolver, "_dmarc."+domain, "v=dmarc1"); err != nil {
			f.Verdict, f.Means = Unknown, notLooked
			return f
		}
		if len(found) > 0 {
			if at > 0 {
				f.Found = domain + ": "
			}
			break
		}
	}
	f.Add = "_dmarc." + s.Domain + `. TXT "v=DMARC1; p=quarantine; rua=mailto:dmarc@` + s.Domain + `"`
	f.Found += strings.Join(found, " | ")
	switch {
	case len(found) == 0:
		f.Verdict, f.Means = Missing, "Nothing says what mailboxes are to do with mail that others send in the domain's name. Large providers ask senders for it."
		return f
	case len(found) > 1:
		f.Verdict, f.Means, f.Add = Weak, "There is more than one record, so that none counts (RFC 7489, section 6.6.3). Keep one.", ""
		return f
	}
	tags := tagsOf(found[0])
	policy := strings.ToLower(tags["p"])
	if own := strings.ToLower(tags["sp"]); own != "" && strings.Contains(f.Found, ": ") {
		policy = own
	}
	switch {
	case policy == "none":
		f.Verdict, f.Means = Weak, "The policy is none: mail that others send in the domain's name is delivered all the same. Once reports show that your own passes, set quarantine or reject."
	case policy != "quarantine" && policy != "reject":
		f.Verdict, f.Means = Weak, "The record has no policy that is understood."
	case tags["pct"] != "" && tags["pct"] != "100":
		f.Verdict, f.Means = Weak, "The policy holds for "+tags["pct"]+" % of mail only."
	default:
		f.Verdict, f.Means, f.Add = OK, "Mail that others send in the domain's name is put aside or refused.", ""
	}
	return f
}

// mx tells whether answers and bounces reach anybody (RFC 5321, RFC 7505).
func mx(ctx context.Context, resolver Resolver, s Sender) Finding {
	f := Finding{Domain: s.Domain, Record: "MX"}
	found, err := resolver.LookupMX(ctx, s.Domain)
	var failed *net.DNSError
	switch {
	case errors.As(err, &failed) && failed.IsNotFound, err == nil && len(found) == 0:
		f.Verdict, f.Means = Weak, "The domain takes no mail: answers, and bounces of mail servers without a return path of their own, are lost. Some mailboxes distrust such senders."
		f.Add = s.Domain + ". MX 10 <your mail server>."
	case err != nil && len(found) == 0:
		f.Verdict, f.Means = Unknown, notLooked
	case len(found) == 1 && found[0].Host == ".":
		f.Found, f.Verdict, f.Means = ".", Weak, "The domain says that it takes no mail at all (RFC 7505), and yet sends some: mailboxes may refuse it."
		f.Add = s.Domain + ". MX 10 <your mail server>."
	default:
		f.Found, f.Verdict, f.Means = found[0].Host, OK, "Answers and bounces reach a mail server."
	}
	return f
}
