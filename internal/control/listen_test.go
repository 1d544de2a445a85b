package control

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mustListen listens and closes at the end of the test.
func mustListen(t *testing.T, path string) *Listener {
	t.Helper()
	l, err := Listen(path, noLog)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// deadSocket leaves a socket at path that nobody listens on, as a killed daemon
// does.
func deadSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestListenModes(t *testing.T) {
	// The process's umask is not what keeps others out.
	defer unix.Umask(unix.Umask(0))
	dir := filepath.Join(shortDir(t), "run", "murakumo")
	path := filepath.Join(dir, "s")
	mustListen(t, path)
	for name, want := range map[string]os.FileMode{
		filepath.Dir(dir): os.ModeDir | 0o700,
		dir:               os.ModeDir | 0o700,
		path:              os.ModeSocket | 0o600,
	} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left beside the socket: %v, %v", entries, err)
	}
}

// A directory that was there before keeps its mode.
func TestListenKeepsDirectory(t *testing.T) {
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mustListen(t, filepath.Join(dir, "s"))
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// The socket gets its mode in a directory of its own before it gets its name: a
// watcher of the directory sees the private one made first, and never a change
// of mode under the final name.
func TestListenExposesNothingBetween(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	dir := shortDir(t)
	in, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(in)
	if _, err := unix.InotifyAddWatch(in, dir, unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		t.Fatal(err)
	}
	mustListen(t, filepath.Join(dir, "s"))
	buf := make([]byte, 4096)
	n, err := unix.Read(in, buf)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
		mask, size := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[12:])
		name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size]), "\x00")
		if mask&unix.IN_ISDIR != 0 {
			name = "private directory"
		}
		seen = append(seen, name)
		b = b[unix.SizeofInotifyEvent+size:]
	}
	if got := strings.Join(seen, ", "); got != "private directory, s" {
		t.Errorf("made in the directory: %s", got)
	}
}

func TestPrivateDirIsPrivate(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	dir := shortDir(t)
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	name, err := privateDir(int(d.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestListenReplacesDeadSocket(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	deadSocket(t, path)
	l := mustListen(t, path)
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := <-accepted; err != nil {
		t.Error(err)
	}
}

func TestListenRefusesLiveSocket(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	mustListen(t, path)
	_, err := Listen(path, noLog)
	if want := "another murakumo is running on " + path; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the first one's socket is gone: %v", err)
	}
	c.Close()
}

func TestListenRefusesWhatIsNotOurs(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"file", func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) }, "a file is there already"},
		{"directory", func(p string) error { return os.Mkdir(p, 0o700) }, "a directory is there already"},
		{"dangling link", func(p string) error { return os.Symlink("elsewhere", p) }, "a symbolic link is there already"},
		{"link to a dead socket", func(p string) error {
			deadSocket(t, p+".dead")
			return os.Symlink(p+".dead", p)
		}, "a symbolic link is there already"},
		{"fifo", func(p string) error { return unix.Mkfifo(p, 0o600) }, "a special file is there already"},
		{"datagram socket", func(p string) error {
			c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: p})
			if err == nil {
				t.Cleanup(func() { c.Close() })
			}
			return err
		}, "does not look like ours"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(shortDir(t), "s")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Listen(path, noLog)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("it was touched: %v", err)
			}
		})
	}
}

func TestListenPathLength(t *testing.T) {
	dir := shortDir(t)
	fill := func(n int) string { return filepath.Join(dir, strings.Repeat("x", n-len(dir)-1)) }

	// The longest path that clients can name works, although the temporary
	// name would be longer.
	path := fill(maxPath)
	_, stop := serveAt(t, path)
	if _, err := NewClient(path).Nodes(t.Context()); err != nil {
		t.Errorf("%d octets: %v", len(path), err)
	}
	stop()

	path = fill(maxPath + 1)
	_, err := Listen(path, noLog)
	if err == nil || !strings.Contains(err.Error(), "108 octets and the kernel takes 107") {
		t.Errorf("%d octets: Listen: %v", len(path), err)
	}
	_, err = NewClient(path).Nodes(t.Context())
	if err == nil || !strings.Contains(err.Error(), "108 octets and the kernel takes 107") {
		t.Errorf("%d octets: client: %v", len(path), err)
	}
}

