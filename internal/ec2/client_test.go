package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/ec2"
	"murakumo/internal/ec2/ec2test"
)

var describe = ec2.Call{Action: "DescribeNetworkInterfaces", Params: ec2.Params{"NetworkInterfaceId.1": "eni-move"}, Retry: ec2.Always}

// The fake checks signatures by its own reading of the specification.
func TestSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ec2test.New(world(), ec2test.Options{})
		c := client(f, "AKIANEW")
		r, err := c.Do(t.Context(), describe)
		if err != nil {
			t.Fatal(err)
		}
		if id := r.Root.Str("requestId"); id == "" || id != r.RequestID {
			t.Errorf("request id %q, in the reply %q", r.RequestID, id)
		}
		// Characters that the signature and the form write differently.
		p := ec2.Params{"Filter.1.Name": "tag:a b+c/d~e*", "Filter.1.Value.1": "ü & = % \n"}
		if _, err := c.Do(t.Context(), ec2.Call{Action: "DescribeInstances", Params: p, Retry: ec2.Never}); err != nil {
			t.Error(err)
		}

		for _, bad := range []struct {
			name string
			c    func(*ec2.Client)
			code string
			say  string
		}{
			{"secret", func(c *ec2.Client) { c.Credentials = keys("AKIANEW", "wrong") }, "SignatureDoesNotMatch", "the access key or its secret is wrong, not active, or of another partition; they are of a test, …ANEW"},
			{"key", func(c *ec2.Client) { c.Credentials = keys("AKIANOBODY", "x") }, "AuthFailure", "…BODY"},
			{"region", func(c *ec2.Client) { c.Region = "us-east-1" }, "AuthFailure", "another partition"},
		} {
			c := client(f, "AKIANEW")
			bad.c(c)
			_, err := c.Do(t.Context(), describe)
			e, ok := errors.AsType[*ec2.APIError](err)
			if !ok || e.Code != bad.code || e.RequestID == "" || !strings.Contains(err.Error(), e.RequestID) || !strings.Contains(err.Error(), bad.say) {
				t.Errorf("wrong %s: %v", bad.name, err)
			}
		}
	})
}

// A host whose clock is wrong asks again with EC2's time, and says so once. A
// signature that is wrong for another reason is not sent again.
func TestClockSkew(t *testing.T) {
	for _, off := range []time.Duration{12 * time.Minute, -12 * time.Minute, 30 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f := ec2test.New(world(), ec2test.Options{ClockOff: off})
			c := client(f, "AKIANEW")
			var said []string
			c.Warn = func(s string) { said = append(said, s) }
			for range 3 {
				if _, err := c.Do(t.Context(), describe); err != nil {
					t.Fatal(err)
				}
			}
			if len(said) != 1 || !strings.Contains(said[0], "this host's clock differs from EC2's by "+off.Abs().String()) {
				t.Errorf("%s: said %q", off, said)
			}
			refused := 0
			for _, e := range f.Journal() {
				if e.Code == "RequestExpired" {
					refused++
				}
			}
			if refused != 1 {
				t.Errorf("%s: refused %d times", off, refused)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		// Within what EC2 allows nothing is corrected.
		f := ec2test.New(world(), ec2test.Options{ClockOff: 3 * time.Minute})
		c := client(f, "AKIANEW")
		c.Warn = func(s string) { t.Error(s) }
		if _, err := c.Do(t.Context(), describe); err != nil {
			t.Error(err)
		}
		c.Credentials = keys("AKIANEW", "wrong")
		before := len(f.Journal())
		if _, err := c.Do(t.Context(), describe); err == nil {
			t.Error("a wrong secret was accepted")
		}
		if n := len(f.Journal()) - before; n != 1 {
			t.Errorf("a wrong secret was tried %d times", n)
		}
	})
}

