package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// make install makes a link for each of the original's names.
func TestLinks(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^LINKS = ((?:.*\\\n)*.*)$`).FindSubmatch(text)
	if m == nil {
		t.Fatal("the Makefile has no LINKS")
	}
	links := strings.Fields(strings.ReplaceAll(string(m[1]), "\\\n", " "))
	slices.Sort(links)
	if names := slices.Sorted(maps.Keys(oldNames)); !slices.Equal(links, names) {
		t.Errorf("the Makefile links %q, the program knows %q", links, names)
	}
}

func TestOldName(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"murakumo-ec2 tags --acc K", "tags --acc K"},
		{"murakumo-show-ec2-tags", "tags"},
		{"murakumo-show-ec2-tags --acc K --sec=S --ver", "tags --access-key K --secret-key=S --ver"},
		{"murakumo-attach-ec2_attach_interface --net eni-1 -- --net", "attach-interface --network-if-id eni-1 -- --net"},
		{"murakumo-show-nothing x", "x"},
	} {
		w := strings.Fields(c.line)
		got, err := oldName(w[0], w[1:])
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %q, %v", c.line, got, err)
		}
	}
}
