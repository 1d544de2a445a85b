package control

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxPath is what fits into sun_path of unix(7) with its closing zero.
	maxPath = 107
	// maxConns is R-34's figure. One more waits in the kernel's backlog until
	// another ends: a runaway script must not eat the descriptors that DNS and
	// hooks need.
	maxConns = 64
	// lockPatience is how long a start waits for another one that is busy with
	// the same directory; that takes milliseconds.
	lockPatience = 2 * time.Second
)

var errRunning = errors.New("another murakumo is running")

// Listener is the control socket. Accept gives only connections whose peer is
// root or this process's own user, and at most 64 at once.
type Listener struct {
	path string // as given, for messages
	name string // within dir
	dir  *os.File
	ln   *net.UnixListener
	self unix.Stat_t // the socket's own device and inode
	log  *slog.Logger

	// peer asks the kernel who is at the other end; tests replace it.
	peer func(*net.UnixConn) (*unix.Ucred, error)

	slots chan struct{} // one token per open connection
	done  chan struct{}
	close sync.Once
	err   error // of the first Close

	refused time.Time // when a refusal was last logged; Accept's caller is one
}

// Listen makes the control socket at path, with mode 0600, and its directory,
// with mode 0700, if that is missing. A dead socket of our own is replaced.
// Anything else that is there (a living socket, a file, a link, a directory,
// another user's socket) is left alone and refused with a sentence, as is a
// directory whose contents somebody else could replace.
//
// The caller closes the Listener, or gives it to a Server whose Run does.
func Listen(path string, log *slog.Logger) (*Listener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("control socket %s: the path has %d octets and the kernel takes %d; choose a shorter one with -S or `socket:`", path, len(path), maxPath)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	dir, err := openDir(filepath.Dir(abs))
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	l := &Listener{
		path: path, name: filepath.Base(abs), dir: dir, log: log, peer: peerOf,
		slots: make(chan struct{}, maxConns), done: make(chan struct{}),
	}
	if err := l.bind(); err != nil {
		dir.Close()
		if errors.Is(err, errRunning) {
			return nil, fmt.Errorf("%w on %s", err, path)
		}
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	return l, nil
}

// openDir makes the directory if it is missing, opens it and refuses one that is
// not safe. All that follows is relative to the open directory, so whoever
// exchanges it under its name gains nothing.
func openDir(path string) (*os.File, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make its directory: %w", err)
	}
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		// A link in a shared folder may be anybody's. Those of the system
		// (/var/run) and our own are fine.
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return nil, fmt.Errorf("look at its directory: %w", err)
		}
		if !trusted(st.Uid) {
			return nil, fmt.Errorf("its directory is a link made by user %d; give the real path", st.Uid)
		}
		dir, err = os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open its directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		dir.Close()
		return nil, fmt.Errorf("look at its directory: %w", err)
	}
	if err := safeDir(path, st.Uid, st.Mode); err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// safeDir says why somebody else could put another socket in place of ours, or
// nil. Writing by the group is the administrator's choice.
func safeDir(path string, uid, mode uint32) error {
	if !trusted(uid) {
		return fmt.Errorf("%s belongs to user %d, who could replace the socket; choose a directory of root or of this user", path, uid)
	}
	if mode&unix.S_IWOTH != 0 && mode&unix.S_ISVTX == 0 {
		return fmt.Errorf("everybody may write to %s and replace the socket; take that away (chmod o-w) or choose another directory", path)
	}
	return nil
}

// trusted: root can do everything anyhow, and so can we.
func trusted(uid uint32) bool { return uid == 0 || uid == uint32(os.Geteuid()) }

// bind puts the socket in its place. It holds the directory's lock, so that two
// starting daemons that see the same dead socket do not remove each other's.
func (l *Listener) bind() error {
	unlock, err := lockDir(l.dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.clear(); err != nil {
		return err
	}

	// The mode of a socket can only be set after bind made it. So it is made in
	// a directory that nobody else can enter, and linked to its name when it
	// is as it should be; unlike rename, link never replaces anything.
	fd := int(l.dir.Fd())
	tmp, err := privateDir(fd)
	if err != nil {
		return err
	}
	defer unix.Unlinkat(fd, tmp, unix.AT_REMOVEDIR)
	inner := tmp + "/s"
	l.ln, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: l.at(inner)})
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	l.ln.SetUnlinkOnClose(false) // Close knows better what is ours
	defer unix.Unlinkat(fd, inner, 0)
	if err := l.expose(fd, inner); err != nil {
		l.ln.Close()
		return err
	}
	return nil
}

// privateDir makes a directory within fd that only we can enter.
func privateDir(fd int) (name string, err error) {
	var random [6]byte
	rand.Read(random[:])
	name = ".murakumo-" + hex.EncodeToString(random[:])
	if err := unix.Mkdirat(fd, name, 0o700); err != nil {
		return "", fmt.Errorf("write to its directory: %w", err)
	}
	return name, nil
}

