package program

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// file is an entry of a world that no test could build without being several
// users.
type file struct {
	name     string
	mode     fs.FileMode
	uid, gid uint32
	to       string
}

func (f file) Name() string       { return f.name }
func (f file) Size() int64        { return 0 }
func (f file) Mode() fs.FileMode  { return f.mode }
func (f file) ModTime() time.Time { return time.Time{} }
func (f file) IsDir() bool        { return f.mode.IsDir() }
func (f file) Sys() any           { return &syscall.Stat_t{Uid: f.uid, Gid: f.gid} }

const (
	dir    = fs.ModeDir
	link   = fs.ModeSymlink | 0o777
	sticky = fs.ModeSticky
)

// world is where a program can be named well and badly. User 7 is somebody.
var world = map[string]file{
	"/":                      {mode: dir | 0o755},
	"/usr":                   {mode: dir | 0o755},
	"/usr/local":             {mode: dir | 0o775, gid: 50},
	"/usr/local/sbin":        {mode: dir | 0o775, gid: 50},
	"/usr/local/sbin/hook":   {mode: 0o755},
	"/usr/bin":               {mode: dir | 0o755},
	"/usr/bin/hook":          {mode: 0o755},
	"/usr/bin/tool":          {mode: 0o755},
	"/usr/bin/loose":         {mode: 0o777},
	"/usr/bin/group":         {mode: 0o775},
	"/usr/bin/plain":         {mode: 0o644},
	"/usr/bin/theirs":        {mode: 0o755, uid: 7},
	"/usr/bin/socket":        {mode: fs.ModeSocket | 0o755},
	"/usr/bin/alternative":   {mode: link, to: "../../etc/alternatives/tool"},
	"/bin":                   {mode: link, to: "usr/bin"},
	"/sbin":                  {mode: link, to: "/usr/bin"},
	"/etc":                   {mode: dir | 0o755},
	"/etc/alternatives":      {mode: dir | 0o755},
	"/etc/alternatives/tool": {mode: link, to: "/usr/bin/tool"},
	"/tmp":                   {mode: dir | sticky | 0o777},
	"/tmp/mine":              {mode: 0o755},
	"/tmp/theirs":            {mode: 0o755, uid: 7},
	"/tmp/link":              {mode: link, uid: 7, to: "/usr/bin/tool"},
	"/tmp/folder":            {mode: dir | 0o755, uid: 7},
	"/tmp/folder/tool":       {mode: 0o755},
	"/srv":                   {mode: dir | 0o755},
	"/srv/open":              {mode: dir | 0o757},
	"/srv/open/deep":         {mode: dir | 0o755},
	"/srv/open/deep/tool":    {mode: 0o755},
	"/srv/opensticky":        {mode: dir | sticky | 0o777},
	"/srv/opensticky/tool":   {mode: 0o755},
	"/srv/link":              {mode: link, to: "open/deep/tool"},
	"/srv/rootgroup":         {mode: dir | 0o775},
	"/srv/rootgroup/tool":    {mode: 0o755},
	"/srv/loop":              {mode: link, to: "loop"},
	"/srv/nowhere":           {mode: link, to: "gone"},
}

func rules() Rules {
	return Rules{
		Lstat: func(name string) (fs.FileInfo, error) {
			f, ok := world[name]
			if !ok {
				return nil, &fs.PathError{Op: "lstat", Path: name, Err: syscall.ENOENT}
			}
			return f, nil
		},
		Readlink: func(name string) (string, error) { return world[name].to, nil },
	}
}

