package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/smithy-go/logging"
)

// Settings are what an operator can say about whom to ask, and as whom. Where
// they say nothing, the SDK's usual places are asked: the environment, the
// shared files, the container, the instance's role and metadata.
type Settings struct {
	AccessKey, SecretKey, SessionToken string
	// Region is a region, or as with the original the name of its endpoint
	// (ec2.ap-northeast-1.amazonaws.com).
	Region string
	// Endpoint is a URL to ask instead of the region's public endpoint. It
	// begins with https://, or with http:// on loopback.
	Endpoint string
	// CABundle is a file with the certificates that vouch for the endpoint,
	// instead of the system's.
	CABundle string
	Version  string // of the program
	// Trace is told of everything that is asked, Warn of what an operator
	// should mend; both may be nil.
	Trace, Warn func(string)
}

// A Session is whom to ask.
type Session struct {
	EC2      *Client
	Metadata *Metadata
}

// Open finds credentials, region and endpoint. It asks the metadata service if
// nobody else knows the region, and EC2 nothing.
func Open(ctx context.Context, s Settings) (*Session, error) {
	region, endpoint := s.Region, s.Endpoint
	if strings.Contains(region, ".") {
		if endpoint != "" {
			return nil, fmt.Errorf("-r %s is an endpoint, and so is --endpoint %s: give one of them", region, endpoint)
		}
		host := strings.TrimSuffix(strings.TrimPrefix(region, "https://"), "/")
		if strings.ContainsAny(host, "/?#@") {
			return nil, fmt.Errorf("region %q: expected one like ap-northeast-1", region)
		}
		region = regionOf(host)
		endpoint = "https://" + host
	}
	static, err := s.keys()
	if err != nil {
		return nil, err
	}
	m := NewMetadata(s.Trace)
	options := []func(*config.LoadOptions) error{
		config.WithLogger(logging.Nop{}),
		config.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) { o.Client = m.client }),
	}
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	if static != nil {
		options = append(options, config.WithCredentialsProvider(static))
	}
	if s.CABundle != "" {
		f, err := os.Open(s.CABundle)
		if err != nil {
			return nil, fmt.Errorf("--ca-bundle: %w", err)
		}
		defer f.Close()
		options = append(options, config.WithCustomCABundle(f))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("the shared AWS configuration: %w", err)
	}
	if region = cfg.Region; region == "" {
		if region, err = m.Region(ctx); err != nil {
			return nil, fmt.Errorf("no region: give -r, or set AWS_REGION: %w", err)
		}
	}
	if !regionForm.MatchString(region) {
		return nil, fmt.Errorf("region %q: expected one like ap-northeast-1", region)
	}
	if endpoint == "" {
		endpoint = firstOf(os.Getenv("AWS_ENDPOINT_URL_EC2"), aws.ToString(cfg.BaseEndpoint), publicEndpoint(region))
	}
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	return &Session{Metadata: m, EC2: &Client{
		Endpoint: u, Region: region, Credentials: roleChain{cfg.Credentials, m}, HTTP: withoutRedirects(cfg.HTTPClient),
		UserAgent: "murakumo-ec2/" + s.Version, Trace: s.Trace, Warn: s.Warn,
	}}, nil
}

