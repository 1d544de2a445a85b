package rpmspec

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Options are what an archive does not say. The zero value has the defaults of
// ec2-api-tools.
type Options struct {
	Prefix   string // "" is /usr
	Summary  string
	License  string
	Release  string // "" is 1
	Requires []string
}

// A Spec is an archive with what goes into its package.
type Spec struct {
	Archive *Archive
	Options
}

// defaults are what is known of archives by their names.
var defaults = map[string]Options{
	"ec2-api-tools": {Summary: "The Amazon EC2 command line tools", License: "Amazon Software License"},
}

// New fills in defaults and looks at what was given.
func New(a *Archive, o Options) (*Spec, error) {
	known := defaults[a.Name]
	o.Prefix = or(o.Prefix, "/usr")
	o.Summary = or(o.Summary, or(known.Summary, a.Name+", as its vendor packed it"))
	o.License = or(o.License, known.License)
	o.Release = or(o.Release, "1")
	switch {
	case o.License == "":
		return nil, fmt.Errorf("the licence of %s is not known here: give --license", a.Name)
	case !path.IsAbs(o.Prefix) || path.Clean(o.Prefix) != o.Prefix:
		return nil, fmt.Errorf("destination %q: expected an absolute path like /usr", o.Prefix)
	case !versionForm.MatchString(o.Release):
		return nil, fmt.Errorf("release %q: expected a number, or one with letters and dots behind", o.Release)
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(o.Prefix, "/"), "/") {
		if part != "" && !fileForm.MatchString(part) {
			return nil, fmt.Errorf("destination %q has characters that a spec cannot have", o.Prefix)
		}
	}
	for _, text := range append([]string{o.Summary, o.License}, o.Requires...) {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.TrimSpace(text) == "" {
			return nil, fmt.Errorf("%q: expected one line of text", text)
		}
	}
	if len(o.Summary) > 200 {
		return nil, errors.New("the summary has more than 200 characters")
	}
	return &Spec{a, o}, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Files are the paths that the package installs, sorted within bin and lib.
func (s *Spec) Files() []string {
	var all []string
	for _, f := range append(append([]string{}, s.Archive.Bin...), s.Archive.Lib...) {
		all = append(all, path.Join(s.Prefix, f))
	}
	return all
}

// RPM is the name of the file that rpmbuild makes.
func (s *Spec) RPM() string {
	return fmt.Sprintf("%s-%s-%s.noarch.rpm", s.Archive.Name, s.Archive.Version, s.Release)
}

// text keeps RPM from taking a percent sign for a macro.
func text(t string) string { return strings.ReplaceAll(t, "%", "%%") }

// Text is the spec. The same archive and options give the same text.
func (s *Spec) Text() string {
	a := s.Archive
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	// Comments are searched for macros, too.
	line("# Made by murakumo-ec2 rpm-spec from %s", text(strings.Map(printable, a.Source)))
	line("# sha256 %s", a.SHA256)
	line("")
	line("# What the archive has beside bin and lib is not installed.")
	line("%%define _unpackaged_files_terminate_build 0")
	line("# Jars are left as they are, and there is nothing to debug.")
	line("%%define __os_install_post %%{nil}")
	line("%%define debug_package %%{nil}")
	line("")
	line("Name: %s", a.Name)
	line("Version: %s", a.Version)
	line("Release: %s", s.Release)
	line("Summary: %s", text(s.Summary))
	line("License: %s", text(s.License))
	line("Source0: %s", a.File)
	line("BuildArch: noarch")
	line("AutoReqProv: no")
	for _, r := range s.Requires {
		line("Requires: %s", text(r))
	}
	line("")
	line("%%description")
	line("%s", text(s.Summary))
	line("")
	line("%%prep")
	line("%%setup -q -n %s", a.Top)
	line("")
	line("%%build")
	line("")
	line("%%install")
	line("rm -rf %%{buildroot}")
	for _, f := range a.Bin {
		line("install -D -p -m 755 %s %%{buildroot}%s", f, path.Join(s.Prefix, f))
	}
	for _, f := range a.Lib {
		line("install -D -p -m 644 %s %%{buildroot}%s", f, path.Join(s.Prefix, f))
	}
	line("")
	line("%%files")
	for _, f := range a.Bin {
		line("%%attr(755,root,root) %s", path.Join(s.Prefix, f))
	}
	for _, f := range a.Lib {
		line("%%attr(644,root,root) %s", path.Join(s.Prefix, f))
	}
	return b.String()
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}
