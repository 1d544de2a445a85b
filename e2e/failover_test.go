package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestFailover is the main job, end to end: two hosts with MariaDB, and duty
// moves when it dies. See the package comment.
func TestFailover(t *testing.T) {
	if os.Getuid() != 0 {
		mayskip(t, "network namespaces need root")
	}
	require(t, "ip", "bridge", "ss", "flock", "dig", "unbound", "mariadbd", "mariadb-install-db", "postfix")
	x := shortened
	if *full {
		x = asInSample
	}
	bin := binaries(t)

	l := newLab(t)
	one := l.addHost(t, "server-01", "10.0.0.133", "master", bin)
	two := l.addHost(t, "server-02", "10.0.0.55", "backup", bin)
	one.peer, two.peer = two, one
	s := &scenario{timing: x, lab: l, one: one, two: two, both: []*host{one, two}, mails: map[string]int{}}
	t.Cleanup(func() {
		if t.Failed() || *dump {
			one.dump(t)
			two.dump(t)
		}
	})
	s.neighbours(t)

	steps := []struct {
		name string
		step func(*testing.T)
	}{
		{"1 the table and the DNS", s.tableAndDNS},
		{"2 MariaDB dies", s.databaseDies},
		{"3 MariaDB comes back", s.databaseReturns},
		{"4 the daemon is killed and started again", s.daemonKilled},
		{"2 again, with rounds in another order", s.databaseDies},
		{"3 again", s.databaseReturns},
		{"5 the bridge is cut and healed", s.bridgeCut},
		{"the daemons stop", s.stop},
	}
	again := slices.Clone(steps[1:3])
	for range *cycles - 1 {
		steps = slices.Insert(steps, 3, again...)
	}
	for _, step := range steps {
		began := time.Now()
		if !t.Run(step.name, step.step) {
			return // the later ones build on it
		}
		t.Logf("step %s: %s", step.name, time.Since(began).Round(time.Second/10))
	}
}

type scenario struct {
	timing
	lab      *lab
	one, two *host
	both     []*host
	mails    map[string]int // how many of each are due by now
}

// mail waits for one more mail of this kind on the host.
func (s *scenario) mail(t *testing.T, h *host, kind, status string) {
	t.Helper()
	key := h.name + kind + status
	s.mails[key]++
	h.waitMail(t, kind, status, s.mails[key])
}

// neighbours starts all that is not ours, and gives server-01 the address that
// the hooks move: the master has it when the story begins.
func (s *scenario) neighbours(t *testing.T) {
	s.lab.startResolver(t, "")
	for _, h := range s.both {
		h.configure(t, s.timing)
		h.prepareDatabase(t)
		h.startDatabase(t)
		h.startMail(t)
	}
	run(t, "ip", "-n", s.one.ns, "addr", "add", movedAddr+"/24", "dev", "eth0")
}

// tables waits until both hosts show all four records, the aliases Active but
// for those down.
func (s *scenario) tables(t *testing.T, within time.Duration, down ...*host) {
	t.Helper()
	for _, h := range s.both {
		wait(t, h.name+" shows the table", within, func() string {
			h.mustRun(t)
			return h.table(s.both, down...)
		})
	}
}

// answers waits until the DNS of both hosts answers this address.
func (s *scenario) answers(t *testing.T, addr string, within time.Duration) {
	t.Helper()
	for _, h := range s.both {
		wait(t, h.name+" answers "+addr, within, func() string { return h.resolves(addr) })
	}
}

// settled says whether h alone is active, the moved address is there and the
// DNS of both points there; "" if so.
func (s *scenario) settled(t *testing.T, h *host) string {
	t.Helper()
	for _, o := range s.both {
		o.mustRun(t)
		want := "inactive"
		if o == h {
			want = "active"
		}
		if got := o.duty(); got != want {
			return o.name + " is " + got + ", want " + want
		}
	}
	if wrong := h.moved(t); wrong != "" {
		return wrong
	}
	for _, o := range s.both {
		if wrong := o.resolves(h.addr); wrong != "" {
			return wrong
		}
	}
	// From the other host to the address that moved: it is really there, and
	// the answer comes from the address that was asked.
	a, err := dig(h.peer.ns, movedAddr, "mysql-server")
	if err != nil {
		return err.Error()
	}
	return a.wantOurs(60, "mysql-server. A "+h.addr)
}