// withoutRedirects gives the SDK's client (nil: its default), which verifies
// certificates and speaks TLS 1.2 and later, as one that shows a redirect as
// what it is here: an answer that is not EC2's.
func withoutRedirects(client aws.HTTPClient) HTTP {
	b, ok := client.(*awshttp.BuildableClient)
	if !ok {
		b = awshttp.NewBuildableClient()
	}
	frozen := b.Freeze()
	if c, ok := frozen.(*http.Client); ok {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return frozen
}

var regionForm = regexp.MustCompile(`^[a-z]{2,}(-[a-z0-9]+)+$`)

// regionOf gives the region in the name of an endpoint, "" if there is none.
func regionOf(host string) string {
	parts := strings.Split(host, ".")
	for i, p := range parts[:len(parts)-1] {
		if p == "ec2" && regionForm.MatchString(parts[i+1]) {
			return parts[i+1]
		}
	}
	return ""
}

// publicEndpoint gives the URL of a region's EC2. The domain is that of the
// region's partition.
func publicEndpoint(region string) string {
	domain := "amazonaws.com"
	for prefix, d := range map[string]string{
		"cn-": "amazonaws.com.cn", "us-iso-": "c2s.ic.gov", "us-isob-": "sc2s.sgov.gov", "us-isof-": "csp.hci.ic.gov",
		"eu-isoe-": "cloud.adc-e.uk", "eusc-": "amazonaws.eu",
	} {
		if strings.HasPrefix(region, prefix) {
			domain = d
		}
	}
	return "https://ec2." + region + "." + domain
}

// parseEndpoint reads a URL that we may send to. Without TLS anybody on the way
// could answer for EC2, so it is for tests on this host only.
func parseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("endpoint %q: expected a URL like https://ec2.ap-northeast-1.amazonaws.com", text)
	case u.Scheme == "https":
	case u.Scheme == "http":
		if a, err := netip.ParseAddr(u.Hostname()); err != nil || !a.IsLoopback() {
			return nil, fmt.Errorf("endpoint %q: http:// is for loopback addresses; elsewhere anybody on the way could answer", text)
		}
	default:
		return nil, fmt.Errorf("endpoint %q: expected https://", text)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// keys gives the credentials of the flags and of the original's variables,
// which the SDK does not know; nil if there are none. As in the original, a
// flag may be completed by a variable.
func (s Settings) keys() (aws.CredentialsProvider, error) {
	flags := s.AccessKey != "" || s.SecretKey != ""
	idVar, id := firstSet("AMAZON_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY")
	secretVar, secret := firstSet("AMAZON_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY")
	switch {
	case !flags && id == "" && secret == "":
		return nil, nil
	case !flags && id == "":
		return nil, fmt.Errorf("%s is set and AWS_ACCESS_KEY_ID is not", secretVar)
	case !flags && secret == "":
		return nil, fmt.Errorf("%s is set and AWS_SECRET_ACCESS_KEY is not", idVar)
	}
	source, token := "from "+idVar, firstOf(s.SessionToken, os.Getenv("AWS_SESSION_TOKEN"))
	if flags {
		source = "from -k and -s"
		if s.AccessKey != "" && s.SecretKey != "" {
			token = s.SessionToken // the variable belongs to other keys
		}
	}
	if id, secret = firstOf(s.AccessKey, id), firstOf(s.SecretKey, secret); id == "" || secret == "" {
		return nil, errors.New("-k and -s go together: one of them is missing, and so is its variable (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)")
	}
	c := credentials.NewStaticCredentialsProvider(id, secret, token)
	c.Value.Source = source
	return c, nil
}

func firstSet(names ...string) (name, value string) {
	for _, n := range names {
		if v := os.Getenv(n); v != "" {
			return n, v
		}
	}
	return "", ""
}

// origin tells where credentials came from, with the end of the key's id, which
// is no secret.
func origin(c aws.Credentials) string {
	source := map[string]string{
		"EnvConfigCredentials": "from the environment", ec2rolecreds.ProviderName: "of the instance's role",
		"CredentialsEndpointProvider": "of the container's role", "WebIdentityCredentials": "of the web identity's role",
		"AssumeRoleProvider": "of the assumed role", "ProcessProvider": "from the credential process",
	}[c.Source]
	if source == "" {
		if source = c.Source; strings.HasPrefix(source, "SharedConfigCredentials") {
			source = "from the file" + strings.TrimPrefix(source, "SharedConfigCredentials:")
		}
	}
	id := c.AccessKeyID
	return fmt.Sprintf("%s, …%s", source, id[max(0, len(id)-4):])
}

// noCredentials says what to do when the whole chain has none.
func noCredentials(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no credentials in time: %w", err)
	}
	return fmt.Errorf("no credentials: give the instance a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give -k and -s; the last that was asked said: %w", err)
}
