package adminapi

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"

	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/problem"
)

func (a *api) backupOperations() {
	declare(a, operation{
		id: "makeBackup", method: post, path: "/backup", noun: installation, scope: "installation:write", status: http.StatusCreated,
		summary:     "Make a backup",
		description: "Writes both parts into folders on the server's machine, while it goes on serving. The answer comes when they are whole.",
		errors:      []int{409},
	}, a.backUp)
}

// newBackup says where a backup goes, on the server's machine.
type newBackup struct {
	Folder string `json:"folder" doc:"The absolute path of a folder that is not there yet." example:"/var/backups/cardea/monday"`
	Keys   string `json:"keys,omitempty" doc:"Where customers' keys go; without one, into a folder within the other."`
}

func (a *api) backUp(ctx context.Context, in *struct{ Body newBackup }) (*answer[*backup.Report], error) {
	wanted := in.Body
	var faults []problem.Field
	if !filepath.IsAbs(wanted.Folder) {
		faults = append(faults, problem.Field{Pointer: "/folder", Detail: "is the absolute path of a folder that is not there yet"})
	}
	if wanted.Keys != "" && !filepath.IsAbs(wanted.Keys) {
		faults = append(faults, problem.Field{Pointer: "/keys", Detail: "is the absolute path of a folder that is not there yet, or empty"})
	}
	if len(faults) > 0 {
		return nil, problem.InvalidInput(faults...)
	}
	report, err := backup.Write(ctx, a.source(), backup.Destination{Folder: wanted.Folder, Keys: wanted.Keys})
	if at, ok := errors.AsType[*backup.PlaceError](err); ok {
		return nil, refused(at.Error()).Because(err)
	}
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, refused("the server cannot write there: " + at.Error()).Because(err)
	}
	if err == nil && a.BackedUp != nil {
		err = a.BackedUp(ctx, report.Backup)
	}
	if err != nil {
		return nil, err
	}
	return answerWith(report)
}
