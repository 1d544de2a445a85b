package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"murakumo/internal/config"
	"murakumo/internal/node"
)

// TestNode runs testdata/node/*.txtar against real daemons: `node FILE` is one,
// all of it but for its command line. Each script has a.yml and b.yml, two hosts
// on loopback addresses of which the first has the master and the second the
// backup of mysql-server, their sockets $A and $B, and these commands beside the
// usual ones:
//
//	status N COMMAND…           exec that exits with N
//	until PATTERN COMMAND…      runs it again until its output matches
//	until -file FILE PATTERN    waits until a file matches, such as $RUN/a.log
//	service up|down             what the health checks of both hosts ask
//	expand FILE                 replaces $VARIABLES in a file
//	connect ADDRESS             opens a connection and closes it
func TestNode(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/node",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			// Scripts' own folders have long names; a socket's path is short.
			dir, err := os.MkdirTemp("", "mrkm")
			if err != nil {
				return err
			}
			env.Defer(func() { os.RemoveAll(dir) })
			service := &service{at: "127.0.0.1:0"}
			if err := service.up(); err != nil {
				return err
			}
			env.Defer(service.down)
			env.Values["service"] = service
			_, port, _ := net.SplitHostPort(service.at)
			for key, value := range map[string]string{
				"GORACE": "atexit_sleep_ms=0", // else each process sleeps before it exits
				"RUN":    dir, "A": dir + "/a.sock", "B": dir + "/b.sock",
				"SERVICE": port,
				"DNS":     strconv.Itoa(freePort("127.0.0.133", "127.0.0.55")),
				"GOSSIP":  strconv.Itoa(freePort("127.0.0.133", "127.0.0.55")),
			} {
				env.Setenv(key, value)
			}
			for _, name := range []string{"a.yml", "b.yml"} {
				text, err := os.ReadFile(filepath.Join("testdata/node", name))
				if err != nil {
					return err
				}
				expanded := os.Expand(string(text), env.Getenv)
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(expanded), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status,
			"until":  until,
			"service": func(ts *testscript.TestScript, _ bool, args []string) {
				s := ts.Value("service").(*service)
				if slices.Equal(args, []string{"down"}) {
					s.down()
					return
				}
				ts.Check(s.up())
			},
			"connect": func(ts *testscript.TestScript, _ bool, args []string) {
				if c, err := net.Dial("tcp", args[0]); err == nil {
					c.Close()
				}
			},
			"expand": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
			},
		},
	})
}

// patience is an end that only a broken program reaches, on the slowest machine.
const patience = time.Minute

func until(ts *testscript.TestScript, _ bool, args []string) {
	look := func() string {
		// Not by ts.Exec, which would print each attempt.
		dir, _, _ := strings.Cut(ts.Getenv("PATH"), string(os.PathListSeparator))
		cmd := exec.Command(filepath.Join(dir, args[1]), args[2:]...)
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	pattern := args[0]
	if pattern == "-file" {
		pattern = args[2]
		look = func() string {
			text, _ := os.ReadFile(ts.MkAbs(args[1]))
			return string(text)
		}
	}
	re, err := regexp.Compile("(?m)" + pattern)
	ts.Check(err)
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		text := look()
		if re.MatchString(text) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s does not match in\n%s", pattern, text)
		}
	}
}

// service is what the nodes' health checks ask.
type service struct {
	at string
	l  net.Listener
}

func (s *service) up() error {
	l, err := net.Listen("tcp", s.at)
	if err == nil {
		s.l, s.at = l, l.Addr().String()
	}
	return err
}

func (s *service) down() { s.l.Close() }

var given sync.Map // ports that freePort gave

// freePort gives a port that is free for TCP and UDP at all of the addresses, and
// is none of those that the kernel gives to others.
func freePort(hosts ...string) int {
next:
	for {
		port := 20000 + rand.N(10000)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		for _, host := range hosts {
			at := net.JoinHostPort(host, strconv.Itoa(port))
			l, err := net.Listen("tcp", at)
			if err != nil {
				continue next
			}
			l.Close()
			u, err := net.ListenPacket("udp", at)
			if err != nil {
				continue next
			}
			u.Close()
		}
		return port
	}
}

// runNode is the program `node FILE`: a daemon in the foreground. It exits with 3
// when it was removed from the cluster.
func runNode() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := func() error {
		cfg, err := config.Load(os.Args[1], config.Options{})
		if err != nil {
			return err
		}
		output, err := node.OpenLog(cfg.Log, os.Stderr)
		if err != nil {
			return err
		}
		defer output.Close()
		n, err := node.New(cfg, node.Env{Log: output.Logger(), Output: output}, "1.2.3")
		if err != nil {
			return err
		}
		return n.Run(ctx)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}
