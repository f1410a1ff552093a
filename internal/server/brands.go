package server

import (
	"context"
	"errors"
	"fmt"
	"net/mail"

	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/pages"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/tenant"
)

// checkBrand asks those who draw a brand's pages and write its messages.
func checkBrand(views *view.Views, words *notify.Words, t *tenant.Tenant) error {
	return errors.Join(pages.CheckBrand(views, t), words.CheckBrand(t.Brand.Document.Mail), words.CheckTexts(t.Brand.Document.SMS))
}

// brandOfMail is what notify needs to know of a tenant's brand. The sender is
// the brand's, else the tenant's, else the installation's.
func (s *Server) brandOfMail(ctx context.Context, t *tenant.Tenant) (notify.Brand, error) {
	own := t.Brand.Document.Mail
	brand := notify.Brand{Name: t.Brand.Name, FromName: own.FromName, From: own.FromAddress, ReplyTo: own.ReplyTo, Texts: own.Texts, AccountURL: t.URL("/account"),
		Sender: t.Brand.Document.SMS.Sender, SMS: t.Brand.Document.SMS.Texts}
	if brand.Sender == "" {
		brand.Sender = s.Config.SMS.Sender
	}
	if brand.Sender == "" && s.Development {
		brand.Sender = "Cardea"
	}
	var err error
	if brand.Accent, brand.OnAccent, err = s.Pages.Accent(ctx, t); err != nil {
		return notify.Brand{}, err
	}
	if brand.From == "" {
		brand.From = t.Settings.Mail.FromAddress
	}
	if brand.FromName == "" {
		brand.FromName = t.Settings.Mail.FromName
	}
	if brand.From == "" && s.Config.SMTP.From != "" {
		sender, err := mail.ParseAddress(s.Config.SMTP.From)
		if err != nil {
			return notify.Brand{}, fmt.Errorf("smtp.from: %w", err)
		}
		brand.From = sender.Address
		if brand.FromName == "" {
			brand.FromName = sender.Name
		}
	}
	if brand.From == "" && s.Development {
		brand.From = "no-reply@" + t.Slug + ".example"
	}
	return brand, nil
}

// PreviewMail shows a message of a tenant, with made-up facts.
func (s *Server) PreviewMail(ctx context.Context, t *tenant.Tenant, message, lang string, sample notify.Sample) (notify.Mail, error) {
	brand, err := s.brandOfMail(ctx, t)
	if err != nil {
		return notify.Mail{}, err
	}
	return s.Words.Preview(notify.Template(message), lang, brand, sample, s.Clock.Now())
}

// PreviewText shows a text message of a tenant, with made-up facts.
func (s *Server) PreviewText(ctx context.Context, t *tenant.Tenant, message, lang string, sample notify.Sample) (notify.Text, error) {
	brand, err := s.brandOfMail(ctx, t)
	if err != nil {
		return notify.Text{}, err
	}
	return s.Words.PreviewText(notify.Template(message), lang, brand, sample, s.Clock.Now())
}

// MessageLanguages lists the languages that messages are written in.
func (s *Server) MessageLanguages() []string { return s.Words.Languages() }

// PreviewPage shows a page of a tenant, with made-up customers.
func (s *Server) PreviewPage(ctx context.Context, t *tenant.Tenant, page, lang string) ([]byte, error) {
	return s.Pages.Preview(ctx, t, page, lang)
}
