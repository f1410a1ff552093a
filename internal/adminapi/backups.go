package adminapi

import (
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"

	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/problem"
)

// newBackup says where a backup goes, on the server's machine.
type newBackup struct {
	Folder string `json:"folder"`
	Keys   string `json:"keys"` // "" for a folder within Folder
}

func (a *api) backUp(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	var wanted newBackup
	if err := decode(w, r, &wanted); err != nil {
		return err
	}
	var faults []problem.Field
	if !filepath.IsAbs(wanted.Folder) {
		faults = append(faults, problem.Field{Pointer: "/folder", Detail: "is the absolute path of a folder that is not there yet"})
	}
	if wanted.Keys != "" && !filepath.IsAbs(wanted.Keys) {
		faults = append(faults, problem.Field{Pointer: "/keys", Detail: "is the absolute path of a folder that is not there yet, or empty"})
	}
	if len(faults) > 0 {
		return problem.InvalidInput(faults...)
	}
	report, err := backup.Write(r.Context(), a.source(), backup.Destination{Folder: wanted.Folder, Keys: wanted.Keys})
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return refused("the server cannot write there: " + at.Error()).Because(err)
	}
	if err == nil && a.BackedUp != nil {
		err = a.BackedUp(r.Context(), report.Backup)
	}
	if err != nil {
		return err
	}
	return respond(w, http.StatusCreated, report)
}
