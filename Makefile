# One truth for a person and for CI. Needs git, make and Python 3.11 or newer.
#
#   make demo     install, and run the main job on simulated data (minutes)
#   make test     install, and run lint, types, tests, doctests
#   make test-slow   the tests that take long: killed processes, clusters, full disks
#
# On Linux without a GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu saves the download
# of gigabytes of CUDA libraries.

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX),)

.PHONY: install demo test test-slow lint docs bench clean

install: $(VENV)/installed

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "glaciercube needs Python 3.11 or newer; found: $$($(PYTHON) --version 2>&1). Use make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable ".[dev,distributed,buckets,icechunk,openvino,onnx,keras]"
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(PIP) --editable ".[docs]"
	@touch $@

demo: install
	$(BIN)/python -m glaciercube demo --out demo

test: lint
	$(BIN)/python -m pytest -n auto -m "not slow"

test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto -m slow

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/installed-docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/installed-dev
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) docs/_build demo .mypy_cache .pytest_cache .ruff_cache
