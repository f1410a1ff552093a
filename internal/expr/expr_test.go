package expr

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func environment(t testing.TB) *Environment {
	t.Helper()
	env, err := NewEnvironment(
		Variable{"customer.verified", Bool}, Variable{"customer.email", String}, Variable{"customer.age", Int},
		Variable{"risk.score", Double}, Variable{"roles", Strings}, Variable{"now", Time}, Variable{"profile", Map},
	)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func variables() map[string]any {
	return map[string]any{
		"customer.verified": true, "customer.email": "ana@example.com", "customer.age": int64(34), "risk.score": 12.5,
		"roles": []string{"buyer", "editor"}, "now": time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
		"profile": map[string]any{"newsletter": true, "address": map[string]any{"country": "DE"}, "tags": []any{"a", "b"}, "points": 7.0},
	}
}

func TestEval(t *testing.T) {
	env := environment(t)
	for source, want := range map[string]bool{
		"true":                                                            true,
		"customer.verified && risk.score < 50.0":                          true,
		"!customer.verified":                                              false,
		`customer.email.endsWith("@example.com")`:                         true,
		`customer.email.matches("^[a-z]+@evil")`:                          false,
		`"editor" in roles && roles.exists(r, r.startsWith("buy"))`:       true,
		`size(roles) == 3`:                                                false,
		`now > timestamp("2026-01-01T00:00:00Z") && now.getHours() == 10`: true,
		`has(profile.newsletter) && profile.newsletter == true`:           true,
		`has(profile.absent) && profile.absent == 1`:                      false,
		`profile.address.country == "DE"`:                                 true,
		`profile.tags.all(t, t in ["a", "b"])`:                            true,
		`profile.points > 5.0`:                                            true,
		"customer.age >= 18 ?\n customer.verified : false":                true,
	} {
		program, err := env.Compile(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		got, err := program.Eval(t.Context(), variables())
		if err != nil || got != want {
			t.Errorf("%s: %t, %v", source, got, err)
		}
		if program.Source() != source {
			t.Errorf("source %q", program.Source())
		}
	}
}

func TestCompileErrorsSayWhere(t *testing.T) {
	env := environment(t)
	for _, test := range []struct {
		source       string
		line, column int
		message      string
	}{
		{"", 0, 0, "empty"},
		{" \n", 0, 0, "empty"},
		{"customer.verified &&", 1, 21, "Syntax error"},
		{"true &&\n  customer.verifed", 2, 11, "undeclared reference"},
		{"customer", 1, 1, "undeclared reference"},
		{"customer.age == \"x\"", 1, 14, "no matching overload"},
		{"customer.age", 0, 0, "gives int"},
		{"profile.newsletter", 0, 0, "gives dyn"},
		{"env('HOME') == ''", 1, 4, "undeclared reference"},
		{`customer.email.matches("(")`, 0, 0, "missing closing )"},
		{`customer.email.matches("((a{1,30}){1,30})")`, 1, 24, "regex"},
		{"\xff", 0, 0, "UTF-8"},
		{"'" + strings.Repeat("a", MaxSource) + "' == ''", 0, 0, "longer than"},
		{strings.Repeat("(", 2000) + "true" + strings.Repeat(")", 2000), 0, 0, ""},
		{strings.Repeat("!(", 200) + "true" + strings.Repeat(")", 200), 0, 0, ""},
		{strings.Repeat("[", 200) + strings.Repeat("]", 200) + " == []", 0, 0, ""},
		{"[" + strings.Repeat("1,", 2001) + "1] == []", 0, 0, ""},
	} {
		_, err := env.Compile(test.source)
		compileError, ok := errors.AsType[*CompileError](err)
		if !ok || len(compileError.Faults) == 0 {
			t.Errorf("%.40q was accepted (%v)", test.source, err)
			continue
		}
		fault := compileError.Faults[0]
		if test.message != "" && (!strings.Contains(err.Error(), test.message) || fault.Line != test.line || fault.Column != test.column) {
			t.Errorf("%.40q: %+v, want %d:%d %s", test.source, fault, test.line, test.column, test.message)
		}
		if len(err.Error()) > 2000 {
			t.Errorf("%.40q: an error of %d bytes", test.source, len(err.Error()))
		}
	}
}

func TestCostIsLimited(t *testing.T) {
	env := environment(t)
	vars := variables()
	many := make([]string, 2000)
	for i := range many {
		many[i] = strings.Repeat("a", 20)
	}
	vars["roles"] = many
	vars["customer.email"] = strings.Repeat("a", MaxText)
	for _, source := range []string{
		"roles.all(a, roles.all(b, roles.all(c, a == b && b == c)))",
		"roles.map(a, roles.map(b, a + b)).size() > 0",
		"roles.all(a, customer.email.matches('(a*)*b') || customer.email.contains('b') || true)",
		"[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, [1,2,3,4,5,6,7,8,9].all(e, [1,2,3,4,5,6,7,8,9].all(f, a+b+c+d+e+f > 0))))))",
	} {
		program, err := env.Compile(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		begin := time.Now()
		if _, err := program.Eval(t.Context(), vars); !errors.Is(err, ErrCost) {
			t.Errorf("%s: %v", source, err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s took %v before it was stopped", source, took)
		}
	}
}

func TestEvalFaultsAreErrors(t *testing.T) {
	env := environment(t)
	for _, source := range []string{"profile.absent == 1", "customer.age / 0 == 1", "profile.newsletter > 1", "roles[7] == 'x'"} {
		program, err := env.Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		if holds, err := program.Eval(t.Context(), variables()); holds || !errors.Is(err, ErrEvaluate) {
			t.Errorf("%s: %t, %v", source, holds, err)
		}
	}
}

func TestVariablesAreHeldToTheirDeclarations(t *testing.T) {
	program, err := environment(t).Compile("true")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]any){
		"missing":    func(v map[string]any) { delete(v, "now") },
		"undeclared": func(v map[string]any) { v["extra"] = 1 },
		"wrong type": func(v map[string]any) { v["customer.age"] = "34" },
		"nil":        func(v map[string]any) { v["profile"] = nil },
		"struct":     func(v map[string]any) { v["profile"] = struct{ A int }{1} },
		"too long":   func(v map[string]any) { v["customer.email"] = strings.Repeat("a", MaxText+1) },
	} {
		vars := variables()
		change(vars)
		if _, err := program.Eval(t.Context(), vars); !errors.Is(err, ErrVariables) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEvalStopsWithItsContext(t *testing.T) {
	program, err := environment(t).Compile("roles.all(a, roles.all(b, a != '' && b != ''))")
	if err != nil {
		t.Fatal(err)
	}
	vars := variables()
	vars["roles"] = strings.Split(strings.Repeat("a,", 150)+"a", ",")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := program.Eval(ctx, vars); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestNewEnvironmentRefuses(t *testing.T) {
	for name, vars := range map[string][]Variable{
		"unknown type": {{"a", "struct"}}, "twice": {{"a", Int}, {"a", Int}}, "empty": {{"", Int}}, "dot": {{"a.", Int}}, "digit": {{"a.1", Int}},
		"case": {{"A", Int}}, "object and variable": {{"a", Map}, {"a.b.c", Int}},
	} {
		if _, err := NewEnvironment(vars...); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, source := range []string{
		"true", "customer.verified && risk.score < 50.0", `"a" in roles`, "roles.exists(r, r.startsWith('b'))", "has(profile.x) && profile.x == 1",
		"roles.all(a, roles.all(b, a == b))", "now > timestamp('2026-01-01T00:00:00Z')", "customer.", "((((", "profile.x.y[0] == b'\\xff'", "1 / 0 == 1",
		"[1,2].map(x, [x].map(y, string(y))).size() == 2", "duration('1h') < duration('2h')", "'\\u0000' == ''", "{'a': 1}.a == 1",
		`customer.email.matches("^(a+)+$")`, "int('99999999999999999999') == 1", "type(1) == int", "dyn(1) == dyn('a')",
	} {
		f.Add(source)
	}
	env := environment(f)
	vars := variables()
	f.Fuzz(func(t *testing.T, source string) {
		program, err := env.Compile(source)
		if err != nil {
			if compileError, ok := errors.AsType[*CompileError](err); !ok || len(compileError.Faults) == 0 {
				t.Fatalf("%q: %v", source, err)
			}
			return
		}
		begin := time.Now()
		first, errFirst := program.Eval(t.Context(), vars)
		if took := time.Since(begin); took > 5*time.Second {
			t.Fatalf("%q took %v", source, took)
		}
		second, errSecond := program.Eval(t.Context(), vars)
		if first != second || (errFirst == nil) != (errSecond == nil) {
			t.Fatalf("%q: %t %v, then %t %v", source, first, errFirst, second, errSecond)
		}
	})
}

func BenchmarkEval(b *testing.B) {
	program, err := environment(b).Compile(`customer.verified && risk.score < 50.0 && "editor" in roles`)
	if err != nil {
		b.Fatal(err)
	}
	vars := variables()
	for b.Loop() {
		if holds, err := program.Eval(b.Context(), vars); err != nil || !holds {
			b.Fatal(holds, err)
		}
	}
}

func TestNames(t *testing.T) {
	environment, err := NewEnvironment(Variable{Name: "a.b", Type: Bool}, Variable{Name: "a.c", Type: Strings}, Variable{Name: "d", Type: String})
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{"a.b": "a.b ", "true": "", "size(a.c) > 0 && !a.b": "a.b a.c ", "a.c.exists(x, x == d)": "a.c d "} {
		program, err := environment.Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, name := range []string{"a.b", "a.c", "d"} {
			if program.Names(name) {
				got += name + " "
			}
		}
		if got != want {
			t.Errorf("%s names %q, want %q", source, got, want)
		}
	}
}
