package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// output is how a command prints what it found.
type output struct {
	JSON bool `name:"json" help:"Print JSON, for scripts."`
}

// show prints value as JSON, or else what people prints.
func (o output) show(p *program, value any, people func() error) error {
	if !o.JSON {
		return people()
	}
	return p.json(value)
}

func (p *program) json(value any) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// table prints lines of cells below their heads.
func (p *program) table(none string, heads []string, lines [][]string) error {
	if len(lines) == 0 {
		_, err := fmt.Fprintln(p.out, none)
		return err
	}
	w := tabwriter.NewWriter(p.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(heads, "\t"))
	for _, line := range lines {
		for i := range line {
			line[i] = printable(line[i])
			if line[i] == "" {
				line[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	return w.Flush()
}

// fields prints names with what they are, one a line. What is "" is left out.
func (p *program) fields(pairs ...string) error {
	w := tabwriter.NewWriter(p.out, 0, 4, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", pairs[i], printable(pairs[i+1]))
		}
	}
	return w.Flush()
}

func (p *program) line(format string, args ...any) error {
	_, err := fmt.Fprintln(p.out, printable(fmt.Sprintf(format, args...)))
	return err
}

// printable takes out of text whatever could do something to a terminal, or
// turn it around: customers and applications choose it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && r != 0x200c && r != 0x200d { // joiners are letters' own
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
