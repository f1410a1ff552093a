package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/cardea-id/cardea/internal/keyring"
)

type ledgerCommand struct {
	place
	Out string `required:"" placeholder:"FILE" help:"File to write, as a whole or not at all. A former ledger of the same key store is replaced; any other file is left as it is."`
}

func (c *ledgerCommand) Run(ctx context.Context, p *program) error {
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	text, err := cl.send(ctx, http.MethodGet, pathTo("erasure-ledger"), nil, "", nil, nil)
	if err != nil {
		return err
	}
	if err := mayReplaceLedger(c.Out, text); err != nil {
		return err
	}
	if err := replaceFile(c.Out, text); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return p.line("The ledger is in %s. Keep the newest for as long as you keep any backup.", c.Out)
}

// mayReplaceLedger refuses to write over what is no former ledger of the same key
// store, such as a key that was named by mistake, or over one that knows of
// erasures which this one does not, as after a restore without a ledger.
func mayReplaceLedger(path string, text []byte) error {
	at, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !at.Mode().IsRegular() {
		return fmt.Errorf("%s is there and is not a file: nothing was written; name another", path)
	}
	former, err := os.Open(path)
	if err != nil {
		return err
	}
	lacking, err := keyring.LedgerLacks(former, bytes.NewReader(text))
	if err := errors.Join(err, former.Close()); err != nil {
		return fmt.Errorf("%s is there and is no former ledger of this key store, so it was left as it is; name another file: %w", path, err)
	}
	if lacking > 0 {
		return fmt.Errorf("%s names %d customers who were erased and whom this key store does not know as such, so it was left as it is: "+
			"restore once more with --ledger %s, or name another file", path, lacking, path)
	}
	return nil
}

// replaceFile writes a file beside the one of that name and gives it the name, so
// that at any time the whole of one of them is there.
func replaceFile(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // only its owner may read it
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
