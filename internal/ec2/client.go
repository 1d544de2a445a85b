package ec2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// apiVersion is the date of the API that the requests are written for; EC2 has
// had no other since 2016.
const apiVersion = "2016-11-15"

const (
	// perTry bounds one request. EC2 answers within a second or two; what
	// hangs is a connection that will never answer.
	perTry = 10 * time.Second
	// maxReply bounds a reply, in octets. A page of 100 instances has about
	// 1 MB, with every tag at its longest 3 MB.
	maxReply = 16 << 20
	// pageSize is how many a page has, of the 1000 that EC2 would give: many
	// small replies are within maxReply and perTry on a slow line.
	pageSize = "100"
	// skewed is the difference of clocks that is worth a correction; EC2
	// refuses signatures from 5 minutes on.
	skewed = 4 * time.Minute
)

// HTTP is what the client needs of an HTTP client. It must not follow
// redirects: a signature is for one host.
type HTTP interface {
	Do(*http.Request) (*http.Response, error)
}

// Params are the parameters of an action, by EC2's names.
type Params map[string]string

// A Client asks EC2 in one region. It may be used by several goroutines once
// its fields are set.
type Client struct {
	Endpoint    *url.URL
	Region      string
	Credentials aws.CredentialsProvider
	HTTP        HTTP
	UserAgent   string
	// Trace is told of every request and its answer, for --verbose, and Warn
	// of what an operator should mend; both may be nil.
	Trace, Warn func(string)

	skew skew
}

// A Retry says which failed requests are sent again.
type Retry uint8

const (
	// Always is for requests that may be done twice: reads, dry runs, tags.
	Always Retry = iota + 1
	// Untouched is for requests that must not be done twice: only those that
	// EC2 surely has not done are sent again.
	Untouched
	// Never leaves it to the caller, who reads first what has become of it.
	Never
)

// A Call is one request to EC2.
type Call struct {
	Action string
	Params Params
	Retry  Retry
	// Most bounds the reply, in octets; 0 means 16 MiB. A longer reply is an
	// error.
	Most int64
}

// A Result is EC2's answer that it did what was asked.
type Result struct {
	Root      *Node
	XML       []byte // the reply as it came
	RequestID string
}

// Do sends a request, again and again as Retry allows, until there is an answer,
// or the next try would begin after ctx's deadline. The error is an [*APIError]
// or a [*SendError], or there was nothing to sign with.
func (c *Client) Do(ctx context.Context, call Call) (*Result, error) {
	began := time.Now()
	for try := 0; ; try++ {
		result, err := c.once(ctx, call)
		if err == nil {
			return result, nil
		}
		if ctx.Err() != nil {
			return nil, interrupted(ctx, err)
		}
		again, wait := c.again(call.Retry, try, err)
		if !again {
			return nil, err
		}
		c.trace("%s: again in %s: %v", call.Action, wait.Round(time.Millisecond), err)
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= wait || sleep(ctx, wait) != nil {
			return nil, fmt.Errorf("%w (asked %d times in %s)", err, try+1, time.Since(began).Round(time.Second/10))
		}
	}
}

// interrupted says so when it was the caller's own time that ended, and not
// EC2's.
func interrupted(ctx context.Context, err error) error {
	if send, ok := errors.AsType[*SendError](err); ok {
		send.Err = context.Cause(ctx)
	}
	return err
}

// again says whether and after how long a request is sent once more.
func (c *Client) again(r Retry, try int, err error) (bool, time.Duration) {
	answer := reply(err)
	switch {
	case r == Never:
		return false, 0
	case answer == Busy && code(err) != "":
		return true, backoff(500*time.Millisecond, 8*time.Second, try)
	case answer == Busy, answer == Unsure && r == Always:
		return true, backoff(200*time.Millisecond, 3*time.Second, try)
	}
	return false, 0
}

// backoff doubles with each try up to most, and takes a random part off so that
// hosts that were refused together do not come back together.
func backoff(least, most time.Duration, try int) time.Duration {
	d := min(least<<min(try, 10), most)
	return d/2 + rand.N(d/2+1)
}

// sleep waits, and gives the error of ctx if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once sends the request once, and a second time only if this host's clock was
// the reason of the refusal.
func (c *Client) once(ctx context.Context, call Call) (*Result, error) {
	before := c.skew.get()
	result, date, err := c.send(ctx, call, before)
	e, ok := errors.AsType[*APIError](err)
	if !ok || !e.skewed() || date.IsZero() {
		return result, err
	}
	off := time.Until(date).Round(time.Second)
	if (off - before).Abs() < skewed {
		return nil, err
	}
	if c.skew.set(off) {
		c.warn("this host's clock differs from EC2's by %s: set the time (EC2 was asked with its own)", off.Abs())
	}
	result, _, err = c.send(ctx, call, off)
	return result, err
}

