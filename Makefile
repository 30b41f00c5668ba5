# make run, make test: each makes what it needs.

PYTHON ?= python3
BIN := .venv/bin
PORT ?= 5000
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist worksteal
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps
INSTALL := $(PIP) --require-hashes --requirement
LOCKED := requirements.lock requirements-cuda.lock

.PHONY: run test test-fast check dvc docs ui lock audit sbom release

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

docs: .venv/extras
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "build/site/index.html"

ui: .venv/ready
	@echo "Runs are under Experiments, once 'Model training' is chosen at the top left."
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db --workers 1 --port $(PORT)

lock: .venv/extras
	$(BIN)/python tools/lock.py

audit: .venv/extras
	$(BIN)/pip-audit --strict --progress-spinner off --disable-pip --require-hashes $(patsubst %,--requirement %,$(LOCKED) requirements-extras.lock)

sbom: .venv/extras
	@mkdir -p dist
	cat $(LOCKED) | \
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.json -

release: .venv/extras
	$(BIN)/python tools/release.py

.venv/ready: requirements.lock requirements-cpu.lock requirements-cuda.lock pyproject.toml
	@$(PYTHON) -c "import sys; v = sys.version_info; \
	sys.exit(0 if (3, 11) <= v < (3, 14) else f'Python 3.11 to 3.13 is needed, and $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	@# PyTorch without CUDA where pip's indexes have it, or else PyPI's build, which needs CUDA's libraries on Linux.
	$(INSTALL) requirements-cpu.lock 2>/dev/null || true
	$(INSTALL) requirements.lock
	if grep -q "^Requires-Dist: nvidia" .venv/lib/python3.*/site-packages/torch-*.dist-info/METADATA; \
	then $(INSTALL) requirements-cuda.lock; fi
	$(PIP) --no-build-isolation --editable .
	touch $@

.venv/extras: requirements-extras.lock .venv/ready
	$(INSTALL) requirements-extras.lock
	touch $@
