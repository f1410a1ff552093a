# Everything there is to do with this tree: `make help`.
SHELL := /bin/bash
.DEFAULT_GOAL := help

GO            ?= go
ARGS          ?=
FUZZTIME      ?= 30s
# Cycles of kill -9, on SQLite and against a PostgreSQL node.
CRASH_SQLITE  ?= 500
CRASH_POSTGRES ?= 100
# Names of tests that the race detector sees, and with them the packages that are built for it.
RACES         := TwoNodes|Concurrent|Parallel|Race
# Where the harnesses live that are no package's own test.
BENCHFLAGS    ?=
CRASH         := ./test/crash
BENCH         := ./test/bench

# Pinned, and fetched by the Go toolchain: nothing to install.
GOLANGCI_LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

HELM          := $(GO) run helm.sh/helm/v3/cmd/helm@v3.21.4

# The program has no C in it. The race detector needs a C compiler, and asks for it where it is used.
export CGO_ENABLED ?= 0

# need-x fails with one line that says what is missing and how to get it.
define need
	@command -v $(1) >/dev/null 2>&1 || { echo "$(1) is missing: $(2)" >&2; exit 1; }
endef
GET_GO       := Go 1.26 or newer, from go.dev/dl, or: brew install go
GET_NODE     := apt-get install nodejs npm (Node 20 or newer), or: brew install node
GET_POSTGRES := apt-get install postgresql, or: brew install postgresql@15
GET_CHROMIUM := apt-get install chromium, or: brew install --cask chromium (or set CHROMIUM to its path)
GET_PYTHON   := apt-get install python3-venv, or: brew install python
GET_CC       := apt-get install gcc libc6-dev, or: xcode-select --install

.PHONY: help
help: ## list what there is to do
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make run ARGS=--fresh starts over; make fuzz FUZZTIME=5m fuzzes longer;"
	@echo "  CARDEA_TEST_POSTGRES_URL names a PostgreSQL for all tests, which start their own otherwise."

## --- use

.PHONY: build
build: need-go ## build bin/cardea
	@$(GO) build -trimpath -ldflags '-s -w' -o bin/cardea ./cmd/cardea

.PHONY: run
run: build ## start Cardea with the demo; ARGS=--fresh starts over
	@exec bin/cardea dev $(ARGS)

## --- test

.PHONY: test
test: vet test-go e2e ## vet, all Go tests on SQLite and PostgreSQL, and the browser

.PHONY: test-go
test-go: need-go need-postgres ## all Go tests, storage on both engines, fuzz targets on their seeds
	$(GO) test ./...

.PHONY: e2e
e2e: build need-chromium e2e/node_modules/.package-lock.json ## the newcomer's way in Chromium, and openid-client
	cd e2e && npm run --silent test

.PHONY: examples
examples: examples-ready examples-full-ready proxies-ready ## every application of examples/, oauth2-proxy and Apache sign in
	cd e2e && npx playwright test -c examples.config.ts

.PHONY: examples-short
examples-short: examples-ready ## the same without what takes long to build: Next.js, Java and the proxies
	cd e2e && npx playwright test -c examples.config.ts --grep-invert @full

EXAMPLE_NODE := $(addsuffix /node_modules/.package-lock.json,examples/spa examples/express)

.PHONY: examples-ready examples-full-ready proxies-ready
examples-ready: build need-chromium e2e/node_modules/.package-lock.json $(EXAMPLE_NODE) examples/python/.venv/.ready
	@cd examples/go && $(GO) build -trimpath -o ../../bin/example-go .

# What is not on this machine is told here, and its test is skipped by name.
examples-full-ready: examples/nextjs/.next/BUILD_ID
	@if command -v mvn >/dev/null && command -v java >/dev/null; then $(MAKE) --no-print-directory examples/java/target/cardea-java.jar; \
		else echo "Java is skipped: apt-get install maven openjdk-17-jdk-headless"; fi

