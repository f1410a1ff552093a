package main

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/pages"
)

// Commands are mentioned in running text, between backticks; in examples of a
// shell, wherever in the line; and in what the program itself says, between
// quotation marks.
var (
	inText   = regexp.MustCompile("`(?:bin/|/usr/local/bin/|/usr/bin/)?cardea ([^`]+)`")
	inShell  = regexp.MustCompile(`(?m)(?:^|[\s(/'"])cardea ([a-z][^\n|;>)]*)`)
	inSource = regexp.MustCompile(`'cardea ([a-z][^'"` + "`" + `\\]*)'`)
)

// unknown says what of a mentioned command there is not, "" if all of it is. What
// is left out of a mention (…, <command>) is not looked at.
func unknown(root *kong.Node, mention string) string {
	node, flags := root, slices.Clone(root.Flags)
	path := true // the words are still names of commands
	for _, word := range words(strings.ReplaceAll(mention, "\\\n", " ")) {
		name, isFlag := strings.CutPrefix(word, "--")
		switch {
		case isFlag && name != "":
			name, _, _ = strings.Cut(strings.TrimRight(name, ",.)']"), "=")
			if !slices.ContainsFunc(flags, func(f *kong.Flag) bool { return f.Name == name || f.Tag.Negatable != "" && name == "no-"+f.Name }) {
				return "no flag --" + name + " of " + node.FullPath()
			}
			path = path && node == root // flags may stand before the command
		case path && len(node.Children) > 0 && regexp.MustCompile(`^[a-z-]+$`).MatchString(word):
			at := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == word || slices.Contains(n.Aliases, word) })
			if at < 0 {
				return "no " + word + " in " + node.FullPath()
			}
			node = node.Children[at]
			flags = append(flags, node.Flags...)
		default:
			path = false
		}
	}
	return ""
}

func tree(t *testing.T) *kong.Node {
	t.Helper()
	var c commands
	parser, err := kong.New(&c, kong.Name("cardea"), kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model.Node
}

func TestUnknownCommandsAreSeen(t *testing.T) {
	root := tree(t)
	for mention, want := range map[string]string{
		"settings apply --tenant thyme --file x.yaml": "", "init … > .env": "", "<command> --help": "", "app claims preview": "", "brand": "",
		"keys rotate --tenant T --alg ALG": "", "init --no-first-party": "", "operator break-glass": "",
		"tenant settings apply": "no settings in", "settings aply": "no aply in", "settings show --nothing": "no flag --nothing", "app claims previw": "no previw in",
	} {
		if got := unknown(root, mention); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q", mention, got)
		}
	}
}

func TestMentionedCommandsExist(t *testing.T) {
	root, seen := tree(t), 0
	look := func(file, text string, pattern *regexp.Regexp) {
		for _, found := range pattern.FindAllStringSubmatch(text, -1) {
			seen++
			if problem := unknown(root, found[1]); problem != "" {
				t.Errorf("%s: cardea %s: there is %s", file, found[1], problem)
			}
		}
	}
	err := filepath.WalkDir("../..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if err == nil && slices.Contains([]string{".git", "node_modules", "testdata", "e2e"}, entry.Name()) {
				return fs.SkipDir
			}
			return err
		}
		kind := filepath.Ext(file)
		if kind != ".md" && (kind != ".go" || strings.HasSuffix(file, "_test.go")) {
			return nil
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if kind == ".go" {
			look(file, string(raw), inSource)
			return nil
		}
		if entry.Name() == "CHANGELOG.md" {
			return nil // it tells what there was
		}
		for n, part := range strings.Split(string(raw), "```") {
			switch {
			case n%2 == 0:
				look(file, strings.ReplaceAll(part, "\n", " "), inText)
			case strings.HasPrefix(part, "sh\n"):
				part = regexp.MustCompile(`(?m)[ \t]# .*$`).ReplaceAllString(part, "")
				// `helm upgrade cardea` names a release.
				look(file, strings.NewReplacer("\\\n", " ", " && ", "\n", "/cardea ", " cardea ", "helm upgrade cardea ", "").Replace(part), inShell)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 150 {
		t.Errorf("only %d mentions were found: the test looks at the wrong place", seen)
	}
}

// What can be previewed is listed in a help text and two pages by hand, so that
// no command has to draw pages before it starts.
func TestWhatCanBePreviewedIsListed(t *testing.T) {
	var mails []string
	for _, kind := range notify.Templates() {
		mails = append(mails, string(kind))
	}
	help := map[string]string{}
	preview := tree(t)
	for _, name := range []string{"brand", "preview"} {
		preview = preview.Children[slices.IndexFunc(preview.Children, func(n *kong.Node) bool { return n.Name == name })]
	}
	for _, f := range preview.Flags {
		help[f.Name] = f.Help
	}
	listed := func(where, text string, names []string, between *regexp.Regexp) {
		t.Helper()
		got := between.FindAllString(text, -1)
		slices.Sort(got)
		want := slices.Clone(names)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s lists\n%q, but there are\n%q", where, got, want)
		}
	}
	afterColon := func(text string) string {
		_, list, _ := strings.Cut(text, ": ")
		return strings.ReplaceAll(list, " or ", " ")
	}
	name := regexp.MustCompile(`[a-z][a-z_-]+`)
	listed("--page", afterColon(help["page"]), pages.Previews(), name)
	listed("--mail", afterColon(help["mail"]), mails, name)
	for page, marks := range map[string][2]string{"messages.md": {"The kinds are ", "."}, "brands.md": {"For each message (", ")"}} {
		raw, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		_, list, _ := strings.Cut(string(raw), marks[0])
		list, _, _ = strings.Cut(list, marks[1])
		listed(page, strings.Join(regexp.MustCompile("`[^`]*`").FindAllString(list, -1), " "), mails, name)
	}
}