// What is sent again, and what is not.
func TestRetries(t *testing.T) {
	lost := ec2test.Fault{Lose: true}
	for _, c := range []struct {
		name   string
		fault  ec2test.Fault
		retry  ec2.Retry
		second bool
	}{
		{"throttled, always", ec2test.Fault{Code: "RequestLimitExceeded"}, ec2.Always, true},
		{"throttled, untouched", ec2test.Fault{Code: "Throttling", Status: 400}, ec2.Untouched, true},
		{"throttled, never", ec2test.Fault{Code: "RequestLimitExceeded"}, ec2.Never, false},
		{"server error, always", ec2test.Fault{Code: "InternalError", Status: 500}, ec2.Always, true},
		{"server error, untouched", ec2test.Fault{Code: "InternalError", Status: 500}, ec2.Untouched, false},
		{"unavailable, always", ec2test.Fault{Code: "Unavailable"}, ec2.Always, true},
		{"lost, always", lost, ec2.Always, true},
		{"lost, untouched", lost, ec2.Untouched, false},
		{"cut, always", ec2test.Fault{Cut: true}, ec2.Always, true},
		{"not XML, always", ec2test.Fault{Instead: "hello"}, ec2.Always, true},
		{"hangs, always", ec2test.Fault{Delay: time.Minute}, ec2.Always, true},
		{"hangs, untouched", ec2test.Fault{Delay: time.Minute}, ec2.Untouched, false},
		{"refused, always", ec2test.Fault{Code: "InvalidParameterValue", Status: 400}, ec2.Always, false},
		{"of another action", ec2test.Fault{Instead: "<DescribeTagsResponse/>"}, ec2.Always, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := ec2test.New(world(), ec2test.Options{Fault: func(r ec2test.Request) ec2test.Fault {
					if r.N == 0 {
						return c.fault
					}
					return ec2test.Fault{}
				}})
				call := describe
				call.Retry = c.retry
				_, err := client(f, "AKIANEW").Do(within(t, time.Minute), call)
				if (err == nil) != c.second {
					t.Errorf("%v", err)
				}
				time.Sleep(time.Minute) // for what hangs
			})
		})
	}
}

// All of it happens within the time that the caller has, and the error tells
// how often it was tried.
func TestRetriesEnd(t *testing.T) {
	for _, fault := range []ec2test.Fault{{Code: "RequestLimitExceeded"}, {Code: "InternalError", Status: 500}, {Lose: true}} {
		synctest.Test(t, func(t *testing.T) {
			f := ec2test.New(world(), ec2test.Options{Fault: func(ec2test.Request) ec2test.Fault { return fault }})
			began := time.Now()
			_, err := client(f, "AKIANEW").Do(within(t, 20*time.Second), describe)
			if took := time.Since(began); err == nil || took > 20*time.Second || took < 10*time.Second {
				t.Errorf("%+v: %v after %s", fault, err, took)
			}
			if n := len(f.Journal()); n < 3 || n > 40 || !strings.Contains(err.Error(), "asked "+fmt.Sprint(n)+" times in ") {
				t.Errorf("%d tries: %v", n, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := ec2test.New(world(), ec2test.Options{Fault: func(ec2test.Request) ec2test.Fault { return ec2test.Fault{Delay: time.Hour} }})
		_, err := client(f, "AKIANEW").Do(within(t, 3*time.Second), describe)
		if want := "DescribeNetworkInterfaces: no answer from https://ec2.ap-northeast-1.amazonaws.com/: not finished in time (--timeout)"; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		time.Sleep(time.Hour)
	})
}

// The API's token bucket lets the calls through after a while.
func TestTokenBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ec2test.New(world(), ec2test.Options{Burst: 5, Rate: 1})
		c := client(f, "AKIANEW")
		for range 20 {
			if _, err := c.Do(within(t, time.Minute), describe); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A permission that is missing is named.
func TestPermissionIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world()
		w.Denied = []string{"DescribeNetworkInterfaces"}
		_, err := client(ec2test.New(w, ec2test.Options{}), "AKIANEW").Do(t.Context(), describe)
		if err == nil || !strings.HasSuffix(err.Error(), "; the credentials (of a test, …ANEW) need the permission ec2:DescribeNetworkInterfaces") || strings.Contains(err.Error(), "Zm9v") {
			t.Error(err)
		}
	})
}

// Pages are put together, and there is an end to them.
func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world()
		for i := range 23 {
			w.Instances = append(w.Instances, ec2test.Instance{ID: fmt.Sprintf("i-page%02d", i), State: "stopped"})
		}
		f := ec2test.New(w, ec2test.Options{PageSize: 5})
		all, err := client(f, "AKIANEW").Instances(t.Context(), nil)
		if err != nil || len(all) != len(w.Instances) {
			t.Errorf("%d of %d: %v", len(all), len(w.Instances), err)
		}
		if n := len(f.Journal()); n != 6 {
			t.Errorf("%d pages", n)
		}
	})
	const again = `<DescribeInstancesResponse><requestId>1</requestId><reservationSet/><nextToken>x</nextToken></DescribeInstancesResponse>`
	c := client(ec2test.New(world(), ec2test.Options{}), "AKIANEW")
	c.HTTP = roundTripper(func(*http.Request) (*http.Response, error) { return answer(200, again), nil })
	if _, err := c.Instances(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "the same page twice") {
		t.Error(err)
	}
}