OAUTH2_PROXY := github.com/oauth2-proxy/oauth2-proxy/v7@v7.15.6
proxies-ready:
	@test -x bin/oauth2-proxy || GOBIN=$(CURDIR)/bin $(GO) install $(OAUTH2_PROXY) || echo "oauth2-proxy is skipped: it could not be had"
	@test -e /usr/lib/apache2/modules/mod_auth_openidc.so || echo "mod_auth_openidc is skipped: apt-get install apache2 libapache2-mod-auth-openidc"

examples/%/node_modules/.package-lock.json: examples/%/package.json examples/%/package-lock.json
	$(call need,npm,$(GET_NODE))
	cd examples/$* && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

examples/nextjs/.next/BUILD_ID: examples/nextjs/node_modules/.package-lock.json $(wildcard examples/nextjs/*.js examples/nextjs/app/*.js examples/nextjs/app/*/*.js examples/nextjs/app/api/auth/*/*.js)
	cd examples/nextjs && NEXT_TELEMETRY_DISABLED=1 npx next build >/dev/null

examples/java/target/cardea-java.jar: examples/java/pom.xml $(wildcard examples/java/src/main/java/example/*.java examples/java/src/main/resources/*)
	cd examples/java && mvn -q -B package
	@touch $@

examples/python/.venv/.ready: examples/python/requirements.txt
	$(call need,python3,$(GET_PYTHON))
	python3 -m venv examples/python/.venv && examples/python/.venv/bin/pip install -q -r examples/python/requirements.txt
	@touch $@

.PHONY: screenshots
screenshots: build need-chromium e2e/node_modules/.package-lock.json ## every page at 390 and 1440 px, light and dark, into e2e/screenshots
	rm -rf e2e/screenshots
	cd e2e && npm run --silent test -- --project phone --project desktop
	@find e2e/screenshots -name '*.png' | sort

.PHONY: race
race: need-go need-cc need-postgres ## what runs in parallel, two nodes on one PostgreSQL included, under the race detector
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 15m -run '$(RACES)' $$(grep -rlE --include='*_test.go' '^func Test[A-Za-z0-9_]*($(RACES))' internal sdk cmd | xargs -n1 dirname | sort -u | sed 's,^,./,')

.PHONY: timing
timing: need-go need-postgres ## measure whether answering times tell known from unknown addresses and numbers; fails at AUC over 0.60
	CARDEA_TIMING=1 $(GO) test -count=1 -timeout 40m -v -run '^TestTimingTellsNothing' ./internal/server/

.PHONY: crash
crash: build need-postgres ## kill -9 in a loop: 500 cycles on SQLite, 100 on PostgreSQL
	$(GO) test -count=1 -timeout 120m -v $(CRASH) -args -binary $(CURDIR)/bin/cardea -sqlite $(CRASH_SQLITE) -postgres $(CRASH_POSTGRES)

.PHONY: crash-short
crash-short: ## the same, short enough for every change
	@$(MAKE) --no-print-directory crash CRASH_SQLITE=25 CRASH_POSTGRES=8

.PHONY: drill
drill: build need-postgres ## two nodes behind a proxy: rolling restart to a build with one more migration and back, backup and restore, under load
	@printf '{"Replace":{"%s":"%s"}}' $(CURDIR)/internal/session/migrations/900_drill.sql $(CURDIR)/test/drill/900_drill.sql >bin/drill-overlay.json
	@$(GO) build -trimpath -overlay bin/drill-overlay.json -o bin/cardea-next ./cmd/cardea
	$(GO) test -count=1 -timeout 20m -v ./test/drill -args -binary $(CURDIR)/bin/cardea -next $(CURDIR)/bin/cardea-next

.PHONY: fuzz
fuzz: need-go ## every fuzz target for FUZZTIME
	@set -euo pipefail; grep -rEoh --include='*_test.go' -H '^func Fuzz[A-Za-z0-9_]+' . | sort | while IFS=: read -r file target; do \
		target=$${target#func }; echo "$$(dirname $$file) $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)" </dev/null; \
	done

.PHONY: bench
bench: need-go need-postgres ## measure every path on both engines into docs/benchmarks.md; BENCHFLAGS=-quick only tries
	@$(GO) build -trimpath -o bin/cardea-symbols ./cmd/cardea # profiles have names
	@$(GO) build -o bin/bench $(BENCH)
	bin/bench -binary bin/cardea-symbols -out docs/benchmarks.md $(BENCHFLAGS)

## --- check

.PHONY: check
check: fmt vet docs e2e-types lint test-go race crash-short e2e examples-short generated ## what CI runs

.PHONY: fmt
fmt: need-go ## fail where gofmt would change something
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); test -z "$$out" || { echo "gofmt -w these:"; echo "$$out"; exit 1; } >&2

.PHONY: vet
vet: need-go ## go vet
	$(GO) vet ./...

.PHONY: lint
lint: need-go ## golangci-lint, pinned; .golangci.yml says why each linter
	$(GOLANGCI_LINT) run ./...

.PHONY: helm-lint
helm-lint: need-go ## lint and render the Helm chart with Helm itself, which takes some minutes to build the first time
	$(HELM) lint --strict deploy/helm/cardea
	$(HELM) template cardea deploy/helm/cardea --kube-version 1.30.0 --set ingress.enabled=true --set 'ingress.hosts={id.example.com}' --set 'config.trusted_proxies={10.0.0.0/8}' --set serviceMonitor.enabled=true >/dev/null
	$(HELM) template cardea deploy/helm/cardea --set 'backup.schedule=30 2 * * *,backup.claim=backup,backup.keysClaim=backup-keys' >/dev/null
	$(HELM) template cardea deploy/helm/cardea --set 'backup.claim=backup,backup.keysClaim=backup-keys,restore.from=monday,restore.ledger=tuesday,restore.force=true' >/dev/null

.PHONY: docs
docs: ## links resolve, commands named in the documentation exist, no machine's paths in the tree
	@.ci/docs

.PHONY: e2e-types
e2e-types: need-go e2e/node_modules/.package-lock.json ## the OpenAPI document is right, a client is generated from it, and all TypeScript of the tests has the right types
	OPENAPI_FILE=$(CURDIR)/e2e/client/openapi.json $(GO) test -count=1 -run '^TestDocument$$' ./internal/adminapi
	cd e2e && npm run --silent openapi && npm run --silent typecheck

.PHONY: generate
generate: need-go ## make the generated files anew
	$(GO) generate ./...

# On a clean clone, what is generated is what is committed. Elsewhere there may be work in progress.
.PHONY: generated
generated: generate
	@test -z "$${CI:-}" || { git status --porcelain | grep . && { echo "make generate or the tests changed the files above" >&2; exit 1; }; true; }

.PHONY: clean
clean: ## remove what was built; data under .cardea stays
	rm -rf bin e2e/node_modules e2e/test-results e2e/screenshots examples/*/node_modules examples/*/.next examples/*/target examples/*/.venv
	$(GO) clean -testcache

## --- tools

e2e/node_modules/.package-lock.json: e2e/package.json e2e/package-lock.json e2e/.npmrc
	$(call need,npm,$(GET_NODE))
	cd e2e && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

.PHONY: need-go need-cc need-postgres need-chromium
need-go:
	$(call need,$(GO),$(GET_GO))
need-cc:
	$(call need,cc,$(GET_CC))
need-postgres:
	@test -n "$${CARDEA_TEST_POSTGRES_URL:-}" || command -v initdb >/dev/null 2>&1 || \
		ls -d /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql*/bin/initdb /usr/local/opt/postgresql*/bin/initdb 2>/dev/null | grep -q . || \
		{ echo "PostgreSQL is missing: $(GET_POSTGRES)" >&2; exit 1; }
need-chromium:
	$(call need,npm,$(GET_NODE))
	@test -n "$${CHROMIUM:-}" || ls /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome \
		/Applications/Chromium.app/Contents/MacOS/Chromium "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" 2>/dev/null | grep -q . || \
		{ echo "Chromium is missing: $(GET_CHROMIUM)" >&2; exit 1; }
