package action

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
)

const (
	// maxOutput and maxLines bound what one hook can put into the log, both
	// streams together: a script with -x in a loop must not fill the disk that
	// the log is on. Blank lines are not logged and do not count.
	maxOutput = 64 << 10
	maxLines  = 1000
	// maxLine is where a longer line is cut in two.
	maxLine = 4 << 10
)

// output turns what a hook writes into log lines.
type output struct {
	log   *slog.Logger
	attrs []any

	mu      sync.Mutex // guards what follows; two streams write at once
	bytes   int        // accepted so far
	lines   int        // logged so far
	leftOut int64      // bytes that were not logged
}

// stream gives the writer for one of the two streams.
func (o *output) stream(name string, level slog.Level) *stream {
	return &stream{out: o, name: name, level: level}
}

// close says what was left out. Both streams are flushed by then.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.leftOut > 0 {
		o.log.Warn(fmt.Sprintf("hook output left out: %d bytes beyond the first %d bytes or %d lines",
			o.leftOut, maxOutput, maxLines), o.attrs...)
	}
}

// stream is an io.Writer that never fails and never waits for more than the
// log: a hook that writes megabytes is read to the end, or it would block.
type stream struct {
	out   *output
	name  string
	level slog.Level
	part  []byte // a line that is not complete yet
}

func (s *stream) Write(p []byte) (int, error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	take := min(len(p), maxOutput-s.out.bytes)
	s.out.bytes += take
	s.out.leftOut += int64(len(p) - take)
	s.part = append(s.part, p[:take]...)
	for {
		end := bytes.IndexByte(s.part, '\n')
		switch {
		case end >= 0 && end <= maxLine:
			s.line(s.part[:end])
			s.part = s.part[end+1:]
		case len(s.part) > maxLine:
			s.line(s.part[:maxLine])
			s.part = s.part[maxLine:]
		default:
			return len(p), nil
		}
	}
}

// flush logs a last line without an end.
func (s *stream) flush() {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.line(s.part)
	s.part = nil
}

// line logs one line; the caller holds the lock.
func (s *stream) line(b []byte) {
	b = bytes.TrimRight(b, "\r")
	switch {
	case len(b) == 0:
	case s.out.lines >= maxLines:
		s.out.leftOut += int64(len(b))
	default:
		s.out.lines++
		attrs := append(s.out.attrs[:len(s.out.attrs):len(s.out.attrs)], "stream", s.name)
		s.out.log.Log(context.Background(), s.level, "hook output: "+string(b), attrs...)
	}
}
