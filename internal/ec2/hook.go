package ec2

import (
	"fmt"
	"slices"
	"strings"
)

// A Purpose is what a hook's arguments ask for.
type Purpose uint8

// The purposes.
const (
	ToTake Purpose = iota
	ToLetGo
	ToLeave // for a status that takes nothing
)

// HookPurpose reads what the daemon appends to a hook's arguments: ADDRESS NAME
// STATUS, or nothing when it is no hook. Nothing is ever taken on inactive or
// unhealthy; then letGo says whether our own holding is ended.
func HookPurpose(args []string, letGo bool) (Purpose, error) {
	switch {
	case len(args) == 0:
		return ToTake, nil
	case len(args) != 3:
		return ToLeave, fmt.Errorf("%q: expected nothing, or what a hook gets: ADDRESS NAME STATUS", strings.Join(args, " "))
	case slices.Contains([]string{"active", "healthy"}, args[2]):
		return ToTake, nil
	case !slices.Contains([]string{"inactive", "unhealthy"}, args[2]):
		return ToLeave, fmt.Errorf("status %q: expected active, inactive, healthy or unhealthy", args[2])
	case letGo:
		return ToLetGo, nil
	}
	return ToLeave, nil
}
