package view

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func render(t testing.TB, v *Views, p Page) string {
	t.Helper()
	var out bytes.Buffer
	if err := v.Render(&out, p); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var (
	comment  = regexp.MustCompile(`<!--`)
	inline   = regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<style|<script(?:[^>]*)>[^<]`)
	key      = regexp.MustCompile(`"((?:[a-z]+)\.[a-z_]+(?:\.[a-z_]+)?)"`)
	elements = regexp.MustCompile(`</?[a-zA-Z][a-zA-Z0-9]*`)
)

func TestEveryPageInEveryLanguage(t *testing.T) {
	v := newViews(t)
	look := newLook(t, v, v.OliveAndThyme())
	seen := map[string]bool{}
	for name, page := range samples(plain) {
		seen[page.Data.page()] = true
		for _, lang := range v.Words().Languages() {
			t.Run(lang+"/"+name, func(t *testing.T) {
				page.Lang, page.Look = lang, look
				html := render(t, v, page)
				dir := map[string]string{"en": "ltr", "de": "ltr", "ar": "rtl"}[lang]
				if !strings.Contains(html, `<html lang="`+lang+`" dir="`+dir+`"`) {
					t.Error("language and direction are not said")
				}
				for what, wrong := range map[string]bool{
					"no text for a key, or a value that is not one": strings.Contains(html, "<no value>") || strings.Contains(html, "ZgotmplZ") || regexp.MustCompile(`>[a-z]+\.[a-z_]+<`).MatchString(html),
					"inline code or style":                          inline.MatchString(html),
					"a comment":                                     comment.MatchString(html),
					"not one heading":                               strings.Count(html, "<h1>") != 1,
					"an empty title":                                strings.Contains(html, "<title> ·"),
					"a forgotten argument":                          strings.Contains(html, "{{"),
					"a mark of an argument":                         strings.ContainsAny(html, begin+end),
					"more than one focus":                           strings.Count(html, " autofocus") > 1,
				} {
					if wrong {
						t.Errorf("the page has %s:\n%s", what, html)
					}
				}
				if strings.Contains(html, "<form") != strings.Contains(html, `name="state" value="AQs3aled_state"`) {
					t.Error("a form without its state, or a state without its form")
				}
			})
		}
	}
	for _, data := range everyPage() {
		if !seen[data.page()] {
			t.Errorf("no sample of %s", data.page())
		}
	}
}

// What the pages promise to those who read their posts.
func TestFieldsAndChoices(t *testing.T) {
	v := newViews(t)
	look := newLook(t, v, v.OliveAndThyme())
	all := samples(plain)
	choose := func(value string) string { return `name="choose" value="` + value + `"` }
	for name, want := range map[string][]string{
		"identify": {`name="identifier" autocomplete="username webauthn" required`, `type="email"`, choose("create") + " formnovalidate"},
		"password": {`name="password" autocomplete="current-password" required`, `type="checkbox" name="stay" value="true"`, choose("back"), choose("code"), choose("recover"),
			`value="ana@example.com" autocomplete="username"`},
		"recover":             {`name="identifier" autocomplete="username webauthn" required`, `value="ana@example.com"`, choose("sign-in") + " formnovalidate"},
		"disown":              {`name="decision" value="secure"`, "Close this page"},
		"disown-dead":         {`href="/recover"`},
		"signup":              {`name="identifier" autocomplete="email" required`, choose("back")},
		"code":                {`name="code" autocomplete="one-time-code" required`, `inputmode="numeric"`, `maxlength="32"`, `data-length="6"`, choose("resend"), choose("back")},
		"code-signin":         {choose("password"), "If there&#39;s an account for <bdi>ana<wbr>@example<wbr>.com</bdi>"},
		"newpassword":         {`name="new_password" autocomplete="new-password" required minlength="15"`, `value="ana@example.com" autocomplete="username"`, choose("skip")},
		"password-account":    {`name="password" autocomplete="current-password" required`, "Confirm it&#39;s you", choose("code"), choose("recover"), choose("back"), "Cancel"},
		"code-account":        {choose("back"), "Cancel", "to confirm it&#39;s you"},
		"code-new":            {choose("back"), choose("resend"), "show that you read mail there"},
		"newpassword-account": {`name="end_others" value="true" checked`, "Choose a new password"},
		"newaddress":          {`name="identifier" autocomplete="email" required`, `name="end_others" value="true">`, choose("back")},
		"newaddress-change":   {"It takes the place of <bdi>ana<wbr>@example<wbr>.com</bdi>", `value="ana@"`},
		"removeaddress":       {`name="decision" value="remove"`, choose("back")},
		"removeaddress-last":  {"Add another e-mail address", choose("back")},
		"newnumber":           {`type="tel"`, `name="identifier" autocomplete="tel" required`, "Add a phone number", choose("back")},
		"newnumber-change":    {"It takes the place of <bdi>+44 7400 123456</bdi>", `value="07400"`},
		"removenumber":        {`name="decision" value="remove"`, "Remove number", choose("back")},
		"removenumber-last":   {"no code would reach you", choose("back")},
		"confirmaddress":      {`name="decision" value="send"`, "Messages to <bdi>ana<wbr>@example<wbr>.com</bdi> came back", choose("back")},
		"code-number":         {"by text message", "the number is yours", "Use another number", choose("back"), choose("resend")},
		"code-returned":       {"to show that our messages arrive", "Cancel", choose("back")},
		"access-phone":        {`href="/account/numbers/new"`, `aria-label="Confirm ana@example.com"`, `href="/account/addresses/1/confirm"`, "E-mail and phone", "came back"},
		"access-phone-alone":  {"a code that we text you"},
		"closeaccount":        {`name="decision" value="close"`, choose("back"), "Until <bdi>31 August 2026</bdi> you can change your mind"},
		"signedout-closed":    {"Your account is closed", "before <bdi>31 August 2026</bdi>", `href="/sign-in"`},
		"deny-changed":        {`href="/account/sign-in"`},
		"collect":             {`name="given_name" autocomplete="given-name" required`, `type="date"`, `autocomplete="bday"`, `name="loyalty_number" autocomplete="off"`, choose("skip")},
		"collect-error":       {`value="Ana"`, `<option value="ar" selected>`, `id="e-f-family_name"`, `aria-invalid="true" aria-describedby="e-f-family_name" autofocus`, "<title>Error: Your delivery"},
		"collect-address":     {`id="f-address-locality" name="address.locality" autocomplete="address-level2"`},
		"terms":               {`href="https://olive.example/terms"`, "Agree and continue", choose("decline")},
		"consent":             {`name="decision" value="allow"`, `name="decision" value="deny"`, `<bdi class="value">ana<wbr>@example<wbr>.com</bdi>`, "We haven&#39;t checked who they are", `href="https://recipes.example/privacy"`},
		"expired":             {choose("restart")},
		"limited":             {choose("code"), choose("back"), "You can try again in 12 minutes.", `datetime="2026-08-01T15:16:00Z"`},
		"limited-network":     {"Too many requests are coming from your network", `name="choose" value="again"`, "Try again", `datetime="2026-08-01T15:04:02Z"`},
		"limited-link":        {`href="/account"`, "Try again"},
		"limited-both":        {choose("code"), choose("password")},
		"busy":                {`name="identifier" value="ana@example.com"`},
		"signout":             {`name="decision" value="sign_out"`, `name="decision" value="stay"`},
		"account":             {choose("sign_out"), `href="https://club.example/"`, `href="/account/profile"`, "Signed in on 3 devices", "1 application has access", "English · As on this device"},
		"account-empty":       {`data-scheme="dark"`, "Signed in on 1 device<", "No other application has access", "English · Dark"},
		"profile":             {`value="Ana"`, "<legend>Address</legend>", `name="address.country"`, "Loyalty points", "1,250", `aria-current="page"`, `href="/account"`},
		"profile-changed":     {"Elsewhere this is now “<bdi>Ana</bdi>”", `value="Anna"`, `aria-invalid="true" aria-describedby="e-f-given_name" autofocus`, "<title>Error:"},
		"access":              {`href="/account/addresses/1"`, `href="/account/addresses/1/remove"`, `href="/account/addresses/2/confirm"`, "Not confirmed", "Main", "You have a password", `aria-label="Change ana@example.com"`},
		"access-none":         {"You have no password", `href="/account/password"`, `href="/account/addresses/new"`},
		"devices":             {`name="end" value="ses_06c1x5m8kz7v9b2n4q6r8t0w1b"`, choose("end_others"), "This device", "Safari on iPhone", "Unknown device", "<bdi>Lisbon, Portugal</bdi>"},
		"applications":        {`href="/account/applications/1"`, "ana@example.com"},
		"revoke":              {`name="decision" value="remove"`, `href="/account/applications"`, "Once you have given it", "Remove access for <bdi>Recipes by Ana</bdi>?"},
		"preferences":         {`name="language" value="en" checked`, `name="appearance" value="dark" checked`, "for messages from"},
		"preferences-here":    {`name="language" value="ar" checked`, `data-scheme="light"`, "in this browser"},
		"fault-redirect":      {"err_06c1x5m8kz7v9b2n4q6r8t0w1y", "isn&#39;t registered for it"},
		"identify-error":      {`value="ana@"`, `name="lang" value="ar"`},
		"consent-verified":    {"Your loyalty points", "is made by others, not by"},
		"keep":                {`name="decision" value="keep"`, choose("leave"), "It will be deleted for good on"},
		"invitation":          {`name="decision" value="accept"`, "<bdi>ana<wbr>@example<wbr>.com</bdi>"},
		"invitation-dead":     {`href="/sign-in"`},
	} {
		page := all[name]
		page.Look = look
		html := render(t, v, page)
		for _, part := range want {
			if !strings.Contains(html, part) && !strings.Contains(whole(html), part) {
				t.Errorf("%s lacks %s:\n%s", name, part, html)
			}
		}
	}
	devices := all["devices"]
	devices.Look = look
	if html := render(t, v, devices); strings.Contains(html, `name="end" value="ses_06c1x5m8kz7v9b2n4q6r8t0w1a"`) {
		t.Error("this device can be signed out by its row")
	}
}

// The two buttons of consent weigh the same: same class, no other between.
func TestConsentIsFair(t *testing.T) {
	v := newViews(t)
	page := samples(plain)["consent"]
	page.Look = newLook(t, v, v.OliveAndThyme())
	buttons := regexp.MustCompile(`<button class="([^"]*)" name="decision"`).FindAllStringSubmatch(render(t, v, page), -1)
	if len(buttons) != 2 || buttons[0][1] != buttons[1][1] {
		t.Errorf("%v", buttons)
	}
}

