package config

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"
)

// What an old file should change although it is taken as it stands. Each is a
// warning, at its place; docs/migration.md has the reasons. What of an old file
// is refused, its key refuses.

// shellSigns are words that mean something to a shell only.
var shellSigns = []string{"|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>>", "&>", "2>&1"}

// shellWord finds what a shell would have replaced.
var shellWord = regexp.MustCompile("`|\\$(?:\\b|[_{(])|^[12&]?>|;$")

// noShell warns of a command that was written for a shell, by which the original
// ran it: here each of these words is an argument.
func (l *loader) noShell(v value, argv Command) {
	if v.kind != scalar || isShell(argv[0]) {
		return // a sequence has no shell's look, and a shell is a shell
	}
	for _, word := range argv[1:] {
		sign := shellWord.FindString(word) // not the word, which may be a password
		if slices.Contains(shellSigns, word) {
			sign = word
		}
		if sign != "" {
			l.warning(v.place, v.key, "no shell reads this, so %s is passed on like any other character: if a shell was meant, write [/bin/sh, -c, '…']", quote(sign))
			return
		}
	}
}

func isShell(program string) bool {
	return slices.Contains([]string{"sh", "ash", "bash", "dash", "ksh", "zsh", "env", "su", "sudo", "ssh"}, path.Base(program))
}

// cloudKeys warns of a cloud's keys among the arguments of a command, which is
// how the original's programs for EC2 took them.
func (l *loader) cloudKeys(v value, argv Command) {
	if !strings.HasPrefix(path.Base(argv[0]), "murakumo-") {
		return
	}
	for _, word := range argv[1:] {
		if word == "-s" || strings.HasPrefix(word, "--secret") {
			l.warning(v.place, v.key, "every user of this host sees the arguments of a program: leave keys out, and let the instance's role or the environment's files have them")
			return
		}
	}
}

// sharedHook warns of a program that looks for the other status, when another one
// is run for that now: the original ran on-activate for both.
func (l *loader) sharedHook(there map[string]value, on, off Command, status string) {
	v, ok := there["on-inactivate"]
	if !ok || len(on) == 0 || len(off) == 0 || slices.Equal(on, off) {
		return
	}
	file := on[0]
	if isShell(file) && len(on) > 1 {
		file = on[1]
	}
	data, _, err := l.readFile(file)
	if err != nil || !bytes.HasPrefix(data, []byte("#!")) {
		return
	}
	if regexp.MustCompile(`\b` + status + `\b`).Match(data) {
		l.warning(v.place, v.key, "%s speaks of %q, but is not run for that any more: the original ran on-activate for both statuses, this daemon runs on-inactivate then; see that each does what it should", file, status)
	}
}

// oldPlaces warns of what was usual for the original and is not good.
func (l *loader) oldPlaces(c *Config) {
	if v, ok := l.there["socket"]; ok && slices.Contains([]string{"/tmp", "/var/tmp", "/dev/shm"}, path.Dir(c.Socket)) {
		l.warning(v.place, v.key, "is in a folder that everybody may write to: take it out, and murakumo and mrkmctl agree on another one")
	}
	if v, ok := l.there["daemon"]; ok && v.src.order == orderFile {
		l.warning(v.place, v.key, "makes every murakumo with this file do that: take it out and give -d %s where it is wanted", c.Daemon)
	}
}
