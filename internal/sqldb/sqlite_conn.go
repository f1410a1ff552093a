package sqldb

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unsafe"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"
)

// This file is the only one that knows the SQLite driver. It speaks to the
// library itself: going through database/sql and the driver's own statements
// costs about as much as a point read does.

// sqliteConn is one connection, used by one goroutine at a time.
type sqliteConn struct {
	tls        *libc.TLS
	db         uintptr
	statements *statementCache[*sqliteStatement]
	scratch    uintptr // memory of the C side that arguments are bound from
	scratchLen int
	// watched ends a long read when it is done; nil on the writer, where an
	// interrupted statement would undo the transactions of others as well.
	watched context.Context
}

type sqliteStatement struct {
	ptr      uintptr
	binds    []int // SQLite's parameter i+1 is our $binds[i]
	params   int   // the highest $n
	readonly bool
	boolean  []bool // which columns are declared BOOLEAN
}

// SQLiteError is an error of SQLite with its extended result code.
type SQLiteError struct {
	Code    int
	Message string
}

func (e *SQLiteError) Error() string { return fmt.Sprintf("sqlite: %s (%d)", e.Message, e.Code) }

const (
	sqliteStatements = 256   // prepared statements kept a connection
	sqliteWatch      = 4_000 // virtual machine steps between looks at the context, some 50 µs
)

// pointer makes a pointer of an address of the C side, which the collector
// does not know.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

func openSQLiteConn(path string, create bool) (*sqliteConn, error) {
	c := &sqliteConn{tls: libc.NewTLS()}
	c.statements = newStatementCache(sqliteStatements, func(s *sqliteStatement) {
		sqlite3.Xsqlite3_finalize(c.tls, s.ptr)
	})
	name, err := libc.CString(path)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, name)
	handle := libc.Xmalloc(c.tls, 8)
	if handle == 0 {
		return nil, errSQLiteMemory
	}
	defer libc.Xfree(c.tls, handle)
	flags := int32(sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_NOMUTEX)
	if create {
		flags |= sqlite3.SQLITE_OPEN_CREATE
	}
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, handle, flags, 0)
	c.db = *(*uintptr)(pointer(handle))
	if rc != sqlite3.SQLITE_OK {
		err := c.fault(rc)
		c.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	return c, nil
}

var errSQLiteMemory = &SQLiteError{Code: sqlite3.SQLITE_NOMEM, Message: "out of memory"}

// watch lets reads on this connection end with the context in c.watched.
func (c *sqliteConn) watch() {
	handler := *(*uintptr)(unsafe.Pointer(&struct {
		f func(*libc.TLS, uintptr) int32
	}{sqliteProgress}))
	sqlite3.Xsqlite3_progress_handler(c.tls, c.db, sqliteWatch, handler, uintptr(unsafe.Pointer(c)))
}

func sqliteProgress(_ *libc.TLS, arg uintptr) int32 {
	c := (*sqliteConn)(pointer(arg))
	if c.watched != nil && c.watched.Err() != nil {
		return 1
	}
	return 0
}

func (c *sqliteConn) close() {
	c.statements.clear()
	if c.db != 0 {
		sqlite3.Xsqlite3_close_v2(c.tls, c.db)
		c.db = 0
	}
	if c.scratch != 0 {
		libc.Xfree(c.tls, c.scratch)
		c.scratch = 0
	}
	c.tls.Close()
}

func (c *sqliteConn) fault(rc int32) error {
	if rc&0xff == sqlite3.SQLITE_INTERRUPT && c.watched != nil && c.watched.Err() != nil {
		return c.watched.Err()
	}
	var message string
	if c.db != 0 {
		message = libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))
	} else {
		message = libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))
	}
	err := &SQLiteError{Code: int(rc), Message: message}
	if code := rc & 0xff; code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED {
		return &busyError{err}
	}
	return err
}

// inTransaction says whether a transaction is open.
func (c *sqliteConn) inTransaction() bool {
	return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0
}

// script runs statements without arguments, one after the other.
func (c *sqliteConn) script(text string) error {
	p, err := libc.CString(text)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, p)
	if rc := sqlite3.Xsqlite3_exec(c.tls, c.db, p, 0, 0, 0); rc != sqlite3.SQLITE_OK {
		return c.fault(rc)
	}
	return nil
}

