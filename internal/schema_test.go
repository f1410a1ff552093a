package internal_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

// groundTables have keys of their own: what belongs to the installation or to
// a lane and not to one tenant (DESIGN.md, rule 6).
var groundTables = map[string]string{
	"config_version":      "one counter for all configuration",
	"config_change":       "what the counter counted",
	"event_pending":       "a queue by lane",
	"event_position":      "the order of a lane",
	"event_lease":         "who leads a lane",
	"event_cursor":        "how far a consumer has come in a lane",
	"keyring_state":       "the installation's epoch and root key",
	"lifecycle_pass":      "which tenants' customers' dates are to be set anew, and how far: a list that nodes work off",
	"lookup_rotation":     "which tenants' look-up keys are being replaced, and how far: a list that nodes work off",
	"search_pass":         "which tenants' customers are made to be found by beginnings, and how far: a list that nodes work off",
	"key_store":           "the key store's one row",
	"explanation":         "errors by their id alone, which whoever quotes it knows, and not the tenant",
	"explanation_dropped": "how many errors of a minute are not kept, of the installation",
	"restore_mark":        "that a restore is under way",
	"restore_ledger":      "whom the restore has still to erase",
	"schema_migration":    "sqldb's own",
}

// foreignKeys are unique keys that do not begin with the tenant.
var foreignKeys = map[string]string{
	"tenant (slug)":   "a reference table, whole on every node: names in addresses are the installation's",
	"tenant (issuer)": "likewise: no two tenants have one issuer",
	"tenant (host)":   "likewise",
}

// table is a CREATE TABLE of a migration.
type table struct {
	name, owner, file string
	kind, column      string // "distribution" with its column, "reference" or "ground"
	columns           []string
	keys              [][]string // primary and unique
}

var (
	createTable  = regexp.MustCompile(`(?m)((?:^--.*\n)*)^CREATE TABLE (?:IF NOT EXISTS )?(\w+) (\((?s:.*?)^\)|PARTITION OF (\w+))`)
	uniqueIndex  = regexp.MustCompile(`(?s)CREATE UNIQUE INDEX \w+ ON (\w+) \(([^)]*)\)`)
	annotation   = regexp.MustCompile(`^-- (?:(distribution): (\w+)|(reference)|(ground))$`)
	tableKey     = regexp.MustCompile(`^(?:PRIMARY KEY|UNIQUE) \(([^)]*)\)`)
	columnOfBody = regexp.MustCompile(`^(\w+)\s+(TEXT|BIGINT|BOOLEAN|BYTEA)\b(.*)$`)
)

