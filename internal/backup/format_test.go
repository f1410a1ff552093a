package backup

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// goldenRows is how a table's rows are written; it must be read for ever.
const goldenRows = "\x00\x01\x00\x01\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + // NULL, 0, -1, the least integer
	"\x02\x00\x02\x03a\xc3\xa9\x03\x00\x03\x02\x00\xff\x04\x05" // "", "aé", no bytes, two bytes, false, true

var goldenValues = []any{nil, int64(0), int64(-1), int64(-1 << 63), "", "aé", []byte{}, []byte{0, 255}, false, true}

func goldenTable(sum string) table {
	t := table{Name: "golden", Rows: 1, Bytes: int64(len(goldenRows)), SHA256: sum}
	for range goldenValues {
		t.Columns = append(t.Columns, column{"c", "TEXT"})
	}
	return t
}

const goldenSum = "ea1563a8e3c7e5cfb1ebef321e834e4787a5aed8a7d961216129df1bd5d1e972"

func TestTheFormatOfRows(t *testing.T) {
	folder := t.TempDir()
	written := goldenTable("")
	w, err := newRowWriter(filepath.Join(folder, written.file()))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.write(goldenValues); err != nil {
		t.Fatal(err)
	}
	if err := w.finish(&written); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "golden.rows"))
	if err != nil || string(text) != goldenRows {
		t.Errorf("%v\n%x\n%x", err, text, goldenRows)
	}
	if !reflect.DeepEqual(written, goldenTable(goldenSum)) {
		t.Errorf("%+v", written)
	}
	err = goldenTable(goldenSum).read(folder, func(values []any) error {
		if !reflect.DeepEqual(values, goldenValues) {
			t.Errorf("%v", values)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

const goldenManifest = `{
  "format": "cardea backup",
  "version": 1,
  "part": "keys",
  "backup": "bak_1",
  "created_at": "2026-01-02T03:04:05Z",
  "release": "v1",
  "engine": "sqlite",
  "epoch": 7,
  "root": "root",
  "store": "store",
  "migrations": [
    {
      "package": "keystore",
      "number": 1,
      "name": "first",
      "checksum": "00"
    }
  ],
  "tables": [
    {
      "name": "golden",
      "columns": [
        {
          "name": "id",
          "type": "BIGINT"
        }
      ],
      "rows": 1,
      "bytes": 2,
      "sha256": "ab"
    }
  ],
  "sum": "e2fe21eb3d9c88d67d1d4afc59bb0b32459407c6e6ab0547e750387a3953cce7"
}
`

func TestTheFormatOfManifests(t *testing.T) {
	m := manifest{
		Format: manifestFormat, Version: manifestVersion, Part: partKeys, Backup: "bak_1", CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Release: "v1", Engine: "sqlite", Epoch: 7, Root: "root", Store: "store", Migrations: []migration{{"keystore", 1, "first", "00"}},
		Tables: []table{{Name: "golden", Columns: []column{{"id", "BIGINT"}}, Rows: 1, Bytes: 2, SHA256: "ab"}},
	}
	folder := t.TempDir()
	if err := m.write(folder); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, manifestName))
	if err != nil || string(text) != goldenManifest {
		t.Errorf("%v\n%s", err, text)
	}
	if read, err := readManifest(folder, partKeys); err != nil || !reflect.DeepEqual(*read, m) {
		t.Errorf("%+v, %v", read, err)
	}
	if _, err := readManifest(folder, partDatabase); err == nil {
		t.Error("the keys are taken for the database")
	}
	later := strings.Replace(goldenManifest, `"version": 1`, `"version": 2`, 1)
	if err := os.WriteFile(filepath.Join(folder, manifestName), []byte(later), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readManifest(folder, partKeys); err == nil || !strings.Contains(err.Error(), "v1") {
		t.Errorf("a later version: %v", err)
	}
}

// FuzzReadValue gives anything for a file of rows.
func FuzzReadValue(f *testing.F) {
	f.Add([]byte(goldenRows))
	f.Add([]byte("\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("\x03\x80\x80\x80\x08x"))
	f.Add([]byte{9})
	f.Fuzz(func(t *testing.T, text []byte) {
		in := bufio.NewReader(bytes.NewReader(text))
		for {
			value, err := readValue(in)
			if err != nil {
				return
			}
			again := &rowWriter{out: bufio.NewWriter(&bytes.Buffer{})}
			if err := again.write([]any{value}); err != nil {
				t.Fatal(err)
			}
			back, err := readValue(bufio.NewReader(bytes.NewReader(again.room)))
			if err != nil || !reflect.DeepEqual(back, value) {
				t.Fatalf("%v, %v, %v", value, back, err)
			}
		}
	})
}

// FuzzManifest gives anything for a manifest.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(goldenManifest))
	f.Add([]byte(`{"format":"cardea backup","version":1,"part":"keys","tables":[{"name":"../x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, manifestName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := readManifest(folder, partKeys)
		if err != nil {
			return
		}
		for _, table := range m.Tables {
			if filepath.Base(table.file()) != table.file() || strings.HasPrefix(table.file(), ".") {
				t.Errorf("a file outside of the folder: %q", table.file())
			}
		}
		if _, err := json.Marshal(m); err != nil {
			t.Error(err)
		}
	})
}
