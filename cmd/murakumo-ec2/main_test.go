package main

import (
	"archive/zip"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"murakumo/internal/ec2/ec2test"
)

func TestMain(m *testing.M) {
	programs := map[string]func(){"murakumo-ec2": main}
	for name := range oldNames {
		programs[name] = main
	}
	testscript.Main(m, programs)
}

// TestScripts runs testdata/*.txtar. Each script has a fake EC2 (package ec2test)
// of its own, over TLS, with the world below, and a metadata service that takes
// it for the instance i-1; the environment says where they are and has keys.
// These commands are there beside the usual ones:
//
//	status N COMMAND…                exec that exits with N
//	deny ACTION…                     nobody may do these any more
//	event INSTANCE CODE TEXT [DAYS]  a scheduled event, that many days from now
//	attach ENI INSTANCE [INDEX]      somebody attaches an interface
//	hang INSTANCE                    it lets go of interfaces by force only
//	clock DURATION                   the fake's clock is ahead
//	slow DURATION                    every request to the API takes so long
//	lose ACTION                      the first answer to this is lost
//	throttle ACTION N                the first N requests are refused
//	metadata on|off|hop-limit        what the metadata service does
//	holder ENI INSTANCE|none         fails unless it is attached there
//	untag INSTANCE                   its tags are gone
//	zip FILE MEMBER…                 makes an archive with these members
//	serve FILE                       serves it below $FILES
//	asked [ACTION…]                  what was asked since the last time, without
//	                                 repetitions in a row
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               setup,
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
			"deny": func(ts *testscript.TestScript, _ bool, args []string) {
				fakeOf(ts).Change(func(w *ec2test.World) { w.Denied = append(w.Denied, args...) })
			},
			"event": func(ts *testscript.TestScript, _ bool, args []string) {
				e := ec2test.Event{ID: "instance-event-1", Code: args[1], Description: args[2]}
				if len(args) > 3 {
					days, err := strconv.Atoi(args[3])
					ts.Check(err)
					e.NotBefore = time.Now().Add(time.Duration(days) * 24 * time.Hour)
				}
				fakeOf(ts).Change(func(w *ec2test.World) {
					i := slices.IndexFunc(w.Instances, func(i ec2test.Instance) bool { return i.ID == args[0] })
					w.Instances[i].Events = append(w.Instances[i].Events, e)
				})
			},
			"attach": func(ts *testscript.TestScript, _ bool, args []string) {
				index := 1
				if len(args) > 2 {
					var err error
					index, err = strconv.Atoi(args[2])
					ts.Check(err)
				}
				fakeOf(ts).Change(func(w *ec2test.World) {
					i := slices.IndexFunc(w.Interfaces, func(n ec2test.Interface) bool { return n.ID == args[0] })
					w.Interfaces[i].Attachment = &ec2test.Attachment{ID: "eni-attach-" + strings.ReplaceAll(args[1], "-", "") + "x", Instance: args[1], Index: index, Since: time.Now(), Status: "attached"}
				})
			},
			"untag": func(ts *testscript.TestScript, _ bool, args []string) {
				fakeOf(ts).Change(func(w *ec2test.World) { delete(w.Tags, args[0]) })
			},
			"zip":   func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(archive(ts.MkAbs(args[0]), args[1:])) },
			"serve": serve,
			"hang": func(ts *testscript.TestScript, _ bool, args []string) {
				fakeOf(ts).Change(func(w *ec2test.World) {
					i := slices.IndexFunc(w.Instances, func(i ec2test.Instance) bool { return i.ID == args[0] })
					w.Instances[i].Hung = true
				})
			},
			"clock":    func(ts *testscript.TestScript, _ bool, args []string) { setOf(ts).clock(ts, args[0]) },
			"slow":     func(ts *testscript.TestScript, _ bool, args []string) { setOf(ts).slow(ts, args[0]) },
			"lose":     func(ts *testscript.TestScript, _ bool, args []string) { setOf(ts).lose(args[0]) },
			"throttle": func(ts *testscript.TestScript, _ bool, args []string) { setOf(ts).throttle(ts, args[0], args[1]) },
			"metadata": func(ts *testscript.TestScript, _ bool, args []string) {
				s := setOf(ts)
				s.o.HopLimit, s.o.MetadataOff = args[0] == "hop-limit", args[0] == "off"
				s.f.Set(s.o)
			},
			"holder": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, n := range fakeOf(ts).World().Interfaces {
					got := "none"
					if n.Attachment != nil {
						got = n.Attachment.Instance
					}
					if n.ID == args[0] && got != args[1] {
						ts.Fatalf("%s has %s", got, n.ID)
					}
				}
			},
			"asked": func(ts *testscript.TestScript, _ bool, want []string) {
				s := setOf(ts)
				var got []string
				journal := s.f.Journal()
				for _, e := range journal[s.seen:] {
					a := e.Action
					if e.DryRun {
						a += "?"
					}
					if len(got) == 0 || got[len(got)-1] != a {
						got = append(got, a)
					}
				}
				s.seen = len(journal)
				if !slices.Equal(got, want) {
					ts.Fatalf("asked %q, want %q", got, want)
				}
			},
		},
	})
}

