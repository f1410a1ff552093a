package sqldb

import (
	"context"
)

// Snapshot is a read-only view of one instant of the database.
type Snapshot struct {
	ctx    context.Context
	engine Engine
	conn   snapshotConn
	open   *Rows
}

type snapshotConn interface {
	stream(ctx context.Context, s statement) (*Rows, error)
}

// Table is a table of the database, its columns in their order.
type Table struct {
	Name    string
	Columns []Column
	// Key is the primary key's columns in their order.
	Key []string
}

// Column is a column of a table. Type is TEXT, BIGINT, BOOLEAN or BYTEA as the
// migration declared it, in upper case.
type Column struct {
	Name    string
	Type    string
	NotNull bool
}

// Snapshot runs fn over one consistent view of the database: all of its
// queries see the same instant. It lasts as long as fn does; on a busy
// database that is a burden, so fn reads and returns.
func (db *DB) Snapshot(ctx context.Context, fn func(*Snapshot) error) error {
	return db.backend.snapshot(ctx, fn)
}

// Query reads rows as they come, without holding them in memory. They are
// closed before the next Query.
func (s *Snapshot) Query(sql string, args ...any) (*Rows, error) {
	if s.open != nil {
		s.open.Close()
		s.open = nil
	}
	st, err := newStatement(sql, args)
	if err != nil {
		return nil, err
	}
	rows, err := s.conn.stream(s.ctx, st)
	if err != nil {
		return nil, err
	}
	s.open = rows
	return rows, nil
}

// Tables lists the tables in the order of their names, as this snapshot sees
// them.
func (db *DB) Tables(ctx context.Context) ([]Table, error) {
	var tables []Table
	err := db.Snapshot(ctx, func(s *Snapshot) (err error) {
		tables, err = db.backend.tables(ctx, s)
		return err
	})
	return tables, err
}

// BackupTo writes a consistent copy of a SQLite database to a new file at
// path, while others read and write. PostgreSQL has no such file: its export
// is made of Snapshot and Tables.
func (db *DB) BackupTo(ctx context.Context, path string) error {
	return db.backend.backupTo(ctx, path)
}

// Scrub takes what was deleted and overwritten out of SQLite's journal, which
// else keeps it until it is used again. On PostgreSQL it does nothing: there
// deleted rows and the log are the server's, and go with its vacuum and its
// log's recycling.
func (db *DB) Scrub(ctx context.Context) error { return db.backend.scrub(ctx) }

// end closes what fn left open.
func (s *Snapshot) end() {
	if s.open != nil {
		s.open.Close()
	}
}

// scanTables reads rows of table, column, type, whether it is NOT NULL, and
// its place in the primary key or 0, in the order of tables and columns.
func scanTables(rows *Rows) ([]Table, error) {
	var tables []Table
	places := map[string]map[int]string{}
	for rows.Next() {
		var table string
		var c Column
		var place int
		if err := rows.Scan(&table, &c.Name, &c.Type, &c.NotNull, &place); err != nil {
			return nil, err
		}
		if len(tables) == 0 || tables[len(tables)-1].Name != table {
			tables = append(tables, Table{Name: table})
			places[table] = map[int]string{}
		}
		last := &tables[len(tables)-1]
		last.Columns = append(last.Columns, c)
		if place > 0 {
			places[table][place] = c.Name
		}
	}
	for i := range tables {
		of := places[tables[i].Name]
		for place := 1; place <= len(of); place++ {
			tables[i].Key = append(tables[i].Key, of[place])
		}
	}
	return tables, rows.Err()
}
