# make run, make test: each makes what it needs.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: run test test-fast check ui clean

run: .venv/ready
	$(BIN)/kedro run

test: .venv/ready
	$(PYTEST) -m "not check"

test-fast: .venv/ready
	$(PYTEST) -m "not slow and not check"

check: .venv/ready
	$(PYTEST)

ui: .venv/ready
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db --port 5000

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
