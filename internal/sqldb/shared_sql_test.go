package sqldb_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// notShared are constructs that the two engines read differently, or that only
// one of them reads. In SQL they are looked for in any case, in other texts,
// which may be parts of SQL, in upper case.
var notShared = []struct{ pattern, why string }{
	{`\bLIKE\b`, "ignores case on SQLite only"},
	{`\bILIKE\b`, "is not on SQLite"},
	{`\bGLOB\b`, "is not on PostgreSQL"},
	{`\bSIMILAR\s+TO\b`, "is not on SQLite"},
	{`=\s*(ANY|ALL|SOME)\s*\(`, "is not on SQLite"},
	{`->>`, "is not on PostgreSQL's TEXT"},
	{`\bFOR\s+(UPDATE|SHARE|NO\s+KEY|KEY\s+SHARE)\b`, "is not on SQLite"},
	{`\bSKIP\s+LOCKED\b`, "is not on SQLite"},
	{`::\s*(TEXT|BIGINT|BOOLEAN|BYTEA|INT)`, "is not on SQLite; write CAST(x AS type)"},
	{`\bINSERT\s+OR\s+`, "is not on PostgreSQL; write ON CONFLICT"},
	{`\b(NOW\(\)|CURRENT_TIMESTAMP|CURRENT_DATE|CURRENT_TIME)`, "is not the transaction's time; bind tx.Now()"},
	{`\b(STRFTIME|JULIANDAY|UNIXEPOCH|DATE_TRUNC)\s*\(`, "is on one engine only"},
	{`\b(SELECT|RETURNING)\s+(\w+\.)?\*`, "hides which columns are read"},
	{`\b(SERIAL|BIGSERIAL|AUTOINCREMENT|VARCHAR|JSONB|TIMESTAMPTZ|TIMESTAMP|UUID|BLOB|INTEGER|SMALLINT|NUMERIC|REAL|DOUBLE\s+PRECISION)\b`,
		"is not one of TEXT, BIGINT, BOOLEAN, BYTEA"},
}

var (
	startsSQL   = regexp.MustCompile(`(?i)^\s*(SELECT|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|WITH\s+(RECURSIVE\s+)?\w+\s*(\([^)]*\)\s*)?AS|CREATE\s+(TABLE|INDEX|UNIQUE)|ALTER\s+TABLE)\b`)
	containsSQL = regexp.MustCompile(`\b(SELECT|INSERT INTO|DELETE FROM|CREATE TABLE|ALTER TABLE|WHERE|ORDER BY|RETURNING|ON CONFLICT)\b|\$[0-9]`)
	sqlComment  = regexp.MustCompile(`(?m)--.*$`)
	sqlText     = regexp.MustCompile(`'[^']*'`)
)

// faultsOf says what of a text is not shared SQL. A text that is no SQL has no
// faults.
func faultsOf(text string, certainly bool) []string {
	prefix := ""
	switch {
	case certainly || startsSQL.MatchString(sqlComment.ReplaceAllString(text, "")):
		prefix = "(?i)"
	case !containsSQL.MatchString(text) && !strings.Contains(text, "FOR UPDATE") && !strings.Contains(text, "LIKE "):
		return nil
	}
	text = sqlText.ReplaceAllString(sqlComment.ReplaceAllString(text, ""), "''")
	var faults []string
	for _, n := range notShared {
		if found := regexp.MustCompile(prefix + n.pattern).FindString(text); found != "" {
			faults = append(faults, strconv.Quote(found)+" "+n.why)
		}
	}
	return faults
}

func TestSharedSQL(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if name == "testdata" || name == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.Contains(name, "postgres") || strings.Contains(name, "sqlite") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		switch filepath.Ext(name) {
		case ".sql":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			for _, fault := range faultsOf(string(text), true) {
				t.Errorf("%s: %s", path, fault)
			}
		case ".go":
			files++
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Logf("%s is not Go: %v", path, err) // the compiler says so too
				return nil
			}
			ast.Inspect(file, func(node ast.Node) bool {
				if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					text, err := strconv.Unquote(literal.Value)
					if err != nil {
						t.Errorf("%s: %v", set.Position(literal.Pos()), err)
					}
					for _, fault := range faultsOf(text, false) {
						t.Errorf("%s: %s", set.Position(literal.Pos()), fault)
					}
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 10 {
		t.Errorf("only %d files were looked at", files)
	}
}

func TestSharedSQLFindsFaults(t *testing.T) {
	for text, faulty := range map[string]bool{
		`SELECT id FROM customer WHERE name LIKE $1`:            true,
		`select id from customer where name like $1`:            true,
		` AND name LIKE $2 ORDER BY id`:                         true,
		`SELECT id FROM outbox LIMIT $1 FOR UPDATE SKIP LOCKED`: true,
		` FOR UPDATE`:                               true,
		`SELECT id FROM a WHERE id = ANY($1)`:       true,
		`SELECT data->>'a' FROM a`:                  true,
		`SELECT $1::TEXT`:                           true,
		`SELECT * FROM a`:                           true,
		`SELECT a.* FROM a`:                         true,
		`INSERT INTO a (b) VALUES ($1) RETURNING *`: true,
		`CREATE TABLE a (b INTEGER)`:                true,
		"-- ground\nCREATE TABLE a (b TIMESTAMPTZ)": true,
		`UPDATE a SET b = now()`:                    true,
		`SELECT count(*) FROM a WHERE b = 'LIKE'`:   false,
		"-- like FOR UPDATE, but shared\nSELECT id FROM a ORDER BY id LIMIT 9": false,
		`a message like any other; it selects nothing`:                         false,
		`WITH n AS (SELECT 1 AS i) SELECT i FROM n ORDER BY i NULLS LAST`:      false,
		`update: real-time, integer, uuid`:                                     false,
		`CREATE TABLE a (b BIGINT NOT NULL, c TEXT, d BYTEA, e BOOLEAN)`:       false,
	} {
		if found := faultsOf(text, false); (len(found) > 0) != faulty {
			t.Errorf("%q: %q", text, found)
		}
	}
}
