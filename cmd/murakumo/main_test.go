package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"murakumo/internal/daemon"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"murakumo": main, installName: main})
}

// TestScripts runs testdata/*.txtar. Each has an address, $IP, and ports that are
// free there, $DNS and $GOSSIP and $PORT2 … $PORT4, a short folder for sockets,
// $SOCKS, and these commands beside the usual ones:
//
//	status N COMMAND…    exec that exits with N
//	subst FILE…          writes the variables in the files out
//	kill9 FOLDER         kills the daemon of this working-dir, as a crash does
//	hup FOLDER           sends it SIGHUP, and
//	quit FOLDER          SIGQUIT, by which the runtime prints what a crash does
//	ask NAME ANSWER…     asks the DNS at $IP $DNS
//	await FILE TEXT      waits until the file has the text
//	receive FILE         takes webhooks at $IP $PORT2, see there
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			// Under the race detector each process otherwise sleeps a second
			// before it exits.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			socks, err := os.MkdirTemp("", "mrk")
			if err != nil {
				return err
			}
			env.Setenv("SOCKS", socks)
			env.Defer(func() {
				endDaemons(env.WorkDir)
				os.RemoveAll(socks)
			})
			ip := loopback()
			env.Setenv("IP", ip)
			for _, name := range []string{"DNS", "GOSSIP", "PORT2", "PORT3", "PORT4"} {
				port, err := freePort(ip)
				if err != nil {
					return err
				}
				env.Setenv(name, port)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": func(ts *testscript.TestScript, _ bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				err = ts.Exec(args[1], args[2:]...)
				got := 0
				if exit, ok := errors.AsType[*exec.ExitError](err); ok {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if got != want {
					ts.Fatalf("status %d, want %d", got, want)
				}
			},
			"subst": func(ts *testscript.TestScript, _ bool, files []string) {
				for _, f := range files {
					text := os.Expand(ts.ReadFile(f), ts.Getenv)
					ts.Check(os.WriteFile(ts.MkAbs(f), []byte(text), 0o600))
				}
			},
			"kill9": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(killDaemon(pidFile(ts.MkAbs(args[0]))))
			},
			"hup": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(syscall.Kill(daemonOf(ts, args[0]), syscall.SIGHUP))
			},
			"quit": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(syscall.Kill(daemonOf(ts, args[0]), syscall.SIGQUIT))
			},
			"ask": func(ts *testscript.TestScript, _ bool, args []string) {
				r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(ts.Getenv("IP"), ts.Getenv("DNS")))
				}}
				got, err := r.LookupHost(context.Background(), args[0]+".")
				ts.Check(err)
				slices.Sort(got)
				if !slices.Equal(got, args[1:]) {
					ts.Fatalf("%s: got %q, want %q", args[0], got, args[1:])
				}
			},
			"receive": receive, // notices_test.go
			"await": func(ts *testscript.TestScript, _ bool, args []string) {
				for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
					b, err := os.ReadFile(ts.MkAbs(args[0]))
					if strings.Contains(string(b), args[1]) {
						return
					}
					if time.Now().After(deadline) {
						ts.Fatalf("%s has no %q: %s %v", args[0], args[1], b, err)
					}
				}
			},
		},
	})
}

// daemonOf gives the pid of the daemon with this working-dir.
func daemonOf(ts *testscript.TestScript, dir string) int {
	pid, ok, err := daemon.Find(pidFile(ts.MkAbs(dir)))
	ts.Check(err)
	if !ok {
		ts.Fatalf("no daemon in %s", dir)
	}
	return pid
}

// loopback gives an address that other tests, which may run beside this one,
// hardly have.
func loopback() string {
	return fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(64), rand.IntN(256), 1+rand.IntN(254))
}

// freePort gives a port that is free for UDP and TCP.
func freePort(ip string) (string, error) {
	for range 20 {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			return "", err
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		u, err := net.ListenPacket("udp", net.JoinHostPort(ip, port))
		if err == nil {
			defer u.Close()
			return port, nil
		}
	}
	return "", errors.New("no port is free")
}

// endDaemons kills what a script that failed has left.
func endDaemons(dir string) {
	filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
		if filepath.Base(path) == "murakumo.pid" {
			killDaemon(path)
		}
		return nil
	})
}

// killDaemon ends the daemon that holds the pid file as a crash does, and waits
// for its end: its parent is not ours.
func killDaemon(path string) error {
	for {
		pid, ok, err := daemon.Find(path)
		if err != nil || !ok {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
