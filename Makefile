# `make` lists the targets. The first use of each installs what it needs into .venv, from the locked versions.
PYTHON ?= $(shell for each in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$each && break; done)
VENV := .venv
BIN := $(VENV)/bin
UV = $(or $(shell command -v uv),$(BIN)/uv)
# One more than there are cores: the tests of the UI and of PostgreSQL wait for daemons most of the time.
WORKERS = $(shell $(BIN)/python -c 'import os; print((os.cpu_count() or 1) + 1)')
UI_PORT = 3000
SANDBOX_PORT = 9300

.PHONY: help demo ui test lint format faults bench compat screenshots audit image lock setup clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.demo ## Run the weekly job on a sandbox of Toast, S3 and Amperity, and compare counts
	@$(BIN)/toast-assets demo

ui: $(VENV)/.demo ## Serve Dagster's UI and a sandbox (other ports: UI_PORT=3100 SANDBOX_PORT=9400)
	@$(BIN)/toast-assets sandbox --ui --ui-port $(UI_PORT) --port $(SANDBOX_PORT)

test: lint ## Lint, check the types, run the tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: setup ## Lint and check the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

faults: setup ## Print what was tried against the pull, and how each attempt ended
	$(BIN)/python -m pytest -q toast_assets_tests/proofs/test_fault_matrix.py --fault-table

# Side by side with the guide's way and with dlt.
bench: setup ## Measure, compare, and write docs/performance.md (less than half an hour)
	$(BIN)/python -m benchmarks

compat: setup ## Run a quick part of the tests on newer Pythons, and on the oldest and the newest Dagster
	deploy/compat.sh

screenshots: setup ## Renew docs/images from a running UI (needs Debian's chromium)
	$(BIN)/python -m docs.make_screenshots

# Where the advisory service is out of reach, that is said and not counted.
audit: setup ## Look for known vulnerabilities of the locked versions
	$(BIN)/python deploy/audit.py

# Without a container engine.
image: setup ## Build and try the image (needs root, buildah, mmdebstrap and bubblewrap)
	$(BIN)/python deploy/try_image.py

lock: setup ## Renew the locked versions within the ranges of pyproject.toml
	$(UV) pip compile pyproject.toml --extra dev --python-version 3.11 --universal --generate-hashes --no-header --no-emit-index-url --upgrade --output-file requirements.lock
	deploy/lock.sh $(UV)

setup: $(VENV)/.all ## Install everything that developers need

# What a demo needs. The larger set builds on it, so that no target removes what another one installed.
$(VENV)/.demo: deploy/sandbox.lock deploy/build.lock pyproject.toml
	@PYTHON="$(PYTHON)" deploy/install.sh deploy/sandbox.lock "600 MB"
	@touch $@

$(VENV)/.all: $(VENV)/.demo requirements.lock
	@deploy/install.sh requirements.lock "1.1 GB"
	@touch $@

clean: ## Remove .venv and all caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache *.egg-info
