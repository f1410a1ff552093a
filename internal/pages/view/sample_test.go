package view

import (
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 8, 1, 15, 4, 0, 0, time.UTC)

func newViews(t testing.TB) *Views {
	t.Helper()
	v, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newLook(t testing.TB, v *Views, theme Theme) *Look {
	t.Helper()
	theme.Links = []Link{{Label: T("footer.help"), URL: "https://olive.example/help"}, {Label: T("footer.privacy"), URL: "https://olive.example/privacy"}}
	look, err := v.Look(theme)
	if err != nil {
		t.Fatal(err)
	}
	return look
}

const ana = "ana@example.com"

// samples are every page in every state, as the tests and the preview show
// them; text is what stands where a stranger's words would.
func samples(text func(string) string) map[string]Page {
	shop, recipes := text("Olive & Thyme Shop"), text("Recipes by Ana")
	shares := []Share{
		{Name: "email", Value: text(ana)}, {Name: "name", Value: text("Ana Sofia Marques")},
		{Name: "address", Asked: true}, {Name: "offline_access"},
	}
	fields := []Field{
		{Name: "given_name", Required: true},
		{Name: "family_name", Required: true},
		{Name: "birthdate", Why: Literal(text("We send you something nice on the day.")), Min: "1900-01-01", Max: "2026-08-01"},
		{Name: "phone_number", Why: Literal(text("The courier calls you at the door."))},
		{Name: "locale", Options: []Option{{"en", Literal(text("English"))}, {"ar", Literal(text("العربية"))}}},
		{Name: "loyalty_number", Label: Literal(text("Loyalty card number")), MaxLength: 20},
		{Name: "newsletter", Label: Literal(text("Send me the season's recipes")), Type: "checkbox"},
	}
	wrong := func(pairs ...any) map[string]Text {
		errs := map[string]Text{}
		for i := 0; i < len(pairs); i += 2 {
			errs[pairs[i].(string)] = pairs[i+1].(Text)
		}
		return errs
	}
	at := func(d time.Duration) time.Time { return now.Add(-d) }
	pages := map[string]Page{
		"identify":            {Application: shop, Data: Identify{Kinds: []string{"email"}, Create: true}},
		"identify-error":      {Application: shop, Data: Identify{Kinds: []string{"email", "username"}, Create: true}, Values: map[string]string{"identifier": text("ana@")}, Errors: wrong("identifier", T("error.email"))},
		"password":            {Application: shop, Data: Password{Identifier: text(ana), Stay: true, Code: true, Recover: true}},
		"password-error":      {Application: shop, Data: Password{Identifier: text(ana), Stay: true, Code: true}, Values: map[string]string{"stay": "true"}, Errors: wrong("password", T("error.password_wrong"))},
		"recover":             {Application: shop, Data: Recover{Kinds: []string{"email"}}, Values: map[string]string{"identifier": text(ana)}},
		"signup":              {Application: shop, Data: CreateAccount{SignIn: true}},
		"signup-error":        {Application: shop, Data: CreateAccount{SignIn: true}, Values: map[string]string{"identifier": text("ana")}, Errors: wrong("identifier", T("error.email"))},
		"code":                {Application: shop, Data: Code{Address: text(ana), SignUp: true, Length: 6, Resend: true, Back: true}},
		"code-signin":         {Application: shop, Data: Code{Address: text(ana), Length: 6, Resend: true, Password: true}, Notice: &Notice{OK, T("notice.code_sent")}},
		"code-recovery":       {Application: shop, Data: Code{Address: text(ana), Recovery: true, Length: 6, Resend: true, Back: true}},
		"code-error":          {Application: shop, Data: Code{Address: text(ana), Length: 6, Resend: true, Back: true}, Values: map[string]string{"code": text("123 456")}, Errors: wrong("code", T("error.code_wrong"))},
		"newpassword":         {Application: shop, Data: NewPassword{Identifier: text(ana), MinLength: 15, Skip: true}},
		"newpassword-error":   {Application: shop, Data: NewPassword{Identifier: text(ana), MinLength: 15}, Errors: wrong("new_password", T("error.new_password_short", "Count", 15))},
		"newpassword-again":   {Application: shop, Data: NewPassword{Identifier: text(ana), MinLength: 15, Recovery: true}},
		"password-account":    {Data: Password{Identifier: text(ana), Code: true, Recover: true, Account: true}},
		"code-account":        {Data: Code{Address: text(ana), Account: true, Length: 6, Resend: true, Back: true}},
		"code-new":            {Data: Code{Address: text(ana), New: true, Length: 6, Resend: true, Back: true}},
		"newpassword-account": {Data: NewPassword{Identifier: text(ana), MinLength: 15, Account: true}, Values: map[string]string{"end_others": "true"}},
		"newaddress":          {Data: NewAddress{}},
		"newaddress-change":   {Data: NewAddress{Replaces: text(ana)}, Values: map[string]string{"identifier": text("ana@")}, Errors: wrong("identifier", T("error.email"))},
		"reviewaddresses": {Application: shop, Data: ReviewAddresses{Added: []Added{
			{ID: "idn_1", Address: text("someone.else@mail.example"), At: now.AddDate(0, 0, -1)}, {ID: "idn_2", Address: text("+44 7400 123456"), At: now.AddDate(0, 0, -9)}}}},
		"removeaddress":        {Data: RemoveAddress{Address: text(ana)}},
		"removeaddress-last":   {Data: RemoveAddress{Address: text(ana), Last: true}},
		"newnumber":            {Data: NewAddress{Phone: true}},
		"newnumber-change":     {Data: NewAddress{Phone: true, Replaces: text("+44 7400 123456")}, Values: map[string]string{"identifier": text("07400")}, Errors: wrong("identifier", T("error.phone"))},
		"removenumber":         {Data: RemoveAddress{Phone: true, Address: text("+44 7400 123456")}},
		"removenumber-last":    {Data: RemoveAddress{Phone: true, Address: text("+44 7400 123456"), Last: true}},
		"confirmaddress":       {Data: ConfirmAddress{Address: text(ana)}},
		"code-number":          {Data: Code{Address: text("+44 7400 123456"), Phone: true, New: true, Length: 6, Resend: true, Back: true}},
		"code-returned":        {Data: Code{Address: text(ana), Returned: true, Length: 6, Resend: true, Back: true}},
		"closeaccount":         {Data: CloseAccount{Until: now.AddDate(0, 0, 30)}},
		"signedout-closed":     {Data: SignedOut{SignInURL: "/sign-in", Closed: now.AddDate(0, 0, 30)}},
		"deny-changed":         {Data: Deny{Reason: T("deny.account_changed"), AccountURL: "/account/sign-in"}},
		"collect":              {Application: shop, Data: Collect{Fields: fields, Skip: true}},
		"signup-operator":      {Data: CreateAccount{Operator: true}},
		"newpassword-operator": {Data: NewPassword{Identifier: text(ana), MinLength: 15, Operator: true}},
		"fault-operator":       {Data: Fault{Kind: FaultOperator}},
		"collect-error": {Application: shop, Data: Collect{Fields: fields, Title: Literal(text("Your delivery")), Lead: Literal(text("So that it finds you."))},
			Values: map[string]string{"given_name": text("Ana"), "phone_number": text("12"), "locale": "ar", "newsletter": "true"},
			Errors: wrong("family_name", T("error.required"), "phone_number", T("error.phone"))},
		"collect-address": {Data: Collect{Title: T("field.address"), Fields: []Field{{Name: "address.street_address", Required: true}, {Name: "address.postal_code", Required: true}, {Name: "address.locality", Required: true}, {Name: "address.country"}}}},
		"terms": {Application: shop, Data: Terms{Decline: true, Documents: []Document{
			{Label: Literal(text("Terms of use")), URL: "https://olive.example/terms", Updated: now}, {Label: Literal(text("Privacy notice")), URL: "https://olive.example/privacy"}}}},
		"consent": {Application: recipes, Data: Consent{As: text(ana), Shares: shares, ThirdParty: true, PolicyURL: "https://recipes.example/privacy", TermsURL: "https://recipes.example/terms"}},
		"consent-verified": {Application: recipes, Data: Consent{As: text(ana), ThirdParty: true, Verified: true,
			Shares: []Share{{Name: "openid"}, {Name: "email", Value: text(ana)}, {Name: "loyalty", Label: Literal(text("Your loyalty points")), Value: text("1,250")}}}},
		"disown":            {Data: Disown{}},
		"disown-dead":       {Data: Disown{Dead: true, RecoverURL: "/recover"}},
		"keep":              {Application: shop, Data: Keep{Until: now}},
		"invitation":        {Data: Invitation{Address: text(ana)}},
		"invitation-dead":   {Data: Invitation{Dead: true, SignInURL: "/sign-in"}},
		"message":           {Application: shop, Data: Message{Title: T("notice.password_saved"), Body: Literal(text("Next time you can sign in with it."))}},
		"message-nobody":    {Application: shop, Data: Message{Title: T("message.no_account_title"), Body: T("message.no_account"), Continue: T("identify.create")}},
		"deny-nobody":       {Application: shop, Data: Deny{Reason: T("deny.no_account"), BackURL: "https://shop.example/"}},
		"message-literal":   {Data: Message{Title: Literal(text("Welcome back")), Body: Literal(text("We've moved.")), Continue: Literal(text("Good to know"))}},
		"deny":              {Application: shop, Data: Deny{ID: "err_06c1x5m8kz7v9b2n4q6r8t0w1y", BackURL: "https://shop.example/"}},
		"deny-reason":       {Application: shop, Data: Deny{Reason: T("deny.locked")}},
		"fault":             {Data: Fault{ID: "err_06c1x5m8kz7v9b2n4q6r8t0w1y", BackURL: "/"}},
		"fault-redirect":    {Data: Fault{Kind: FaultRedirect, ID: "err_06c1x5m8kz7v9b2n4q6r8t0w1y"}},
		"fault-application": {Data: Fault{Kind: FaultApplication, ID: "err_06c1x5m8kz7v9b2n4q6r8t0w1y"}},
		"fault-request":     {Data: Fault{Kind: FaultRequest, ID: "err_06c1x5m8kz7v9b2n4q6r8t0w1y"}},
		"fault-forged":      {Application: shop, Data: Fault{Kind: FaultForged, BackURL: "https://shop.example/"}},
		"expired":           {Application: shop, Data: Expired{}},
		"expired-link":      {Data: Expired{RestartURL: "/account"}},
		"limited":           {Application: shop, Data: Limited{Until: now.Add(12 * time.Minute), Code: true, Back: true}},
		"limited-both":      {Application: shop, Data: Limited{Until: now.Add(2 * time.Minute), Code: true, Password: true}},
		"limited-only":      {Application: shop, Data: Limited{Until: now.Add(3 * time.Hour), Back: true}},
		"limited-network":   {Application: shop, Data: Limited{Until: now.Add(2 * time.Second), Network: true}, Values: map[string]string{"choose": "again"}},
		"limited-link":      {Data: Limited{Until: now.Add(2 * time.Second), Network: true, RetryURL: "/account"}},
		"busy":              {Application: shop, Data: Busy{}, Values: map[string]string{"identifier": text(ana), "password": "secret-thing", "new_password": "secret-thing"}},
		"busy-link":         {Data: Busy{RetryURL: "/"}},
		"signout":           {Application: shop, Data: SignOut{}},
		"signout-plain":     {Data: SignOut{}},
		"signedout":         {Application: shop, Data: SignedOut{BackURL: "https://shop.example/", SignInURL: "/account"}},
		"notfound":          {Data: NotFound{HomeURL: "/account"}},
		"account": {Data: Account{Name: text("Ana Sofia Marques"), Identifier: text(ana), Devices: 3, Connected: 1, Language: "en",
			Services: []Service{{shop, "https://shop.example/"}, {text("Thyme Club"), "https://club.example/"}}}, Notice: &Notice{OK, T("notice.saved")}},
		"account-empty": {Data: Account{Identifier: text(ana), Devices: 1, Language: "en"}, Appearance: "dark"},
		"profile": {Data: Profile{Groups: []Group{{Fields: fields}, {Title: T("field.address"), Fields: []Field{{Name: "address.street_address"}, {Name: "address.country"}}}},
			Facts: []Fact{{Field{Name: "loyalty", Label: Literal(text("Loyalty points"))}, text("1,250")}}},
			Values: map[string]string{"given_name": text("Ana"), "locale": "ar", "newsletter": "true"}},
		"profile-changed": {Data: Profile{Groups: []Group{{Fields: fields}}}, Values: map[string]string{"given_name": text("Anna")},
			Errors: wrong("given_name", T("error.changed_elsewhere", "Value", text("Ana"))), Notice: &Notice{Info, T("notice.profile_changed")}},
		"profile-fixed": {Data: Profile{Facts: []Fact{{Field{Name: "given_name"}, text("Ana")}}}},
		"access": {Data: Access{Password: true, Changed: at(400 * 24 * time.Hour), AddURL: "/account/addresses/new", PasswordURL: "/account/password", Addresses: []Address{
			{Value: text(ana), Main: true, ChangeURL: "/account/addresses/1", RemoveURL: "/account/addresses/1/remove"},
			{Value: text("ana@work.example"), Unverified: true, ConfirmURL: "/account/addresses/2/confirm"}}}},
		"access-phone": {Data: Access{AddURL: "/account/addresses/new", NumberURL: "/account/numbers/new", PasswordURL: "/account/password", Addresses: []Address{
			{Value: text(ana), Main: true, Returned: true, ConfirmURL: "/account/addresses/1/confirm", ChangeURL: "/account/addresses/1"},
			{Value: text("+44 7400 123456"), Phone: true, ChangeURL: "/account/addresses/2", RemoveURL: "/account/addresses/2/remove"}}}},
		"access-phone-alone": {Data: Access{Phone: true, AddURL: "/account/addresses/new", NumberURL: "/account/numbers/new", PasswordURL: "/account/password", Addresses: []Address{
			{Value: text("+44 7400 123456"), Phone: true, Main: true, ChangeURL: "/account/addresses/2"}}}},
		"access-none": {Data: Access{Addresses: []Address{{Value: text(ana), Main: true, ChangeURL: "/account/addresses/1"}}, AddURL: "/account/addresses/new", PasswordURL: "/account/password"}},
		"devices": {Data: Devices{Sessions: []Session{
			{ID: "ses_06c1x5m8kz7v9b2n4q6r8t0w1a", Browser: "Firefox", System: "macOS", This: true, Seen: now, Place: text("Lisbon, Portugal")},
			{ID: "ses_06c1x5m8kz7v9b2n4q6r8t0w1b", Browser: text("Safari"), System: "iPhone", Phone: true, Seen: at(27 * time.Hour)},
			{ID: "ses_06c1x5m8kz7v9b2n4q6r8t0w1c", Seen: at(30 * 24 * time.Hour)},
		}}},
		"devices-one":       {Data: Devices{Sessions: []Session{{ID: "ses_06c1x5m8kz7v9b2n4q6r8t0w1a", Browser: "Chrome", System: "Android", Phone: true, This: true, Seen: now}}}},
		"applications":      {Data: Applications{Connected: []Connection{{Name: recipes, URL: "/account/applications/1", Shares: shares[:2], Since: at(40 * 24 * time.Hour)}}}, Notice: &Notice{OK, T("notice.access_removed", "App", text("Planner"))}},
		"applications-none": {Data: Applications{}},
		"revoke":            {Data: Revoke{Connection: Connection{Name: recipes, Shares: shares, Since: at(40 * 24 * time.Hour)}, BackURL: "/account/applications"}},
		"preferences":       {Data: Preferences{Languages: []string{"en", "de", "ar"}, Mail: true}, Values: map[string]string{"language": "en", "appearance": "dark"}, Appearance: "dark"},
		"join":              {Data: JoinOrganization{Organization: text("Sage & Salt Ltd"), Inviter: text("Bea Costa"), Address: text(ana), Roles: []string{"admin", text("buyer")}, Until: now.Add(7 * 24 * time.Hour)}},
		"join-other":        {Data: JoinOrganization{Organization: text("Sage & Salt Ltd"), Address: text(ana), Roles: []string{"member"}, Until: now.Add(time.Hour), SignedIn: true}},
		"join-decide":       {Data: JoinOrganization{Decide: true, Organization: text("Sage & Salt Ltd"), Inviter: text("Bea Costa"), Address: text(ana), Roles: []string{"owner", "member"}, Until: now.Add(time.Hour)}},
		"join-dead":         {Data: JoinOrganization{Dead: true, HomeURL: "/account"}},
		"join-member":       {Data: JoinOrganization{Dead: true, Member: true, Organization: text("Sage & Salt Ltd"), HomeURL: "/account/organizations"}},
		"chooseorganization": {Application: shop, Data: ChooseOrganization{Organizations: []Belonging{
			{ID: "org_06c1x5m8kz7v9b2n4q6r8t0w1a", Name: text("Sage & Salt Ltd"), Roles: []string{"admin"}, Since: at(time.Hour)},
			{ID: "org_06c1x5m8kz7v9b2n4q6r8t0w1b", Name: text("Rosemary Rentals"), Roles: []string{text("buyer")}, Since: at(40 * 24 * time.Hour)}}},
			Errors: wrong("form", T("error.organization_gone"))},
		"organizations": {Data: Organizations{Organizations: []Belonging{
			{ID: "org_06c1x5m8kz7v9b2n4q6r8t0w1a", Name: text("Sage & Salt Ltd"), Roles: []string{"admin", "member"}, Since: at(time.Hour)},
			{ID: "org_06c1x5m8kz7v9b2n4q6r8t0w1b", Name: text("Rosemary Rentals"), Roles: []string{"member"}, Since: at(40 * 24 * time.Hour), Suspended: true}}},
			Notice: &Notice{OK, T("notice.organization_joined", "Organization", text("Sage & Salt Ltd"))}},
		"organizations-none": {Data: Organizations{}},
		"leaveorganization":  {Data: LeaveOrganization{Belonging: Belonging{ID: "org_06c1x5m8kz7v9b2n4q6r8t0w1a", Name: text("Sage & Salt Ltd")}, BackURL: "/account/organizations"}},
		"preferences-here":   {Data: Preferences{Languages: []string{"en", "ar"}}, Values: map[string]string{"language": "ar", "appearance": "light"}, Appearance: "light"},
	}
	for name, page := range pages {
		switch page.Data.(type) {
		case Account, Profile, Access, Devices, Applications, Revoke, Preferences, Organizations, LeaveOrganization:
			page.Portal = &Portal{HomeURL: "/account"}
			for link := range portalNames {
				page.Portal.Links = append(page.Portal.Links, PortalLink{Name: link, URL: "/account/" + link, Here: link == page.Data.page()})
			}
			slices.SortFunc(page.Portal.Links, func(a, b PortalLink) int { return strings.Compare(a.Name, b.Name) })
		}
		pages[name] = page
	}
	for name, page := range pages {
		page.Now, page.Lang, page.Action, page.State = now, "en", "/journey", text("AQs3aled_state")
		page.Languages = []string{"en", "ar"}
		pages[name] = page
	}
	return pages
}

func plain(s string) string { return s }
