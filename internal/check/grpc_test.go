package check

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	grpcstatus "google.golang.org/grpc/status"
)

// grpcServer serves a health service by the real library.
func grpcServer(t *testing.T, s healthpb.HealthServer) (port int, server *grpc.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server = grpc.NewServer()
	if s != nil {
		healthpb.RegisterHealthServer(server, s)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return l.Addr().(*net.TCPAddr).Port, server
}

func TestGRPC(t *testing.T) {
	h := health.NewServer()
	h.SetServingStatus("shop.Cart", healthpb.HealthCheckResponse_SERVING)
	h.SetServingStatus("shop.Payment", healthpb.HealthCheckResponse_NOT_SERVING)
	h.SetServingStatus("shop.Stock", healthpb.HealthCheckResponse_UNKNOWN)
	port, server := grpcServer(t, h)
	bare, _ := grpcServer(t, nil)
	leavesNothing(t)
	at := " at 127.0.0.1:" + itoa(port) + ": "
	p := func(src string) Probe { t.Helper(); return compile(t, strings.ReplaceAll(src, "PORT", itoa(port))) }
	for range 3 {
		good(t, p("grpc_check nil, PORT"))
		good(t, p("grpc_check '', PORT, 'localhost'"))
		good(t, p("grpc_check 'shop.Cart', PORT"))
	}
	bad(t, p("grpc_check 'shop.Payment', PORT"), `grpc_check 'shop.Payment', `+itoa(port)+`: gRPC health of service "shop.Payment"`+at+"NOT_SERVING, expected SERVING")
	bad(t, p("grpc_check 'shop.Stock', PORT"), "UNKNOWN, expected SERVING")
	bad(t, p("grpc_check 'shop.Cat', PORT"), `gRPC health of service "shop.Cat"`+at+`NOT_FOUND: "unknown service"`)
	bad(t, compile(t, "grpc_check nil, "+itoa(bare)), `UNIMPLEMENTED: "unknown service grpc.health.v1.Health"`)
	good(t, p("not grpc_check 'shop.Payment', PORT"))
	// Longer than what a frame or a window begins with.
	bad(t, p("grpc_check '"+strings.Repeat("x", 10000)+"', PORT"), "NOT_FOUND")

	h.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	bad(t, p("grpc_check nil, PORT"), "gRPC health of the server"+at+"NOT_SERVING, expected SERVING")
	h.Resume()
	good(t, p("grpc_check nil, PORT"))
	h.Shutdown()
	bad(t, p("grpc_check 'shop.Cart', PORT"), "NOT_SERVING")

	server.Stop()
	bad(t, p("grpc_check nil, PORT"), "dial tcp 127.0.0.1:"+itoa(port)+": connect: connection refused")
}

// slow is a health service that never answers, or with an error.
type slow struct {
	healthpb.UnimplementedHealthServer
	reached chan struct{}
	gone    chan struct{} // the call was given up
	fails   error
}

func (s *slow) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if s.fails != nil {
		return nil, s.fails
	}
	if _, ok := ctx.Deadline(); ok {
		return nil, errors.New("this server was told a deadline, which it could come to before the probe does")
	}
	s.reached <- struct{}{}
	<-ctx.Done()
	s.gone <- struct{}{}
	return nil, ctx.Err()
}

func TestGRPCHangs(t *testing.T) {
	s := &slow{reached: make(chan struct{}, 10), gone: make(chan struct{}, 10)}
	port, _ := grpcServer(t, s)
	full := unanswered(t)
	leavesNothing(t)
	p := compile(t, "grpc_check nil, "+itoa(port))
	cancelled(t, p, s.reached)
	<-s.gone // it learns of it
	hangs(t, p)
	hangs(t, compile(t, "not grpc_check nil, "+itoa(port)))
	hangs(t, compile(t, "grpc_check nil, "+itoa(full)))
	hangs(t, compile(t, "not grpc_check nil, "+itoa(full)))
	for name, send := range map[string]string{
		"settings":         "",
		"answer":           frames(func(f *http2.Framer) { _ = f.WriteSettings() }),
		"end of an answer": frames(settings, begins("200", "application/grpc", false)),
		"part of a frame":  frames(settings, begins("200", "application/grpc", false))[:20],
	} {
		t.Run(name, func(t *testing.T) {
			port, reached := stalls(t, send)
			leavesNothing(t)
			p := compile(t, "grpc_check nil, "+itoa(port))
			cancelled(t, p, reached)
			hangs(t, p)
		})
	}
}

