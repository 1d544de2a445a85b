package nameserver

import "syscall"

// endsWithUs makes a program end when the test that started it is killed.
func endsWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
