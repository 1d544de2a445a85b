package config

import (
	"strings"
	"testing"
)

// TestMappedAddresses: an address in the form ::ffff:a.b.c.d is the one of IPv4 wherever
// addresses of hosts are read, and refused where that is.
func TestMappedAddresses(t *testing.T) {
	for _, text := range []string{
		"static: '%s rds'\n",
		"resolver: '%s'\n",
		"resolver: '[%s]:53'\n",
		"resolver: 'tls://[%s]'\n",
		"proxy: {web: {listen: '127.0.0.1:80', backends: '[%s]:80'}}\n",
	} {
		for _, bad := range []string{"0.0.0.0", "224.0.0.1"} {
			file := minimal + strings.ReplaceAll(text, "%s", "::ffff:"+bad)
			if _, err := Parse("f", []byte(file), testOptions()); err == nil || !strings.Contains(err.Error(), "expected ") {
				t.Errorf("%s%v", file, err)
			}
		}
		file := minimal + strings.ReplaceAll(text, "%s", "::ffff:192.0.2.1")
		if _, err := Parse("f", []byte(file), testOptions()); err != nil {
			t.Errorf("%s%v", file, err)
		}
	}
}
