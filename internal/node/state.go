package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"murakumo/internal/failover"
)

// state is what has to outlive the process, one small JSON file. Losing it is
// mended by the peers (who hold our set with its version and transition
// numbers); so a full or read-only disk is told once and stops nothing.
type state struct {
	path string
	log  *slog.Logger

	// fresh is the transition number of a check of which nothing is written.
	fresh uint64

	mu      sync.Mutex // guards what follows and the file
	data    stateData
	dirty   bool // noted and not written yet
	failing bool
	taken   *kept  // what the last run kept, and this one goes on from
	serial  uint64 // the last one given out, 0 for none yet
}

// skipped is how many transition numbers of each check are passed over after a
// run that did not end by itself. A transition is published at once and its
// number written some milliseconds later, so that deciding waits for no disk; a
// kill in between must not let the next run give the number to another
// transition, which peers would take for one that they know. A check that makes
// this many transitions before one of them is written has a disk that fails,
// and the log says so.
const skipped = 64

// serialsAhead is how many serials are made durable at a time. While changes are
// rare a serial is the time, so this is also how many seconds pass between two
// writes; and it is how far ahead of the time a run that was killed leaves the
// next one. That harms nothing by itself, for serials only have to rise. But it is
// also how long secondaries take the zone for an old one when the file is lost
// after that. While there are many changes in a second it is manySerials, so that
// they do not wait for the disk.
const (
	serialsAhead = 60
	manySerials  = 3600
)

type stateData struct {
	// Owner is whose state this is: a cloned disk must not lend another host
	// its version.
	Owner netip.Addr `json:"owner"`
	// Running says that the run that wrote the file has not ended by itself
	// (yet): numbers that are not written may be in use.
	Running bool `json:"running,omitempty"`
	// Version is the highest version of our set that may have been published.
	Version uint64 `json:"version"`
	// Serial is the highest serial of the zone that may have been answered.
	Serial uint64 `json:"serial,omitempty"`
	// Health holds the last transition number per alias, Duty what each
	// activity check remembers.
	Health map[string]uint64          `json:"health,omitempty"`
	Duty   map[string]failover.Memory `json:"duty,omitempty"`
	// Kept is what the run that wrote the file kept for the next one.
	Kept *kept `json:"kept,omitempty"`
	// Peers are the members last seen, to be tried at the next start.
	Peers []netip.AddrPort `json:"peers"`
}

// openState reads dir/state.json. Without a usable file it starts afresh, and
// says so when there was one.
func openState(dir string, owner netip.Addr, log *slog.Logger) *state {
	s := &state{path: filepath.Join(dir, "state.json"), log: log}
	b, err := os.ReadFile(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		log.Warn("cannot read the state of the last run; starting afresh, the peers will tell our version", "error", err)
	default:
		if err := json.Unmarshal(b, &s.data); err != nil {
			log.Warn("the state of the last run is damaged; starting afresh, the peers will tell our version", "path", s.path, "error", err)
			s.data = stateData{}
		} else if s.data.Owner != owner {
			log.Warn("the state folder belongs to another address; starting afresh", "path", s.path, "owner", s.data.Owner)
			s.data = stateData{}
		}
	}
	if s.data.Running {
		s.fresh = skipped
		for name := range s.data.Health {
			s.data.Health[name] += skipped
		}
		for name, m := range s.data.Duty {
			m.Number += skipped
			s.data.Duty[name] = m
		}
	}
	// It reaches the disk with the first version that is reserved, and so
	// before anything is published.
	s.data.Owner, s.data.Running = owner, true
	return s
}

// version is the ceiling of the last run: ours begins above it.
func (s *state) version() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.Version
}

// reserve makes sure that versions up to n are known as used before one of
// them is published.
func (s *state) reserve(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > s.data.Version {
		s.data.Version = n
		s.save()
	}
}

// nextSerial gives the serial of the zone after a change: the time in seconds, but
// at least one more than the last one, over a restart too. A secondary would take
// one that fell for the older zone, and keep what it has.
func (s *state) nextSerial(uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serial == 0 {
		s.serial = s.data.Serial
	}
	now := uint64(max(0, time.Now().Unix()))
	s.serial = max(s.serial+1, now)
	if s.serial > s.data.Serial {
		ahead := uint64(serialsAhead)
		if s.serial > now {
			ahead = manySerials
		}
		s.data.Serial = s.serial + ahead
		s.save()
	}
	return s.serial
}

// health is the last transition number of an alias's health check.
func (s *state) health(name string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.data.Health[name]; ok {
		return n
	}
	return s.fresh
}

// duty is what an alias's activity check remembered.
func (s *state) duty(name string) failover.Memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.data.Duty[name]; ok {
		return m
	}
	return failover.Memory{Number: s.fresh}
}

// noteHealth and noteDuty take what is to be remembered. It is written by the
// next flush: whoever decides does not wait for a disk.
func (s *state) noteHealth(name string, number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data.Health == nil {
		s.data.Health = map[string]uint64{}
	}
	s.data.Health[name] = max(s.data.Health[name], number)
	s.dirty = true
}

func (s *state) noteDuty(name string, m failover.Memory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data.Duty == nil {
		s.data.Duty = map[string]failover.Memory{}
	}
	s.data.Duty[name] = m
	s.dirty = true
}

// takeKept gives what the last run kept, nil when there is nothing to go on from.
// It is for one run: the file that says that this one runs has it no more.
func (s *state) takeKept(lifetime time.Duration) *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.data.Kept
	s.data.Kept = nil
	if k == nil {
		return nil
	}
	if !k.usable(time.Now(), bootID(), lifetime) {
		s.log.Info("the last run kept its duties, but too long ago or before a reboot: beginning anew", "ended", k.At)
		return nil
	}
	s.taken = k
	return k
}

// keep notes what the next run goes on from; end writes it. Nil is what the last
// run kept, for one that never took part.
func (s *state) keep(k *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k == nil {
		k = s.taken
	}
	s.data.Kept = k
}

// end makes durable that nothing more will be noted.
func (s *state) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.Running = false
	if s.serial > 0 {
		s.data.Serial = s.serial
	}
	s.save()
}

// flush makes durable what was noted.
func (s *state) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirty {
		s.save()
	}
}

// peers are the members of the last run.
func (s *state) peers() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.Peers
}

// setPeers records the members; none at all is no news worth keeping, for it
// is just when we are alone that we need to know whom to look for.
func (s *state) setPeers(peers []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(peers) > 0 && !slices.Equal(peers, s.data.Peers) {
		s.data.Peers = peers
		s.dirty = true
	}
}

// save writes the file whole or not at all. Callers hold mu.
func (s *state) save() {
	err := s.write()
	if err != nil && !s.failing {
		s.log.Error("cannot keep the state; versions and transition numbers may repeat after a restart until a peer corrects them", "path", s.path, "error", err)
	}
	s.failing, s.dirty = err != nil, err != nil
}

func (s *state) write() (err error) {
	b, err := json.MarshalIndent(s.data, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".state-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(append(b, '\n')); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), s.path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening the folder to make the new name durable: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
