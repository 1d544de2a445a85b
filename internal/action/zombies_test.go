package action

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNoZombies runs ten thousand hooks of all kinds, a handful of them badly
// behaved in each way there is. It is not parallel: children of other tests
// would be counted.
func TestNoZombies(t *testing.T) {
	runs := 10_000
	if testing.Short() {
		runs = 500
	}
	const lanes = 8
	kinds := []struct {
		every int // one in so many
		hook  Hook
		end   Outcome
	}{
		{500, Hook{Command: []string{script(t, "exec sleep 60\n")}, Timeout: 20 * time.Millisecond}, TimedOut},
		{250, Hook{Command: []string{script(t, "setsid sh -c 'true & exit' >/dev/null 2>&1 </dev/null &\n")}}, OK}, // double fork
		{1250, Hook{Command: []string{script(t, "sleep 3 &\n")}}, OK},                                              // holds the pipe
		{100, Hook{Command: []string{"false"}}, Failed},
		{1, Hook{Command: []string{"true"}}, OK},
	}
	var log logbook
	ended := make(chan Result, lanes)
	q := NewHooks(HookOptions{Log: log.logger(), Ended: func(r Result) { ended <- r }})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()

	want, got := map[Outcome]int{}, map[Outcome]int{}
	started := 0
	enqueue := func(lane string) {
		started++
		for _, k := range kinds {
			if started%k.every == 0 {
				h := k.hook
				h.Transition = activity("active", uint64(started))
				h.Name = lane
				want[k.end]++
				q.Enqueue(h)
				return
			}
		}
	}
	for i := range lanes {
		enqueue("web" + strconv.Itoa(i))
	}
	for ends := 0; ends < runs; ends++ {
		r := receive(t, ended, "the end of a hook")
		got[r.Outcome]++
		if started < runs {
			enqueue(r.Hook.Name) // one at a time in each lane, so that none is superseded
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d runs ended as %v, want %v", runs, got, want)
	}
	if z := deadChildren(); len(z) > 0 {
		t.Errorf("zombies of ours: %v", z)
	}
	if got[TimedOut] == 0 || got[Failed] == 0 {
		t.Errorf("ends: %v", got)
	}
}

// TestOrphansOfPID1: in a container the daemon is the first process, and so the
// parent of all that hooks leave behind. The test's own program is that process
// here, in a namespace of its own.
func TestOrphansOfPID1(t *testing.T) {
	const env = "ACTION_TEST_PID1"
	if os.Getenv(env) != "" {
		firstProcess(t)
		return
	}
	t.Parallel()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, for a namespace of process ids")
		}
		t.Skip("needs root, for a namespace of process ids")
	}
	// mount makes what /proc says fit the namespace, and nobody else's.
	cmd := exec.Command("/bin/sh", "-ec", `mount -t proc proc /proc; exec "$@"`, "sh", os.Args[0], "-test.run=^TestOrphansOfPID1$", "-test.v")
	cmd.Env = append(os.Environ(), env+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "50 orphans") {
		t.Errorf("%v\n%s", err, out)
	}
}

// firstProcess is what runs as number 1.
func firstProcess(t *testing.T) {
	if os.Getpid() != 1 {
		t.Fatalf("process %d", os.Getpid())
	}
	var log logbook
	h := hook(activity("active", 1))
	h.Command = []string{script(t, `for i in 1 2 3 4 5 6 7 8 9 10; do setsid sh -c 'true & exit' & done >/dev/null 2>&1; wait`)}
	for range 5 {
		if r := run(t, &log, h); r.Outcome != OK {
			t.Fatalf("%+v", r)
		}
	}
	// They end when they like to; without a reaper all 50 stay.
	for deadline := time.Now().Add(time.Minute); len(deadChildren()) < 50; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d dead children after a minute", len(deadChildren()))
		}
	}
	t.Log("50 orphans")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		reapOrphans(ctx, 2*time.Second) // on a loaded machine a wait of ours may come late, too
		close(done)
	}()
	// Those that somebody waits for keep their exit status meanwhile.
	h.Command = []string{"false"}
	for range 50 {
		if r := run(t, &log, h); r.Outcome != Failed || !strings.Contains(r.Err.Error(), "exit status 1") {
			t.Errorf("%+v", r)
		}
	}
	for deadline := time.Now().Add(time.Minute); len(deadChildren()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d dead children after a minute", len(deadChildren()))
		}
	}
	stop()
	<-done
}

// TestReapOrphansIsForPID1: anywhere else it leaves children alone.
func TestReapOrphansIsForPID1(t *testing.T) {
	if err := ReapOrphans(context.Background()); err != nil { // it returns, though its context lives
		t.Error(err)
	}
}
