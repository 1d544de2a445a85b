//go:build !linux

package nameserver

import "syscall"

// wakeFrom does nothing here: who reads is woken by each octet.
func wakeFrom(syscall.RawConn, int) error { return nil }
