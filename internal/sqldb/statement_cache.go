package sqldb

// statementCache keeps the most recently used prepared statements of one
// connection by their text.
type statementCache[S any] struct {
	size    int
	drop    func(S)
	entries map[string]*cachedStatement[S]
	newest  cachedStatement[S] // ring: its next is the newest, its prev the oldest
}

type cachedStatement[S any] struct {
	text       string
	value      S
	next, prev *cachedStatement[S]
}

func newStatementCache[S any](size int, drop func(S)) *statementCache[S] {
	c := &statementCache[S]{size: size, drop: drop, entries: map[string]*cachedStatement[S]{}}
	c.newest.next, c.newest.prev = &c.newest, &c.newest
	return c
}

func (c *statementCache[S]) get(text string) (S, bool) {
	e, ok := c.entries[text]
	if !ok {
		var none S
		return none, false
	}
	if c.newest.next != e {
		e.unlink()
		c.front(e)
	}
	return e.value, true
}

func (c *statementCache[S]) put(text string, value S) {
	if len(c.entries) >= c.size {
		oldest := c.newest.prev
		c.remove(oldest)
	}
	e := &cachedStatement[S]{text: text, value: value}
	c.entries[text] = e
	c.front(e)
}

func (c *statementCache[S]) clear() {
	for len(c.entries) > 0 {
		c.remove(c.newest.prev)
	}
}

// forget takes out a statement that does not exist.
func (c *statementCache[S]) forget(text string) {
	if e, ok := c.entries[text]; ok {
		e.unlink()
		delete(c.entries, text)
	}
}

func (c *statementCache[S]) remove(e *cachedStatement[S]) {
	e.unlink()
	delete(c.entries, e.text)
	c.drop(e.value)
}

func (c *statementCache[S]) front(e *cachedStatement[S]) {
	e.next, e.prev = c.newest.next, &c.newest
	e.next.prev, c.newest.next = e, e
}

func (e *cachedStatement[S]) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
}
