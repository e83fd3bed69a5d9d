package cache

import "sync"

const defaultSize = 128

// Cache keeps what was used last.
type Cache struct {
	mu    sync.Mutex
	items map[string][]byte
}

// New makes an empty cache.
func New() *Cache {
	return &Cache{items: make(map[string][]byte, defaultSize)}
}

// Get looks a key up.
func (c *Cache) Get(key string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	value, ok := c.items[key]
	return value, ok
}
