package main

import (
	"io"
	"runtime"
	"runtime/debug"

	"github.com/cardea-id/cardea/internal/config"
)

type versionCommand struct{}

func (versionCommand) Run(p *program) error {
	return p.line("cardea %s, %s, %s/%s", release(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// release is what the program was built from.
func release() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	if version == "" || version == "(devel)" {
		version = "development"
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
				version += "-" + setting.Value[:12]
			}
		}
	}
	return version
}

type referenceCommand struct{}

func (referenceCommand) Run(p *program) error {
	_, err := io.WriteString(p.out, config.Reference())
	return err
}
