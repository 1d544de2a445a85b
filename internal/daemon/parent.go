package daemon

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// parentVariable tells a process that Start made it, and by which descriptor to
// answer.
const parentVariable = "MURAKUMO_STARTER"

const readyWord = "ready"

// Parent is the start command that waits for this daemon; nil when this process
// is none of its daemons.
type Parent struct{ pipe *os.File }

// FromParent looks whether this process was started by Start. It takes what says
// so out of the environment: it is to be called once, before others run programs.
func FromParent() (*Parent, error) {
	text, ok := os.LookupEnv(parentVariable)
	if !ok {
		return nil, nil
	}
	os.Unsetenv(parentVariable)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%s is no descriptor: it is only for the daemon itself", parentVariable, text)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil, fmt.Errorf("%s=%s is no pipe: it is only for the daemon itself", parentVariable, text)
	}
	unix.CloseOnExec(fd)
	return &Parent{os.NewFile(uintptr(fd), "starter")}, nil
}

// Ready lets start return and say that the daemon runs. Until then the standard
// error is that of start, and whatever is said there its user reads; before Ready
// it is to be put elsewhere, by [Stderr].
func (p *Parent) Ready() error {
	defer p.pipe.Close()
	if _, err := p.pipe.WriteString(readyWord); err != nil {
		return fmt.Errorf("say that the daemon is ready: %w", err)
	}
	return nil
}

// Stderr makes the file the standard error of this process, also for what the
// runtime itself prints.
func Stderr(to *os.File) error {
	if err := unix.Dup3(int(to.Fd()), 2, 0); err != nil {
		return fmt.Errorf("send standard error to %s: %w", to.Name(), err)
	}
	return nil
}
