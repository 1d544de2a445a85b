package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"text/template"
	"time"

	"murakumo/internal/control"
)

// devNodes are the hosts of the development cluster: loopback addresses stand
// in for hosts, and one process each for the daemons.
var devNodes = []struct{ Addr, Name, Priority string }{
	{"127.0.0.1", "server-1", "master"},
	{"127.0.0.2", "server-2", "secondary"},
	{"127.0.0.3", "server-3", "backup"},
}

// devConfig is the file of each node. The nodes know each other's addresses
// only as hosts do, from initial-nodes; everything else they learn by gossip.
var devConfig = template.Must(template.New("").Parse(`---
address: {{.Addr}}
port: {{.DNS}}
auth-key: {{.Key}}
host: {{.Addr}}, {{.Name}}, 5
initial-nodes: 127.0.0.1, 127.0.0.2, 127.0.0.3
gossip-port: {{.Gossip}}
gossip-node-lifetime: 3
gossip-send-interval: 0.1
socket: {{.Dir}}/{{.Name}}.sock
working-dir: {{.Dir}}/{{.Name}}
domain: dev.internal
domain-owned: true
alias:
  - web,5,{{.Priority}},100
health-check:
  web:
    interval: 0.5
    timeout: 0.5
    healthy: 2
    unhealthy: 2
    script: http_get '/', [200], {{.Web}}, '{{.Addr}}'
activity-check:
  web:
    start-delay: 0.5
    interval: 0.5
    active: 2
    inactive: 2
    on-activate: [/bin/sh, {{.Dir}}/hook.sh]
    on-inactivate: [/bin/sh, {{.Dir}}/hook.sh]
`))

// devHook stands for what moves an interface or an address; it only tells.
const devHook = `# Murakumo runs this when duty changes: ADDRESS NAME STATUS
echo "$(date +%T) hook: $1 $2 $3 ($MURAKUMO_REASON, transition $MURAKUMO_TRANSITION)" >> "$(dirname "$0")/hooks.log"
`

// devCluster is what dev started.
type devCluster struct {
	dir string
	out io.Writer

	mu       sync.Mutex // guards what follows, and out
	children []*devChild
	stopping bool
}

// devChild is one process of the cluster; it can be started again.
type devChild struct {
	title string // "web on 127.0.0.1"
	again string // "the service", "the node"
	args  []string
	log   string
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process is gone
}

// dev runs the cluster until ctx is done and leaves nothing behind.
func dev(ctx context.Context, std stdio) error {
	dir, err := os.MkdirTemp("", "murakumo-dev-")
	if err != nil {
		return fmt.Errorf("a folder for the cluster: %w", err)
	}
	defer os.RemoveAll(dir)
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the program itself: %w", err)
	}
	c := &devCluster{dir: dir, out: std.out}
	defer c.stop()
	ports, err := devPorts()
	if err != nil {
		return err
	}
	if err := c.start(exe, ports); err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	c.intro(ctx, exe, ports)
	go c.restartOnEnter(ctx, std.in)
	c.follow(ctx)
	c.say("\nstopping: every node hands over, says goodbye and ends")
	return nil
}

// ports are chosen once, free on all addresses of the cluster.
type ports struct{ DNS, Gossip, Web int }

// devPorts takes the first of each kind that is free for UDP and TCP on every
// address. Nothing holds them until the nodes start; a clash in between is
// told by the node that meets it.
func devPorts() (p ports, err error) {
	for _, c := range []struct {
		port  *int
		first int
		what  string
	}{{&p.DNS, 5300, "DNS"}, {&p.Gossip, 10870, "gossip"}, {&p.Web, 8080, "the web service"}} {
		for port := c.first; *c.port == 0; port += 10 {
			if port >= c.first+1000 {
				return p, fmt.Errorf("no port for %s is free on 127.0.0.1 … 127.0.0.3 between %d and %d", c.what, c.first, port)
			}
			if free(port) {
				*c.port = port
			}
		}
	}
	return p, nil
}

func free(port int) bool {
	for _, n := range devNodes {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", n.Addr, port))
		if err != nil {
			return false
		}
		l.Close()
		u, err := net.ListenPacket("udp", fmt.Sprintf("%s:%d", n.Addr, port))
		if err != nil {
			return false
		}
		u.Close()
	}
	return true
}