func (l *Listener) expose(fd int, inner string) error {
	if err := unix.Fchmodat(fd, inner, 0o600, 0); err != nil {
		return fmt.Errorf("set its mode: %w", err)
	}
	if err := unix.Fstatat(fd, inner, &l.self, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("look at the new socket: %w", err)
	}
	if err := unix.Linkat(fd, inner, fd, l.name, 0); err != nil {
		return fmt.Errorf("put it in its place: %w", err)
	}
	return nil
}

// at names a file of the open directory for calls that know only paths. It is
// short whatever the directory's own length, so the temporary name always fits.
func (l *Listener) at(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", l.dir.Fd(), name)
}

// clear removes a dead socket of ours from the place, and says why not if
// anything else is there.
func (l *Listener) clear() error {
	fd := int(l.dir.Fd())
	var st unix.Stat_t
	err := unix.Fstatat(fd, l.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at what is there: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("a %s is there already; move it away or choose another path with -S or `socket:`", typeName(st.Mode))
	}
	conn, err := net.DialTimeout("unix", l.at(l.name), time.Second)
	if err == nil {
		conn.Close()
	}
	switch {
	case err == nil, errors.Is(err, unix.EAGAIN): // EAGAIN: its backlog is full
		return errRunning
	case errors.Is(err, fs.ErrNotExist):
		return nil // it ended just now
	case !errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("a socket is there that does not look like ours: %w; move it away or choose another path with -S or `socket:`", err)
	case st.Uid != uint32(os.Geteuid()):
		return fmt.Errorf("a dead socket of user %d is there; remove it or choose another path with -S or `socket:`", st.Uid)
	}
	if err := unix.Unlinkat(fd, l.name, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the dead socket: %w", err)
	}
	l.log.Info("replaced a dead control socket", "path", l.path)
	return nil
}

func typeName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFDIR:
		return "directory"
	}
	return "special file"
}

// lockDir takes the advisory lock of a directory. Waiting for it has an end:
// in a shared folder anybody may hold it for ever.
func lockDir(dir *os.File) (unlock func(), err error) {
	fd := int(dir.Fd())
	patience := time.NewTimer(lockPatience)
	defer patience.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { unix.Flock(fd, unix.LOCK_UN) }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("lock its directory: %w", err)
		}
		select {
		case <-patience.C:
			return nil, fmt.Errorf("another process holds the lock of its directory for over %v (fuser -v shows which)", lockPatience)
		case <-again.C:
		}
	}
}

// Path gives the path as Listen got it.
func (l *Listener) Path() string { return l.path }

// Addr gives the path as a net.Addr.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: l.path} }

// Accept waits for the next connection of root or of our own user.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.ln.AcceptUnix()
		if err != nil {
			<-l.slots
			return nil, err
		}
		cred, err := l.peer(c)
		if err == nil && trusted(cred.Uid) {
			return &conn{UnixConn: c, cred: *cred, release: sync.OnceFunc(func() { <-l.slots })}, nil
		}
		c.Close()
		l.refuse(cred, err)
	}
}

// refuse logs at most one line a second.
func (l *Listener) refuse(cred *unix.Ucred, err error) {
	if now := time.Now(); now.Sub(l.refused) >= time.Second {
		l.refused = now
		if err != nil {
			l.log.Warn("control connection refused: cannot tell who it is", "error", err)
			return
		}
		l.log.Warn("control connection refused: neither root nor our own user", "uid", cred.Uid, "pid", cred.Pid)
	}
}

// Close ends the listener and removes the socket if what is at its path is still
// ours. A second Close does nothing.
func (l *Listener) Close() error {
	l.close.Do(func() {
		close(l.done)
		// Remove first: while the socket is open nobody else can get its inode
		// number, so the comparison cannot be fooled.
		l.err = errors.Join(l.remove(), l.ln.Close(), l.dir.Close())
	})
	return l.err
}

func (l *Listener) remove() error {
	unlock, err := lockDir(l.dir)
	if err != nil {
		return fmt.Errorf("control socket %s: %w", l.path, err)
	}
	defer unlock()
	fd := int(l.dir.Fd())
	var st unix.Stat_t
	err = unix.Fstatat(fd, l.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && (st.Dev != l.self.Dev || st.Ino != l.self.Ino) {
		return nil
	}
	if err == nil {
		err = unix.Unlinkat(fd, l.name, 0)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove control socket %s: %w", l.path, err)
	}
	return nil
}

// conn is a connection with its peer; closing it frees its place.
type conn struct {
	*net.UnixConn
	cred    unix.Ucred
	release func()
}

func (c *conn) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}

func peerOf(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var sockErr error
	if err := raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, sockErr
}