// archive writes a zip whose members contain their names.
func archive(path string, members []string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	for _, m := range members {
		w, err := z.Create(m)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, m); err != nil {
			return err
		}
	}
	return errors.Join(z.Close(), f.Close())
}

// serve serves a file, and slow.zip, which never ends.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/" + args[0]:
			http.ServeFile(w, r, ts.MkAbs(args[0]))
		case "/slow.zip":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	ts.Defer(s.Close)
	ts.Setenv("FILES", s.URL)
}

// set is what a script has.
type set struct {
	f    *ec2test.Fake
	o    ec2test.Options
	seen int // of the journal

	mu     sync.Mutex // guards what follows
	faults map[string]ec2test.Fault
	times  map[string]int
	delay  time.Duration
}

func setOf(ts *testscript.TestScript) *set           { return ts.Value("set").(*set) }
func fakeOf(ts *testscript.TestScript) *ec2test.Fake { return setOf(ts).f }

func (s *set) fault(r ec2test.Request) ec2test.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var f ec2test.Fault
	if s.times[r.Action] > 0 && r.Params["DryRun"] == "" {
		s.times[r.Action]--
		f = s.faults[r.Action]
	}
	f.Delay = s.delay
	return f
}

func (s *set) lose(action string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[action], s.times[action] = ec2test.Fault{Lose: true}, 1
}

