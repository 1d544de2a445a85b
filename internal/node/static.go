package node

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"sync"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
)

// lookEvery is how often hosts files are looked at. One stat(2) of each a second
// costs nothing that could be measured, and unlike inotify it sees changes on
// every file system, behind every link and over every rename.
const lookEvery = time.Second

// statics follows the hosts files that the configuration names, and tells the
// records what they and its lines say of things that run no daemon.
type statics struct {
	log     *slog.Logger
	records *records
	// other has one slot: the files are others now.
	other chan struct{}

	mu    sync.Mutex // guards what follows, and orders it with what is published
	cfg   *config.Config
	files []hostsFile
}

// hostsFile is one file and what was last taken of it.
type hostsFile struct {
	path string
	// seen is the file as it was at the last look, nil when it was not there.
	seen os.FileInfo
	read *config.HostsFile // nil before it was read
	// told is the reason why it could not be read, once that is in the log.
	told string
}

// told is what is said of things that run no daemon. What comes before other things
// counts more where there is no room.
type told struct {
	ttl   uint32
	lines []config.StaticHost // of the configuration
	files []toldFile
}

type toldFile struct {
	path string
	config.Hosts
}

// staticName is one name and where it stands.
type staticName struct {
	catalog.Key
	path string
	line int
}

func (n staticName) from() string {
	if n.line == 0 {
		return n.path
	}
	return fmt.Sprintf("%s:%d", n.path, n.line)
}

// names gives all names, in their order.
func (t *told) names() iter.Seq[staticName] {
	return func(yield func(staticName) bool) {
		for _, l := range t.lines {
			for _, name := range l.Names {
				if !yield(staticName{catalog.Key{Name: name, Addr: l.Addr}, "static", 0}) {
					return
				}
			}
		}
		for _, f := range t.files {
			for n := range f.All() {
				if !yield(staticName{catalog.Key{Name: n.Name, Addr: n.Addr}, f.path, n.Line}) {
					return
				}
			}
		}
	}
}

// count is the number of names.
func (t *told) count() (n int) {
	for _, l := range t.lines {
		n += len(l.Names)
	}
	for _, f := range t.files {
		n += f.Len()
	}
	return n
}

// newStatics reads the files for the first time, without a word about what is
// wrong with them: who read the configuration has told.
func newStatics(cfg *config.Config, log *slog.Logger, records *records) *statics {
	s := &statics{log: log, records: records, other: make(chan struct{}, 1)}
	s.use(cfg)
	return s
}

// use takes another configuration. Callers hold mu.
func (s *statics) use(cfg *config.Config) {
	var files []hostsFile
	for _, path := range cfg.Static.Files {
		f := hostsFile{path: path}
		for _, was := range s.files {
			if was.path == path {
				f = was
			}
		}
		info, err := os.Stat(path)
		read := cfg.Static.Take(path) // for the domain that it has now
		switch {
		case err == nil && read == nil:
			f.take(cfg, nil)
		case err == nil && !sameFile(info, read.Info):
			f.take(cfg, s.log) // it is another one since, of which nobody has told yet
		default:
			f.works(nil)
			if err != nil {
				f.told = err.Error()
			}
			if f.seen = info; read != nil {
				f.read = read // also where it is gone since
			} else if f.read != nil {
				// For another domain, perhaps: it is read when it is back.
				f.read = &config.HostsFile{Hosts: f.read.Hosts}
			}
		}
		files = append(files, f)
	}
	s.cfg, s.files = cfg, files
}

// sameFile says whether a file is as it was. Who keeps both the size and the time
// of a file while writing to it does not want to be noticed.
func sameFile(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// told gives what the lines and the files say. Callers hold mu.
func (s *statics) told() *told {
	t := &told{ttl: s.cfg.Static.TTL, lines: s.cfg.Static.Hosts}
	for _, f := range s.files {
		if f.read != nil {
			t.files = append(t.files, toldFile{f.path, f.read.Hosts})
		}
	}
	return t
}

// reload is the part of a reload. Between it and its end the files are not
// followed, so that what they say changes together with the rest.
func (s *statics) reload(_, next *config.Config) (commit, undo func(), err error) {
	s.mu.Lock()
	cfg, files := s.cfg, s.files
	s.use(next)
	return func() {
			s.mu.Unlock()
			select {
			case s.other <- struct{}{}:
			default:
			}
		}, func() {
			s.cfg, s.files = cfg, files
			s.mu.Unlock()
		}, nil
}

// follow looks at the files until ctx is done and then returns nil.
func (s *statics) follow(ctx context.Context) error {
	for {
		var look <-chan time.Time
		if s.some() {
			look = time.After(lookEvery)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.other:
		case <-look:
			s.look()
		}
	}
}

// some says whether there are files to follow.
func (s *statics) some() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files) > 0
}

// look looks at each file once, and publishes what has changed in them.
func (s *statics) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for i := range s.files {
		changed = s.files[i].look(s.cfg, s.log) || changed
	}
	if changed {
		s.records.tell(s.told())
	}
}

// look reads a file again that has changed, and says whether it has. It waits
// until the file is the same at two looks: the first half of one can be a good
// one that lacks half of the names.
func (f *hostsFile) look(cfg *config.Config, log *slog.Logger) bool {
	info, err := os.Stat(f.path)
	before := f.seen
	f.seen = info
	switch {
	case err != nil:
		f.seen = nil
		f.failed(err, log)
		return false
	case f.read != nil && sameFile(info, f.read.Info):
		f.works(log)
		return false
	case !sameFile(info, before):
		return false
	}
	return f.take(cfg, log)
}

// take reads a file. What is wrong is told where there is a log.
func (f *hostsFile) take(cfg *config.Config, log *slog.Logger) bool {
	file, bad, more, err := config.ReadHosts(f.path, cfg)
	if err != nil {
		f.failed(err, log)
		return false
	}
	f.works(log)
	f.read, f.seen = file, file.Info
	if log == nil {
		return true
	}
	for _, p := range bad {
		log.Warn("static: " + p.String())
	}
	if more > 0 {
		log.Warn("static: "+f.path+" has more mistakes", "more", more)
	}
	log.Info("static: read again: "+f.path, "lines", file.Lines())
	return true
}

// failed tells once why the file cannot be read. What it said stays: somebody
// who writes a file in a hurry takes the old one away first.
func (f *hostsFile) failed(err error, log *slog.Logger) {
	if f.told == err.Error() {
		return
	}
	f.told = err.Error()
	if log != nil {
		log.Warn("static: "+f.path+" cannot be read: its names stay as they were", "error", err)
	}
}

func (f *hostsFile) works(log *slog.Logger) {
	if f.told != "" && log != nil {
		log.Info("static: " + f.path + " can be read again")
	}
	f.told = ""
}
