package ec2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"
)

// MetadataAddress is where an instance finds its metadata service.
const MetadataAddress = "169.254.169.254"

const (
	metadataEndpoint = "http://" + MetadataAddress
	metadataPerTry   = time.Second
	metadataTries    = 3
	maxMetadata      = 1 << 20 // octets
)

// ErrNoMetadata is wrapped by the errors of a [Metadata] that could not be
// asked at all, as on a host outside of EC2.
var ErrNoMetadata = errors.New("the instance metadata service cannot be asked")

// errNotThere is the service's answer that it has no such thing.
var errNotThere = errors.New("not found")

// Metadata asks the instance metadata service, version 2 only: the token that
// it needs is fetched once and kept, and version 1 is never used instead, since
// a request forged through a proxy on this host could use it as well.
type Metadata struct {
	client    *imds.Client
	http      *http.Client
	transport *bounded
	endpoint  string
	off       bool
	trace     func(string)
}

// NewMetadata makes a client. The service is at its link-local address, unless
// the environment variable AWS_EC2_METADATA_SERVICE_ENDPOINT says otherwise;
// AWS_EC2_METADATA_DISABLED=true switches it off. Every try takes at most one
// second, of which there are three. Trace may be nil.
func NewMetadata(trace func(string)) *Metadata {
	if trace == nil {
		trace = func(string) {}
	}
	m := &Metadata{
		endpoint: metadataEndpoint,
		off:      strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true"),
		trace:    trace,
		// No proxy is asked for a link-local address, and a redirect leads
		// away from it.
		transport: &bounded{RoundTripper: &http.Transport{Proxy: nil}},
	}
	m.http = &http.Client{
		Timeout:       metadataPerTry,
		Transport:     m.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if e := os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"); e != "" {
		m.endpoint = strings.TrimSuffix(e, "/")
	}
	m.client = imds.New(imds.Options{
		Endpoint:              m.endpoint,
		HTTPClient:            m.http,
		EnableFallback:        aws.FalseTernary,
		DisableDefaultTimeout: true, // ctx bounds the whole
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = metadataTries
			o.MaxBackoff = metadataPerTry / 2
		}),
	})
	return m
}

// bounded refuses replies that are too long. It remembers the status of the
// last one, since the SDK keeps that of a refused token to itself.
type bounded struct {
	http.RoundTripper
	status atomic.Int32 // 0 before the first answer
}

func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err != nil {
		b.status.Store(0)
	} else {
		b.status.Store(int32(resp.StatusCode))
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxMetadata}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return n, fmt.Errorf("the reply is longer than %d octets", maxMetadata)
	}
	return n, err
}

// Get gives what the service has at a path below /latest/meta-data/, without
// blanks around it.
func (m *Metadata) Get(ctx context.Context, path string) (string, error) {
	if m.off {
		return "", fmt.Errorf("%w: AWS_EC2_METADATA_DISABLED is true", ErrNoMetadata)
	}
	began := time.Now()
	out, err := m.client.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	var body []byte
	if err == nil {
		defer out.Content.Close()
		body, err = io.ReadAll(out.Content)
	}
	text := strings.TrimSpace(string(body))
	if err != nil {
		err = m.explain(ctx, err)
		m.trace(fmt.Sprintf("metadata: %s: %v", path, err))
		return "", fmt.Errorf("metadata %s: %w", path, err)
	}
	m.trace(fmt.Sprintf("metadata: %s: %q in %s", path, text, time.Since(began).Round(time.Millisecond)))
	if text == "" {
		return "", fmt.Errorf("metadata %s: empty", path)
	}
	return text, nil
}

// explain says what to do about an error.
func (m *Metadata) explain(ctx context.Context, err error) error {
	switch status := m.transport.status.Load(); status {
	case 0:
	case http.StatusOK:
		return fmt.Errorf("a strange answer from %s: %w", m.endpoint, err)
	case http.StatusNotFound:
		return errNotThere
	case http.StatusForbidden:
		return fmt.Errorf("%w at %s: it is switched off for this instance (HTTP 403): aws ec2 modify-instance-metadata-options --http-endpoint enabled", ErrNoMetadata, m.endpoint)
	default:
		return fmt.Errorf("HTTP status %d from %s", status, m.endpoint)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w at %s: %w", ErrNoMetadata, m.endpoint, context.Cause(ctx))
	}
	if m.answersWithoutToken(ctx) {
		return fmt.Errorf("%w at %s: it answers, but its token does not arrive. The hop limit is 1 and this is a container: aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2", ErrNoMetadata, m.endpoint)
	}
	return fmt.Errorf("%w at %s: no answer. Is this an EC2 instance, and is there a route: ip route get %s; what it would have told can be given by flags", ErrNoMetadata, m.endpoint, MetadataAddress)
}

// answersWithoutToken says whether a request without a token is answered at
// all, be it with a refusal. What it says is not used. The answer to the
// request for a token carries the hop limit, and so gets lost before a
// container, the answer to this one does not.
func (m *Metadata) answersWithoutToken(ctx context.Context) bool {
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.endpoint+"/latest/meta-data/", nil)
		if err != nil {
			return false
		}
		if resp, err := m.http.Do(req); err == nil {
			resp.Body.Close()
			return resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusOK
		}
	}
	return false
}

// InstanceID gives the id of the instance that we are on.
func (m *Metadata) InstanceID(ctx context.Context) (string, error) {
	id, err := m.Get(ctx, "instance-id")
	if err != nil {
		return "", fmt.Errorf("which instance is this (-i says it): %w", err)
	}
	return id, nil
}

// Region gives the region of the instance that we are on.
func (m *Metadata) Region(ctx context.Context) (string, error) {
	return m.Get(ctx, "placement/region")
}

// PrimaryInterface gives the id of our first interface.
func (m *Metadata) PrimaryInterface(ctx context.Context) (string, error) {
	mac, err := m.Get(ctx, "mac")
	if err != nil {
		return "", err
	}
	return m.Get(ctx, "network/interfaces/macs/"+url.PathEscape(mac)+"/interface-id")
}

// LocalHostname gives the name that the VPC gave this instance.
func (m *Metadata) LocalHostname(ctx context.Context) (string, error) {
	return m.Get(ctx, "local-hostname")
}

// roleChain is the SDK's chain, whose last resort is the role of the instance;
// what fails there is explained as other questions to the metadata service are.
type roleChain struct {
	aws.CredentialsProvider
	m *Metadata
}

// Retrieve gives the credentials.
func (c roleChain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	keys, err := c.CredentialsProvider.Retrieve(ctx)
	if op, ok := errors.AsType[*smithy.OperationError](err); ok && op.ServiceID == imds.ServiceID {
		if c.m.off {
			return keys, fmt.Errorf("%w: AWS_EC2_METADATA_DISABLED is true", ErrNoMetadata)
		}
		if err = c.m.explain(ctx, err); errors.Is(err, errNotThere) {
			err = errors.New("the instance has no role")
		}
	}
	return keys, err
}