// migrationFolders are the folders of migrations, by the package that owns
// them and its set's name.
func migrationFolders(t *testing.T) map[string][]string {
	t.Helper()
	folders := map[string][]string{}
	err := filepath.WalkDir(".", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == "testdata" {
			return filepath.SkipDir
		}
		if entry.IsDir() && strings.HasSuffix(entry.Name(), "migrations") {
			owner := filepath.ToSlash(filepath.Dir(dir))
			folders[owner] = append(folders[owner], dir)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return folders
}

func tables(t *testing.T) []table {
	t.Helper()
	var all []table
	indexes := map[string][][]string{}
	for owner, folders := range migrationFolders(t) {
		for _, folder := range folders {
			files, err := filepath.Glob(filepath.Join(folder, "*.sql"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, tablesOf(t, owner, file, string(text))...)
				for _, index := range uniqueIndex.FindAllStringSubmatch(string(text), -1) {
					indexes[index[1]] = append(indexes[index[1]], list(index[2]))
				}
			}
		}
	}
	for i := range all {
		all[i].keys = append(all[i].keys, indexes[all[i].name]...)
	}
	if len(all) < 20 {
		t.Fatalf("only %d tables were found", len(all))
	}
	return all
}

func tablesOf(t *testing.T, owner, file, text string) []table {
	t.Helper()
	var all []table
	for _, found := range createTable.FindAllStringSubmatch(text, -1) {
		made := table{name: found[2], owner: owner, file: file}
		comments := strings.Split(strings.TrimSpace(found[1]), "\n")
		if parts := annotation.FindStringSubmatch(comments[len(comments)-1]); parts != nil {
			made.kind, made.column = parts[1]+parts[3]+parts[4], parts[2]
		}
		if found[4] == "" {
			made.read(t, found[3])
		}
		all = append(all, made)
	}
	if made := strings.Count(text, "CREATE TABLE"); made != len(all) {
		t.Errorf("%s has %d tables, of which %d were understood", file, made, len(all))
	}
	return all
}

// read takes columns and keys from what stands between the parentheses.
func (x *table) read(t *testing.T, body string) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(strings.TrimPrefix(body, "(")), "\n") {
		line = strings.TrimSuffix(strings.TrimSpace(line), ",")
		if key := tableKey.FindStringSubmatch(line); key != nil {
			x.keys = append(x.keys, list(key[1]))
			continue
		}
		if line == ")" {
			continue
		}
		column := columnOfBody.FindStringSubmatch(line)
		if column == nil {
			t.Errorf("%s: the line %q of %s was not understood", x.file, line, x.name)
			continue
		}
		x.columns = append(x.columns, column[1])
		if strings.Contains(column[3], "PRIMARY KEY") || strings.Contains(column[3], "UNIQUE") {
			x.keys = append(x.keys, []string{column[1]})
		}
	}
}

func list(text string) []string {
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		names = append(names, strings.TrimSpace(name))
	}
	return names
}

func TestTablesAreDistributed(t *testing.T) {
	seen, exempt := map[string]bool{}, map[string]bool{}
	for _, x := range tables(t) {
		seen[x.name] = true
		switch x.kind {
		case "":
			t.Errorf("%s: no comment says how %s is distributed: -- distribution: column, -- reference or -- ground", x.file, x.name)
			continue
		case "ground":
			if groundTables[x.name] == "" {
				t.Errorf("%s: %s is ground, and groundTables does not say why", x.file, x.name)
			}
			continue
		}
		if groundTables[x.name] != "" {
			t.Errorf("%s: groundTables lists %s, which is %s", x.file, x.name, x.kind)
		}
		if len(x.keys) == 0 && len(x.columns) > 0 {
			t.Errorf("%s: %s has no key", x.file, x.name)
		}
		if x.kind == "distribution" && len(x.columns) > 0 && !slices.Contains(x.columns, x.column) {
			t.Errorf("%s: %s is distributed by %s, which it does not have", x.file, x.name, x.column)
		}
		for _, key := range x.keys {
			name := fmt.Sprintf("%s (%s)", x.name, strings.Join(key, ", "))
			if foreignKeys[name] != "" {
				exempt[name] = true
				continue
			}
			if key[0] != "tenant" {
				t.Errorf("%s: the key %s does not begin with tenant", x.file, name)
			}
			if x.kind == "distribution" && !slices.Contains(key, x.column) {
				t.Errorf("%s: the key %s does not hold %s, by which the table is distributed: no unique constraint spans shards", x.file, name, x.column)
			}
		}
	}
	for name := range groundTables {
		if !seen[name] && name != "schema_migration" {
			t.Errorf("groundTables lists %s, which is no table", name)
		}
	}
	for name := range foreignKeys {
		if !exempt[name] {
			t.Errorf("foreignKeys lists %s, which is no key", name)
		}
	}
}

// statement is one SQL text in the code.
type statement struct {
	pkg   string // "customer"
	owner string // "customer.Erase", or "keyring.sqlErased" for a constant
	text  string
	at    token.Position
}

var (
	startsSQL = regexp.MustCompile(`(?i)^\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|WITH\s+(RECURSIVE\s+)?\w+\s*(\([^)]*\)\s*)?AS\b)`)
	named     = regexp.MustCompile(`(?i)\b(?:FROM|JOIN|INTO|UPDATE)\s+(\w+)`)
)

