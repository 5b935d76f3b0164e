# `make` builds bin/turnwarden; `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

# The version has one home, the git tag. Everything below ends in --version, in
# turnwarden_build_info and in the packages, and depends on the commit alone, so
# that two builds of it are the same bytes.
VERSION  ?= $(or $(patsubst v%,%,$(shell git describe --tags --match 'v*' --dirty 2>/dev/null)),0.1.0-dev)
REVISION := $(or $(shell git rev-parse --verify --quiet HEAD 2>/dev/null),unknown)
BRANCH   := $(or $(shell git symbolic-ref --short --quiet HEAD 2>/dev/null),unknown)
DATE     := $(or $(shell git log -1 --format=%cI 2>/dev/null),unknown)
INFO     := github.com/prometheus/common/version
BUILD     = CGO_ENABLED=0 GOFLAGS= GOAMD64=v1 GOARM64=v8.0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
LDFLAGS  := -s -w -X $(INFO).Version=$(VERSION) -X $(INFO).Revision=$(REVISION) -X $(INFO).Branch=$(BRANCH) -X $(INFO).BuildDate=$(DATE)

# Linters find different things in different versions, so this one is pinned. It
# is no tool of go.mod because its dependencies would come along there.
GOLANGCI_VERSION := v2.15.0
GOLANGCI := bin/golangci-lint-$(GOLANGCI_VERSION)

# Likewise; 2.46 and later do not resolve from every proxy.
NFPM_VERSION := v2.45.2
NFPM := bin/nfpm-$(NFPM_VERSION)

ARCH     ?= $(shell go env GOARCH)
BIN      ?= bin
DIST     ?= dist

# Pinned for the same reason. CYCLONEDX writes the bills of materials of a release.
CYCLONEDX   := bin/cyclonedx-gomod-v1.7.0
GO_LICENSES := bin/go-licenses-v1.6.0
GOVULNCHECK := bin/govulncheck-v1.9.0

# What may be linked into a binary that is under Apache-2.0 and asks nobody for anything.
LICENSES := Apache-2.0,MIT,BSD-2-Clause,BSD-3-Clause,ISC

RELEASED := amd64 arm64
tarball   = turnwarden-$(VERSION).linux-$(1)
FUZZTIME ?= 30s
COTURN   ?= all
PACKAGES ?= ./...
BENCH    ?= .
SOAK     ?= 30m
WRITES   ?= 1h
KILLS    ?= 200
FLOOD    ?= 30s
ATTACK   ?= 60s
UPGRADES ?= 100
FAULTS   ?= 10
LOADED   ?= 1h
SCALE    ?= 100,1000,5000

.PHONY: build deb rpm deps demo test test-race test-times test-packages alerts lint bench attack faults simulate scale soak proofs upgrades fuzz generate screenshots help

build: ## build bin/turnwarden, one static binary
	$(BUILD) -o $(BIN)/turnwarden ./cmd/turnwarden

deb rpm: build $(NFPM) ## build a package into dist/; ARCH=arm64 for another machine
	@if [[ $(ARCH) == $$(go env GOHOSTARCH) ]]; then cp $(BIN)/turnwarden $(BIN)/turnwarden-$(ARCH); \
	else GOARCH=$(ARCH) $(BUILD) -o $(BIN)/turnwarden-$(ARCH) ./cmd/turnwarden; fi
	deploy/package/build.sh $@ $(NFPM) '$(BIN)' '$(VERSION)' '$(DATE)' $(ARCH) '$(DIST)'

$(NFPM):
	@echo "building nfpm $(NFPM_VERSION) into bin/ (once; about a minute)"
	GOBIN=$(CURDIR)/bin go install github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION)
	@mv bin/nfpm $@

.PHONY: release tarball sbom reproduce licenses vulnerabilities
release: $(CYCLONEDX) $(NFPM) ## write tarballs, packages and SBOMs for linux/amd64 and arm64 and their checksums into dist/; the same commit gives the same bytes
	rm -f $(DIST)/turnwarden[-_]*
	$(foreach arch,$(RELEASED),$(MAKE) --no-print-directory tarball sbom deb rpm ARCH=$(arch);)
	cd $(DIST) && sha256sum turnwarden[-_]* > sha256sums.txt
	@cat $(DIST)/sha256sums.txt

tarball:
	GOOS=linux GOARCH=$(ARCH) $(BUILD) -o $(BIN)/turnwarden-$(ARCH) ./cmd/turnwarden
	deploy/release.sh $(BIN)/turnwarden-$(ARCH) $(call tarball,$(ARCH)) '$(DATE)' $(DIST)

