# The whole interface: make demo | demo-check | test | lint | bench | clean. Each makes what it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXAMPLE := deploy/envoy/standalone
CODE := gateway_plugin routing ratelimit protos simulator benchmarks tests

.PHONY: demo demo-check test lint format bench clean lock docs envoy-config

demo: $(READY)  ## run Valkey, simulated pods, the plugin and Envoy, with a live table
	@$(BIN)/gateway-plugin demo

demo-check: $(READY)  ## start the same, send real requests, say what was seen
	@$(BIN)/gateway-plugin demo --check

test: lint  ## lint, types, layers, all tests
	@$(BIN)/pytest -q

lint: $(READY)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY)
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

bench: $(READY)  ## measure; prints tables, in about two minutes
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.prefix
	@$(BIN)/python -m benchmarks.scraping
	@$(BIN)/python -m benchmarks.limits
	@$(BIN)/python -m benchmarks.virtual

# One version of everything for every Python, or types would be checked against different libraries.
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header \
	--no-emit-index-url

lock: $(READY)  ## write the lock files anew from pyproject.toml
	@$(COMPILE) -o requirements-run.lock pyproject.toml
	@$(COMPILE) --extra local --extra otel --extra dev -o requirements.lock pyproject.toml

docs: $(READY)  ## write the generated pages anew
	@$(BIN)/gateway-plugin config --markdown > docs/configuration.md

envoy-config: $(READY)  ## write the checked-in example configuration of Envoy anew
	@$(BIN)/gateway-plugin envoy-config $(EXAMPLE)/endpoints.yaml $(EXAMPLE) --lua-path deploy/envoy/lua/gateway.lua

clean:
	@rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