func TestPasswordsAreNeverWrittenBack(t *testing.T) {
	v := newViews(t)
	look := newLook(t, v, v.OliveAndThyme())
	for name, page := range samples(plain) {
		page.Look = look
		page.Values = map[string]string{"password": "hunter-zwei", "new_password": "hunter-zwei"}
		if strings.Contains(render(t, v, page), "hunter-zwei") {
			t.Errorf("%s shows a password", name)
		}
	}
}

// The page that follows an address looks the same whoever it belongs to: the
// data of Password and Code has nothing that could tell, and the wording says
// "if".
func TestCodePageDoesNotTellWhetherThereIsAnAccount(t *testing.T) {
	v := newViews(t)
	for _, lang := range v.Words().Languages() {
		text := v.Words().Localizer(lang).Text("code.lead_signin", nil)
		if !strings.HasPrefix(text, map[string]string{"en": "If there's an account", "de": "Falls es ein Konto", "ar": "إذا كان هناك حساب"}[lang]) {
			t.Errorf("%s: %q", lang, text)
		}
	}
}

var polyglots = []string{
	"jaVasCript:/*-/*`/*\\`/*'/*\"/**/(/* */oNcliCk=alert() )//%0D%0A%0d%0a//</stYle/</titLe/</teXtarEa/</scRipt/--!>\\x3csVg/<sVg/oNloAd=alert()//>\\x3e",
	`"><img src=x onerror=alert(1)>`,
	`' autofocus onfocus=alert(1) x='`,
	`</script><script>alert(1)</script>`,
	`{{.State}}{{range 1000000000}}{{end}}`,
	"\ue000<b>\ue001@\ue002.\u202e\x00",
}

