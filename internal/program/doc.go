// Package program says which programs the daemon may be told to run. It often
// is root, and runs whatever stands in a hook's file by the time of a failover:
// whoever can put something else there has its rights. So a program is refused
// when somebody besides root and the daemon's own user could have changed it, or
// anything on the way to it. The rule is asked twice, when the configuration is
// read and just before the program is run.
//
//	path, err := program.Find("attach_if") // /usr/local/sbin/attach_if
//	…
//	err = program.Check(path)
package program
