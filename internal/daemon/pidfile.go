package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// RunningError says that the pid file belongs to a living daemon.
type RunningError struct {
	Path string
	PID  int // 0 when it is in another pid namespace
}

// Error says what to do.
func (e *RunningError) Error() string {
	who := fmt.Sprintf("pid %d", e.PID)
	if e.PID == 0 {
		who = "a process of another container"
	}
	return fmt.Sprintf("another murakumo is running: %s holds %s; stop it first, or give this one a working-dir of its own", who, e.Path)
}

// PIDFile is the pid file of this process.
type PIDFile struct {
	path string
	file *os.File
}

// Take makes the pid file at path, with the folder around it where that is
// missing, and locks it for as long as this process lives. A file that nobody
// holds is replaced; one that a living process holds gives a *RunningError.
//
// Only the file's owner and root may read it: whoever can read a file can lock
// it against us.
func Take(path string) (*PIDFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("pid file %s: make its folder: %w", path, err)
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, fmt.Errorf("pid file: %w", err)
		}
		p, err := lock(path, f)
		if p == nil {
			f.Close()
		}
		if p != nil || err != nil {
			return p, err
		}
		// Between open and lock its owner removed it: nobody would find us by
		// this one.
	}
}

// lock gives nil and no error for a file that is not at its path any more.
func lock(path string, f *os.File) (*PIDFile, error) {
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("pid file %s: it is no regular file: move it away", path)
	}
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &whole)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		pid, err := holder(f)
		if err == nil && pid == nobody {
			err = errors.New("somebody has it locked who is no murakumo (fuser -v shows who)")
		}
		if err != nil {
			return nil, fmt.Errorf("pid file %s: %w", path, err)
		}
		return nil, &RunningError{path, pid}
	}
	if err != nil {
		return nil, fmt.Errorf("lock pid file %s: %w", path, err)
	}
	if !same(path, f) {
		return nil, nil
	}
	err = f.Chmod(0o600)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		return nil, fmt.Errorf("write pid file: %w", err)
	}
	return &PIDFile{path, f}, nil
}

// same says whether the file is still at its path.
func same(path string, f *os.File) bool {
	open, err := f.Stat()
	there, err2 := os.Lstat(path)
	return err == nil && err2 == nil && os.SameFile(open, there)
}

// Remove takes the file away and gives up the lock. It is the last that a daemon
// does.
func (p *PIDFile) Remove() error {
	var err error
	if same(p.path, p.file) {
		err = os.Remove(p.path)
	}
	if err = errors.Join(err, p.file.Close()); err != nil {
		return fmt.Errorf("remove pid file: %w", err)
	}
	return nil
}

// nobody is the pid of the holder where there is none.
const nobody = -1

// Find gives the process that holds the pid file; ok is false when there is
// none, and so no daemon. The pid is 0 when it is in another pid namespace.
func Find(path string) (pid int, ok bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("pid file: %w", err)
	}
	defer f.Close()
	pid, err = holder(f)
	if err != nil {
		return 0, false, fmt.Errorf("pid file %s: %w", path, err)
	}
	if pid == nobody {
		return 0, false, nil
	}
	return pid, true, nil
}

// holder asks the kernel who holds the lock for writing. Locks for reading are
// nobody's that counts.
func holder(f *os.File) (int, error) {
	read := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &read); err != nil {
		return 0, fmt.Errorf("ask who holds it: %w", err)
	}
	if read.Type == unix.F_UNLCK {
		return nobody, nil
	}
	return max(0, int(read.Pid)), nil
}