// send signs and sends the request with the time of this host plus offset. The
// date is EC2's, zero if it gave none.
func (c *Client) send(ctx context.Context, call Call, offset time.Duration) (*Result, time.Time, error) {
	form := url.Values{"Action": {call.Action}, "Version": {apiVersion}}
	for k, v := range call.Params {
		form.Set(k, v)
	}
	body := form.Encode()
	keys, err := c.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, time.Time{}, noCredentials(err)
	}
	tryCtx, cancel := context.WithTimeoutCause(ctx, perTry, fmt.Errorf("nothing came within %s", perTry))
	defer cancel()
	req, err := http.NewRequestWithContext(tryCtx, http.MethodPost, c.Endpoint.String(), strings.NewReader(body))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", call.Action, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	req.Header.Set("User-Agent", c.UserAgent)
	hash := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, keys, req, hex.EncodeToString(hash[:]), "ec2", c.Region, time.Now().Add(offset)); err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: sign: %w", call.Action, err)
	}

	began := time.Now()
	fail := func(err error, fate Reply) (*Result, time.Time, error) {
		if tryCtx.Err() != nil && ctx.Err() == nil {
			err = context.Cause(tryCtx)
		}
		send := &SendError{Action: call.Action, Endpoint: c.Endpoint.String(), Err: plain(err), Fate: fate}
		c.trace("%s: %v", describe(call), send.Err)
		return nil, time.Time{}, send
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return fail(err, fate(err))
	}
	defer resp.Body.Close()
	most := call.Most
	if most == 0 {
		most = maxReply
	}
	var raw bytes.Buffer
	limited := &io.LimitedReader{R: resp.Body, N: most + 1}
	root, decodeErr := decode(io.TeeReader(limited, &raw))
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	took := time.Since(began).Round(time.Millisecond)
	if limited.N <= 0 {
		return fail(fmt.Errorf("the reply is longer than %d octets", most), Odd)
	}
	if resp.StatusCode == http.StatusOK {
		if decodeErr != nil {
			return fail(fmt.Errorf("the reply is not whole, or no XML: %w", decodeErr), Unsure)
		}
		if root.Name != call.Action+"Response" {
			return fail(fmt.Errorf("the reply is <%s> and not <%sResponse>: is that endpoint EC2's?", root.Name, call.Action), Odd)
		}
		id := root.Str("requestId")
		c.trace("%s: ok in %s, request id %s", describe(call), took, id)
		return &Result{Root: root, XML: raw.Bytes(), RequestID: id}, date, nil
	}
	e := root.Get("Errors", "Error")
	if e == nil || root.Name != "Response" {
		fate := Unsure // as from a load balancer whose server behind it died
		if resp.StatusCode < 500 {
			fate = Denied
		}
		return fail(fmt.Errorf("HTTP status %s without EC2's explanation: is a proxy between, or is that endpoint not EC2's?", resp.Status), fate)
	}
	answer := &APIError{
		Action: call.Action, Code: e.Str("Code"), Message: e.Str("Message"), RequestID: root.Str("RequestID"),
		Status: resp.StatusCode, Region: c.Region, Keys: origin(keys),
	}
	c.trace("%s: %d %s in %s, request id %s: %s", describe(call), answer.Status, answer.Code, took, answer.RequestID, answer.Message)
	return nil, date, answer
}

// plain takes the method and the URL off an HTTP client's error, which we tell
// ourselves.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// describe gives the request as --verbose shows it. No parameter of ours is a
// secret; what query was told is on the operator's own command line.
func describe(call Call) string {
	var b strings.Builder
	b.WriteString(call.Action)
	for _, k := range slices.Sorted(maps.Keys(call.Params)) {
		fmt.Fprintf(&b, " %s=%s", k, call.Params[k])
	}
	return b.String()
}

func (c *Client) trace(format string, args ...any) {
	if c.Trace != nil {
		c.Trace(fmt.Sprintf("ec2: "+format, args...))
	}
}

func (c *Client) warn(format string, args ...any) {
	if c.Warn != nil {
		c.Warn(fmt.Sprintf(format, args...))
	}
}

// read asks for one reply that may be asked for twice.
func (c *Client) read(ctx context.Context, action string, p Params) (*Node, error) {
	r, err := c.Do(ctx, Call{Action: action, Params: p, Retry: Always})
	if err != nil {
		return nil, err
	}
	return r.Root, nil
}

// list asks for all pages of a list, and gives the elements of the set.
func (c *Client) list(ctx context.Context, action, set string, p Params) ([]*Node, error) {
	p = maps.Clone(p)
	if p == nil {
		p = Params{}
	}
	p["MaxResults"] = pageSize
	var all []*Node
	seen := map[string]bool{}
	for {
		root, err := c.read(ctx, action, p)
		if err != nil {
			return nil, err
		}
		all = append(all, root.Items(set)...)
		next := root.Str("nextToken")
		if next == "" {
			return all, nil
		}
		if seen[next] {
			return nil, fmt.Errorf("%s: EC2 gave the same page twice (%d so far)", action, len(all))
		}
		seen[next] = true
		p["NextToken"] = next
	}
}

// change sends a request that is to change something, once.
func (c *Client) change(ctx context.Context, action string, p Params) (*Node, error) {
	r, err := c.Do(ctx, Call{Action: action, Params: p, Retry: Never})
	if err != nil {
		return nil, err
	}
	return r.Root, nil
}

// try asks whether EC2 would do it, and gives nil if so.
func (c *Client) try(ctx context.Context, action string, p Params) error {
	p = maps.Clone(p)
	p["DryRun"] = "true"
	_, err := c.Do(ctx, Call{Action: action, Params: p, Retry: Always})
	switch {
	case allowed(err):
		return nil
	case err == nil:
		return fmt.Errorf("%s: EC2 answered a dry run as if it had been done", action)
	}
	return err
}