// whole is a page without the marks at which long addresses may be broken.
func whole(page string) string { return strings.ReplaceAll(page, "<wbr>", "") }

// TestStrangersTextStaysText puts what attackers write wherever someone else's
// words are shown, and asserts that the page has the same elements as with
// harmless words, and no attribute more.
func TestStrangersTextStaysText(t *testing.T) {
	v := newViews(t)
	look := newLook(t, v, v.OliveAndThyme())
	handlers := regexp.MustCompile(`(?i)<[^<>"]*(?:"[^"]*"[^<>"]*)*\son[a-z]+\s*=`)
	for _, lang := range v.Words().Languages() {
		harmless := samples(plain)
		for _, attack := range polyglots {
			for name, page := range samples(func(string) string { return attack }) {
				page.Look, page.Lang = look, lang
				good := harmless[name]
				good.Look, good.Lang = look, lang
				html := render(t, v, page)
				if want, got := elements.FindAllString(whole(render(t, v, good)), -1), elements.FindAllString(whole(html), -1); !slices.Equal(want, got) {
					t.Errorf("%s: %q makes elements:\n%s", name, attack, html)
				}
				if handlers.MatchString(html) || strings.ContainsAny(html, "\ue000\ue001\u202e\x00") && attack != polyglots[5] {
					t.Errorf("%s: %q got through:\n%s", name, attack, html)
				}
			}
		}
	}
}

