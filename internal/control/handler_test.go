package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"murakumo/internal/catalog"
)

func ask(h http.Handler, method, target, body string) (status int, answer string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestRequests(t *testing.T) {
	n := fourRecords(t)
	h := Handler(n, noLog)
	web := `{"name":"Web","ttl":0,"priority":"Backup","weight":65535}`
	db := `{"name":"db.example.org","ttl":2147483647,"priority":"secondary","weight":1}`
	for _, c := range []struct {
		method, target, body string
		status               int
		want                 string // contained in the answer
	}{
		{"GET", "/v1/records", "", 200, `{"records":[{"owner":"10.0.0.133","own":true,"address":"10.0.0.133","name":"mysql-server"`},
		{"GET", "/v1/records?phrase=server-02", "", 200, `{"records":[{"owner":"10.0.0.55","own":false,"address":"10.0.0.55","name":"server-02"`},
		{"GET", "/v1/records?phrase=nothing", "", 200, `{"records":[]}`},
		{"GET", "/v1/records?phrase=%28", "", 400, `{"error":"phrase \"(\" is no regular expression: missing closing ): \"(\""}`},
		{"GET", "/v1/records?frase=a", "", 400, `{"error":"unknown parameter \"frase\""}`},
		{"GET", "/v1/records?phrase=a&phrase=b", "", 400, `{"error":"parameter \"phrase\": given 2 times"}`},
		{"GET", "/v1/records?phrase=%zz", "", 400, `{"error":"malformed query`},

		{"POST", "/v1/records", `{"records":[` + web + `,` + db + `]}`, 200, `{"records":[{"owner":"10.0.0.133","own":true,"address":"10.0.0.133","name":"web","ttl":0,"priority":"backup","weight":65535,"activity":"active","duty":"undefined","transition":0},{"owner":"10.0.0.133","own":true,"address":"10.0.0.133","name":"db.example.org"`},
		{"POST", "/v1/records", `{"records":[]}`, 400, `{"error":"records: the list is empty"}`},
		{"POST", "/v1/records", ``, 400, `{"error":"malformed body: it ends too early"}`},
		{"POST", "/v1/records", `{"records":[{"name":`, 400, `{"error":"malformed body: it ends too early"}`},
		{"POST", "/v1/records", `{"records":[` + web + `]} x`, 400, `{"error":"malformed body: `},
		{"POST", "/v1/records", `{"records":[` + web + `]}{}`, 400, `{"error":"malformed body: something follows the first value"}`},
		{"POST", "/v1/records", `[]`, 400, `{"error":"the body: unexpected JSON array"}`},
		{"POST", "/v1/records", `{"records":[{"name":"a","ttl":"5"}]}`, 400, `{"error":"records.ttl: unexpected JSON string"}`},
		{"POST", "/v1/records", `{"records":[{"name":"a","tll":5}]}`, 400, `unknown field \"tll\"`},
		{"POST", "/v1/records", `{"records":[{"name":"a","on-activate":"/bin/sh"}]}`, 400, `unknown field \"on-activate\"`},
		{"POST", "/v1/records", `{"records":[null]}`, 400, `records[0].name: name is empty`},
		{"POST", "/v1/records", `{"records":[{"name":"a b"}]}`, 400, `records[0].name: name \"a b\" has a character that is not allowed`},
		{"POST", "/v1/records", `{"records":[{"name":"-rf"}]}`, 400, `records[0].name: name \"-rf\" begins with a hyphen`},
		{"POST", "/v1/records", `{"records":[{"name":"a"}]}`, 400, `records[0].ttl: missing`},
		{"POST", "/v1/records", `{"records":[{"name":"a","ttl":-1}]}`, 400, `records[0].ttl: -1 is not in 0 … 2147483647`},
		{"POST", "/v1/records", `{"records":[{"name":"a","ttl":2147483648}]}`, 400, `records[0].ttl: 2147483648 is not in 0 … 2147483647`},
		{"POST", "/v1/records", `{"records":[{"name":"a","ttl":1}]}`, 400, `records[0].priority: missing`},
		{"POST", "/v1/records", `{"records":[{"name":"a","ttl":1,"priority":"master"}]}`, 400, `records[0].weight: missing`},
		{"POST", "/v1/records", `{"records":[{"name":"a","ttl":1,"priority":"master","weight":0}]}`, 400, `records[0].weight: 0 is not in 1 … 65535`},
		{"POST", "/v1/records", `{"records":[{"name":"a","ttl":1,"priority":"master","weight":65536}]}`, 400, `records[0].weight: 65536 is not in 1 … 65535`},
		{"POST", "/v1/records", `{"records":[{"name":"a","ttl":1,"priority":"origin","weight":1}]}`, 400, `records[0].priority \"origin\": expected master, secondary or backup`},
		{"POST", "/v1/records", `{"records":[` + web + `,` + web + `]}`, 400, `records[1].name: \"web\" is named twice`},
		{"POST", "/v1/records?force=1", `{"records":[` + web + `]}`, 400, `unknown parameter \"force\"`},
		{"POST", "/v1/records", `{"records":[` + strings.Repeat(" ", maxBody) + `]}`, 413, `the body has more than 65536 octets`},

		{"DELETE", "/v1/records/nobody", "", 404, `{"error":"no alias nobody on this node"}`},
		{"DELETE", "/v1/records/web,server-01", "", 409, `{"error":"original host name cannot be deleted"}`},
		{"DELETE", "/v1/records/web,WEB", "", 400, `{"error":"\"web\" is named twice"}`},
		{"DELETE", "/v1/records/web,", "", 400, `{"error":"name is empty"}`},
		{"DELETE", "/v1/records/a%2Fb", "", 400, `has a character that is not allowed`},
		{"DELETE", "/v1/records/Web,db.example.org", "", 200, `{}`},
		{"DELETE", "/v1/records/web", "", 404, `no alias web`},
		{"DELETE", "/v1/records", "", 404, `{"error":"no request DELETE /v1/records"}`},

		{"POST", "/v1/checks/Web/report", `{"verdict":"good"}`, 200, `{}`},
		{"POST", "/v1/checks/web/report", `{"verdict":"fine"}`, 400, `{"error":"verdict: \"fine\" is neither good nor bad"}`},
		{"POST", "/v1/checks/web/report", `{}`, 400, `verdict: \"\" is neither`},
		{"POST", "/v1/checks/web/report", ``, 400, `malformed body: it ends too early`},
		{"POST", "/v1/checks/web/report", `{"verdict":true}`, 400, `verdict: unexpected JSON bool`},
		{"POST", "/v1/checks/web/report", `{"verdict":"good","command":"/bin/sh"}`, 400, `unknown field \"command\"`},
		{"POST", "/v1/checks/a%20b/report", `{"verdict":"good"}`, 400, `has a character that is not allowed`},
		{"POST", "/v1/checks/web/report?x=1", `{"verdict":"good"}`, 400, `unknown parameter`},

		{"GET", "/v1/nodes", "", 200, `{"nodes":[{"address":"10.0.0.55","own":false,"name":"server-02","status":"alive"`},
		{"POST", "/v1/nodes", `{"hosts":["10.0.0.9","10.0.0.9:10870","fd00::1","[fd00::1]:10870","server-09","server-09:1"]}`, 200, `{}`},
		{"POST", "/v1/nodes", `{"hosts":[]}`, 400, `{"error":"the list is empty"}`},
		{"POST", "/v1/nodes", `{"hosts":["a","a"]}`, 400, `\"a\" is named twice`},
		{"POST", "/v1/nodes", `{"hosts":["a:0"]}`, 400, `host \"a:0\": port \"0\" is not in 1 … 65535`},
		{"POST", "/v1/nodes", `{"hosts":["a:b:c"]}`, 400, `host \"a:b:c\": expected an address or a name`},
		{"POST", "/v1/nodes", `{"hosts":["$(id)"]}`, 400, `has a character that is not allowed`},
		{"POST", "/v1/nodes", `{"hosts":[5]}`, 400, `{"error":"hosts: unexpected JSON number"}`},
		{"POST", "/v1/nodes", `{"host":"a"}`, 400, `unknown field \"host\"`},
		{"DELETE", "/v1/nodes/10.0.0.9,[fd00::1]:10870", "", 200, `{}`},
		{"DELETE", "/v1/nodes/a:x", "", 400, `port \"x\"`},

		{"PUT", "/v1/records", `{}`, 404, `{"error":"no request PUT /v1/records"}`},
		{"GET", "/", "", 404, `{"error":"no request GET /"}`},
		{"GET", "/v1/events?since=1", "", 400, `unknown parameter \"since\"`},
	} {
		status, answer := ask(h, c.method, c.target, c.body)
		if status != c.status || !strings.Contains(answer, c.want) {
			t.Errorf("%s %s %.80s: got %d %s, want %d %s", c.method, c.target, c.body, status, answer, c.status, c.want)
		}
		if !json.Valid([]byte(answer)) {
			t.Errorf("%s %s: no JSON: %s", c.method, c.target, answer)
		}
	}
	if got, want := strings.Join(n.hosts, " "), "10.0.0.9 10.0.0.9:10870 fd00::1 [fd00::1]:10870 server-09 server-09:1 -10.0.0.9 -[fd00::1]:10870"; got != want {
		t.Errorf("hosts: got %s, want %s", got, want)
	}
}

// A refused request changed nothing, also where its first half was good.
func TestRefusedMeansUnchanged(t *testing.T) {
	n := fourRecords(t)
	n.put(t, catalog.Record{Name: "web", Addr: self, TTL: 60, Priority: catalog.Master, Weight: 1})
	h := Handler(n, noLog)
	before := n.View()
	ask(h, "POST", "/v1/records", `{"records":[{"name":"a","ttl":1,"priority":"master","weight":1},{"name":"b"}]}`)
	ask(h, "DELETE", "/v1/records/web,nobody", "")
	ask(h, "DELETE", "/v1/records/web,server-01", "")
	if n.View() != before {
		t.Errorf("changed:\n%s", lines(Table(n.View())))
	}
}

func TestKindsBecomeStatuses(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		kind   Kind
	}{
		{Errorf(Invalid, "said"), 400, Invalid},
		{Errorf(NotFound, "said"), 404, NotFound},
		{Errorf(Conflict, "said"), 409, Conflict},
		{Errorf(Unavailable, "said"), 504, Unavailable},
		{Errorf(Internal, "said"), 500, Internal},
		{errors.New("said"), 500, Internal},
		{fmt.Errorf("said: %w", context.DeadlineExceeded), 504, Unavailable},
		{fmt.Errorf("said: %w", Errorf(Conflict, "it")), 409, Conflict},
		{errors.Join(errors.New("said"), Errorf(Unavailable, "it")), 504, Unavailable},
	} {
		n := newFakeNode(t)
		n.before = func(context.Context, string, []string) error { return c.err }
		status, answer := ask(Handler(n, noLog), "DELETE", "/v1/records/web", "")
		if status != c.status || !strings.HasPrefix(answer, `{"error":"said`) {
			t.Errorf("%v: got %d %s, want %d", c.err, status, answer, c.status)
		}
		if kind := kindOfStatus(status); kind != c.kind {
			t.Errorf("%v: the client reads kind %d, want %d", c.err, kind, c.kind)
		}
	}
}

