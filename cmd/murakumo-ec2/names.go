package main

import (
	"strings"

	"murakumo/internal/optparse"
)

// oldNames are the names of the original's programs, which are installed as
// links to this one.
var oldNames = map[string]string{
	"murakumo-show-ip-address":               "ip-address",
	"murakumo-show-ec2-tags":                 "tags",
	"murakumo-show-ec2-instances":            "instances",
	"murakumo-show-ec2-interfaces":           "interfaces",
	"murakumo-show-ec2-private-ip-addresses": "private-ip-addresses",
	"murakumo-attach-ec2-attach-interface":   "attach-interface",
}

// oldFlags are the original's long flags, any beginning of which its option
// parser took.
var oldFlags = []string{"access-key", "secret-key", "region", "instance-id", "network-if-id", "device-index"}

// oldName gives the words of the command line: as they are, or when called by
// one of the original's names, the command before them. One version of the
// original wrote attach-ec2_attach_interface.
func oldName(program string, words []string) ([]string, error) {
	command, ok := oldNames[strings.ReplaceAll(program, "_", "-")]
	if !ok {
		return words, nil
	}
	words, err := optparse.Expand(words, oldFlags)
	return append([]string{command}, words...), err
}
