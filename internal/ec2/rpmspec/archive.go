package rpmspec

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	maxArchive  = 512 << 20 // octets, packed
	maxUnpacked = 2 << 30   // octets, all members
	maxMembers  = 100_000
)

// An Archive is a zip on disk that was looked through. Close it.
type Archive struct {
	File    string // its base name
	Source  string // where it is from: a path or a URL
	SHA256  string
	Top     string // its only folder at the top
	Name    string // of the package: Top before the version
	Version string
	Bin     []string // paths below Top, sorted
	Lib     []string

	path string // on disk
	temp string // folder to remove, "" if none
}

// Fetch takes an archive from a path or an http(s) URL, and looks through it.
func Fetch(ctx context.Context, source string) (*Archive, error) {
	a := &Archive{Source: source, path: source, File: filepath.Base(source)}
	if u, err := url.Parse(source); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		if a.File = path.Base(u.Path); a.File == "." || a.File == "/" {
			return nil, fmt.Errorf("%s: expected a URL that ends in a file's name", source)
		}
		if a.temp, err = os.MkdirTemp("", "murakumo-rpm-"); err != nil {
			return nil, err
		}
		a.path = filepath.Join(a.temp, "archive")
		if err := download(ctx, source, a.path); err != nil {
			a.Close()
			return nil, fmt.Errorf("%s: %w", source, err)
		}
	}
	if err := a.read(); err != nil {
		a.Close()
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return a, nil
}

// Close removes what was downloaded.
func (a *Archive) Close() error {
	if a.temp == "" {
		return nil
	}
	return os.RemoveAll(a.temp)
}

// download writes what is at a URL to a file.
func download(ctx context.Context, from, to string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	client := &http.Client{CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return errors.New("more than five redirects")
		}
		if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
			return fmt.Errorf("it leads from https to %s", r.URL)
		}
		return nil
	}}
	resp, err := client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %s", resp.Status)
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(resp.Body, maxArchive+1))
	if err := errors.Join(err, f.Close()); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	}
	if n > maxArchive {
		return fmt.Errorf("it is longer than %d MiB", maxArchive>>20)
	}
	return nil
}

// Names that a spec, a shell and a file list all take for what they are.
var (
	fileForm    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+@=,~-]*$`)
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
	versionForm = regexp.MustCompile(`^[0-9][A-Za-z0-9._+~^]*$`)
)

// read looks through the file.
func (a *Archive) read() error {
	if !fileForm.MatchString(a.File) {
		return fmt.Errorf("the archive's name %q has characters that a spec cannot have: rename it", a.File)
	}
	f, err := os.Open(a.path)
	if err != nil {
		return errors.Unwrap(err) // the path is told already
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("not a file")
	case info.Size() > maxArchive:
		return fmt.Errorf("it is longer than %d MiB", maxArchive>>20)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return err
	}
	a.SHA256 = hex.EncodeToString(hash.Sum(nil))
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return fmt.Errorf("not a zip archive: %w", err)
	}
	return a.list(z)
}

// list goes through the members.
func (a *Archive) list(z *zip.Reader) error {
	if len(z.File) > maxMembers {
		return fmt.Errorf("it has %d members, more than %d", len(z.File), maxMembers)
	}
	var left int64 = maxUnpacked
	folders, files := map[string]bool{}, map[string]bool{}
	for _, m := range z.File {
		dir, err := check(m)
		if err != nil {
			return fmt.Errorf("refused: member %q %w", m.Name, err)
		}
		name := strings.TrimSuffix(m.Name, "/")
		top, rest, below := strings.Cut(name, "/")
		switch {
		case !below && !dir:
			return fmt.Errorf("member %q lies outside of a top folder like ec2-api-tools-1.5.2.4/", m.Name)
		case a.Top != "" && a.Top != top:
			return fmt.Errorf("two top folders, %s and %s: expected one like ec2-api-tools-1.5.2.4/", a.Top, top)
		}
		a.Top = top
		if dir {
			folders[name] = true
			continue
		}
		if files[name] {
			return fmt.Errorf("refused: member %q is there twice", m.Name)
		}
		files[name] = true
		if left -= int64(m.UncompressedSize64); left < 0 || m.UncompressedSize64 > maxUnpacked {
			return fmt.Errorf("refused: it unpacks to more than %d GiB", maxUnpacked>>30)
		}
		if err := whole(m); err != nil {
			return fmt.Errorf("member %q: %w", m.Name, err)
		}
		switch kind, _, _ := strings.Cut(rest, "/"); {
		case kind == rest:
		case kind == "bin" && !strings.EqualFold(path.Ext(rest), ".cmd"):
			a.Bin = append(a.Bin, rest)
		case kind == "lib":
			a.Lib = append(a.Lib, rest)
		}
	}
	for name := range files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if files[dir] {
				return fmt.Errorf("refused: member %q is a file, and a folder of %q", dir, name)
			}
		}
		if folders[name] {
			return fmt.Errorf("refused: member %q is a file and a folder", name)
		}
	}
	slices.Sort(a.Bin)
	slices.Sort(a.Lib)
	i := strings.LastIndexByte(a.Top, '-')
	if i > 0 {
		a.Name, a.Version = a.Top[:i], a.Top[i+1:]
	}
	switch {
	case a.Top == "":
		return errors.New("it is empty")
	case i <= 0 || !nameForm.MatchString(a.Name) || !versionForm.MatchString(a.Version):
		return fmt.Errorf("its top folder is %s/: expected a name and a version like ec2-api-tools-1.5.2.4/", a.Top)
	case len(a.Bin)+len(a.Lib) == 0:
		return fmt.Errorf("%s/ has no files in bin/ and lib/", a.Top)
	}
	return nil
}

// The bits of a member's flags that say that it is encrypted: the old way, the
// strong way, and with hidden headers (APPNOTE.TXT 4.4.4).
const encrypted = 1<<0 | 1<<6 | 1<<13

// check refuses a member that could reach outside of the folder that it is
// unpacked to, or that cannot be looked into.
func check(m *zip.File) (dir bool, err error) {
	name := m.Name
	mode := m.Mode()
	dir = strings.HasSuffix(name, "/")
	switch {
	case m.Flags&encrypted != 0:
		return dir, errors.New("is encrypted")
	case mode&fs.ModeSymlink != 0:
		return dir, errors.New("is a link")
	case mode.Type() != 0 && mode.Type() != fs.ModeDir, mode.IsDir() != dir:
		return dir, fmt.Errorf("is neither a file nor a folder (%s)", mode)
	case strings.HasPrefix(name, "/"), len(name) > 1 && name[1] == ':':
		return dir, errors.New("has an absolute name")
	case strings.Contains(name, `\`):
		return dir, errors.New("has a backslash in its name")
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
		switch {
		case part == "..":
			return dir, errors.New("leads out of the archive's folder")
		case part == "" || part == ".":
			return dir, errors.New("has an empty part in its name")
		case !fileForm.MatchString(part):
			return dir, fmt.Errorf("has characters in its name that a spec cannot have (%q)", part)
		}
	}
	return dir, nil
}

// whole reads a member to its end, which compares length and checksum.
func whole(m *zip.File) error {
	r, err := m.Open()
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r, int64(m.UncompressedSize64)+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if uint64(n) != m.UncompressedSize64 {
		return fmt.Errorf("it has not the %d octets that it says", m.UncompressedSize64)
	}
	return nil
}
