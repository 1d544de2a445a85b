// Command ec2fake runs the FAKE of EC2 and of the instance metadata service
// (package ec2test) as a program, for tests with several hosts and to try
// murakumo-ec2 on without an account:
//
//	go run ./internal/ec2/ec2test/ec2fake
//
// prints the variables to set. A world of one's own is a JSON file of
// ec2test.World (-world). It is not AWS, and nothing but tests should ask it.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"murakumo/internal/ec2/ec2test"
)

//go:embed world.json
var sample []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal("ec2fake: ", err)
	}
}

func run(ctx context.Context) error {
	file := flag.String("world", "", "JSON file with the world; otherwise a small one of two instances")
	api := flag.String("api", "127.0.0.1:0", "address of the API, with TLS")
	metadata := flag.String("metadata", "127.0.0.1:0", "address of the metadata service")
	self := flag.String("self", "", "instance that a request to the metadata service comes from when its address is no instance's; otherwise the first")
	ca := flag.String("ca", "", "file to write the API's certificate to; otherwise a temporary one")
	attach := flag.Duration("attach", time.Second, "how long attaching takes")
	detach := flag.Duration("detach", 2*time.Second, "how long detaching takes")
	lag := flag.Duration("lag", 0, "how old readings may be")
	change := flag.String("exec", "", "program to run when an interface came or went: PROGRAM attached|detached INTERFACE INSTANCE INDEX")
	flag.Parse()

	text := sample
	if *file != "" {
		var err error
		if text, err = os.ReadFile(*file); err != nil {
			return err
		}
	}
	var w ec2test.World
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return fmt.Errorf("%s: %w", *file, err)
	}
	if *self == "" && len(w.Instances) > 0 {
		*self = w.Instances[0].ID
	}
	o := ec2test.Options{AttachDelay: *attach, DetachDelay: *detach, Lag: *lag}
	if *change != "" {
		o.OnChange = func(c ec2test.Change) {
			what := "detached"
			if c.Attached {
				what = "attached"
			}
			if out, err := exec.CommandContext(ctx, *change, what, c.Interface, c.Instance, strconv.Itoa(c.Index)).CombinedOutput(); err != nil {
				log.Printf("%s %s %s: %v: %s", *change, what, c.Interface, err, out)
			}
		}
	}
	f := ec2test.New(w, o)

	apiListener, err := net.Listen("tcp", *api)
	if err != nil {
		return err
	}
	metaListener, err := net.Listen("tcp", *metadata)
	if err != nil {
		return err
	}
	if *ca == "" {
		dir, err := os.MkdirTemp("", "ec2fake-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		*ca = filepath.Join(dir, "ca.pem")
	}
	cert, err := certificate(apiListener.Addr().(*net.TCPAddr).IP, *ca)
	if err != nil {
		return err
	}
	who := func(r *http.Request) string {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		for _, n := range f.World().Interfaces {
			if n.Attachment != nil && slices.Contains(n.Addresses, host) {
				return n.Attachment.Instance
			}
		}
		return *self
	}
	apiServer := &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second}
	metaServer := &http.Server{Handler: f.Metadata(who), ReadHeaderTimeout: 10 * time.Second}

	for id, secret := range w.Keys {
		fmt.Printf("export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY='%s'\n", id, secret)
	}
	fmt.Printf("export AWS_ENDPOINT_URL_EC2=https://%s AWS_CA_BUNDLE=%s\n", apiListener.Addr(), *ca)
	fmt.Printf("export AWS_EC2_METADATA_SERVICE_ENDPOINT=http://%s\n", metaListener.Addr())

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return serve(apiServer.Serve(tls.NewListener(apiListener, &tls.Config{Certificates: []tls.Certificate{cert}})))
	})
	g.Go(func() error { return serve(metaServer.Serve(metaListener)) })
	g.Go(func() error {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f.Settle()
			case <-ctx.Done():
				return errors.Join(apiServer.Close(), metaServer.Close())
			}
		}
	})
	return g.Wait()
}

func serve(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// certificate makes one for an address, which vouches for itself, and writes it
// to a file.
func certificate(ip net.IP, path string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{ip, net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(path, text, 0o644)
}
