package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// Path is where a program without a slash is looked up, and the PATH that it
// gets: what an administrator's shell has, whatever started the daemon.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maxLinks is how many symbolic links lead to a program at most, as in Linux.
const maxLinks = 40

// UnsafeError refuses a program that others could change, or put another in the
// place of.
type UnsafeError struct {
	Program string // as it was named
	Why     string // which file or folder, who, and what to do
}

func (e *UnsafeError) Error() string {
	if strings.HasPrefix(e.Why, "is ") || strings.HasPrefix(e.Why, "belongs ") {
		return fmt.Sprintf("%q %s", e.Program, e.Why)
	}
	return fmt.Sprintf("%q: %s", e.Program, e.Why)
}

// Rules look at programs. The zero value asks the file system, and trusts root
// and the user of this process.
type Rules struct {
	// Lstat and Readlink are those of package os when they are nil. What they
	// know of owners and groups stands in a *syscall.Stat_t; without one root
	// owns everything.
	Lstat    func(string) (fs.FileInfo, error)
	Readlink func(string) (string, error)
	// Doubt is asked in place of refusing, where the reason is one that
	// depends on who runs the daemon, or that many systems are set up with: an
	// owner besides root, a folder that its group can write. It returns
	// whether to refuse. Nil refuses owners and lets groups of folders pass.
	Doubt func(d Doubt, why string) bool
}

// Doubt is a kind of reason.
type Doubt uint8

// The doubts.
const (
	ForeignOwner Doubt = iota + 1 // a file or folder of another user
	GroupFolder                   // a folder that its group can write, not root's
)

// Find looks a program up that is named by its full path or by a word without a
// slash, and checks it.
func Find(word string) (string, error) { return Rules{}.Find(word) }

// Check says why a program, named by its full path, cannot be run or must not
// be; nil if it may.
func Check(file string) error { return Rules{}.Check(file) }

// Find is [Find] by these rules.
func (r Rules) Find(word string) (string, error) {
	if strings.Contains(word, "/") {
		if !path.IsAbs(word) {
			return "", fmt.Errorf("%q: a relative path depends on where the daemon is started: write all of it", word)
		}
		return word, r.Check(word)
	}
	for dir := range strings.SplitSeq(Path, ":") {
		file := path.Join(dir, word)
		err := r.Check(file)
		if _, unsafe := errors.AsType[*UnsafeError](err); err == nil || unsafe {
			return file, err
		}
	}
	return "", fmt.Errorf("%q: no such program in %s", word, Path)
}

// Check is [Check] by these rules.
func (r Rules) Check(file string) error {
	if r.Lstat == nil {
		r.Lstat = os.Lstat
	}
	if r.Readlink == nil {
		r.Readlink = os.Readlink
	}
	if r.Doubt == nil {
		r.Doubt = func(d Doubt, _ string) bool { return d == ForeignOwner }
	}
	info, err := r.walk(file)
	if err != nil {
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			err = p.Err
		}
		if _, unsafe := errors.AsType[*UnsafeError](err); unsafe {
			return err
		}
		return fmt.Errorf("%q: %w", file, err)
	}
	perm := info.Mode().Perm()
	unsafe := func(who string) error {
		return &UnsafeError{file, fmt.Sprintf("is writable by %s (mode %04o), who could run anything through it: chmod go-w %s", who, perm, file)}
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%q is a directory, expected a program", file)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%q is no regular file, expected a program", file)
	case perm&0o111 == 0:
		return fmt.Errorf("%q is not executable (mode %04o): chmod +x %s", file, perm, file)
	case perm&0o002 != 0:
		return unsafe("others")
	case perm&0o020 != 0:
		return unsafe("its group")
	}
	return r.owner(file, file, info)
}

// walk follows a path from the root to what it names, and refuses it when
// others could make it lead elsewhere.
func (r Rules) walk(file string) (fs.FileInfo, error) {
	const root = "/"
	at, rest := root, strings.Split(file, "/")
	info, err := r.Lstat(root)
	if err != nil {
		return nil, err
	}
	if err := r.folder(file, root, info); err != nil {
		return nil, err
	}
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at) // of a real path: links are resolved by now
			continue
		}
		next := path.Join(at, name)
		if info, err = r.Lstat(next); err != nil {
			return nil, err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return nil, syscall.ELOOP
			}
			// The link of another in a folder such as /tmp.
			if err := r.owner(file, next, info); err != nil {
				return nil, err
			}
			to, err := r.Readlink(next)
			if err != nil {
				return nil, err
			}
			if path.IsAbs(to) {
				at = root
			}
			rest = append(strings.Split(to, "/"), rest...)
		case info.IsDir():
			if err := r.folder(file, next, info); err != nil {
				return nil, err
			}
			at = next
		case len(rest) > 0:
			return nil, syscall.ENOTDIR
		}
	}
	return info, nil
}

// folder refuses one in which others could put another file in a program's
// place. Where the sticky bit is set they cannot.
func (r Rules) folder(file, dir string, info fs.FileInfo) error {
	perm := info.Mode().Perm()
	writable := func(who, mend string) string {
		return fmt.Sprintf("the folder %s is writable by %s (mode %04o), who could put something else in its place: chmod %s %s", dir, who, perm, mend, dir)
	}
	switch sticky := info.Mode()&fs.ModeSticky != 0; {
	case sticky:
	case perm&0o002 != 0:
		return &UnsafeError{file, writable("others", "o-w")}
	case perm&0o020 != 0 && group(info) != 0:
		if why := writable("its group", "g-w"); r.Doubt(GroupFolder, why) {
			return &UnsafeError{file, why}
		}
	}
	return r.owner(file, dir, info)
}

// owner refuses what belongs to somebody besides root and this process's user:
// its owner can change it, whatever its mode.
func (r Rules) owner(file, what string, info fs.FileInfo) error {
	uid := uint32(0)
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		uid = sys.Uid
	}
	if uid == 0 || int(uid) == os.Geteuid() {
		return nil
	}
	why := fmt.Sprintf("belongs to user %d, who could change it: chown root %s", uid, what)
	if what != file {
		why = fmt.Sprintf("%s belongs to user %d, who could put something else in its place: chown -h root %s", what, uid, what)
	}
	if r.Doubt(ForeignOwner, why) {
		return &UnsafeError{file, why}
	}
	return nil
}

func group(info fs.FileInfo) uint32 {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return sys.Gid
	}
	return 0
}
