# Two commands do all the set-up on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
LOCK := $(VENV)/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-header --no-emit-index-url --no-emit-find-links --quiet
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-fast lint format bench prove-main-job prove-rotation prove-identity images lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

$(READY): requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Missing: python3, 3.11 or later. Debian: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Missing: Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) -V). Name another one: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Missing: Python's venv module. Debian: apt-get install python3-venv"; exit 1; }
	@echo "==> Python packages into $(VENV) (about a minute the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --require-hashes -r requirements/dev.txt
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## Label two pods on a real cluster, and watch them talk TLS (KEEP=1 leaves it up, FRESH=1 builds all anew)
	@$(PY) -m tests.demo

test: $(READY) ## Run all tests, on the real parts too
	@$(PY) -m tests.cluster prepare
	@$(PY) -m pytest -W error

test-fast: $(READY) ## Run the tests that need neither a cluster nor root
	@$(PY) -m pytest -W error -m "not cluster and not e2e"

lint: $(READY) ## Check style, types, layers
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

format: $(READY) ## Format the code and repair what can be repaired
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

bench: $(READY) ## Measure speed against the ceiling of this machine, in one run
	@$(PY) -m tests.bench

prove-main-job: $(READY) ## Show what the main job promises, one line each: ok or FAIL, with the figure
	@$(PY) -m tests.prove main-job

prove-rotation: $(READY) ## The same for the rotation
	@$(PY) -m tests.prove rotation

prove-identity: $(READY) ## The same for names, policy, logins, a real Vault and its CAs
	@$(PY) -m tests.prove identity

images: $(READY) ## Build the container images from the Dockerfiles
	@$(PY) -m tests.cluster images

lock: $(READY) ## Write requirements/*.txt anew from pyproject.toml
	@$(LOCK) -o requirements/manager.txt
	@$(LOCK) --extra dev -c requirements/manager.txt -o requirements/dev.txt

clean: ## Remove what the other commands made in this folder (the cache folder stays: see CONTRIBUTING.md)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info bench-results.json
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
