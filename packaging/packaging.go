// Package packaging has the files that go beside the programs, for those of them
// that the daemon hands out itself.
package packaging

import _ "embed"

// Schema is the JSON Schema of murakumo.yml. A test in config writes it, from what
// reads the file and from the documentation.
//
//go:embed murakumo.schema.json
var Schema string

// Unit is the systemd unit; its ExecStart begins with [Program].
//
//go:embed murakumo.service
var Unit string

// Program is where the unit has the daemon.
const Program = "/usr/bin/murakumo"
