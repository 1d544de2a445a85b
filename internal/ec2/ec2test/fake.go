package ec2test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are what AWS leaves open.
type Options struct {
	// AttachDelay and DetachDelay are how long attaching and detaching take;
	// with Jitter up to that much longer.
	AttachDelay, DetachDelay, Jitter time.Duration
	// Lag is how old a reading may be: each Describe shows some moment between
	// now and then (API query-api-troubleshooting.html, eventual consistency:
	// a change is not visible to all readers at once, and later readings can
	// show less than earlier ones).
	Lag time.Duration
	// Burst and Rate are the token bucket of all requests (API
	// throttling.html); Burst 0 is no limit.
	Burst int
	Rate  float64 // tokens a second
	// Fault is asked before each request is carried out, and may block. It is
	// called without any lock held.
	Fault func(Request) Fault
	// OnChange is told when an interface came to an instance or left it. See
	// Settle.
	OnChange func(Change)
	// PageSize is the most that one page has, whatever is asked for; 0 is no
	// limit of ours.
	PageSize int
	// ClockOff is added to the machine's clock to get the fake's.
	ClockOff time.Duration
	// Skew is how far a signature's time may be off; 5 minutes unless given.
	Skew time.Duration
	// HopLimit makes the metadata service lose the answer to the request for a
	// token, as a hop limit of 1 does before a container.
	HopLimit bool
	// MetadataOff makes it refuse everything (HttpEndpoint disabled).
	MetadataOff bool
}

// A Request is one that is about to be carried out.
type Request struct {
	Action string
	Params map[string]string
	Key    string // access key id of the caller
	N      int    // how many of this action came before from the caller
}

// A Fault is what goes wrong with a request; the zero value is nothing.
type Fault struct {
	Delay   time.Duration // before anything else
	Code    string        // this error, and nothing is done
	Status  int           // of HTTP with Code; 503 unless given
	Lose    bool          // it is carried out, and the answer lost
	Cut     bool          // it is carried out, and the answer cut in half
	Instead string        // it is carried out, and this is the answer
}

// An Entry is a request that came, with the code of its error, "" if none.
type Entry struct {
	At     time.Time
	Key    string
	Action string
	Params map[string]string
	Code   string
	DryRun bool
}

// A Fake is a fake EC2. It is an [http.Handler] of the Query API.
type Fake struct {
	opts    Options
	telling sync.Mutex // held while OnChange is told, so that a request that shows a change comes after

	mu      sync.Mutex // guards what follows
	now     *World
	past    []moment // the newest last
	journal []Entry
	count   map[string]int
	tokens  map[string]time.Time // of the metadata service
	session map[string]string    // session token of an access key
	bucket  float64
	filled  time.Time
	pages   map[string]page
	ids     int
	due     []Change // not told yet
}

type moment struct {
	at    time.Time
	world *World
}

// New makes a fake of this world, which it takes over.
func New(w World, o Options) *Fake {
	if w.Region == "" {
		w.Region = "ap-northeast-1"
	}
	if o.Skew == 0 {
		o.Skew = 5 * time.Minute
	}
	f := &Fake{
		opts: o, now: w.clone(), count: map[string]int{}, tokens: map[string]time.Time{}, session: map[string]string{},
		bucket: float64(o.Burst), filled: time.Now(), pages: map[string]page{},
	}
	keys := map[string]string{}
	for k, v := range w.Keys {
		keys[k] = v
	}
	f.now.Keys = keys
	for i := range f.now.Instances {
		in := &f.now.Instances[i]
		in.State = or(in.State, "running")
		if in.MaxInterfaces == 0 {
			in.MaxInterfaces = 4
		}
		if in.MaxAddresses == 0 {
			in.MaxAddresses = 10
		}
	}
	for i := range f.now.Interfaces {
		if a := f.now.Interfaces[i].Attachment; a != nil {
			a.Status = or(a.Status, "attached")
			if a.Since.IsZero() {
				a.Since = time.Now().Add(-time.Hour)
			}
		}
	}
	f.past = []moment{{time.Time{}, f.now.clone()}}
	return f
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Set replaces the options.
func (f *Fake) Set(o Options) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.Skew == 0 {
		o.Skew = 5 * time.Minute
	}
	f.opts = o
	f.bucket, f.filled = float64(o.Burst), time.Now()
}

func (f *Fake) options() Options {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opts
}

// World gives a copy of what there is now.
func (f *Fake) World() World {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pass()
	return *f.now.clone()
}

// Change changes the world from outside, as AWS or another operator does.
func (f *Fake) Change(change func(*World)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pass()
	change(f.now)
	f.remember()
}

// Journal gives all requests that came.
func (f *Fake) Journal() []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.journal)
}

// Settle lets what is due happen and tells OnChange. A fake that moves real
// interfaces calls it often; others need not, since each request does.
func (f *Fake) Settle() {
	f.telling.Lock()
	defer f.telling.Unlock()
	f.mu.Lock()
	f.pass()
	changes, tell := f.due, f.opts.OnChange
	f.due = nil
	f.mu.Unlock()
	if tell != nil {
		for _, c := range changes {
			tell(c)
		}
	}
}

