// Package expr compiles and evaluates the conditions that tenants write in the
// Common Expression Language (CEL): `risk.score > 50 && !customer.verified`.
//
// An Environment declares the variables of one place where conditions stand,
// with their types; a Program is a condition compiled once against it and
// evaluated many times. A condition is of bounded length, can reach nothing
// but its variables, cannot loop without end, and stops with ErrCost when it
// costs more than its limit. The package knows nothing of what the variables
// mean; the time, too, is a variable.
package expr

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
)

// The limits of every condition. An evaluation that reaches CostLimit has
// taken some milliseconds, most of it in regular expressions; the conditions
// that people write cost below 100.
const (
	MaxSource   = 4096   // code points of a condition
	MaxNodes    = 2000   // parts of a condition, macros expanded
	MaxDepth    = 50     // nesting of a condition
	MaxText     = 65_536 // bytes of a string and elements of a list or map given to it
	CostLimit   = 20_000
	regexLimit  = 500 // instructions of a regular expression written in it
	shownErrors = 5
)

// Type is the type of a variable.
type Type string

// The types, with the Go type that Eval takes for each.
const (
	String  Type = "string"  // string
	Bool    Type = "bool"    // bool
	Int     Type = "int"     // int64 or int
	Double  Type = "double"  // float64
	Time    Type = "time"    // time.Time
	Strings Type = "strings" // []string
	// Map holds what is not known in advance: map[string]any of JSON's types.
	// Its values are dynamic: a condition tests for them with has() and must
	// compare them, as in `profile.newsletter == true`.
	Map Type = "map"
)

// Variable declares one variable. A name with a dot declares the field of an
// object: "customer.verified". Of an object only declared fields can be named.
type Variable struct {
	Name string
	Type Type
}

// Environment is the set of variables that conditions of one kind may use. It
// is safe for concurrent use.
type Environment struct {
	env   *cel.Env
	types map[string]Type
}

// NewEnvironment declares variables. Its faults are the programmer's.
func NewEnvironment(variables ...Variable) (*Environment, error) {
	options := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(MaxSource), cel.ParserRecursionLimit(MaxDepth), cel.ParserErrorRecoveryLimit(shownErrors),
		cel.ExpressionNodeLimit(MaxNodes), cel.RegexProgramSizeLimit(regexLimit),
		cel.DefaultUTCTimeZone(true), cel.EagerlyValidateDeclarations(true),
	}
	types := make(map[string]Type, len(variables))
	for _, v := range variables {
		celType, ok := celType(v.Type)
		if !ok {
			return nil, fmt.Errorf("the variable %q has the unknown type %q", v.Name, v.Type)
		}
		if _, twice := types[v.Name]; twice || !validName(v.Name) {
			return nil, fmt.Errorf("the variable name %q is not valid or declared twice", v.Name)
		}
		types[v.Name] = v.Type
		options = append(options, cel.Variable(v.Name, celType))
	}
	for name := range types {
		for object, rest, found := cutLast(name); found; object, rest, found = cutLast(object) {
			if _, both := types[object]; both {
				return nil, fmt.Errorf("the variable %q cannot also have the field %q", object, rest)
			}
		}
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("declaring the variables of a condition: %w", err)
	}
	return &Environment{env: env, types: types}, nil
}

func cutLast(name string) (before, after string, found bool) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return name, "", false
	}
	return name[:dot], name[dot+1:], true
}

func validName(name string) bool {
	for part := range strings.SplitSeq(name, ".") {
		if part == "" || part[0] >= '0' && part[0] <= '9' {
			return false
		}
		if strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return false
		}
	}
	return true
}

func celType(t Type) (*cel.Type, bool) {
	switch t {
	case String:
		return cel.StringType, true
	case Bool:
		return cel.BoolType, true
	case Int:
		return cel.IntType, true
	case Double:
		return cel.DoubleType, true
	case Time:
		return cel.TimestampType, true
	case Strings:
		return cel.ListType(cel.StringType), true
	case Map:
		return cel.MapType(cel.StringType, cel.DynType), true
	}
	return nil, false
}

// Fault is one thing that is wrong with a condition.
type Fault struct {
	Line, Column int // both from 1; 0 when the fault is the whole condition's
	Message      string
}

// CompileError says what is wrong with a condition, in words for its author.
type CompileError struct {
	Faults []Fault
}

func (e *CompileError) Error() string {
	var text strings.Builder
	text.WriteString("the condition is not valid")
	for i, fault := range e.Faults {
		if i == 0 {
			text.WriteString(": ")
		} else {
			text.WriteString("; ")
		}
		if fault.Line > 0 {
			fmt.Fprintf(&text, "line %d, column %d: ", fault.Line, fault.Column)
		}
		text.WriteString(fault.Message)
	}
	return text.String()
}

