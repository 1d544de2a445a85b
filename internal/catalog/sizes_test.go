package catalog

import (
	"testing"
	"unsafe"
)

// TestSizes: what there is one of for each record has a size that the allocator gives
// without loss, on machines with pointers of 64 bits.
func TestSizes(t *testing.T) {
	if size := unsafe.Sizeof(item{}); unsafe.Sizeof(uintptr(0)) == 8 && size != 128 {
		t.Errorf("an item has %d octets, expected 128", size)
	}
}