func (s *scenario) tableAndDNS(t *testing.T) {
	marks := map[*host]mark{}
	for _, h := range s.both {
		marks[h] = h.mark()
	}
	s.one.startDaemon(t)
	s.two.startDaemonBehind(t, s.timing)
	s.tables(t, s.firstVerdict()+s.spread())
	s.one.waitLog(t, marks[s.one], "initial health: mysql-server: healthy", s.spread())
	s.two.waitLog(t, marks[s.two], "initial health: mysql-server: healthy", s.spread())

	for _, h := range s.both {
		// As the host itself asks, and as its neighbour asks.
		for _, ask := range []struct{ ns, server string }{{h.ns, "127.0.0.1"}, {h.ns, h.addr}, {h.peer.ns, h.addr}} {
			for _, q := range []struct {
				args []string
				want string
				ours bool
			}{
				{[]string{"mysql-server"}, "mysql-server. A 10.0.0.133", true},
				{[]string{"mysql-server", "+tcp"}, "mysql-server. A 10.0.0.133", true},
				{[]string{"mysql-server." + domain}, "mysql-server." + domain + ". A 10.0.0.133", true},
				{[]string{"MySQL-Server"}, "MySQL-Server. A 10.0.0.133", true},
				{[]string{"server-02"}, "server-02. A 10.0.0.55", true},
				{[]string{"-x", "10.0.0.133"}, "133.0.0.10.in-addr.arpa. PTR server-01." + domain + ".", true},
				{[]string{"-x", "10.0.0.55"}, "55.0.0.10.in-addr.arpa. PTR server-02." + domain + ".", true},
				{[]string{foreignName}, foreignName + ". A " + foreignAddr, false},
				{[]string{foreignName, "+tcp"}, foreignName + ". A " + foreignAddr, false},
				{[]string{cloudName}, cloudName + ". A " + cloudAddr, false},
			} {
				a, err := dig(ask.ns, ask.server, q.args...)
				if err != nil {
					t.Errorf("%s: %v", h.name, err)
					continue
				}
				wrong := a.want("NOERROR", q.want)
				if q.ours {
					wrong = a.wantOurs(60, q.want)
				}
				if wrong != "" {
					t.Errorf("%s, asked at %s for %v: %s", h.name, ask.server, q.args, wrong)
				}
			}
		}
	}

	for h, m := range marks {
		want := map[*host]string{s.one: "active", s.two: "inactive"}[h]
		h.waitLog(t, m, "initial activity: mysql-server: "+want, s.firstDuty())
	}
	hold(t, "a start beside each other moves nothing", s.margin(), func() string {
		for h, m := range marks {
			if wrong := h.hooksSince(m); wrong != "" {
				return wrong
			}
		}
		return s.settled(t, s.one)
	})
}

func (s *scenario) databaseDies(t *testing.T) {
	one, two := s.one, s.two
	m1, m2 := one.mark(), two.mark()
	one.db.kill()

	one.waitLog(t, m1, "health condition changed: mysql-server: unhealthy", s.toUnhealthy())
	s.tables(t, s.spread(), one)
	s.answers(t, two.addr, s.spread())
	// The two have no order between them.
	const letsGo, takesOver = "activity condition changed: mysql-server: inactive", "activity condition changed: mysql-server: active"
	one.waitLog(t, m1, letsGo, s.toInactive())
	two.waitLog(t, m2, takesOver, s.spread()+s.toActive())
	t.Logf("server-02 took over %s after server-01 let go", two.at(t, m2, takesOver).Sub(one.at(t, m1, letsGo)))
	two.waitLog(t, m2, "hook ended: mysql-server: active: ok", slack)
	if wrong := s.settled(t, two); wrong != "" {
		t.Fatal(wrong)
	}
	s.mail(t, one, "Health", "unhealthy")
	s.mail(t, one, "Activity", "inactive")
	s.mail(t, two, "Activity", "active")

	one.inOrder(t, m1, "health condition changed: mysql-server: unhealthy", "activity condition changed: mysql-server: inactive")
	two.inOrder(t, m2, "activity condition changed: mysql-server: active", "hook started: mysql-server: active", "hook ended: mysql-server: active: ok")
	hold(t, "server-02's hook has run once", s.margin(), func() string {
		if wrong := two.hooksSince(m2, "failover"); wrong != "" {
			return wrong
		}
		if wrong := one.hooksSince(m1); wrong != "" {
			return wrong
		}
		return s.settled(t, two)
	})
}

