package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nginx is a private server of the test: a real nginx on an address of its own,
// with HTTP on port 8080 and TLS on 8443 with a certificate for that address and
// www.example.com.
type nginx struct {
	host string
	cmd  *exec.Cmd
}

// newNginx starts a server and returns when its sockets are open.
func newNginx(t *testing.T) *nginx {
	t.Helper()
	silent, _ := stalls(t, "")
	n, dir := &nginx{host: loopback()}, t.TempDir()
	cert, key := files(t, trusted.sign(t, time.Now().Add(20*24*time.Hour+12*time.Hour), n.host, "www.example.com"))
	conf := strings.NewReplacer("DIR", dir, "HOST", n.host, "SILENT", itoa(silent), "CERT", cert, "KEY", key).Replace(`
daemon off;
master_process off;
pid DIR/pid;
error_log stderr notice;
events { worker_connections 100; }
http {
	access_log off;
	client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
	server {
		listen HOST:8080;
		listen HOST:8443 ssl;
		ssl_certificate CERT;
		ssl_certificate_key KEY;
		location = /alive { return 200 "I am alive: 42\n"; }
		location = /moved { return 301 /alive; }
		location = /down { return 503 "not alive"; }
		location = /hang { proxy_pass http://127.0.0.1:SILENT; }
	}
}
`)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	// It says this once it listens.
	n.cmd = startServer(t, "getrlimit", "nginx-light", "nginx", "-p", dir, "-c", file, "-e", "stderr")
	return n
}

// check compiles a script in which HOST stands for the address.
func (n *nginx) check(t *testing.T, src string) Probe {
	t.Helper()
	return compile(t, n.names(src))
}

func (n *nginx) names(text string) string {
	return strings.ReplaceAll(text, "HOST", n.host)
}

func TestNginx(t *testing.T) {
	n := newNginx(t)
	leavesNothing(t)
	for _, src := range []string{
		"http_get '/alive', [200], 8080, 'HOST'",
		"http_match '/alive', '(?m)^I am alive: \\d+$', 8080, 'HOST'",
		"http_match '/alive', 'ALIVE', 8080, 'HOST' or http_match '/alive', '(?i)ALIVE', 8080, 'HOST'",
		"https_get '/alive', [200], 8443, 'HOST'",
		"https_get '/moved', [301], 8443, 'HOST', false",
		"https_get '/alive', [200], 8443, 'HOST', true",
	} {
		good(t, n.check(t, src))
	}
	for src, want := range map[string]string{
		"http_match '/alive', 'well', 8080, 'HOST'":        "http_match '/alive', 'well', 8080, 'HOST': GET http://HOST:8080/alive: no match in the body of 15 octets: \"I am alive: 42\\n\"",
		"http_match '/down', 'alive', 8080, 'HOST'":        "GET http://HOST:8080/down: status 503 Service Unavailable, expected 200",
		"http_match '/moved', 'alive|nginx', 8080, 'HOST'": "status 301 Moved Permanently, expected 200",
		"https_get '/down', [200, 204], 8443, 'HOST'":      "https_get '/down', [200, 204], 8443, 'HOST': GET https://HOST:8443/down: status 503 Service Unavailable, expected 200, 204",
		"https_get '/alive', [200], 8080, 'HOST'":          "TLS handshake: tls: first record does not look like a TLS handshake",
		"http_get '/alive', [200], 8443, 'HOST'":           "status 400 Bad Request, expected 200",
	} {
		bad(t, n.check(t, src), n.names(want))
	}
	probes := []Probe{
		n.check(t, "http_match '/alive', 'alive', 8080, 'HOST'"),
		n.check(t, "https_get '/alive', [200], 8443, 'HOST'"),
	}
	hangs(t, n.check(t, "http_match '/hang', 'alive', 8080, 'HOST'"))
	hangs(t, n.check(t, "https_get '/hang', [200], 8443, 'HOST'"))
	freeze(t, n.cmd)
	for _, p := range probes {
		hangs(t, p)
	}
	thaw(t, n.cmd)
	for _, p := range probes {
		good(t, p)
	}
	kill(n.cmd)
	for _, p := range probes {
		bad(t, p, "dial tcp "+n.host+":", "connection refused")
	}
}