// statements are all SQL texts of a package: string literals, with what is
// joined to them. What a variable adds is not known here.
func (s source) statements(t *testing.T) []statement {
	t.Helper()
	constants := map[string]string{}
	for _, file := range s.files {
		ast.Inspect(file, func(node ast.Node) bool {
			if spec, is := node.(*ast.ValueSpec); is {
				for i, name := range spec.Names {
					if i < len(spec.Values) {
						if text, isText := fold(spec.Values[i], constants); isText {
							constants[name.Name] = text
						}
					}
				}
			}
			return true
		})
	}
	var all []statement
	pkg := strings.TrimPrefix(s.path, "internal/")
	for _, file := range s.files {
		for _, declared := range file.Decls {
			owner := ""
			visit := func(node ast.Node) bool {
				if spec, is := node.(*ast.ValueSpec); is && owner == "" {
					for i, value := range spec.Values {
						if text, isText := fold(value, constants); isText && startsSQL.MatchString(text) {
							all = append(all, statement{pkg, pkg + "." + spec.Names[i].Name, text, s.set.Position(value.Pos())})
						}
					}
					return false
				}
				expression, is := node.(ast.Expr)
				if !is {
					return true
				}
				if _, isName := expression.(*ast.Ident); isName {
					return true // where it is declared
				}
				text, isText := fold(expression, constants)
				if !isText {
					return true
				}
				if startsSQL.MatchString(text) {
					all = append(all, statement{pkg, pkg + "." + owner, text, s.set.Position(expression.Pos())})
				}
				return false
			}
			if fn, isFunc := declared.(*ast.FuncDecl); isFunc {
				owner = fn.Name.Name
			}
			ast.Inspect(declared, visit)
		}
	}
	return all
}

// fold reads a string that is made of literals and constants of the package.
func fold(expression ast.Expr, constants map[string]string) (string, bool) {
	switch x := expression.(type) {
	case *ast.BasicLit:
		if x.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(x.Value)
		return text, err == nil
	case *ast.Ident:
		text, known := constants[x.Name]
		return text, known
	case *ast.ParenExpr:
		return fold(x.X, constants)
	case *ast.BinaryExpr:
		if x.Op != token.ADD {
			return "", false
		}
		left, known := fold(x.X, constants)
		right, alsoKnown := fold(x.Y, constants)
		return left + " " + right, known || alsoKnown
	}
	return "", false
}

// allStatements are those of the program, and which tables each names.
func allStatements(t *testing.T, byName map[string]table) map[*statement][]table {
	t.Helper()
	all := map[*statement][]table{}
	for _, s := range tree(t) {
		if s.support() {
			continue
		}
		for _, st := range s.statements(t) {
			var touched []table
			for _, found := range named.FindAllStringSubmatch(st.text, -1) {
				x, known := byName[strings.ToLower(found[1])]
				if known && !slices.ContainsFunc(touched, func(y table) bool { return y.name == x.name }) {
					touched = append(touched, x)
				}
			}
			all[&st] = touched
		}
	}
	if len(all) < 100 {
		t.Fatalf("only %d statements were found", len(all))
	}
	return all
}

func tablesByName(t *testing.T) map[string]table {
	byName := map[string]table{}
	for _, x := range tables(t) {
		if len(x.columns) > 0 {
			byName[x.name] = x
		}
	}
	return byName
}

func TestTablesAreNamedByTheirOwnersOnly(t *testing.T) {
	for st, touched := range allStatements(t, tablesByName(t)) {
		for _, x := range touched {
			if x.owner != st.pkg {
				t.Errorf("%s: %s is the table of %s: %s", st.at, x.name, x.owner, st.text)
			}
		}
	}
}

