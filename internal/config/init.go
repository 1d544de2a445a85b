package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"murakumo/internal/program"
)

// InitOutput is the File of a [Problem] in what an init-script printed.
const InitOutput = "init-script output"

// initScript runs the init-script, if there is one and it shall run, and gives
// the file with the keys that it set. The error is that of the context.
func (l *loader) initScript(root *node) (*node, error) {
	n := root.get("init-script")
	if n == nil {
		return root, nil
	}
	l.partial = true
	if n.kind == broken {
		return root, nil
	}
	v := value{node: n, key: "init-script"}
	argv, script, ok := l.initCommand(v)
	if !ok || !l.RunInit {
		return root, nil
	}
	out, err := l.runInit(v, argv, script, encode(root))
	switch {
	case l.Context.Err() != nil:
		return nil, fmt.Errorf("run init-script of %s: %w", n.src.name, context.Cause(l.Context))
	case err != nil:
		l.problem(v.place, v.key, "%s", err)
		return root, nil
	}
	src := newSource(InitOutput, orderInit, out)
	said := l.parse(src, out)
	if said == nil {
		return root, nil
	}
	l.partial = false
	return overlay(root, said), nil
}

// initKey is the init-script's own row in the table of keys: what it says was
// obeyed before the table is read.
func (l *loader) initKey(v value, _ *Config) {
	if l.describes(func() shape { return commandShape() }) {
		return
	}
	if v.src.order == orderInit {
		l.problem(v.place, v.key, "an init-script cannot set another one")
	}
}

// overlay gives the fields of under with those of over set or replaced; null
// takes one away.
func overlay(under, over *node) *node {
	canonical := func(key string) string {
		if key == "aliases" {
			return "alias"
		}
		return key
	}
	replaced := map[string]bool{}
	for _, f := range over.fields {
		replaced[canonical(f.key.text)] = true
	}
	out := *under
	out.fields = nil
	for _, f := range under.fields {
		if key := canonical(f.key.text); !replaced[key] || key == "init-script" {
			out.fields = append(out.fields, f)
		}
	}
	out.fields = append(out.fields, over.fields...)
	return &out
}

// initCommand reads what to run: a command, or an inline script together with
// the command of its first line.
func (l *loader) initCommand(v value) (argv Command, script string, ok bool) {
	if v.kind == scalar {
		if row, line := speaksRuby(v.text); line != "" {
			l.problem(v.at(rowStart(v.text, row)), v.key, "Ruby is not run: %s", replacement(line, v.text))
			return nil, "", false
		}
		if strings.HasPrefix(v.text, "#!") {
			argv, err := l.interpreter(v)
			if err != nil {
				l.problem(v.at(0), v.key, "%s", err)
			}
			return argv, v.text, err == nil
		}
		if strings.Contains(strings.TrimSpace(v.text), "\n") {
			l.problem(v.at(0), v.key, "several lines that do not begin with #!: %s", replacement("", v.text))
			return nil, "", false
		}
	}
	argv, at, ok := l.argv(v)
	if !ok {
		return nil, "", false
	}
	file, err := l.programs(at, v.key).Find(argv[0])
	if strings.Contains(argv[0], "/") {
		if text, row, line := l.rubyFile(argv[0]); line != "" {
			l.problem(at, v.key, "%s:%d: Ruby of the original is not run: %s", argv[0], row+1, replacement(line, text))
			return nil, "", false
		}
	}
	if err != nil {
		if strings.HasSuffix(argv[0], ".rb") {
			err = fmt.Errorf("%w; if this is Ruby of the original: %s", err, replacement("", ""))
		}
		l.problem(at, v.key, "%s", err)
		return nil, "", false
	}
	argv[0] = file
	l.noShell(v, argv)
	l.cloudKeys(v, argv)
	return argv, "", true
}

// interpreter reads the first line of a script as the kernel does: a program
// and at most one argument. The script is run through it, not by itself, since
// the folder for temporary files is often mounted noexec.
func (l *loader) interpreter(script value) (Command, error) {
	line, _, _ := strings.Cut(strings.TrimPrefix(script.text, "#!"), "\n")
	file, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
	if !filepath.IsAbs(file) {
		return nil, fmt.Errorf("%s after #!: expected the absolute path of an interpreter", quote(file))
	}
	if err := l.programs(script.at(0), script.key).Check(file); err != nil {
		return nil, err
	}
	argv := Command{file}
	if arg = strings.TrimSpace(arg); arg != "" {
		argv = append(argv, arg)
	}
	return argv, nil
}