func TestGRPCServerFails(t *testing.T) {
	port, _ := grpcServer(t, &slow{fails: grpcstatus.Error(codes.Unavailable, "the disk is gone: 100 %\nü")})
	leavesNothing(t)
	bad(t, compile(t, "grpc_check nil, "+itoa(port)), `UNAVAILABLE: "the disk is gone: 100 %\nü"`)
}

// frames gives what a server sends.
func frames(writers ...func(*http2.Framer)) string {
	var out bytes.Buffer
	f := http2.NewFramer(&out, nil)
	f.AllowIllegalWrites = true
	for _, w := range writers {
		w(f)
	}
	return out.String()
}

func settings(f *http2.Framer) { _ = f.WriteSettings() }

// fields writes a head with these fields, in name-value pairs.
func fields(end bool, pairs ...string) func(*http2.Framer) {
	return func(f *http2.Framer) {
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for i := 0; i < len(pairs); i += 2 {
			_ = enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
		}
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: healthStream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
	}
}

func begins(status, contentType string, end bool) func(*http2.Framer) {
	return fields(end, ":status", status, "content-type", contentType)
}

func data(s string, end bool) func(*http2.Framer) {
	return func(f *http2.Framer) { _ = f.WriteData(healthStream, end, []byte(s)) }
}

