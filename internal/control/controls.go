package control

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Controls is what the handler needs of the daemon beside its table and its
// members.
type Controls interface {
	// Attributes gives the settings that can be changed while the daemon runs,
	// always in the same order.
	Attributes() []Attribute
	// SetAttribute changes one, which has taken effect when it returns, and
	// gives it as it is now. An attribute there is none of is NotFound, a value
	// out of its range Invalid, one that does not go with another attribute
	// Conflict.
	SetAttribute(ctx context.Context, name, value string) (Attribute, error)
	// ClearDead forgets the nodes that are dead, left or removed, on all nodes,
	// and says how many those were.
	ClearDead(ctx context.Context) (int, error)
	// Configuration is the running configuration as a file that starts the same
	// node, secrets and all.
	Configuration() []byte
	// Checks tells of this node's health checks, in the order of the file.
	Checks() []Check
	// RunCheck runs a health check beside its own schedule and changes nothing
	// by it. A bad verdict is no error. It returns when the check has answered
	// or its timeout is over, or soon after ctx ends, whose deadline it does
	// not need.
	RunCheck(ctx context.Context, name string) (Verdict, error)
	// Proxies tells of the load balancer's listeners, in the order of the file.
	Proxies() []Proxy
	// Feed is where the daemon tells what is not in its table.
	Feed() *Feed
}

// Attribute is a setting that can be changed while the daemon runs.
type Attribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Check is a health check of the asked node.
type Check struct {
	Name string `json:"name"`
	// Health is unknown, healthy or unhealthy.
	Health string `json:"health"`
	// Interval and Timeout are seconds. For a check that takes reports (Push)
	// Timeout is its ttl.
	Interval float64 `json:"interval"`
	Timeout  float64 `json:"timeout"`
	Push     bool    `json:"push"`
	// Last is the last verdict of the check's own schedule; nil before the
	// first.
	Last *Verdict `json:"last,omitempty"`
}

// Verdict is what a health check said once.
type Verdict struct {
	Name    string    `json:"name"`
	Verdict string    `json:"verdict"`         // good or bad
	Time    time.Time `json:"time,omitzero"`   // of its beginning, by the asked node's clock
	Seconds float64   `json:"duration"`        // how long it took
	Error   string    `json:"error,omitempty"` // why it is bad
}

// Good tells whether the verdict is good.
func (v Verdict) Good() bool { return v.Verdict == "good" }

type attributesAnswer struct {
	Attributes []Attribute `json:"attributes"`
}

type checksAnswer struct {
	Checks []Check `json:"checks"`
}

type deletedAnswer struct {
	Deleted int `json:"deleted"`
}

type attributeBody struct {
	Value *string `json:"value"`
}

const (
	// maxRuns bounds the checks that run on demand at once: each can take its
	// five minutes, and commands need connections too.
	maxRuns = 8
	// maxCheck is the longest timeout of a check.
	maxCheck = 300 * time.Second
)

// handleControls adds the requests for what Controls offers.
func (h *handler) handleControls() {
	h.runs = make(chan struct{}, maxRuns)
	h.handle("GET /v1/attributes", h.listAttributes)
	h.handle("GET /v1/attributes/{name}", h.getAttribute)
	h.handle("PUT /v1/attributes/{name}", h.setAttribute)
	h.handle("DELETE /v1/dead", h.clearDead)
	h.handle("GET /v1/checks", h.listChecks)
	h.handle("GET /v1/proxies", h.listProxies)
	h.handle("POST /v1/checks/{name}/run", h.runCheck)
}

// handleSecrets adds the one request whose answer holds secrets. Only the unix
// socket has it.
func (h *handler) handleSecrets() { h.handle("GET /v1/configuration", h.configuration) }

func (h *handler) listAttributes(http.ResponseWriter, *http.Request, url.Values) (any, error) {
	return attributesAnswer{h.node.Attributes()}, nil
}

func (h *handler) getAttribute(_ http.ResponseWriter, r *http.Request, _ url.Values) (any, error) {
	for _, a := range h.node.Attributes() {
		if a.Name == r.PathValue("name") {
			return a, nil
		}
	}
	return nil, Errorf(NotFound, "no attribute %q", r.PathValue("name"))
}

func (h *handler) setAttribute(_ http.ResponseWriter, r *http.Request, _ url.Values) (any, error) {
	var body attributeBody
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Value == nil {
		return nil, Errorf(Invalid, "value: missing")
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestPatience)
	defer cancel()
	return h.node.SetAttribute(ctx, r.PathValue("name"), *body.Value)
}

