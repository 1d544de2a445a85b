package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// maxBody is R-34's figure; it holds some 600 records.
	maxBody = 64 << 10
	// requestPatience is the deadline of a Node's method. A join of a host
	// that does not answer takes some seconds; the client waits longer than
	// this, so that the operator hears why and not only that.
	requestPatience = 20 * time.Second
)

// Handler serves the API of node, the running configuration with its secrets
// apart: only a Server, on the unix socket, has that. It asks nobody who they
// are.
func Handler(node Node, log *slog.Logger) http.Handler { return newHandler(node, log) }

type handler struct {
	node    Node
	log     *slog.Logger
	mux     *http.ServeMux
	streams chan struct{} // one token per open event stream
	runs    chan struct{} // one token per check that is run on demand
	known   []string      // the patterns of all requests
	ending  chan struct{} // closed when streams shall end
}

func newHandler(node Node, log *slog.Logger) *handler {
	h := &handler{
		node: node, log: log, mux: http.NewServeMux(),
		streams: make(chan struct{}, maxStreams), ending: make(chan struct{}),
	}
	h.handle("GET /v1/records", h.listRecords, "phrase")
	h.handle("POST /v1/records", h.addRecords)
	h.handle("DELETE /v1/records/{names}", h.deleteRecords)
	h.handle("GET /v1/nodes", h.listNodes)
	h.handle("POST /v1/nodes", h.addNodes)
	h.handle("DELETE /v1/nodes/{hosts}", h.deleteNodes)
	h.handle("GET /v1/events", h.events)
	h.handleControls()
	h.handle("POST /v1/checks/{name}/report", h.report)
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.fail(w, r, Errorf(NotFound, "no request %s %s", r.Method, r.URL.Path))
	})
	return h
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", serverName+h.node.Version())
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	h.mux.ServeHTTP(w, r)
}

// serverName begins the Server header of every answer; the client knows the
// daemon by it.
const serverName = "murakumo/"

// endpoint answers a request with a value to encode, or with nil when it wrote
// the answer itself.
type endpoint func(w http.ResponseWriter, r *http.Request, query url.Values) (any, error)

func (h *handler) handle(pattern string, e endpoint, params ...string) {
	h.known = append(h.known, pattern)
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		query, err := parseQuery(r, params)
		if err == nil && (r.Method == http.MethodGet || r.Method == http.MethodDelete) {
			err = noBody(r)
		}
		var answer any
		if err == nil {
			answer, err = e(w, r, query)
		}
		if err != nil {
			h.fail(w, r, err)
			return
		}
		if _, quiet := answer.(routine); r.Method != http.MethodGet && !quiet {
			h.log.Info("control request done", requestAttrs(r)...)
		}
		if answer != nil {
			writeJSON(w, http.StatusOK, answer)
		}
	})
}

// fail answers with the error's sentence. Operators see it; the log keeps what is
// the daemon's own fault, and every refused change.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	kind := KindOf(err)
	status := kind.status()
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status = http.StatusRequestEntityTooLarge
	}
	attrs := append(requestAttrs(r), "status", status, "error", err)
	switch {
	case kind == Internal:
		h.log.Error("control request failed", attrs...)
	case r.Method != http.MethodGet:
		h.log.Info("control request refused", attrs...)
	}
	writeJSON(w, status, failure{err.Error()})
}

// routine answers a change that happens all the time and is not worth a line of
// the log.
type routine struct{}

func requestAttrs(r *http.Request) []any {
	attrs := []any{"method", r.Method, "path", r.URL.Path}
	if peer, ok := peerFrom(r.Context()); ok {
		attrs = append(attrs, "uid", peer.Uid, "pid", peer.Pid)
	}
	return attrs
}

type failure struct {
	Error string `json:"error"`
}

type recordsAnswer struct {
	Records []Record `json:"records"`
}

type nodesAnswer struct {
	Nodes []Member `json:"nodes"`
}

