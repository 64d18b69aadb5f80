# Targets for users and for CI; `make help` lists them. Recipes that need root say so when it is missing.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# sudo often resets PATH, so the usual place of the Go distribution is tried as well.
GO      := $(shell command -v go 2>/dev/null || echo /usr/local/go/bin/go)
GOFMT    = $(shell $(GO) env GOROOT)/bin/gofmt
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)

# Tests that need root, Open vSwitch or much time carry the build tag `integration`.
INTEGRATION := -tags integration -count=1

# Run by `make lint`, not a dependency of the module.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0

.PHONY: help build check static unit test test-full coverage-table demo bench soak gen docker-plugin deps lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the programs of cmd/ into bin/
	@scripts/deps.sh go
	@mkdir -p bin
	$(GO) build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

check: static unit ## formatting, vet, unit, golden and property tests: no root, under a minute

static:
	@scripts/deps.sh go
	@bad=$$($(GOFMT) -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "not formatted (make lint shows how):"; echo "$$bad"; exit 1; fi
	$(GO) vet -tags 'integration soak' ./...

unit:
	$(GO) test ./...

# Here random tests play the same each time, so that a failure is about what was changed; RAPID_SEED=0 make test plays others, and so
# does every `go test`.
test: deps build static ## everything: formatting, vet, all tests, with real switches, namespaces and daemons (root)
	@rc=0; \
	export RAPID_SEED="$${RAPID_SEED:-1}"; \
	echo "$(GO) test $(INTEGRATION) (all packages but e2e)"; \
	$(GO) test $(INTEGRATION) -timeout 10m $$($(GO) list ./... | grep -v /e2e) || rc=1; \
	echo "$(GO) test $(INTEGRATION) -p 1 -parallel 4 ./e2e/..."; \
	TUPLENET_BIN='$(CURDIR)/bin' $(GO) test $(INTEGRATION) -p 1 -parallel 4 -timeout 30m ./e2e/... || rc=1; \
	exit $$rc

test-full: test ## test, and then the tests of e2e in every cell of {Geneve, VXLAN} x {IPv4, IPv6 underlay}: half an hour more (root; CELLS, RUN narrow down)
	GO='$(GO)' TUPLENET_BIN='$(CURDIR)/bin' scripts/matrix.sh $(CELLS)

demo: deps build ## the tutorial in a lab of two hosts and two edges: pings, TCP, HTTP, the loss of an edge (root; KEEP=1 leaves it up)
	$(GO) build -buildvcs=false -trimpath -o bin/demo ./e2e/demo
	bin/demo -bin '$(CURDIR)/bin'

coverage-table: ## which tests prove which behaviour; fails if a claimed one (docs/design/coverage.txt) has none
	@$(GO) test -count=1 -v -run '^TestEveryClaimedBehaviourHasATest$$' .

# Of one scenario: `make bench SCENARIO=Scale SIZES=20000`. Results are in tmp/bench, PROFILE=DIR takes profiles of the daemon and of compiling.
SCENARIO ?= .
SIZES    ?=
PROFILE  ?=

bench: build ## scenarios beside OVN in labs, and a fleet (root; SCENARIO=Scale|PortAdd|Rules|DataPlane|Failover|Fleet|Loading|Compile|Restart|Cycles|CNIAdd SIZES=200,20000 PROFILE=DIR)
	@scripts/deps.sh bench
	@mkdir -p tmp/bench $(PROFILE)
	TUPLENET_BIN='$(CURDIR)/bin' TUPLENET_BENCH_SIZES='$(SIZES)' TUPLENET_BENCH_PROFILE='$(abspath $(PROFILE))' \
		$(GO) test -tags bench -count=1 -timeout 120m -run 'TestBench$(SCENARIO)' -v ./bench
	@cat tmp/bench/table.md

bench-go: ## the benchmarks of all packages, without labs (PROFILE=DIR: profiles of compiling everything)
	$(GO) test -run '^$$' -bench . -benchmem ./...
	if [ -n '$(PROFILE)' ]; then $(GO) test -run '^$$' -bench Full -cpuprofile '$(PROFILE)/compile-cpu.prof' -memprofile '$(PROFILE)/compile-heap.prof' -o '$(PROFILE)/bench.test' ./bench; fi

soak: deps build ## random edits and faults under pings, for SOAK=20m, from SOAK_SEED if given (root)
	SOAK='$(or $(SOAK),20m)' TUPLENET_BIN='$(CURDIR)/bin' $(GO) test -tags 'integration soak' -count=1 -timeout 0 -run '^TestSoak$$' -v ./e2e

docker-plugin: ## make bin/docker-plugin, for `docker plugin create`: the way into a swarm
	VERSION='$(VERSION)' scripts/docker-plugin.sh bin/docker-plugin

gen: ## write the generated reference pages of docs/ anew
	$(GO) generate ./...

deps: ## install the packages that are missing; starts no service (root if anything is missing)
	@scripts/deps.sh

lint: ## gofmt -s, vet, staticcheck, shell syntax, stray blanks (fetches staticcheck)
	@bad=$$($(GOFMT) -s -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then $(GOFMT) -s -d $$bad; exit 1; fi
	$(GO) vet -tags 'integration soak' ./...
	$(GO) run $(STATICCHECK) -tags 'integration soak' ./...
	@for f in scripts/*.sh .ci/run; do sh -n $$f || exit 1; done
	@git diff --check

clean: ## remove what was built
	rm -rf bin
