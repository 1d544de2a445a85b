//go:build !linux

package nameserver

import "syscall"

func endsWithUs() *syscall.SysProcAttr { return nil }
