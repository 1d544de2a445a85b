package check

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFileHangs looks at a file system whose server does not answer: one of FUSE
// that never says hello. It needs root and /dev/fuse.
func TestFileHangs(t *testing.T) {
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err == nil {
		defer fuse.Close()
		dir := t.TempDir()
		err = unix.Mount("hangs", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse.Fd()))
		if err == nil {
			defer func() {
				if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			}()
			leavesNothing(t)
			p := compile(t, "file_check '"+dir+"/file'")
			hangs(t, p)
			hangs(t, compile(t, "not file_check '"+dir+"/file'"))
			return
		}
	}
	missing := fmt.Sprintf("no file system of FUSE can be mounted: %v; the test needs root and /dev/fuse", err)
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}
