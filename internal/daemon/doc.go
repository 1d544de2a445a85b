// Package daemon is what a program needs to live in the background: a pid file
// that cannot lie, the commands start, stop, restart and status, and the words
// that systemd wants to hear. It knows nothing of what the daemon does.
//
//	file, err := daemon.Take("/var/run/murakumo.pid") // in the daemon
//	defer file.Remove()
//	...
//	parent.Ready()                                    // start returns
//
//	control := daemon.Control{PIDFile: "/var/run/murakumo.pid", Out: os.Stdout}
//	err := control.Stop(ctx, patience)
//
// The pid file is locked for as long as its daemon lives, by a record lock of
// fcntl(2). So whether the daemon runs is answered by the kernel: a file that a
// crash or a power failure left behind has no lock, whoever has its number now.
// Who holds the lock is answered by the kernel, too, whatever the file says. And
// the signal goes through a pidfd which was opened while that process held the
// lock, so that it reaches that process or nobody. (flock would not do: it does
// not tell who holds it, and a child between fork and exec holds it with its
// parent.)
package daemon