// pass lets what is due happen. The caller holds the lock.
func (f *Fake) pass() { f.due = append(f.due, f.now.settle(time.Now())...) }

// remember keeps the world as it is now for readers that are behind. The caller
// holds the lock.
func (f *Fake) remember() {
	now := time.Now()
	f.past = append(f.past, moment{now, f.now.clone()})
	for len(f.past) > 1 && now.Sub(f.past[1].at) > f.opts.Lag {
		f.past = f.past[1:]
	}
}

// seen gives the world as a reader sees it.
func (f *Fake) seen() *World {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := time.Now()
	if f.opts.Lag > 0 {
		at = at.Add(-mrand.N(f.opts.Lag))
	}
	w := f.past[0].world
	for _, m := range f.past {
		if m.at.After(at) {
			break
		}
		w = m.world
	}
	w = w.clone()
	w.settle(at)
	return w
}

// id makes a new one of a kind, such as eni-attach-.
func (f *Fake) id(prefix string) string {
	f.ids++
	return fmt.Sprintf("%s%017x", prefix, f.ids)
}

// later is now plus a delay and its jitter.
func (f *Fake) later(d time.Duration) time.Time {
	if f.opts.Jitter > 0 {
		d += mrand.N(f.opts.Jitter)
	}
	return time.Now().Add(d)
}

// failure is an error of the API.
type failure struct {
	status        int
	code, message string
}

func fail(code, format string, args ...any) *failure {
	return &failure{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// ServeHTTP answers the Query API.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID()
	w.Header().Set("Date", time.Now().Add(f.options().ClockOff).UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || r.URL.Path != "/" {
		writeFailure(w, fail("InvalidRequest", "the path is %s", r.URL.Path), id)
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		writeFailure(w, fail("MalformedQueryString", "the body is no form"), id)
		return
	}
	params := map[string]string{}
	for k, v := range form {
		params[k] = v[0]
	}
	key, bad := f.verify(r, body)
	if bad != nil {
		f.note(Entry{Key: key, Action: params["Action"], Params: params, Code: bad.code})
		writeFailure(w, bad, id)
		return
	}
	fault := f.fault(key, params)
	if fault.Delay > 0 {
		t := time.NewTimer(fault.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			// Nobody waits for the answer any more. EC2 carries it out
			// nevertheless.
		}
	}
	if fault.Code != "" {
		status := fault.Status
		if status == 0 {
			status = http.StatusServiceUnavailable
		}
		f.note(Entry{Key: key, Action: params["Action"], Params: params, Code: fault.Code})
		writeFailure(w, &failure{status, fault.Code, "a fault of the test"}, id)
		return
	}
	answer, bad := f.carryOut(key, params)
	e := Entry{Key: key, Action: params["Action"], Params: params, DryRun: params["DryRun"] == "true"}
	if bad != nil {
		e.Code = bad.code
	}
	f.note(e)
	f.Settle()
	switch {
	case fault.Lose:
		panic(http.ErrAbortHandler)
	case fault.Instead != "":
		io.WriteString(w, fault.Instead)
	case bad != nil:
		writeFailure(w, bad, id)
	default:
		text := render(params["Action"], answer, id)
		if fault.Cut {
			text = text[:len(text)/2]
		}
		io.WriteString(w, text)
	}
}

func (f *Fake) note(e Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.At = time.Now()
	f.journal = append(f.journal, e)
}

func (f *Fake) fault(key string, params map[string]string) Fault {
	f.mu.Lock()
	n := f.count[key+params["Action"]]
	f.count[key+params["Action"]]++
	ask := f.opts.Fault
	f.mu.Unlock()
	if ask == nil {
		return Fault{}
	}
	return ask(Request{params["Action"], params, key, n})
}

// throttled takes a token from the bucket (API throttling.html: one bucket per
// account and region; RequestLimitExceeded when it is empty).
func (f *Fake) throttled() bool {
	if f.opts.Burst == 0 {
		return false
	}
	now := time.Now()
	f.bucket = min(float64(f.opts.Burst), f.bucket+now.Sub(f.filled).Seconds()*f.opts.Rate)
	f.filled = now
	if f.bucket < 1 {
		return true
	}
	f.bucket--
	return false
}

// Client gives an HTTP client that calls the fake directly, without a network:
// in virtual time, real connections would be waited for for ever.
func (f *Fake) Client() *http.Client { return &http.Client{Transport: direct{f}} }

type direct struct{ http.Handler }

// RoundTrip calls the handler; a lost answer is an error, as of a connection
// that was closed.
func (d direct) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	rec := httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			resp, err = nil, io.ErrUnexpectedEOF
		}
	}()
	in := r.Clone(r.Context())
	in.Host = or(r.Host, r.URL.Host)
	d.ServeHTTP(rec, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

func requestID() string {
	b := make([]byte, 16)
	rand.Read(b)
	h := hex.EncodeToString(b)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
