package action

import (
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProcessRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mode := func(perm fs.FileMode) string {
		path := script(t, "exit 0\n")
		if err := os.Chmod(path, perm); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(mode(0o777), link); err != nil {
		t.Fatal(err)
	}
	unsafeName := func(name string) Hook {
		h := hook(activity("active", 1))
		h.Name = name
		h.Command = []string{"true"}
		return h
	}
	command := func(word string) Hook {
		h := hook(activity("active", 1))
		h.Command = []string{word}
		return h
	}
	inOpenFolder := mode(0o755)
	if err := os.Chmod(filepath.Dir(inOpenFolder), 0o777); err != nil {
		t.Fatal(err)
	}
	zoned := command("true")
	zoned.Addr = netip.MustParseAddr("fe80::1%$(id)")
	nowhere := command("true")
	nowhere.Addr = netip.Addr{}
	status := command("true")
	status.Status = "$(id)"
	for name, tc := range map[string]struct {
		hook Hook
		want string
	}{
		"missing":        {command(dir + "/none"), "no such file or directory"},
		"a directory":    {command(dir), "is a directory"},
		"not executable": {command(mode(0o644)), "is not executable (mode 0644): chmod +x /"},
		"world-writable": {command(mode(0o757)), "is writable by others (mode 0757)"},
		"group-writable": {command(mode(0o775)), "is writable by its group (mode 0775)"},
		"a link to one":  {command(link), "is writable by others (mode 0777)"},
		"in a folder":    {command(inOpenFolder), "is writable by others (mode 0777), who could put something else in its place"},
		"relative":       {command("./hook"), "write all of it"},
		"option":         {unsafeName("-rf"), "begins with '-'"},
		"shell":          {unsafeName("a;reboot"), "only letters"},
		"substitution":   {unsafeName("$(reboot)"), "only letters"},
		"quote":          {unsafeName("a'b"), "only letters"},
		"newline":        {unsafeName("a\nb"), "only letters"},
		"not ASCII":      {unsafeName("münchen"), "only letters"},
		"empty":          {unsafeName(""), "expected 1 to 253"},
		"too long":       {unsafeName(strings.Repeat("a", 254)), "expected 1 to 253"},
		"zone":           {zoned, "expected a plain IP address"},
		"no address":     {nowhere, "expected a plain IP address"},
		"status":         {status, "expected active, inactive, healthy or unhealthy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, new(logbook), tc.hook)
			if r.Outcome != Failed || r.Err == nil || !strings.Contains(r.Err.Error(), tc.want) {
				t.Errorf("ended as %s: %v, want failed: …%s…", r.Outcome, r.Err, tc.want)
			}
		})
	}
}

// TestHookIsJudgedEachTime: what was fit to be run when the file was read, and
// the last time, may have been changed by somebody since.
func TestHookIsJudgedEachTime(t *testing.T) {
	t.Parallel()
	h := hook(activity("active", 1))
	h.Command = []string{script(t, "exit 0\n")}
	for _, tc := range []struct {
		mode fs.FileMode
		end  Outcome
	}{{0o755, OK}, {0o757, Failed}, {0o755, OK}} {
		if err := os.Chmod(h.Command[0], tc.mode); err != nil {
			t.Fatal(err)
		}
		var log logbook
		if r := run(t, &log, h); r.Outcome != tc.end {
			t.Errorf("mode %04o: ended as %s: %v, want %s", tc.mode, r.Outcome, r.Err, tc.end)
		}
		if tc.end == Failed {
			log.want(t, 1, "level=ERROR", `msg="hook ended: web: active: failed"`, "refuse to run a hook", "writable by others")
		}
	}
}
