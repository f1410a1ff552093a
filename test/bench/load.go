package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
)

// connections is how many there are at once.
const connections = 64

// path is one thing that is measured. An operation is one request, or as many
// as take returns false for.
type path struct {
	// next returns a worker's next request, nil when there is nothing left.
	next func(w *worker) []byte
	// take looks at the answer, and tells whether it ends the operation.
	take func(w *worker, r *response) (done bool, err error)
}

// worker is one connection. What paths remember for it stands in its fields.
type worker struct {
	number  int
	conn    net.Conn
	reader  *bufio.Reader
	answer  response
	began   time.Time
	latency []time.Duration

	request []byte // reused
	state   int    // of an operation of several requests
	scratch map[string]string
}

// response is an answer, good until the worker's next one.
type response struct {
	status int
	head   []byte // header lines
	body   []byte
}

// header returns a header's first value. Names are as net/http writes them.
func (r *response) header(name string) []byte {
	_, after, found := bytes.Cut(r.head, []byte("\n"+name+": "))
	if !found {
		return nil
	}
	value, _, _ := bytes.Cut(after, []byte("\r\n"))
	return value
}

var (
	contentLength = []byte("Content-Length: ")
	chunked       = []byte("Transfer-Encoding: chunked")
)

func (w *worker) read() error {
	r := &w.answer
	r.head, r.body = r.head[:0], r.body[:0]
	line, err := w.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) < 12 {
		return fmt.Errorf("%q is no status line", line)
	}
	r.status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	r.head = append(r.head, '\n')
	length, inChunks := 0, false
	for {
		line, err := w.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if bytes.HasPrefix(line, contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil {
				return err
			}
		} else if bytes.HasPrefix(line, chunked) {
			inChunks = true
		}
		r.head = append(r.head, line...)
	}
	if !inChunks {
		return w.readBody(length)
	}
	for {
		line, err := w.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return err
		}
		if size > 0 {
			if err := w.readBody(int(size)); err != nil {
				return err
			}
		}
		if _, err := w.reader.Discard(2); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

func (w *worker) readBody(length int) error {
	r := &w.answer
	start := len(r.body)
	r.body = slices.Grow(r.body, length)[:start+length]
	_, err := io.ReadFull(w.reader, r.body[start:])
	return err
}

// result is what came of a path.
type result struct {
	operations    int
	took          time.Duration
	p50, p95, p99 time.Duration
	serverBusy    float64 // share of a processor that the server, and its database, took
	selfBusy      float64 // and the generator
	otherBusy     float64 // and what else the server's processor had to do
}

// cost is the processor time of one operation.
func (r result) cost() time.Duration {
	if r.operations == 0 {
		return 0
	}
	return time.Duration(r.serverBusy * float64(r.took) / float64(r.operations))
}

func (r result) rate() float64 {
	if r.took <= 0 {
		return 0
	}
	return float64(r.operations) / r.took.Seconds()
}

// load is a generator of requests to one address.
type load struct {
	address string
	workers []*worker
	busy    func() time.Duration // processor time of the measured processes
}

func newLoad(ctx context.Context, address string, connections int, busy func() time.Duration) (*load, error) {
	l := &load{address: address, busy: busy}
	var dialer net.Dialer
	for i := range connections {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.workers = append(l.workers, &worker{number: i, conn: conn, reader: bufio.NewReaderSize(conn, 16<<10), scratch: map[string]string{}})
	}
	return l, nil
}

func (l *load) close() error {
	var errs []error
	for _, w := range l.workers {
		errs = append(errs, w.conn.Close())
	}
	return errors.Join(errs...)
}

// run has every worker repeat a path: first to warm up, then for as long as is
// measured. Operations that began before the one and ended in the other count.
func (l *load) run(p path, warm, measured time.Duration) (result, error) {
	runtime.GC()
	began := time.Now()
	from, until := began.Add(warm), began.Add(warm+measured)
	var group sync.WaitGroup
	errs := make([]error, len(l.workers))
	ended := make([]time.Time, len(l.workers))
	for i, w := range l.workers {
		w.latency, w.state = w.latency[:0], 0
		group.Go(func() { ended[i], errs[i] = w.loop(p, from, until) })
	}
	var busyBefore, selfBefore, allBefore time.Duration
	group.Go(func() {
		time.Sleep(time.Until(from))
		busyBefore, selfBefore, allBefore = l.busy(), ownTime(), processorBusy(serverProcessor)
	})
	group.Wait()
	busyAfter, selfAfter, allAfter := l.busy(), ownTime(), processorBusy(serverProcessor)
	elapsed := time.Since(from).Seconds()
	if err := errors.Join(errs...); err != nil {
		return result{}, err
	}
	r := result{took: time.Since(from)}
	if last := slices.MaxFunc(ended, time.Time.Compare); last.Before(until) { // it ran out of work
		r.took = last.Sub(from)
	} else {
		r.took = min(r.took, measured)
	}
	var all []time.Duration
	for _, w := range l.workers {
		all = append(all, w.latency...)
	}
	r.operations = len(all)
	if len(all) == 0 || r.took <= 0 {
		return r, errors.New("nothing was measured")
	}
	slices.Sort(all)
	r.p50, r.p95, r.p99 = all[len(all)/2], all[len(all)*95/100], all[len(all)*99/100]
	r.serverBusy = (busyAfter - busyBefore).Seconds() / elapsed
	r.selfBusy = (selfAfter - selfBefore).Seconds() / elapsed
	r.otherBusy = max(0, (allAfter-allBefore).Seconds()/elapsed-r.serverBusy)
	return r, nil
}

// loop repeats operations until the time is over or there is nothing left.
func (w *worker) loop(p path, from, until time.Time) (time.Time, error) {
	now := time.Now()
	for now.Before(until) {
		request := p.next(w)
		if request == nil {
			return now, nil
		}
		if w.state == 0 {
			w.began = now
		}
		if _, err := w.conn.Write(request); err != nil {
			return now, err
		}
		if err := w.read(); err != nil {
			return now, fmt.Errorf("read the answer: %w", err)
		}
		done, err := p.take(w, &w.answer)
		if err != nil {
			return now, fmt.Errorf("%w: status %d: %s%.300s", err, w.answer.status, w.answer.head, w.answer.body)
		}
		now = time.Now()
		if !done {
			w.state++
			continue
		}
		w.state = 0
		if now.After(from) && now.Before(until) {
			w.latency = append(w.latency, now.Sub(w.began))
		}
	}
	return now, nil
}

var errStatus = errors.New("not the answer that was expected")

// expect is the take of paths of one request.
func expect(status int) func(*worker, *response) (bool, error) {
	return func(_ *worker, r *response) (bool, error) {
		if r.status != status {
			return false, errStatus
		}
		return true, nil
	}
}