// Replies that are no replies end in a sentence, and soon.
func TestBadReplies(t *testing.T) {
	deep := strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100)
	for _, c := range []struct{ name, body, say string }{
		{"empty", "", "the reply is not whole, or no XML"},
		{"deep", "<DescribeNetworkInterfacesResponse>" + deep + "</DescribeNetworkInterfacesResponse>", "nested deeper than 64"},
		{"two documents", "<DescribeNetworkInterfacesResponse/><b/>", "a second document"},
		{"entities", `<!DOCTYPE a [<!ENTITY b "bbbb">]><DescribeNetworkInterfacesResponse>&b;</DescribeNetworkInterfacesResponse>`, "invalid character entity"},
		{"long", "<DescribeNetworkInterfacesResponse>" + strings.Repeat("x", 2000) + "</DescribeNetworkInterfacesResponse>", "longer than 1000 octets"},
		{"another root", "<html></html>", "is that endpoint EC2's?"},
	} {
		cl := client(ec2test.New(world(), ec2test.Options{}), "AKIANEW")
		cl.HTTP = roundTripper(func(*http.Request) (*http.Response, error) { return answer(200, c.body), nil })
		call := describe
		call.Most, call.Retry = 1000, ec2.Never
		if c.name == "deep" || c.name == "entities" {
			call.Most = 0
		}
		if _, err := cl.Do(t.Context(), call); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for status, say := range map[int]string{403: "is a proxy between", 502: "is a proxy between", 301: "is a proxy between"} {
		cl := client(ec2test.New(world(), ec2test.Options{}), "AKIANEW")
		cl.HTTP = roundTripper(func(*http.Request) (*http.Response, error) { return answer(status, "<html>no</html>"), nil })
		call := describe
		call.Retry = ec2.Never
		if _, err := cl.Do(t.Context(), call); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// Over the network: the certificate is verified, redirects are not followed,
// and neither is worth a second try.
func TestTransport(t *testing.T) {
	f := ec2test.New(world(), ec2test.Options{})
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
			return
		}
		f.ServeHTTP(w, r)
	}))
	api.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	api.StartTLS()
	defer api.Close()
	clearEnvironment(t)
	open := func(endpoint, bundle string) (*ec2.Session, error) {
		return ec2.Open(t.Context(), ec2.Settings{AccessKey: "AKIANEW", SecretKey: "new secret", Region: "ap-northeast-1", Endpoint: endpoint, CABundle: bundle})
	}
	s, err := open(api.URL, bundle(t, api))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.EC2.Do(t.Context(), describe); err != nil {
		t.Error(err)
	}
	s.EC2.Endpoint, _ = url.Parse(api.URL + "/moved")
	if _, err := s.EC2.Do(t.Context(), describe); err == nil || !strings.Contains(err.Error(), "307") || elsewhere.Load() != 0 {
		t.Errorf("redirect: %v, followed %d times", err, elsewhere.Load())
	}
	if s, err = open(api.URL, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.EC2.Do(t.Context(), describe); err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "asked") {
		t.Errorf("an unknown certificate: %v", err)
	}
	// Nobody listens: that may change.
	closed := httptest.NewServer(nil)
	closed.Close()
	if s, err = open(closed.URL, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := s.EC2.Do(ctx, describe); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v", err)
	}
}