# Without the time and the hashes of the tool that made it, which differ where all else is the same.
sbom:
	$(CYCLONEDX) bin -json -std -noserial -version '$(VERSION)' $(BIN)/turnwarden-$(ARCH) | \
	sed -e 's/"timestamp": ".*"/"timestamp": "$(DATE)"/' -e '/"tools": \[/,/"component": {/{/"hashes": \[/,/\],/d}' > $(DIST)/$(call tarball,$(ARCH)).cdx.json

reproduce: $(CYCLONEDX) $(NFPM) ## build the release twice from nothing, in two directories, and compare every byte (some minutes)
	TURNWARDEN_REPRODUCE=1 go test -count=1 -run '^TestReleaseIsReproducible$$' -v -timeout 30m ./cmd/turnwarden/e2e

licenses: $(GO_LICENSES) ## check that all that is linked in has a licence that this project can pass on
	$(GO_LICENSES) check ./cmd/turnwarden --allowed_licenses=$(LICENSES)

vulnerabilities: $(GOVULNCHECK) ## ask vuln.go.dev for known vulnerabilities in what is linked in (needs the network)
	$(GOVULNCHECK) ./...

deps: ## install what the tests run against (only what is missing)
	@deploy/deps.sh

demo: build ## run a whole node on loopback and show it; DEMO_SECONDS=20 ends by itself
	@deploy/deps.sh demo
	bash deploy/demo.sh

# Most of the time tests wait, for a session to expire or a credential to be rotated: more of
# them than there are processors may do so at once.
TEST = TURNWARDEN_REQUIRE_REAL=1 go test -parallel 4

test: deps $(NFPM) ## run the tests on the real parts (minutes)
	$(TEST) -timeout 30m ./...

test-race: deps $(NFPM) ## run the tests with the race detector; PACKAGES chooses
	CGO_ENABLED=1 $(TEST) -race -timeout 90m $(PACKAGES)

test-times: deps ## write docs/tests.md: each test by itself, its time and processor time (an hour, root)
	TURNWARDEN_REQUIRE_REAL=1 deploy/test-times.sh > docs/tests.md.new
	mv docs/tests.md.new docs/tests.md

alerts: deps ## raise every alert that the rules know, with a fleet of 20 nodes
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_ALERTS=1 go test -count=1 -run '^TestEveryAlert$$' -v -timeout 1h ./cmd/turnwarden/e2e

test-packages: deps $(NFPM) ## install the packages in a Debian of its own with systemd, and run under pm2 (minutes)
	@deploy/deps.sh packages
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_PACKAGES=1 go test -count=1 -run '^(TestInstalledPackage|TestRPM|TestPM2)$$' -v -timeout 1h ./cmd/turnwarden/e2e

test-coturn: deps ## a node's whole life on the coturns of Debian 11, 12, 13 and sid (20 minutes, a network); COTURN="sid" chooses, COTURN_REPORT=docs/coturn.md writes what works
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_COTURN="$(COTURN)" TURNWARDEN_COTURN_REPORT=$(abspath $(COTURN_REPORT)) \
		go test -count=1 -p 1 -run '^(TestCoturnReleases|TestFetchCoturn|TestOptionKinds)$$' -v -timeout 2h ./service/realtest ./service/coturn ./cmd/turnwarden/e2e

lint: $(GOLANGCI) ## check the house style (.golangci.yml)
	$(GOLANGCI) run

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION) into bin/ (once; some minutes)"
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv bin/golangci-lint $@

$(GO_LICENSES):
	@echo "building $@ (once; about a minute)"
	GOBIN=$(CURDIR)/bin go install github.com/google/go-licenses@v1.6.0
	@mv bin/go-licenses $@

$(GOVULNCHECK):
	@echo "building $@ (once; about a minute)"
	GOBIN=$(CURDIR)/bin go install golang.org/x/vuln/cmd/govulncheck@v1.9.0
	@mv bin/govulncheck $@

# In a module of its own: go install asks whether the newest version is deprecated, which
# not every proxy can answer.
$(CYCLONEDX):
	@echo "building $@ (once; about a minute)"
	@mkdir -p bin
	module=$$(mktemp -d); trap 'rm -r "$$module"' EXIT; cd "$$module"; go mod init sbom 2>/dev/null; \
	printf 'package main\nimport _ "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod"\n' > sbom.go; \
	go mod edit -require=github.com/CycloneDX/cyclonedx-gomod@v1.7.0; \
	GOFLAGS=-mod=mod go build -o $(CURDIR)/$@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