// A Node's method that waits gets a deadline, which the operator hears of.
func TestRequestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.before = func(ctx context.Context, what string, hosts []string) error {
			<-ctx.Done()
			return fmt.Errorf("%s %s: %w", what, hosts[0], ctx.Err())
		}
		status, answer := ask(Handler(n, noLog), "POST", "/v1/nodes", `{"hosts":["10.0.0.9"]}`)
		if status != 504 || answer != `{"error":"join 10.0.0.9: context deadline exceeded"}` {
			t.Errorf("got %d %s", status, answer)
		}
	})
}

func TestEveryAnswerNamesTheVersion(t *testing.T) {
	h := Handler(newFakeNode(t), noLog)
	for _, target := range []string{"/v1/records", "/nothing"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if got := w.Header().Get("Server"); got != "murakumo/1.2.3" {
			t.Errorf("%s: %q", target, got)
		}
	}
}

// The log keeps every change that was asked for, with its outcome, and no reads.
func TestLogKeepsChanges(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	n := newFakeNode(t)
	h := Handler(n, log)
	ask(h, "GET", "/v1/records", "")
	ask(h, "GET", "/v1/records?phrase=*", "")
	ask(h, "POST", "/v1/nodes", `{"hosts":["a"]}`)
	ask(h, "DELETE", "/v1/records/web", "")
	n.before = func(context.Context, string, []string) error { return errors.New("out of ideas") }
	ask(h, "DELETE", "/v1/nodes/a", "")
	want := `level=INFO msg="control request done" method=POST path=/v1/nodes
level=INFO msg="control request refused" method=DELETE path=/v1/records/web status=404 error="no alias web on this node"
level=ERROR msg="control request failed" method=DELETE path=/v1/nodes/a status=500 error="out of ideas"
`
	if text.String() != want {
		t.Errorf("got\n%swant\n%s", &text, want)
	}
}
