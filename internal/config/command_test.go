package config

import (
	"strings"
	"testing"
)

// TestProgramsOfOthers: every key that names a program asks who could change
// it. An owner matters to the process that will run it; a folder of a group, as
// /usr/local is on old Debian, is only warned of.
func TestProgramsOfOthers(t *testing.T) {
	for _, key := range []string{
		"on-start", "init-script", "health-check.command", "health-check.on-activate", "health-check.on-inactivate",
		"activity-check.on-activate", "activity-check.on-inactivate",
	} {
		for _, tc := range []struct {
			program       string
			daemon        bool
			warning, want string
		}{
			{"/srv/theirs", false, `belongs to user 54321, who could change it: chown root /srv/theirs; a daemon that another user runs refuses it`, ""},
			{"/srv/theirs", true, "", `"/srv/theirs" belongs to user 54321, who could change it`},
			{"/srv/open/tool", false, "", `"/srv/open/tool": the folder /srv/open is writable by others (mode 0757)`},
			{"/srv/open/tool", true, "", `"/srv/open/tool": the folder /srv/open is writable by others (mode 0757)`},
			{"/srv/group", true, "", `"/srv/group" is writable by its group (mode 0775)`},
			{"/srv/others", true, "", `"/srv/others" is writable by others (mode 0757)`},
			{"/srv/staff/tool", true, "the folder /srv/staff is writable by its group (mode 0775)", ""},
		} {
			opts := testOptions()
			opts.Daemon = tc.daemon
			c, err := Parse("f", []byte(fileWith(key, tc.program+" x")), opts)
			switch {
			case tc.want != "":
				if err == nil || !strings.Contains(err.Error(), key[strings.LastIndexByte(key, '.')+1:]+": "+tc.want) {
					t.Errorf("%s: %s: %v, want …%s…", key, tc.program, err, tc.want)
				}
			case err != nil:
				t.Errorf("%s: %s: %v", key, tc.program, err)
			case len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], tc.warning):
				t.Errorf("%s: %s: warnings %q, want …%s…", key, tc.program, c.Warnings, tc.warning)
			}
		}
	}
}
