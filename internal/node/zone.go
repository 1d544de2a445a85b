package node

import (
	"slices"
	"strings"

	"murakumo/internal/config"
)

// zoneKeys are those on which it depends what is answered under the domain, while
// the table stays as it is.
var zoneKeys = []string{"domain", "negative-ttl", "name-includes", "name-excludes", "when-empty"}

// zoneDiffers says whether secondaries of the domain have to transfer it anew when
// next comes after now, for which its serial has to rise.
func zoneDiffers(now, next *config.Config) bool {
	return slices.ContainsFunc(config.Diff(now, next), func(c config.Change) bool {
		top, _, _ := strings.Cut(c.Key, ".")
		return slices.Contains(zoneKeys, top)
	})
}
