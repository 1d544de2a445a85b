package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// A host is one server of the scenario.
type host struct {
	name, addr, priority string

	lab  *lab
	ns   string
	dir  string
	bin  string // folder of murakumo and mrkmctl
	peer *host

	db, daemon *process
	started    time.Time // of the daemon
}

// addHost makes the host with its files; nothing runs yet.
func (l *lab) addHost(t *testing.T, name, addr, priority, bin string) *host {
	t.Helper()
	h := &host{name: name, addr: addr, priority: priority, lab: l, bin: bin}
	h.ns = l.plug(t, name, addr)
	h.dir = filepath.Join(l.dir, name)
	if err := os.Mkdir(h.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.hosts = append(l.hosts, h)
	return h
}

// configure writes the host's configuration and its hook. Both hosts have the
// same file but for the priority of the alias, the places on disk, which one
// machine cannot share, and what the init-script prints.
func (h *host) configure(t *testing.T, x timing) {
	t.Helper()
	hook := filepath.Join(h.dir, "attach_if")
	script := template.Must(template.ParseFiles("testdata/attach_if"))
	var out bytes.Buffer
	err := script.Execute(&out, map[string]string{
		"Lock": filepath.Join(h.lab.dir, "cloud.lock"), "Record": h.recordPath(),
		"Host": h.name, "Other": h.peer.ns, "Address": movedAddr,
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, hook, out.String(), 0o755)

	text := x.file(t)
	text = replaceOnce(t, text, "mysql-server,60,master,100", "mysql-server,60,"+h.priority+",100")
	text = replaceOnce(t, text, "/usr/local/sbin/attach_if", hook)
	text += fmt.Sprintf(`socket: %s
working-dir: %s
log-path: %s
init-script: |
  #!/bin/sh
  echo 'host: %s, %s'
  echo 'initial-nodes: %s, %s'
`, h.socket(), filepath.Join(h.dir, "var"), h.logPath(), h.addr, h.name, h.lab.hosts[0].addr, h.lab.hosts[1].addr)
	write(t, filepath.Join(h.dir, "murakumo.yml"), text, 0o600)
	if err := os.MkdirAll(filepath.Join(h.dir, "var"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (h *host) socket() string     { return filepath.Join(h.dir, "murakumo.sock") }
func (h *host) logPath() string    { return filepath.Join(h.dir, "murakumo.log") }
func (h *host) outPath() string    { return filepath.Join(h.dir, "murakumo.out") }
func (h *host) recordPath() string { return filepath.Join(h.dir, "hooks") }

// startDaemon starts murakumo.
func (h *host) startDaemon(t *testing.T) {
	t.Helper()
	h.started = time.Now()
	h.daemon = start(t, h.lab.life, h.name+": murakumo", h.outPath(),
		in(h.ns, filepath.Join(h.bin, "murakumo"), "-c", filepath.Join(h.dir, "murakumo.yml")))
}

// startDaemonBehind starts it so that its rounds lie this far behind the
// peer's: both have the same start delay and interval.
func (h *host) startDaemonBehind(t *testing.T, x timing) {
	t.Helper()
	next := h.peer.started.Add(x.phase())
	for next.Before(time.Now()) {
		next = next.Add(x.activityInterval)
	}
	time.Sleep(time.Until(next))
	h.startDaemon(t)
}

// mustRun fails when the daemon has ended by itself.
func (h *host) mustRun(t *testing.T) {
	t.Helper()
	if !h.daemon.alive() {
		t.Fatalf("%s: murakumo ended by itself: %v", h.name, h.daemon.err)
	}
}

// A mark is a place in the host's log and hook records: what was there before.
type mark struct{ log, hooks int }

func (h *host) mark() mark { return mark{len(h.lines(0)), len(h.hooks())} }

// lines gives the log from a line on.
func (h *host) lines(from int) []string {
	b, _ := os.ReadFile(h.logPath())
	lines := strings.SplitAfter(string(b), "\n")
	// What follows the last line feed is a line being written.
	lines = lines[:len(lines)-1]
	return lines[min(from, len(lines)):]
}

// logged gives the first line since the mark with this message, or -1.
func (h *host) logged(m mark, message string) int {
	return slices.IndexFunc(h.lines(m.log), func(l string) bool { return says(l, message) })
}

// says compares whole messages: "…: active" is not in "…: active: ok".
func says(line, message string) bool {
	return strings.Contains(line, `msg="`+message+`"`) || strings.Contains(line, `"msg":"`+message+`"`)
}

// waitLog waits for a message since the mark.
func (h *host) waitLog(t *testing.T, m mark, message string, within time.Duration) {
	t.Helper()
	wait(t, h.name+" logs "+message, within, func() string {
		h.mustRun(t)
		if h.logged(m, message) < 0 {
			return "no such line"
		}
		return ""
	})
}

// at gives the time of the first line since the mark with this message.
func (h *host) at(t *testing.T, m mark, message string) time.Time {
	t.Helper()
	for _, line := range h.lines(m.log) {
		if says(line, message) {
			stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
			at, err := time.Parse(time.RFC3339Nano, stamp)
			if err != nil {
				t.Fatalf("%s: a log line without a time: %s", h.name, line)
			}
			return at
		}
	}
	t.Fatalf("%s: %q is not in the log", h.name, message)
	return time.Time{}
}

// inOrder fails unless the messages stand in the log since the mark, each
// after the one before.
func (h *host) inOrder(t *testing.T, m mark, messages ...string) {
	t.Helper()
	lines := h.lines(m.log)
	for i, message := range messages {
		at := slices.IndexFunc(lines, func(l string) bool { return says(l, message) })
		if at < 0 {
			t.Fatalf("%s: %q is not in the log, or not after %q", h.name, message, messages[max(0, i-1)])
		}
		lines = lines[at+1:]
	}
}

// duty gives what the log says that the activity check last settled on.
func (h *host) duty() string {
	lines := h.lines(0)
	for _, line := range slices.Backward(lines) {
		for _, d := range []string{"active", "inactive"} {
			if says(line, "activity condition changed: mysql-server: "+d) || says(line, "initial activity: mysql-server: "+d) {
				return d
			}
		}
		if strings.Contains(line, "murakumo starts") {
			break // of an earlier life
		}
	}
	return "undefined"
}

// A hook is one record of the hook script.
type hook map[string]string

// hooks gives all records of the host's hook, the oldest first.
func (h *host) hooks() []hook {
	b, _ := os.ReadFile(h.recordPath())
	var all []hook
	for line := range strings.Lines(string(b)) {
		r := hook{}
		for field := range strings.SplitSeq(strings.TrimSpace(line), "\t") {
			k, v, _ := strings.Cut(field, "=")
			r[k] = v
		}
		all = append(all, r)
	}
	return all
}

// hooksSince says how the hook's records since the mark differ from runs of
// `active` for these reasons, in this order, or "".
func (h *host) hooksSince(m mark, reasons ...string) string {
	got := h.hooks()[m.hooks:]
	if len(got) != len(reasons) {
		return fmt.Sprintf("%s: hook ran %d times, want %d %q: %v", h.name, len(got), len(reasons), reasons, got)
	}
	for i, r := range got {
		want := hook{
			"time": r["time"], "transition": r["transition"], "previous": r["previous"], "host": h.name,
			"args": h.addr + " mysql-server active", "address": h.addr, "name": "mysql-server", "status": "active",
			"reason": reasons[i],
		}
		for k, v := range want {
			if r[k] != v {
				return fmt.Sprintf("%s: hook %d: %s=%q, want %q: %v", h.name, i+1, k, r[k], v, r)
			}
		}
	}
	return ""
}

// table compares what mrkmctl -L prints with the records of these hosts, and
// says how it differs, or "". The alias of each is Active unless it is listed
// as down.
func (h *host) table(present []*host, down ...*host) string {
	out, err := in(h.ns, filepath.Join(h.bin, "mrkmctl"), "-S", h.socket(), "-L").CombinedOutput()
	if err != nil {
		return fmt.Sprintf("mrkmctl -L on %s: %v: %s", h.name, err, out)
	}
	want := []string{
		"IP address TTL Priority Weight Activity Hostname",
		"--------------- ------ --------- ------ -------- ----------",
	}
	own := func(o *host) string {
		if o == h {
			return "* "
		}
		return ""
	}
	// The asked node's own records come first.
	sorted := slices.Clone(present)
	slices.SortStableFunc(sorted, func(a, b *host) int {
		return strings.Compare(own(b), own(a))
	})
	for _, o := range sorted {
		activity := "Active"
		if slices.Contains(down, o) {
			activity = "Inactive"
		}
		tier := strings.ToUpper(o.priority[:1]) + o.priority[1:]
		want = append(want,
			fmt.Sprintf("%s%s 60 %s 100 %s mysql-server", own(o), o.addr, tier, activity),
			fmt.Sprintf("%s%s 60 Origin - Active %s", own(o), o.addr, o.name))
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if !slices.Equal(got, want) {
		return fmt.Sprintf("mrkmctl -L on %s:\n%swant (spaces aside):\n%s", h.name, out, strings.Join(want, "\n"))
	}
	return ""
}

// resolves asks the host's DNS as the host itself does, and says how the
// answer for mysql-server differs from the address, or "".
func (h *host) resolves(addr string) string {
	a, err := dig(h.ns, "127.0.0.1", "mysql-server")
	if err != nil {
		return fmt.Sprintf("%s: %v", h.name, err)
	}
	if wrong := a.wantOurs(60, "mysql-server. A "+addr); wrong != "" {
		return h.name + ": " + wrong
	}
	return ""
}

// moved says where the address that the hooks move is, unless it is here and
// only here.
func (h *host) moved(t *testing.T) string {
	t.Helper()
	if here, there := hasMoved(t, h.ns), hasMoved(t, h.peer.ns); !here || there {
		return fmt.Sprintf("%s on %s: %t, on %s: %t", movedAddr, h.name, here, h.peer.name, there)
	}
	return ""
}

// waitMail waits for a mail on this host with the subject, and checks it.
func (h *host) waitMail(t *testing.T, kind, status string, count int) {
	t.Helper()
	subject := fmt.Sprintf("[%s] mysql-server/%s => %s", kind, h.addr, status)
	wait(t, fmt.Sprintf("%s: mail %d %q", h.name, count, subject), slack, func() string {
		var subjects []string
		n := 0
		for _, l := range h.mails(t) {
			subjects = append(subjects, l.subject)
			if l.subject != subject {
				continue
			}
			n++
			if !strings.Contains(l.from, "sender@mail.from") || !strings.Contains(l.to, "recipient@mail.to") {
				t.Fatalf("%s: mail from %q to %q", h.name, l.from, l.to)
			}
			for _, want := range []string{h.addr, "mysql-server", status} {
				if !strings.Contains(l.body, want) {
					t.Fatalf("%s: mail %q does not tell %s:\n%s", h.name, l.subject, want, l.body)
				}
			}
		}
		if n != count {
			return fmt.Sprintf("%d of %d; arrived: %q", n, count, subjects)
		}
		sent := 0
		for _, line := range h.lines(0) {
			if says(line, "sent the notice: "+status) {
				sent++
			}
		}
		if sent != count {
			return fmt.Sprintf("%d arrived, the log tells of %d", n, sent)
		}
		return ""
	})
}

// killDaemon ends murakumo as a crash does.
func (h *host) killDaemon(t *testing.T) {
	t.Helper()
	h.mustRun(t)
	h.daemon.kill()
}

// stopDaemon ends murakumo as an operator does.
func (h *host) stopDaemon(t *testing.T, within time.Duration) {
	t.Helper()
	if err := h.daemon.stop(syscall.SIGTERM, within); err != nil {
		t.Fatal(err)
	}
	if out, _ := os.ReadFile(h.outPath()); bytes.Contains(out, []byte("DATA RACE")) {
		t.Fatalf("%s:\n%s", h.name, out)
	}
}

// dump tells everything about the host, for a failure.
func (h *host) dump(t *testing.T) {
	t.Helper()
	table, err := in(h.ns, filepath.Join(h.bin, "mrkmctl"), "-S", h.socket(), "-L").CombinedOutput()
	out, _ := os.ReadFile(h.outPath())
	records, _ := os.ReadFile(h.recordPath())
	addrs, _ := in(h.ns, "ip", "-br", "addr").CombinedOutput()
	lines := h.lines(0)
	const most = 300
	cut := ""
	if len(lines) > most && !*dump {
		cut = fmt.Sprintf("(the last %d of %d lines)\n", most, len(lines))
		lines = lines[len(lines)-most:]
	}
	var letters []string
	for _, l := range h.mails(t) {
		letters = append(letters, l.subject)
	}
	t.Logf("==== %s ====\n-- table (%v)\n%s-- addresses\n%s-- hooks\n%s-- mails\n%s\n-- standard error\n%s-- log %s%s",
		h.name, err, table, addrs, records, strings.Join(letters, "\n"), out, cut, strings.Join(lines, ""))
}
