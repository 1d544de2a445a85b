package check

import (
	"context"
	"fmt"

	"murakumo/internal/check/expr"
)

// fileCheck is good when there is something at the path: a file, a folder, or
// what a symbolic link leads to.
//
// It lets the program stat look. On a file system whose server is gone a look
// does not return; a thread of our own that hangs in it could not be ended, a
// process can.
func fileCheck(c expr.Call) Probe {
	return bySystem("stat", func(stat string) Probe {
		look, path := Command([]string{stat, "-L", "-c", "%F", "--", c.Text("path")}), c.Text("path")
		return func(ctx context.Context) error {
			if err := look(ctx); err != nil {
				return fmt.Errorf("file %s: %w", path, err)
			}
			return nil
		}
	})
}
