package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"murakumo/internal/catalog"
)

const (
	// maxStreams leaves half of the connections to commands: forgotten
	// followers must not keep an operator from looking at the table.
	maxStreams = maxConns / 2
	// heartbeat is how often a quiet stream says that it is alive. The client
	// gives up after three are missing.
	heartbeat = 15 * time.Second
	// streamPatience is how long a reader may take nothing before it is cut
	// off, so that a stopped one does not hold its place for ever.
	streamPatience = time.Minute
)

// events tells every change of the table, and what the feed has, until the client
// goes or the server ends. See the package's text.
func (h *handler) events(w http.ResponseWriter, r *http.Request, _ url.Values) (any, error) {
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
	default:
		return nil, Errorf(Unavailable, "%d event streams are open already; end some (mrkmctl --watch)", maxStreams)
	}
	told := h.node.View()
	feed := h.node.Feed().Follow()
	defer feed.End()
	s := stream{w: w, rc: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")

	self := Member{Address: told.Self(), Own: true}
	if m, ok := told.Member(told.Self()); ok {
		self = memberOf(told, m)
	}
	err := s.tell(Event{Kind: EventReady, Time: time.Now(), Member: &self})
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for err == nil {
		if err = s.rc.Flush(); err != nil {
			break
		}
		select {
		case <-r.Context().Done():
			return nil, nil
		case <-h.ending:
			if s.tell(Event{Kind: EventEnd, Time: time.Now()}) == nil {
				_ = s.rc.Flush()
			}
			return nil, nil
		case <-beat.C:
			err = s.write(": still here\n\n")
		case <-feed.Wake():
			// What led to a hook is in the table before the hook ends, and is
			// told before it.
			if told, err = h.tellChanges(s, told); err == nil {
				err = s.tellAll(feed.Take())
			}
		case <-told.Superseded():
			told, err = h.tellChanges(s, told)
		}
	}
	h.log.Debug("control event stream ended", append(requestAttrs(r), "error", err)...)
	return nil, nil
}

// tellChanges tells what is different in the table from what was told last, and
// gives the view that is told now.
func (h *handler) tellChanges(s stream, told *catalog.View) (*catalog.View, error) {
	now := h.node.View()
	for _, e := range Changes(told, now, time.Now()) {
		if err := s.tell(e); err != nil {
			return told, err
		}
	}
	return now, nil
}

// stream writes server-sent events.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// tellAll tells events of the feed, and after them that there were more.
func (s stream) tellAll(events []Event, missed int) error {
	for _, e := range events {
		if err := s.tell(e); err != nil {
			return err
		}
	}
	if missed > 0 {
		return s.tell(Event{Kind: EventMissed, Time: time.Now(), Missed: missed})
	}
	return nil
}

func (s stream) tell(e Event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return s.write(fmt.Sprintf("event: %s\ndata: %s\n\n", e.Kind, data))
}

func (s stream) write(text string) error {
	// In place of the server's deadline, which is for short answers. (Where
	// there is none to set, as in a test's recorder, none is missed.)
	_ = s.rc.SetWriteDeadline(time.Now().Add(streamPatience))
	_, err := s.w.Write([]byte(text))
	return err
}