func TestFind(t *testing.T) {
	for _, tc := range []struct {
		word, path string
		unsafe     bool
		why        string // in the error; "" for none
	}{
		{"hook", "/usr/local/sbin/hook", false, ""}, // the first of two
		{"tool", "/usr/bin/tool", false, ""},
		{"/usr/bin/tool", "/usr/bin/tool", false, ""},
		{"/bin/tool", "/bin/tool", false, ""},
		{"/usr//bin/./../bin/tool", "/usr//bin/./../bin/tool", false, ""},
		{"/usr/bin/alternative", "/usr/bin/alternative", false, ""},
		{"/tmp/mine", "/tmp/mine", false, ""},
		{"/srv/opensticky/tool", "/srv/opensticky/tool", false, ""},
		{"/srv/rootgroup/tool", "/srv/rootgroup/tool", false, ""},

		{"none", "", false, `"none": no such program in /usr/local/sbin:`},
		{"plain", "", false, "no such program"},
		{"", "", false, "no such program"}, // the folders themselves are none
		{"./tool", "", false, "write all of it"},
		{"bin/tool", "", false, "write all of it"},
		{"/usr/bin/none", "", false, `"/usr/bin/none": no such file or directory`},
		{"/usr/bin/tool/x", "", false, "not a directory"},
		{"/usr/bin", "", false, "is a directory"},
		{"/", "", false, "is a directory"},
		{"/usr/bin/socket", "", false, "is no regular file"},
		{"/usr/bin/plain", "", false, "is not executable (mode 0644): chmod +x /usr/bin/plain"},
		{"/srv/loop", "", false, "too many levels of symbolic links"},
		{"/srv/nowhere", "", false, "no such file"},

		{"loose", "", true, `"/usr/bin/loose" is writable by others (mode 0777), who could run anything through it: chmod go-w /usr/bin/loose`},
		{"/bin/loose", "", true, "is writable by others"},
		{"group", "", true, "is writable by its group (mode 0775)"},
		{"theirs", "", true, `"/usr/bin/theirs" belongs to user 7, who could change it: chown root /usr/bin/theirs`},
		{"/tmp/theirs", "", true, "belongs to user 7"},
		{"/tmp/link", "", true, `"/tmp/link" belongs to user 7`},
		{"/tmp/folder/tool", "", true, `"/tmp/folder/tool": /tmp/folder belongs to user 7, who could put something else in its place: chown -h root /tmp/folder`},
		{"/srv/open/deep/tool", "", true, `"/srv/open/deep/tool": the folder /srv/open is writable by others (mode 0757), who could put something else in its place: chmod o-w /srv/open`},
		{"/srv/open/deep/../deep/tool", "", true, "the folder /srv/open is writable by others"},
		{"/srv/link", "", true, "the folder /srv/open is writable by others"},
	} {
		path, err := rules().Find(tc.word)
		if tc.why == "" {
			if err != nil || path != tc.path {
				t.Errorf("%s: %q, %v, want %q", tc.word, path, err, tc.path)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%s: %v, want …%s…", tc.word, err, tc.why)
		}
		if _, unsafe := errors.AsType[*UnsafeError](err); unsafe != tc.unsafe {
			t.Errorf("%s: unsafe %t, want %t: %v", tc.word, unsafe, tc.unsafe, err)
		}
	}
}

// TestDoubts: what some may want to hear and not to be refused.
func TestDoubts(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		var heard []string
		r := rules()
		r.Doubt = func(d Doubt, why string) bool {
			heard = append(heard, map[Doubt]string{ForeignOwner: "owner: ", GroupFolder: "group: "}[d]+why)
			return refuse
		}
		for file, want := range map[string]string{
			"/usr/local/sbin/hook": "group: the folder /usr/local is writable by its group (mode 0775)",
			"/usr/bin/theirs":      "owner: belongs to user 7",
			"/tmp/folder/tool":     "owner: /tmp/folder belongs to user 7",
		} {
			heard = nil
			err := r.Check(file)
			if (err != nil) != refuse {
				t.Errorf("%s: %v, want it refused: %t", file, err, refuse)
			}
			if len(heard) == 0 || !strings.HasPrefix(heard[0], want) {
				t.Errorf("%s: heard %q, want %q", file, heard, want)
			}
		}
	}
}

// TestRealFiles: the file system as it is.
func TestRealFiles(t *testing.T) {
	base := t.TempDir()
	tool := filepath.Join(base, "tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("tool", filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{tool, filepath.Join(base, "link")} {
		if path, err := Find(file); err != nil || path != file {
			t.Errorf("%q, %v", path, err)
		}
	}
	if path, err := Find("sh"); err != nil || !strings.HasSuffix(path, "/sh") {
		t.Errorf("sh: %q, %v", path, err)
	}
	if err := os.Chmod(base, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Check(filepath.Join(base, "link")); err == nil || !strings.Contains(err.Error(), "writable by others") {
		t.Errorf("in a folder that all can write: %v", err)
	}
	if os.Geteuid() != 0 {
		return // only root can give files away
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(filepath.Join(base, "link"), 7, 7); err != nil {
		t.Fatal(err)
	}
	if err := Check(filepath.Join(base, "link")); err == nil || !strings.Contains(err.Error(), "belongs to user 7") {
		t.Errorf("by a link of another user: %v", err)
	}
}