// Program is a compiled condition. It is safe for concurrent use.
type Program struct {
	program cel.Program
	types   map[string]Type
	source  string
	names   map[string]bool
}

// Compile compiles a condition. The error is a *CompileError.
func (e *Environment) Compile(source string) (*Program, error) {
	program, out, err := e.compile(source, "it is empty; write true for a condition that always holds")
	if err != nil {
		return nil, err
	}
	if !out.IsExactType(cel.BoolType) {
		return nil, &CompileError{Faults: []Fault{{Message: fmt.Sprintf("it gives %s, and a condition must give bool; compare it with something, such as … == true", cel.FormatCELType(out))}}}
	}
	return program, nil
}

// compile compiles an expression of any type.
func (e *Environment) compile(source, empty string) (*Program, *cel.Type, error) {
	whole := func(format string, args ...any) error {
		return &CompileError{Faults: []Fault{{Message: fmt.Sprintf(format, args...)}}}
	}
	switch {
	case strings.TrimSpace(source) == "":
		return nil, nil, whole("%s", empty)
	case !utf8.ValidString(source):
		return nil, nil, whole("it is not UTF-8")
	case utf8.RuneCountInString(source) > MaxSource:
		return nil, nil, whole("it is longer than %d characters", MaxSource)
	}
	ast, issues := e.env.Compile(source)
	if issues.Err() != nil {
		compileError := &CompileError{}
		for _, issue := range issues.Errors() {
			fault := Fault{Message: issue.Message}
			if issue.Location != nil && issue.Location.Line() > 0 {
				fault.Line, fault.Column = issue.Location.Line(), issue.Location.Column()+1
			}
			if compileError.Faults = append(compileError.Faults, fault); len(compileError.Faults) == shownErrors {
				break
			}
		}
		return nil, nil, compileError
	}
	program, err := e.env.Program(ast, cel.CostLimit(CostLimit), cel.InterruptCheckFrequency(100), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, nil, whole("%v", err)
	}
	names := map[string]bool{}
	for _, reference := range ast.NativeRep().ReferenceMap() {
		if _, declared := e.types[reference.Name]; declared {
			names[reference.Name] = true
		}
	}
	return &Program{program: program, types: e.types, source: source, names: names}, ast.OutputType(), nil
}

// Names tells whether the condition names a variable: the value of one that it
// does not name is not looked at.
func (p *Program) Names(variable string) bool { return p.names[variable] }

// Source returns the text that the program was compiled from.
func (p *Program) Source() string { return p.source }

// The errors of Eval. A caller treats any of them as a fault, never as false:
// a condition that guards must not fail open.
var (
	ErrCost      = errors.New("the condition costs more than it may")
	ErrVariables = errors.New("the variables given are not those declared")
	ErrEvaluate  = errors.New("the condition could not be evaluated")
)

// Eval tells whether the condition holds. Every declared variable is given, by
// its full name, as the Go type that its Type names; nothing else is.
func (p *Program) Eval(ctx context.Context, variables map[string]any) (bool, error) {
	if err := p.check(variables); err != nil {
		return false, err
	}
	value, _, err := p.program.ContextEval(ctx, variables)
	if err != nil {
		if ctx.Err() != nil {
			return false, fmt.Errorf("evaluating a condition: %w", ctx.Err())
		}
		if strings.Contains(err.Error(), "cost limit exceeded") {
			return false, fmt.Errorf("%w: %q", ErrCost, p.source)
		}
		return false, fmt.Errorf("%w: %q: %w", ErrEvaluate, p.source, err)
	}
	holds, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("%w: %q gave %v", ErrEvaluate, p.source, value.Type())
	}
	return holds, nil
}

// check holds the variables to their declarations, so that a slip of the
// caller is found at once and not by the one condition that meets it.
func (p *Program) check(variables map[string]any) error {
	for name, declared := range p.types {
		value, given := variables[name]
		if !given {
			return fmt.Errorf("%w: %q is missing", ErrVariables, name)
		}
		fits, size := false, 0
		switch v := value.(type) {
		case string:
			fits, size = declared == String, len(v)
		case bool:
			fits = declared == Bool
		case int64, int:
			fits = declared == Int
		case float64:
			fits = declared == Double
		case time.Time:
			fits = declared == Time
		case []string:
			fits, size = declared == Strings, len(v)
		case map[string]any:
			fits, size = declared == Map, len(v)
		}
		if !fits {
			return fmt.Errorf("%w: %q is a %T and was declared %s", ErrVariables, name, value, declared)
		}
		if size > MaxText {
			return fmt.Errorf("%w: %q has a size of %d, more than %d", ErrVariables, name, size, MaxText)
		}
	}
	if len(variables) != len(p.types) {
		for _, name := range slices.Sorted(maps.Keys(variables)) {
			if _, declared := p.types[name]; !declared {
				return fmt.Errorf("%w: %q was not declared", ErrVariables, name)
			}
		}
	}
	return nil
}
