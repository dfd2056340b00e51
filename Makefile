# The two commands of the README, and what developers run. Everything is installed into .venv, from pinned versions.

PYTHON ?= python3
REPO   ?= .
SEED   ?= 1
JOBS   ?= 50
TREES  ?= stdlib linux-10k
REPEAT ?= 1
BIN    := .venv/bin
TESTS  := $(BIN)/pytest --numprocesses 2 --dist loadfile
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes
EDITABLE := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .

.PHONY: help index test check chaos bench bench-check format lock clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

index: .venv/installed ## index REPO (default: this repository), starting what that needs
	@$(BIN)/verdex index "$(REPO)"

test: .venv/installed-dev ## install, and run the tests
	@$(TESTS)

check: .venv/installed-dev ## everything that CI checks: format, lint, types, import contracts, tests with coverage
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(TESTS) --cov --cov-report=term:skip-covered

chaos: .venv/installed-dev ## break everything under JOBS jobs (SEED) and look for a lie
	@$(BIN)/python -m tests.chaos --seed $(SEED) --jobs $(JOBS)

bench: .venv/installed-dev ## measure indexing against what the machine can do, and where its time goes (TREES, REPEAT)
	@$(BIN)/python -m benchmarks $(TREES) --repeat $(REPEAT) --profile

bench-check: .venv/installed-dev ## compare what indexing costs with benchmarks/baseline.json
	@$(BIN)/python -m benchmarks.check

format: .venv/installed-dev ## format the code and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: .venv/installed-dev ## pin the newest versions of all dependencies
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile $(LOCK_OPTIONS) --extra local --group build --output-file requirements.lock
	@$(BIN)/uv pip compile $(LOCK_OPTIONS) --extra local --group build --group dev --constraint requirements.lock \
		--output-file requirements-dev.lock

LOCK_OPTIONS := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links pyproject.toml

clean: ## remove what was installed and cached
	rm -rf .venv .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "verdex needs Python 3.11 or newer: make PYTHON=...")'
	@$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python requirements.lock pyproject.toml
	@echo "installing verdex into .venv ..." >&2
	@$(PIP) --requirement requirements.lock
	@$(EDITABLE)
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	@echo "installing the development tools into .venv ..." >&2
	@$(PIP) --requirement requirements-dev.lock
	@touch $@
