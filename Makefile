# SPDX-License-Identifier: Apache-2.0
# Everything runs in .venv/, which scripts/setup builds. ARGS are handed on: make test ARGS="-k address -x"

BIN := .venv/bin
ARGS ?=

# The TPM that test-tpm works on; see tests/tpm/client/conftest.py for what it may do there.
TPM ?= device:/dev/tpmrm0

.PHONY: all setup demo test test-tpm bench check docs lock clean

all: setup
	@echo 'ready; now: make demo | test | test-tpm | bench | check | docs | lock | clean'

setup:
	@scripts/setup test

demo: setup
	@$(BIN)/prestocloud-sec demo $(ARGS)

test: setup
	$(BIN)/python -m pytest $(ARGS)

test-tpm: setup
	TPM='$(TPM)' $(BIN)/python -m pytest tests/tpm/client $(ARGS)

bench:
	@scripts/setup bench
	$(BIN)/python -m pytest benchmarks $(ARGS)

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo 'docs/_build/html/index.html'

# Needs the network. Keeps the versions already locked; ARGS=--upgrade takes the newest.
lock:
	$${PYTHON:-python3} -m venv --clear build/lock
	build/lock/bin/python -m pip install -q uv
	build/lock/bin/uv pip compile --no-config --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --no-header --quiet --extra dev --output-file requirements.lock $(ARGS) pyproject.toml

clean:
	rm -rf .venv build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find prestocloud_sec tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
