# The verbs of this repository. Go, make and a C compiler (for the race detector) are all they need.
# With node 20 and npm, tests also run DuckDB, which they fetch once; without, these are skipped.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := check

FUZZTIME ?= 20s
SEEDS ?= 5000
LAWS ?= 20
EVENTS ?= 1000000
TIMES ?= 20
BENCHTIME ?= 1s
SCREENS ?= bin/screens
PICTURE ?= $(SCREENS)/tui.svg
AZURE ?= ../shared/data/azure-llm

.PHONY: check test build demo screens fuzz laws sim kill bench golden azure-llm

# Everything that a change must pass: form, vet, and all tests under the race detector.
check:
	@begin=$$SECONDS; \
	unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted: run gofmt -w"; echo "$$unformatted"; exit 1; fi; \
	go vet ./...; \
	CGO_ENABLED=1 go test -race -timeout 12m ./...; \
	echo "check passed in $$((SECONDS - begin)) s"

# The same tests without the race detector.
test:
	@go test -timeout 5m ./...

# The binary, in bin.
build:
	@go build -trimpath -o bin/billctl ./cmd/billctl

# A tour that ends by itself.
demo: build
	@bin/billctl demo

# The terminal screens of the real binary on the live demo, driven by keys in tmux. What they showed
# stays in SCREENS; one of them is drawn as PICTURE: make screens PICTURE=docs/tui.svg.
screens: build
	@fixtures/tui/drive.sh bin/billctl "$(SCREENS)"
	@mkdir -p "$$(dirname "$(PICTURE)")"; \
	go test ./tui -count=1 -run 'TestPicture$$' -picture.from "$(abspath $(SCREENS))/03-account.ansi" \
		-picture.to "$(abspath $(PICTURE))"

# Every fuzz target for FUZZTIME.
fuzz:
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

# The three laws, the oracle, and the months of all zones, with the number of their cases: LAWS times
# as many random logs of each law, and of archives half as many, as the tests of a change take.
laws:
	@go test -v -run 'TestSameJournalSameBytes|TestEveryKillPoint|TestUsageInTime|TestUsageLate|TestPreviewIsFinal|TestOpenPeriodsAgree|TestConservation|TestWhatIfRandom|TestExplainAll|TestTrimNeedsDurableNames' \
		-timeout 2h ./internal/live -law.times $(LAWS)
	@go test -v -timeout 2h ./fixtures -cases $$(( 400 * $(LAWS) )) \
		-run 'TestEngineAgrees|TestRandomCasesCover|TestNoRowIsLost|TestBilledIsCorrectedUsage|TestCorrectionStories'
	@go test -v -run 'TestRestoreAndShards|TestArrivalOrder|TestApplyInSteps' ./engine
	@go test -run 'TestRat|TestRound' ./engine/decimal -rounds $$(( 15000 * $(LAWS) ))
	@go test -v -run 'TestMonthsOf|TestDaysOfAwkwardZones' ./formats
	@go test -run 'TestArchive|TestParquetRandom|TestEventsOut$$|TestReportReadBack' -timeout 2h ./formats \
		-archive.times $$(( ($(LAWS) + 1) / 2 )) -random.times $(LAWS)

# SEEDS simulations of the whole process and its archive, of followed files, and of restarts and
# shards. A failure prints its seed and the command that repeats it.
sim:
	@go test -run 'TestSim$$' -timeout 2h ./internal/live -v -sim.seeds $(SEEDS)
	@go test -run TestTailModel -timeout 2h ./internal/live -tail.runs $(SEEDS)
	@go test -run TestRestoreAndShards -timeout 2h ./engine -seeds $(SEEDS)

# EVENTS rows billed by the real binary, undisturbed, and killed TIMES times by SIGKILL.
kill:
	@BILLCTL_KILL_EVENTS=$(EVENTS) BILLCTL_KILL_TIMES=$(TIMES) \
		go test -run TestKill -v -timeout 2h ./cmd/billctl

# Benchmarks, with what they allocate.
bench:
	@go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

# Writes the golden files anew, and the golden journal of the ruleset that is not released yet; those
# of released ones are frozen. Read the difference before you commit it.
golden:
	@echo ./internal/live; go test ./internal/live -run TestGoldenWrite -golden
	@for package in $$(grep -l --include='*_test.go' -r '"update"' . | xargs -n1 dirname | sort -u); do \
		echo "$$package"; go test $$package -update; \
	done

# Two real logs of LLM requests, billed into the new state directory STATE. The configuration is
# copied to STATE.config, because the logs are looked for beside it.
azure-llm: build
	@if [ -z "$(STATE)" ]; then echo "name a new state directory: make azure-llm STATE=DIR"; exit 2; fi; \
	if [ ! -d "$(AZURE)" ]; then echo "no logs in $(AZURE): see fixtures/azure-llm/README.md"; exit 1; fi; \
	mkdir -p "$$(dirname "$(STATE)")"; \
	state=$$(cd "$$(dirname "$(STATE)")" && pwd)/$$(basename "$(STATE)"); \
	mkdir -p "$$state.config"; \
	cp -R fixtures/azure-llm/. "$$state.config/"; \
	ln -sfn "$$(cd "$(AZURE)" && pwd)" "$$state.config/data"; \
	sed "s|dir: invoices|dir: \"$$state/invoices\"|" fixtures/azure-llm/billctl.yaml \
		> "$$state.config/billctl.yaml"; \
	billctl="bin/billctl --config $$state.config/billctl.yaml --state $$state"; \
	set -x; \
	$$billctl catalog apply; \
	$$billctl run --until-eof; \
	$$billctl query account conv; \
	$$billctl query account code; \
	$$billctl run --until-eof --close-at 2023-12-01; \
	$$billctl query invoices
