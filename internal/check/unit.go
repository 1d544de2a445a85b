package check

import (
	"context"
	"fmt"
	"os"

	"murakumo/internal/check/expr"
)

// unitCheck asks systemd whether a unit is active, by systemctl, which is good
// for a unit that is reloading, too, and bad for one that is still starting.
// What systemctl answers is in the error.
func unitCheck(c expr.Call) Probe {
	return bySystem("systemctl", func(systemctl string) Probe { return unitProbe(systemctl, c.Text("unit")) })
}

func unitProbe(systemctl, unit string) Probe {
	ask := Command([]string{systemctl, "is-active", "--", unit})
	return func(ctx context.Context) error {
		if err := ask(ctx); err != nil {
			return fmt.Errorf("unit %s: %w", unit, err)
		}
		return nil
	}
}

// bySystem finds a program of the system when it is needed. /usr/local is not
// looked at: who may write there need not be who may become the daemon.
func bySystem(program string, probe func(path string) Probe) Probe {
	return func(ctx context.Context) error {
		dirs := []string{"/usr/bin/", "/bin/"}
		for _, dir := range dirs {
			if info, err := os.Stat(dir + program); err == nil && info.Mode().IsRegular() {
				return probe(dir + program)(ctx)
			}
		}
		return fmt.Errorf("there is no %s in %v", program, dirs)
	}
}