// binds tells whether a statement says which value a column has: in what it
// inserts, or in a condition on the table.
func binds(text, column string) bool {
	for _, pattern := range []string{
		`(?i)\b` + column + `\s*=\s*(\$[0-9]|CAST\(\$[0-9])`,
		`(?i)INSERT\s+INTO\s+\w+\s*\([^)]*\b` + column + `\b`,
	} {
		if regexp.MustCompile(pattern).MatchString(text) {
			return true
		}
	}
	return false
}

// acrossTenants are the statements that do not bind the tenant, and why.
var acrossTenants = map[string]string{
	"budget.Sweep":                 "a sweep",
	"challenge.Sweep":              "a sweep",
	"challenge.SweepLinks":         "a sweep",
	"customer.SealReasons":         "a sweep",
	"customer.duePage":             "a queue: which customers the rules of accounts' lives look at next, whosever they are",
	"grant.Sweep":                  "a sweep",
	"grant.sweepLineages":          "a sweep",
	"organization.Sweep":           "a sweep",
	"organization.FinishDeletions": "a sweep",
	"idempotency.Sweep":            "a sweep",
	"journey.Sweep":                "a sweep",
	"session.Sweep":                "a sweep",
	"event.Check":                  "the order of a lane, whosever the events are",
	"notify.sqlEnded":              "a sweep",
	"keyring.sqlSweepPage":         "a sweep",
	"notify.sqlDue":                "a queue: which messages are due, whosever they are",
	"notify.sqlUrgent":             "a queue: which codes are due, whosever they are",
	"notify.sqlWaiting":            "a queue: how many messages wait, whosever they are",
	"event.readLane":               "a lane: the event is found by the tenant that the position names",
	"signingkey.Advance":           "which keys are due for their next state, whosever they are",
	"keyring.sqlErased":            "the ledger in the order of its sequence",
	"keyring.sqlUnfinished":        "the ledger in the order of its sequence",
	"keyring.sqlForeignTenantKeys": "rewrap: keys under another root key",
	"keyring.sqlForeignLookupKeys": "rewrap: keys under another root key",
	"keyring.sqlRotatedTenants":    "rewrap: tenants with an old key",
	"keyring.sqlRootsInUse":        "an operator's question: which root keys are needed",
	"keyring.sqlRootsUsed":         "at the start: which root keys are needed",
	"notify.sqlForgetOld":          "the inbox of development is one list",
	"notify.sqlLetter":             "the inbox of development is one list",
	"notify.sqlLetters":            "the inbox of development is one list",
	"session.selectSession":        "a beginning, to which each use adds the key",
	"tenant.selectTenant":          "a beginning, to which each use adds the key",
	"tenant.read":                  "how a tenant is found: by id, slug or host",
	"tenant.List":                  "the list of tenants",
}

// acrossShards are the statements that bind the tenant and not the column by
// which the table is distributed: on a distributed database they ask every
// shard. None is on a hot path.
var acrossShards = map[string]string{
	"challenge.EraseCustomer":    "erasure: a customer's codes are kept under the addresses that they went to",
	"customer.List":              "an operator's list",
	"customer.advancePass":       "new settings of a tenant: a walk over all its customers",
	"customer.searchPage":        "new settings of a tenant, or a new look-up key: a walk over all its customers",
	"customer.sqlMatches":        "an operator's search",
	"customer.setDates":          "new settings of a tenant: a walk over all its customers",
	"customer.sqlSingle":         "replacing the look-up key: a walk over all identifiers of a tenant",
	"customer.sqlDouble":         "replacing the look-up key: a walk over all identifiers of a tenant",
	"event.Forget":               "erasure: the customer's part of events about others",
	"event.Read":                 "the audit list of a tenant",
	"keyring.sqlInUse":           "rotation, and in the key store, which is one database",
	"keyring.sqlOldCustomerKeys": "rotation, and in the key store, which is one database",
	"notify.sqlUndelivered":      "an operator's list",
	"notify.sqlUnsent":           "an operator's list",
	"organization.List":          "an operator's list",
	"idempotency.EraseCustomer":  "erasure: answers to operators that tell of the customer",
	"organization.EraseHandle":   "erasure: invitations to the customer's addresses are kept with their organizations",
	"organization.EraseCustomer": "erasure: invitations to the customer's addresses are kept with their organizations",
}

