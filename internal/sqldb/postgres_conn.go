package sqldb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// postgresConn is one connection. Statements are prepared on first use, in
// the same round trip in which they are first run.
type postgresConn struct {
	conn       *pgconn.PgConn
	statements *statementCache[*pgconn.StatementDescription]
	named      int
	unneeded   []string // statements to be deallocated with the next round trip
	expires    time.Time

	// Of the round trip under way.
	pipeline *pgconn.Pipeline
	sent     []postgresRequest
	values   [][]byte
	formats  []int16
	digits   []byte
}

type postgresRequest struct {
	s        statement
	prepares *pgconn.StatementDescription // non-nil when the request prepares it
	drops    bool                         // the request deallocates a statement
}

const voidOID = 2278

const postgresStatements = 512 // prepared statements kept a connection

func newPostgresConn(conn *pgconn.PgConn, expires time.Time) *postgresConn {
	c := &postgresConn{conn: conn, expires: expires}
	c.statements = newStatementCache(postgresStatements, func(sd *pgconn.StatementDescription) {
		c.unneeded = append(c.unneeded, sd.Name)
	})
	return c
}

// begin starts a round trip that ends with ctx.
func (c *postgresConn) begin(ctx context.Context) {
	c.pipeline = c.conn.StartPipeline(ctx)
	c.sent = c.sent[:0]
	for _, name := range c.unneeded {
		c.pipeline.SendDeallocate(name)
		c.sent = append(c.sent, postgresRequest{drops: true})
	}
	c.unneeded = c.unneeded[:0]
}

// send adds a statement to the round trip.
func (c *postgresConn) send(s statement) {
	sd, known := c.statements.get(s.sql)
	if !known {
		c.named++
		sd = &pgconn.StatementDescription{Name: "s" + strconv.Itoa(c.named), SQL: s.sql}
		c.pipeline.SendPrepare(sd.Name, s.sql, nil)
		c.sent = append(c.sent, postgresRequest{s: s, prepares: sd})
		// The same text may be sent again in this round trip.
		c.statements.put(s.sql, sd)
	}
	c.encode(s.args)
	if sd.ParamOIDs != nil {
		c.pipeline.SendQueryStatement(sd, c.values, c.formats, binaryResults)
	} else {
		c.pipeline.SendQueryPrepared(sd.Name, c.values, c.formats, binaryResults)
	}
	c.sent = append(c.sent, postgresRequest{s: s})
}

// A slice that nobody changes: every column comes in binary.
var binaryResults = []int16{pgtype.BinaryFormatCode}

// encode writes arguments the way that needs no knowledge of the statement:
// blobs in binary, all others as text.
func (c *postgresConn) encode(args []argument) {
	c.values, c.formats, c.digits = c.values[:0], c.formats[:0], c.digits[:0]
	if need := 32 * len(args); cap(c.digits) < need {
		c.digits = make([]byte, 0, need) // never grown below, which would move it
	}
	for i := range args {
		a := &args[i]
		var value []byte
		format := int16(pgtype.TextFormatCode)
		from := len(c.digits)
		switch a.kind {
		case kindInteger:
			c.digits = strconv.AppendInt(c.digits, a.num, 10)
			value = c.digits[from:]
		case kindFloat:
			c.digits = strconv.AppendFloat(c.digits, math.Float64frombits(uint64(a.num)), 'g', -1, 64)
			value = c.digits[from:]
		case kindBoolean:
			c.digits = strconv.AppendInt(c.digits, a.num, 10)
			value = c.digits[from:]
		case kindText:
			value = textBytes(a.text)
		case kindBlob:
			value, format = textBytes(a.text), pgtype.BinaryFormatCode
		}
		c.values = append(c.values, value)
		c.formats = append(c.formats, format)
	}
}

