package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/tenant"
)

func (a *api) brandOperations() {
	const path = ofTenant + "/brand"
	declare(a, operation{
		id: "showBrand", method: get, path: path, noun: brands, scope: "brands:read",
		summary: "Show a tenant's brand", description: "Name, theme, links, texts, and the files that it has.", errors: []int{404},
	}, a.showBrand)
	declare(a, operation{
		id: "changeBrand", method: put, path: path, noun: brands, scope: "brands:write",
		summary: "Change a tenant's brand", description: "What the body names is changed, and the rest stays as it is. The body may be YAML.",
		errors: []int{404, 409, 412}, body: jsonOrYAML(partial[brand.Change](a)),
	}, a.applyBrand)
	file := map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	declare(a, operation{
		id: "setBrandAsset", method: put, path: path + "/assets/{role}", noun: brands, scope: "brands:write",
		summary: "Set a file of a brand", description: "The body is the file as it is: what it is shows in its bytes.",
		errors: []int{404, 409, 412, 413}, body: file, maxBody: brand.MaxAsset + 1,
	}, a.setBrandAsset)
	declare(a, operation{
		id: "removeBrandAsset", method: remove, path: path + "/assets/{role}", noun: brands, scope: "brands:write", status: 200,
		summary: "Remove a file of a brand", description: "What it stood for is shown as the program has it.", errors: []int{404, 409, 412},
	}, a.removeBrandAsset)
	declare(a, operation{
		id: "previewBrand", method: post, path: path + "/preview", noun: brands, scope: "brands:read",
		summary:     "See a page or a message of a brand",
		description: "As it is, or as a change would leave it, with made-up customers. Nothing is changed or sent.", errors: []int{404},
	}, a.previewBrand)
}

// Previews draws what a tenant's customers would see, with made-up customers.
type Previews interface {
	PreviewPage(ctx context.Context, t *tenant.Tenant, page, lang string) ([]byte, error)
	PreviewMail(ctx context.Context, t *tenant.Tenant, message, lang string, sample notify.Sample) (notify.Mail, error)
	PreviewText(ctx context.Context, t *tenant.Tenant, message, lang string, sample notify.Sample) (notify.Text, error)
	MessageLanguages() []string
}

// brandView is a brand as it is answered.
type brandView struct {
	ID       id.Brand        `json:"id"`
	Tenant   id.Tenant       `json:"tenant"`
	Revision int64           `json:"revision"`
	Name     string          `json:"name"`
	Theme    json.RawMessage `json:"theme" doc:"Colours, font and shape."`
	brand.Document
	Assets   []brand.Asset `json:"assets"`
	Warnings []string      `json:"warnings,omitempty" doc:"What is allowed but weak."`
}

func answerBrand(t *tenant.Tenant) (*versioned[brandView], error) {
	b := t.Brand
	view := brandView{ID: b.ID, Tenant: t.ID, Revision: b.Revision, Name: b.Name, Theme: b.Theme, Document: b.Document, Assets: b.Assets,
		Warnings: b.Document.Warnings(t.Settings.Languages)}
	if len(view.Theme) == 0 {
		view.Theme = json.RawMessage("{}")
	}
	if view.Assets == nil {
		view.Assets = []brand.Asset{}
	}
	return &versioned[brandView]{etag(b.Revision), view}, nil
}

func (a *api) showBrand(ctx context.Context, _ *struct{ TenantPath }) (*versioned[brandView], error) {
	return answerBrand(tenantOf(ctx))
}

// applyBrand changes what the body names and leaves the rest as it is.
func (a *api) applyBrand(ctx context.Context, in *struct {
	TenantPath
	IfMatch
	RawBody []byte
},
) (*versioned[brandView], error) {
	return a.changeBrand(in.IfMatch, func(revision int64) (*tenant.Tenant, error) {
		change, err := brand.ParseChange(in.RawBody)
		if err != nil {
			return nil, refused(reason(err, err))
		}
		t := tenantOf(ctx)
		changed, err := a.Tenants.WithBrand(t, change)
		if err != nil {
			return nil, err
		}
		if err := maySendAs(ctx, t.Brand.Document.Mail.FromAddress, changed.Brand.Document.Mail.FromAddress); err != nil {
			return nil, err
		}
		return a.Tenants.ApplyBrand(ctx, tenantOf(ctx).ID, revision, change, actor(ctx))
	})
}

// maySendAs refuses that mail comes from a domain of which nobody but who runs the
// installation can know whose it is: its mail servers may be trusted by the domains
// of other tenants. An operator for some tenants chooses the name before the @.
func maySendAs(ctx context.Context, before, after string) error {
	_, from, _ := strings.Cut(before, "@")
	_, to, _ := strings.Cut(after, "@")
	if callOf(ctx).holding.All || after == "" || strings.EqualFold(from, to) {
		return nil
	}
	return problem.Forbidden("Which domain mail comes from is for an operator for all tenants to say. Nothing was changed.")
}

