# make        builds bin/murakumo, bin/mrkmctl and bin/murakumo-ec2
# make run    a live three-node cluster on 127.0.0.x: no root, no configuration
# make test   everything that CI runs
#
# make and make run need Go, git, make and gcc. make test needs more (see deps).

GO      ?= go
BIN     ?= bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# -buildvcs=false: the version comes from here, and the go command would refuse
# to build a clone that belongs to another user.
GOBUILD = $(GO) build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)'

# How long each fuzz target runs under make fuzz.
FUZZTIME ?= 10s

.PHONY: build
build:
	$(GOBUILD) -o $(BIN)/ ./cmd/murakumo ./cmd/mrkmctl ./cmd/murakumo-ec2

# The original's command names, as links to the one program that they are now.
LINKS = murakumo-show-ip-address murakumo-show-ec2-tags murakumo-show-ec2-instances \
	murakumo-show-ec2-interfaces murakumo-show-ec2-private-ip-addresses \
	murakumo-attach-ec2-attach-interface

# make install DESTDIR=/tmp/package PREFIX=/usr
PREFIX ?= /usr/local
.PHONY: install
install: build
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BIN)/murakumo $(BIN)/mrkmctl $(BIN)/murakumo-ec2 $(DESTDIR)$(PREFIX)/bin/
	for name in $(LINKS); do ln -sf murakumo-ec2 $(DESTDIR)$(PREFIX)/bin/$$name || exit 1; done
	ln -sf murakumo $(DESTDIR)$(PREFIX)/bin/murakumo-install-init-script
	install -d $(DESTDIR)$(PREFIX)/share/murakumo
	install -m 644 packaging/murakumo.yml packaging/murakumo.schema.json packaging/hardened.conf $(DESTDIR)$(PREFIX)/share/murakumo/

.PHONY: run
run: build
	@$(BIN)/murakumo dev

# What the end-to-end tests need beside Go: installed when root, named otherwise.
.PHONY: deps
deps:
	@e2e/deps

# Programs that tests need and that are Go modules of others, at one version
# each; built once, outside of our own module.
TOOLS = bin/tools
MOCK  = $(TOOLS)/ec2-metadata-mock-v1.13.0
.PHONY: tools
tools: $(MOCK)
$(MOCK):
	@mkdir -p $(TOOLS)
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	  GOBIN=$$tmp $(GO) install github.com/aws/amazon-ec2-metadata-mock/cmd/ec2-metadata-mock@v1.13.0 && mv $$tmp/ec2-metadata-mock $@

# The end-to-end tests run after the others and not beside them: they measure
# real time, and two cores are soon busy. -count=1 because what they depend on,
# the machine, is nothing that the test cache knows.
.PHONY: test
test: deps check unit e2e

.PHONY: check
check:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt -w is wanted for:"; echo "$$unformatted"; exit 1; } >&2
	$(GO) vet ./...
	GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...

# The stories of internal/sim are played twice: with a small fleet under the race
# detector, and with fifty nodes without it (size_race_test.go). Likewise the
# connections of internal/proxy, of which there are many without it.
#
# What uses testing/synctest runs on one CPU under the race detector, which
# otherwise crashes now and then (SIGSEGV or "CHECK failed" in ThreadSanitizer):
# in a bubble, timers that fire on two threads at once share one race context,
# https://go.dev/issue/78156. Races are found by what happens before what, so
# one CPU finds them, too.
.PHONY: unit
unit: tools
	@set -e; \
	all=$$($(GO) list ./... | grep -v '/e2e$$'); \
	bubbles=$$($(GO) list -f '{{$$p := .ImportPath}}{{range .TestImports}}{{if eq . "testing/synctest"}}{{$$p}} {{end}}{{end}}{{range .XTestImports}}{{if eq . "testing/synctest"}}{{$$p}} {{end}}{{end}}' ./... | tr -s ' ' '\n' | sort -u); \
	rest=$$(echo "$$all" | grep -vxF "$$bubbles"); \
	echo "$(GO) test -race: real time, then virtual time (-cpu 1)"; \
	$(GO) test -race -timeout 20m $$rest; \
	$(GO) test -race -cpu 1 -timeout 20m $$bubbles
	$(GO) test -timeout 20m ./internal/sim ./internal/proxy

.PHONY: e2e
e2e:
	$(GO) test -race -count=1 -v -timeout 20m ./e2e

# The failover scenario with the intervals of the sample file as they stand.
.PHONY: e2e-full
e2e-full:
	$(GO) test -race -count=1 -v -timeout 40m -run TestFailover ./e2e -full

.PHONY: fuzz
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

# The code broken on purpose, one place at a time; each has a test that must
# fail. The list is in mutants_test.go.
.PHONY: mutants
mutants:
	$(GO) test -count=1 -timeout 60m -run TestMutants -v . -mutants

.PHONY: bench
bench:
	@all=$$($(GO) list ./...) && \
	  $(GO) test -run '^$$' -bench . -benchmem $$(echo "$$all" | grep -v '/e2e$$')

# The answer path of the DNS server alone: from packet to packet, from socket to socket,
# from the cache; a change in a table of 100,000 names.
.PHONY: bench-dns
bench-dns:
	$(GO) test -run '^$$' -bench '^Benchmark(Quick|Ask|Change|Snapshot)' -benchmem -count 5 ./internal/nameserver

# A DNS server in a process and on a CPU of its own, seen from outside: its CPU time for a
# question of each kind, how late it answers beside ten thousand TCP connections and beside
# silent resolvers, and with a tenth of a CPU. Linux, two CPUs, and root for the last.
.PHONY: bench-dns-apart
bench-dns-apart:
	$(GO) test -run '^$$' -bench '^Benchmark(Served|BesideTCP|LocalUnderFlood|Overload)$$' -benchtime 1x -count 5 -timeout 30m ./internal/nameserver

.PHONY: clean
clean:
	rm -rf $(BIN)
