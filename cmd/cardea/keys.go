package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cardea-id/cardea/internal/keyring"
)

type rotateKeysCommand struct {
	ofTenant
	output
	Alg      string `placeholder:"ALG" xor:"what" required:"" help:"Replace the signing key of this algorithm: ES256, RS256 or EdDSA."`
	Envelope bool   `xor:"what" required:"" help:"Replace the key that wraps the keys of the tenant's customers."`
	Lookup   bool   `xor:"what" required:"" help:"Replace the key of the hashes that customers are found by."`
}

func (c *rotateKeysCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var done struct {
		KID      string      `json:"kid,omitempty"`
		Envelope bool        `json:"envelope,omitempty"`
		Lookup   *lookupView `json:"lookup,omitempty"`
	}
	err = cl.call(ctx, http.MethodPost, pathTo("tenants", c.Tenant, "keys", "rotate"), nil, map[string]any{"alg": c.Alg, "envelope": c.Envelope, "lookup": c.Lookup}, &done)
	if err != nil {
		return err
	}
	return c.show(p, done, func() error {
		if c.Lookup {
			return done.Lookup.print(p)
		}
		if c.Envelope {
			return p.line("The tenant has a new key, which is used within 15 seconds. Servers then move its customers' keys to it; 'cardea keys rewrap' does so at once.")
		}
		return p.line("The key %s is published. Servers sign with it once every cached copy of the key set has run out.", done.KID)
	})
}

type lookupView struct {
	Phase     string    `json:"phase"`
	StartedAt time.Time `json:"started_at,omitzero"`
	ReadyAt   time.Time `json:"ready_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	Rewritten int64     `json:"rewritten"`
	Failed    int64     `json:"failed"`
}

func (v *lookupView) print(p *program) error {
	if v.Phase == "none" {
		return p.line("The tenant has one look-up key; none is being replaced.")
	}
	said := map[string]string{
		"announced": "every server learns of the new key; both are known, the old one is used",
		"rewriting": "identifiers are given hashes under the new key; they are found under both",
		"clearing":  "the old key is gone; what stood under it is being deleted",
	}[v.Phase]
	if err := p.fields("phase", v.Phase+": "+said, "begun", when(v.StartedAt), "rewriting from", when(v.ReadyAt), "old key dropped", when(v.EndedAt),
		"identifiers rewritten", strconv.FormatInt(v.Rewritten, 10)); err != nil {
		return err
	}
	if v.Failed > 0 {
		return p.line("%d identifiers could not be rewritten; the server's log says why, and tries again. The old key stays until all are.", v.Failed)
	}
	return p.line("Servers go on with it by themselves; 'cardea keys lookup' shows how far they are.")
}

type lookupCommand struct {
	ofTenant
	output
}

func (c *lookupCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var now lookupView
	if err := cl.call(ctx, http.MethodGet, pathTo("tenants", c.Tenant, "keys", "lookup"), nil, nil, &now); err != nil {
		return err
	}
	return c.show(p, now, func() error { return now.print(p) })
}

type keyView struct {
	KID       string    `json:"kid"`
	Alg       string    `json:"alg"`
	State     string    `json:"state"`
	CreatedAt time.Time `json:"created_at"`
	ActiveAt  time.Time `json:"active_at,omitzero"`
	RetiredAt time.Time `json:"retired_at,omitzero"`
	GoneAt    time.Time `json:"gone_at,omitzero"`
}

type listKeysCommand struct {
	ofTenant
	output
}

func (c *listKeysCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := list[keyView](ctx, cl, pathTo("tenants", c.Tenant, "keys"), nil, 0)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		for _, k := range found {
			lines = append(lines, []string{k.KID, k.Alg, k.State, when(k.CreatedAt), when(k.ActiveAt), when(k.RetiredAt), when(k.GoneAt)})
		}
		return p.table("The tenant has no signing keys.", []string{"KID", "ALG", "STATE", "CREATED", "ACTIVE", "RETIRED", "GONE"}, lines)
	})
}

type rootView struct {
	ID         string `json:"id"`
	Present    bool   `json:"present"`
	Configured bool   `json:"configured"`
	Keys       int64  `json:"keys"`
}

type showRootsCommand struct {
	place
	output
}

func (c *showRootsCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	found, err := list[rootView](ctx, cl, pathTo("root-key"), nil, 0)
	if err != nil {
		return err
	}
	return c.show(p, found, func() error {
		var lines [][]string
		left := int64(0)
		for _, root := range found {
			use := "old, needed no more"
			switch {
			case root.Present:
				use = "present"
			case !root.Configured:
				use = "not configured here"
			case root.Keys > 0:
				use = "old, needed"
			}
			if !root.Present {
				left += root.Keys
			}
			lines = append(lines, []string{root.ID, use, strconv.FormatInt(root.Keys, 10)})
		}
		if err := p.table("", []string{"ROOT KEY", "USE", "TENANTS' KEYS UNDER IT"}, lines); err != nil {
			return err
		}
		if left > 0 {
			return p.line("%d keys still stand under an old root key. Servers move them within a minute; 'cardea keys rewrap' does so at once.", left)
		}
		return p.line("Everything stands under the present root key: old_root_keys may go from the configuration. Backups from before need the old one.")
	})
}

type rewrapCommand struct {
	place
}

func (c *rewrapCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	for {
		var now struct {
			Done bool `json:"done"`
		}
		if err := cl.call(ctx, http.MethodPost, pathTo("root-key", "rewrap"), nil, nil, &now); err != nil {
			return err
		}
		if now.Done {
			return p.line("All keys are wrapped by the present ones.")
		}
	}
}

type adoptCommand struct {
	place
	Lost bool `required:"" help:"The former key store is lost for good, every backup of it too."`
}

func (c *adoptCommand) Run(ctx context.Context, p *program) error {
	found, err := c.find(p)
	if err != nil {
		return err
	}
	dialer := net.Dialer{Timeout: time.Second}
	if conn, err := dialer.DialContext(ctx, "unix", found.socket()); err == nil {
		_ = conn.Close()
		return usage("a server runs on this installation: stop it first")
	}
	found.adopt = true
	_, closeParts, err := found.open(ctx, quiet(p.err), func(error) {})
	if err != nil {
		return err
	}
	if err := closeParts(); err != nil {
		return err
	}
	return p.line("The configured key store belongs to this database now. Customers whose keys are not in it cannot be read any more: erase them, and have them sign up again.")
}

type generateRootCommand struct {
	Out string `required:"" placeholder:"FILE" help:"New file to write."`
}

func (c *generateRootCommand) Run(p *program) error {
	path, err := filepath.Abs(c.Out)
	if err != nil {
		return err
	}
	if err := keyring.GenerateRoot(path, rand.Reader); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already, and a root key is never overwritten: without it nothing can be read", path)
		}
		return err
	}
	return p.line("The root key is in %s. Name it as root_key.file, and keep a copy apart: without it nothing can be read.", path)
}