// AssetPath names a file of a brand.
type AssetPath struct {
	TenantPath
	Role string `path:"role" doc:"What the file is for." example:"logo"`
}

func (a *api) setBrandAsset(ctx context.Context, in *struct {
	AssetPath
	IfMatch
	RawBody []byte `contentType:"*/*"`
},
) (*versioned[brandView], error) {
	return a.changeBrand(in.IfMatch, func(revision int64) (*tenant.Tenant, error) {
		return a.Tenants.SetBrandAsset(ctx, tenantOf(ctx).ID, revision, brand.Role(in.Role), in.RawBody, actor(ctx))
	})
}

func (a *api) removeBrandAsset(ctx context.Context, in *struct {
	AssetPath
	IfMatch
},
) (*versioned[brandView], error) {
	return a.changeBrand(in.IfMatch, func(revision int64) (*tenant.Tenant, error) {
		return a.Tenants.RemoveBrandAsset(ctx, tenantOf(ctx).ID, revision, brand.Role(in.Role), actor(ctx))
	})
}

// changeBrand is what all changes of a brand have in common.
func (a *api) changeBrand(match IfMatch, change func(revision int64) (*tenant.Tenant, error)) (*versioned[brandView], error) {
	revision, err := match.revision()
	if err != nil {
		return nil, err
	}
	changed, err := change(revision)
	if errors.Is(err, tenant.ErrChanged) && revision != 0 {
		return nil, preconditionFailed("The brand was changed by somebody else since it was read. Nothing was changed. Read it again and repeat.")
	}
	if errors.Is(err, tenant.ErrNoAsset) {
		return nil, problem.NotFound("The brand has nothing in that role. Show it to see what it has.").Because(err)
	}
	if err != nil {
		return nil, err
	}
	return answerBrand(changed)
}

// wantedPreview says what is to be shown: a page or a message, with the brand
// as it is or as a change would leave it.
type wantedPreview struct {
	Page   string          `json:"page,omitempty" doc:"A page, or else a mail or an sms." example:"identify"`
	Mail   string          `json:"mail,omitempty" doc:"A kind of message."`
	SMS    string          `json:"sms,omitempty" doc:"A kind of message, as a text message."`
	Lang   string          `json:"lang,omitempty" doc:"Without one, the tenant's first language."`
	Change json.RawMessage `json:"change,omitempty" doc:"What a change of the brand would name."`
}

// shownPreview is what there is to see.
type shownPreview struct {
	HTML    string `json:"html" doc:"Empty for a text message."`
	Subject string `json:"subject,omitempty" doc:"Of a message."`
	Text    string `json:"text,omitempty" doc:"The plain twin of a message."`
	From    string `json:"from,omitempty" doc:"Of a message."`
}

func (a *api) previewBrand(ctx context.Context, in *struct {
	TenantPath
	Body wantedPreview
},
) (_ *answer[shownPreview], err error) {
	t, wanted := tenantOf(ctx), in.Body
	named := 0
	for _, one := range []string{wanted.Page, wanted.Mail, wanted.SMS} {
		if one != "" {
			named++
		}
	}
	if named != 1 {
		return nil, badRequest("Name either a page, a mail or an sms to be shown.")
	}
	if len(wanted.Change) > 0 {
		change, err := brand.ParseChange(wanted.Change)
		if err != nil {
			return nil, refused(reason(err, err))
		}
		if t, err = a.Tenants.WithBrand(t, change); err != nil {
			return nil, err
		}
	}
	if wanted.Lang == "" {
		wanted.Lang = t.Settings.Languages[0]
	}
	if wanted.Page != "" {
		page, err := a.Previews.PreviewPage(ctx, t, wanted.Page, wanted.Lang)
		if err != nil {
			return nil, refused(reason(err, err))
		}
		return answerWith(shownPreview{HTML: string(page)})
	}
	if wanted.SMS != "" {
		text, err := a.Previews.PreviewText(ctx, t, wanted.SMS, wanted.Lang, notify.Sample{})
		if err != nil {
			return nil, refused(reason(err, err))
		}
		return answerWith(shownPreview{Text: text.Text, From: text.From})
	}
	mail, err := a.Previews.PreviewMail(ctx, t, wanted.Mail, wanted.Lang, notify.Sample{})
	if err != nil {
		return nil, refused(reason(err, err))
	}
	return answerWith(shownPreview{HTML: mail.HTML, Subject: mail.Subject, Text: mail.Text, From: mail.FromName + " <" + mail.From + ">"})
}