func (c *sqliteConn) prepare(text string) (*sqliteStatement, error) {
	if s, ok := c.statements.get(text); ok {
		return s, nil
	}
	p, err := libc.CString(text)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, p)
	out := libc.Xmalloc(c.tls, 16)
	if out == 0 {
		return nil, errSQLiteMemory
	}
	defer libc.Xfree(c.tls, out)
	if rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, p, int32(len(text)), sqlite3.SQLITE_PREPARE_PERSISTENT, out, out+8); rc != sqlite3.SQLITE_OK {
		return nil, c.fault(rc)
	}
	s := &sqliteStatement{ptr: *(*uintptr)(pointer(out))}
	tail := int(*(*uintptr)(pointer(out + 8)) - p)
	if err := c.describe(s, text[min(tail, len(text)):]); err != nil {
		sqlite3.Xsqlite3_finalize(c.tls, s.ptr)
		return nil, err
	}
	c.statements.put(text, s)
	return s, nil
}

func (c *sqliteConn) describe(s *sqliteStatement, tail string) error {
	if s.ptr == 0 {
		return &SQLiteError{Code: sqlite3.SQLITE_MISUSE, Message: "an empty statement"}
	}
	if strings.Trim(tail, " \t\r\n;") != "" {
		return &SQLiteError{Code: sqlite3.SQLITE_MISUSE, Message: "more than one statement: " + strings.TrimSpace(tail)}
	}
	s.readonly = sqlite3.Xsqlite3_stmt_readonly(c.tls, s.ptr) != 0
	s.binds = make([]int, sqlite3.Xsqlite3_bind_parameter_count(c.tls, s.ptr))
	for i := range s.binds {
		name := libc.GoString(sqlite3.Xsqlite3_bind_parameter_name(c.tls, s.ptr, int32(i+1)))
		n, err := strconv.Atoi(strings.TrimPrefix(name, "$"))
		if err != nil || n < 1 || name[0] != '$' {
			return &SQLiteError{Code: sqlite3.SQLITE_MISUSE, Message: fmt.Sprintf("placeholder %q is not of the form $1", name)}
		}
		s.binds[i] = n
		s.params = max(s.params, n)
	}
	c.columns(s)
	return nil
}

func (c *sqliteConn) columns(s *sqliteStatement) {
	s.boolean = make([]bool, sqlite3.Xsqlite3_column_count(c.tls, s.ptr))
	for i := range s.boolean {
		declared := sqlite3.Xsqlite3_column_decltype(c.tls, s.ptr, int32(i))
		s.boolean[i] = declared != 0 && strings.EqualFold(libc.GoString(declared), "BOOLEAN")
	}
}

// bind gives a statement its arguments. Texts and blobs are copied to memory
// of the C side, which stays as it is until the next statement.
func (c *sqliteConn) bind(s *sqliteStatement, args []argument) error {
	if len(args) != s.params {
		return &SQLiteError{Code: sqlite3.SQLITE_RANGE, Message: fmt.Sprintf("%d arguments for %d placeholders", len(args), s.params)}
	}
	need := 8
	for i := range args {
		need += len(args[i].text)
	}
	if need > c.scratchLen {
		if c.scratch != 0 {
			libc.Xfree(c.tls, c.scratch)
		}
		c.scratchLen = max(4096, 2*need)
		if c.scratch = libc.Xmalloc(c.tls, types.Size_t(c.scratchLen)); c.scratch == 0 {
			c.scratchLen = 0
			return errSQLiteMemory
		}
	}
	at := c.scratch
	for i, n := range s.binds {
		a, index := &args[n-1], int32(i+1)
		var rc int32
		switch a.kind {
		case kindNull:
			rc = sqlite3.Xsqlite3_bind_null(c.tls, s.ptr, index)
		case kindInteger, kindBoolean:
			rc = sqlite3.Xsqlite3_bind_int64(c.tls, s.ptr, index, a.num)
		case kindFloat:
			rc = sqlite3.Xsqlite3_bind_double(c.tls, s.ptr, index, math.Float64frombits(uint64(a.num)))
		case kindText, kindBlob:
			if len(a.text) > math.MaxInt32 {
				return &SQLiteError{Code: sqlite3.SQLITE_TOOBIG, Message: "a value is over 2 GB"}
			}
			if len(a.text) > 0 {
				copy(unsafe.Slice((*byte)(pointer(at)), len(a.text)), a.text)
			}
			if a.kind == kindText {
				rc = sqlite3.Xsqlite3_bind_text(c.tls, s.ptr, index, at, int32(len(a.text)), 0)
			} else {
				rc = sqlite3.Xsqlite3_bind_blob(c.tls, s.ptr, index, at, int32(len(a.text)), 0)
			}
			at += uintptr(len(a.text))
		}
		if rc != sqlite3.SQLITE_OK {
			return c.fault(rc)
		}
	}
	return nil
}

