package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// The two parts of a backup. They are kept apart, and restored together.
const (
	partDatabase = "database"
	partKeys     = "keys"
)

const (
	manifestName    = "manifest.json"
	manifestFormat  = "cardea backup"
	manifestVersion = 1
	// maxManifest is more than any manifest has.
	maxManifest = 16 << 20
)

// ErrDamaged says that a backup is not whole: a file is missing, cut short or
// changed, or the two parts are of different backups.
var ErrDamaged = errors.New("the backup is damaged or incomplete")

// manifest describes one part of a backup. It is the last file written.
type manifest struct {
	Format     string      `json:"format"`
	Version    int         `json:"version"`
	Part       string      `json:"part"`
	Backup     string      `json:"backup"` // the same in both parts
	CreatedAt  time.Time   `json:"created_at"`
	Release    string      `json:"release"`
	Engine     string      `json:"engine"`
	Epoch      int64       `json:"epoch"`
	Root       string      `json:"root"`  // the id of the root key that the tenants' keys are wrapped with
	Store      string      `json:"store"` // the name of the key store
	Migrations []migration `json:"migrations"`
	Tables     []table     `json:"tables"`
	Sum        string      `json:"sum"` // SHA-256 of the manifest without it
}

type migration struct {
	Package  string `json:"package"`
	Number   int64  `json:"number"`
	Name     string `json:"name"`
	Checksum string `json:"checksum"`
}

type table struct {
	Name    string   `json:"name"`
	Columns []column `json:"columns"`
	Rows    int64    `json:"rows"`
	Bytes   int64    `json:"bytes"`
	SHA256  string   `json:"sha256"`
}

type column struct {
	Name string `json:"name"`
	Type string `json:"type"` // TEXT, BIGINT, BOOLEAN or BYTEA
}

func columnsOf(t sqldb.Table) []column {
	columns := make([]column, len(t.Columns))
	for i, c := range t.Columns {
		columns[i] = column{c.Name, c.Type}
	}
	return columns
}

// file is where the rows of a table are, within the folder of the part.
func (t table) file() string { return t.Name + ".rows" }

func (m *manifest) rows() (rows, bytes int64) {
	for _, t := range m.Tables {
		rows += t.Rows
		bytes += t.Bytes
	}
	return rows, bytes
}

func (m manifest) sum() (string, error) {
	m.Sum = ""
	text, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode the manifest: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

func (m *manifest) write(folder string) (err error) {
	if m.Sum, err = m.sum(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	return writeFile(filepath.Join(folder, manifestName), append(text, '\n'))
}

var tableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// readManifest reads and checks the manifest of a part.
func readManifest(folder, part string) (*manifest, error) {
	path := filepath.Join(folder, manifestName)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no %s", ErrDamaged, path)
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxManifest {
		return nil, fmt.Errorf("%w: %s is too large", ErrDamaged, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	m := &manifest{}
	if err := decoder.Decode(m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	if m.Format != manifestFormat || m.Part != part {
		return nil, fmt.Errorf("%w: %s is not the manifest of a backup's %s", ErrDamaged, path, part)
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("%s is of version %d, and this release reads %d: restore with the release that wrote it (%s), then upgrade", path, m.Version, manifestVersion, m.Release)
	}
	sum, err := m.sum()
	if err != nil {
		return nil, err
	}
	if sum != m.Sum {
		return nil, fmt.Errorf("%w: %s was changed", ErrDamaged, path)
	}
	for _, t := range m.Tables {
		if !tableName.MatchString(t.Name) {
			return nil, fmt.Errorf("%w: %s has a table named %q", ErrDamaged, path, t.Name)
		}
	}
	return m, nil
}
