package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cardea-id/cardea/internal/adminapi"
	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/config"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// place says which installation a command is about.
type place struct {
	Config string `help:"Configuration file of the installation." env:"CARDEA_CONFIG" placeholder:"FILE" xor:"place"`
	Data   string `help:"Data folder of 'cardea dev', in place of a configuration file. Without either, ./.cardea is taken if it is there." placeholder:"DIR" xor:"place"`
}

// devFolder is where `cardea dev` keeps its data unless told otherwise.
const devFolder = ".cardea"

// rootKeyFile is the root key in a data folder of `cardea dev`.
const rootKeyFile = "root.key"

// installation is a place, found.
type installation struct {
	config      *config.Config
	development bool
	adopt       bool // take the configured key store, whichever it is
}

// find reads the configuration that the place has.
func (at place) find(p *program) (*installation, error) {
	folder := at.Data
	if folder == "" && at.Config == "" {
		if _, err := os.Stat(filepath.Join(devFolder, rootKeyFile)); err != nil {
			if !hasSettings(p.environ) {
				return nil, usage("which installation? Give --config FILE, or --data DIR for the data of 'cardea dev'; there is no %s here", devFolder)
			}
			return at.configured(p) // everything stands in the environment
		}
		folder = devFolder
	}
	if folder == "" {
		return at.configured(p)
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, fmt.Errorf("find the data folder: %w", err)
	}
	key := filepath.Join(folder, rootKeyFile)
	if _, err := os.Stat(key); errors.Is(err, fs.ErrNotExist) {
		return nil, usage("%s is not a data folder of 'cardea dev': it has no %s", folder, rootKeyFile)
	}
	c := config.Default()
	c.DataDir = folder
	c.RootKey.File = key
	return &installation{config: c, development: true}, nil
}

// configured reads the file, if there is one, and the environment.
func (at place) configured(p *program) (*installation, error) {
	c, err := config.Load(config.Options{File: at.Config, Environ: p.environ})
	if err != nil {
		return nil, err
	}
	return &installation{config: c}, nil
}

// hasSettings tells whether the environment has settings in it.
func hasSettings(environ []string) bool {
	for _, variable := range environ {
		if strings.HasPrefix(variable, "CARDEA_DATA_DIR=") || strings.HasPrefix(variable, "CARDEA_DATABASE_URL=") || strings.HasPrefix(variable, "CARDEA_ROOT_KEY_") {
			return true
		}
	}
	return false
}

// socket is where a server of the installation answers the commands.
func (i *installation) socket() string {
	return (&server.Server{Environment: server.Environment{Config: i.config}}).SocketPath()
}

// urls are where the two stores are.
func (i *installation) urls() (database, keys string) {
	return server.DatabaseURL(i.config), server.KeyStoreURL(i.config)
}

// logger logs as the configuration says.
func (i *installation) logger(to io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(i.config.Log.Level)); err != nil {
		level = slog.LevelInfo // the configuration was checked
	}
	options := &slog.HandlerOptions{Level: level}
	if i.config.Log.Format == "text" {
		return slog.New(slog.NewTextHandler(to, options))
	}
	return slog.New(slog.NewJSONHandler(to, options))
}

// quiet logs what is worth a look to people.
func quiet(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// open assembles the installation's parts in this process, unless a restore
// has not been finished. Lost is called when a restore has begun meanwhile.
// What it returns last closes everything again.
func (i *installation) open(ctx context.Context, logger *slog.Logger, lost func(error)) (*server.Server, func() error, error) {
	database, keys := i.urls()
	if err := i.makeFolder(); err != nil {
		return nil, nil, err
	}
	hold, err := backup.Serve(ctx, lost, database, keys)
	if err != nil {
		return nil, nil, err
	}
	s, err := i.assemble(ctx, logger)
	if err != nil {
		hold.Release()
		return nil, nil, err
	}
	return s, func() error {
		defer hold.Release()
		return s.Close()
	}, nil
}

func (i *installation) assemble(ctx context.Context, logger *slog.Logger) (*server.Server, error) {
	if err := i.usable(ctx, logger); err != nil {
		return nil, err
	}
	return i.parts(ctx, logger)
}

// parts makes every part, whatever a restore has left.
func (i *installation) parts(ctx context.Context, logger *slog.Logger) (*server.Server, error) {
	return server.Assemble(ctx, server.Environment{
		Config: i.config, Clock: clock.System(), Random: rand.Reader, Logger: logger, Development: i.development, Release: release(), AdoptKeyStore: i.adopt,
	})
}

// usable refuses stores into which a restore has not been finished, before
// anything migrates them.
func (i *installation) usable(ctx context.Context, logger *slog.Logger) error {
	database, keys := i.urls()
	for _, url := range []string{database, keys} {
		db, err := sqldb.Open(ctx, sqldb.Options{URL: url, MaxConns: 1, Readers: 1, Logger: logger})
		if err != nil {
			return err
		}
		if err := errors.Join(backup.Usable(ctx, db), db.Close()); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder makes the data folder of an installation that is new.
func (i *installation) makeFolder() error {
	if err := os.MkdirAll(i.config.DataDir, 0o700); err != nil {
		database, keys := i.urls()
		if strings.HasPrefix(database, "sqlite:"+i.config.DataDir) || strings.HasPrefix(keys, "sqlite:"+i.config.DataDir) {
			return fmt.Errorf("make the data folder: %w", err)
		}
	}
	return nil
}

// adminHandler is the operator's handlers over the parts of a server. They are
// made when they are first asked: a server that nobody commands keeps no
// schemas of what could be asked of it.
func adminHandler(s *server.Server) (http.Handler, error) {
	options, err := s.AdminOptions()
	if err != nil {
		return nil, err
	}
	options.Release = release()
	handler := sync.OnceValue(func() http.Handler { return adminapi.New(options) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler().ServeHTTP(w, r) }), nil
}
