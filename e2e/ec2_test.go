package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"murakumo/internal/ec2/ec2test"
)

// metadataAddr is where an instance looks for its metadata service.
const metadataAddr = "169.254.169.254"

// moving is for murakumo-ec2 to move the interface: the fake takes a second to
// detach it and a second to attach it, and readings are a second apart.
const moving = 10 * time.Second

// TestFailoverEC2 is the failover of the main job with murakumo-ec2 as the hook
// and as the init-script: when MariaDB dies, the network interface moves to the
// other host, and back when it returns. EC2 is the fake of internal/ec2/ec2test,
// on 10.0.0.2 with TLS, with a metadata service at its usual address, which
// knows each host by its address and gives it the keys of its role; the hosts
// are configured with nothing but the interface's id.
func TestFailoverEC2(t *testing.T) {
	if os.Getuid() != 0 {
		mayskip(t, "network namespaces need root")
	}
	require(t, "ip", "bridge", "dig", "mariadbd", "mariadb-install-db")
	x := shortened
	bin, tools := binaries(t), ec2Programs(t)

	l := newLab(t)
	one := l.addHost(t, "server-01", "10.0.0.133", "master", bin)
	two := l.addHost(t, "server-02", "10.0.0.55", "backup", bin)
	one.peer, two.peer = two, one
	c := &cloud{lab: l, one: one, two: two, tools: tools, ca: filepath.Join(l.dir, "ca.pem")}
	t.Cleanup(func() {
		if t.Failed() || *dump {
			one.dump(t)
			two.dump(t)
			text, _ := os.ReadFile(c.logPath())
			t.Logf("==== the fake EC2 ====\n%s", text)
		}
	})
	c.start(t)
	for _, h := range []*host{one, two} {
		c.configure(t, h, x)
		h.prepareDatabase(t)
		h.startDatabase(t)
	}

	// The init-script finds out who is who.
	marks := map[*host]mark{one: one.mark(), two: two.mark()}
	one.startDaemon(t)
	two.startDaemonBehind(t, x)
	both := []*host{one, two}
	for _, h := range both {
		wait(t, h.name+" shows the table", x.firstVerdict()+x.spread()+moving, func() string {
			h.mustRun(t)
			return h.table(both)
		})
	}
	one.waitLog(t, marks[one], "initial activity: mysql-server: active", x.firstDuty())
	two.waitLog(t, marks[two], "initial activity: mysql-server: inactive", x.firstDuty())
	if wrong := c.at(t, one); wrong != "" {
		t.Fatal(wrong)
	}
	if got := c.run(t, one, "ip-address"); got != one.addr+"\n" {
		t.Errorf("ip-address tells %q", got)
	}

	m1, m2 := one.mark(), two.mark()
	one.db.kill()
	two.waitLog(t, m2, "activity condition changed: mysql-server: active", x.toUnhealthy()+x.spread()+x.toActive())
	two.waitLog(t, m2, "hook ended: mysql-server: active: ok", moving+slack)
	if wrong := c.at(t, two); wrong != "" {
		t.Fatal(wrong)
	}
	// What the hook said is in the log, and which transition it was, in the tag.
	if text := strings.Join(two.lines(m2.log), ""); !strings.Contains(text, "eni-0move: attached to i-0two as eni-attach-") || !strings.Contains(text, "detached from eni-attach-0 of i-0one") {
		t.Error("server-02's log does not have the hook's line")
	}
	if text := strings.Join(two.lines(m2.log), ""); !strings.Contains(text, "the route to the metadata service (169.254.169.254) leads over eni1 and not over eth0") {
		t.Error("server-02's log does not warn of the route to the metadata service")
	}
	if got := c.run(t, two, "query", "DescribeTags", "Filter.1.Name=key", "Filter.1.Value.1=murakumo:token"); !strings.Contains(got, "<value>1</value>") {
		t.Errorf("the token is not 1: %s", got)
	}

	one.startDatabase(t)
	one.waitLog(t, m1, "activity condition changed: mysql-server: active", x.toHealthy()+x.toActive())
	one.waitLog(t, m1, "hook ended: mysql-server: active: ok", moving+slack)
	two.waitLog(t, m2, "activity condition changed: mysql-server: inactive", x.toHealthy()+x.spread()+x.toInactive())
	hold(t, "server-01 has the interface again", x.margin(), func() string { return c.at(t, one) })
	for _, h := range both {
		h.stopDaemon(t, 10*time.Second)
	}
}