func (h *handler) clearDead(_ http.ResponseWriter, r *http.Request, _ url.Values) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), requestPatience)
	defer cancel()
	n, err := h.node.ClearDead(ctx)
	return deletedAnswer{n}, err
}

func (h *handler) configuration(w http.ResponseWriter, _ *http.Request, _ url.Values) (any, error) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(h.node.Configuration()) // a client that went away is not our concern
	return nil, nil
}

func (h *handler) listChecks(http.ResponseWriter, *http.Request, url.Values) (any, error) {
	return checksAnswer{h.node.Checks()}, nil
}

func (h *handler) runCheck(w http.ResponseWriter, r *http.Request, _ url.Values) (any, error) {
	name, err := checkName(r.PathValue("name"))
	if err != nil {
		return nil, &Error{Invalid, err}
	}
	if err := noBody(r); err != nil {
		return nil, err
	}
	select {
	case h.runs <- struct{}{}:
		defer func() { <-h.runs }()
	default:
		return nil, Errorf(Unavailable, "%d checks are being run on demand already: wait for one of them to end", maxRuns)
	}
	// The server's own deadline is for answers from memory. (Where there is none
	// to set, as in a test's recorder, none is missed.)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxCheck + requestPatience))
	ctx, cancel := h.untilEnd(r.Context())
	defer cancel()
	return h.node.RunCheck(ctx, name)
}

// untilEnd gives a context that ends with the server too: a check that takes
// minutes must not hold up the end of the daemon.
func (h *handler) untilEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stopped := make(chan struct{})
	go func() {
		select {
		case <-h.ending:
			cancel(Errorf(Unavailable, "murakumo is stopping"))
		case <-stopped:
		}
	}()
	return ctx, func() { close(stopped); cancel(nil) }
}

// Attributes gives the attributes of the asked node.
func (c *Client) Attributes(ctx context.Context) ([]Attribute, error) {
	var answer attributesAnswer
	err := c.call(ctx, answerPatience, http.MethodGet, "/v1/attributes", nil, &answer)
	return answer.Attributes, err
}

// Attribute gives one of them.
func (c *Client) Attribute(ctx context.Context, name string) (Attribute, error) {
	var answer Attribute
	err := c.call(ctx, answerPatience, http.MethodGet, "/v1/attributes/"+url.PathEscape(name), nil, &answer)
	return answer, err
}

// SetAttribute changes an attribute of the asked node and gives it as it is
// then.
func (c *Client) SetAttribute(ctx context.Context, name, value string) (Attribute, error) {
	var answer Attribute
	err := c.call(ctx, changePatience, http.MethodPut, "/v1/attributes/"+url.PathEscape(name), attributeBody{&value}, &answer)
	return answer, err
}

// ClearDead makes all nodes forget those that are dead, and gives how many those
// are.
func (c *Client) ClearDead(ctx context.Context) (int, error) {
	var answer deletedAnswer
	err := c.call(ctx, changePatience, http.MethodDelete, "/v1/dead", nil, &answer)
	return answer.Deleted, err
}

// Configuration gives the running configuration of the asked node as a file, with
// its secrets.
func (c *Client) Configuration(ctx context.Context) ([]byte, error) {
	var file []byte
	err := c.call(ctx, answerPatience, http.MethodGet, "/v1/configuration", nil, &file)
	return file, err
}

// Checks gives the health checks of the asked node.
func (c *Client) Checks(ctx context.Context) ([]Check, error) {
	var answer checksAnswer
	err := c.call(ctx, answerPatience, http.MethodGet, "/v1/checks", nil, &answer)
	return answer.Checks, err
}

// RunCheck runs a health check of the asked node now and waits for its verdict,
// for as long as the check itself may take.
func (c *Client) RunCheck(ctx context.Context, name string) (Verdict, error) {
	name, err := checkName(name)
	if err != nil {
		return Verdict{}, &Error{Invalid, err}
	}
	checks, err := c.Checks(ctx)
	if err != nil {
		return Verdict{}, err
	}
	patience := maxCheck
	for _, known := range checks {
		if known.Name == name {
			patience = time.Duration(known.Timeout * float64(time.Second))
		}
	}
	var answer Verdict
	err = c.call(ctx, patience+changePatience, http.MethodPost, "/v1/checks/"+url.PathEscape(name)+"/run", nil, &answer)
	return answer, err
}
