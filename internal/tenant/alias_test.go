package tenant

import "testing"

func TestParsingSettingsLeavesTheBaseAsItIs(t *testing.T) {
	base := Defaults()
	base.Languages = []string{"en", "ar"}
	if _, err := ParseSettings(base, []byte("languages: [de]\nunknown: 1\n")); err == nil {
		t.Error("an unknown key was taken")
	}
	changed, err := ParseSettings(base, []byte("languages: [de, fr]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if base.Languages[0] != "en" || base.Languages[1] != "ar" || changed.Languages[0] != "de" {
		t.Errorf("the base has %v, what was parsed %v", base.Languages, changed.Languages)
	}
}