func (c *sqliteConn) start(st statement) (*sqliteStatement, error) {
	s, err := c.prepare(st.sql)
	if err != nil {
		return nil, err
	}
	if err := c.bind(s, st.args); err != nil {
		c.reset(s)
		return nil, err
	}
	return s, nil
}

func (c *sqliteConn) reset(s *sqliteStatement) { sqlite3.Xsqlite3_reset(c.tls, s.ptr) }

// exec runs a statement to its end and says how many rows it changed.
func (c *sqliteConn) exec(st statement) (int64, error) {
	s, err := c.start(st)
	if err != nil {
		return 0, err
	}
	for {
		switch rc := sqlite3.Xsqlite3_step(c.tls, s.ptr); rc {
		case sqlite3.SQLITE_ROW:
		case sqlite3.SQLITE_DONE:
			c.reset(s)
			if s.readonly {
				return 0, nil
			}
			return sqlite3.Xsqlite3_changes64(c.tls, c.db), nil
		default:
			err := c.fault(rc)
			c.reset(s)
			return 0, err
		}
	}
}

// query runs a statement and keeps all of its rows.
func (c *sqliteConn) query(st statement) (*Rows, error) {
	s, err := c.start(st)
	if err != nil {
		return nil, err
	}
	defer c.reset(s)
	rows := &Rows{at: -1}
	for {
		more, err := c.step(s, rows)
		if err != nil {
			return nil, err
		}
		if !more {
			return rows, nil
		}
	}
}

// step adds the next row of a statement to rows.
func (c *sqliteConn) step(s *sqliteStatement, rows *Rows) (bool, error) {
	switch rc := sqlite3.Xsqlite3_step(c.tls, s.ptr); rc {
	case sqlite3.SQLITE_ROW:
	case sqlite3.SQLITE_DONE:
		rows.columns = len(s.boolean)
		return false, nil
	default:
		return false, c.fault(rc)
	}
	if n := int(sqlite3.Xsqlite3_column_count(c.tls, s.ptr)); n != len(s.boolean) {
		c.columns(s) // prepared again by SQLite after the schema changed
	}
	rows.columns = len(s.boolean)
	for i, boolean := range s.boolean {
		i := int32(i)
		switch sqlite3.Xsqlite3_column_type(c.tls, s.ptr, i) {
		case sqlite3.SQLITE_INTEGER:
			k := kindInteger
			if boolean {
				k = kindBoolean
			}
			rows.add(k, sqlite3.Xsqlite3_column_int64(c.tls, s.ptr, i))
		case sqlite3.SQLITE_FLOAT:
			rows.add(kindFloat, int64(math.Float64bits(sqlite3.Xsqlite3_column_double(c.tls, s.ptr, i))))
		case sqlite3.SQLITE_TEXT:
			p := sqlite3.Xsqlite3_column_text(c.tls, s.ptr, i)
			rows.addBytes(kindText, c.bytes(p, sqlite3.Xsqlite3_column_bytes(c.tls, s.ptr, i)))
		case sqlite3.SQLITE_BLOB:
			p := sqlite3.Xsqlite3_column_blob(c.tls, s.ptr, i)
			rows.addBytes(kindBlob, c.bytes(p, sqlite3.Xsqlite3_column_bytes(c.tls, s.ptr, i)))
		default:
			rows.addNull()
		}
	}
	return true, nil
}

func (c *sqliteConn) bytes(p uintptr, n int32) []byte {
	if p == 0 || n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(pointer(p)), n)
}

// sqliteStream is the rows of a statement that is being read.
type sqliteStream struct {
	conn *sqliteConn
	s    *sqliteStatement
}

func (r *sqliteStream) next(rows *Rows) (bool, error) { return r.conn.step(r.s, rows) }
func (r *sqliteStream) close() error {
	r.conn.reset(r.s)
	return nil
}

// stream runs a statement whose rows are read one by one. No other may be run
// on the connection until they are closed.
func (c *sqliteConn) stream(st statement) (*Rows, error) {
	s, err := c.start(st)
	if err != nil {
		return nil, err
	}
	return &Rows{at: -1, columns: len(s.boolean), source: &sqliteStream{c, s}}, nil
}
