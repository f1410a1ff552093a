package sqldb

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
	"unsafe"
)

// kind is what a value is to the database.
type kind uint8

const (
	kindNull kind = iota
	kindInteger
	kindFloat
	kindBoolean
	kindText
	kindBlob
)

func (k kind) String() string {
	return [...]string{"NULL", "BIGINT", "DOUBLE PRECISION", "BOOLEAN", "TEXT", "BYTEA"}[k]
}

// argument is a converted argument. A blob's bytes stand in text, as a view of
// the caller's slice until keep is called.
type argument struct {
	kind kind
	num  int64 // integer, boolean as 0 or 1, bits of a float
	text string
}

// keep makes the statement independent of its caller's slices.
func (s *statement) keep() {
	for i := range s.args {
		if s.args[i].kind == kindBlob {
			s.args[i].text = strings.Clone(s.args[i].text)
		}
	}
}

func newStatement(text string, args []any) (statement, error) {
	s := statement{sql: text}
	if len(args) == 0 {
		return s, nil
	}
	s.args = make([]argument, len(args))
	for i, arg := range args {
		if err := s.args[i].set(arg); err != nil {
			return s, fmt.Errorf("argument $%d: %w", i+1, err)
		}
	}
	return s, nil
}

func boolNum(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func blobText(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// micros is how a time is stored: UTC microseconds, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func (a *argument) set(value any) error {
	switch v := value.(type) {
	case nil:
	case string:
		a.kind, a.text = kindText, v
	case int64:
		a.kind, a.num = kindInteger, v
	case int:
		a.kind, a.num = kindInteger, int64(v)
	case bool:
		a.kind, a.num = kindBoolean, boolNum(v)
	case []byte:
		if v != nil {
			a.kind, a.text = kindBlob, blobText(v)
		}
	case time.Time:
		a.kind, a.num = kindInteger, micros(v)
	case float64:
		a.kind, a.num = kindFloat, int64(math.Float64bits(v))
	case driver.Valuer: // sql.Null and its kin
		if rv := reflect.ValueOf(value); rv.Kind() == reflect.Pointer && rv.IsNil() {
			return nil
		}
		inner, err := v.Value()
		if err != nil {
			return err
		}
		if _, again := inner.(driver.Valuer); again {
			return fmt.Errorf("%T gives another driver.Valuer", value)
		}
		return a.set(inner)
	default:
		return a.reflect(reflect.ValueOf(value))
	}
	if a.kind == kindText && strings.IndexByte(a.text, 0) >= 0 {
		return errNUL
	}
	return nil
}

var errNUL = fmt.Errorf("a NUL character cannot be stored as TEXT")

func (a *argument) reflect(v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		return a.set(v.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		a.kind, a.num = kindInteger, v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if v.Uint() > math.MaxInt64 {
			return fmt.Errorf("%d does not fit into BIGINT", v.Uint())
		}
		a.kind, a.num = kindInteger, int64(v.Uint())
	case reflect.Bool:
		a.kind, a.num = kindBoolean, boolNum(v.Bool())
	case reflect.Float32, reflect.Float64:
		a.kind, a.num = kindFloat, int64(math.Float64bits(v.Float()))
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return fmt.Errorf("%s cannot be stored", v.Type())
		}
		if !v.IsNil() {
			a.kind, a.text = kindBlob, blobText(v.Bytes())
		}
	case reflect.Array:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return fmt.Errorf("%s cannot be stored", v.Type())
		}
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		a.kind, a.text = kindBlob, blobText(b)
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return a.set(v.Elem().Interface())
	default:
		return fmt.Errorf("%s cannot be stored", v.Type())
	}
	return nil
}

// cell is one value of a result. The bytes of text and blobs stand in the
// rows' arena, from num on.
type cell struct {
	kind kind
	size int32
	num  int64
}

