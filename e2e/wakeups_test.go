package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestNobodyElseIsWoken: sockets that are read with calls of our own are in no poller but
// ours. The standard library's would be woken by each question and each connection, on
// another CPU where there is one, and there is nobody who waits for it: a third of the price
// of a short connection.
func TestNobodyElseIsWoken(t *testing.T) {
	require(t, "dig")
	bin, dir, ports := binaries(t), t.TempDir(), freePorts(t, 3)
	conf, out := filepath.Join(dir, "murakumo.yml"), filepath.Join(dir, "out")
	write(t, conf, fmt.Sprintf(`
auth-key: a key of this test alone
host: 127.0.0.1, here
address: 127.0.0.1
port: %d
gossip-port: %d
socket: %s
working-dir: %s
proxy:
  web: {listen: "127.0.0.1:%d", backends: "127.0.0.1:9"}
`, ports[0], ports[1], filepath.Join(dir, "sock"), dir, ports[2]), 0o600)
	daemon := start(t, t, "murakumo", out, exec.Command(filepath.Join(bin, "murakumo"), "-c", conf))
	pid := daemon.cmd.Process.Pid
	wait(t, "DNS is answered and the proxy listens", settle, func() string {
		text, _ := os.ReadFile(out)
		if !daemon.alive() {
			t.Fatalf("murakumo ended: %v\n%s", daemon.err, text)
		}
		if _, err := exec.Command("dig", "+short", "+time=1", "+tries=1", "@127.0.0.1", "-p", strconv.Itoa(ports[0]), "here").Output(); err != nil {
			return err.Error()
		}
		// The socket is there before it is taken from the standard library; this line is not.
		if !bytes.Contains(text, []byte("proxy web: listens on")) {
			return "no listener"
		}
		return ""
	})
	watched := pollers(t, pid)
	library := watched[inode(t, pid, "tcp", ports[0])]
	if len(library) != 1 {
		t.Fatalf("the TCP socket for DNS, which the standard library reads, is in the pollers %v", library)
	}
	if in := watched[inode(t, pid, "udp", ports[0])]; len(in) > 0 {
		t.Errorf("the UDP socket for DNS is in the pollers %v; that of the standard library is %v", in, library)
	}
	if in := watched[inode(t, pid, "tcp", ports[2])]; len(in) == 0 || slices.Contains(in, library[0]) {
		t.Errorf("the proxy's listener is in the pollers %v; that of the standard library is %v", in, library)
	}
}

// inode gives the number of the one socket of 127.0.0.1 that listens on a port.
func inode(t *testing.T, pid int, network string, port int) string {
	t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, network))
	if err != nil {
		t.Fatal(err)
	}
	local := fmt.Sprintf("0100007F:%04X", port)
	var found []string
	for row := range strings.Lines(string(table)) {
		// sl local remote st queues tr-when retrnsmt uid timeout inode: proc(5)
		if f := strings.Fields(row); len(f) > 9 && f[1] == local && f[2] == "00000000:0000" {
			found = append(found, f[9])
		}
	}
	if len(found) != 1 {
		t.Fatalf("the sockets of %s port %d are %v, want one", network, port, found)
	}
	return found[0]
}

// pollers gives for each file, by its number, the descriptors of the epolls it is in.
func pollers(t *testing.T, pid int) map[string][]string {
	t.Helper()
	in := map[string][]string{}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || to != "anon_inode:[eventpoll]" {
			continue // one of another kind, or closed just now
		}
		fd := filepath.Base(link)
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd))
		if err != nil {
			t.Fatal(err)
		}
		for rows := bufio.NewScanner(bytes.NewReader(info)); rows.Scan(); {
			_, at, ok := strings.Cut(rows.Text(), " ino:")
			if !ok {
				continue
			}
			n, err := strconv.ParseUint(strings.Fields(at)[0], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			file := strconv.FormatUint(n, 10)
			in[file] = append(in[file], fd)
		}
	}
	return in
}
