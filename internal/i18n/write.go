package i18n

import (
	"strconv"
	"strings"
	"time"
)

// script is how a language writes numbers and dates. The forms are those of
// CLDR's long date and short time; Arabic has the digits CLDR gives it without
// a region.
type script struct {
	name        string
	rightToLeft bool
	digits      []rune // nil: 0 to 9
	group       string // between thousands
	months      [12]string
	day         string // after the number of the day
	am, pm      string // "": the clock counts to 24
}

var scripts = map[string]script{
	"en": {
		name: "English", group: ",", am: "am", pm: "pm",
		months: [12]string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"},
	},
	"de": {
		name: "Deutsch", group: ".", day: ".",
		months: [12]string{"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"},
	},
	"ar": {
		name: "العربية", rightToLeft: true, group: "٬", am: "ص", pm: "م", digits: []rune("٠١٢٣٤٥٦٧٨٩"),
		months: [12]string{"يناير", "فبراير", "مارس", "أبريل", "مايو", "يونيو", "يوليو", "أغسطس", "سبتمبر", "أكتوبر", "نوفمبر", "ديسمبر"},
	},
}

// Number writes a whole number.
func (l *Localizer) Number(n int) string {
	plain := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, plain = "-", plain[1:]
	}
	var out strings.Builder
	out.WriteString(sign)
	for i, digit := range plain {
		if i > 0 && (len(plain)-i)%3 == 0 {
			out.WriteString(l.script.group)
		}
		out.WriteRune(digit)
	}
	return l.digits(out.String())
}

// Date writes a day: "1 August 2026".
func (l *Localizer) Date(t time.Time) string {
	return l.digits(strconv.Itoa(t.Day()) + l.script.day + " " + l.script.months[t.Month()-1] + " " + strconv.Itoa(t.Year()))
}

// Clock writes a time of day: "3:04 pm", or "15:04".
func (l *Localizer) Clock(t time.Time) string {
	if l.script.am == "" {
		return l.digits(t.Format("15:04"))
	}
	half := l.script.am
	if t.Hour() >= 12 {
		half = l.script.pm
	}
	return l.digits(t.Format("3:04")) + " " + half
}

func (l *Localizer) digits(text string) string {
	if l.script.digits == nil {
		return text
	}
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return l.script.digits[r-'0']
		}
		return r
	}, text)
}

// Wait says how long until then, rounded up, as a whole sentence: "You can try
// again in 12 minutes."
func (l *Localizer) Wait(now, until time.Time) string {
	left := until.Sub(now)
	if left <= 0 {
		return l.Text("wait.over", nil)
	}
	if minutes := ceil(left, time.Minute); minutes < 90 {
		return l.Text("wait.minutes", Args{"Count": minutes})
	}
	if hours := ceil(left, time.Hour); hours < 48 {
		return l.Text("wait.hours", Args{"Count": hours})
	}
	return l.Text("wait.days", Args{"Count": ceil(left, 24*time.Hour)})
}

func ceil(d, unit time.Duration) int { return int((d + unit - 1) / unit) }

// Seen says when something was last active: "Last active 5 minutes ago",
// and past two weeks the day.
func (l *Localizer) Seen(now, at time.Time) string {
	past := now.Sub(at)
	switch {
	case past < 5*time.Minute: // last seen is kept to five minutes
		return l.Text("seen.now", nil)
	case past < time.Hour:
		return l.Text("seen.minutes", Args{"Count": int(past / time.Minute)})
	case past < 24*time.Hour:
		return l.Text("seen.hours", Args{"Count": int(past / time.Hour)})
	case past < 14*24*time.Hour:
		return l.Text("seen.days", Args{"Count": int(past / (24 * time.Hour))})
	}
	return l.Text("seen.on", Args{"Date": l.Date(at)})
}