func (s *scenario) databaseReturns(t *testing.T) {
	one, two := s.one, s.two
	m1, m2 := one.mark(), two.mark()
	one.startDatabase(t)

	one.waitLog(t, m1, "health condition changed: mysql-server: healthy", s.toHealthy())
	s.tables(t, s.spread())
	s.answers(t, one.addr, s.spread())
	one.waitLog(t, m1, "activity condition changed: mysql-server: active", s.toActive())
	one.waitLog(t, m1, "hook ended: mysql-server: active: ok", slack)
	two.waitLog(t, m2, "activity condition changed: mysql-server: inactive", s.spread()+s.toInactive())
	if wrong := s.settled(t, one); wrong != "" {
		t.Fatal(wrong)
	}
	s.mail(t, one, "Health", "healthy")
	s.mail(t, one, "Activity", "active")
	s.mail(t, two, "Activity", "inactive")

	one.inOrder(t, m1, "health condition changed: mysql-server: healthy", "activity condition changed: mysql-server: active", "hook ended: mysql-server: active: ok")
	hold(t, "server-01 has it again", s.margin(), func() string {
		if wrong := one.hooksSince(m1, "return"); wrong != "" {
			return wrong
		}
		if wrong := two.hooksSince(m2); wrong != "" {
			return wrong
		}
		return s.settled(t, one)
	})
}

func (s *scenario) daemonKilled(t *testing.T) {
	one, two := s.one, s.two
	m2 := two.mark()
	one.killDaemon(t)

	wait(t, "server-02 shows its own records only", s.death(), func() string { return two.table([]*host{two}) })
	wait(t, "server-02 answers for itself", slack, func() string { return two.resolves(two.addr) })
	two.waitLog(t, m2, "node lost: "+one.addr, slack)
	two.waitLog(t, m2, "activity condition changed: mysql-server: active", s.toActive())
	two.waitLog(t, m2, "hook ended: mysql-server: active: ok", slack)
	if wrong := two.moved(t); wrong != "" {
		t.Fatal(wrong)
	}
	s.mail(t, two, "Activity", "active")
	hold(t, "server-02 has it", s.margin(), func() string {
		if wrong := two.hooksSince(m2, "failover"); wrong != "" {
			return wrong
		}
		return two.moved(t)
	})

	m1, m2 := one.mark(), two.mark()
	// The other way round than at first: when MariaDB dies next, the one that
	// takes over may be before the one that lets go.
	one.startDaemonBehind(t, s.timing)
	s.tables(t, s.firstVerdict()+s.spread())
	s.answers(t, one.addr, s.spread())
	two.waitLog(t, m2, "activity condition changed: mysql-server: inactive", s.spread()+s.toInactive())
	one.waitLog(t, m1, "initial activity: mysql-server: active", s.firstDuty())
	one.waitLog(t, m1, "activity condition reasserted: mysql-server: active", s.toActive())
	one.waitLog(t, m1, "hook ended: mysql-server: active: ok", slack)
	if wrong := s.settled(t, one); wrong != "" {
		t.Fatal(wrong)
	}
	s.mail(t, two, "Activity", "inactive")
	hold(t, "server-01 has it again", s.margin(), func() string {
		if wrong := one.hooksSince(m1, "reassert"); wrong != "" {
			return wrong
		}
		if wrong := two.hooksSince(m2); wrong != "" {
			return wrong
		}
		return s.settled(t, one)
	})
	s.transitionsRise(t)
}

