// Package internal_test holds what is true of the tree as a whole: which
// package may import which, and what every table and statement looks like
// (DESIGN.md, section 3 and rule 6).
package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/cardea-id/cardea/"

// layer is a line of DESIGN.md, section 3. A package imports only what stands
// on the lines above its own here.
type layer struct {
	name     string
	packages []string
	// beside says whether packages of the line may import each other.
	beside bool
}

var layers = []layer{
	{"demo", []string{"demo", "demo/shop", "demo/club", "demo/recipes", "demo/page", "demo/signin"}, true},
	{"what customers of ours import", []string{"sdk/go"}, false},
	{"ground", []string{
		"internal/id", "internal/clock", "internal/sqldb", "internal/event", "internal/keyring", "internal/budget",
		"internal/ratelimit", "internal/geoip", "internal/problem", "internal/i18n", "internal/expr", "internal/claim", "internal/config", "internal/configversion",
		"internal/identifier", "internal/idempotency", "internal/brand", "internal/jose", "internal/redirecturi", "internal/clientip", "internal/backup", "internal/explain", "internal/tracing", "internal/outgoing", "internal/mailcheck",
	}, true},
	{"capabilities", []string{
		"internal/tenant", "internal/customer", "internal/credential", "internal/challenge", "internal/session", "internal/grant",
		"internal/application", "internal/signingkey", "internal/consent", "internal/notify", "internal/operator", "internal/organization",
	}, false},
	{"engine", []string{"internal/journey"}, false},
	{"steps", []string{"internal/journey/step"}, false},
	{"what surfaces share", []string{"internal/browser", "internal/route"}, false},
	{"surfaces", []string{"internal/pages", "internal/pages/view", "internal/oauth", "internal/adminapi", "internal/mailhook"}, false},
	{"server", []string{"internal/server"}, false},
	{"development and checks", []string{"internal/dev", "internal/check"}, false},
	{"commands", []string{"cmd/cardea"}, false},
}

// neighbours may be imported on the same line, for the reason that stands
// beside them. The key is "importer imported", or "* imported" for all of the
// line.
var neighbours = map[string]string{
	"* internal/tenant":                  "a tenant is the configuration that capabilities are called with",
	"internal/pages internal/pages/view": "one surface: view is how pages look",
}

// surfaces by package; what belongs to one surface has one name.
var surfaces = map[string]string{
	"internal/pages": "pages", "internal/pages/view": "pages", "internal/oauth": "oauth", "internal/adminapi": "adminapi", "internal/mailhook": "mailhook",
}

// source is one Go package as it is written, without its tests.
type source struct {
	path    string // from the module's root
	name    string
	imports []string // of this module, from its root
	files   map[string]*ast.File
	set     *token.FileSet
}

// support tells whether a package only serves tests.
func (s source) support() bool { return forTests(s.path) }

func forTests(pkg string) bool {
	return strings.HasSuffix(path.Base(pkg), "test") || strings.Contains(pkg, "test/") || strings.HasPrefix(pkg, "test/")
}

// tree reads all packages of the module.
func tree(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir("..", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if dir == "../examples" { // modules of their own
			return filepath.SkipDir
		}
		if name := entry.Name(); dir != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || name == "bin") {
			return filepath.SkipDir
		}
		s, err := read(dir)
		if err != nil {
			return err
		}
		if len(s.files) > 0 {
			all = append(all, s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 30 {
		t.Fatalf("only %d packages were found", len(all))
	}
	return all
}

func read(dir string) (source, error) {
	relative, err := filepath.Rel("..", dir)
	if err != nil {
		return source{}, err
	}
	s := source{path: filepath.ToSlash(relative), files: map[string]*ast.File{}, set: token.NewFileSet()}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return source{}, err
	}
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(s.set, filepath.Join(dir, name), nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return source{}, err
		}
		s.name, s.files[name] = file.Name.Name, file
		for _, imported := range file.Imports {
			target, err := strconv.Unquote(imported.Path.Value)
			if err != nil {
				return source{}, err
			}
			if own, ours := strings.CutPrefix(target, module); ours && !slices.Contains(s.imports, own) {
				s.imports = append(s.imports, own)
			}
		}
	}
	return s, nil
}

func TestPackagesImportOnlyDownwards(t *testing.T) {
	line := map[string]int{}
	for i, l := range layers {
		for _, pkg := range l.packages {
			line[pkg] = i
		}
	}
	used := map[string]bool{}
	for _, s := range tree(t) {
		if s.support() {
			continue
		}
		own, known := line[s.path]
		if !known {
			t.Errorf("%s is on no line: say in layers what it may import and who may import it", s.path)
			continue
		}
		for _, imported := range s.imports {
			target, known := line[imported]
			switch {
			case forTests(imported):
				t.Errorf("%s imports %s, which is for tests", s.path, imported)
			case !known: // told above
			case strings.HasPrefix(s.path, "demo") && !strings.HasPrefix(imported, "demo"):
				t.Errorf("%s imports %s: the demo applications are written as any customer's code would be", s.path, imported)
			case strings.HasPrefix(s.path, "sdk/"):
				t.Errorf("%s imports %s: what customers of ours import brings nothing of the product along", s.path, imported)
			case target > own:
				t.Errorf("%s (%s) imports %s (%s), which stands above it", s.path, layers[own].name, imported, layers[target].name)
			case target == own && !layers[own].beside:
				alone, all := s.path+" "+imported, "* "+imported
				used[alone], used[all] = true, true
				if neighbours[alone] == "" && neighbours[all] == "" {
					t.Errorf("%s imports %s, which stands beside it: let it declare the one or two methods that it needs, and internal/server fill them", s.path, imported)
				}
			}
		}
	}
	for pair := range neighbours {
		if !used[pair] {
			t.Errorf("neighbours lists %q, which nobody needs any more", pair)
		}
	}
}

func TestOnlyTheServerKnowsTwoSurfaces(t *testing.T) {
	for _, s := range tree(t) {
		if s.path == "internal/server" || s.support() {
			continue
		}
		known := map[string]bool{}
		if own := surfaces[s.path]; own != "" {
			known[own] = true
		}
		for _, imported := range s.imports {
			if surface := surfaces[imported]; surface != "" {
				known[surface] = true
			}
		}
		if len(known) > 1 {
			t.Errorf("%s knows %d surfaces", s.path, len(known))
		}
	}
}

func TestPackagesAreNamedForWhatTheyOwn(t *testing.T) {
	for _, s := range tree(t) {
		for _, empty := range []string{"util", "utils", "common", "helper", "helpers", "models", "types", "base", "manager"} {
			if s.name == empty || path.Base(s.path) == empty {
				t.Errorf("%s: the name says nothing", s.path)
			}
		}
		documented := false
		for _, file := range s.files {
			documented = documented || file.Doc != nil
		}
		if !documented {
			t.Errorf("%s has no doc comment", s.path)
		}
	}
}

func TestNothingHappensOnImport(t *testing.T) {
	for _, s := range tree(t) {
		for _, file := range s.files {
			for _, declared := range file.Decls {
				if fn, isFunc := declared.(*ast.FuncDecl); isFunc && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: wiring is plain constructor calls in internal/server", s.set.Position(fn.Pos()))
				}
			}
		}
	}
}

func TestSurfacesHaveNoSQL(t *testing.T) {
	for _, s := range tree(t) {
		if surfaces[s.path] == "" && s.path != "internal/server" && !strings.HasPrefix(s.path, "cmd/") {
			continue
		}
		for _, st := range s.statements(t) {
			t.Errorf("%s: SQL stands in the capability that owns the table: %s", st.at, st.text)
		}
	}
}