func TestAddressesThatRunAreNotLinks(t *testing.T) {
	v := newViews(t)
	look := newLook(t, v, v.OliveAndThyme())
	const bad = "jaVascript:alert(1)"
	for _, data := range []Data{
		Terms{Documents: []Document{{Label: Literal("x"), URL: bad}}}, Consent{PolicyURL: bad, TermsURL: bad}, Deny{BackURL: bad, AccountURL: bad},
		Fault{BackURL: bad}, Expired{RestartURL: bad}, Busy{RetryURL: bad}, SignedOut{BackURL: bad, SignInURL: bad},
		Account{Services: []Service{{"x", bad}}}, Access{AddURL: bad, PasswordURL: bad, Addresses: []Address{{ChangeURL: bad, RemoveURL: bad, ConfirmURL: bad}}},
		Applications{Connected: []Connection{{URL: bad}}}, Revoke{BackURL: bad}, NotFound{HomeURL: bad}, Identify{},
	} {
		html := render(t, v, Page{Data: data, Look: look, Application: "x", Action: bad, Portal: &Portal{HomeURL: bad, Links: []PortalLink{{Name: "profile", URL: bad}}}})
		if strings.Contains(strings.ToLower(html), "javascript:") {
			t.Errorf("%T: %s", data, html)
		}
	}
}

func TestEveryTextIsUsedAndThere(t *testing.T) {
	v := newViews(t)
	l := v.Words().Localizer("en")
	var source strings.Builder
	for _, pattern := range []string{"templates/*.html", "titles.go", "frame.go", "portal.go", "organization.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(data)
		}
	}
	used := map[string]bool{}
	for _, match := range key.FindAllStringSubmatch(source.String(), -1) {
		used[match[1]] = true
		if !l.Has(match[1]) && !strings.HasPrefix(match[1], "cardea.") && !strings.HasPrefix(match[1], "address.") {
			t.Errorf("%q is used and not there", match[1])
		}
	}
	callers := regexp.MustCompile(`^(error|notice|field|share|role|footer|wait|seen|deny|message)\.`) // named by data
	for _, key := range l.Keys() {
		if !used[key] && !callers.MatchString(key) {
			t.Errorf("%q is there and not used", key)
		}
	}
	for claim := range claims {
		if !l.Has("field." + claim) {
			t.Errorf("no label for %s", claim)
		}
	}
}

