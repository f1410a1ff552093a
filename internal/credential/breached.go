package credential

import (
	"bytes"
	"crypto/sha1" // the form of the published lists; no secret rests on it
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"github.com/FastFilter/xorfilter"
)

// The binary form of a breached list, made by BuildBreachedList:
//
//	magic, 8 bytes
//	257 × uint64: how many prefixes stand before those that begin with byte 0, 1, …; the last is the total
//	256 × uint64: the size of each first byte's filter
//	the prefixes: the first 10 bytes of each SHA-1, ascending
//	the filters: a binary fuse filter for each first byte, over the prefixes' first 8 bytes
//
// Integers are big-endian. Ten bytes find a password that is not on a list of
// 10⁹ with a probability of 10⁻¹⁵, and keep the file at half its size.
const (
	breachedMagic  = "CRDBRCH1"
	prefixSize     = 10
	shards         = 256
	headerSize     = int64(len(breachedMagic)) + (shards+1)*8 + shards*8
	maxFilterBytes = 64 << 20
)

// BreachedList is a list of leaked passwords on disk, looked up offline. It
// reads the text that Have I Been Pwned publishes ("SHA1:count" lines in order)
// and the binary form of it. The binary form's filters are kept in memory, so
// that most passwords are cleared without reading the file; a filter's yes is
// confirmed in the file. It is safe for concurrent use.
type BreachedList struct {
	file    *os.File
	size    int64
	text    bool
	counts  [shards + 1]uint64
	filters [shards]*xorfilter.BinaryFuse8 // nil: ask the file
}

// ErrBreachedList says that a file is not a breached list.
var ErrBreachedList = errors.New("not a list of breached passwords")

// OpenBreachedList opens a list in either form. Filters of more than 64 MiB
// altogether (60 million passwords) are left on disk, and the file is asked at
// once: two or three reads.
func OpenBreachedList(path string) (*BreachedList, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the breached list: %w", err)
	}
	l := &BreachedList{file: file}
	if err := l.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return l, nil
}

// Close closes the file.
func (l *BreachedList) Close() error { return l.file.Close() }

func (l *BreachedList) load() error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	l.size = info.Size()
	head := make([]byte, min(l.size, headerSize))
	if _, err := l.file.ReadAt(head, 0); err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte(breachedMagic)) {
		l.text = true
		line, _, _ := bytes.Cut(head[:min(len(head), 256)], []byte("\n"))
		_, err := readLine(line)
		return err
	}
	if int64(len(head)) < headerSize {
		return ErrBreachedList
	}
	numbers := head[len(breachedMagic):]
	for i := range l.counts {
		l.counts[i] = binary.BigEndian.Uint64(numbers[i*8:])
		if i > 0 && l.counts[i] < l.counts[i-1] || l.counts[i] > uint64(l.size)/prefixSize {
			return ErrBreachedList
		}
	}
	offset := headerSize + int64(l.counts[shards])*prefixSize
	filters := l.size - offset
	numbers = numbers[(shards+1)*8:]
	for i := range shards {
		size := binary.BigEndian.Uint64(numbers[i*8:])
		if size > uint64(l.size) || offset+int64(size) > l.size {
			return ErrBreachedList
		}
		if size > 0 && filters <= maxFilterBytes {
			filter, err := xorfilter.LoadBinaryFuse8(io.NewSectionReader(l.file, offset, int64(size)))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrBreachedList, err)
			}
			l.filters[i] = filter
		}
		offset += int64(size)
	}
	if offset != l.size {
		return ErrBreachedList
	}
	return nil
}

// Contains tells whether the password has leaked.
func (l *BreachedList) Contains(p Password) (bool, error) {
	sum := sha1.Sum([]byte(p.text))
	var found bool
	var err error
	if l.text {
		found, err = l.searchText(sum)
	} else {
		found, err = l.searchPrefixes(sum)
	}
	if err != nil {
		return false, fmt.Errorf("reading the breached list: %w", err)
	}
	return found, nil
}

func (l *BreachedList) searchPrefixes(sum [sha1.Size]byte) (bool, error) {
	if filter := l.filters[sum[0]]; filter != nil && !filter.Contains(filterKey(sum[:])) {
		return false, nil
	}
	low, high := l.counts[sum[0]], l.counts[int(sum[0])+1]
	// Hashes are evenly spread, so the place is guessed rather than halved. A
	// guess that missed goes on in the neighbouring block, or, for a list that is
	// not evenly spread, by halves after all.
	const block = 400 // prefixes, 4 KB
	within := float64(binary.BigEndian.Uint32(sum[1:5])) / (1 << 32)
	guess := low + uint64(within*float64(high-low))
	buffer := make([]byte, block*prefixSize)
	for reads := 0; low < high; reads++ {
		if reads >= 8 {
			guess = low + (high-low)/2
		}
		guess = min(max(guess, low), high-1)
		start := low
		if high-low > block {
			start = min(max(low, guess-min(guess, block/2)), high-block)
		}
		count := min(block, high-start)
		page := buffer[:count*prefixSize]
		if _, err := l.file.ReadAt(page, headerSize+int64(start)*prefixSize); err != nil {
			return false, err
		}
		at := uint64(sort.Search(int(count), func(i int) bool {
			return bytes.Compare(page[i*prefixSize:(i+1)*prefixSize], sum[:prefixSize]) >= 0
		}))
		switch {
		case at < count && bytes.Equal(page[at*prefixSize:(at+1)*prefixSize], sum[:prefixSize]):
			return true, nil
		case at == 0:
			high = start
		case at == count:
			low = start + count
		default:
			return false, nil
		}
	}
	return false, nil
}

// searchText finds a line by halving the file's bytes.
func (l *BreachedList) searchText(sum [sha1.Size]byte) (bool, error) {
	low, high := int64(0), l.size // low is a line's first byte, high a line's or the end
	buffer := make([]byte, 512)
	for low < high {
		middle := low + (high-low)/2
		// The line that middle is in begins after the last newline before it.
		from := max(low, middle-int64(len(buffer)/2))
		n, err := l.file.ReadAt(buffer, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		page := buffer[:n]
		start := from + int64(bytes.LastIndexByte(page[:middle-from], '\n')) + 1
		line, _, _ := bytes.Cut(page[start-from:], []byte("\n"))
		found, err := readLine(line)
		if err != nil {
			return false, err
		}
		switch bytes.Compare(found[:], sum[:]) {
		case 0:
			return true, nil
		case -1:
			low = start + int64(len(line)) + 1
		default:
			high = start
		}
	}
	return false, nil
}

// readLine reads "SHA1" or "SHA1:count".
func readLine(line []byte) (sum [sha1.Size]byte, err error) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) < hex.EncodedLen(sha1.Size) || len(line) > 64 {
		return sum, ErrBreachedList
	}
	digits, rest := line[:hex.EncodedLen(sha1.Size)], line[hex.EncodedLen(sha1.Size):]
	if len(rest) > 0 && rest[0] != ':' {
		return sum, ErrBreachedList
	}
	if _, err := hex.Decode(sum[:], digits); err != nil {
		return sum, fmt.Errorf("%w: %w", ErrBreachedList, err)
	}
	return sum, nil
}

func filterKey(sum []byte) uint64 { return binary.BigEndian.Uint64(sum) }
