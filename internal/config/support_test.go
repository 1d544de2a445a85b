package config

import (
	"cmp"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"strings"
	"syscall"
	"time"

	"testing/fstest"
)

var update = flag.Bool("update", false, "write what is into testdata; commit only a change you understand")

// programs are the files that the tests' commands lead to. Nothing of the
// machine that runs the tests is asked.
var programs = fstest.MapFS{
	"usr/local/sbin/attach_if":  {Mode: 0o755},
	"usr/local/sbin/detach_if":  {Mode: 0o755},
	"usr/local/sbin/notify":     {Mode: 0o755},
	"usr/local/sbin/both":       {Mode: 0o755, Data: []byte("#!/bin/sh\ncase $3 in\nactive|healthy) ;;\ninactive|unhealthy) ;;\nesac\n")},
	"usr/bin/murakumo-attach":   {Mode: 0o755},
	"usr/bin/check_tcp":         {Mode: 0o755},
	"usr/bin/murakumo-ec2":      {Mode: 0o755},
	"bin/sh":                    {Mode: 0o755},
	"usr/bin/env":               {Mode: 0o755},
	"srv/group":                 {Mode: 0o775},
	"srv/others":                {Mode: 0o757},
	"srv/plain":                 {Mode: 0o644},
	"srv/folder":                {Mode: 0o755 | fs.ModeDir},
	"srv/socket":                {Mode: 0o755 | fs.ModeSocket},
	"srv/theirs":                {Mode: 0o755, Sys: &syscall.Stat_t{Uid: 54321}},
	"srv/open":                  {Mode: 0o757 | fs.ModeDir},
	"srv/open/tool":             {Mode: 0o755},
	"srv/staff":                 {Mode: 0o775 | fs.ModeDir, Sys: &syscall.Stat_t{Gid: 50}},
	"srv/staff/tool":            {Mode: 0o755},
	"usr/sbin/loose":            {Mode: 0o777},
	"etc/murakumo-init.rb":      {Mode: 0o755, Data: []byte("#!/usr/bin/ruby\nip = Murakumo::Util.self_ip_address\n@options['host'] = ip\n")},
	"etc/plain-init.rb":         {Mode: 0o644, Data: []byte("puts 1\n")},
	"etc/murakumo.hosts":        {Mode: 0o644, Data: []byte("# things\n10.0.9.10 printer\n")},
	"etc/bad.hosts":             {Mode: 0o644, Data: []byte(badHosts)},
	"etc/huge.hosts":            {Mode: 0o644, Data: []byte(strings.Repeat("10.0.0.1 a\n", MaxHosts/11+1))},
	"etc/murakumo.key":          {Mode: 0o600, Data: []byte("a secret in a file, long enough\n")},
	"etc/murakumo-webhook.key":  {Mode: 0o600, Data: []byte("a secret for webhooks, long enough\n")},
	"etc/short.key":             {Mode: 0o600, Data: []byte("short\n")},
	"etc/open.key":              {Mode: 0o644, Data: []byte("a secret in a file, long enough\n")},
	"etc/murakumo-ca.pem":       {Mode: 0o644, Data: []byte(caPEM)},
	"etc/murakumo-tls.pem":      {Mode: 0o644, Data: []byte(tlsCert)},
	"etc/murakumo-tls.key":      {Mode: 0o600, Data: []byte(tlsKey)},
	"etc/tls.crt":               {Mode: 0o644, Data: []byte(tlsCert)},
	"etc/tls.key":               {Mode: 0o600, Data: []byte(tlsKey)},
	"etc/other.key":             {Mode: 0o600, Data: []byte(otherKey)},
	"etc/tls-open.key":          {Mode: 0o644, Data: []byte(tlsKey)},
	"etc/empty.key":             {Mode: 0o600, Data: []byte(" \n")},
	"etc/long.key":              {Mode: 0o600, Data: []byte(strings.Repeat("x", maxSecret+1))},
	"var/log/murakumo/.folder/": {Mode: 0o755 | fs.ModeDir},
}

// badHosts is what a hosts file can be like.
const badHosts = `127.0.0.1	localhost
::1     ip6-localhost ip6-loopback
10.0.9.20 nas   NAS.example.com	nas-2 # the box in the cellar
10.0.9.21
10.0.9.300 no-address
fe80::1%eth0 zone
ff02::1 ip6-allnodes
255.255.255.255 broadcasthost
10.0.9.22 fine -not-fine under_score a..b

  # nothing
::ffff:10.0.9.23 mapped
::ffff:0.0.0.0 unspecified
::ffff:255.255.255.255 everybody
`

// caPEM is the certificate of a CA whose key is gone.
const caPEM = `-----BEGIN CERTIFICATE-----
MIIBizCCATGgAwIBAgIUD4WXoRreyvJsXLVNVKHb87q9DLIwCgYIKoZIzj0EAwIw
GjEYMBYGA1UEAwwPQ0Egb2YgdGhlIHRlc3RzMCAXDTI2MTEyNTA0Mjg1OFoYDzIx
MjYxMTAxMDQyODU4WjAaMRgwFgYDVQQDDA9DQSBvZiB0aGUgdGVzdHMwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAAQSIJroafvKrRcqPEZKy0Hiu8hFUkHw6/RXFrgz
+tG8JRMsIiDgbe45qpesN/gaAKA8J1XvFsCb+Xmq3KdU40cOo1MwUTAdBgNVHQ4E
FgQUZeE7TvXBAjC4CgAfE65mdkFKhPIwHwYDVR0jBBgwFoAUZeE7TvXBAjC4CgAf
E65mdkFKhPIwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiArSpYF
rUDSdLF+7E0e2GmBxAamR6glJMfQeudQsXuCgwIhANo/VlrtozUpjcE/YZrrAS2Y
be4pkgSzTcBD68pBotFk
-----END CERTIFICATE-----
`

