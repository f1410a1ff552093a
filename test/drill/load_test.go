package drill

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// mostAtOnce is how many operations of a load may be under way.
const mostAtOnce = 100

// load begins an operation so many times a second, whether or not those before
// have ended: a program that answers late does not get less to do.
type load struct {
	name  string
	began time.Time
	stop  chan struct{}
	group sync.WaitGroup

	mu       sync.Mutex
	done     int
	late     int // not begun, since too many were under way
	failures []string
	took     []time.Duration
	slowest  time.Duration // when the operation that took the longest began
}

// newLoad begins. next chooses an operation; it is called by one goroutine.
func newLoad(name string, perSecond int, next func() func() error) *load {
	l := &load{name: name, began: time.Now(), stop: make(chan struct{})}
	free := make(chan struct{}, mostAtOnce)
	l.group.Go(func() {
		ticker := time.NewTicker(time.Second / time.Duration(perSecond))
		defer ticker.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-ticker.C:
			}
			select {
			case free <- struct{}{}:
			default:
				l.mu.Lock()
				l.late++
				l.mu.Unlock()
				continue
			}
			operation := next()
			l.group.Go(func() {
				began := time.Now()
				err := operation()
				<-free
				l.note(began, err)
			})
		}
	})
	return l
}

func (l *load) note(began time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failures = append(l.failures, fmt.Sprintf("after %s: %v", began.Sub(l.began).Round(time.Millisecond), err))
		return
	}
	l.done++
	took := time.Since(began)
	if len(l.took) == 0 || took > slices.Max(l.took) {
		l.slowest = began.Sub(l.began)
	}
	l.took = append(l.took, took)
}

// end stops and waits for what is under way.
func (l *load) end() {
	close(l.stop)
	l.group.Wait()
	slices.Sort(l.took)
}

// summary is for after the end.
func (l *load) summary() string {
	if len(l.took) == 0 {
		return fmt.Sprintf("%s: none was done, %d failed", l.name, len(l.failures))
	}
	at := func(share float64) time.Duration {
		return l.took[int(share*float64(len(l.took)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%s: %d in %s (%.1f a second), %d failed; p50 %s, p99 %s, the longest %s, begun after %s", l.name, l.done,
		time.Since(l.began).Round(time.Second), float64(l.done)/time.Since(l.began).Seconds(), len(l.failures), at(0.5), at(0.99), at(1), l.slowest.Round(100*time.Millisecond))
}
