package ec2_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"murakumo/internal/ec2"
)

// clearEnvironment takes away what this machine may have set for real.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "AMAZON_") || strings.HasSuffix(strings.ToLower(name), "_proxy") {
			t.Setenv(name, "") // so that it is put back
			os.Unsetenv(name)
		}
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
}

// bundle writes the certificate of a test server to a file.
func bundle(t *testing.T, s *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Who is asked, and as whom: flags, then the environment, then files.
func TestOpen(t *testing.T) {
	type env map[string]string
	file := func(t *testing.T, text string) string {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name             string
		settings         ec2.Settings
		env              env
		config, shared   string // files
		id, region, from string
		endpoint         string
	}{
		{name: "flags", settings: ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "us-east-1"}, env: env{"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "S", "AWS_REGION": "eu-west-1", "AWS_SESSION_TOKEN": "T"},
			id: "K ", region: "us-east-1", from: "from -k and -s", endpoint: "https://ec2.us-east-1.amazonaws.com/"},
		{name: "a flag and a variable, as the original allowed", settings: ec2.Settings{AccessKey: "K", Region: "us-east-1"}, env: env{"AWS_SECRET_ACCESS_KEY": "S"},
			id: "K ", region: "us-east-1", from: "from -k and -s", endpoint: "https://ec2.us-east-1.amazonaws.com/"},
		{name: "environment", env: env{"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "S", "AWS_SESSION_TOKEN": "T", "AWS_REGION": "cn-north-1"},
			id: "E T", region: "cn-north-1", from: "from AWS_ACCESS_KEY_ID", endpoint: "https://ec2.cn-north-1.amazonaws.com.cn/"},
		{name: "the original's environment", env: env{"AMAZON_ACCESS_KEY_ID": "A", "AMAZON_SECRET_ACCESS_KEY": "S", "AWS_DEFAULT_REGION": "us-west-2"},
			id: "A ", region: "us-west-2", from: "from AMAZON_ACCESS_KEY_ID", endpoint: "https://ec2.us-west-2.amazonaws.com/"},
		{name: "files", config: "[default]\nregion = ap-south-1\n", shared: "[default]\naws_access_key_id = F\naws_secret_access_key = S\n",
			id: "F ", region: "ap-south-1", from: "SharedConfigCredentials", endpoint: "https://ec2.ap-south-1.amazonaws.com/"},
		{name: "a profile", env: env{"AWS_PROFILE": "x"}, config: "[profile x]\nregion = ap-south-1\n", shared: "[x]\naws_access_key_id = X\naws_secret_access_key = S\n",
			id: "X ", region: "ap-south-1", from: "SharedConfigCredentials", endpoint: "https://ec2.ap-south-1.amazonaws.com/"},
		{name: "an endpoint as the original's region", settings: ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "ec2.ap-northeast-1.amazonaws.com"},
			id: "K ", region: "ap-northeast-1", from: "from -k and -s", endpoint: "https://ec2.ap-northeast-1.amazonaws.com/"},
		{name: "a private endpoint", settings: ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "vpce-1-2.ec2.ap-northeast-1.vpce.amazonaws.com"},
			id: "K ", region: "ap-northeast-1", from: "from -k and -s", endpoint: "https://vpce-1-2.ec2.ap-northeast-1.vpce.amazonaws.com/"},
		{name: "an endpoint by flag", settings: ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "us-east-1", Endpoint: "https://ec2.internal:8443"}, env: env{"AWS_ENDPOINT_URL_EC2": "https://other"},
			id: "K ", region: "us-east-1", from: "from -k and -s", endpoint: "https://ec2.internal:8443/"},
		{name: "an endpoint by the environment", settings: ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "us-east-1"}, env: env{"AWS_ENDPOINT_URL_EC2": "https://e2", "AWS_ENDPOINT_URL": "https://e1"},
			id: "K ", region: "us-east-1", from: "from -k and -s", endpoint: "https://e2/"},
		{name: "the other variable", settings: ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "us-east-1"}, env: env{"AWS_ENDPOINT_URL": "https://e1"},
			id: "K ", region: "us-east-1", from: "from -k and -s", endpoint: "https://e1/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clearEnvironment(t)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			t.Setenv("AWS_CONFIG_FILE", file(t, c.config))
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file(t, c.shared))
			s, err := ec2.Open(t.Context(), c.settings)
			if err != nil {
				t.Fatal(err)
			}
			k, err := s.EC2.Credentials.Retrieve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := k.AccessKeyID + " " + k.SessionToken; got != c.id || s.EC2.Region != c.region || !strings.HasPrefix(k.Source, c.from) || s.EC2.Endpoint.String() != c.endpoint {
				t.Errorf("got %q %s %q %s", got, s.EC2.Region, k.Source, s.EC2.Endpoint)
			}
		})
	}
}

func TestOpenMistakes(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings ec2.Settings
		env      map[string]string
		say      string
	}{
		{"half a flag", ec2.Settings{SecretKey: "S", Region: "us-east-1"}, nil, "-k and -s go together"},
		{"half the environment", ec2.Settings{Region: "us-east-1"}, map[string]string{"AWS_ACCESS_KEY_ID": "K"}, "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not"},
		{"the other half", ec2.Settings{Region: "us-east-1"}, map[string]string{"AWS_SECRET_ACCESS_KEY": "K"}, "AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not"},
		{"no region", ec2.Settings{AccessKey: "K", SecretKey: "S"}, nil, "no region: give -r, or set AWS_REGION"},
		{"a region that is none", ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "us-east-1/../x"}, nil, "expected one like ap-northeast-1"},
		{"no TLS", ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "us-east-1", Endpoint: "http://10.0.0.1/"}, nil, "http:// is for loopback"},
		{"no URL", ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "us-east-1", Endpoint: "ec2.internal"}, nil, "expected a URL"},
		{"another scheme", ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "us-east-1", Endpoint: "ftp://ec2.internal"}, nil, "expected https://"},
		{"two endpoints", ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "ec2.us-east-1.amazonaws.com", Endpoint: "https://e"}, nil, "give one of them"},
		{"no bundle", ec2.Settings{AccessKey: "K", SecretKey: "S", Region: "us-east-1", CABundle: "/nowhere"}, nil, "--ca-bundle: open /nowhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clearEnvironment(t)
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			if _, err := ec2.Open(t.Context(), c.settings); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("got %v, want …%s…", err, c.say)
			}
		})
	}
}

// The role of a container: its agent is asked, with the token of its own.
func TestContainerRole(t *testing.T) {
	clearEnvironment(t)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "of the container" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"AccessKeyId":"ASIABOX","SecretAccessKey":"S","Token":"T","Expiration":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer agent.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.URL)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of the container")
	s, err := ec2.Open(t.Context(), ec2.Settings{Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	if k, err := s.EC2.Credentials.Retrieve(t.Context()); err != nil || k.AccessKeyID != "ASIABOX" || k.SessionToken != "T" {
		t.Errorf("%v %v", k.AccessKeyID, err)
	}
}

// Without any credentials the error says where to put some.
func TestNoCredentials(t *testing.T) {
	clearEnvironment(t)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	s, err := ec2.Open(t.Context(), ec2.Settings{Region: "us-east-1", Endpoint: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.EC2.Do(t.Context(), describe)
	if err == nil || !strings.HasPrefix(err.Error(), "no credentials: give the instance a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give -k and -s; ") {
		t.Error(err)
	}
}