// tlsCert is a certificate of these tests, tlsKey its key, otherKey that of another.
const (
	otherKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg5uW49bv6Qes3+Oyz
5wTXsuemFX2bBzlmBfXG8v44/o6hRANCAARQar4QDKNHABjewNf03FuitQfMonKh
q1gfqr499t2FhNUWM7yTvfTYwLd1Zavk1SSXMCYMLufJw2jzTKInjdgy
-----END PRIVATE KEY-----
`
	tlsCert = `-----BEGIN CERTIFICATE-----
MIIBgzCCASmgAwIBAgIUHrFZXWH6zNH3T9rYNXbCBVMuE88wCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLZG5zLmV4YW1wbGUwIBcNMjYxMTI1MTI1MTEzWhgPMjEyNjEx
MDExMjUxMTNaMBYxFDASBgNVBAMMC2Rucy5leGFtcGxlMFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAECAJp1LNiJJP8r7hE/pvLWlejIR9ES7HMDxouMVPWwgi7yS4k
RdyhAGaTBd9ZZkvAelC7g9GDnplUNky+Cz2Q0aNTMFEwHQYDVR0OBBYEFIp7DPtN
hiTYWeiYr5WtDSFNMfaAMB8GA1UdIwQYMBaAFIp7DPtNhiTYWeiYr5WtDSFNMfaA
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgHKLN0RkN1gtIuxZI
C2RujGx45d+G680s6gnmpg5M3KUCIQC6g1Rzeh1qQ5nl0ws77gNTt9T3dcFb3GU2
l9U9CsTbpA==
-----END CERTIFICATE-----
`
	tlsKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwu1EYcc7Yp0rc9PX
NQinsNB+JsvM6T5EHy9JsOXUthGhRANCAAQIAmnUs2Ikk/yvuET+m8taV6MhH0RL
scwPGi4xU9bCCLvJLiRF3KEAZpMF31lmS8B6ULuD0YOemVQ2TL4LPZDR
-----END PRIVATE KEY-----
`
)

// testOptions ask nothing of the machine.
func testOptions() Options {
	return Options{
		Lstat: func(name string) (fs.FileInfo, error) {
			return programs.Lstat(cmp.Or(strings.TrimPrefix(name, "/"), "."))
		},
		Hostname: func() (string, error) { return "Test-Host", nil },
		readFile: func(name string) ([]byte, fs.FileInfo, error) {
			data, err := programs.ReadFile(strings.TrimPrefix(name, "/"))
			if err != nil {
				return nil, nil, err
			}
			info, err := programs.Stat(strings.TrimPrefix(name, "/"))
			return data, info, err
		},
	}
}

// minimal is the least file, for tests of one key.
const minimal = "auth-key: 0123456789abcdef\nhost: 10.0.0.1, web-01\n"

// dump writes what differs from the defaults, one line each.
func dump(c *Config) string {
	base := defaults(c.Path)
	base.Socket = "" // depends on who runs the test
	d := *c
	if d.Socket == DefaultSocket() {
		d.Socket = ""
	}
	var w strings.Builder
	dumpDiff(&w, "", reflect.ValueOf(*base), reflect.ValueOf(d))
	return w.String()
}

func dumpDiff(w *strings.Builder, path string, base, v reflect.Value) {
	if reflect.DeepEqual(base.Interface(), v.Interface()) {
		return
	}
	switch x := v.Interface().(type) {
	case fmt.Stringer:
		if v.Kind() != reflect.Pointer || !v.IsNil() {
			fmt.Fprintf(w, "%s = %s\n", path, x)
			return
		}
	case Command:
		fmt.Fprintf(w, "%s = %q\n", path, []string(x))
		return
	case time.Duration, slog.Level:
		fmt.Fprintf(w, "%s = %s\n", path, x)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if !v.Type().Field(i).IsExported() {
				continue
			}
			if path != "" {
				name = path + "." + name
			}
			dumpDiff(w, name, base.Field(i), v.Field(i))
		}
	case reflect.Slice:
		if v.Len() == 0 {
			fmt.Fprintf(w, "%s = []\n", path)
		}
		for i := range v.Len() {
			dumpDiff(w, fmt.Sprintf("%s[%d]", path, i), reflect.Zero(v.Type().Elem()), v.Index(i))
		}
	case reflect.Pointer:
		if v.IsNil() {
			fmt.Fprintf(w, "%s = nil\n", path)
			return
		}
		dumpDiff(w, path, reflect.Zero(v.Type().Elem()), v.Elem())
	case reflect.String:
		fmt.Fprintf(w, "%s = %q\n", path, v.String())
	default:
		fmt.Fprintf(w, "%s = %v\n", path, v.Interface())
	}
}

// outcome is what a test sees of a load: the dump, or the mistakes.
func outcome(c *Config, err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	return dump(c)
}