// What a server, or something else at its port, can say.
func TestGRPCAnswers(t *testing.T) {
	const isServing, foreign = "\x00\x00\x00\x00\x02\x08\x01", "what answers does not speak HTTP/2 without TLS"
	begin := begins("200", "application/grpc+proto", false)
	end := fields(true, "grpc-status", "0")
	for _, c := range []struct {
		name, send, want string
	}{
		{"good", frames(settings, begin, data(isServing, false), end), ""},
		{"in parts, with pings and interim heads", frames(settings,
			func(f *http2.Framer) { _ = f.WritePing(false, [8]byte{1}) },
			fields(false, ":status", "103"), begin, data(isServing[:3], false),
			func(f *http2.Framer) { _ = f.WriteWindowUpdate(0, 5); _ = f.WriteRawFrame(0xbb, 0, 0, []byte("new")) },
			data(isServing[3:], false), end), ""},
		{"goodbye to those after us", frames(settings, func(f *http2.Framer) { _ = f.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil) },
			begin, data(isServing, false), end), ""},
		{"with fields of tomorrow", frames(settings, begin, data("\x00\x00\x00\x00\x07\x12\x03abc\x08\x01", false), end), ""},
		{"unknown", frames(settings, begin, data("\x00\x00\x00\x00\x00", false), end), "UNKNOWN, expected SERVING"},
		{"a status of tomorrow", frames(settings, begin, data("\x00\x00\x00\x00\x02\x08\x09", false), end), "9, expected SERVING"},
		{"no message", frames(settings, begin, end), `malformed answer ""`},
		{"compressed", frames(settings, begin, data("\x01"+isServing[1:], false), end), "malformed answer"},
		{"a wrong length", frames(settings, begin, data("\x00\x00\x00\x00\x03\x08\x01", false), end), "malformed answer"},
		{"half a field", frames(settings, begin, data("\x00\x00\x00\x00\x01\x08", false), end), "malformed answer"},
		{"two messages", frames(settings, begin, data(isServing+isServing, false), end), "malformed answer"},
		{"a long message", frames(settings, begin, data(strings.Repeat("x", maxStatus), false), data("x", false)), "an answer of more than 4096 octets"},
		{"no end", frames(settings, begin, data(isServing, true)), "the answer has no grpc-status"},
		{"an end that is none", frames(settings, begin, data(isServing, false), fields(true, "grpc-status", "fine")), "the answer has no grpc-status"},
		{"a code of tomorrow", frames(settings, fields(true, ":status", "200", "content-type", "application/grpc", "grpc-status", "77", "grpc-message", "50%")), `77: "50%"`},
		{"web server", frames(settings, begins("404", "text/html", false)), `HTTP status "404", expected 200`},
		{"web page", frames(settings, begins("200", "text/html", false)), `content-type "text/html" is not gRPC's`},
		{"gave up", frames(settings, func(f *http2.Framer) { _ = f.WriteRSTStream(healthStream, http2.ErrCodeRefusedStream) }), "the server gave up the call (REFUSED_STREAM)"},
		{"going away", frames(settings, func(f *http2.Framer) { _ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings")) }), `the server is going away (ENHANCE_YOUR_CALM): "too_many_pings"`},
		{"another stream", frames(settings, func(f *http2.Framer) { _ = f.WriteData(3, false, nil) }), "a frame of stream 3"},
		{"gone at once", "", "reading the answer: EOF"},
		{"gone in between", frames(settings, begin), "reading the answer: EOF"},
		{"half a frame", frames(settings, begin)[:15], "reading the answer: unexpected EOF"},
		{"broken head", frames(settings) + "\x00\x00\x02\x01\x04\x00\x00\x00\x01\xff\xff", "reading the answer: "},
		{"a head without end", frames(settings) + strings.Repeat("\x00\x40\x00\x01\x00\x00\x00\x00\x01"+strings.Repeat("x", 1<<14), 1), "reading the answer: "},
		{"pings without end", frames(settings) + strings.Repeat(frames(func(f *http2.Framer) { _ = f.WritePing(true, [8]byte{}) }), maxGRPC/17+1), "more than 262144 octets and no answer"},
		{"HTTP/1", "HTTP/1.1 400 Bad Request\r\n\r\n", foreign},
		{"ssh", "SSH-2.0-OpenSSH_9.2p1\r\n", foreign},
		{"zeros", strings.Repeat("\x00", 100), foreign},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := serve(t, func(conn net.Conn) {
				// The probe's request first, so that closing resets nothing.
				request := make([]byte, len(http2.ClientPreface))
				if _, err := io.ReadFull(conn, request); err == nil {
					_, _ = io.WriteString(conn, c.send)
				}
				if tcp, ok := conn.(*net.TCPConn); ok {
					_ = tcp.CloseWrite()
				}
				_, _ = io.Copy(io.Discard, conn)
			})
			leavesNothing(t)
			if p := compile(t, "grpc_check nil, "+itoa(port)); c.want == "" {
				good(t, p)
			} else {
				bad(t, p, "gRPC health of the server at 127.0.0.1:"+itoa(port)+": ", c.want)
			}
		})
	}
	// A web server of today, and one that has never heard of it.
	port := site(t, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) })
	leavesNothing(t)
	bad(t, compile(t, "grpc_check nil, "+itoa(port)), foreign)
}

// FuzzGRPCServer plays any octets at the probe, which must not be brought to say
// more than it was told.
func FuzzGRPCServer(f *testing.F) {
	f.Add([]byte(frames(settings, begins("200", "application/grpc", false), data("\x00\x00\x00\x00\x02\x08\x01", false), fields(true, "grpc-status", "0"))))
	f.Add([]byte(frames(settings, fields(true, ":status", "200", "content-type", "application/grpc", "grpc-status", "5", "grpc-message", "no%20"))))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		conn := &script{in: bytes.NewReader(in)}
		_, _ = readHealth(conn)
		// Whatever it says: it makes us say little.
		if conn.out.Len() > 2*len(in)+100 {
			t.Errorf("%d octets are answered by %d", len(in), conn.out.Len())
		}
	})
}

// script is a connection whose other side has said all it will.
type script struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error) { return s.out.Write(p) }
