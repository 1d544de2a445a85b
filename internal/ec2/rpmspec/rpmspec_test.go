package rpmspec

import (
	"archive/zip"
	"bytes"
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A member of a test's archive.
type member struct {
	name, body string
	mode       fs.FileMode // 0644, 0755|ModeDir for names with a slash at the end, unless given
	flags      uint16
}

// archive writes a zip of these members.
func archive(t *testing.T, name string, members ...member) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate, Flags: m.flags}
		mode := m.mode
		switch {
		case mode != 0:
		case strings.HasSuffix(m.name, "/"):
			mode = 0o755 | fs.ModeDir
			h.Method = zip.Store
		default:
			mode = 0o644
		}
		h.SetMode(mode)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tools is an archive as the vendor of ec2-api-tools packs them.
var tools = []member{
	{name: "ec2-api-tools-1.5.2.4/"},
	{name: "ec2-api-tools-1.5.2.4/license.txt", body: "Amazon Software License"},
	{name: "ec2-api-tools-1.5.2.4/bin/"},
	{name: "ec2-api-tools-1.5.2.4/bin/ec2-cmd", body: "#!/usr/bin/env bash\necho cmd\n"},
	{name: "ec2-api-tools-1.5.2.4/bin/ec2-cmd.cmd", body: "@echo off\r\n"},
	{name: "ec2-api-tools-1.5.2.4/bin/ec2din.CMD", body: "@echo off\r\n"},
	{name: "ec2-api-tools-1.5.2.4/bin/ec2din", body: "#!/usr/bin/env bash\necho din\n"},
	{name: "ec2-api-tools-1.5.2.4/lib/"},
	{name: "ec2-api-tools-1.5.2.4/lib/ec2-api-tools.jar", body: "PK not really", mode: 0o755},
	{name: "ec2-api-tools-1.5.2.4/lib/xml/a_b+c.jar", body: "jar"},
}

