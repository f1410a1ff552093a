package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// A file of rows is the table's rows one after the other, each its values in
// the order of the manifest's columns. A value is one byte that says what
// follows: nothing for NULL, true and false; a signed varint for an integer;
// an unsigned varint and that many bytes for text and for bytes. It is the same
// whichever engine it was read from.
const (
	valueNull  = 0
	valueInt   = 1
	valueText  = 2
	valueBytes = 3
	valueFalse = 4
	valueTrue  = 5
)

// maxValue is the largest value that is read; it is far more than is stored.
const maxValue = 256 << 20

// canonical brings a value as an engine returned it to that of the column's
// type.
func canonical(value any, columnType string) (any, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case int64:
		if columnType == "BOOLEAN" {
			return v != 0, nil
		}
		if columnType == "BIGINT" {
			return v, nil
		}
	case bool:
		if columnType == "BOOLEAN" {
			return v, nil
		}
	case string:
		if columnType == "TEXT" {
			return v, nil
		}
		if columnType == "BYTEA" {
			return []byte(v), nil
		}
	case []byte:
		if columnType == "BYTEA" {
			return v, nil
		}
		if columnType == "TEXT" {
			return string(v), nil
		}
	}
	return nil, fmt.Errorf("a column of type %s holds a %T", columnType, value)
}

// rowWriter writes a table's rows to a file, and counts and hashes them.
type rowWriter struct {
	file  *os.File
	out   *bufio.Writer
	hash  hash.Hash
	room  []byte
	rows  int64
	bytes int64
}

func newRowWriter(path string) (*rowWriter, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	w := &rowWriter{file: file, hash: sha256.New()}
	w.out = bufio.NewWriterSize(io.MultiWriter(file, w.hash), 1<<16)
	return w, nil
}

func (w *rowWriter) write(values []any) error {
	w.room = w.room[:0]
	for _, value := range values {
		switch v := value.(type) {
		case nil:
			w.room = append(w.room, valueNull)
		case bool:
			kind := byte(valueFalse)
			if v {
				kind = valueTrue
			}
			w.room = append(w.room, kind)
		case int64:
			w.room = binary.AppendVarint(append(w.room, valueInt), v)
		case string:
			w.room = append(binary.AppendUvarint(append(w.room, valueText), uint64(len(v))), v...)
		case []byte:
			w.room = append(binary.AppendUvarint(append(w.room, valueBytes), uint64(len(v))), v...)
		default:
			return fmt.Errorf("a %T cannot be written", value)
		}
	}
	w.rows++
	w.bytes += int64(len(w.room))
	_, err := w.out.Write(w.room)
	return err
}

// finish makes the file durable and notes what it holds.
func (w *rowWriter) finish(t *table) error {
	err := errors.Join(w.out.Flush(), w.file.Sync(), w.file.Close())
	t.Rows, t.Bytes, t.SHA256 = w.rows, w.bytes, hex.EncodeToString(w.hash.Sum(nil))
	return err
}

// check makes sure that the file of a table is the one that the manifest
// describes.
func (t table) check(folder string) error {
	path := filepath.Join(folder, t.file())
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer func() { _ = file.Close() }() // it was only read
	sum := sha256.New()
	n, err := io.Copy(sum, file)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if n != t.Bytes || hex.EncodeToString(sum.Sum(nil)) != t.SHA256 {
		return fmt.Errorf("%w: %s is not as it was written", ErrDamaged, path)
	}
	return nil
}

// read calls each with the rows of a table. Each may keep what it is given.
func (t table) read(folder string, each func(values []any) error) error {
	path := filepath.Join(folder, t.file())
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer func() { _ = file.Close() }() // it was only read
	sum := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(file, sum), 1<<16)
	rows := int64(0)
	for ; ; rows++ {
		if _, err := in.Peek(1); errors.Is(err, io.EOF) {
			break
		}
		values := make([]any, len(t.Columns))
		for i := range values {
			if values[i], err = readValue(in); err != nil {
				return fmt.Errorf("%w: %s, row %d: %w", ErrDamaged, path, rows+1, err)
			}
		}
		if err := each(values); err != nil {
			return err
		}
	}
	if rows != t.Rows || hex.EncodeToString(sum.Sum(nil)) != t.SHA256 {
		return fmt.Errorf("%w: %s is not as it was written", ErrDamaged, path)
	}
	return nil
}

func readValue(in *bufio.Reader) (any, error) {
	kind, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case valueNull:
		return nil, nil
	case valueFalse, valueTrue:
		return kind == valueTrue, nil
	case valueInt:
		return binary.ReadVarint(in)
	case valueText, valueBytes:
		length, err := binary.ReadUvarint(in)
		if err != nil {
			return nil, err
		}
		if length > maxValue {
			return nil, fmt.Errorf("a value of %d bytes", length)
		}
		content, err := readBytes(in, int64(length))
		if err != nil {
			return nil, err
		}
		if kind == valueText {
			return string(content), nil
		}
		return content, nil
	}
	return nil, fmt.Errorf("a value of the unknown kind %d", kind)
}

// readBytes takes no more memory than there is to read, whatever length says.
func readBytes(in io.Reader, length int64) ([]byte, error) {
	if length <= 1<<16 {
		content := make([]byte, length)
		_, err := io.ReadFull(in, content)
		return content, err
	}
	content, err := io.ReadAll(io.LimitReader(in, length))
	if err == nil && int64(len(content)) < length {
		err = io.ErrUnexpectedEOF
	}
	return content, err
}