// speaksRuby finds the first line that uses the original's @options, "" if
// none does. Rows count from 0.
func speaksRuby(text string) (row int, line string) {
	for row, line := range strings.Split(text, "\n") {
		if strings.Contains(line, "@options") && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			return row, line
		}
	}
	return 0, ""
}

// rubyFile looks for the original's Ruby in a file, whose reading may fail: the
// caller judges whether it can be run.
func (l *loader) rubyFile(name string) (text string, row int, line string) {
	data, _, err := l.readFile(name)
	if err != nil || bytes.IndexByte(data, 0) >= 0 {
		return "", 0, ""
	}
	row, line = speaksRuby(string(data))
	return string(data), row, line
}

var (
	rubyAssignment = regexp.MustCompile(`@options\[\s*:?['"]?([a-z_-]+)['"]?\s*\]\s*=\s*(?:'([^'\\]*)'|"([^"#\\]*)")\s*$`)
	rubyCloud      = regexp.MustCompile(`(?i)ec2|Murakumo::Util`)
)

// replacement says what to write instead of a line of Ruby.
func replacement(line, text string) string {
	if m := rubyAssignment.FindStringSubmatch(line); m != nil {
		key, literal := strings.ReplaceAll(m[1], "_", "-"), m[2]+m[3]
		if key == "auth-key" || literal == "" {
			return "write the key " + key + " in the file"
		}
		return fmt.Sprintf("write `%s: %s` in the file", key, literal)
	}
	if rubyCloud.MatchString(text) {
		return "write `init-script: murakumo-ec2 init --region R`"
	}
	return "write an executable, or a script that begins with #!, which prints the keys to set as YAML"
}

// rowStart gives the offset of a row's first character that is no blank.
func rowStart(text string, row int) int {
	offset := 0
	for range row {
		offset += strings.IndexByte(text[offset:], '\n') + 1
	}
	return offset + len(text[offset:]) - len(strings.TrimLeft(text[offset:], " \t"))
}

// leftBehind is how long output is still read after the script has ended: a
// process that it left behind can hold the pipe open for ever.
const leftBehind = time.Second

// runInit gives what the script printed.
func (l *loader) runInit(v value, argv Command, script, stdin string) ([]byte, error) {
	if script != "" {
		file, err := privateFile(script)
		if err != nil {
			return nil, fmt.Errorf("write the inline script to a file: %w", err)
		}
		defer os.RemoveAll(filepath.Dir(file))
		argv = append(argv, file)
	}
	ctx, cancel := context.WithTimeoutCause(l.Context, l.initTimeout,
		fmt.Errorf("not finished after %s seconds, killed", inSeconds(l.initTimeout)))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	stdout := &head{most: MaxSize, over: func() { stop(fmt.Errorf("printed more than %d octets, killed", MaxSize)) }}
	stderr := &tail{most: 2048}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PATH="+program.Path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = leftBehind

	err := cmd.Run()
	if err != nil && ctx.Err() != nil || stdout.full {
		err = context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		l.warning(v.place, v.key, "left a process behind that holds its output open: redirect the output of what is to stay")
		err = nil
	}
	if err != nil {
		if said := shorten(string(stderr.data), stderr.most); said != "" {
			return nil, fmt.Errorf("%w: %s", err, said)
		}
		return nil, err
	}
	return stdout.data, nil
}

// privateFile writes a script where only we can change it; the caller removes
// the folder around it.
func privateFile(script string) (string, error) {
	dir, err := os.MkdirTemp("", "murakumo-init-") // mode 0700
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "init-script")
	if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	return file, nil
}

// head keeps the first octets written to it and calls over when there are more.
type head struct {
	data []byte
	most int
	full bool
	over func()
}

func (h *head) Write(p []byte) (int, error) {
	if room := h.most - len(h.data); len(p) > room {
		h.data = append(h.data, p[:room]...)
		h.full = true
		h.over()
		return len(p), nil
	}
	h.data = append(h.data, p...)
	return len(p), nil
}

// tail keeps the last octets written to it.
type tail struct {
	data []byte
	most int
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p[max(0, len(p)-t.most):]...)
	if extra := len(t.data) - t.most; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
	return len(p), nil
}
