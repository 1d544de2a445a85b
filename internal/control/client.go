package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Client asks the daemon behind a control socket. Its errors are sentences for
// an operator: what the daemon said, as an *Error, or why it cannot be asked and
// what to do. What makes no sense is Invalid before anybody is asked. A Client
// may be used by many goroutines at once and needs no closing.
type Client struct {
	path string
	http *http.Client
	// dial reaches the daemon; tests replace it.
	dial func(context.Context) (net.Conn, error)
}

const (
	dialPatience = 5 * time.Second
	// answerPatience is for what the daemon answers from memory. A change may
	// wait for other hosts; it is waited for longer than the daemon's own
	// deadline, so that the daemon says what it waited for.
	answerPatience = 10 * time.Second
	changePatience = requestPatience + 5*time.Second
	// silencePatience is three missing heartbeats.
	silencePatience = 3 * heartbeat
)

// NewClient makes a client for the socket at path. It connects to nothing yet.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.dial = func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{Timeout: dialPatience}
		return d.DialContext(ctx, "unix", path)
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
			// A command asks once; a connection kept would be a goroutine kept.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Records gives the records that the phrase chooses, the asked node's first; see
// Phrase, whose empty text chooses all.
func (c *Client) Records(ctx context.Context, phrase string) ([]Record, error) {
	if _, err := ParsePhrase(phrase); err != nil {
		return nil, &Error{Invalid, err}
	}
	path := "/v1/records"
	if phrase != "" {
		path += "?" + url.Values{"phrase": {phrase}}.Encode()
	}
	var answer recordsAnswer
	err := c.call(ctx, answerPatience, http.MethodGet, path, nil, &answer)
	return answer.Records, err
}

// AddRecords adds or updates records of the asked node, all or none, and gives
// them as published.
func (c *Client) AddRecords(ctx context.Context, specs ...RecordSpec) ([]Record, error) {
	body := bodyOf(specs)
	if _, err := body.specs(); err != nil {
		return nil, &Error{Invalid, err}
	}
	var answer recordsAnswer
	err := c.call(ctx, changePatience, http.MethodPost, "/v1/records", body, &answer)
	return answer.Records, err
}

// DeleteRecords takes aliases of the asked node away, all or none.
func (c *Client) DeleteRecords(ctx context.Context, names ...string) error {
	names, err := checkAll(names, checkName)
	if err != nil {
		return &Error{Invalid, err}
	}
	return c.call(ctx, changePatience, http.MethodDelete, "/v1/records/"+pathList(names), nil, nil)
}

// Nodes gives the members as the asked node sees them.
func (c *Client) Nodes(ctx context.Context) ([]Member, error) {
	var answer nodesAnswer
	err := c.call(ctx, answerPatience, http.MethodGet, "/v1/nodes", nil, &answer)
	return answer.Nodes, err
}

// AddNodes makes the asked node join hosts.
func (c *Client) AddNodes(ctx context.Context, hosts ...string) error {
	hosts, err := checkAll(hosts, checkHost)
	if err != nil {
		return &Error{Invalid, err}
	}
	return c.call(ctx, changePatience, http.MethodPost, "/v1/nodes", hostsBody{hosts}, nil)
}

// DeleteNodes removes hosts from the cluster.
func (c *Client) DeleteNodes(ctx context.Context, hosts ...string) error {
	hosts, err := checkAll(hosts, checkHost)
	if err != nil {
		return &Error{Invalid, err}
	}
	return c.call(ctx, changePatience, http.MethodDelete, "/v1/nodes/"+pathList(hosts), nil, nil)
}

// pathList joins at commas, which no name and no host has.
func pathList(list []string) string {
	escaped := make([]string, len(list))
	for i, s := range list {
		escaped[i] = url.PathEscape(s)
	}
	return strings.Join(escaped, ",")
}

// call asks once and decodes the answer into answer, unless that is nil.
func (c *Client) call(ctx context.Context, patience time.Duration, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errSilent{patience})
	defer cancel()
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch answer := answer.(type) {
	case nil:
		return nil
	case *[]byte: // as it is
		if *answer, err = io.ReadAll(resp.Body); err != nil {
			return c.explain(ctx, fmt.Errorf("read the answer: %w", err))
		}
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return c.explain(ctx, fmt.Errorf("read the answer: %w", err))
	}
	return nil
}