// finish sends the round trip and hands each statement's result to result, in
// order; result may be nil. It returns the first error, after which the server
// ran nothing.
func (c *postgresConn) finish(result func(i int, rows *Rows) error) error {
	err := c.pipeline.Sync()
	if err == nil {
		err = c.receive(result)
	}
	// Errors of the server come again from Close, those of the connection
	// have been seen.
	if cerr := c.pipeline.Close(); err == nil {
		err = cerr
	}
	c.end(err)
	return err
}

// end forgets the round trip, and after an error the statements that were to
// be prepared in it: they may not have been.
func (c *postgresConn) end(err error) {
	for i := range c.sent {
		if r := &c.sent[i]; err != nil && r.prepares != nil && r.prepares.ParamOIDs == nil {
			c.statements.forget(r.s.sql)
		}
	}
	clear(c.sent)
	clear(c.values)
}

// check refuses arguments whose kinds are not those that a statement takes,
// as far as it has been prepared; known says whether all have been.
func (c *postgresConn) check(statements ...statement) (known bool, err error) {
	known = true
	for _, s := range statements {
		sd, ok := c.statements.get(s.sql)
		if !ok {
			known = false
		} else if err := checkKinds(sd, s.args); err != nil {
			return known, err
		}
	}
	return known, nil
}

func (c *postgresConn) receive(result func(i int, rows *Rows) error) error {
	i := 0
	for at := range c.sent {
		r := &c.sent[at]
		if r.prepares != nil || r.drops {
			if err := c.receivePrepared(r); err != nil {
				return err
			}
			continue
		}
		got, err := c.pipeline.GetResults()
		if err != nil {
			return statementFault(r.s, err)
		}
		reader, ok := got.(*pgconn.ResultReader)
		if !ok {
			return fmt.Errorf("postgres answered a statement with %T", got)
		}
		rows := &Rows{at: -1}
		for reader.NextRow() {
			if err := decodeRow(rows, reader); err != nil {
				return statementFault(r.s, err)
			}
		}
		rows.columns = len(reader.FieldDescriptions())
		tag, err := reader.Close()
		if err != nil {
			return statementFault(r.s, err)
		}
		if !tag.Select() {
			rows.affected = tag.RowsAffected()
		}
		if result != nil {
			if err := result(i, rows); err != nil {
				return err
			}
		}
		i++
	}
	got, err := c.pipeline.GetResults()
	if err != nil {
		return err
	}
	if _, ok := got.(*pgconn.PipelineSync); !ok {
		return fmt.Errorf("postgres ended a round trip with %T", got)
	}
	return nil
}

// receivePrepared takes in a statement's description.
func (c *postgresConn) receivePrepared(r *postgresRequest) error {
	got, err := c.pipeline.GetResults()
	if err != nil {
		return statementFault(r.s, err)
	}
	if r.drops {
		return nil
	}
	sd, ok := got.(*pgconn.StatementDescription)
	if !ok {
		return fmt.Errorf("postgres answered a preparation with %T", got)
	}
	r.prepares.Fields = sd.Fields
	r.prepares.ParamOIDs = sd.ParamOIDs
	if r.prepares.ParamOIDs == nil {
		r.prepares.ParamOIDs = []uint32{}
	}
	return checkKinds(r.prepares, r.s.args)
}

// statementFault says which statement met an error of the server.
func statementFault(s statement, err error) error {
	var fault *pgconn.PgError
	if errors.As(err, &fault) {
		return fmt.Errorf("%w\nin: %s", err, s.sql)
	}
	return err
}

// checkKinds refuses arguments that PostgreSQL would take as text and SQLite
// would store as they are.
func checkKinds(sd *pgconn.StatementDescription, args []argument) error {
	for i := range args {
		if i >= len(sd.ParamOIDs) || args[i].kind == kindNull {
			continue
		}
		ok := true
		switch sd.ParamOIDs[i] {
		case pgtype.TextOID, pgtype.VarcharOID:
			ok = args[i].kind == kindText
		case pgtype.Int8OID, pgtype.Int4OID, pgtype.Int2OID:
			ok = args[i].kind == kindInteger
		case pgtype.BoolOID:
			ok = args[i].kind == kindBoolean
		case pgtype.ByteaOID:
			ok = args[i].kind == kindBlob
		}
		if !ok {
			return fmt.Errorf("argument $%d is %s where the statement takes %s\nin: %s", i+1, args[i].kind, oidName(sd.ParamOIDs[i]), sd.SQL)
		}
	}
	return nil
}

