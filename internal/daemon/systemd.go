package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Systemd speaks to the service manager, where there is one that asked for it
// (sd_notify(3)); else nothing happens.
type Systemd struct {
	Log *slog.Logger

	notify func(state string) error // nil: the real one
	every  time.Duration            // 0: half of what the manager asked for
}

// Supervised says whether a service manager waits for what Systemd says.
func Supervised() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Unsupervised forgets a service manager that is somebody else's: that of the
// shell or job that ran the start command.
func Unsupervised() {
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		os.Unsetenv(name)
	}
}

func (s *Systemd) tell(state string) {
	notify := s.notify
	if notify == nil {
		notify = func(state string) error {
			_, err := daemon.SdNotify(false, state)
			return err
		}
	}
	if err := notify(state); err != nil {
		s.Log.Warn("cannot tell the service manager", "what", state, "error", err)
	}
}

// Ready says that the service has started, or that it has reloaded.
func (s *Systemd) Ready() { s.tell(daemon.SdNotifyReady) }

// Reloading says that the configuration is being read again; Ready ends that.
func (s *Systemd) Reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	s.tell(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// Stopping says that the service ends, and that this may take so long.
func (s *Systemd) Stopping(patience time.Duration) {
	s.tell(fmt.Sprintf("%s\nEXTEND_TIMEOUT_USEC=%d", daemon.SdNotifyStopping, patience.Microseconds()))
}

// Watch tells the service manager's watchdog twice in its interval that the
// service is alive, and only while that is so: alive must give nil within half
// of the interval. When there is no watchdog it only waits for the end of ctx.
//
// An alive that has never worked proves nothing about the service (a firewall
// may be in its way): until the first time that it does, the watchdog is
// satisfied and the log says what is wrong.
func (s *Systemd) Watch(ctx context.Context, alive func(context.Context) error) error {
	every := s.every
	if every == 0 {
		interval, err := daemon.SdWatchdogEnabled(false)
		if err != nil {
			s.Log.Warn("the service manager's watchdog is not served", "error", err)
		}
		every = interval / 2
	}
	if every <= 0 {
		<-ctx.Done()
		return nil
	}
	worked := false
	var pending chan error // of a question that was not answered in time
	for {
		next := time.After(every)
		var err error
		pending, err = s.ask(ctx, every, alive, pending)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			worked = true
			s.tell(daemon.SdNotifyWatchdog)
		case !worked:
			s.Log.Warn("cannot ask myself whether I am alive; the watchdog is satisfied without", "error", err)
			s.tell(daemon.SdNotifyWatchdog)
		default:
			s.Log.Error("not alive: the watchdog is not satisfied and restarts this daemon if that lasts", "error", err)
			next = time.After(every / 10) // it is a matter of moments now
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil
		}
	}
}

// ask asks alive and waits for the answer. One that does not come in time is
// given back, to be waited for the next time before asking again: what hangs is
// not to pile up.
func (s *Systemd) ask(ctx context.Context, within time.Duration, alive func(context.Context) error, pending chan error) (chan error, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		late := pending != nil
		if !late {
			pending = make(chan error, 1)
			go func() { pending <- alive(ctx) }()
		}
		select {
		case err := <-pending:
			if !late {
				return nil, err
			}
			pending = nil // what it says is about the past
		case <-ctx.Done():
			return pending, context.Cause(ctx)
		}
	}
}
