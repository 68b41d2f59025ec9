# The two commands: `make demo` runs the weekly job on the sandbox, `make test` lints, type-checks and tests.
# Both set up what they need in .venv, from the locked versions.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# One more than there are cores: the tests of the UI and of PostgreSQL wait for daemons most of the time.
WORKERS = $(shell $(BIN)/python -c 'import os; print((os.cpu_count() or 1) + 1)')

.PHONY: setup demo ui test lint faults bench screenshots audit image format compat lock clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=/usr/bin/python3.11 …") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	$(BIN)/toast-assets demo

ui: setup
	$(BIN)/toast-assets sandbox --ui

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# What was tried against the pull, and how each ended, as a table.
faults: setup
	$(BIN)/python -m pytest -q toast_assets_tests/proofs/test_fault_matrix.py --fault-table

# Side by side with the guide's way and with dlt; takes less than half an hour and writes docs/performance.md with its chart.
bench: setup
	$(BIN)/python -m benchmarks

# Renews docs/images from a running UI; needs Debian's chromium.
screenshots: setup
	$(BIN)/python -m docs.make_screenshots

# Known vulnerabilities of the locked versions. Where the advisory service is out of reach, that is said and not counted.
audit: setup
	$(BIN)/python deploy/audit.py

# Builds the image without a container engine and starts what it is for, in a few minutes. Needs root and Debian's
# buildah, mmdebstrap and bubblewrap.
image: setup
	$(BIN)/python deploy/try_image.py

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A quick part of the tests on newer Pythons, and on the oldest and the newest Dagster that pyproject.toml allows.
compat: setup
	deploy/compat.sh

# Renews the locked versions within the ranges of pyproject.toml.
lock: setup
	$(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.11 --universal --generate-hashes --no-header --no-emit-index-url --upgrade --output-file requirements.lock
	deploy/lock.sh $(BIN)/uv

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache *.egg-info