func (s *scenario) bridgeCut(t *testing.T) {
	one, two := s.one, s.two
	m1, m2 := one.mark(), two.mark()
	s.lab.cut(t)
	healing := time.Now().Add(s.cut)

	// Each side knows itself only; the backup takes over, and the master has
	// no reason not to stay: the one thing that tells them apart is out of
	// reach. The address follows the last hook.
	for _, h := range s.both {
		wait(t, h.name+" shows its own records only", s.death(), func() string { return h.table([]*host{h}) })
		wait(t, h.name+" answers for itself", slack, func() string { return h.resolves(h.addr) })
	}
	two.waitLog(t, m2, "activity condition changed: mysql-server: active", s.toActive())
	two.waitLog(t, m2, "hook ended: mysql-server: active: ok", slack)
	s.mail(t, two, "Activity", "active")
	hold(t, "both are active while the bridge is cut", time.Until(healing), func() string {
		for _, h := range s.both {
			if wrong := h.table([]*host{h}); wrong != "" {
				return wrong
			}
			if d := h.duty(); d != "active" {
				return h.name + " is " + d
			}
		}
		return two.moved(t)
	})

	s.lab.heal(t)
	wait(t, "after healing server-01 alone is active and has the address", s.healed(), func() string {
		for _, h := range s.both {
			if wrong := h.table(s.both); wrong != "" {
				return wrong
			}
		}
		return s.settled(t, one)
	})
	s.mail(t, two, "Activity", "inactive")
	hold(t, "and so it stays", s.margin(), func() string {
		if wrong := one.hooksSince(m1, "reassert"); wrong != "" {
			return wrong
		}
		if wrong := two.hooksSince(m2, "failover"); wrong != "" {
			return wrong
		}
		return s.settled(t, one)
	})
	s.transitionsRise(t)
}

// transitionsRise checks that no number was given twice to hooks of one host,
// also over a restart.
func (s *scenario) transitionsRise(t *testing.T) {
	t.Helper()
	for _, h := range s.both {
		last := 0
		for _, r := range h.hooks() {
			n, err := strconv.Atoi(r["transition"])
			if err != nil || n <= last {
				t.Fatalf("%s: transition %q after %d: %v", h.name, r["transition"], last, h.hooks())
			}
			last = n
		}
	}
}

func (s *scenario) stop(t *testing.T) {
	m2 := s.two.mark()
	s.one.stopDaemon(t, 10*time.Second)
	// It said goodbye: its records are gone at once, by its word and not by
	// its silence.
	s.two.waitLog(t, m2, "node left: "+s.one.addr, s.spread())
	wait(t, "server-02 shows its own records only", s.spread(), func() string { return s.two.table([]*host{s.two}) })
	s.two.waitLog(t, m2, "activity condition changed: mysql-server: active", s.toActive())
	s.two.waitLog(t, m2, "hook ended: mysql-server: active: ok", slack)
	if wrong := s.two.moved(t); wrong != "" {
		t.Error(wrong)
	}
	if s.two.logged(m2, "node lost: "+s.one.addr) >= 0 {
		t.Error("server-02 lost server-01 although it had said goodbye")
	}
	s.two.stopDaemon(t, 10*time.Second)
	for _, h := range s.both {
		if _, err := os.Lstat(h.socket()); err == nil {
			t.Errorf("%s: the control socket is still there", h.name)
		}
		var left []int
		for _, pid := range pidsIn(h.ns) {
			exe, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
			if strings.HasPrefix(exe, h.bin) || strings.HasSuffix(exe, "/attach_if") {
				left = append(left, pid)
			}
		}
		if left != nil {
			t.Errorf("%s: left behind: %s", h.name, describe(left))
		}
	}
}