bench: deps ## run the benchmarks; BENCH=regexp chooses
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./service/... ./transport/... ./metrics
	go test -run '^$$' -bench '$(BENCH)' -benchtime 1x ./cmd/turnwarden/e2e

# The tests whose bounds have no slack then.
BOUNDS = HungWrite|PacketLoss|LongPause|Expiry|Wipe|StopWhile|TestRegistrar|FlushWhileAway|ChildDies|TurnwardenKilled|HangIsUnlisted|ChildAsAnother|ParkedAttacker|GatewayRevocation|GatewayPartition|TestFleet$$

faults: deps ## cause every fault FAULTS=10 times, write docs/faults.md; then LOADED=1h on a starved machine
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_FAULTS=$(FAULTS) go test -count=1 -run '^TestFaultTable$$' -v -timeout 2h ./cmd/turnwarden/e2e
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_ALONE=1 go test -count=1 -p 1 -parallel 1 -run '$(BOUNDS)' ./service/directory ./service/registry ./service/supervisor ./cmd/turnwarden/e2e
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_LOADED=$(LOADED) go test -count=1 -run '^TestLoadedMachine$$' -v -timeout 24h ./cmd/turnwarden/e2e

attack: deps ## what strangers can do over the network to a node and a gateway, all at once, for ATTACK=60s
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_ATTACK=$(ATTACK) go test -count=1 -run '^TestAttack$$' -v -timeout 1h ./cmd/turnwarden/e2e

simulate: ## compare the rules that pick a server; rewrites docs/selection.md and its chart
	TURNWARDEN_SIMULATE=1 go test -run '^TestSimulateAll$$' -v -timeout 1h ./service/fleet

scale: deps ## what SCALE=100,1000,5000 nodes cost a ZooKeeper and a gateway: docs/scale.md
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_SCALE=$(SCALE) go test -count=1 -run '^TestScale$$' -v -timeout 1h ./cmd/turnwarden/e2e

soak: deps ## everything at once for SOAK=30m, a fault every few seconds; SOAK_REPORT=docs/soak.md writes what was seen, SOAK_SEED=n repeats a run
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_SOAK=$(SOAK) TURNWARDEN_SOAK_SEED=$(SOAK_SEED) TURNWARDEN_SOAK_REPORT=$(abspath $(SOAK_REPORT)) \
		go test -count=1 -run '^TestSoak$$' -v -timeout 24h ./cmd/turnwarden/e2e

proofs: deps ## one by one: turnwarden killed KILLS=200 times while it rotates, 10,000 connections and a flood for FLOOD=30s, a record written for WRITES=1h
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_KILLS=$(KILLS) go test -race -run '^TestKilledWhileRotating$$' -v -timeout 24h ./cmd/turnwarden/e2e
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_FLOOD=$(FLOOD) go test -count=1 -run '^TestFlood$$' -v -timeout 1h ./cmd/turnwarden/e2e
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_SOAK=$(WRITES) go test -run '^TestSoak$$' -v -timeout 24h ./service/registry

upgrades: deps ## upgrade a busy node in place UPGRADES=100 times, to and fro between two versions
	CGO_ENABLED=0 go build -trimpath -ldflags '-X $(INFO).Version=1.0.0' -o bin/turnwarden-old ./cmd/turnwarden
	CGO_ENABLED=0 go build -trimpath -ldflags '-X $(INFO).Version=1.0.1' -o bin/turnwarden-new ./cmd/turnwarden
	TURNWARDEN_REQUIRE_REAL=1 TURNWARDEN_UPGRADES=$(UPGRADES) TURNWARDEN_PROGRAMS='$(CURDIR)/bin/turnwarden-old $(CURDIR)/bin/turnwarden-new' \
		go test -count=1 -run '^TestUpgrades$$' -v -timeout 2h ./cmd/turnwarden/e2e
	rm bin/turnwarden-old bin/turnwarden-new

fuzz: ## fuzz every FuzzXxx for FUZZTIME=30s, and go on after one that fails
	deploy/fuzz.sh $(FUZZTIME)

generate: ## rewrite the generated files (docs, dashboards)
	go generate ./...

screenshots: deps ## take the pictures of docs/ again
	go test -count=1 -run 'PageInChromium$$' ./transport/web -screenshots=$(CURDIR)/docs

.PHONY: test-readme
test-readme: ## run the commands of README.md in a Debian with nothing but Go and git (root, debootstrap, a network); FULL=1 runs make test there, too
	deploy/test-readme.sh

help: ## list the targets
	@sed -n 's/^\([a-z -]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18
