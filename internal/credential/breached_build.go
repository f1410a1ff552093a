package credential

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/FastFilter/xorfilter"
)

// BuildBreachedList reads the text form of a breached list and writes the
// binary form to path, which is replaced only when all went well. It answers
// how many passwords the list has. The text must be in order, as published.
// Memory is bounded by the passwords that share their hash's first byte, a 256th.
func BuildBreachedList(path string, text io.Reader) (passwords uint64, err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return 0, fmt.Errorf("building the breached list: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("building the breached list: %w", err), temporary.Close(), os.Remove(temporary.Name()))
		}
	}()
	b := &breachedBuilder{out: bufio.NewWriterSize(temporary, 1<<20)}
	if _, err := b.out.Write(make([]byte, headerSize)); err != nil {
		return 0, err
	}
	if err := b.read(text); err != nil {
		return 0, err
	}
	for _, filter := range b.filters {
		if _, err := b.out.Write(filter); err != nil {
			return 0, err
		}
	}
	if err := b.out.Flush(); err != nil {
		return 0, err
	}
	if _, err := temporary.WriteAt(b.header(), 0); err != nil {
		return 0, err
	}
	if err := temporary.Sync(); err != nil {
		return 0, err
	}
	if err := temporary.Close(); err != nil {
		return 0, err
	}
	return b.counts[shards], os.Rename(temporary.Name(), path)
}

type breachedBuilder struct {
	out     *bufio.Writer
	counts  [shards + 1]uint64
	filters [shards][]byte
	keys    []uint64 // of the shard being read
}

func (b *breachedBuilder) read(text io.Reader) error {
	lines := bufio.NewScanner(text)
	shard, number := 0, 0
	var previous []byte
	for lines.Scan() {
		number++
		if len(lines.Bytes()) == 0 {
			continue
		}
		sum, err := readLine(lines.Bytes())
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		switch bytes.Compare(previous, sum[:]) {
		case 0:
			continue
		case 1:
			return fmt.Errorf("line %d: the hashes are not in order", number)
		}
		previous = append(previous[:0], sum[:]...)
		for ; shard < int(sum[0]); shard++ {
			if err := b.finish(shard); err != nil {
				return err
			}
		}
		b.keys = append(b.keys, filterKey(sum[:]))
		if _, err := b.out.Write(sum[:prefixSize]); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for ; shard < shards; shard++ {
		if err := b.finish(shard); err != nil {
			return err
		}
	}
	return nil
}

// finish ends a shard: it counts its prefixes and makes its filter.
func (b *breachedBuilder) finish(shard int) error {
	b.counts[shard+1] = b.counts[shard] + uint64(len(b.keys))
	if len(b.keys) == 0 {
		return nil
	}
	filter, err := xorfilter.PopulateBinaryFuse8(slices.Compact(b.keys))
	if err != nil {
		return fmt.Errorf("making a filter: %w", err)
	}
	var encoded bytes.Buffer
	if err := filter.Save(&encoded); err != nil {
		return fmt.Errorf("making a filter: %w", err)
	}
	b.filters[shard] = encoded.Bytes()
	b.keys = b.keys[:0]
	return nil
}

func (b *breachedBuilder) header() []byte {
	header := []byte(breachedMagic)
	for _, count := range b.counts {
		header = binary.BigEndian.AppendUint64(header, count)
	}
	for _, filter := range b.filters {
		header = binary.BigEndian.AppendUint64(header, uint64(len(filter)))
	}
	return header
}
