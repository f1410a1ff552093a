package dbtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// PostgresOptions say what kind of server to start.
type PostgresOptions struct {
	// Durable makes commits reach the disk. Without it the server is faster
	// and forgets all if the machine fails.
	Durable bool
	// TCP makes it listen on a free port of 127.0.0.1 and its URL say so,
	// instead of on a socket in its folder alone.
	TCP bool
	// Settings are further lines of postgresql.conf.
	Settings []string
}

// ErrNoPostgres says that the machine has no PostgreSQL to start.
var ErrNoPostgres = errors.New("PostgreSQL is not installed: apt-get install postgresql, or brew install postgresql, or set CARDEA_TEST_POSTGRES_URL")

// supervise runs the server until the pipe at its input closes, which it does
// when this process ends, however it ends.
const supervise = `
"$1/postgres" -D "$2/data" >"$2/log" 2>&1 </dev/null &
server=$!
read -r _
kill -s "$3" "$server" 2>/dev/null
wait "$server"
[ -z "$4" ] || rm -rf "$2"
`

// lifelines are the pipes of the servers that run: one that nobody refers to
// would be closed by the garbage collector.
var lifelines sync.Map // *exec.Cmd → io.Closer

// StartPostgres starts a server of its own in a folder, which is made if it is
// not there and whose data is used if it has any; "" means a temporary folder
// that is deleted afterwards. It returns the URL of the database "postgres".
// The server ends with stop, or with this process.
func StartPostgres(folder string, options PostgresOptions) (url string, stop func() error, err error) {
	binaries, err := postgresBinaries()
	if err != nil {
		return "", nil, err
	}
	as, owner, err := serverUser()
	if err != nil {
		return "", nil, err
	}
	temporary := ""
	if folder == "" {
		// Not the system's own folder for such: a socket's path is at most
		// some 100 bytes long.
		if folder, err = os.MkdirTemp("/tmp", "cardea-pg-"); err != nil {
			return "", nil, err
		}
		temporary = "yes"
		defer func() {
			if err != nil {
				os.RemoveAll(folder)
			}
		}()
	} else if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", nil, err
	}
	if owner != nil {
		if err := os.Chown(folder, int(owner.Uid), int(owner.Gid)); err != nil {
			return "", nil, err
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "data", "PG_VERSION")); err != nil {
		if err := initialise(binaries, folder, as, options); err != nil {
			return "", nil, err
		}
	}
	url = "postgres://postgres@/postgres?host=" + folder + "&sslmode=disable"
	settings := append(slices.Clone(options.Settings),
		"unix_socket_directories = '"+folder+"'", "listen_addresses = ''",
		"max_connections = 400", "deadlock_timeout = '200ms'", "max_wal_senders = 0", "wal_level = minimal")
	if options.TCP {
		port, err := freePort()
		if err != nil {
			return "", nil, err
		}
		url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
		settings = append(settings, "listen_addresses = '127.0.0.1'", "port = "+strconv.Itoa(port))
	}
	signal := "INT"
	if !options.Durable {
		settings = append(settings, "fsync = off", "full_page_writes = off", "autovacuum_naptime = '10min'")
		signal = "QUIT"
	}
	conf := ""
	for _, line := range settings {
		conf += line + "\n"
	}
	// It is read after, and so prevails over, what initdb wrote.
	auto := filepath.Join(folder, "data", "postgresql.auto.conf")
	if err := os.WriteFile(auto, []byte(conf), 0o600); err != nil {
		return "", nil, err
	}
	if owner != nil {
		if err := os.Chown(auto, int(owner.Uid), int(owner.Gid)); err != nil {
			return "", nil, err
		}
	}

	cmd := exec.Command("/bin/sh", "-c", supervise, "sh", binaries, folder, signal, temporary)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if owner != nil {
		cmd.SysProcAttr.Credential = owner
	}
	cmd.Dir = "/"
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	lifelines.Store(cmd, lifeline)
	stop = func() error {
		lifelines.Delete(cmd)
		return errors.Join(lifeline.Close(), ended(cmd))
	}
	if err := ready(url); err != nil {
		log, _ := os.ReadFile(filepath.Join(folder, "log")) // there may be none
		stop()                                              // the first error is the one to tell
		return "", nil, fmt.Errorf("PostgreSQL did not start: %w\n%s", err, log)
	}
	return url, stop, nil
}

// ended waits for the supervisor, whose exit code is that of its last command.
func ended(cmd *exec.Cmd) error {
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

func initialise(binaries, folder string, as func(*exec.Cmd), options PostgresOptions) error {
	args := []string{"-D", filepath.Join(folder, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"}
	if !options.Durable {
		args = append(args, "--no-sync")
	}
	cmd := exec.Command(filepath.Join(binaries, "initdb"), args...)
	cmd.Dir = "/"
	as(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// serverUser is whom the server runs as: PostgreSQL refuses to run as root.
func serverUser() (as func(*exec.Cmd), owner *syscall.Credential, err error) {
	if os.Getuid() != 0 {
		return func(*exec.Cmd) {}, nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, nil, fmt.Errorf("PostgreSQL refuses to run as root, and there is no other user for it: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, nil, err
	}
	owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner} }, owner, nil
}

// postgresBinaries finds the folder of the newest initdb and postgres.
func postgresBinaries() (string, error) {
	folders := []string{}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		slices.Sort(found)
		slices.Reverse(found)
		folders = append(folders, found...)
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			folders = slices.Insert(folders, 0, filepath.Dir(path))
		}
	}
	for _, folder := range folders {
		_, err1 := os.Stat(filepath.Join(folder, "initdb"))
		_, err2 := os.Stat(filepath.Join(folder, "postgres"))
		if err1 == nil && err2 == nil {
			return folder, nil
		}
	}
	return "", ErrNoPostgres
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

// ready waits until the server answers.
func ready(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := pgconn.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}
