package backup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Whoever asks for a backup learns who must be able to write where.
func TestAPlaceThatCannotBeWrittenToIsToldInWords(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	user := "the user " + strconv.Itoa(os.Geteuid())
	for path, words := range map[string][]string{
		filepath.Join(folder, "none", "monday"): {filepath.Join(folder, "none") + " is not there", user},
		filepath.Join(file, "monday"):           {file + " is not a folder"},
	} {
		_, err := makeFolder(path, "bak")
		if _, ok := errors.AsType[*PlaceError](err); !ok {
			t.Fatalf("%v", err)
		}
		for _, word := range append(words, path+" cannot be made") {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q lacks %q", err, word)
			}
		}
	}
	// root may write everywhere, and tests mount nothing.
	for cause, words := range map[error][]string{
		fs.ErrPermission: {user + " that cardea runs as may not write in /backup"},
		syscall.EROFS:    {"/backup is read-only for the server", "StateDirectory"},
		syscall.ENOSPC:   {"no space", user},
	} {
		told := (&PlaceError{Path: "/backup/monday", Err: &fs.PathError{Op: "mkdir", Path: "/backup/.x", Err: cause}}).Error()
		for _, word := range words {
			if !strings.Contains(told, word) || strings.Contains(told, ".x") && cause != syscall.ENOSPC {
				t.Errorf("%q lacks %q", told, word)
			}
		}
	}
}