func TestRenderRefusesWhatIsNotWhole(t *testing.T) {
	v := newViews(t)
	var out bytes.Buffer
	for _, page := range []Page{{}, {Data: Identify{}}, {Look: newLook(t, v, v.Cardea())}} {
		if err := v.Render(&out, page); err == nil || out.Len() > 0 {
			t.Errorf("%+v: %v, %d bytes", page, err, out.Len())
		}
	}
}

func TestErrorOfAnUnknownKeyIsStillSaid(t *testing.T) {
	v := newViews(t)
	page := Page{Data: Identify{}, Look: newLook(t, v, v.Cardea()), Errors: map[string]Text{"identifier": T("error.of_tomorrow")}}
	if html := render(t, v, page); !strings.Contains(html, "That didn&#39;t work.") || strings.Contains(html, "of_tomorrow") {
		t.Error(html)
	}
}

func TestGolden(t *testing.T) {
	v := newViews(t)
	look := newLook(t, v, v.OliveAndThyme())
	look.Stylesheet, v.assets.hashed = "/assets/cardea.css", map[string]string{"cardea.js": "cardea.js"}
	look.Theme.Logo.URL, look.Theme.Logo.DarkURL = "/assets/olive.svg", "/assets/olive-dark.svg"
	for _, tt := range []struct{ page, lang string }{{"password-error", "en"}, {"consent", "ar"}} {
		page := samples(plain)[tt.page]
		page.Look, page.Lang = look, tt.lang
		got := render(t, v, page)
		file := filepath.Join("testdata", tt.page+"."+tt.lang+".golden.html")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; look at it, and if it is right: go test -run Golden -update\n%s", file, got)
		}
	}
}

func TestPagesAreSmall(t *testing.T) {
	v := newViews(t)
	look := newLook(t, v, v.OliveAndThyme())
	script := len(v.assets.byName[v.assets.hashed["cardea.js"]].Body)
	if script >= 4096 {
		t.Errorf("the script has %d bytes", script)
	}
	for name, page := range samples(plain) {
		for _, lang := range v.Words().Languages() {
			page.Look, page.Lang = look, lang
			if sum := len(render(t, v, page)) + len(look.assets[strings.TrimPrefix(look.Stylesheet, AssetPath)].Body) + script; sum > 30_000 {
				t.Errorf("%s, %s: page, stylesheet and script are %d bytes", lang, name, sum)
			}
		}
	}
}

func TestRenderInParallel(t *testing.T) {
	v := newViews(t)
	look := newLook(t, v, v.OliveAndThyme())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, page := range samples(plain) {
				page.Look = look
				var out bytes.Buffer
				if err := v.Render(&out, page); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRender(b *testing.B) {
	v := newViews(b)
	page := samples(plain)["password"]
	page.Look = newLook(b, v, v.OliveAndThyme())
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		if err := v.Render(&out, page); err != nil {
			b.Fatal(err)
		}
	}
}

// A long address is broken before its @ and its dots; what is no address is not
// touched, and nothing but the mark is added.
func TestAddressesBreakBeforeTheirParts(t *testing.T) {
	for text, want := range map[string]string{
		"ana@example.com":        "ana<wbr>@example<wbr>.com",
		"ana.b@mail.example.com": "ana<wbr>.b<wbr>@mail<wbr>.example<wbr>.com",
		".a@b":                   ".a<wbr>@b",
		"<i>@x.y":                "&lt;i&gt;<wbr>@x<wbr>.y",
		"@ana":                   "@ana",
		"Ana S. Marques":         "Ana S. Marques",
		"Ana @ Olive & Thyme":    "Ana @ Olive &amp; Thyme",
		"+44 7400 123456":        "+44 7400 123456",
		"":                       "",
	} {
		if got := string((&frame{}).Clean(text)); got != want {
			t.Errorf("%q is written %q, want %q", text, got, want)
		}
	}
	v := newViews(t)
	html := render(t, v, Page{Look: newLook(t, v, v.OliveAndThyme()), Lang: "en", Data: Code{Address: "ana@example.com"}})
	if !strings.Contains(html, "<bdi>ana<wbr>@example<wbr>.com</bdi>") || strings.Contains(html, "\ue002") {
		t.Errorf("a sentence has the address in one piece:\n%s", html)
	}
}
