package node

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/failover"
)

var owner = netip.MustParseAddr("10.0.0.133")

func TestStateSurvives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lib", "murakumo")
	s := openState(dir, owner, slog.New(slog.DiscardHandler))
	s.reserve(1024)
	s.reserve(5) // never falls
	s.noteDuty("mysql-server", failover.Memory{Number: 7, Activated: 6, Covered: map[catalog.Owner]uint64{owner: 4}})
	s.noteHealth("mysql-server", 3)
	s.noteHealth("mysql-server", 2)
	peers := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.55:10870")}
	s.setPeers(peers)
	s.setPeers(nil) // alone: whom to look for is kept
	s.end()

	s = openState(dir, owner, slog.New(slog.DiscardHandler))
	if v := s.version(); v != 1024 {
		t.Errorf("version %d", v)
	}
	if m := s.duty("mysql-server"); m.Number != 7 || m.Activated != 6 || m.Covered[owner] != 4 {
		t.Errorf("duty %+v", m)
	}
	if n := s.health("mysql-server"); n != 3 {
		t.Errorf("health number %d", n)
	}
	if p := s.peers(); len(p) != 1 || p[0] != peers[0] {
		t.Errorf("peers %v", p)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, want state.json alone (%v)", entries, err)
	}
}

// TestStateAfterKill: a run that was killed may have published transitions whose
// numbers it had not written yet; the next one does not use them again.
func TestStateAfterKill(t *testing.T) {
	dir := t.TempDir()
	open := func() *state { return openState(dir, owner, slog.New(slog.DiscardHandler)) }
	s := open()
	s.reserve(1024) // as the first record is published
	s.noteHealth("web", 3)
	s.noteDuty("web", failover.Memory{Number: 7, Activated: 6})
	s.flush()
	s.noteHealth("web", 4)                                      // published, not written
	s.noteDuty("web", failover.Memory{Number: 8, Activated: 8}) // nor this
	s.noteHealth("db", 1)
	s.noteDuty("db", failover.Memory{Number: 1, Activated: 1})

	s = open()
	for _, c := range []struct {
		what       string
		next, used uint64
	}{
		{"health of web", s.health("web"), 4}, {"duty of web", s.duty("web").Number, 8},
		{"health of db", s.health("db"), 1}, {"duty of db", s.duty("db").Number, 1},
	} {
		if c.next < c.used {
			t.Errorf("%s: begins above %d, but %d is used", c.what, c.next, c.used)
		}
	}
	if m := s.duty("web"); m.Activated != 6 {
		t.Errorf("activated %d, but what is known to have moved things is 6", m.Activated)
	}

	// An ordinary end leaves no gap, and a check that is new begins at 0.
	s.reserve(2048)
	before := s.duty("web").Number
	s.end()
	if s = open(); s.duty("web").Number != before || s.health("new") != 0 {
		t.Errorf("after an ordinary end: %d, then %d; a new check at %d", before, s.duty("web").Number, s.health("new"))
	}
}

// TestSerial: the serial is the time, rises with each change however many there
// are in a second, and never falls: not after a kill, and not with a clock that
// was set back.
func TestSerial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		open := func() *state { return openState(dir, owner, slog.New(slog.DiscardHandler)) }
		unix := func() uint64 { return uint64(time.Now().Unix()) }
		s := open()
		if n := s.nextSerial(0); n != unix() {
			t.Errorf("the first is %d, want the time: %d", n, unix())
		}
		last := uint64(0)
		for range 2*manySerials + 7 {
			n := s.nextSerial(last)
			if n <= last {
				t.Fatalf("%d after %d", n, last)
			}
			last = n
		}
		time.Sleep(3 * manySerials * time.Second)
		if n := s.nextSerial(last); n != unix() {
			t.Errorf("later: %d, want the time: %d", n, unix())
		}
		last = s.nextSerial(last)
		if killed := open().nextSerial(0); killed <= last || killed > unix()+serialsAhead+1 {
			t.Errorf("after a kill: %d, after %d", killed, last)
		}
		s.end()
		if n := open().nextSerial(0); n != last+1 {
			t.Errorf("after an ordinary end: %d, want %d", n, last+1)
		}
	})
}

// TestStateThatIsNoUse: each is told in a line and leads to a fresh start.
func TestStateThatIsNoUse(t *testing.T) {
	for _, c := range []struct{ name, content, line string }{
		{"empty", "", "is damaged"},
		{"cut off", `{"owner": "10.0.0.1`, "is damaged"},
		{"another host's", `{"owner": "10.0.0.9", "version": 77}`, "belongs to another address"},
		{"ours", `{"owner": "10.0.0.133", "version": 77}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			s := openState(dir, owner, slog.New(slog.NewTextHandler(&log, nil)))
			want := uint64(0)
			if c.line == "" {
				want = 77
			}
			if v := s.version(); v != want {
				t.Errorf("version %d, want %d", v, want)
			}
			if !strings.Contains(log.String(), c.line) || c.line == "" && log.Len() > 0 {
				t.Errorf("log %q, want %q", log.String(), c.line)
			}
		})
	}
}

// TestStateDiskFull: what cannot be kept is told once, not at every change, and
// the figures in memory go on.
func TestStateDiskFull(t *testing.T) {
	// A file where the folder should be fails for root, too.
	blocked := filepath.Join(t.TempDir(), "lib")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := openState(filepath.Join(blocked, "murakumo"), owner, slog.New(slog.NewTextHandler(&log, nil)))
	log.Reset()
	for n := range uint64(5) {
		s.noteHealth("web", n+1)
		s.flush()
	}
	if n := s.health("web"); n != 5 {
		t.Errorf("number %d", n)
	}
	if n := strings.Count(log.String(), "cannot keep the state"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}