func serveAt(t *testing.T, path string) (*Client, func()) {
	l, err := Listen(path, noLog)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(path), runServer(t, NewServer(l, newFakeNode(t), noLog))
}

func TestSafeDir(t *testing.T) {
	me := uint32(os.Geteuid())
	other := me + 1
	for _, c := range []struct {
		name      string
		uid, mode uint32
		safe      bool
	}{
		{"ours", me, 0o700, true},
		{"root's", 0, 0o755, true},
		{"ours, for a group", me, 0o775, true},
		{"shared with the sticky bit", 0, 0o777 | unix.S_ISVTX, true},
		{"shared without", 0, 0o777, false},
		{"ours, shared without", me, 0o707, false},
		{"another user's", other, 0o700, false},
		{"another user's, sticky", other, 0o777 | unix.S_ISVTX, false},
	} {
		if err := safeDir("/d", c.uid, c.mode); (err == nil) != c.safe {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// And Listen asks.
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(filepath.Join(dir, "s"), noLog); err == nil || !strings.Contains(err.Error(), "everybody may write to "+dir) {
		t.Errorf("Listen in a shared directory: %v", err)
	}
}

func TestListenThroughLinkOfOurs(t *testing.T) {
	dir := shortDir(t)
	link := filepath.Join(shortDir(t), "run")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	mustListen(t, filepath.Join(link, "s"))
	if _, err := os.Lstat(filepath.Join(dir, "s")); err != nil {
		t.Error(err)
	}
}

func TestCloseRemovesOnlyOurs(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l := mustListen(t, path)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ours is still there: %v", err)
	}

	l = mustListen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustListen(t, path) // an operator made room, a second daemon took it
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the second one's socket is gone: %v", err)
	}
	c.Close()
}

// Of many daemons that start at once over a dead socket, one gets the place and
// keeps it.
func TestListenRace(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	for range 20 {
		deadSocket(t, path)
		const racers = 8
		won := make(chan *Listener, racers)
		for range racers {
			go func() {
				l, err := Listen(path, noLog)
				if err != nil && !strings.Contains(err.Error(), "another murakumo is running") {
					t.Error(err)
				}
				won <- l
			}()
		}
		var winners []*Listener
		for range racers {
			if l := <-won; l != nil {
				winners = append(winners, l)
			}
		}
		if len(winners) != 1 {
			t.Fatalf("%d won", len(winners))
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		winners[0].Close()
	}
}

// A process that sits on the directory's lock must not stop a start for ever.
func TestListenLockedDirectory(t *testing.T) {
	dir := shortDir(t)
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, err = Listen(filepath.Join(dir, "s"), noLog)
	if err == nil || !strings.Contains(err.Error(), "another process holds the lock") {
		t.Errorf("got %v", err)
	}
}

// One connection more than allowed waits until another ends.
func TestConnectionLimit(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l := mustListen(t, path)
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	var held []net.Conn
	for range maxConns {
		dial()
		held = append(held, <-accepted)
	}
	dial()
	select {
	case <-accepted:
		t.Fatalf("connection %d was accepted", maxConns+1)
	case <-time.After(50 * time.Millisecond): // time enough to do it wrong
	}
	held[0].Close()
	held[0].Close() // a second Close frees no second place
	held = append(held[1:], <-accepted)
	if got := len(l.slots); got != maxConns {
		t.Errorf("%d places taken, want %d", got, maxConns)
	}
	// Closing the listener wakes an Accept that waits for a place.
	l.Close()
	if c, ok := <-accepted; ok {
		t.Errorf("accepted %v after Close", c)
	}
	for _, c := range held {
		c.Close()
	}
}

func TestClosedListenerRunsNothing(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l := mustListen(t, path)
	l.Close()
	err := NewServer(l, newFakeNode(t), noLog).Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}
