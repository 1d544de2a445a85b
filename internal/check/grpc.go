package check

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/encoding/protowire"

	"murakumo/internal/check/expr"
)

const (
	// maxGRPC bounds what is read in all: an answer has some 200 octets.
	maxGRPC = 256 << 10
	// maxStatus bounds the message in it, which has two.
	maxStatus = 4 << 10
	// healthStream is the one stream of a connection.
	healthStream = 1
)

// grpcCheck asks the server for the health of a service by the gRPC Health
// Checking Protocol, without TLS. It writes the one request and reads frames
// until the answer is there; a client library would bring a connection that is
// kept, with goroutines and a will to connect again.
//
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md
func grpcCheck(c expr.Call) Probe {
	address, service := hostPort(c.Text("host"), c.Int("port")), c.Text("service")
	return func(ctx context.Context) error {
		conn, err := dial(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		defer interrupt(ctx, conn)()

		what := "the server"
		if service != "" {
			what = "service " + strconv.Quote(service)
		}
		if _, err := conn.Write(healthRequest(address, service)); err != nil {
			return because(ctx, fmt.Sprintf("gRPC health of %s at %s: sending the request", what, address), err)
		}
		status, err := readHealth(conn)
		if err != nil {
			return because(ctx, fmt.Sprintf("gRPC health of %s at %s", what, address), err)
		}
		if status != serving {
			return fmt.Errorf("gRPC health of %s at %s: %s, expected SERVING", what, address, nameOf(healthStatuses, status))
		}
		return nil
	}
}

// serving is the good one of healthStatuses.
const serving = 1

var healthStatuses = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

// grpcCodes are what a call can end with.
var grpcCodes = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
	"DATA_LOSS", "UNAUTHENTICATED",
}

func nameOf(names []string, n uint64) string {
	if n < uint64(len(names)) {
		return names[n]
	}
	return strconv.FormatUint(n, 10)
}

// healthRequest gives all octets that a client has to send. It fits into any
// window that a server can have before it says so (RFC 9113, 6.9.2), so there is
// nothing to wait for.
func healthRequest(authority, service string) []byte {
	var out, head bytes.Buffer
	out.WriteString(http2.ClientPreface)
	// Writing to a buffer does not fail.
	f := http2.NewFramer(&out, nil)
	_ = f.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	enc := hpack.NewEncoder(&head)
	field := func(name, value string) { _ = enc.WriteField(hpack.HeaderField{Name: name, Value: value}) }
	field(":method", "POST")
	field(":scheme", "http")
	field(":path", "/grpc.health.v1.Health/Check")
	field(":authority", authority)
	field("te", "trailers")
	// No grpc-timeout: a server that gave up a moment before us would make of a
	// check without an answer one with a bad one, which `not` turns. It learns
	// that we gave up when we hang up.
	field("content-type", "application/grpc")
	field("user-agent", "murakumo (health check)")
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: healthStream, BlockFragment: head.Bytes(), EndHeaders: true})

	var request []byte // HealthCheckRequest
	if service != "" {
		request = protowire.AppendTag(request, 1, protowire.BytesType)
		request = protowire.AppendString(request, service)
	}
	message := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(request))) // not compressed
	_ = f.WriteData(healthStream, true, append(message, request...))
	return out.Bytes()
}

var errForeign = errors.New("what answers does not speak HTTP/2 without TLS")

// healthAnswer collects the answer.
type healthAnswer struct {
	begun   bool   // the head of the answer is there
	message []byte // as it was sent, with its prefix
}

