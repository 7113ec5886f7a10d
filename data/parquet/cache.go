package parquet

import (
	"container/list"
	"sync"
)

// Cache keeps decoded pages, the ones used most recently. Any number of files may share
// one, and goroutines may use it at once.
type Cache struct {
	limit int64

	mu    sync.Mutex
	bytes int64
	pages map[pageKey]*list.Element // of *cachedPage
	order list.List                 // most recently used first
}

// pageKey is a page of a column: its number, or -1-k for the dictionary of row group k.
type pageKey struct {
	column *Column
	page   int
}

type cachedPage struct {
	key  pageKey
	size int64

	once   sync.Once // decodes: other users of the page wait
	values [][]byte
	err    error
}

// NewCache returns a cache of about limit bytes. It keeps at least one page.
func NewCache(limit int64) *Cache {
	return &Cache{limit: limit, pages: map[pageKey]*list.Element{}}
}

// get returns a page, which read decodes unless it is there. size is what read returns in
// addition: the bytes that the page occupies.
func (c *Cache) get(key pageKey, read func() (values [][]byte, size int64, err error)) ([][]byte, error) {
	if c == nil {
		values, _, err := read()
		return values, err
	}
	p := c.find(key)
	p.once.Do(func() {
		var size int64
		p.values, size, p.err = read()
		c.account(p, size)
	})
	return p.values, p.err
}

func (c *Cache) find(key pageKey) *cachedPage {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.pages[key]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*cachedPage)
	}
	p := &cachedPage{key: key}
	c.pages[key] = c.order.PushFront(p)
	return p
}

// account adds the size of a page that has been decoded, and drops pages that do not fit. A page
// that could not be read is not kept: the next attempt may succeed.
func (c *Cache) account(p *cachedPage, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.pages[p.key]
	if !ok || e.Value != p {
		return // dropped while it was decoded
	}
	p.size = size
	c.bytes += size
	if p.err != nil {
		c.drop(e)
	}
	for c.bytes > c.limit && c.order.Len() > 1 {
		c.drop(c.order.Back())
	}
}

func (c *Cache) drop(e *list.Element) {
	p := c.order.Remove(e).(*cachedPage)
	delete(c.pages, p.key)
	c.bytes -= p.size
}
