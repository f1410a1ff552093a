package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Previews draws what a tenant's customers would see, with made-up customers.
type Previews interface {
	PreviewPage(ctx context.Context, t *tenant.Tenant, page, lang string) ([]byte, error)
	PreviewMail(ctx context.Context, t *tenant.Tenant, message, lang string) (notify.Mail, error)
}

// brandView is a brand as it is answered.
type brandView struct {
	ID       id.Brand        `json:"id"`
	Tenant   id.Tenant       `json:"tenant"`
	Revision int64           `json:"revision"`
	Name     string          `json:"name"`
	Theme    json.RawMessage `json:"theme"`
	brand.Document
	Assets   []brand.Asset `json:"assets"`
	Warnings []string      `json:"warnings,omitempty"`
}

func respondBrand(w http.ResponseWriter, t *tenant.Tenant) error {
	b := t.Brand
	view := brandView{ID: b.ID, Tenant: t.ID, Revision: b.Revision, Name: b.Name, Theme: b.Theme, Document: b.Document, Assets: b.Assets,
		Warnings: b.Document.Warnings(t.Settings.Languages)}
	if len(view.Theme) == 0 {
		view.Theme = json.RawMessage("{}")
	}
	if view.Assets == nil {
		view.Assets = []brand.Asset{}
	}
	w.Header().Set("ETag", etag(b.Revision))
	return respond(w, http.StatusOK, view)
}

func (a *api) showBrand(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	return respondBrand(w, t)
}

// applyBrand changes what the body names and leaves the rest as it is.
func (a *api) applyBrand(w http.ResponseWriter, r *http.Request) error {
	return a.changeBrand(w, r, func(t *tenant.Tenant, revision int64) (*tenant.Tenant, error) {
		text, err := body(w, r, "application/json", "application/yaml")
		if err != nil {
			return nil, err
		}
		change, err := brand.ParseChange(text)
		if err != nil {
			return nil, refused(reason(err, err))
		}
		return a.Tenants.ApplyBrand(r.Context(), t.ID, revision, change, Operator)
	})
}

// setBrandAsset takes a file as it is: what it is shows in its bytes.
func (a *api) setBrandAsset(w http.ResponseWriter, r *http.Request) error {
	return a.changeBrand(w, r, func(t *tenant.Tenant, revision int64) (*tenant.Tenant, error) {
		file, err := io.ReadAll(http.MaxBytesReader(w, r.Body, brand.MaxAsset+1))
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, problem.New("too-large", http.StatusRequestEntityTooLarge, "The file is too large",
				fmt.Sprintf("Nothing was changed. An asset has %d bytes at most.", brand.MaxAsset))
		}
		if err != nil {
			return nil, badRequest("The body could not be read.").Because(err)
		}
		return a.Tenants.SetBrandAsset(r.Context(), t.ID, revision, brand.Role(r.PathValue("role")), file, Operator)
	})
}

func (a *api) removeBrandAsset(w http.ResponseWriter, r *http.Request) error {
	return a.changeBrand(w, r, func(t *tenant.Tenant, revision int64) (*tenant.Tenant, error) {
		return a.Tenants.RemoveBrandAsset(r.Context(), t.ID, revision, brand.Role(r.PathValue("role")), Operator)
	})
}

// changeBrand is what all changes of a brand have in common.
func (a *api) changeBrand(w http.ResponseWriter, r *http.Request, change func(t *tenant.Tenant, revision int64) (*tenant.Tenant, error)) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	revision, err := ifMatch(r)
	if err != nil {
		return err
	}
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	changed, err := change(t, revision)
	if errors.Is(err, tenant.ErrChanged) && revision != 0 {
		return problem.New("precondition-failed", http.StatusPreconditionFailed, "The state has changed",
			"The brand was changed by somebody else since it was read. Nothing was changed. Read it again and repeat.")
	}
	if errors.Is(err, tenant.ErrNoAsset) {
		return problem.NotFound("The brand has nothing in that role. Show it to see what it has.").Because(err)
	}
	if err != nil {
		return err
	}
	return respondBrand(w, changed)
}

// wantedPreview says what is to be shown: a page or a message, with the brand
// as it is or as a change would leave it.
type wantedPreview struct {
	Page   string          `json:"page"`
	Mail   string          `json:"mail"`
	Lang   string          `json:"lang"`
	Change json.RawMessage `json:"change"`
}

// shownPreview is what there is to see.
type shownPreview struct {
	HTML    string `json:"html"`
	Subject string `json:"subject,omitempty"` // of a message
	Text    string `json:"text,omitempty"`    // its plain twin
	From    string `json:"from,omitempty"`    // of a message
}

func (a *api) previewBrand(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	var wanted wantedPreview
	if err := decode(w, r, &wanted); err != nil {
		return err
	}
	if (wanted.Page == "") == (wanted.Mail == "") {
		return badRequest("Name either a page or a mail to be shown.")
	}
	if len(wanted.Change) > 0 {
		change, err := brand.ParseChange(wanted.Change)
		if err != nil {
			return refused(reason(err, err))
		}
		if t, err = a.Tenants.WithBrand(t, change); err != nil {
			return err
		}
	}
	if wanted.Lang == "" {
		wanted.Lang = t.Settings.Languages[0]
	}
	if wanted.Page != "" {
		page, err := a.Previews.PreviewPage(r.Context(), t, wanted.Page, wanted.Lang)
		if err != nil {
			return refused(reason(err, err))
		}
		return respond(w, http.StatusOK, shownPreview{HTML: string(page)})
	}
	mail, err := a.Previews.PreviewMail(r.Context(), t, wanted.Mail, wanted.Lang)
	if err != nil {
		return refused(reason(err, err))
	}
	return respond(w, http.StatusOK, shownPreview{HTML: mail.HTML, Subject: mail.Subject, Text: mail.Text, From: mail.FromName + " <" + mail.From + ">"})
}