func TestStatementsBindTheirTenant(t *testing.T) {
	used := map[string]bool{}
	for st, touched := range allStatements(t, tablesByName(t)) {
		for _, x := range touched {
			if x.kind == "ground" {
				continue
			}
			if !binds(st.text, "tenant") {
				if used["tenants "+st.owner] = true; acrossTenants[st.owner] == "" {
					t.Errorf("%s: %s does not bind the tenant of %s: %s", st.at, st.owner, x.name, st.text)
				}
				continue
			}
			if x.kind == "distribution" && !binds(st.text, x.column) {
				if used["shards "+st.owner] = true; acrossShards[st.owner] == "" {
					t.Errorf("%s: %s does not bind the %s of %s, and so asks every shard: %s", st.at, st.owner, x.column, x.name, st.text)
				}
			}
		}
	}
	for owner := range acrossTenants {
		if !used["tenants "+owner] {
			t.Errorf("acrossTenants lists %s, which binds its tenant or is gone", owner)
		}
	}
	for owner := range acrossShards {
		if !used["shards "+owner] {
			t.Errorf("acrossShards lists %s, which binds its column or is gone", owner)
		}
	}
}

// TestAllMigrationsRunTwice: a second node that starts, and every later start,
// find all done.
func TestAllMigrationsRunTwice(t *testing.T) {
	var sets []sqldb.MigrationSet
	for owner, folders := range migrationFolders(t) {
		for _, folder := range folders {
			sets = append(sets, sqldb.MigrationSet{Package: owner + "_" + filepath.Base(folder), FS: os.DirFS(folder)})
		}
	}
	slices.SortFunc(sets, func(a, b sqldb.MigrationSet) int { return strings.Compare(a.Package, b.Package) })
	dbtest.Each(t, nil, func(t *testing.T, db *sqldb.DB) {
		var first []sqldb.Table
		for range 2 {
			if err := db.Migrate(t.Context(), sets...); err != nil {
				t.Fatal(err)
			}
			made, err := db.Tables(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = made
			} else if fmt.Sprint(first) != fmt.Sprint(made) {
				t.Error("the second run made other tables")
			}
		}
		byName := map[string]sqldb.Table{}
		for _, x := range first {
			byName[x.Name] = x
		}
		for _, x := range tables(t) {
			made, there := byName[x.name]
			if len(x.columns) == 0 || strings.Contains(x.file, ".sqlite.") != (db.Engine() == sqldb.SQLite) && strings.Count(filepath.Base(x.file), ".") > 1 {
				continue
			}
			if !there || len(made.Columns) < len(x.columns) {
				t.Errorf("%s of %s has the columns %v", x.name, x.file, made.Columns)
			}
		}
	})
}

// TestEveryMigrationIsApplied: a folder of migrations that the server does not
// list would be found missing in production only.
func TestEveryMigrationIsApplied(t *testing.T) {
	server, err := read(filepath.Join("..", "internal", "server"))
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]int{}
	for _, file := range server.files {
		ast.Inspect(file, func(node ast.Node) bool {
			if call, is := node.(*ast.SelectorExpr); is && strings.HasSuffix(call.Sel.Name, "Migrations") {
				if pkg, isName := call.X.(*ast.Ident); isName {
					called[pkg.Name+"."+call.Sel.Name]++
				}
			}
			return true
		})
	}
	for owner, folders := range migrationFolders(t) {
		listed := 0
		for name := range called {
			if strings.HasPrefix(name, filepath.Base(owner)+".") {
				listed++
			}
		}
		if owner == "backup" {
			continue // its tables are there only while it restores, and it makes them
		}
		if listed != len(folders) {
			t.Errorf("internal/server applies %d of the %d sets of migrations of %s", listed, len(folders), owner)
		}
	}
}