func oidName(oid uint32) string {
	switch oid {
	case pgtype.Int8OID, pgtype.Int4OID, pgtype.Int2OID:
		return kindInteger.String()
	case pgtype.BoolOID:
		return kindBoolean.String()
	case pgtype.ByteaOID:
		return kindBlob.String()
	}
	return kindText.String()
}

// postgresEpoch is 2000-01-01 in Unix microseconds, from which PostgreSQL
// counts.
const postgresEpoch = 946_684_800_000_000

func decodeRow(rows *Rows, reader *pgconn.ResultReader) error {
	fields := reader.FieldDescriptions()
	for i, b := range reader.Values() {
		if b == nil {
			rows.addNull()
			continue
		}
		oid := fields[i].DataTypeOID
		switch oid {
		case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID, pgtype.UnknownOID, pgtype.QCharOID, pgtype.JSONOID:
			rows.addBytes(kindText, b)
		case pgtype.ByteaOID:
			rows.addBytes(kindBlob, b)
		case voidOID:
			rows.addNull()
		default:
			k, n, err := decodeNumber(oid, b)
			if err != nil {
				return fmt.Errorf("column %d: %w", i+1, err)
			}
			rows.add(k, n)
		}
	}
	return nil
}

func decodeNumber(oid uint32, b []byte) (kind, int64, error) {
	switch {
	case oid == pgtype.Int8OID && len(b) == 8:
		return kindInteger, int64(binary.BigEndian.Uint64(b)), nil
	case oid == pgtype.BoolOID && len(b) == 1:
		return kindBoolean, int64(b[0]), nil
	case oid == pgtype.Int4OID && len(b) == 4:
		return kindInteger, int64(int32(binary.BigEndian.Uint32(b))), nil
	case oid == pgtype.Int2OID && len(b) == 2:
		return kindInteger, int64(int16(binary.BigEndian.Uint16(b))), nil
	case oid == pgtype.OIDOID && len(b) == 4:
		return kindInteger, int64(binary.BigEndian.Uint32(b)), nil
	case oid == pgtype.Float8OID && len(b) == 8:
		return kindFloat, int64(binary.BigEndian.Uint64(b)), nil
	case oid == pgtype.Float4OID && len(b) == 4:
		return kindFloat, int64(math.Float64bits(float64(math.Float32frombits(binary.BigEndian.Uint32(b))))), nil
	case (oid == pgtype.TimestamptzOID || oid == pgtype.TimestampOID) && len(b) == 8:
		return kindInteger, int64(binary.BigEndian.Uint64(b)) + postgresEpoch, nil
	case oid == pgtype.NumericOID:
		return decodeNumeric(b)
	}
	return kindNull, 0, fmt.Errorf("values of PostgreSQL's type %d are not read; cast them to TEXT, BIGINT, BOOLEAN or BYTEA", oid)
}

// decodeNumeric reads NUMERIC, which a sum of BIGINT is: as an integer when it
// is one and fits, as SQLite gives it.
func decodeNumeric(b []byte) (kind, int64, error) {
	var n pgtype.Numeric
	if err := (pgtype.NumericCodec{}).PlanScan(nil, pgtype.NumericOID, pgtype.BinaryFormatCode, &n).Scan(b, &n); err != nil {
		return kindNull, 0, err
	}
	if whole, err := n.Int64Value(); err == nil && whole.Valid {
		return kindInteger, whole.Int64, nil
	}
	f, err := n.Float64Value()
	if err != nil {
		return kindNull, 0, err
	}
	return kindFloat, int64(math.Float64bits(f.Float64)), nil
}