// do asks and gives a good answer, whose body the caller closes.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	if len(c.path) > maxPath {
		return nil, fmt.Errorf("the path of the control socket has %d octets and the kernel takes %d: %s", len(c.path), maxPath, c.path)
	}
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		reader = bytes.NewReader(encoded)
	}
	// The host is only a name: the connection always goes to the socket.
	req, err := http.NewRequestWithContext(ctx, method, "http://murakumo"+path, reader)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if !strings.HasPrefix(resp.Header.Get("Server"), serverName) {
		resp.Body.Close()
		return nil, fmt.Errorf("what answers on %s is not murakumo; -S says where to ask", c.path)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var said failure
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&said); err != nil || said.Error == "" {
		said.Error = fmt.Sprintf("murakumo answered %s", resp.Status)
	}
	return nil, Errorf(kindOfStatus(resp.StatusCode), "%s", said.Error)
}

// errSilent is why our own deadline ended a request.
type errSilent struct{ after time.Duration }

func (e errSilent) Error() string { return fmt.Sprintf("no answer within %v", e.after) }

// explain says what to do about a failure to ask. The caller's own cancelling
// stays what it is.
func (c *Client) explain(ctx context.Context, err error) error {
	if silent, ok := errors.AsType[errSilent](context.Cause(ctx)); ok {
		return fmt.Errorf("murakumo on %s is silent: %w; its log may say why", c.path, silent)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("no control socket %s: is murakumo running? -S or its `socket:` says where it listens", c.path)
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("nobody listens on %s: murakumo ended without removing it, or it is no socket; start murakumo, or name another socket with -S", c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission for %s: ask as root or as the user that murakumo runs as", c.path)
	case errors.Is(err, unix.EPROTOTYPE):
		return fmt.Errorf("%s is a socket of another kind, not murakumo's; -S says where to ask", c.path)
	case hungUp(err):
		return fmt.Errorf("murakumo on %s hung up: it is ending, or it serves only root and its own user", c.path)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the made-up URL
	}
	return fmt.Errorf("ask murakumo on %s: %w", c.path, err)
}

// hungUp knows the forms in which a closed connection shows, by how far the
// request had come. That of a connection closed before the request was written
// is an error which net/http keeps to itself.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) ||
		strings.Contains(err.Error(), "server closed idle connection")
}

// Watch calls fn with every event, the first being EventReady, until ctx ends,
// when it returns nil, or the stream does, which is an error that says why. fn runs on the caller's goroutine; an
// error of it ends the stream and is returned as it is.
func (c *Client) Watch(ctx context.Context, fn func(Event) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(silencePatience, func() { cancel(errSilent{silencePatience}) })
	defer silence.Stop()

	resp, err := c.do(inner, http.MethodGet, "/v1/events", nil)
	if err == nil {
		defer resp.Body.Close()
		err = readEvents(resp.Body, fn, func() { silence.Reset(silencePatience) })
		if fromFn, ok := errors.AsType[fnError](err); ok {
			return fromFn.err
		}
		switch {
		case errors.Is(err, errEnd):
			err = Errorf(Unavailable, "murakumo on %s is stopping", c.path)
		case hungUp(err) && inner.Err() == nil:
			err = fmt.Errorf("murakumo on %s broke off: it ended at once, or nothing was read here for a minute", c.path)
		default:
			err = c.explain(inner, err)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// errEnd is how a stream of a daemon that stops ends.
var errEnd = errors.New("the daemon stops")

// fnError marks an error of the caller's function.
type fnError struct{ err error }

func (e fnError) Error() string { return e.err.Error() }

// readEvents reads server-sent events; alive is called for each line, as
// heartbeats are lines, too. The stream never ends by itself, hence there is
// always an error, errEnd where the daemon said that it stops.
func readEvents(r io.Reader, fn func(Event) error, alive func()) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxBody)
	var kind, data string
	for lines.Scan() {
		alive()
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() != "" && key == "event":
			kind = value
		case lines.Text() != "" && key == "data":
			data = value
		case lines.Text() == "" && kind != "":
			var e Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return fmt.Errorf("read an event: %w", err)
			}
			e.Kind = EventKind(kind)
			if e.Kind == EventEnd {
				return errEnd
			}
			if err := fn(e); err != nil {
				return fnError{err}
			}
			kind, data = "", ""
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.EOF
}