// scan puts a cell into dest. raw are the bytes of a text or blob; when they
// are volatile, what is kept of them must be copied.
func (c cell) scan(raw []byte, volatile bool, dest any) error {
	switch d := dest.(type) {
	case *string:
		if c.kind == kindText || c.kind == kindBlob {
			*d = keepText(raw, volatile)
			return nil
		}
	case *int64:
		if c.kind == kindInteger {
			*d = c.num
			return nil
		}
	case *int:
		if c.kind == kindInteger {
			*d = int(c.num)
			return nil
		}
	case *bool:
		if c.kind == kindBoolean || c.kind == kindInteger {
			*d = c.num != 0
			return nil
		}
	case *[]byte:
		switch c.kind {
		case kindNull:
			*d = nil
			return nil
		case kindText, kindBlob:
			*d = keepBytes(raw)
			return nil
		}
	case *time.Time:
		if c.kind == kindInteger {
			*d = fromMicros(c.num)
			return nil
		}
	case *any:
		*d = c.value(raw, volatile)
		return nil
	case sql.Scanner:
		value := c.value(raw, volatile)
		if n, ok := value.(int64); ok {
			if wantsTime(d) {
				value = fromMicros(n)
			} else if wantsBool(d) {
				value = n != 0
			}
		}
		return d.Scan(value)
	default:
		v := reflect.ValueOf(dest)
		if v.Kind() != reflect.Pointer || v.IsNil() {
			return fmt.Errorf("destination %T is not a pointer", dest)
		}
		return c.reflect(raw, volatile, v.Elem())
	}
	return fmt.Errorf("%s does not go into %T", c.kind, dest)
}

func wantsTime(d sql.Scanner) bool {
	switch d.(type) {
	case *sql.NullTime, *sql.Null[time.Time]:
		return true
	}
	return false
}

func wantsBool(d sql.Scanner) bool {
	switch d.(type) {
	case *sql.NullBool, *sql.Null[bool]:
		return true
	}
	return false
}

func keepBytes(raw []byte) []byte {
	b := make([]byte, len(raw))
	copy(b, raw)
	return b
}

func keepText(raw []byte, volatile bool) string {
	if volatile {
		return string(raw)
	}
	return blobText(raw)
}

func (c cell) value(raw []byte, volatile bool) any {
	switch c.kind {
	case kindInteger:
		return c.num
	case kindBoolean:
		return c.num != 0
	case kindFloat:
		return math.Float64frombits(uint64(c.num))
	case kindText:
		return keepText(raw, volatile)
	case kindBlob:
		return keepBytes(raw)
	}
	return nil
}

func (c cell) reflect(raw []byte, volatile bool, v reflect.Value) error {
	switch k := v.Kind(); {
	case k == reflect.Pointer:
		if c.kind == kindNull {
			v.SetZero()
			return nil
		}
		inner := reflect.New(v.Type().Elem())
		if err := c.scan(raw, volatile, inner.Interface()); err != nil {
			return err
		}
		v.Set(inner)
		return nil
	case k == reflect.String && (c.kind == kindText || c.kind == kindBlob):
		v.SetString(keepText(raw, volatile))
		return nil
	case v.CanInt() && c.kind == kindInteger:
		if v.OverflowInt(c.num) {
			return fmt.Errorf("%d does not fit into %s", c.num, v.Type())
		}
		v.SetInt(c.num)
		return nil
	case v.CanUint() && c.kind == kindInteger:
		if c.num < 0 || v.OverflowUint(uint64(c.num)) {
			return fmt.Errorf("%d does not fit into %s", c.num, v.Type())
		}
		v.SetUint(uint64(c.num))
		return nil
	case v.CanFloat() && c.kind == kindFloat:
		v.SetFloat(math.Float64frombits(uint64(c.num)))
		return nil
	case v.CanFloat() && c.kind == kindInteger:
		v.SetFloat(float64(c.num))
		return nil
	case k == reflect.Bool && (c.kind == kindBoolean || c.kind == kindInteger):
		v.SetBool(c.num != 0)
		return nil
	case k == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		switch c.kind {
		case kindNull:
			v.SetZero()
			return nil
		case kindText, kindBlob:
			v.SetBytes(bytes.Clone(raw))
			if len(raw) == 0 {
				v.Set(reflect.MakeSlice(v.Type(), 0, 0))
			}
			return nil
		}
	case k == reflect.Array && v.Type().Elem().Kind() == reflect.Uint8 && c.kind == kindBlob:
		if len(raw) != v.Len() {
			return fmt.Errorf("%d bytes do not go into %s", len(raw), v.Type())
		}
		reflect.Copy(v, reflect.ValueOf(raw))
		return nil
	}
	return fmt.Errorf("%s does not go into %s", c.kind, v.Type())
}

// textBytes views a string as bytes, which nobody may change. It is never nil.
func textBytes(s string) []byte {
	if s == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
