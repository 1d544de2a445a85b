package murakumo

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var runMutants = flag.Bool("mutants", false, "run the tests of each mutant, which takes minutes, and not only look whether it still fits the code")

// mutants are the code broken on purpose, each in one place, with the test that
// has to fail: a story that nothing can spoil proves nothing. `make mutants`
// runs them all; the ordinary test only looks whether they still fit the code.
var mutants = []struct {
	claim    string // what the code promises
	file     string
	old, new string
	pkg, run string // the test that notices
}{
	{"a partition heals by itself: lost peers are tried again for ever",
		"internal/gossip/seek.go", "if rand.Float64()*float64(len(s.g.peers.members())+1) > seekers && !s.g.peers.doubted() {", "if len(s.g.peers.members()) > 0 {",
		"./internal/sim", "TestPartition/5m0s"},
	{"nodes learn of each other from the initial nodes",
		"internal/gossip/seek.go", "initials := *s.g.initial.Load()\n", "initials := (*s.g.initial.Load())[:0]\n",
		"./internal/sim", "TestServiceFails"},
	{"a change travels by gossip, not only by the periodic exchange",
		"internal/gossip/replica.go", "if m, changed := r.publish.next(r.cat.View().Own(), now); changed {", "if m, changed := r.publish.next(r.cat.View().Own(), now); changed && false {",
		"./internal/sim", "TestServiceFails"},
	{"a silent node is dead within its lifetime",
		"internal/gossip/timing.go", "silence:   lifetime / 2,", "silence:   lifetime * 3,",
		"./internal/sim", "TestCrash"},
	{"a short silence is no death",
		"internal/gossip/timing.go", "silence:   lifetime / 2,", "silence:   lifetime / 20,",
		"./internal/sim", "TestQuickRestart"},
	{"a goodbye takes the records away at once",
		"internal/gossip/session.go", "members := s.g.peers.members()\n\tif len(members) == 0 {\n\t\treturn\n\t}\n\tversion :=", "members := s.g.peers.members()\n\tif len(members) >= 0 {\n\t\treturn\n\t}\n\tversion :=",
		"./internal/sim", "TestShutdown"},
	{"the name of a dead host stays ours",
		"internal/catalog/catalog.go", "m.Owner, m.Status, m.Since = o, s, now\n", "m.Owner, m.Status, m.Since = o, s, now\n\tif s == Dead {\n\t\tm.Set = nil\n\t}\n",
		"./internal/sim", "TestCrash"},
	{"a node that lost its state steps past what peers hold of it",
		"internal/catalog/catalog.go", "c.publishOwn(v, own.past(theirs))\n", "",
		"./internal/sim", "TestRestartWithLostState"},
	{"an older set never replaces a newer one",
		"internal/catalog/set.go", "return s.version > version || s.version == version && s.hash > hash", "return s.version != version || s.hash > hash",
		"./internal/catalog", "TestMerge"},
	{"what was deleted during a cut does not come back",
		"internal/catalog/set.go", "return s.version > version || s.version == version && s.hash > hash", "return s.version < version || s.version == version && s.hash > hash",
		"./internal/sim", "TestDeletedDuringPartition"},
	{"whoever stayed active runs its hook again when another lets go",
		"internal/failover/duty.go", "if s.Duty == catalog.DutyActive && s.Owed && f.OnDuty() {", "if s.Duty == catalog.DutyActive && s.Owed && false {",
		"./internal/sim", "TestCrash"},
	{"the address ends where DNS points after a cut",
		"internal/failover/duty.go", "if s.Duty == catalog.DutyActive && s.Owed && f.OnDuty() {", "if s.Duty == catalog.DutyActive && s.Owed && false {",
		"./internal/sim", "TestPartition/5m0s"},
	{"the address ends where DNS points after one-way deafness",
		"internal/failover/duty.go", "if s.Duty == catalog.DutyActive && s.Owed && f.OnDuty() {", "if s.Duty == catalog.DutyActive && s.Owed && false {",
		"./internal/sim", "TestDeaf"},
	{"an ordinary handover runs each hook once, in either order",
		"internal/failover/duty.go", "h.Covered = !there || m.Acted >= m.Activated\n", "h.Covered = !there || m.Acted >= m.Activated && false\n",
		"./internal/failover", "TestDutyStories"},
	{"what another took while we were down is not forgotten over a restart of both",
		"internal/failover/duty.go", "if m.Activated > h.Activation {", "if m.Activated > h.Activation && m.Duty == catalog.DutyActive {",
		"./internal/sim", "TestBothDown"},
	{"an alias is taken out when its hook has ended",
		"internal/node/operator.go", "if err := c.records.hooksEnd(ctx, name); err != nil {", "if err := error(nil); err != nil {",
		"./internal/node", "TestDeleteLetsTheDutyGo"},
	{"a hook that failed has taken nothing",
		"internal/failover/duty.go", "if ev.Number == s.Activated {", "if ev.Number == s.Activated && false {",
		"./internal/failover", "TestDutyStories"},
	{"a backup is not on duty beside an Active master",
		"internal/failover/duty.go", "if e.Active && e.Priority < f.Priority && !f.Rival.IsValid() {", "if e.Active && e.Priority < f.Priority && false {",
		"./internal/sim", "TestServiceFails"},
	{"rounds are counted",
		"internal/failover/duty.go", "if need := rule.need(verdict); s.Against >= need {", "if need := rule.need(verdict); s.Against >= 1 {",
		"./internal/failover", "TestDutyStories"},
	{"failures are counted",
		"internal/failover/health.go", "if s.Against < need {", "if s.Against < 1 {",
		"./internal/failover", "TestHealthSteps"},
	{"the verdict belongs to the check, not to mrkmctl -A",
		"internal/node/records.go", "func (c checked) active() bool { return !c.leaving && (!c.hasHealth || c.health == failover.Healthy) }", "func (c checked) active() bool { return true }",
		"./internal/node", "TestVerdictBelongsToTheCheck"},
	{"a stopping node's aliases turn Inactive before its hooks run",
		"internal/node/core.go", "\tc.release(acting)\n", "",
		"./internal/node", "TestStopOrder"},
	{"a transition number that a killed run may have used is not used again",
		"internal/node/state.go", "if s.data.Running {", "if s.data.Running && false {",
		"./internal/node", "TestStateAfterKill"},
	{"only the table leads from one tier to another",
		"internal/proxy/service.go", "		if len(targets) > 0 {\n			return targets\n		}\n", "",
		"./internal/proxy", "TestTier|TestRefusalNeverCrossesTiers"},
	{"connections to a member that lost its duty are cut",
		"internal/proxy/service.go", "if cfg.Cut && len(left) > 0 {", "if cfg.Cut && len(left) > 99 {",
		"./internal/proxy", "TestCut|TestAlias"},
	{"no octet is lost or changed when a reader is slow",
		"internal/proxy/relay_linux.go", "h.pend = slices.Clone(l.buf[sent:n])", "h.pend = slices.Clip(l.buf[sent:n])",
		"./internal/proxy", "TestSlowReader"},
	{"a half-closed connection goes on the other way",
		"internal/proxy/relay_linux.go", "case c.up.shut && c.down.shut:", "case c.up.shut || c.down.shut:",
		"./internal/proxy", "TestStreams"},
	{"an octet-less end of a backend is not the client's fault: the next one is tried",
		"internal/proxy/conn_linux.go", "	l.dial(c, c.front.cfg.Load())\n}\n\n// happened", "	l.reset(c)\n}\n\n// happened",
		"./internal/proxy", "TestRefusedIsSkipped|TestSilentIsSkipped"},
	{"an idle connection holds no pipe",
		"internal/proxy/relay_linux.go", "				l.returnPipe(h) // the sender pauses\n", "",
		"./internal/proxy", "TestPipesGoBack"},
	{"backups are not answered beside masters",
		"internal/nameserver/answer.go", "serving = []catalog.Priority{catalog.Master, catalog.Secondary}", "serving = []catalog.Priority{catalog.Master, catalog.Secondary, catalog.Backup}",
		"./internal/nameserver", "Answer"},
	{"an unknown key is a mistake",
		"internal/config/value.go", "case !ok:\n\t\t\tl.problem", "case !ok && false:\n\t\t\tl.problem",
		"./internal/config", "TestGolden"},
	{"values have ranges",
		"internal/config/value.go", "err != nil || d < lo || d > hi", "err != nil",
		"./internal/config", "TestEveryKey"},
	{"all mistakes are told at once",
		"internal/config/problem.go", "Errors(sorted(r.problems))", "Errors(sorted(r.problems))[:1]",
		"./internal/config", "TestGolden"},
	{"a pid file that a crash left behind is nobody's",
		"internal/daemon/pidfile.go", "if read.Type == unix.F_UNLCK {", "if read.Type == unix.F_UNLCK && false {",
		"./internal/daemon", "TestStalePIDFile"},
	{"whoever can only read the pid file cannot pass for the daemon",
		"internal/daemon/pidfile.go", "unix.Flock_t{Type: unix.F_RDLCK, Whence", "unix.Flock_t{Type: unix.F_WRLCK, Whence",
		"./internal/daemon", "TestReadLock"},
	{"start returns when the daemon is ready, and fails when it is not",
		"internal/daemon/control.go", "string(word) == readyWord &&", "string(word) != \"x\" &&",
		"./internal/daemon", "TestStartFails"},
	{"a restart lets go of nothing",
		"internal/daemon/control.go", "c.end(ctx, SignalKeep, patience)", "c.end(ctx, syscall.SIGTERM, patience)",
		"./internal/daemon", "TestStartStop"},
	{"a restart with a mistake in the file leaves the running daemon alone",
		"cmd/murakumo/control.go", "if _, err = config.Load(path, opts); err == nil {", "if _, err = config.Load(path, opts); true {",
		"./cmd/murakumo", "TestScripts/daemon"},
	{"the watchdog is satisfied only while the daemon is alive",
		"internal/daemon/systemd.go", "case !worked:", "case !worked || true:",
		"./internal/daemon", "TestWatch"},
	{"a DNS server that does not answer is not alive",
		"internal/nameserver/alive.go", "if !nobodyThere(err) {", "if true {",
		"./internal/nameserver", "TestAlive"},
	{"a flag beats what the init-script printed",
		"internal/config/load.go", "\troot = applyFlags(root, l.Flags)\n", "",
		"./internal/config", "TestFlags"},
	{"mrkmctl -y loses no key",
		"internal/config/yaml.go", `"hook-timeout": func(c *Config) *node { return duration(c.HookTimeout) },`, `"hook-timeout": func(c *Config) *node { return nil },`,
		"./internal/config", "TestYAMLRoundTrip$"},
	{"a node that is tuned stays with its peers",
		"internal/gossip/retune.go", "\ts.heedEvents()\n", "\ts.goodbye()\n",
		"./internal/gossip", "TestTune"},
	{"a member that died while a node was tuned is lost there too",
		"internal/gossip/retune.go", "\ts.g.peers.doubt(s.doubts)\n", "",
		"./internal/gossip", "TestTuneWhileNodesAreAway"},
	{"what was forgotten (mrkmctl -c) does not come back by a late copy",
		"internal/gossip/forget.go", "!r.peers.alive(o) && r.removals.forgets.covers(o, version)", "!r.peers.alive(o) && r.cat.View().Own() == nil && r.removals.forgets.covers(o, version)",
		"./internal/gossip", "TestReplicaForgets|TestForgetDead$"},
	{"a node that was forgotten has an ordinary death the next time",
		"internal/gossip/forget.go", "\t\tg.void = now\n\t\tf.m[o] = g\n\t}\n}\n", "\t\tf.m[o] = g\n\t}\n}\n",
		"./internal/gossip", "TestForgets$"},
	{"a tuned node looks for its members at once",
		"internal/gossip/retune.go", "\ts.seek()\n", "",
		"./internal/gossip", "TestTuneToTheShortest"},
	{"gossip lets no bad name in",
		"internal/catalog/codec.go", "return r, r.Check()", "return r, nil",
		"./internal/gossip", "TestBadNames"},
	{"a deletion by gossip lets no bad name in",
		"internal/catalog/codec.go", "if err := ValidName(k.Name); err != nil {", "if err := ValidName(k.Name); err != nil && false {",
		"./internal/catalog", "TestBadNames"},
	{"the API lets no bad name in",
		"internal/control/body.go", "return name, catalog.ValidName(name)", "return name, nil",
		"./internal/control", "TestBadNames"},
	{"the file lets no bad name in",
		"internal/config/name.go", "if err := catalog.ValidName(name); err != nil {", "if err := catalog.ValidName(name); err != nil && false {",
		"./internal/config", "TestBadNames"},
	{"no name is an option",
		"internal/catalog/name.go", "if name[0] == '-' {", "if name[0] == '-' && false {",
		"./internal/catalog", "TestBadNames"},
	{"no letter turns into one that is allowed",
		"internal/control/body.go", "name := catalog.LowerName(s)", "name := strings.ToLower(s)",
		"./internal/control", "TestBadNames"},
	{"a name whose owners are dead is not asked of others",
		"internal/nameserver/answer.go", "if n := v.Name(bare); n != nil {", "if n := v.Name(bare); n != nil && len(n.Entries) > 0 {",
		"./internal/nameserver", "Answer"},
	{"https_get trusts no certificate of a stranger",
		"internal/check/https.go", "InsecureSkipVerify: c.Bool(\"insecure\"),", "InsecureSkipVerify: true,",
		"./internal/check", "TestHTTPSCertificates"},
	{"an error page is bad, whatever it says",
		"internal/check/http.go", "case status != http.StatusOK:", "case status == 0:",
		"./internal/check", "TestNginx"},
	{"an application that says nothing is not well",
		"internal/check/push.go", "return fmt.Errorf(\"no report for %v: %w\", time.Since(began).Round(time.Millisecond), ctx.Err())", "_, _ = fmt.Errorf, began\n\t\treturn nil",
		"./internal/node", "TestPushCheck"},
	{"a report of the past is no report of now",
		"internal/check/push.go", "reports: make(chan bool)", "reports: make(chan bool, 10)",
		"./internal/check", "TestPush"},
	{"grpc_check is good for a service that serves, and for no other",
		"internal/check/grpc.go", "if status != serving {", "if status > 3 {",
		"./internal/check", "TestGRPC"},
	{"tls_check is bad for a certificate of somebody else",
		"internal/check/tls.go", "if err := cert.VerifyHostname(host); err != nil {", "if err := cert.VerifyHostname(host); err != nil && false {",
		"./internal/check", "TestTLSCertificates"},
	{"what a server repeats of what it was sent is not told",
		"internal/check/match.go", "if send == \"\" {", "if true {",
		"./internal/check", "TestUDPMatch"},
	{"an answer to another question is no answer",
		"internal/check/dns.go", "|| !h.Response || h.ID != id {", "|| !h.Response {",
		"./internal/check", "TestDNSAnswers"},
	{"the reply to another's echo request is none",
		"internal/check/ping.go", "return ok && bytes.Equal(echo.Data, nonce)", "return ok && (bytes.Equal(echo.Data, nonce) || len(echo.Data) == len(nonce))",
		"./internal/check", "TestPing"},
	{"a check that a reload took away takes no reports",
		"internal/node/push.go", "\tc.pushes.set(name, nil)\n", "",
		"./internal/node", "TestPushCheckReload"},
}

func TestMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.claim, func(t *testing.T) {
			code, err := os.ReadFile(m.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(code), m.old); n != 1 {
				t.Fatalf("%s has the text of this mutant %d times, want once: %q", m.file, n, m.old)
			}
			if !*runMutants {
				return
			}
			broken := filepath.Join(t.TempDir(), filepath.Base(m.file))
			if err := os.WriteFile(broken, []byte(strings.Replace(string(code), m.old, m.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			file, err := filepath.Abs(m.file)
			if err != nil {
				t.Fatal(err)
			}
			overlay := filepath.Join(t.TempDir(), "overlay.json")
			b, err := json.Marshal(map[string]map[string]string{"Replace": {file: broken}})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(overlay, b, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, "go", "test", "-count=1", "-vet=off", "-overlay", overlay, "-run", m.run, m.pkg).CombinedOutput()
			switch {
			case err == nil:
				t.Errorf("survived: %s %s passes with %q", m.pkg, m.run, m.new)
			case !strings.Contains(string(out), "--- FAIL"):
				t.Errorf("%s %s did not fail as a test does: %v\n%s", m.pkg, m.run, err, out)
			}
		})
	}
}