func TestSpecText(t *testing.T) {
	a, err := Fetch(t.Context(), archive(t, "ec2-api-tools.zip", tools...))
	if err != nil {
		t.Fatal(err)
	}
	if a.Name != "ec2-api-tools" || a.Version != "1.5.2.4" {
		t.Errorf("name %q version %q", a.Name, a.Version)
	}
	a.Source = "/srv/100%/ec2-api-tools.zip"
	s, err := New(a, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/ec2-api-tools.spec")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Text(); got != strings.Replace(string(want), "SHA256", a.SHA256, 1) {
		t.Errorf("another spec:\n%s", got)
	}

	s, err = New(a, Options{Prefix: "/opt/ec2", Summary: "100% Tools", License: "Own", Release: "2.el9", Requires: []string{"java >= 1:11", "bash"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Release: 2.el9", "Summary: 100%% Tools", "License: Own", "Requires: java >= 1:11", "Requires: bash",
		"install -D -p -m 755 bin/ec2din %{buildroot}/opt/ec2/bin/ec2din", "%attr(644,root,root) /opt/ec2/lib/xml/a_b+c.jar"} {
		if !strings.Contains(s.Text(), "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, s.Text())
		}
	}
	if s.RPM() != "ec2-api-tools-1.5.2.4-2.el9.noarch.rpm" {
		t.Error(s.RPM())
	}
	for _, bad := range []Options{{Prefix: "usr"}, {Prefix: "/usr/../etc"}, {Prefix: "/usr/%x"}, {Summary: "two\nlines"}, {License: "a\x00b"}, {Release: "x y"}, {Requires: []string{" "}}} {
		if _, err := New(a, bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

// The licence of what we do not know has to be told.
func TestLicence(t *testing.T) {
	a, err := Fetch(t.Context(), archive(t, "x.zip", member{name: "x-1/bin/x", body: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(a, Options{}); err == nil || !strings.Contains(err.Error(), "give --license") {
		t.Error(err)
	}
	if s, err := New(a, Options{License: "MIT"}); err != nil || s.Summary != "x, as its vendor packed it" {
		t.Error(err)
	}
}

// Whatever could write elsewhere, or cannot be looked into, is refused.
func TestRefused(t *testing.T) {
	ok := member{name: "x-1/bin/x", body: "x"}
	for _, c := range []struct {
		name    string
		members []member
		say     string
	}{
		{"zip slip", []member{ok, {name: "x-1/bin/../../../etc/passwd"}}, `refused: member "x-1/bin/../../../etc/passwd" leads out of the archive's folder`},
		{"zip slip at the top", []member{{name: "../x-1/bin/x"}}, "leads out"},
		{"zip slip of a folder", []member{ok, {name: "x-1/../../"}}, "leads out"},
		{"absolute", []member{ok, {name: "/etc/passwd"}}, "has an absolute name"},
		{"drive", []member{ok, {name: "C:/x"}}, "has an absolute name"},
		{"backslash", []member{ok, {name: `x-1\..\..\x`}}, "has a backslash"},
		{"symbolic link", []member{ok, {name: "x-1/bin/y", body: "/etc/passwd", mode: fs.ModeSymlink | 0o777}}, "is a link"},
		{"device", []member{ok, {name: "x-1/bin/y", mode: fs.ModeDevice | 0o644}}, "is neither a file nor a folder"},
		{"pipe", []member{ok, {name: "x-1/bin/y", mode: fs.ModeNamedPipe | 0o644}}, "is neither a file nor a folder"},
		{"folder without a slash", []member{ok, {name: "x-1/bin/y", mode: fs.ModeDir | 0o755}}, "is neither a file nor a folder"},
		{"encrypted", []member{ok, {name: "x-1/bin/y", flags: 1}}, "is encrypted"},
		{"strongly encrypted", []member{ok, {name: "x-1/bin/y", flags: 1 << 6}}, "is encrypted"},
		{"twice", []member{ok, ok}, "is there twice"},
		{"file and folder", []member{ok, {name: "x-1/bin/x/y", body: "y"}}, `is a file, and a folder of "x-1/bin/x/y"`},
		{"file and empty folder", []member{ok, {name: "x-1/bin/x/"}}, "is a file and a folder"},
		{"dot", []member{ok, {name: "x-1/./y"}}, "has an empty part"},
		{"two slashes", []member{ok, {name: "x-1//y"}}, "has an empty part"},
		{"macro", []member{ok, {name: "x-1/bin/%{lua:os.execute('id')}"}}, "has characters in its name"},
		{"shell", []member{ok, {name: "x-1/bin/$(id)"}}, "has characters in its name"},
		{"line feed", []member{ok, {name: "x-1/bin/a\n%post"}}, "has characters in its name"},
		{"option", []member{ok, {name: "x-1/bin/-rf"}}, "has characters in its name"},
		{"top folder is a macro", []member{{name: "%{x}-1/bin/x"}}, "has characters in its name"},
		{"no top folder", []member{{name: "x"}}, "lies outside of a top folder"},
		{"two top folders", []member{ok, {name: "y-1/bin/y"}}, "two top folders, x-1 and y-1"},
		{"no version", []member{{name: "tools/bin/x"}}, "its top folder is tools/"},
		{"version without a digit", []member{{name: "x-beta/bin/x"}}, "its top folder is x-beta/"},
		{"nothing to install", []member{{name: "x-1/README"}, {name: "x-1/bin/x.cmd"}}, "has no files in bin/ and lib/"},
		{"empty", nil, "it is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Fetch(t.Context(), archive(t, "x.zip", c.members...)); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("got %v, want …%s…", err, c.say)
			}
		})
	}
}

func TestBadArchives(t *testing.T) {
	good, err := os.ReadFile(archive(t, "x.zip", member{name: "x-1/bin/x", body: strings.Repeat("some text ", 100)}))
	if err != nil {
		t.Fatal(err)
	}
	spoiled := bytes.Clone(good)
	spoiled[len("x-1/bin/x")+30+20] ^= 0xff // in the packed data
	for name, b := range map[string][]byte{"spoiled": spoiled, "cut": good[:len(good)/2], "no zip": []byte("hello"), "empty": nil} {
		path := filepath.Join(t.TempDir(), "x.zip")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Fetch(t.Context(), path); err == nil {
			t.Errorf("%s is accepted", name)
		} else {
			t.Log(err)
		}
	}
	for _, path := range []string{t.TempDir(), "/nowhere/x.zip", "/dev/zero"} {
		if _, err := Fetch(t.Context(), path); err == nil || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// FuzzArchive: no archive makes it crash, and what is accepted is safe to write
// into a spec.
func FuzzArchive(f *testing.F) {
	for _, ms := range [][]member{tools, {{name: "x-1/bin/x", body: "x"}}, {{name: "../x"}}} {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, m := range ms {
			w, _ := z.Create(m.name)
			w.Write([]byte(m.body))
		}
		z.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		a := &Archive{File: "x.zip"}
		if a.list(z) != nil {
			return
		}
		s, err := New(a, Options{License: "x"})
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range s.Files() {
			if !strings.HasPrefix(file, "/usr/bin/") && !strings.HasPrefix(file, "/usr/lib/") || filepath.Clean(file) != file || strings.ContainsAny(file, " \n%$'\"`;*") {
				t.Errorf("%q would be installed", file)
			}
		}
	})
}

// From a URL: to the end, within limits, and never from https to http.
func TestDownload(t *testing.T) {
	path := archive(t, "ec2-api-tools.zip", tools...)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a/ec2-api-tools.zip":
			http.ServeFile(w, r, path)
		case "/moved.zip":
			http.Redirect(w, r, "/a/ec2-api-tools.zip", http.StatusFound)
		case "/round.zip":
			http.Redirect(w, r, "/round.zip", http.StatusFound)
		case "/slow.zip":
			w.Write([]byte("PK"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/a/ec2-api-tools.zip", http.StatusFound))
	defer secure.Close()

	for _, url := range []string{plain.URL + "/a/ec2-api-tools.zip", plain.URL + "/moved.zip"} {
		a, err := Fetch(t.Context(), url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if a.Version != "1.5.2.4" || !slices.Equal(a.Bin, []string{"bin/ec2-cmd", "bin/ec2din"}) {
			t.Errorf("%s: %+v", url, a)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(a.temp); err == nil {
			t.Errorf("%s is left behind", a.temp)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for url, say := range map[string]string{
		plain.URL + "/none.zip": "HTTP status 404", plain.URL + "/round.zip": "more than five redirects",
		plain.URL + "/": "ends in a file's name", secure.URL + "/x.zip": "certificate",
	} {
		if _, err := Fetch(t.Context(), url); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := Fetch(ctx, plain.URL+"/slow.zip"); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("slow: %v", err)
	}
	old := http.DefaultTransport
	http.DefaultTransport = secure.Client().Transport
	defer func() { http.DefaultTransport = old }()
	if _, err := Fetch(t.Context(), secure.URL+"/x.zip"); err == nil || !strings.Contains(err.Error(), "it leads from https to http://") {
		t.Errorf("from https to http: %v", err)
	}
}

// Debian's rpmbuild builds it, and rpm lists the files with their modes.
func TestBuild(t *testing.T) {
	for _, program := range []string{"rpmbuild", "rpm", "unzip"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" || os.Getuid() == 0 {
				t.Fatalf("as root, make deps installs it: %v", err)
			}
			t.Skipf("as root, make deps installs it: %v", err)
		}
	}
	a, err := Fetch(t.Context(), archive(t, "ec2-api-tools.zip", tools...))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(a, Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rpm, err := s.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "ec2-api-tools-1.5.2.4-1.noarch.rpm"); rpm != want {
		t.Errorf("%s, want %s", rpm, want)
	}
	out, err := exec.Command("rpm", "-qp", "--qf", "%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{LICENSE}\n[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES}\n]", rpm).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := `ec2-api-tools 1.5.2.4 1 noarch Amazon Software License
-rwxr-xr-x root /usr/bin/ec2-cmd
-rwxr-xr-x root /usr/bin/ec2din
-rw-r--r-- root /usr/lib/ec2-api-tools.jar
-rw-r--r-- root /usr/lib/xml/a_b+c.jar
`
	if string(out) != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); left != nil {
		t.Errorf("left behind: %q", left)
	}
	// A build that fails says why.
	s.Requires = []string{"java >= "}
	if _, err := s.Build(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "rpmbuild: exit status") {
		t.Error(err)
	}
}
