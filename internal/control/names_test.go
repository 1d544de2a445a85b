package control

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
)

// badNames are the names that no entrance may let in.
func badNames(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../catalog/testdata/bad-names.txt")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		names = append(names, name)
	}
	if len(names) < 70 {
		t.Fatalf("only %d names", len(names))
	}
	return names
}

// TestBadNames: the API is an entrance. No request with such a name gets as far
// as the node, in whatever way it is written, and none is answered by a success.
func TestBadNames(t *testing.T) {
	node := newFakeNode(t)
	arrived := ""
	node.before = func(_ context.Context, what string, args []string) error {
		arrived = what + " " + strings.Join(args, " ")
		return nil
	}
	h := Handler(node, noLog)
	ask := func(method, path, body string) {
		t.Helper()
		// Not NewRequest: whoever speaks to the socket is bound by no library.
		r := &http.Request{Method: method, URL: &url.URL{Path: path}, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
		r.Body = http.NoBody
		if body != "" {
			r.Body = readCloser{strings.NewReader(body)}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code < 300 || arrived != "" || len(node.reports)+len(node.hosts) > 0 {
			t.Errorf("%s %q %q: status %d, the node heard %q %q %q", method, path, body, w.Code, arrived, node.reports, node.hosts)
			arrived, node.reports, node.hosts = "", nil, nil
		}
	}
	// These are no names, but good hosts: an address, and a name with a port.
	hosts := map[string]bool{"a:53": true, "fe80::1%eth0": true}
	for _, name := range append(badNames(t), "") {
		coded, err := json.Marshal(name) // with U+FFFD for what is no UTF-8
		if err != nil {
			t.Fatal(err)
		}
		raw := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
		for _, n := range []string{string(coded), raw} {
			ask("POST", "/v1/records", `{"records":[{"name":`+n+`,"ttl":60,"priority":"master","weight":1}]}`)
			if !hosts[name] {
				ask("POST", "/v1/nodes", `{"hosts":[`+n+`]}`)
			}
		}
		if name == "" {
			continue
		}
		ask("DELETE", "/v1/records/"+name, "")
		ask("DELETE", "/v1/records/web,"+name, "")
		ask("POST", "/v1/checks/"+name+"/report", `{"verdict":"good"}`)
		if !hosts[name] {
			ask("DELETE", "/v1/nodes/"+name, "")
		}
	}
	// The requests are right: with a good name they arrive.
	for _, path := range []string{"/v1/records/web", "/v1/nodes/web"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("DELETE", path, nil))
		if arrived == "" {
			t.Errorf("DELETE %s did not arrive", path)
		}
		arrived = ""
	}
	for path, body := range map[string]string{
		"/v1/records":          `{"records":[{"name":"web","ttl":60,"priority":"master","weight":1}]}`,
		"/v1/nodes":            `{"hosts":["web"]}`,
		"/v1/checks/db/report": `{"verdict":"good"}`,
	} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", path, strings.NewReader(body)))
		if arrived == "" && len(node.reports) == 0 {
			t.Errorf("POST %s did not arrive", path)
		}
		arrived, node.reports = "", nil
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// TestClientRefusesBadNames: mrkmctl asks nobody for what cannot be.
func TestClientRefusesBadNames(t *testing.T) {
	c := NewClient("/nowhere/socket")
	for _, name := range badNames(t) {
		for what, err := range map[string]error{
			"DeleteRecords": c.DeleteRecords(t.Context(), name),
			"Report":        c.Report(t.Context(), name, true),
		} {
			if err == nil || strings.Contains(err.Error(), "/nowhere/socket") {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
}
