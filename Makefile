# make run, make test: each makes what it needs.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

.PHONY: run test test-fast check dvc ui

export DO_NOT_TRACK = 1
export MLFLOW_DISABLE_TELEMETRY = true

run: .venv/ready
	$(BIN)/kedro run

test: .venv/ready
	$(PYTEST) -m "not check"

test-fast: .venv/ready
	$(PYTEST) -m "not slow and not check"

check: .venv/extras
	$(PYTEST)

dvc: .venv/ready
	$(BIN)/python -m fewstep.pipelines.dvc_stages

ui: .venv/ready
	@echo "Runs are under Experiments, once 'Model training' is chosen at the top left."
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db --port 5000

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; v = sys.version_info; \
	sys.exit(0 if (3, 11) <= v < (3, 14) else f'Python 3.11 to 3.13 is needed, and $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.venv/extras: requirements-extras.lock .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-extras.lock
	touch $@
