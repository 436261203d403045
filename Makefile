# The whole interface: make demo | demo-check | test | lint | bench | clean. Each makes what it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXAMPLE := deploy/envoy/standalone
CODE := gateway_plugin routing ratelimit orchestration protos simulator kube benchmarks deploy tests

.PHONY: demo demo-check test test-failed test-kubernetes attack test-envoy-matrix lint format bench clean lock docs protos envoy-config manifests \
	manifests-check h2spec test-clients test-page mutate chaos fuzz

demo: $(READY)  ## run Valkey, simulated pods, the plugin and Envoy, with a live table
	@$(BIN)/gateway-plugin demo

demo-check: $(READY)  ## start the same, send real requests, say what was seen
	@$(BIN)/gateway-plugin demo --check

test: lint  ## lint, types, layers, all tests
	@$(BIN)/pytest -q -n 2 --dist loadfile

test-failed: $(READY)  ## the few tests that failed last time once more, one after the other; many are no accident
	@$(BIN)/python -m tests.once_more

test-envoy-matrix: $(READY)  ## the tests that run Envoy, with every release that is supported; some minutes
	@$(BIN)/python -m tests.envoy_matrix

mutate: $(READY)  ## what could be changed without any test to notice: make mutate PATHS=routing/pods/books.py
	@$(BIN)/python -m tests.mutation $(PATHS)

test-clients: $(READY)  ## other clients' SDKs through a real chain; NODE=--node for those of Node, which npm fetches
	@$(BIN)/python -m tests.clients $(NODE)

test-kubernetes: $(READY)  ## a real Kubernetes with Envoy Gateway, end to end; needs root, and Go once; FLOWS="install users" for some
	@$(BIN)/python -m tests.real_kubernetes $(FLOWS)

# Playwright and axe are installed only here; the browser is the one that the machine has: CHROMIUM=/path/to/it.
test-page: $(READY)  ## the live page in a real browser, over a demo under load; writes docs/images/live-*.png
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes --no-deps -r tests/page/browser.lock
	@PAGE_TEST=1 $(BIN)/pytest -n 0 --timeout 240 tests/page

chaos: $(READY)  ## kill, freeze and cut off each part of a chain under load, and print what clients saw; some 5 minutes
	@$(BIN)/python -m tests.chaos

FUZZED := $(addprefix tests/unit/,$(addprefix gateway_plugin/,exchange openai grpc endpoints peers pods) protos \
	ratelimit/store routing/test_selector.py routing/strategies/test_combined.py)
fuzz: $(READY)  ## the property tests of what strangers send, for long: FUZZ_EXAMPLES of each, 4,000 if nothing is said
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-4000} $(BIN)/pytest -q -n 2 --hypothesis-profile fuzz --timeout 3000 $(FUZZED)

attack: $(READY)  ## attack real chains in both configurations of Envoy, and print what came through (0 wanted)
	@$(BIN)/python -m tests.attack
	@for flavour in standalone envoy_gateway; do \
		echo "ten clients beside one that does its worst: $$flavour"; \
		$(BIN)/python -m tests.attack.crowding --flavour $$flavour || exit 1; \
	done

lint: $(READY)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

house: $(READY)  ## count rooms, arrows, circles, names that stand twice, and the way of a request
	@$(BIN)/python -m tests.house $(LISTS)

format: $(READY)
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

bench: $(READY)  ## measure everything and write docs/benchmarks.md, in at most 15 minutes
	@$(BIN)/python -m benchmarks

# One version of everything for every Python, or types would be checked against different libraries.
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header \
	--no-emit-index-url

lock: $(READY)  ## write the lock files anew from pyproject.toml
	@$(COMPILE) --extra kubernetes --extra runtime --extra optimizer -o requirements-run.lock pyproject.toml
	@$(COMPILE) --constraint requirements-run.lock --extra kubernetes --extra runtime --extra optimizer --extra local --extra otel \
		--extra bench --extra dev \
		-o requirements.lock pyproject.toml

docs: $(READY)  ## write the generated pages anew
	@$(BIN)/gateway-plugin config --markdown > docs/configuration.md
	@$(BIN)/python -m gateway_plugin.cli.endpoints_page > docs/endpoints.md
	@$(BIN)/python -m gateway_plugin.cli.metrics_docs > docs/metrics.md
	@$(BIN)/python -m gateway_plugin.openai.errors_page > docs/errors.md
	@$(BIN)/python -m tests.house.bounds > docs/bounds.md
	@$(BIN)/python -m benchmarks.routing.choosing
	@$(BIN)/python -m benchmarks.routing.ring_page

wheel: $(READY)  ## build dist/*.whl
	@$(BIN)/uv build -q --wheel --no-build-isolation --python $(BIN)/python --out-dir dist .

lock-clients: $(READY)  ## write the lock files of the clients that `make test-clients` tries
	@for name in newest openai2 openai1; do \
		$(COMPILE) -o tests/clients/sdks/$$name.lock tests/clients/sdks/$$name.in || exit 1; \
	done

lock-page: $(READY)  ## write the lock file of what `make test-page` drives the browser with
	@$(COMPILE) -o tests/page/browser.lock tests/page/browser.in

changelog: $(READY)  ## make changelog.d's fragments a section of CHANGELOG.md: make changelog VERSION=1.2.3
	@$(BIN)/towncrier build --yes --version $(VERSION)

protos: $(READY)  ## write the Python of our own .proto files anew
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. protos/*.proto

envoy-config: $(READY)  ## write the checked-in example configuration of Envoy anew
	@$(BIN)/gateway-plugin envoy-config $(EXAMPLE)/endpoints.yaml $(EXAMPLE) --lua-path deploy/envoy/lua/gateway.lua

manifests: $(READY)  ## write the kustomization and the tests' xDS anew from the Helm chart (needs helm and egctl)
	@$(BIN)/python -m deploy.manifests render

manifests-check: $(READY)  ## check chart, kustomization and samples, with helm, kustomize and egctl where they are
	@$(BIN)/python -m deploy.manifests check

# Conformance of our HTTP/2; needs Go once, to build the tool. Not part of `test`.
GO ?= $(or $(shell command -v go),/usr/local/go/bin/go)
H2SPEC := build/h2spec
H2SPEC_PORT ?= 18443

h2spec: $(READY) $(H2SPEC)  ## run h2spec against our gRPC transport
	@$(BIN)/python -m tests.integration.wire.h2spec_listener $(H2SPEC_PORT) & server=$$!; trap "kill $$server" EXIT; sleep 2; \
	$(H2SPEC) -h 127.0.0.1 -p $(H2SPEC_PORT) generic http2 hpack

$(H2SPEC):
	@GOBIN=$(CURDIR)/build $(GO) install github.com/summerwind/h2spec/cmd/h2spec@latest

clean:
	@rm -rf $(VENV) .envoys .clients .demo* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
