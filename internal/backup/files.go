package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// makeFolder makes the folder in which what becomes path is written: beside
// it, so that it can be renamed.
func makeFolder(path, name string) (string, error) {
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+name)
	if err := os.Mkdir(temporary, 0o700); err != nil {
		return "", fmt.Errorf("make the backup's folder: %w", err)
	}
	return temporary, nil
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
