// Command withpostgres runs a command beside a PostgreSQL server that lasts as
// long as the command, so that many test processes share it.
//
//	go run ./internal/sqldb/dbtest/withpostgres go test ./...
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpostgres:", err)
		code = 1
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	if len(args) == 0 {
		return 0, errors.New("which command?")
	}
	url, stop, err := dbtest.StartPostgres("", dbtest.PostgresOptions{})
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CARDEA_TEST_POSTGRES_URL="+url)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), stop()
	}
	return 0, errors.Join(err, stop())
}
