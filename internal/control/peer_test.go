package control

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPeerOf(t *testing.T) {
	l := mustListen(t, filepath.Join(shortDir(t), "s"))
	go func() {
		if c, err := net.Dial("unix", l.Path()); err == nil {
			defer c.Close()
			io.Copy(io.Discard, c)
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if cred := c.(*conn).cred; cred.Uid != uint32(os.Getuid()) || cred.Pid != int32(os.Getpid()) {
		t.Errorf("got %+v", cred)
	}
}

// Whoever is neither root nor us gets nothing, even where the socket's mode
// would let them in.
func TestOtherUsersAreCutOff(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l := mustListen(t, path)
	stranger := uint32(os.Geteuid()) + 4711
	l.peer = func(c *net.UnixConn) (*unix.Ucred, error) {
		cred, err := peerOf(c)
		cred.Uid = stranger
		return cred, err
	}
	runServer(t, NewServer(l, newFakeNode(t), noLog))
	_, err := NewClient(path).Nodes(t.Context())
	if err == nil || !strings.Contains(err.Error(), "hung up") {
		t.Errorf("another user: got %v", err)
	}
}

func TestUnknownPeerIsCutOff(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l := mustListen(t, path)
	l.peer = func(*net.UnixConn) (*unix.Ucred, error) { return nil, errors.New("no idea") }
	runServer(t, NewServer(l, newFakeNode(t), noLog))
	if _, err := NewClient(path).Nodes(t.Context()); err == nil || !strings.Contains(err.Error(), "hung up") {
		t.Errorf("got %v", err)
	}
}

// The same with a real other user, which takes root to become. (The test above
// covers the decision where we are not root.)
func TestRealOtherUserIsCutOff(t *testing.T) {
	needRoot(t)
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	serveAt(t, path)
	// Everything that file modes could do against it is taken away.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		// Credentials are the thread's, and so is the raw call. The thread is
		// never unlocked and ends with the goroutine.
		runtime.LockOSThread()
		const nobody = 65534
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			got <- errno
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		if err == nil {
			_, err = unix.Write(fd, []byte("GET /v1/records HTTP/1.1\r\nHost: m\r\n\r\n"))
		}
		if err == nil || errors.Is(err, unix.EPIPE) {
			var n int
			n, err = unix.Read(fd, make([]byte, 1))
			if n > 0 {
				err = errors.New("it was answered")
			} else if n == 0 {
				err = io.EOF
			}
		}
		got <- err
	}()
	select {
	case err := <-got:
		if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("got %v, want the connection closed", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("still connected")
	}
}

// needRoot skips what takes another user, but not where CI promised root.
func needRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("needs root: another user takes part")
	default:
		t.Skip("needs root: another user takes part")
	}
}

// What another user left or made is refused and left alone: their dead socket,
// and a directory that they own or linked to.
func TestListenRefusesOtherUsersThings(t *testing.T) {
	needRoot(t)
	const nobody = 65534
	for _, c := range []struct {
		name string
		make func(dir string) (path string, err error)
		want string
	}{
		{"dead socket", func(dir string) (string, error) {
			deadSocket(t, filepath.Join(dir, "s"))
			return filepath.Join(dir, "s"), os.Lchown(filepath.Join(dir, "s"), nobody, nobody)
		}, "a dead socket of user 65534 is there"},
		{"link to a directory of root", func(dir string) (string, error) {
			if err := os.Symlink(shortDir(t), filepath.Join(dir, "run")); err != nil {
				return "", err
			}
			return filepath.Join(dir, "run", "s"), os.Lchown(filepath.Join(dir, "run"), nobody, nobody)
		}, "its directory is a link made by user 65534"},
		{"directory", func(dir string) (string, error) {
			return filepath.Join(dir, "s"), os.Chown(dir, nobody, nobody)
		}, "belongs to user 65534, who could replace the socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, err := c.make(shortDir(t))
			if err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			if _, err := Listen(path, noLog); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			after, _ := os.Lstat(path)
			if (before == nil) != (after == nil) || before != nil && !os.SameFile(before, after) {
				t.Error("it was touched")
			}
		})
	}
}
