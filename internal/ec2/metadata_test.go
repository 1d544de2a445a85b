package ec2

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"net"

	"murakumo/internal/ec2/ec2test"
)

func oneInstance() ec2test.World {
	return ec2test.World{
		Instances: []ec2test.Instance{{ID: "i-1", VPC: "vpc-1", Zone: "a", Role: "failover"}},
		Interfaces: []ec2test.Interface{{ID: "eni-1", Subnet: "subnet-a", VPC: "vpc-1", Zone: "a", MAC: "02:00:00:00:00:01", Addresses: []string{"10.0.0.1"},
			Attachment: &ec2test.Attachment{ID: "eni-attach-1", Instance: "i-1"}}},
	}
}

// overHandler makes a client whose service is this handler, in virtual time.
func overHandler(h http.Handler) *Metadata {
	m := NewMetadata(nil)
	m.transport.RoundTripper = handlerTransport{h}
	return m
}

type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

func self(*http.Request) string { return "i-1" }

// One token serves many questions, is fetched anew when it is old, and each of
// them carries it.
func TestMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens atomic.Int32
		service := ec2test.New(oneInstance(), ec2test.Options{}).Metadata(self)
		m := overHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				tokens.Add(1)
			}
			service.ServeHTTP(w, r)
		}))
		ask := func(want string, f func() (string, error)) {
			t.Helper()
			if got, err := f(); got != want || err != nil {
				t.Errorf("got %q %v, want %q", got, err, want)
			}
		}
		ctx := t.Context()
		for range 3 {
			ask("i-1", func() (string, error) { return m.InstanceID(ctx) })
			ask("ap-northeast-1", func() (string, error) { return m.Region(ctx) })
			ask("eni-1", func() (string, error) { return m.PrimaryInterface(ctx) })
			ask("ip-10-0-0-1.ap-northeast-1.compute.internal", func() (string, error) { return m.LocalHostname(ctx) })
		}
		if n := tokens.Load(); n != 1 {
			t.Errorf("%d tokens for 15 questions", n)
		}
		time.Sleep(6 * time.Hour)
		ask("i-1", func() (string, error) { return m.InstanceID(ctx) })
		if n := tokens.Load(); n != 2 {
			t.Errorf("%d tokens after six hours", n)
		}
		if _, err := m.Get(ctx, "no/such"); !errors.Is(err, errNotThere) || err.Error() != "metadata no/such: not found" {
			t.Error(err)
		}
	})
}

// Every way not to be answered has its own sentence, and takes its time at most.
func TestMetadataErrors(t *testing.T) {
	fake := func(o ec2test.Options) http.Handler { return ec2test.New(oneInstance(), o).Metadata(self) }
	refuse := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	}
	for _, c := range []struct {
		name string
		h    http.Handler
		say  string
		none bool // ErrNoMetadata
	}{
		{"hop limit 1", fake(ec2test.Options{HopLimit: true}), "its token does not arrive. The hop limit is 1 and this is a container: aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2", true},
		{"switched off", fake(ec2test.Options{MetadataOff: true}), "it is switched off for this instance (HTTP 403)", true},
		{"not an instance", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "no answer. Is this an EC2 instance, and is there a route", true},
		{"broken", refuse(500), "HTTP status 500 from http://169.254.169.254", false},
		// A service that knows only version 1 is not used: no token, no answer.
		{"version 1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			w.Write([]byte("i-1"))
		}), "HTTP status 405", false},
		{"redirect", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://127.0.0.1/", 302) }), "HTTP status 302", false},
		{"endless", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-aws-ec2-metadata-token-ttl-seconds", "60")
			w.Write(make([]byte, maxMetadata+10))
		}), "a strange answer from http://169.254.169.254: ", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				_, err := overHandler(c.h).InstanceID(t.Context())
				if err == nil || !strings.Contains(err.Error(), c.say) || errors.Is(err, ErrNoMetadata) != c.none {
					t.Errorf("%v", err)
				}
				if took := time.Since(began); took > 7*time.Second {
					t.Errorf("took %s", took)
				}
			})
		})
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	if _, err := NewMetadata(nil).InstanceID(t.Context()); err == nil || !strings.Contains(err.Error(), "AWS_EC2_METADATA_DISABLED is true") {
		t.Error(err)
	}
}

// mockTool is where `make tools` puts amazon-ec2-metadata-mock, an
// implementation of the service that is not ours.
const mockTool = "../../bin/tools/ec2-metadata-mock-v1.13.0"

// The client against amazon-ec2-metadata-mock, which insists on version 2.
func TestMetadataMock(t *testing.T) {
	tool, err := filepath.Abs(mockTool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tool); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("make tools builds it: %v", err)
		}
		t.Skipf("make tools builds it: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	cmd := exec.Command(tool, "-n", "127.0.0.1", "-p", strconv.Itoa(port), "-I")
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"HOME=" + cmd.Dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	endpoint := "http://127.0.0.1:" + strconv.Itoa(port)
	// It is another program: asked until it listens.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "http://"))
		if err == nil {
			c.Close()
			break
		}
		select {
		case <-ended:
			t.Fatalf("it ended: %s", &out)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not listen: %s", &out)
		}
	}
	if resp, err := http.Get(endpoint + "/latest/meta-data/instance-id"); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("it answers without a token: %v %v", resp, err)
	}
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	m := NewMetadata(func(s string) { t.Log(s) })
	for what, ask := range map[string]func() (string, error){
		"i-1234567890abcdef0":          func() (string, error) { return m.InstanceID(t.Context()) },
		"us-east-1":                    func() (string, error) { return m.Region(t.Context()) },
		"ip-172-16-34-43.ec2.internal": func() (string, error) { return m.LocalHostname(t.Context()) },
		"eni-0f95d3625f5c521cc":        func() (string, error) { return m.PrimaryInterface(t.Context()) },
		"baskinc-role":                 func() (string, error) { return m.Get(t.Context(), "iam/security-credentials/") },
		"metadata no/such: not found (not a fact)": func() (string, error) {
			_, err := m.Get(t.Context(), "no/such")
			return err.Error() + " (not a fact)", nil
		},
	} {
		if got, err := ask(); got != what || err != nil {
			t.Errorf("got %q %v, want %q", got, err, what)
		}
	}
	// The credentials of its role, by the SDK's chain.
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AMAZON_ACCESS_KEY_ID", "AMAZON_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		t.Setenv(v, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	s, err := Open(t.Context(), Settings{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.EC2.Credentials.Retrieve(t.Context())
	if err != nil || s.EC2.Region != "us-east-1" || k.SessionToken == "" || !strings.HasPrefix(origin(k), "of the instance's role, …") {
		t.Errorf("%v: region %s, credentials %s", err, s.EC2.Region, origin(k))
	}
}
