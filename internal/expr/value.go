package expr

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// The limits of what an expression may give.
const (
	maxValueDepth = 8
	maxValueItems = 200 // elements and entries in all
)

// Value is an expression that gives something that JSON can say. It is safe for
// concurrent use.
type Value struct{ Program }

// sayable are the kinds of types whose values JSON can say, or that are known
// only once a value is there.
var sayable = []types.Kind{types.BoolKind, types.StringKind, types.IntKind, types.UintKind, types.DoubleKind, types.TimestampKind, types.ListKind,
	types.MapKind, types.DynKind, types.NullTypeKind}

// CompileValue compiles an expression whose type need not be bool. The error is
// a *CompileError.
func (e *Environment) CompileValue(source string) (*Value, error) {
	program, out, err := e.compile(source, "it is empty; write null for nothing")
	if err != nil {
		return nil, err
	}
	if slices.Contains(sayable, out.Kind()) {
		return &Value{*program}, nil
	}
	return nil, &CompileError{Faults: []Fault{{Message: fmt.Sprintf("it gives %s, which JSON cannot say; give a string, a number, a bool, a time, a list or a map", cel.FormatCELType(out))}}}
}

// The errors of Value.Eval beside those of Program.Eval.
var (
	// ErrMissing says that an expression asked for a key or an element that is not
	// there.
	ErrMissing = errors.New("the expression asks for something that is not there")
	// ErrShape says that a value is larger or deeper than it may be, or not one
	// that JSON can say.
	ErrShape = errors.New("the expression gives something that is not taken")
)

// Eval returns what the expression gives: nil, bool, string, int64, float64,
// []any or map[string]any. A time is its RFC 3339 text. No error tells of a
// variable's content.
func (v *Value) Eval(ctx context.Context, variables map[string]any) (any, error) {
	given, _, err := v.EvalCost(ctx, variables)
	return given, err
}

// EvalCost is Eval, and tells what it has cost, in the units of CostLimit.
func (v *Value) EvalCost(ctx context.Context, variables map[string]any) (any, uint64, error) {
	if err := v.check(variables); err != nil {
		return nil, 0, err
	}
	given, details, err := v.program.ContextEval(ctx, variables)
	var cost uint64
	if details != nil {
		if actual := details.ActualCost(); actual != nil {
			cost = *actual
		}
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, cost, fmt.Errorf("evaluating an expression: %w", ctx.Err())
	case strings.Contains(err.Error(), "cost limit exceeded"):
		return nil, CostLimit, ErrCost
	case strings.Contains(err.Error(), "no such key"), strings.Contains(err.Error(), "index out of bounds"), strings.Contains(err.Error(), "no such attribute"):
		return nil, cost, ErrMissing
	default:
		return nil, cost, ErrEvaluate // what the engine says may quote a value
	}
	items := 0
	said, err := plain(given, 0, &items)
	return said, cost, err
}

// plain turns what CEL gives into what encoding/json takes.
func plain(v ref.Val, depth int, items *int) (any, error) {
	if *items++; depth > maxValueDepth || *items > maxValueItems {
		return nil, fmt.Errorf("%w: it has more than %d levels or %d parts", ErrShape, maxValueDepth, maxValueItems)
	}
	switch v := v.(type) {
	case types.Null:
		return nil, nil //nolint:nilnil // null
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		if uint64(v) > math.MaxInt64 {
			return nil, fmt.Errorf("%w: a number is too large", ErrShape)
		}
		return int64(v), nil
	case types.Double:
		if f := float64(v); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
		return nil, fmt.Errorf("%w: a number is not finite", ErrShape)
	case types.String:
		if !utf8.ValidString(string(v)) {
			return nil, fmt.Errorf("%w: a text is not UTF-8", ErrShape)
		}
		return string(v), nil
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339), nil
	case traits.Mapper:
		return plainMap(v, depth, items)
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			element, err := plain(it.Next(), depth+1, items)
			if err != nil {
				return nil, err
			}
			list = append(list, element)
		}
		return list, nil
	}
	return nil, fmt.Errorf("%w: a %s", ErrShape, typeName(v))
}

func plainMap(v traits.Mapper, depth int, items *int) (any, error) {
	object := map[string]any{}
	for it := v.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, isText := key.(types.String)
		if !isText || !utf8.ValidString(string(name)) {
			return nil, fmt.Errorf("%w: a map whose keys are not texts", ErrShape)
		}
		value, err := plain(v.Get(key), depth+1, items)
		if err != nil {
			return nil, err
		}
		object[string(name)] = value
	}
	return object, nil
}

func typeName(v ref.Val) string {
	if v == nil {
		return "nothing"
	}
	if t := v.Type(); t != nil {
		return t.TypeName()
	}
	return reflect.TypeOf(v).String()
}
