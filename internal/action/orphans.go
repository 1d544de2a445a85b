package action

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// orphanPoll is how often orphans are looked for. A zombie costs a number and
// no more; thousands of them cost all the numbers that there are.
const orphanPoll = 10 * time.Second

// ReapOrphans waits for the processes that hooks and commands leave behind, in
// the one case in which that is up to us: the daemon is the first process of a
// container, and inherits them. It returns nil when ctx is done, or at once when
// we are not the first process.
func ReapOrphans(ctx context.Context) error {
	if os.Getpid() != 1 {
		return nil
	}
	reapOrphans(ctx, orphanPoll)
	return nil
}

// reapOrphans reaps what is dead in two looks that far apart. What somebody here
// has started is waited for by them, in a moment; who would reap it for them
// would take its exit status away.
func reapOrphans(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	dead := map[int]bool{}
	for {
		before := dead
		dead = map[int]bool{}
		for _, pid := range deadChildren() {
			if before[pid] {
				// An error means that it is gone, which is what we want.
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
				continue
			}
			dead[pid] = true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// deadChildren lists our children that have ended and that nobody has waited
// for, as far as /proc tells.
func deadChildren() (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	self := []byte(strconv.Itoa(os.Getpid()))
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state ppid …, and the name may have anything in it.
		end := bytes.LastIndexByte(text, ')')
		f := bytes.Fields(text[end+1:])
		if len(f) < 2 || string(f[0]) != "Z" || !bytes.Equal(f[1], self) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
