package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAPIDocumentation runs every example of docs/api.md, in their order, against
// a real daemon with a peer, and compares what it answers. Addresses are on
// loopback; times and durations are whatever they are.
func TestAPIDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 15 {
		t.Fatalf("docs/api.md has %d examples only", len(blocks))
	}
	socket := documentedHosts(t)
	ask := func(ctx context.Context, c curl) (io.ReadCloser, error) {
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
		}}
		req, err := http.NewRequestWithContext(ctx, c.method, local(c.url), strings.NewReader(local(c.data)))
		if err != nil {
			return nil, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		return resp.Body, nil
	}
	for _, b := range blocks {
		var commands []curl
		var output []string
		for line := range strings.Lines(b[1]) {
			line = strings.TrimSuffix(line, "\n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				c, err := parseCurl(command)
				if err != nil {
					t.Fatalf("%s: %v", command, err)
				}
				commands = append(commands, c)
			} else {
				output = append(output, line)
			}
		}
		t.Run(commands[0].method+" "+commands[0].url, func(t *testing.T) {
			want := strings.Join(output, "\n")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			body, err := ask(ctx, commands[0])
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if commands[0].background {
				in := bufio.NewReader(body)
				got := nextEvent(t, in) // ready, before what follows is asked for
				for _, c := range commands[1:] {
					other, err := ask(ctx, c)
					if err != nil {
						t.Fatal(err)
					}
					other.Close()
				}
				for i, event := range strings.Split(strings.TrimSpace(want), "\n\n") {
					if i > 0 {
						got = nextEvent(t, in)
					}
					kind, data, _ := strings.Cut(event, "\ndata: ")
					gotKind, gotData, _ := strings.Cut(got, "\ndata: ")
					if kind != gotKind {
						t.Errorf("got %s, documented is %s", gotKind, kind)
					}
					sameJSON(t, gotData, data)
				}
				return
			}
			answer, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			if commands[0].grep != "" {
				var found []string
				for line := range strings.Lines(string(answer)) {
					if strings.Contains(line, commands[0].grep) {
						found = append(found, line)
					}
				}
				if got := strings.Join(found, ""); got != want+"\n" && got != want {
					t.Errorf("got %q, documented is %q", got, want)
				}
				return
			}
			sameJSON(t, string(answer), want)
		})
	}
}

// documentedHosts runs the two hosts of the examples, and gives the socket of the
// first when all is as the first example has it.
func documentedHosts(t *testing.T) (socket string) {
	t.Helper()
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	_, port, _ := net.SplitHostPort(service.Addr().String())
	gossip := freePort("127.0.0.133", "127.0.0.55")
	start := func(address, name, alias string) string {
		return startNodeAt(t, address, name, gossip, fmt.Sprintf(`
initial-nodes: 127.0.0.133, 127.0.0.55
alias: %s
health-check:
  mysql-server: {script: tcp_check %s}
activity-check:
  mysql-server: {start-delay: 0, interval: 0.2, on-activate: /bin/true}
`, alias, port))
	}
	socket = start("127.0.0.133", "server-01", "mysql-server")
	start("127.0.0.55", "server-02", "mysql-server,60,backup")
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		_, out, _ := runHere("-S", socket, "--json", "-L", "mysql")
		if strings.Contains(out, `"duty": "active"`) && strings.Contains(out, `"duty": "inactive"`) {
			return socket
		}
		if time.Now().After(end) {
			t.Fatalf("the hosts do not settle:\n%s", out)
		}
	}
}

// curl is what an example asks for.
type curl struct {
	method, url, data, grep string
	background              bool
}

// parseCurl knows what the examples need of curl and of a shell.
func parseCurl(command string) (curl, error) {
	words := regexp.MustCompile(`'[^']*'|\S+`).FindAllString(command, -1)
	for i, w := range words {
		words[i] = strings.Trim(w, "'")
	}
	c := curl{method: http.MethodGet}
	if i := slices.Index(words, "|"); i >= 0 {
		if len(words) != i+3 || words[i+1] != "grep" {
			return c, fmt.Errorf("after | only grep WORD is known")
		}
		c.grep = words[i+2]
		words = words[:i]
	}
	if words[len(words)-1] == "&" {
		c.background = true
		words = words[:len(words)-1]
	}
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "-s", "-sN":
		case "--unix-socket", "-o":
			i++
		case "-X":
			i++
			c.method = words[i]
		case "-d":
			i++
			c.data = words[i]
			if c.method == http.MethodGet {
				c.method = http.MethodPost
			}
		default:
			if c.url != "" || !strings.HasPrefix(words[i], "http://murakumo/") {
				return c, fmt.Errorf("%s is not known here", words[i])
			}
			c.url = words[i]
		}
	}
	return c, nil
}

func local(s string) string  { return strings.ReplaceAll(s, "10.0.0.", "127.0.0.") }
func global(s string) string { return strings.ReplaceAll(s, "127.0.0.", "10.0.0.") }

// nextEvent gives an event of a stream without its last blank line.
func nextEvent(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	var event strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case line != "\n":
			event.WriteString(line)
		case event.Len() > 0:
			return strings.TrimSpace(event.String())
		}
	}
}

func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(global(got)), &g); err != nil {
		t.Fatalf("answered %q: %v", got, err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("documented %q: %v", want, err)
	}
	compareJSON(t, "", g, w)
}

// compareJSON wants the same members of objects and the same values, but for
// those that no two runs have in common.
func compareJSON(t *testing.T, path string, got, want any) {
	t.Helper()
	key := path[strings.LastIndexByte(path, '.')+1:]
	if g, w := fmt.Sprintf("%T", got), fmt.Sprintf("%T", want); g != w {
		t.Errorf("%s: answered %s %v, documented %s %v", path, g, got, w, want)
		return
	}
	switch w := want.(type) {
	case map[string]any:
		g := got.(map[string]any)
		for k, v := range w {
			if _, there := g[k]; !there {
				t.Errorf("%s.%s is documented and not answered", path, k)
				continue
			}
			compareJSON(t, path+"."+k, g[k], v)
		}
		for k := range g {
			if _, there := w[k]; !there {
				t.Errorf("%s.%s is answered and not documented", path, k)
			}
		}
	case []any:
		g := got.([]any)
		if len(g) != len(w) {
			t.Errorf("%s: answered %d entries, documented %d: %v", path, len(g), len(w), got)
			return
		}
		for i := range w {
			compareJSON(t, fmt.Sprintf("%s[%d]", path, i), g[i], w[i])
		}
	case string:
		if key == "time" || key == "since" {
			if _, err := time.Parse(time.RFC3339Nano, got.(string)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			return
		}
		if got != want {
			t.Errorf("%s: answered %q, documented %q", path, got, want)
		}
	default:
		if key != "duration" && got != want {
			t.Errorf("%s: answered %v, documented %v", path, got, want)
		}
	}
}
