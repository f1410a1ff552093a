package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// makeFolder makes the folder in which what becomes path is written: beside
// it, so that it can be renamed.
func makeFolder(path, name string) (string, error) {
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+name)
	if err := os.Mkdir(temporary, 0o700); err != nil {
		return "", &PlaceError{Path: path, Err: err}
	}
	return temporary, nil
}

// PlaceError says that the folder of a backup cannot be made. It is this process
// that makes it, as the user that it runs as and where that user may write, which
// whoever asks for a backup over the socket need not know.
type PlaceError struct {
	Path string // of the folder to be made
	Err  error
}

func (e *PlaceError) Unwrap() error { return e.Err }

func (e *PlaceError) Error() string {
	parent := filepath.Dir(e.Path)
	who := fmt.Sprintf("the user %d that cardea runs as", os.Geteuid())
	var why, do string
	switch {
	case errors.Is(e.Err, fs.ErrNotExist):
		why, do = parent+" is not there", "Make "+parent+" where the server runs and give it to "+who
	case errors.Is(e.Err, fs.ErrPermission):
		why, do = who+" may not write in "+parent, "Give "+parent+" to that user"
	case errors.Is(e.Err, syscall.EROFS):
		why, do = parent+" is read-only for the server", "Name a folder that its service or container may write to (ReadWritePaths or StateDirectory of systemd, a volume of a container)"
	case errors.Is(e.Err, syscall.ENOTDIR):
		why, do = parent+" is not a folder", "Name another"
	default:
		why, do = fmt.Sprintf("%s does not take a folder (%v)", parent, e.Err), "See that "+who+" can write there"
	}
	return fmt.Sprintf("%s cannot be made: %s. %s; docs/production.md, \"Backup and restore\", says which folders there are", e.Path, why, do)
}

// publish gives a finished folder its name, durably.
func publish(temporary, path string) error {
	// Rename replaces an empty folder: make sure that there is none.
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has appeared meanwhile: %w", path, fs.ErrExist)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("give the backup its name: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// empty makes a folder, or deletes what is in it.
func empty(path string) error {
	return errors.Join(os.RemoveAll(path), os.Mkdir(path, 0o700))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeFile writes a new file durably.
func writeFile(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Sync(), file.Close())
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func columnList(columns []column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = quote(c.Name)
	}
	return strings.Join(names, ", ")
}