// ec2Programs builds murakumo-ec2 and the fake, and gives their folder.
func ec2Programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	// As the hook it is run by the daemon, which looks at who may write it.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/", "./cmd/murakumo-ec2", "./internal/ec2/ec2test/ec2fake")
	cmd.Dir = top(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// A cloud is the fake EC2 and what it does to the network.
type cloud struct {
	lab      *lab
	one, two *host
	tools    string
	ca       string // certificate of the API
}

func (c *cloud) logPath() string { return filepath.Join(c.lab.dir, "ec2fake.log") }

// start runs the fake, and gives the master the interface that will move.
func (c *cloud) start(t *testing.T) {
	t.Helper()
	const zone, vpc, subnet = "ap-northeast-1a", "vpc-1", "subnet-1"
	iface := func(id, mac, attachment, instance string, index int, addr string) ec2test.Interface {
		return ec2test.Interface{ID: id, Subnet: subnet, VPC: vpc, Zone: zone, MAC: mac, Addresses: []string{addr},
			Attachment: &ec2test.Attachment{ID: attachment, Instance: instance, Index: index}}
	}
	world, err := json.Marshal(ec2test.World{
		Region: "ap-northeast-1", Keys: map[string]string{},
		Instances: []ec2test.Instance{{ID: "i-0one", VPC: vpc, Zone: zone, Role: "failover"}, {ID: "i-0two", VPC: vpc, Zone: zone, Role: "failover"}},
		Interfaces: []ec2test.Interface{
			iface("eni-0one", "02:00:00:00:00:01", "eni-attach-01", "i-0one", 0, c.one.addr),
			iface("eni-0two", "02:00:00:00:00:02", "eni-attach-02", "i-0two", 0, c.two.addr),
			iface("eni-0move", "02:00:00:00:00:03", "eni-attach-0", "i-0one", 1, movedAddr),
		},
		Tags: map[string]map[string]string{"i-0one": {"Name": c.one.name}, "i-0two": {"Name": c.two.name}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.lab.dir, "world.json")
	write(t, file, string(world), 0o644)
	move := filepath.Join(c.lab.dir, "move_eni")
	var script bytes.Buffer
	err = template.Must(template.ParseFiles("testdata/move_eni")).Execute(&script, map[string]string{
		"One": c.one.ns, "Two": c.two.ns, "Bridge": c.lab.bridge, "Address": movedAddr,
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, move, script.String(), 0o755)

	bridge := c.lab.bridge
	run(t, "ip", "-n", bridge, "addr", "add", metadataAddr+"/32", "dev", "br0")
	for _, h := range []*host{c.one, c.two} {
		run(t, "ip", "-n", h.ns, "route", "add", "default", "via", resolverAddr, "dev", "eth0")
		// An interface speaks for its own address only, as in a VPC: otherwise
		// the neighbours would look for the host at the one that moves away.
		run(t, "ip", "netns", "exec", h.ns, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore && echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce")
	}
	run(t, "ip", "link", "add", "name", "eni1", "netns", bridge, "type", "veth", "peer", "name", "to-eni", "netns", bridge)
	run(t, "ip", "-n", bridge, "link", "set", "to-eni", "master", "br0", "up")
	run(t, move, "attached", "eni-0move", "i-0one", "1")

	p := start(t, c.lab.life, "ec2fake", c.logPath(), in(bridge, filepath.Join(c.tools, "ec2fake"), "-world", file,
		"-api", resolverAddr+":443", "-metadata", metadataAddr+":80", "-ca", c.ca, "-exec", move, "-attach", "1s", "-detach", "1s"))
	wait(t, "the fake EC2 listens", settle, func() string {
		text, _ := os.ReadFile(c.logPath())
		if !p.alive() {
			t.Fatalf("ec2fake ended: %v\n%s", p.err, text)
		}
		if !strings.Contains(string(text), "AWS_EC2_METADATA_SERVICE_ENDPOINT") {
			return "it has not said so"
		}
		return ""
	})
}

// flags are the only two that a real EC2 would not need.
func (c *cloud) flags() []string {
	return []string{"--endpoint", "https://" + resolverAddr, "--ca-bundle", c.ca}
}

// configure writes the host's file: the sample, with murakumo-ec2 as its hook
// and init-script.
func (c *cloud) configure(t *testing.T, h *host, x timing) {
	t.Helper()
	tool := filepath.Join(c.tools, "murakumo-ec2")
	text := x.file(t)
	text = replaceOnce(t, text, "mysql-server,60,master,100", "mysql-server,60,"+h.priority+",100")
	text = replaceOnce(t, text, "/usr/local/sbin/attach_if", strings.Join(append([]string{tool, "attach-interface -n eni-0move --token transition"}, c.flags()...), " "))
	before, rest, _ := strings.Cut(text, "notification:\n")
	_, after, ok := strings.Cut(rest, "# alias hostname")
	if !ok {
		t.Fatal("the sample file has no notification before its alias")
	}
	text = before + "# alias hostname" + after
	text += fmt.Sprintf("socket: %s\nworking-dir: %s\nlog-path: %s\ninit-script: %s\n", h.socket(), filepath.Join(h.dir, "var"), h.logPath(),
		strings.Join(append([]string{tool, "init"}, c.flags()...), " "))
	write(t, filepath.Join(h.dir, "murakumo.yml"), text, 0o600)
	if err := os.MkdirAll(filepath.Join(h.dir, "var"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// run runs murakumo-ec2 on a host, with the environment that a hook has.
func (c *cloud) run(t *testing.T, h *host, args ...string) string {
	t.Helper()
	cmd := c.command(h, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: murakumo-ec2 %s: %v\n%s", h.name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (c *cloud) command(h *host, args ...string) *exec.Cmd {
	if args[0] != "ip-address" {
		args = append(args, c.flags()...)
	}
	cmd := in(h.ns, append([]string{filepath.Join(c.tools, "murakumo-ec2")}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}
	return cmd
}

// at says why the interface is not on h and only there, "" if it is: EC2 says
// so on both hosts, the host has it, DNS points there, and what is asked at its
// address from the other host is answered.
func (c *cloud) at(t *testing.T, h *host) string {
	t.Helper()
	for _, o := range []*host{c.one, c.two} {
		o.mustRun(t)
		out, err := c.command(o, "check", "-n", "eni-0move").CombinedOutput()
		if (err == nil) != (o == h) {
			return fmt.Sprintf("%s: check: %v: %s", o.name, err, out)
		}
		addrs, _ := exec.Command("ip", "-n", o.ns, "-o", "addr", "show").Output()
		if has := strings.Contains(string(addrs), " "+movedAddr+"/"); has != (o == h) {
			return fmt.Sprintf("%s has %s: %t", o.name, movedAddr, has)
		}
		if wrong := o.resolves(h.addr); wrong != "" {
			return wrong
		}
	}
	a, err := dig(h.peer.ns, movedAddr, "mysql-server")
	if err != nil {
		return err.Error()
	}
	return a.wantOurs(60, "mysql-server. A "+h.addr)
}

// TestInstall: make install puts the programs and the original's names where it
// is told to, and the names work.
func TestInstall(t *testing.T) {
	dest := t.TempDir()
	cmd := exec.Command("make", "--no-print-directory", "install", "BIN="+t.TempDir(), "DESTDIR="+dest, "PREFIX=/usr")
	cmd.Dir = top(t)
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MFLAGS=", "MAKELEVEL=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	for name, command := range map[string]string{
		"murakumo-ec2": "<command>", "murakumo-show-ip-address": "ip-address", "murakumo-show-ec2-tags": "tags",
		"murakumo-show-ec2-instances": "instances", "murakumo-show-ec2-interfaces": "interfaces",
		"murakumo-show-ec2-private-ip-addresses": "private-ip-addresses", "murakumo-attach-ec2-attach-interface": "attach-interface",
	} {
		out, err := exec.Command(filepath.Join(dest, "usr/bin", name), "--help").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "Usage: murakumo-ec2 "+command+" ") {
			t.Errorf("%s --help: %v\n%s", name, err, out)
		}
	}
	for _, name := range []string{"bin/murakumo", "bin/mrkmctl", "share/murakumo/murakumo.yml", "share/murakumo/murakumo.schema.json", "share/murakumo/hardened.conf"} {
		if _, err := os.Stat(filepath.Join(dest, "usr", name)); err != nil {
			t.Error(err)
		}
	}
	unit := filepath.Join(dest, "etc/systemd/system/murakumo.service")
	run(t, filepath.Join(dest, "usr/bin/murakumo-install-init-script"), "--root", dest)
	if text, err := os.ReadFile(unit); err != nil || !strings.Contains(string(text), "\nExecStart="+dest+"/usr/bin/murakumo -c ") {
		t.Errorf("the unit is not for the program that was installed: %v\n%s", err, text)
	}
}