func (s *set) throttle(ts *testscript.TestScript, action, n string) {
	times, err := strconv.Atoi(n)
	ts.Check(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[action], s.times[action] = ec2test.Fault{Code: "RequestLimitExceeded"}, times
}

func (s *set) slow(ts *testscript.TestScript, d string) {
	delay, err := time.ParseDuration(d)
	ts.Check(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = delay
}

func (s *set) clock(ts *testscript.TestScript, d string) {
	off, err := time.ParseDuration(d)
	ts.Check(err)
	s.o.ClockOff = off
	s.f.Set(s.o)
}

func setup(env *testscript.Env) error {
	s := &set{faults: map[string]ec2test.Fault{}, times: map[string]int{}}
	s.o = ec2test.Options{AttachDelay: 50 * time.Millisecond, DetachDelay: 50 * time.Millisecond, Fault: s.fault}
	s.f = ec2test.New(world(), s.o)
	api := httptest.NewUnstartedServer(s.f)
	api.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	api.StartTLS()
	env.Defer(api.Close)
	meta := httptest.NewServer(s.f.Metadata(func(*http.Request) string { return "i-1" }))
	env.Defer(meta.Close)
	env.Defer(meta.CloseClientConnections)
	bundle := filepath.Join(env.WorkDir, "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}), 0o600); err != nil {
		return err
	}
	env.Values["set"] = s
	for k, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAONE", "AWS_SECRET_ACCESS_KEY": "one secret", "AWS_ENDPOINT_URL_EC2": api.URL, "AWS_CA_BUNDLE": bundle,
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": meta.URL, "AWS_CONFIG_FILE": filepath.Join(env.WorkDir, "config"),
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(env.WorkDir, "credentials"), "URL": api.URL,
		// Under the race detector each process otherwise sleeps a second
		// before it exits.
		"GORACE": "atexit_sleep_ms=0",
	} {
		env.Setenv(k, v)
	}
	return nil
}

// world has two instances that run and one that does not, eni-9 attached to
// i-2, and an Elastic IP, an address and a route there.
func world() ec2test.World {
	const zone, vpc = "ap-northeast-1a", "vpc-1"
	iface := func(id, mac, attachment, instance string, index int, addrs ...string) ec2test.Interface {
		return ec2test.Interface{ID: id, Subnet: "subnet-1", VPC: vpc, Zone: zone, MAC: mac, Addresses: addrs,
			Attachment: &ec2test.Attachment{ID: attachment, Instance: instance, Index: index}}
	}
	w := ec2test.World{
		Keys: map[string]string{"AKIAONE": "one secret"},
		Instances: []ec2test.Instance{
			{ID: "i-1", VPC: vpc, Zone: zone, Role: "failover"}, {ID: "i-2", VPC: vpc, Zone: zone}, {ID: "i-3", VPC: vpc, Zone: zone, State: "stopped"},
			{ID: "i-4", VPC: "vpc-2", Zone: "ap-northeast-1c"}, {ID: "i-5", State: "terminated"},
		},
		Interfaces: []ec2test.Interface{
			iface("eni-1", "02:00:00:00:00:01", "eni-attach-1", "i-1", 0, "10.0.0.1"),
			iface("eni-2", "02:00:00:00:00:02", "eni-attach-2", "i-2", 0, "10.0.0.2", "10.0.0.200"),
			iface("eni-3", "02:00:00:00:00:03", "eni-attach-3", "i-3", 0, "10.0.0.3"),
			iface("eni-9", "02:00:00:00:00:09", "eni-attach-9", "i-2", 1, "10.0.0.100"),
			{ID: "eni-free", Subnet: "subnet-1", VPC: vpc, Zone: zone, MAC: "02:00:00:00:00:0f", Addresses: []string{"10.0.0.150"}},
			{ID: "eni-lb", Subnet: "subnet-1", VPC: vpc, Zone: zone, Addresses: []string{"10.0.0.151"}, Managed: "ELB app/web",
				Attachment: &ec2test.Attachment{ID: "ela-attach-1", Index: 1}},
			{ID: "eni-4", Subnet: "subnet-2", VPC: "vpc-2", Zone: "ap-northeast-1c", MAC: "02:00:00:00:00:04", Addresses: []string{"10.2.0.4"},
				Attachment: &ec2test.Attachment{ID: "eni-attach-4", Instance: "i-4", Index: 0}},
			{ID: "eni-far", Subnet: "subnet-2", VPC: "vpc-2", Zone: "ap-northeast-1c", MAC: "02:00:00:00:00:08", Addresses: []string{"10.2.0.100"},
				Attachment: &ec2test.Attachment{ID: "eni-attach-far", Instance: "i-4", Index: 1}},
		},
		Addresses: []ec2test.Address{
			{Allocation: "eipalloc-1", Public: "203.0.113.1", Association: "eipassoc-1", Interface: "eni-2", Private: "10.0.0.2"},
			{Allocation: "eipalloc-2", Public: "203.0.113.2"},
		},
		RouteTables: []ec2test.RouteTable{
			{ID: "rtb-1", VPC: vpc, Routes: []ec2test.Route{{Prefix: "10.0.0.0/16", Target: "local"}, {Prefix: "10.9.0.0/24", Interface: "eni-2"}, {Prefix: "10.8.0.0/24", Target: "vgw-1", Propagated: true}}},
			{ID: "rtb-2", VPC: vpc, Routes: []ec2test.Route{{Prefix: "10.0.0.0/16", Target: "local"}, {Prefix: "0.0.0.0/0", Target: "igw-1"}}},
			{ID: "rtb-far", VPC: "vpc-2"},
		},
		Tags: map[string]map[string]string{"i-1": {"Name": "server 01", "role": "db", "note": "two\nlines"}, "i-2": {"Name": "server-02", "role": "db"}, "i-3": {"Name": "server-03"}},
	}
	w.Interfaces[1].IPv6 = []string{"2001:db8::200"}
	return w
}
