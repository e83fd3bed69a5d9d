# One virtual environment, one place for every command. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
DEMO_STORE := .tenantkb/demo
CONTAINER_TESTS := tests/conformance tests/fail_closed -m "not slow" -k container
MUTATION := .scratch/mutation
ISOLATION := 'tenantkb.domain.*' 'tenantkb.application.guard.*'

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-server test test-slow fail-closed mutation crash containers test-containers containers-stop lint \
	format docs dist bench lock clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: .venv/ready ## make the virtual environment from the lock file

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tenantkb needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## sync the example workspace into a store of its own and ask it a question
	TENANTKB_STORE_PATH=$(DEMO_STORE) $(BIN)/tenantkb sync tests/golden/mini-neo-workspace
	TENANTKB_STORE_PATH=$(DEMO_STORE) $(BIN)/tenantkb query "why does the application run in workers?" --limit 3

demo-server: setup ## serve two tenants, ask as both by MCP and REST, and stop
	$(BIN)/python -m tests.demo_server

test: setup ## the tests
	$(BIN)/pytest -n auto --dist worksteal -m "not slow"

test-slow: setup ## the long sweeps
	$(BIN)/pytest -m slow

fail-closed: setup ## the isolation suite against every store, and what it has found as a matrix
	$(BIN)/pytest tests/fail_closed --matrix

mutation: setup ## mutation testing of the isolation code; fails where a mutant survives
	rm -rf $(MUTATION) && mkdir -p $(MUTATION)
	cp -RL pyproject.toml README.md docs tenantkb tests $(MUTATION) # mutmut does not follow links
	cd $(MUTATION) && $(CURDIR)/$(BIN)/mutmut run $(ISOLATION)
	@cd $(MUTATION) && $(CURDIR)/$(BIN)/python -m tests.mutants

crash: setup ## kill -9 at every kind of moment, the same command again, and a look at every row
	$(BIN)/python -m tests.crash

containers: setup ## have a container engine and in it an image of Chroma, for the tests
	$(BIN)/python -m tests.container_engine start

test-containers: containers ## the tests that need a container engine
	settings=$$($(BIN)/python -m tests.container_engine env) && eval "$$settings" && \
		$(BIN)/pytest $(CONTAINER_TESTS)

containers-stop: ## end the container engine that containers has started
	$(PYTHON) -m tests.container_engine stop

lint: setup ## style, types and the arrows between the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## rewrite the code in the project's style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: setup ## the documentation site in .scratch/site; a broken link fails it
	$(BIN)/sphinx-build --fail-on-warning --quiet --fresh-env --conf-dir docs --builder html . .scratch/site
	@echo "open .scratch/site/index.html"

dist: setup ## the archives for the package index, in dist/; with TAG=vVERSION only of that version
	$(BIN)/python -m tests.packaging.release $${TAG:+"$$TAG"}
	rm -rf dist
	$(BIN)/python -m hatchling build -t sdist -t wheel

bench: setup ## the benchmarks; they need npm
	$(BIN)/python -m benchmarks.extraction
	$(BIN)/python -m benchmarks.modules
	$(BIN)/python -m benchmarks.embedders
	$(BIN)/python -m benchmarks.guard
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.variants
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.server
	$(BIN)/python -m benchmarks.sync
	$(BIN)/python -m benchmarks.resync
	$(BIN)/python -m benchmarks.backup
	$(BIN)/python -m benchmarks.isolation
	$(BIN)/python -m benchmarks.repositories

lock: ## resolve the dependencies again, to the newest releases that pyproject.toml allows
	$(PYTHON) -m venv .scratch/lock
	.scratch/lock/bin/python -m pip install --quiet --upgrade uv
	.scratch/lock/bin/uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --group dev --group docs --extra serve pyproject.toml -o requirements.lock

clean: ## remove everything that can be made again
	rm -rf .venv .scratch .tenantkb .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
