package sqldb

import (
	"slices"
	"testing"
)

func TestStatementCacheKeepsTheMostRecentlyUsed(t *testing.T) {
	var dropped []int
	c := newStatementCache(3, func(n int) { dropped = append(dropped, n) })
	c.put("a", 1)
	c.put("b", 2)
	c.put("c", 3)
	if v, ok := c.get("a"); !ok || v != 1 {
		t.Errorf("got %d, %v", v, ok)
	}
	c.put("d", 4)
	c.get("c")
	c.put("e", 5)
	if !slices.Equal(dropped, []int{2, 1}) {
		t.Errorf("dropped %v", dropped)
	}
	c.forget("d")
	if _, ok := c.get("d"); ok {
		t.Error("d is not forgotten")
	}
	c.clear()
	if slices.Sort(dropped); !slices.Equal(dropped, []int{1, 2, 3, 5}) || len(c.entries) != 0 {
		t.Errorf("dropped %v", dropped)
	}
}