// start writes the files and starts services and nodes.
func (c *devCluster) start(exe string, p ports) error {
	if err := os.WriteFile(filepath.Join(c.dir, "hook.sh"), []byte(devHook), 0o644); err != nil {
		return err
	}
	key := rand.Text()
	for _, n := range devNodes {
		var file strings.Builder
		err := devConfig.Execute(&file, struct {
			Addr, Name, Priority, Key, Dir string
			ports
		}{n.Addr, n.Name, n.Priority, key, c.dir, p})
		if err != nil {
			return err
		}
		path := filepath.Join(c.dir, n.Name+".yml")
		if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
			return err
		}
		for _, child := range []*devChild{
			{title: "web on " + n.Addr, args: []string{exe, "dev-service", fmt.Sprintf("%s:%d", n.Addr, p.Web), n.Name}, log: "web-" + n.Name + ".log"},
			{title: "node " + n.Name, args: []string{exe, "-c", path}, log: n.Name + ".log"},
		} {
			c.mu.Lock()
			c.children = append(c.children, child)
			err := c.spawn(child)
			c.mu.Unlock()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// spawn starts a child. Callers hold mu.
func (c *devCluster) spawn(child *devChild) error {
	log, err := os.OpenFile(filepath.Join(c.dir, child.log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(child.args[0], child.args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C reaches dev alone and the nodes end
	// in order; and a signal from the kernel should dev itself be killed.
	cmd.SysProcAttr = childAttr()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", child.title, err)
	}
	child.cmd, child.ended = cmd, make(chan struct{})
	ended := child.ended
	go func() {
		err := cmd.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.stopping {
			how := "ended"
			if err != nil {
				how = err.Error()
			}
			fmt.Fprintf(c.out, "%s  %s (pid %d): %s; press Enter to start it again\n", clock(), child.title, cmd.Process.Pid, how)
		}
		close(ended)
	}()
	return nil
}

func (child *devChild) gone() bool {
	select {
	case <-child.ended:
		return true
	default:
		return false
	}
}

// settle waits until the first node sees every record Active, or says what is
// missing.
func (c *devCluster) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for active := 0; ; {
		records, err := control.NewClient(c.socket(0)).Records(ctx, "")
		if err == nil {
			active = 0
		}
		for _, r := range records {
			if r.Activity == "active" && (r.Priority == "origin" || r.Duty != "undefined") {
				active++
			}
		}
		if active == 2*len(devNodes) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil
			}
			return fmt.Errorf("after 30 s the first node shows %d of %d records Active (%v); its log:\n%s",
				active, 2*len(devNodes), err, c.tail(devNodes[0].Name+".log"))
		}
	}
}

func (c *devCluster) socket(i int) string { return filepath.Join(c.dir, devNodes[i].Name+".sock") }

// tail gives the end of a log.
func (c *devCluster) tail(name string) string {
	b, _ := os.ReadFile(filepath.Join(c.dir, name))
	return string(b[max(0, len(b)-4096):])
}

// intro prints the screen that a newcomer follows.
func (c *devCluster) intro(ctx context.Context, exe string, p ports) {
	mrkmctl := filepath.Join(filepath.Dir(exe), "mrkmctl")
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, mrkmctl); err == nil && !strings.HasPrefix(rel, "..") {
			mrkmctl = rel
		}
	}
	records, _ := control.NewClient(c.socket(0)).Records(ctx, "")
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.out, "murakumo dev: three nodes on this machine. The table, as %s sees it:\n\n", devNodes[0].Name)
	fmt.Fprint(c.out, control.TableText(records))
	fmt.Fprintf(c.out, `
ask the DNS             dig @127.0.0.1 -p %d web +short
show the table          %s -S %s -L
stop the master's web   kill %d
kill the master's node  kill -9 %d
start it again          press Enter here
end everything          Ctrl-C

Any node answers (127.0.0.1, 127.0.0.2, 127.0.0.3). Files and logs: %s
Every change from here on, as one of the nodes sees it:

`, p.DNS, mrkmctl, c.socket(0), c.children[0].cmd.Process.Pid, c.children[1].cmd.Process.Pid, c.dir)
}

// follow prints every change until ctx is done, as seen by the first node that
// can be asked.
func (c *devCluster) follow(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i = (i + 1) % len(devNodes) {
		_ = control.NewClient(c.socket(i)).Watch(ctx, func(e control.Event) error {
			if e.Kind != control.EventReady {
				c.say(clock() + "  " + e.String())
			}
			return nil
		})
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond): // it is down: ask the next
		}
	}
}

func clock() string { return time.Now().Format("15:04:05.0") }

func (c *devCluster) say(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintln(c.out, line)
}

// restartOnEnter starts what has ended again, at each line that is read.
func (c *devCluster) restartOnEnter(ctx context.Context, in io.Reader) {
	for lines := bufio.NewScanner(in); lines.Scan() && ctx.Err() == nil; {
		c.mu.Lock()
		for _, child := range c.children {
			if c.stopping || !child.gone() {
				continue
			}
			if err := c.spawn(child); err != nil {
				fmt.Fprintf(c.out, "%s  %v\n", clock(), err)
				continue
			}
			fmt.Fprintf(c.out, "%s  %s: started again (pid %d)\n", clock(), child.title, child.cmd.Process.Pid)
		}
		c.mu.Unlock()
	}
}

// stop ends every child, the nodes before their services.
func (c *devCluster) stop() {
	c.mu.Lock()
	c.stopping = true
	children := c.children
	c.mu.Unlock()
	for _, nodes := range []bool{true, false} {
		var group []*devChild
		for _, child := range children {
			if child.cmd != nil && child.isNode() == nodes {
				group = append(group, child)
				_ = child.cmd.Process.Signal(syscall.SIGTERM)
			}
		}
		late, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, child := range group {
			select {
			case <-child.ended:
			case <-late.Done():
				_ = child.cmd.Process.Kill()
				<-child.ended
			}
		}
	}
}

func (child *devChild) isNode() bool { return strings.HasPrefix(child.title, "node ") }