func (h *handler) listRecords(_ http.ResponseWriter, _ *http.Request, query url.Values) (any, error) {
	phrase, err := ParsePhrase(query.Get("phrase"))
	if err != nil {
		return nil, &Error{Invalid, err}
	}
	chosen := []Record{}
	for _, r := range Table(h.node.View()) {
		if phrase.Match(r) {
			chosen = append(chosen, r)
		}
	}
	return recordsAnswer{chosen}, nil
}

func (h *handler) addRecords(_ http.ResponseWriter, r *http.Request, _ url.Values) (any, error) {
	var body recordsBody
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	specs, err := body.specs()
	if err != nil {
		return nil, &Error{Invalid, err}
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestPatience)
	defer cancel()
	records, err := h.node.AddRecords(ctx, specs)
	if err != nil {
		return nil, err
	}
	self := h.node.View().Self()
	published := []Record{}
	for _, rec := range records {
		published = append(published, recordOf(self, self, rec))
	}
	return recordsAnswer{published}, nil
}

func (h *handler) deleteRecords(_ http.ResponseWriter, r *http.Request, _ url.Values) (any, error) {
	names, err := checkAll(strings.Split(r.PathValue("names"), ","), checkName)
	if err != nil {
		return nil, &Error{Invalid, err}
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestPatience)
	defer cancel()
	return struct{}{}, h.node.DeleteRecords(ctx, names)
}

func (h *handler) listNodes(http.ResponseWriter, *http.Request, url.Values) (any, error) {
	return nodesAnswer{Members(h.node.View())}, nil
}

func (h *handler) addNodes(_ http.ResponseWriter, r *http.Request, _ url.Values) (any, error) {
	var body hostsBody
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	hosts, err := checkAll(body.Hosts, checkHost)
	if err != nil {
		return nil, &Error{Invalid, err}
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestPatience)
	defer cancel()
	return struct{}{}, h.node.AddNodes(ctx, hosts)
}

func (h *handler) deleteNodes(_ http.ResponseWriter, r *http.Request, _ url.Values) (any, error) {
	hosts, err := checkAll(strings.Split(r.PathValue("hosts"), ","), checkHost)
	if err != nil {
		return nil, &Error{Invalid, err}
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestPatience)
	defer cancel()
	return struct{}{}, h.node.DeleteNodes(ctx, hosts)
}

// parseQuery refuses parameters that the request does not take, and any given
// twice.
func parseQuery(r *http.Request, params []string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, Errorf(Invalid, "malformed query: %w", err)
	}
next:
	for key, values := range query {
		for _, p := range params {
			if key == p {
				if len(values) > 1 {
					return nil, Errorf(Invalid, "parameter %q: given %d times", key, len(values))
				}
				continue next
			}
		}
		return nil, Errorf(Invalid, "unknown parameter %q", key)
	}
	return query, nil
}

// noBody refuses a body where none is taken: what it asks for would silently not
// be done.
func noBody(r *http.Request) error {
	if r.ContentLength != 0 {
		return Errorf(Invalid, "%s %s takes no body", r.Method, r.URL.Path)
	}
	return nil
}

// readJSON reads exactly one JSON value with no field that into does not have.
func readJSON(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		switch _, err = dec.Token(); err {
		case io.EOF:
			return nil
		case nil:
			err = errors.New("something follows the first value")
		}
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Errorf(Invalid, "the body has more than %d octets: %w", tooLarge.Limit, err)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := wrong.Field
		if field == "" {
			field = "the body"
		}
		return Errorf(Invalid, "%s: unexpected JSON %s", field, wrong.Value)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Errorf(Invalid, "malformed body: it ends too early")
	}
	return Errorf(Invalid, "malformed body: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The only error left is a client that went away.
	_ = json.NewEncoder(w).Encode(v)
}

// checkAll checks a list, which may not be empty or name anything twice.
func checkAll(list []string, check func(string) (string, error)) ([]string, error) {
	if len(list) == 0 {
		return nil, errors.New("the list is empty")
	}
	seen := make(map[string]bool, len(list))
	out := make([]string, 0, len(list))
	for _, s := range list {
		s, err := check(s)
		if err != nil {
			return nil, err
		}
		if seen[s] {
			return nil, fmt.Errorf("%q is named twice", s)
		}
		seen[s] = true
		out = append(out, s)
	}
	return out, nil
}
