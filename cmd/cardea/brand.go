package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"go.yaml.in/yaml/v3"
)

type brandAsset struct {
	Role   string `json:"role"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	Bytes  int    `json:"bytes"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

type brandView struct {
	ID       string       `json:"id"`
	Revision int64        `json:"revision"`
	Name     string       `json:"name"`
	Assets   []brandAsset `json:"assets"`
	Warnings []string     `json:"warnings"`
}

type showBrandCommand struct {
	ofTenant
	output
}

func (c *showBrandCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var found map[string]any
	if err := cl.call(ctx, http.MethodGet, pathTo("tenants", c.Tenant, "brand"), nil, nil, &found); err != nil {
		return err
	}
	return c.show(p, found, func() error {
		fmt.Fprintf(p.out, "# The brand of %s at revision %v.\n", printable(c.Tenant), found["revision"])
		assets, _ := found["assets"].([]any)
		for _, one := range assets {
			asset, _ := one.(map[string]any)
			fmt.Fprintf(p.out, "# %s: %s, %v bytes\n", asset["role"], asset["type"], asset["bytes"])
		}
		for _, key := range []string{"id", "tenant", "revision", "assets", "warnings"} {
			delete(found, key) // which apply does not take
		}
		text, err := yaml.Marshal(found)
		if err != nil {
			return fmt.Errorf("write the brand: %w", err)
		}
		_, err = p.out.Write(text)
		return err
	})
}

// changesBrand is what commands have that change a brand.
type changesBrand struct {
	ofTenant
	output
	Revision int64 `placeholder:"N" help:"Change it only if the brand is at this revision."`
}

func (c changesBrand) send(ctx context.Context, p *program, method, path, contentType string, content []byte) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	header := http.Header{}
	if c.Revision != 0 {
		header.Set("If-Match", `"`+strconv.FormatInt(c.Revision, 10)+`"`)
	}
	answered, err := cl.send(ctx, method, path, nil, contentType, content, header)
	if err != nil {
		return err
	}
	var changed brandView
	if err := json.Unmarshal(answered, &changed); err != nil {
		return fmt.Errorf("the server's answer is not understood: %w", err)
	}
	p.warn(changed.Warnings)
	return c.show(p, changed, func() error {
		return p.line("The brand of %s is at revision %d.", c.Tenant, changed.Revision)
	})
}

type applyBrandCommand struct {
	changesBrand
	File string `short:"f" required:"" placeholder:"FILE" help:"File with what is to change of the brand, in YAML or JSON; - is standard input."`
}

func (c *applyBrandCommand) Run(ctx context.Context, p *program) error {
	text, err := p.read(c.File)
	if err != nil {
		return err
	}
	return c.send(ctx, p, http.MethodPut, pathTo("tenants", c.Tenant, "brand"), "application/yaml", text)
}

type setAssetCommand struct {
	changesBrand
	Role string `arg:"" help:"What it is for: logo, logo-dark, favicon, background, background-dark, font or font-heading."`
	File string `arg:"" help:"PNG, JPEG, WebP or SVG; a font is WOFF2. At most 256 KB."`
}

func (c *setAssetCommand) Run(ctx context.Context, p *program) error {
	file, err := p.read(c.File)
	if err != nil {
		return err
	}
	return c.send(ctx, p, http.MethodPut, pathTo("tenants", c.Tenant, "brand", "assets", c.Role), "application/octet-stream", file)
}

type removeAssetCommand struct {
	changesBrand
	Role string `arg:"" help:"What it was for."`
}

func (c *removeAssetCommand) Run(ctx context.Context, p *program) error {
	return c.send(ctx, p, http.MethodDelete, pathTo("tenants", c.Tenant, "brand", "assets", c.Role), "", nil)
}

type previewBrandCommand struct {
	ofTenant
	output
	Page string `placeholder:"PAGE" xor:"what" required:"" help:"A page: sign-in, password, password-wrong, sign-up, code, new-password, consent, account, devices or fault."`
	Mail string `placeholder:"MAIL" xor:"what" required:"" help:"A message: code, recovery, welcome, password_changed, disowned, address_added, address_changed, address_removed, new_sign_in, invitation, locked, closed, reopened, dormancy, erasure or join_organization."`
	SMS  string `placeholder:"SMS" name:"sms" xor:"what" required:"" help:"A text message: the same kinds."`
	Lang string `placeholder:"LANG" help:"In which language; the tenant's first unless told."`
	File string `short:"f" placeholder:"FILE" help:"Show it with what this file would change, and change nothing; - is standard input."`
	Out  string `short:"o" required:"" placeholder:"FILE" help:"Write it to this file, to be opened in a browser; - is standard output."`
}

func (c *previewBrandCommand) Run(ctx context.Context, p *program) error {
	body := map[string]any{"page": c.Page, "mail": c.Mail, "sms": c.SMS, "lang": c.Lang}
	if c.File != "" {
		text, err := p.read(c.File)
		if err != nil {
			return err
		}
		if body["change"], err = asJSON(text); err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	var shown shownPreview
	if err := cl.call(ctx, http.MethodPost, pathTo("tenants", c.Tenant, "brand", "preview"), nil, body, &shown); err != nil {
		return err
	}
	return c.write(p, shown, c.Out)
}