// readHealth reads frames until the answer is there and gives its status. It
// answers those that want an answer.
func readHealth(conn net.Conn) (status uint64, err error) {
	limit := &io.LimitedReader{R: conn, N: maxGRPC}
	f := http2.NewFramer(conn, limit)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.MaxHeaderListSize = 16 << 10
	f.SetMaxReadFrameSize(16 << 10) // what a server may send that was told nothing else
	var h healthAnswer
	for first := true; ; first = false {
		frame, err := f.ReadFrame()
		if err != nil {
			switch {
			case first && (errors.Is(err, http2.ErrFrameTooLarge) || errors.As(err, new(http2.ConnectionError))):
				return 0, errForeign
			case limit.N <= 0:
				return 0, fmt.Errorf("more than %d octets and no answer", maxGRPC)
			}
			return 0, fmt.Errorf("reading the answer: %w", err)
		}
		if _, ok := frame.(*http2.SettingsFrame); first && !ok {
			return 0, errForeign
		}
		if id := frame.Header().StreamID; id != 0 && id != healthStream {
			return 0, fmt.Errorf("a frame of stream %d, which nobody opened", id)
		}
		done := false
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				err = f.WritePing(true, frame.Data)
			}
		case *http2.GoAwayFrame:
			if frame.LastStreamID < healthStream || frame.ErrCode != http2.ErrCodeNo {
				err = fmt.Errorf("the server is going away (%v): %s", frame.ErrCode, excerpt(frame.DebugData()))
			}
		case *http2.RSTStreamFrame:
			err = fmt.Errorf("the server gave up the call (%v)", frame.ErrCode)
		case *http2.MetaHeadersFrame:
			done, err = h.head(frame)
		case *http2.DataFrame:
			h.message = append(h.message, frame.Data()...)
			switch {
			case len(h.message) > maxStatus:
				err = fmt.Errorf("an answer of more than %d octets", maxStatus)
			case frame.StreamEnded():
				err = errors.New("the answer has no grpc-status")
			}
		}
		switch {
		case err != nil:
			return 0, err
		case done:
			return h.status()
		}
	}
}

// head takes the head of the answer or its end, which may be one, and says
// whether the answer is there.
func (h *healthAnswer) head(frame *http2.MetaHeadersFrame) (done bool, err error) {
	value := func(name string) string {
		for _, f := range frame.Fields {
			if f.Name == name {
				return f.Value
			}
		}
		return ""
	}
	if !h.begun {
		switch status := value(":status"); {
		case len(status) == 3 && status[0] == '1':
			return false, nil // interim: the answer is still to come
		case status != "200":
			return false, fmt.Errorf("HTTP status %s, expected 200", excerpt([]byte(status)))
		case !strings.HasPrefix(value("content-type"), "application/grpc"):
			return false, fmt.Errorf("content-type %s is not gRPC's", excerpt([]byte(value("content-type"))))
		}
		h.begun = true
	}
	if !frame.StreamEnded() {
		return false, nil
	}
	code, err := strconv.ParseUint(value("grpc-status"), 10, 32)
	if err != nil {
		return false, errors.New("the answer has no grpc-status")
	}
	if code != 0 {
		message, err := url.PathUnescape(value("grpc-message"))
		if err != nil {
			message = value("grpc-message")
		}
		return false, fmt.Errorf("%s: %s", nameOf(grpcCodes, code), excerpt([]byte(message)))
	}
	return true, nil
}

// status decodes the HealthCheckResponse.
func (h *healthAnswer) status() (uint64, error) {
	m := h.message
	if len(m) < 5 || m[0] != 0 || int64(binary.BigEndian.Uint32(m[1:5])) != int64(len(m)-5) {
		return 0, fmt.Errorf("malformed answer %s", excerpt(m))
	}
	status := uint64(0) // what is not sent is 0
	for m = m[5:]; len(m) > 0; {
		number, kind, n := protowire.ConsumeField(m)
		if n < 0 {
			return 0, fmt.Errorf("malformed answer %s", excerpt(h.message))
		}
		if number == 1 && kind == protowire.VarintType {
			_, _, tag := protowire.ConsumeTag(m)
			status, _ = protowire.ConsumeVarint(m[tag:n])
		}
		m = m[n:]
	}
	return status, nil
}
