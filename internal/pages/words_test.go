package pages

import (
	"testing"

	"github.com/cardea-id/cardea/internal/i18n"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Whatever a step can say is said in every language.
func TestEverythingHasWords(t *testing.T) {
	words, err := i18n.New()
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"notice.code_sent", "notice.code_expired", "notice.send_paused", "notice.code_paused", "notice.password_paused",
		"notice.address_added", "notice.address_changed", "notice.address_removed", "notice.address_confirmed", "notice.number_added", "notice.number_changed", "notice.number_removed",
		"message.number_taken", "message.number_taken_title", "message.number_taken_continue", "message.address_taken_title", "notice.access_removed", "notice.password_saved", "notice.disowned", "message.no_account", "message.no_account_title", "notice.device_signed_out", "notice.others_signed_out",
		"notice.saved", "notice.profile_saved", "notice.profile_changed", "notice.password_saved_alone", "notice.address_added", "notice.address_changed", "notice.address_removed",
		"message.code_first", "message.code_first_title", "message.code_first_continue", "message.address_taken", "message.address_taken_title", "message.address_taken_continue"}
	for _, key := range faultWords {
		keys = append(keys, key)
	}
	for _, key := range fieldWords {
		keys = append(keys, key)
	}
	for _, code := range []string{"password_too_short", "password_too_long", "whatever"} {
		keys = append(keys, wordsOf(journey.FieldError{Code: code, Params: map[string]any{"Min": 15, "Max": 99}}).Key)
	}
	for _, reason := range []string{"account_closed", "terms_declined", "sign_up_closed", "no_account", "account_changed", "stays_closed", "invitation_over"} {
		key := reasonOf(reason).Key
		if key == "" {
			t.Errorf("the denial %q has no words", reason)
		}
		keys = append(keys, key)
	}
	for _, lang := range words.Languages() {
		for _, key := range keys {
			if !words.Localizer(lang).Has(key) {
				t.Errorf("%s lacks %q", lang, key)
			}
		}
	}
}

// Every kind of step that shows something has a page.
func TestEveryPromptHasAPage(t *testing.T) {
	views, err := view.New()
	if err != nil {
		t.Fatal(err)
	}
	p := &Pages{Options: Options{Views: views}}
	for _, prompt := range []journey.Prompt{
		step.IdentifyPrompt{}, step.CreateAccountPrompt{}, step.RecoverPrompt{}, step.DisownPrompt{}, step.KeepPrompt{}, step.InvitationPrompt{}, step.PasswordPrompt{}, step.CodePrompt{}, step.NewPasswordPrompt{},
		step.NewAddressPrompt{}, step.ProveAddressPrompt{}, step.RemoveAddressPrompt{}, step.ReviewAddressesPrompt{}, step.ConfirmAddressPrompt{}, step.CloseAccountPrompt{}, step.CollectPrompt{}, step.TermsPrompt{}, step.ConsentPrompt{}, step.NoticePrompt{}, step.DenyPrompt{},
	} {
		page := view.Page{Values: map[string]string{}}
		p.describe(&tenant.Tenant{}, shown{View: &journey.View{Prompt: prompt}, lang: "en"}, &page)
		if _, fault := page.Data.(view.Fault); fault || page.Data == nil {
			t.Errorf("the step %q has no page", prompt.Kind())
		}
	}
}

func TestValuesAreReadable(t *testing.T) {
	views, err := view.New()
	if err != nil {
		t.Fatal(err)
	}
	p := &Pages{Options: Options{Views: views}}
	for _, tt := range []struct {
		name  string
		value any
		want  string
	}{
		{"birthdate", "1990-02-28", "28 February 1990"},
		{"birthdate", "0000-02-28", "0000-02-28"},
		{"birthdate", "soon", "soon"},
		{"locale", "ar", i18n.Name("ar")},
		{"locale", "xx", "xx"},
		{"address", map[string]any{"formatted": "1 High Street\nLondon"}, "1 High Street London"},
		{"address", map[string]any{"locality": "London", "street_address": "1 High Street", "country": 4}, "1 High Street, London"},
		{"points", float64(1200), "1200"},
		{"vip", true, "Yes"},
		{"since", "2024-03-01T10:00:00Z", "1 March 2024"},
		{"stores", []any{"Porto", 2.0, nil, true}, "Porto, 2, Yes"},
		{"person", map[string]any{"name": "Ana", "ages": []any{1.0, 2.0}, "car": nil}, "ages: 1, 2, name: Ana"},
		{"nickname", nil, ""},
	} {
		if got := p.readable("en", tt.name, tt.value); got != tt.want {
			t.Errorf("%s %v is written %q, want %q", tt.name, tt.value, got, tt.want)
		}
	}
}
